"""Labs without a kernel: their words, what is an answer and a right one, the file of sessions, the sheet."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintro.cli import parser
from kintro.concepts.words import LANGUAGES, Text
from kintro.errors import KintroError
from kintro.labs import catalogue, session, sheet, state, words
from kintro.labs.lab import (
    CHOICE,
    KINDS,
    NUMBER,
    YES_NO,
    Question,
    changed,
    is_answer,
    is_right,
    parsed,
    told,
    traces,
)
from kintro.labs.session import Session
from kintro.labs.stage import PROGRAMS
from kintro.labs.state import Kept
from kintro.renderers import html, markdown, sheet_markdown


def question(name: str = "pages", kind: str = NUMBER, **more: Any) -> Question:
    parts: dict[str, Any] = {"choices": {}, "step": "look", "times": 1.0, "plus": 0.0, **more}
    return Question(name, kind, Text("How many?", "多少？"), **parts)


CHOICES = {"all": Text("all", "全部"), "none": Text("none", "无")}


# Words


def names(template: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", template))


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_a_lab_says_all_in_every_language(name: str) -> None:
    said = words.of_lab(name)
    questions = (*said.predictions, *said.observations)
    texts = [said.title, said.question, said.situation, said.explanation]
    texts += [step.text for step in said.steps.values()] + [asked.text for asked in questions]
    texts += [choice for asked in questions for choice in asked.choices.values()]
    for text in texts:
        assert all(text) and names(text.en) == names(text.zh)
        assert not re.search("[\u4e00-\u9fff]", text.en)
    for text in texts[:4]:
        assert re.search("[\u4e00-\u9fff]", text.zh)
    assert said.predictions and said.observations and said.reading


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_questions_of_a_lab(name: str) -> None:
    said = words.of_lab(name)
    for asked in (*said.predictions, *said.observations):
        assert asked.kind in KINDS
        assert (asked.kind == CHOICE) == (len(asked.choices) > 1)
        assert asked.times >= 1 and asked.plus >= 0
    assert {asked.step for asked in said.predictions} == {""}
    assert {asked.step for asked in said.observations} <= said.steps.keys()
    asked_names = [asked.name for asked in said.observations]
    assert len(set(asked_names)) == len(asked_names)


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_commands_of_a_lab_are_kintros(name: str) -> None:
    """Verbs and options are those there are; other programs are few."""
    whole = parser()
    for step in words.of_lab(name).steps.values():
        for command in step.commands:
            line = re.sub(r"{\w+}", "1234", command).removeprefix("sudo ").split()
            if line[0] == "kintro":
                parsed_line = whole.parse_args(line[1:])
                on_and_on = hasattr(parsed_line, "duration") and not parsed_line.duration
                on_and_on = on_and_on and getattr(parsed_line, "watch", True)
                assert traces(command) == on_and_on
            else:
                assert line[0] in ("kill", "cat")


def test_common_words_in_every_language() -> None:
    for text in words.common().values():
        assert all(text) and names(text.en) == names(text.zh)


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.py")), ids=lambda path: path.stem)
def test_a_program_stands_alone_and_ends_by_itself(path: Path) -> None:
    text = path.read_text()
    assert "kintro" not in text
    assert "signal.alarm(" in text
    assert text.startswith('"""') and f"python3 {path.name}" in text


# Answers


@pytest.mark.parametrize(
    ("name", "typed", "answer"),
    [
        ("pages", "1,234", 1234),
        ("pages", "1 234 567", 1234567),
        ("pages", " 12 ", 12),
        ("pages", "-3", -3),
        ("ratio", "1.5", 1.5),
        ("cost_ns", "1.5 µs", 1500.0),
        ("cost_ns", "225ns", 225),
        ("cost_ns", "3 ms", 3_000_000),
        ("size_bytes", "4 KiB", 4096),
        ("size_bytes", "1.5M", 1.5 * 2**20),
        ("share_percent", "31 %", 31),
        ("start_address", "0x7f00", 0x7F00),
        ("start_address", "7f00", 0x7F00),
    ],
)
def test_numbers_as_they_are_typed(name: str, typed: str, answer: float) -> None:
    assert parsed(question(name), typed) == answer


