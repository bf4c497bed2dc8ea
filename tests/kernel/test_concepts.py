"""Every claim is tried out on this kernel; and an observation that speaks against it changes the verdict."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kintro.concepts import runner, words
from kintro.concepts.experiment import Experiment, Finding, Shape
from kintro.renderers.figures import MEASURED
from kintro.shapes import Bars, Graph, Table, Tree

from .harness import KINTRO, as_nobody, running

pytestmark = pytest.mark.kernel

EXPERIMENTS = runner.experiments()
# `maps --diff`: pages in the same frame, in different ones, in one of the two only
ROW = re.compile(r"^ *[0-9a-f]+ +(\d+) +(\d+) +(\d+) +(\d+) same mapping", re.MULTILINE)


def doctored(experiment: Experiment, how: str) -> list[Callable[[Any], Any]]:
    concept = words.claims()[experiment.id].concept
    changes = getattr(importlib.import_module(f"tests.kernel.doctored.{concept}"), how)
    return changes.get(experiment.id, [])


def heads_of(shape: Shape) -> tuple[str, ...]:
    """The texts around what a picture shows, which are kintro's own."""
    if isinstance(shape, Table):
        return shape.columns
    if isinstance(shape, Graph):
        return shape.table.columns
    if isinstance(shape, Tree):
        return shape.title, *(column.title for column in shape.columns)
    return (shape.title, shape.unit) if isinstance(shape, Bars) else ()


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.id)
def test_a_claim_on_this_kernel(experiment: Experiment) -> None:
    changes, plain = (doctored(experiment, how) for how in ("DOCTORED", "PLAIN"))
    assert changes

    def judge(seen: Any) -> Finding:
        found = experiment.judge(seen)
        verdicts, plainer = (
            " ".join(experiment.judge(change(seen)).verdict for change in all_changes)
            for all_changes in (changes, plain)
        )
        return found._replace(facts={**found.facts, "doctored": verdicts, "plain": plainer})

    result = runner.run(experiment._replace(judge=judge))
    facts = dict(result.finding.facts)
    assert result.finding.verdict in ("holds", "holds-with-nuance"), (result.finding.reason, facts)
    assert str(facts.pop("doctored")).split() == ["refuted"] * len(changes)
    plainer = str(facts.pop("plain")).split()
    if result.finding.verdict == "holds-with-nuance":  # which was seen, then, and is not told in any case
        assert plain and plainer == ["holds"] * len(plain)
    words_of = words.of_concept(result.claim.concept)
    assert facts.keys() <= words_of.terms.keys()
    assert {picture.caption for picture in result.finding.pictures} <= words_of.terms.keys()
    heads = {head for picture in result.finding.pictures for head in heads_of(picture.shape)}
    assert heads <= {*words.in_pictures("zh"), *MEASURED, ""}
    assert any(type(value) in (int, float) for value in facts.values())  # a verdict carries numbers
    for language in words.LANGUAGES:
        told = words.filled(getattr(result.claim.seen, language), facts)
        assert told and not re.search(r"[{}]", told)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.id)
def test_a_claim_as_a_plain_user(experiment: Experiment) -> None:
    """It holds, or it is not observed for want of rights; it never fails."""
    code = (
        "from kintro.concepts import runner; import sys\n"
        "finding = runner.run(runner.experiments([sys.argv[1]])[0]).finding\n"
        "print(finding.verdict, finding.reason)"
    )
    command = [sys.executable, "-c", code, experiment.id]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, **as_nobody())
    verdict, *reason = told.stdout.split()
    if experiment.root:
        assert (verdict, reason) == ("not-observed", ["root"])
    else:
        assert verdict.startswith("holds")


@pytest.mark.parametrize(
    ("claim", "copied", "shared"), [("F2", True, False), ("F3", False, False), ("F4", True, True)]
)
def test_commands_that_fork_and_compare(claim: str, copied: bool, shared: bool, tmp_path: Path) -> None:
    """As they stand in a shell: half of 8 MiB has frames of its own, and 1 MiB that is shared has not."""
    if shutil.which("pgrep") is None or shutil.which("python3") is None:
        pytest.skip("pgrep or python3 is not installed")
    lines = [line for line in words.claims()[claim].commands if "{pid}" not in line]
    forked = "until pgrep -P $!; do sleep 0.05; done"  # a second may be little where much else runs
    script = "\n".join(lines).replace("sudo kintro", KINTRO).replace("sleep 1", f"{forked}; sleep 1")
    # To a file: what still sleeps in the background would hold a pipe open.
    with (tmp_path / "told").open("w+") as told:
        with running(["bash", "-c", script], stdout=told, start_new_session=True) as shell:
            try:
                assert shell.wait(timeout=60) == 0
            finally:
                os.killpg(shell.pid, signal.SIGKILL)
        told.seek(0)
        rows = [[int(number) for number in found] for found in ROW.findall(told.read())]
    assert rows
    assert any(1024 <= row[1] < 1280 <= sum(row[:2]) for row in rows) == copied
    assert any(row == [256, 0, 0, 0] for row in rows) == shared
