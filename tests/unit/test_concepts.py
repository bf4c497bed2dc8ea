"""Words about claims, and how an experiment is run: its deadline, its failures, what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kintro.concepts import runner, scene, words
from kintro.concepts.experiment import Experiment, Finding, NotObserved, judged
from kintro.errors import EX_NOPERM, KintroError


def finding(
    observe: Callable[[], Any], judge: Callable[[Any], Finding] | None = None, **more: Any
) -> Finding:
    """What comes of an experiment, under the id of any claim."""
    any_id = next(iter(words.claims()))
    seen = judge or (lambda amount: Finding(judged(amount == 7, False), {"amount": amount}))
    return runner.run(Experiment(any_id, observe, seen, **more)).finding


def names(template: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", template))


@pytest.mark.parametrize("claim", words.claims().values(), ids=lambda claim: claim.id)
def test_words_in_every_language(claim: words.Claim) -> None:
    for text in claim:
        if isinstance(text, words.Text):
            assert all(text)
            assert names(text.en) == names(text.zh)
            assert not re.search("[\u4e00-\u9fff]", text.en) and re.search("[\u4e00-\u9fff]", text.zh)
    assert claim.reading and claim.commands
    terms = words.of_concept(claim.concept).terms
    assert names(claim.seen.en) <= terms.keys()


@pytest.mark.parametrize("concept", words.CONCEPTS)
def test_terms_in_every_language(concept: str) -> None:
    for text in words.of_concept(concept).terms.values():
        assert all(text) and names(text.en) == names(text.zh)


def test_every_claim_has_its_experiment() -> None:
    assert [experiment.id for experiment in runner.experiments()] == list(words.claims())


def test_those_that_are_asked_for() -> None:
    assert [experiment.id for experiment in runner.experiments(["F4", "F1"])] == ["F1", "F4"]
    found = {words.claims()[experiment.id].concept for experiment in runner.experiments(["fork"])}
    assert found == {"fork"}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("cost_ns", 1_250_000, "1.25 ms"),
        ("cost_ns", -12.4, "-12 ns"),
        ("held_bytes", 4096, "4 KiB"),
        ("end_address", 4096, "0x1000"),
        ("same_percent", 99.5, "99.5 %"),
        ("pages", 12345, "12,345"),
        ("child_pid", 12345, "12345"),
        ("ratio", 3.14159, "3.14"),
        ("name", "a\x1bb", "a\\x1bb"),
        ("equal", True, "✓"),
        ("pages", None, "?"),
    ],
)
def test_facts_as_people_read_them(name: str, value: words.Value, told: str) -> None:
    assert words.shown(name, value) == told
    assert words.filled(f"({{{name}}})", {name: value}) == f"({told})"


def test_a_verdict_follows_from_the_numbers() -> None:
    assert finding(lambda: 7) == Finding("holds", {"amount": 7})
    assert finding(lambda: 8) == Finding("refuted", {"amount": 8})
    assert judged(True, True) == "holds-with-nuance"


def refuses(error: Exception) -> Callable[[], Any]:
    def observe() -> Any:
        raise error

    return observe


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotObserved("deadline", limit_s=1), "deadline"),
        (KintroError("no", None, EX_NOPERM), "permission"),
        (KintroError("no"), "failed"),
        (OSError(28, "No space left on device"), "failed"),
        (AssertionError("x"), "bug"),
        (SystemExit(3), "died"),
    ],
)
def test_what_fails_is_not_observed(error: Exception, reason: str) -> None:
    found = finding(refuses(error))
    assert (found.verdict, found.reason) == ("not-observed", reason)
    words.filled(words.common()[reason].en, found.facts)


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"lost": 0}, "refuted"), ({"lost": 2}, "not-observed"), ({"lost": None}, "not-observed"),
        ({"complete": True}, "refuted"), ({"complete": None}, "not-observed"), ({}, "refuted"),
    ],
)  # fmt: skip
def test_what_was_seen_in_part_refutes_nothing(facts: dict[str, words.Value], verdict: str) -> None:
    for judgement in ("refuted", "holds"):
        found = runner.found(Experiment("T1", partial(Finding, judgement, facts), lambda seen: seen))
        assert found.facts == facts
        assert found.verdict == (verdict if judgement == "refuted" else "holds")
        assert (found.reason in words.common()) == (found.verdict == "not-observed")


def test_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "DEADLINE_S", 0.3)
    assert finding(lambda: time.sleep(60)).reason == "deadline"


def test_it_is_told_to_end() -> None:
    [experiment, *_] = runner.experiments()
    waits = experiment._replace(observe=lambda: time.sleep(60), root=False)
    assert runner.run(waits, told_to_end=lambda: True).finding.reason == "told-to-end"


def test_nothing_stays_behind(tmp_path: Path) -> None:
    told = tmp_path / "pids"

    def observe() -> int:
        def play() -> Any:
            grandchild = os.fork()
            if grandchild == 0:
                time.sleep(60)
            told.write_text(f"{os.getpid()} {grandchild}")
            yield
            signal.pause()

        actor = scene.Actor(play)
        actor.step()
        return 7

    assert finding(observe).verdict == "holds"
    for pid in map(int, told.read_text().split()):
        deadline = time.monotonic() + 10
        while alive(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_play_in_steps() -> None:
    def play(first: int) -> Any:
        word = yield first + 1
        yield f"{word}!"

    with scene.Actor(play, 4) as actor:
        assert (actor.step(), actor.step("so"), actor.step()) == (5, "so!", None)
        assert actor.wait() == 0
    with scene.Actor(play, 4) as actor:
        pass
    assert os.WIFSIGNALED(actor.wait())