@pytest.mark.parametrize(
    "typed",
    [
        "", "many", "12 apples", "1.2.3", "--1", "nan", "inf", "1e3", "²", "1,5", "1 2", "12,34", "9" * 400,
        "9" * 5000, "9" * 400 + ".5", "0x" + "f" * 17,
    ],
)  # fmt: skip
def test_what_is_no_number(typed: str) -> None:
    with pytest.raises(ValueError):
        parsed(question(), typed)


def test_choices_and_yes_or_no_as_they_are_typed() -> None:
    choice = question(kind=CHOICE, choices=CHOICES)
    assert [parsed(choice, typed) for typed in ("1", "2", "ALL", " none")] == ["all", "none", "all", "none"]
    for typed in ("0", "3", "some", ""):
        with pytest.raises(ValueError):
            parsed(choice, typed)
    yes_no = question(kind=YES_NO)
    assert [parsed(yes_no, typed) for typed in ("Y", "no", "是", "否")] == [True, False, True, False]
    with pytest.raises(ValueError):
        parsed(yes_no, "perhaps")


def test_what_is_right() -> None:
    exact, near, about = question(), question(plus=2.0), question(times=2.0)
    assert is_right(exact, 7, 7) and not is_right(exact, 8, 7)
    assert is_right(near, 9, 7) and not is_right(near, 10, 7)
    assert is_right(about, 14, 7) and is_right(about, 3.5, 7) and not is_right(about, 15, 7)
    assert not is_right(about, 0, 7) and not is_right(about, -7, 7) and is_right(about, 0, 0)
    assert not is_right(question(kind=YES_NO), True, False)


@given(
    fact=st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9),
    times=st.floats(1, 10),
    plus=st.floats(0, 1e6),
)
def test_an_answer_that_was_changed_is_wrong(fact: float, times: float, plus: float) -> None:
    asked = question(times=times, plus=plus)
    assert is_right(asked, fact, fact)
    assert is_answer(asked, changed(asked, fact)) and not is_right(asked, changed(asked, fact), fact)


def test_other_answers_that_were_changed_are_wrong() -> None:
    choice = question(kind=CHOICE, choices=CHOICES)
    assert changed(choice, "all") == "none" and changed(question(kind=YES_NO), True) is False


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (question(), "7"), (question(), True), (question(), None), (question(), float("nan")),
        (question(), float("inf")), (question(), 10**400), (question(), -(10**400)),
        (question(kind=YES_NO), 1), (question(kind=CHOICE, choices=CHOICES), "some"),
    ],
)  # fmt: skip
def test_what_is_no_answer(asked: Question, answer: object) -> None:
    assert not is_answer(asked, answer)


def test_answers_as_people_read_them() -> None:
    assert told(question(kind=CHOICE, choices=CHOICES), "all", "zh") == "全部"
    assert [told(question(kind=YES_NO), value, "en") for value in (True, False)] == ["yes", "no"]
    assert told(question("cost_ns"), 1500, "en") == "1.50 µs"


# Sessions


def zombie(**observations: Any) -> Session:
    facts = {"zombies": 5, "status": 256, "code": 1, "memory_bytes": 0, "killed": False, "left": 2}
    return Session(
        "zombie", "2026-01-02T03:04:05.678901+00:00", "Linux 6.1",
        {"parent_pid": 41, "zombie_pid": 42}, facts, {"killed": True, "memory_bytes": 0}, observations,
    )  # fmt: skip


RIGHT = {"zombies": 5, "code": 1, "killed": False, "left": 2}


def test_marks() -> None:
    said = words.of_lab("zombie")
    assert session.marks(session.graded(said, zombie(**RIGHT))) == (4, 4)
    assert session.marks(session.graded(said, zombie(**{**RIGHT, "left": 3}))) == (3, 4)
    assert session.marks(session.graded(said, zombie())) == (0, 4)
    assert [grade.right for grade in session.foreseen(said, zombie())] == [False, True]
    assert [asked.name for asked in session.missing(said, zombie(code=1))] == ["zombies", "killed", "left"]


@pytest.mark.parametrize("part", Session._fields)
def test_each_part_of_a_session_is_in_its_digest(part: str) -> None:
    begun = zombie(**RIGHT)
    other: Any = "x" if isinstance(getattr(begun, part), str) else {"killed": 7}
    assert len(session.digest(begun)) == 64
    assert session.digest(begun._replace(**{part: other})) != session.digest(begun)


