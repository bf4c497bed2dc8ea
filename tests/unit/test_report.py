"""What is told of claims: as sentences, JSON, Markdown and as a page, in both languages."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import layouts
import pytest
import reports
from hypothesis import given
from hypothesis import strategies as st

from kintro.cli import main, report
from kintro.concepts import report as concepts
from kintro.concepts import runner, words
from kintro.concepts.experiment import Finding, Picture
from kintro.concepts.report import Circumstances
from kintro.concepts.runner import Result
from kintro.errors import EX_SOFTWARE, EX_UNAVAILABLE, EX_USAGE
from kintro.renderers import html, jsonl, markdown, report_text
from kintro.renderers.text import cells, printable, wrap
from kintro.shapes import Band, Bar, Bars, Cell, Column, Layout, Report, Share, Table, Tree, TreeRow

REPO = Path(__file__).resolve().parents[2]
AROUND = Circumstances("Linux 6.1", "a-host", "x86_64", None, 2, "2026-01-02T03:04:05+00:00", "0.1.0")
FACT, CAPTION = [name for name in words.of_concept("fork").terms if name not in words.common()][:2]
FACTS = {FACT: 1234, "size_bytes": 4096, "lost": None}
SEEN = words.Text(
    "Of {size_bytes} {lost} were lost, and more than one line of words is told",
    "{size_bytes} 中丢失 {lost}，并且所说的超过一行",
)
TABLE = Table((FACT, "some"), ((FACT, "1"),))


def result(finding: Finding, claim: str = "F1") -> Result:
    return Result(words.claims()[claim]._replace(seen=SEEN, seen_on=None), finding, 1_234_567)


HELD = result(Finding("holds", FACTS, (Picture(CAPTION, TABLE),)))
ALSO = result(Finding("holds", FACTS), "F4")
UNSEEN = result(Finding("not-observed", {"limit_s": 30.0}, (), "deadline"), "F2")
CUT = result(Finding("not-observed", {}, (), "told-to-end"), "F4")


def term(name: str) -> words.Text:
    return words.of_concept("fork").terms[name]


def of(*results: Result, language: str = "en", wanted: int = 3) -> Report:
    return concepts.report(results, wanted, AROUND, language)


# In words


def test_what_is_told_of_a_claim() -> None:
    told = concepts.account(HELD, "en")
    assert told.seen == "Of 4 KiB ? were lost, and more than one line of words is told"
    assert (told.verdict, told.told, told.reason) == ("holds", "holds", "")
    assert [(fact.name, fact.text) for fact in told.facts] == [
        (FACT, words.shown(FACT, 1234)), ("size_bytes", "4 KiB"), ("lost", "?"),
    ]  # fmt: skip
    assert told.facts[0].label == term(FACT).en
    chinese = concepts.account(HELD, "zh")
    assert chinese.seen.startswith("4 KiB 中丢失 ?") and chinese.told == "成立"
    assert chinese.facts[0].label == term(FACT).zh


def test_what_was_not_observed_has_a_reason_and_nothing_seen() -> None:
    told = concepts.account(UNSEEN, "en")
    assert (told.seen, told.reason) == ("", "the experiment did not come to an end within 30 s")
    assert told.nuance == "" and words.claims()["F2"].nuance.en not in html.report(of(UNSEEN))
    assert concepts.account(UNSEEN, "zh").reason == "实验未能在 30 秒内结束"


def test_pictures_are_told_in_the_language_but_not_what_strangers_named() -> None:
    table = Table(("name", "made", "some"), (("process", "process", "process"),))
    picture = HELD.finding.pictures[0]._replace(shape=table)
    held = HELD._replace(finding=HELD.finding._replace(pictures=(picture,)))
    [figure] = concepts.account(held, "zh").figures
    assert figure.caption == term(CAPTION).zh
    assert figure.shape == Table(("名称", "创建的是", "some"), (("process", "进程", "process"),))
    assert concepts.account(held, "en").figures[0].shape == table


def test_words_in_pictures_are_chinese_or_names() -> None:
    for english, chinese in words.in_pictures("zh").items():
        assert re.search("[\u4e00-\u9fff]", chinese) or english == chinese, english


def test_the_process_of_the_reader_stands_in_commands() -> None:
    claim = HELD.claim._replace(
        commands=("kintro task {pid}",), seen_on=words.Text("on {size_bytes}", "{size_bytes}")
    )
    told = HELD._replace(claim=claim)
    assert concepts.account(told, "en").commands == ("kintro task PID",)
    assert concepts.account(told, "en", 77).commands == ("kintro task 77",)
    assert concepts.account(told, "en", 77).seen == "on 4 KiB"
    assert concepts.account(told, "en").done == claim.done.en
    assert concepts.account(told, "en", 77).done == "Process 77 was looked at; nothing was done to it."


def test_the_pages_of_a_real_run_have_every_claim() -> None:
    for language, name in (("en", "concepts.md"), ("zh", "concepts.zh-CN.md")):
        page = (REPO / "docs" / name).read_text("utf-8")
        for claim in words.claims().values():
            told = markdown.escaped(getattr(claim.claim, language))
            assert re.search(rf"^### {claim.id}(: |：){re.escape(told)}$", page, re.MULTILINE), claim.id
        assert "refuted" not in page.partition("###")[0] and "不成立" not in page.partition("###")[0]


def test_words_of_reports_in_every_language() -> None:
    for name, text in words.of_reports().items():
        assert all(text), name
        assert set(re.findall(r"{(\w+)}", text.en)) == set(re.findall(r"{(\w+)}", text.zh)), name
        assert not re.search("[\u4e00-\u9fff]", text.en)


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize("width", [80, 140])
def test_no_line_is_wider_than_the_terminal(language: str, width: int) -> None:
    whole = of(HELD, UNSEEN, CUT, language=language)
    lines = list(report_text.heading(whole, width, False))
    for chapter in whole.chapters:
        for told in chapter.accounts:
            lines += report_text.account(told, whole.words, width, False)
    lines += report_text.verdicts(whole, width, False)
    assert max(map(cells, lines)) <= width
    assert not any("\x1b" in line for line in lines)
    text = "".join(lines).replace(" ", "")
    for told in (told for chapter in whole.chapters for told in chapter.accounts):
        for part in (told.claim, told.done, told.seen, told.reason, told.told, told.nuance):
            assert part.replace(" ", "")[:30] in text
    rows = [line for line in lines if re.match(r"F\d .* 1\.23 ms ", line)]
    assert [row[:2] for row in rows] == ["F1", "F2", "F4"]
    assert lines[-1] == whole.note != ""


def test_verdicts_have_their_colours() -> None:
    lines = list(report_text.verdicts(of(HELD, UNSEEN), 80, True))
    assert any("\x1b[32mholds" in line for line in lines)
    assert any("\x1b[2mnot observed" in line for line in lines)


@given(st.text(), st.integers(2, 60))
def test_text_is_folded_by_cells_and_nothing_of_it_is_lost(text: str, width: int) -> None:
    shown = printable(text)
    lines = wrap(shown, width)
    assert max(map(cells, lines)) <= width + 1  # a sign that closes stays with what it closes
    assert "".join(lines).replace(" ", "") == "".join(shown.split())


def test_chinese_is_folded_between_its_characters() -> None:
    assert wrap("一个进程调用 fork，双方报告。", 12) == ["一个进程调用", "fork，双方报", "告。"]
    assert wrap("two words", 5) == ["two", "words"]
    assert wrap("", 5) == [""]


def test_a_report_that_was_cut_says_so() -> None:
    assert of(HELD, UNSEEN, ALSO).note == ""
    assert "1 of 3" in of(HELD).note
    assert "2 of 3" in of(HELD, UNSEEN, CUT).note


# As JSON


def test_json() -> None:
    text = jsonl.line(concepts.as_json([HELD, UNSEEN], AROUND, "en"))
    found = json.loads(text)
    assert found["kernel"] == "Linux 6.1" and found["cpu"] is None and found["pid"] is None
    held, unseen = found["claims"]
    facts = {fact["name"]: fact for fact in held["evidence"] if fact["type"] == "fact"}
    assert {name: fact["value"] for name, fact in facts.items()} == FACTS
    assert facts[FACT]["label"] == term(FACT).en
    [picture] = [part for part in held["evidence"] if part["type"] == "picture"]
    assert picture["shape"] == "table"
    assert picture["data"] == {"columns": [FACT, "some"], "rows": [[FACT, "1"]]}
    assert (held["reason"], unseen["seen"], unseen["nuance"]) == (None, None, None)
    assert "30 s" in unseen["reason"] and held["duration_ns"] == 1_234_567
    assert held["commands"] and held["nuance"] and held["verdict"] == "holds"


@pytest.mark.parametrize("shape", reports.shapes(reports.NAMES).values(), ids=lambda s: type(s).__name__)
def test_each_shape_as_json(shape: object) -> None:
    def strict(constant: str) -> None:
        raise ValueError(constant)

    found = json.loads(jsonl.line(jsonl.plain(shape)), parse_constant=strict)
    assert list(found) == list(shape._fields)  # type: ignore[attr-defined]


def test_what_is_no_number_is_null() -> None:
    assert jsonl.plain({"a": float("nan"), "b": (float("inf"), 1.5)}) == {"a": None, "b": [None, 1.5]}


# As Markdown


def test_markdown() -> None:
    text = markdown.report(of(HELD, UNSEEN))
    assert re.findall(r"^#+ .*$", text, re.MULTILINE) == [
        "# What this kernel does with processes", "## Verdicts", "## Fork",
        f"### F1: {words.claims()['F1'].claim.en}", f"### F2: {words.claims()['F2'].claim.en}",
    ]  # fmt: skip
    assert "| size\\_bytes | 4 KiB |" in text and "a-host" not in text
    assert "*Why it was not observed:* the experiment did not come to an end within 30 s" in text
    assert "\nsudo kintro report F1\n" in text


def test_a_small_tree_in_markdown() -> None:
    rows = (("0", "sh (1)", False), ("1", "cat (2)", False), ("1", "```", True), ("2", "ls (4)", True))
    tree = Tree(
        (Column("S", 1),),
        "PROCESS",
        tuple(TreeRow(int(d), last, (Cell("R"),), label) for d, label, last in rows),
    )
    text = markdown.report(of(result(Finding("holds", FACTS, (Picture(CAPTION, tree),)))))
    assert text.count("\n```\n") == 4  # of the tree and of the commands
    assert "    S PROCESS\n    R sh (1)\n    R ├─ cat (2)\n    R └─ ```\n    R    └─ ls (4)\n```" in text
    many = tree._replace(rows=tree.rows * 5)
    assert "├─" not in markdown.report(of(result(Finding("holds", FACTS, (Picture(CAPTION, many),)))))


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_markdown_of_strangers_names(language: str) -> None:
    text = markdown.report(reports.hostile(language))
    prose = re.sub(r"^```$.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"(?<!\\)<", prose)
    assert "\u202e" not in text and "\u2066" not in text
    for block in re.findall(r"(?:^\|.*\n)+", prose, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1


# As a page


class Reader(HTMLParser):
    """Notes what a reader without eyes goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.pointed: list[str] = []
        self.headings: list[int] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        for name in ("aria-labelledby", "aria-describedby"):
            self.pointed += (given.get(name) or "").split()
        if (href := given.get("href") or "").startswith("#"):
            self.pointed.append(href[1:])
        self.pointed += re.findall(r"url\(#(.*?)\)", " ".join(filter(None, given.values())))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize("make", [reports.sample, reports.hostile])
