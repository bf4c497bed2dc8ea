"""The same concepts, seen on a process that was there already and is not disturbed."""

from __future__ import annotations

import re

import pytest

from kintro.concepts import runner, words
from kintro.concepts.experiment import Experiment

from .harness import running

pytestmark = pytest.mark.kernel

CONCEPTS = ("space", "syscall", "switch")
EXPERIMENTS = [experiment for experiment in runner.experiments(CONCEPTS) if experiment.on]
BUSY = ["sh", "-c", "n=0; while [ $n -lt 6000 ]; do sleep 0.005; n=$((n + 1)); done"]


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.id)
def test_on_a_process_that_has_something_to_do(experiment: Experiment) -> None:
    with running(BUSY) as busy:
        result = runner.run(experiment, busy.pid)
        assert busy.poll() is None
    finding, told = result.finding, words.of_concept(result.claim.concept)
    assert finding.verdict in ("holds", "holds-with-nuance"), (finding.reason, finding.facts)
    assert finding.facts.keys() | {picture.caption for picture in finding.pictures} <= told.terms.keys()
    assert result.claim.seen_on is not None
    for text in result.claim.seen_on:
        assert not re.search(r"[{}]", words.filled(text, finding.facts))


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.id)
def test_on_a_process_that_does_nothing(experiment: Experiment) -> None:
    with running(["sleep", "60"]) as idle:
        finding = runner.run(experiment, idle.pid).finding
    assert finding.verdict.startswith("holds") or finding.reason == "quiet", (finding.reason, finding.facts)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.id)
def test_on_a_process_that_is_gone(experiment: Experiment) -> None:
    with running(["true"]) as gone:
        gone.wait()
        finding = runner.run(experiment, gone.pid).finding
    assert (finding.verdict, finding.reason, finding.facts) == ("not-observed", "ended", {"pid": gone.pid})


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.id)
def test_on_a_thread_of_the_kernel(experiment: Experiment) -> None:
    finding = runner.run(experiment, 2).finding
    assert finding.reason in ("", "no-memory", "quiet"), (finding.reason, finding.facts)