def test_sessions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "new/labs.json"
    assert state.read(path) == []
    state.keep(path, zombie())
    state.keep(path, zombie()._replace(taken_at="later"))
    state.keep(path, zombie(**RIGHT))
    kept = state.read(path)
    assert [one.session for one in kept] == [zombie()._replace(taken_at="later"), zombie(**RIGHT)]
    assert all(one.whole for one in kept)
    assert state.last(kept, "zombie") == Kept(zombie(**RIGHT), True)
    assert state.last(kept, "orphans") is None
    assert os.listdir(path.parent) == ["labs.json"]


def test_a_changed_session_is_known_and_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "labs.json"
    state.keep(path, zombie(**RIGHT))
    path.write_text(path.read_text().replace('"zombies": 5', '"zombies": 6'))
    assert [one.whole for one in state.read(path)] == [False]
    state.keep(path, zombie()._replace(taken_at="later"))
    assert [one.whole for one in state.read(path)] == [False, True]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b'{"sessions": 1}', b'{"sessions": [1]}', b'{"sessions": [{}]}', b"\xff\xfe",
        b"[" * 99999,
        json.dumps({"sessions": [session.as_json(zombie()) | {"facts": []}]}).encode(),
        json.dumps({"sessions": [session.as_json(zombie()) | {"facts": {"zombies": [1]}}]}).encode(),
    ],
)  # fmt: skip
def test_a_damaged_file_is_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "labs.json"
    path.write_bytes(data)
    with pytest.raises(KintroError, match="is damaged") as raised:
        state.read(path)
    assert raised.value.hint is not None and "mv" in raised.value.hint
    with pytest.raises(KintroError, match="is damaged"):
        state.keep(path, zombie())
    assert path.read_bytes() == data


def test_where_sessions_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert state.file_of({"XDG_STATE_HOME": "/x"}) == Path("/x/kintro/labs.json")
    at_home = Path.home() / ".local/state/kintro/labs.json"
    assert state.file_of({}) == state.file_of({"XDG_STATE_HOME": "relative"}) == at_home


def test_a_session_of_another_lab_does_not_fit() -> None:
    said = words.of_lab("zombie")
    assert session.fits(said, zombie(**RIGHT))
    assert not session.fits(said, zombie(apples=1))
    assert not session.fits(said, zombie(left="two"))
    assert not session.fits(said, zombie()._replace(facts={"zombies": 5}))
    # What is not asked for is told, too.
    assert not session.fits(said, zombie(**RIGHT)._replace(shown={"parent_pid": 41}))
    facts = {name: fact for name, fact in zombie().facts.items() if name != "status"}
    assert not session.fits(said, zombie(**RIGHT)._replace(facts=facts))


# The sheet


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sheet_tells_what_was_done(language: str) -> None:
    done = Kept(zombie(**{**RIGHT, "left": 3}), True)
    text = sheet_markdown.markdown(sheet.sheet(["zombie"], [done], language))
    assert session.digest(done.session) in text
    assert "3/4" in text and "kintro tree 41" in text
    explanation = getattr(words.of_lab("zombie").explanation, language)
    assert markdown.escaped(explanation.partition("{")[0]) in text


def test_a_sheet_keeps_the_answers_of_a_lab_that_is_open_to_itself() -> None:
    begun = zombie(zombies=7)._replace(facts=zombie().facts | {"left": 987654})
    for form in (sheet_markdown.markdown, html.sheet):
        text = form(sheet.sheet(["zombie"], [Kept(begun, True)], "en"))
        assert "987654" not in text and "987,654" not in text
        assert "gives back its memory" not in text
        assert "not checked yet" in text


def test_a_sheet_to_hand_out() -> None:
    text = sheet_markdown.markdown(sheet.sheet(list(catalogue.NAMES), [], "en"))
    assert "kintro tree PARENT_PID" in text
    assert f"0 of {len(catalogue.NAMES)} labs" in text


def test_a_sheet_tells_of_a_session_that_was_changed() -> None:
    text = sheet_markdown.markdown(sheet.sheet(["zombie"], [Kept(zombie(**RIGHT), False)], "en"))
    assert "not as kintro wrote it" in text


