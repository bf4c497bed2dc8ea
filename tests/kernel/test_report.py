"""kintro report as a user runs it: as root, as nobody, in a container, interrupted, on a process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from kintro.concepts import words

from .harness import KINTRO, as_nobody, environment, kintro, running, strictly, wait_for

pytestmark = pytest.mark.kernel

FORK = [claim.id for claim in words.of_concept("fork").claims]


def claims(line: bytes) -> dict[str, dict[str, Any]]:
    return {claim["id"]: claim for claim in strictly(line)["claims"]}


def facts(claim: dict[str, Any]) -> dict[str, Any]:
    return {part["name"]: part["value"] for part in claim["evidence"] if part["type"] == "fact"}


def test_claims_and_their_numbers_and_the_files_of_one_run(tmp_path: Path) -> None:
    page, text = tmp_path / "r.html", tmp_path / "r.md"
    done = kintro("report", "fork", "--json", "--lang", "en", "--html", page, "--markdown", text)
    assert (done.returncode, done.stderr) == (0, b"")
    whole, found = strictly(done.stdout), claims(done.stdout)
    assert whole["kernel"].split()[1] == os.uname().release and whole["host"] == os.uname().nodename
    assert list(found) == FORK
    assert {claim["verdict"] for claim in found.values()} <= {"holds", "holds-with-nuance"}
    copied = facts(found["F2"])
    assert copied["same_before"] == copied["pages"] == 4096
    assert copied["own_after"] == copied["written"] and 500 <= copied["written"] <= 1500
    assert facts(found["F1"])["lost"] == 0
    [picture] = [part for part in found["F2"]["evidence"] if part["type"] == "picture"]
    assert picture["shape"] == "layout"
    shared = [band["share"] for band in picture["data"]["bands"] if band["share"]]
    assert sum(share["copied"] for share in shared) >= copied["written"]
    for written in (page.read_text(), text.read_text()):
        for claim in found.values():
            assert claim["id"] in written
        assert f"{copied['written']:,}" in written


def test_as_nobody(tmp_path: Path) -> None:
    done = kintro("report", "fork", "--json", "--lang", "zh", cwd="/", **as_nobody())
    assert (done.returncode, done.stderr) == (0, b"")
    found = claims(done.stdout)
    assert list(found) == FORK
    for claim in found.values():
        if claim["verdict"] == "not-observed":
            assert claim["reason"] == words.common()["root"].zh and claim["seen"] is None
        else:
            assert claim["verdict"].startswith("holds") and facts(claim)


def test_in_a_container() -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    namespaces = ("--pid", "--net", "--ipc", "--mount", "--fork")
    command = [unshare, *namespaces, "sh", "-c", f"{KINTRO} report fork --json; exit $?"]
    done = subprocess.run(command, capture_output=True, timeout=120, env=environment())
    assert done.returncode == 0, done.stderr
    found = claims(done.stdout)
    assert list(found) == FORK
    assert "refuted" not in {claim["verdict"] for claim in found.values()}


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_ctrl_c_ends_it_with_what_is_there_by_then(options: tuple[str, ...], tmp_path: Path) -> None:
    command = [KINTRO, "report", "--lang", "en", *options]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        workers = wait_for(lambda: psutil.Process(process.pid).children(), "the first experiment")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    if options:
        assert len(strictly(out)["claims"]) < len(words.claims())
    else:
        assert b"It was interrupted." in out
    assert not any(worker.is_running() for worker in workers)


def test_of_a_running_process() -> None:
    sleeper = [sys.executable, "-S", "-E", "-c", "import time; print(flush=True); time.sleep(60)"]
    with running(sleeper, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        done = kintro("report", "--on", process.pid, "--json", "--lang", "en", timeout=200)
        assert process.poll() is None
    assert (done.returncode, done.stderr) == (0, b"")
    whole, found = strictly(done.stdout), claims(done.stdout)
    assert whole["pid"] == process.pid and list(found) == list(words.claims())
    for claim in found.values():
        assert bool(claim["reason"]) == (claim["verdict"] == "not-observed"), claim
        assert bool(claim["seen"]) != bool(claim["reason"])


def test_of_a_process_that_ends_meanwhile() -> None:
    with running(["sleep", "60"]) as sleeper:
        command = [KINTRO, "report", "--on", str(sleeper.pid), "--json", "--lang", "en"]
        with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            wait_for(lambda: psutil.Process(process.pid).children(), "the first experiment")
            sleeper.terminate()
            sleeper.wait()
            out, err = process.communicate(timeout=200)
    assert (process.returncode, err) == (66, b"")
    reasons = {claim["reason"] for claim in claims(out).values()}
    assert f"process {sleeper.pid} has ended" in reasons
    assert not any(reason and "could not be done" in reason for reason in reasons)


def test_nothing_in_the_way_of_an_old_file(tmp_path: Path) -> None:
    done = kintro("report", "F1", "--html", tmp_path / "none" / "r.html")
    assert done.returncode == 74
    assert done.stderr.decode().startswith(f"kintro: cannot write {tmp_path}/none/r.html: No such file")


@pytest.mark.parametrize("option", ["--html", "--markdown", "--json -o"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_tried(option: str, tmp_path: Path) -> None:
    done = on_a_terminal(f"{KINTRO} report F1 {option} {tmp_path / 'none' / 'r'}")
    assert b"cannot write" in done.stdout and b"0/1" not in done.stdout


def test_a_file_keeps_what_it_held_until_there_is_something_to_write(tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    page.write_text("of yesterday" * 100_000)
    with running([KINTRO, "report", "--html", page]) as process:
        wait_for(lambda: psutil.Process(process.pid).children(), "the first experiment")
        process.kill()
        process.wait()
    assert page.read_text() == "of yesterday" * 100_000
    assert kintro("report", "T1", "--html", page).returncode == 0
    assert "yesterday" not in page.read_text()


def test_numbers_are_drawn_anew() -> None:
    written = {facts(claims(kintro("report", "F2", "--json").stdout)["F2"])["written"] for _ in range(4)}
    assert len(written) > 1


def on_a_terminal(command: str) -> subprocess.CompletedProcess[bytes]:
    script = shutil.which("script")
    if script is None:
        pytest.skip("script is not installed")
    return subprocess.run(
        [script, "-qec", command, "/dev/null"],
        capture_output=True,
        timeout=60,
        env=environment(),
        stdin=subprocess.DEVNULL,
    )


def test_a_progress_bar_only_on_a_terminal(tmp_path: Path) -> None:
    done = on_a_terminal(f"{KINTRO} report F1 --json -o {tmp_path / 'r.json'}")
    assert b"0/1" in done.stdout and done.stdout.endswith(b"\r\x1b[K")
    assert json.loads((tmp_path / "r.json").read_text())["claims"][0]["id"] == "F1"