def test_a_page_hangs_together(make, language: str) -> None:
    reader = Reader()
    reader.feed(html.report(make(language)))
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.pointed) <= set(reader.ids)
    assert reader.headings[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(reader.headings))
    assert reader.tags.count("h1") == 1 and "script" not in reader.tags and "img" not in reader.tags


def boxes(shape: object) -> list[tuple[float, float, float, str]]:
    """x, y, width and fill of what is drawn of a shape."""
    from kintro.renderers.html.pictures import picture
    from kintro.shapes import Figure

    drawing = picture(Figure("", shape), concepts.spoken("en")).drawing  # type: ignore[arg-type]
    assert drawing is not None
    return [(box.x, box.y, box.width, box.fill or box.look) for box in drawing.boxes]


def test_bars_are_to_scale() -> None:
    linear = Bars("", "waits", False, (Bar("a", 10), Bar("b", 40), Bar("c", 0)))
    a, b, c = (width for _, _, width, _ in boxes(linear))
    assert b == pytest.approx(4 * a) and c == 0
    log = Bars("", "ns", True, tuple(Bar(name, 10.0**power) for power, name in enumerate("abc", 1)))
    a, b, c = (width for _, _, width, _ in boxes(log))
    assert c - b == pytest.approx(b - a)


def test_an_address_space_is_to_scale() -> None:
    page = 4096
    bands = (
        Band(100 * page, 130 * page, "text", "a"),
        Band(130 * page, 200 * page, "data", "b", (), Share(30, 10, 0, 0)),
    )
    layout = Layout("", "", bands, (), (), Table((), ()))
    found = {fill: (x, width) for x, _, width, fill in boxes(layout)}
    assert found["text"] == pytest.approx((0, 30))
    assert found["same"] == found["copied"] == pytest.approx((30, 70))