def test_markup_of_strangers_is_text() -> None:
    evil = zombie(**RIGHT)._replace(kernel="<script>|`x`\x1b[2J")
    made = sheet.sheet(["zombie"], [Kept(evil, True)], "en")
    for text in (sheet_markdown.markdown(made), html.sheet(made)):
        assert "<script>" not in text and "\x1b" not in text
    assert html.sheet(made).startswith("<!DOCTYPE html>")


# The command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["start"], "which lab"),
        (["check"], "which lab"),
        (["list", "zombie"], "list is of all labs"),
        (["list", "--answers", "x"], "--answers is for start and check"),
        (["start", "zombie", "--html", "x"], "--html is for sheet"),
        (["start", "zombie", "--json"], "--json is for"),
        (["start", "zombie", "-o", "x"], "-o is not for start"),
        (["sheet", "--html", "x", "-o", "y"], "-o is not for --html"),
    ],
)
def test_what_does_not_go_together(arguments: list[str], message: str) -> None:
    with pytest.raises(KintroError, match=message) as raised:
        run_lab(*arguments)
    assert raised.value.exit_code == 2


def run_lab(*arguments: str) -> int:
    args = parser(["lab"]).parse_args(["lab", *arguments])
    return int(args.run(args))


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of sessions, of nobody's sudo."""
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return state.file_of(os.environ)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "expected an object"),
        ('{"apples": {}}', "expected an object"),
        ('{"observations": []}', "are objects"),
        ('{"observations": {"apples": 1}}', "nobody asks for apples"),
        ('{"observations": {"left": "two"}}', "'two' is no answer to left"),
        ('{"observations": {"zombies": 5, "left": "two"}}', "'two' is no answer to left"),
        ('{"predictions": {"killed": "perhaps"}}', "'perhaps' is no answer to killed"),
        ('{"observations": {"killed": 7}}', "7 is no answer to killed"),
        (f'{{"observations": {{"left": {10**400}}}}}', "is no answer to left"),
        ("[" * 99999, "is no JSON"),
        ('{"observations": {"left": 1}}', "answers of the lab zombie are missing"),
    ],
)
def test_files_of_answers(own_state: Path, tmp_path: Path, text: str, message: str) -> None:
    state.keep(own_state, zombie())
    path = tmp_path / "answers.json"
    path.write_text(text)
    with pytest.raises(KintroError, match=message) as raised:
        run_lab("check", "zombie", "--answers", str(path))
    assert raised.value.exit_code == 66
    [kept] = state.read(own_state)
    assert kept.session.observations == ({"left": 1} if "missing" in message else {})


def test_each_answer_is_kept_at_once(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that one who leaves is not asked again."""
    state.keep(own_state, zombie())
    monkeypatch.setattr("sys.stdin", io.StringIO("5\n1\n"))
    with pytest.raises(KintroError, match="nobody answers"):
        run_lab("check", "zombie")
    [kept] = state.read(own_state)
    assert kept.whole and kept.session.observations == {"zombies": 5, "code": 1}


def test_answers_as_one_would_type_them(
    own_state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state.keep(own_state, zombie())
    path = tmp_path / "answers.json"
    path.write_text('{"observations": {"zombies": "5", "code": 1, "killed": "no", "left": "2"}}')
    assert run_lab("check", "zombie", "--answers", str(path)) == 0
    assert "empty answer" not in capsys.readouterr().out  # nobody is asked
    [kept] = state.read(own_state)
    assert kept.session.observations == RIGHT
    with pytest.raises(KintroError, match="has been answered"):
        run_lab("check", "zombie", "--answers", str(path))


def test_a_lab_that_was_not_done(own_state: Path) -> None:
    for name, command in (("zombie", "kintro"), ("orphans", "sudo kintro")):
        with pytest.raises(KintroError, match="has not been done yet") as raised:
            run_lab("check", name)
        assert raised.value.hint == f"begin with: {command} lab start {name}"


def test_a_session_that_was_changed_is_not_checked(own_state: Path) -> None:
    state.keep(own_state, zombie(**RIGHT))
    own_state.write_text(own_state.read_text().replace('"left": 2', '"left": 3'))
    with pytest.raises(KintroError, match="not as kintro wrote it"):
        run_lab("check", "zombie")


def test_nobody_is_asked_where_json_is_wanted(own_state: Path) -> None:
    state.keep(own_state, zombie())
    with pytest.raises(KintroError, match="are missing") as raised:
        run_lab("check", "zombie", "--json")
    assert raised.value.exit_code == 2
