"""The shell of the tests in machines, without a machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

VM = Path(__file__).parents[1] / "vm"


def script(tmp_path: Path, text: str, **variables: str) -> subprocess.Popen[str]:
    """Runs that after lib.sh, with an `over` that is written when the script ends."""
    lines = f". '{VM}/lib.sh'\nwork=$PWD\ntrap 'touch over' EXIT\n{text}\n"
    path = tmp_path / "script"
    path.write_text(lines)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables}
    return subprocess.Popen(["bash", path], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> tuple[int, str]:
    stderr = process.communicate(timeout=30)[1]
    return process.returncode, stderr


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("step one 30 sh -c 'echo words; exit 69'", 1, "words\nkintro: one: failed"),
        ("step one 1 sleep 30", 1, "kintro: one: not done after 1 s"),
        ("(step one 30 false) || unavailable other", 69, "kintro: one: failed\nkintro: not run: other"),
    ],
)
def test_how_a_step_fails(tmp_path: Path, text: str, code: int, says: str) -> None:
    assert told(script(tmp_path, text)) == (code, f"{says}\n")
    assert tmp_path.joinpath("over").exists()


def test_when_the_time_for_all_is_over(tmp_path: Path) -> None:
    code, said = told(script(tmp_path, "step one 30 sleep 30", KINTRO_VM_SECONDS="1"))
    assert (code, said) == (69, "kintro: not run: one, and what comes after: 1 s are over\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("inside", ["{}", "(trap interrupted HUP INT TERM && {})"])
def test_a_signal_ends_the_step_too(tmp_path: Path, number: signal.Signals, inside: str) -> None:
    os.mkfifo(tmp_path / "begun")
    process = script(tmp_path, inside.format("step one 600 sh -c 'echo $$ >begun; exec sleep 600'"))
    step = int(tmp_path.joinpath("begun").read_text())
    group = [process.pid, *map(int, children(process.pid))] if inside != "{}" else [process.pid]
    for pid in group:  # as a terminal does
        os.kill(pid, number)
    assert told(process) == (130, "")
    assert tmp_path.joinpath("over").exists()
    assert has_ended(step)


def has_ended(pid: int) -> bool:
    """It may be a zombie as long as whoever takes orphans does not wait for it."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_kernel_that_is_not_in_the_table(tmp_path: Path) -> None:
    """Else nothing would run, and pass."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run([VM / "kernels", "6.1", "6.2"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "kintro: no kernel 6.2; there are: 5.10 6.1 6.12 backports testing\n"