def test_a_timeline_shows_all_busy_time() -> None:
    import timelines

    shape = timelines.few()
    for number, lane in enumerate(shape.lanes):
        tracks = [y for _, y, _, fill in boxes(shape) if fill == "track"]
        turns = [w for _, y, w, fill in boxes(shape) if y == tracks[number] and fill not in ("track", "many")]
        short = [w for _, y, w, fill in boxes(shape) if tracks[number] < y < tracks[number] + 28]
        shown_ns = sum(turns) * shape.duration_ns / 100
        assert shown_ns <= lane.busy_ns * 1.001
        assert shown_ns + sum(short) * shape.duration_ns / 100 >= lane.busy_ns * 0.98


# The verb


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_TW.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": ""}, "en"),
    ],
)
def test_the_language_is_the_locales(environment: dict[str, str], language: str) -> None:
    assert report.language(environment) == language


def test_an_unknown_claim_is_told_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["report", "fork", "F99"])
    assert raised.value.code == EX_USAGE
    told = capsys.readouterr().err
    assert "'F99' is none of " in told
    assert all(name in told for name in (*words.CONCEPTS, *words.claims()))


def test_names_in_small_and_capital_letters(capsys: pytest.CaptureFixture[str]) -> None:
    assert len({name.casefold() for name in report.names()}) == len(report.names())
    assert main(["report", "t1", "Identity", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [claim["id"] for claim in told["claims"]] == ["T1", "I1", "I2", "I3", "I4", "I5"]


def test_a_shell_completes_ids(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh"):
        assert main(["completion", shell]) == 0
        told = capsys.readouterr().out
        assert all(re.search(rf"\b{name}\b", told) for name in (*words.CONCEPTS, *words.claims()))


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("failed", EX_UNAVAILABLE),
        ("deadline", EX_UNAVAILABLE),
        ("bug", EX_SOFTWARE),
        ("root", 0),
        ("told-to-end", 0),
    ],
)
def test_exit_codes(
    reason: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"message": "x", "limit_s": 1}
    found = [
        HELD,
        result(Finding("not-observed", facts, (), reason), "F2"),
        ALSO,
    ]
    monkeypatch.setattr(runner, "run_all", lambda *_: iter(found))
    assert main(["report", "F1", "F2", "F4", "--lang", "en"]) == code
    told = capsys.readouterr().out
    assert told.index("Fork") < told.index("F1") < told.index("VERDICT") < told.index("not observed 1")
    assert ("interrupted" in told) == (reason == "told-to-end")


@pytest.mark.parametrize("options", [("--html",), ("--markdown",), ("--json", "-o")])
def test_nothing_is_tried_that_cannot_be_written(
    options: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried: list[str] = []

    def tries(*_: object) -> Iterator[Result]:
        tried.append("F1")
        yield HELD

    monkeypatch.setattr(runner, "run_all", tries)
    file = tmp_path / "none" / "r"
    assert main(["report", "F1", *options, str(file)]) == 74
    assert capsys.readouterr().err.startswith(f"kintro: cannot write {file}: No such file")
    assert tried == []
    assert main(["report", "F1", *options, str(tmp_path / "r")]) == 0
    assert tried == ["F1"]


def test_a_process_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert main(["report", "F1", "--on", str(child)]) == 66
    assert capsys.readouterr().err == f"kintro: no process {child}\n"


def test_a_hostile_host() -> None:
    """Its name may come from a network or a container."""
    shape = concepts.report([HELD], 1, AROUND._replace(host="a\x1b[2J\u202eb"), "en")
    told = "\n".join(report_text.heading(shape, 80, False))
    assert "a\\x1b[2J\\u202eb" in told and told.replace("\n", "").isprintable()


def test_hostile_names_are_those_of_the_other_pages() -> None:
    assert printable(layouts.HOSTILE[3]) in html.report(reports.hostile())


def test_what_does_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--html", "a", "-o", "b"]) == EX_USAGE
    assert "-o is for the text or for --json" in capsys.readouterr().err
    for together in (["--html", "a", "--markdown", "./a"], ["--html", "-", "--json"]):
        assert main(["report", *together]) == EX_USAGE
        assert "a file of its own" in capsys.readouterr().err
