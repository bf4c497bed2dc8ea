"""Every lab is done with right answers and with wrong ones; and nothing of it stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kintro.errors import KintroError
from kintro.labs import catalogue, stage, words, zombie
from kintro.labs.lab import CHOICE, YES_NO, Question, changed
from kintro.labs.stage import PROGRAMS

from .harness import KINTRO, NOBODY, as_nobody, environment, kintro, running, strictly, wait_for

pytestmark = pytest.mark.kernel

WITHOUT_ROOT = [name for name in catalogue.NAMES if not catalogue.lab(name).root]
DEADLINE_S = 120


def any_answer(question: Question) -> Any:
    if question.kind == YES_NO:
        return True
    return next(iter(question.choices)) if question.kind == CHOICE else 1


class Student:
    """Somebody with a folder of his own, who does one lab."""

    def __init__(self, folder: Path, lab: str, **options: Any) -> None:
        self.folder, self.lab, self.said = folder, lab, words.of_lab(lab)
        self.state = folder / "state"
        self._options = options
        self.state.mkdir(parents=True, exist_ok=True)
        shutil.chown(self.state, *((NOBODY, NOBODY) if options else (0, 0)))
        for above in (folder, *folder.parents[:2]):
            above.chmod(0o755)

    def __call__(self, *arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[bytes]:
        env = environment(XDG_STATE_HOME=str(self.state), LANG="C.UTF-8")
        return kintro("lab", *arguments, env=env, timeout=DEADLINE_S, **self._options, **more)

    def answers(self, **parts: Mapping[str, Any]) -> Path:
        path = self.folder / "answers.json"
        path.write_text(json.dumps(parts))
        path.chmod(0o644)
        return path

    def starts(self) -> dict[str, Any]:
        """Begins the lab with any predictions; the facts of the session."""
        predictions = {question.name: any_answer(question) for question in self.said.predictions}
        done = self("start", self.lab, "--answers", self.answers(predictions=predictions))
        assert (done.returncode, done.stderr) == (0, b"")
        kept = json.loads((self.state / "kintro/labs.json").read_text())["sessions"]
        assert [one["lab"] for one in kept] == [self.lab]
        self.told = done.stdout.decode()
        facts: dict[str, Any] = kept[0]["facts"]
        return facts

    def checks(self, observations: Mapping[str, Any]) -> dict[str, Any]:
        path = self.answers(observations=observations)
        done = self("check", self.lab, "--json", "--answers", path)
        assert done.returncode == 0, done.stderr
        return strictly(done.stdout)


def does(student: Student) -> None:
    facts = student.starts()
    right = {question.name: facts[question.name] for question in student.said.observations}
    shutil.copytree(student.state, student.folder / "begun")
    checked = student.checks(right)
    assert (checked["right"], checked["marks"]) == (len(right), len(right))
    assert not re.search(r"[{}]", checked["explanation"])
    # Wrong ones, in the same session as it was before.
    shutil.rmtree(student.state / "kintro")
    for name in os.listdir(student.folder / "begun"):
        shutil.copytree(student.folder / "begun" / name, student.state / name)
    if student._options:
        for path in (student.state / "kintro", student.state / "kintro/labs.json"):
            shutil.chown(path, NOBODY, NOBODY)
    wrong = {question.name: changed(question, right[question.name]) for question in student.said.observations}
    checked = student.checks(wrong)
    assert (checked["right"], checked["marks"]) == (0, len(wrong))


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_a_lab_with_right_answers_and_with_wrong_ones(tmp_path: Path, name: str) -> None:
    student = Student(tmp_path, name)
    does(student)
    again = student("check", name, "--answers", student.answers(observations={}))
    assert again.returncode == 0 and "Marks: 0/" in again.stdout.decode()
    listed = strictly(student("list", "--json").stdout)
    [entry] = [one for one in listed["labs"] if one["name"] == name]
    assert (entry["right"], entry["marks"]) == (0, len(student.said.observations))
    sheet = student("sheet", name).stdout.decode()
    assert "SHA-256" in sheet and f"0/{len(student.said.observations)}" in sheet


@pytest.mark.parametrize("name", WITHOUT_ROOT)
def test_a_lab_as_a_plain_user(tmp_path: Path, name: str) -> None:
    does(Student(tmp_path, name, **as_nobody()))


def test_numbers_are_not_told_before_they_are_asked_for(tmp_path: Path) -> None:
    """Those of a lab whose numbers cannot stand there by chance."""
    student = Student(tmp_path, "fork-and-frames")
    facts = student.starts()
    for name in ("same_before", "copied_after", "same_after"):
        assert not re.search(rf"(?<!\d){facts[name]}(?!\d)", student.told.replace(",", ""))


@pytest.mark.parametrize("name", ["fork-and-frames"])
def test_root_is_needed(tmp_path: Path, name: str) -> None:
    student = Student(tmp_path, name, **as_nobody())
    done = student("start", name, "--answers", student.answers())
    assert done.returncode == 77 and b"needs root" in done.stderr


def test_by_sudo_it_is_the_callers_home_that_counts(tmp_path: Path) -> None:
    """Not that of HOME, which is root's by then, and which the caller may not read."""
    env = environment(SUDO_UID=str(NOBODY), HOME=str(tmp_path), XDG_STATE_HOME="")
    tmp_path.chmod(0o700)
    for action in ("list", "sheet"):
        done = kintro("lab", action, env=env)
        assert (done.returncode, done.stderr) == (0, b"")


def test_verify() -> None:
    done = kintro("lab", "verify", "zombie", "--json", timeout=DEADLINE_S)
    assert done.returncode == 0
    [result] = strictly(done.stdout)["labs"]
    assert (result["lab"], result["problem"]) == ("zombie", "")


TWINS = [name for name in catalogue.NAMES if (PROGRAMS / f"{name.replace('-', '_')}.go").exists()]


@pytest.mark.parametrize("name", TWINS)
def test_a_lab_without_go(name: str) -> None:
    done = kintro("lab", "verify", name, "--json", timeout=DEADLINE_S, env=environment(PATH="/nonexistent"))
    assert strictly(done.stdout)["labs"][0]["problem"] == ""


@pytest.mark.parametrize("name", TWINS)
def test_the_go_version_is_used_where_there_is_go(tmp_path: Path, name: str) -> None:
    if shutil.which("go") is None:
        pytest.skip("no Go tool chain")
    student, source = Student(tmp_path, name), PROGRAMS / f"{name.replace('-', '_')}.go"
    student.starts()
    assert f"    {source}\n" in student.told


def of_session(sid: int) -> list[int]:
    """The processes of a session, which are those of a lab's program."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == sid:
                found.append(pid)
    return found


@pytest.mark.parametrize(
    ("name", "ending", "processes"),
    [
        ("orphans", signal.SIGINT, 4),
        ("orphans", signal.SIGTERM, 4),
        ("orphans", signal.SIGHUP, 4),
        ("fork-and-frames", signal.SIGKILL, 2),
    ],
    ids=str,
)
def test_nothing_stays_behind(tmp_path: Path, name: str, ending: signal.Signals, processes: int) -> None:
    """However kintro ends. The program is the calling user's."""
    state = tmp_path / "state"
    state.mkdir()
    shutil.chown(state, NOBODY, NOBODY)
    for above in (tmp_path, *tmp_path.parents[:2]):
        above.chmod(0o755)
    env = environment(SUDO_UID=str(NOBODY), XDG_STATE_HOME=str(state), LANG="C.UTF-8")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": env}
    with running([KINTRO, "lab", "start", name], **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"1\n")
        process.stdin.flush()
        told = ""
        while not told.endswith(("goes on. ", "frame in both, after the fork?\n> ")):
            piece = os.read(process.stdout.fileno(), 4096)
            assert piece, told
            told += piece.decode()
        program = int(re.findall(r"Process (\d+) has", told)[0])
        pids = of_session(program)
        assert program in pids and len(pids) >= processes
        assert {os.stat(f"/proc/{pid}").st_uid for pid in pids} == {NOBODY}
        process.send_signal(ending)
        process.wait(timeout=20)
    wait_for(lambda: not of_session(program), f"the end of session {program}")


@pytest.mark.parametrize(
    ("name", "steps", "arguments"),
    [
        ("fork_and_frames", 0, "9 3"),
        ("ping_pong", 0, "9"),
        ("pipe_vs_shared_memory", 0, "9 3"),
        ("threads_vs_processes", 1, "2 2"),
        ("time_slices", 0, "3 1"),
        ("time_slices", 1, "3 1"),
    ],
)
def test_children_of_a_program_end_with_it(name: str, steps: int, arguments: str) -> None:
    command = [sys.executable, "-I", PROGRAMS / f"{name}.py", *arguments.split()]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
    with running(command, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        for _ in range(steps):
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
        assert len(of_session(process.pid)) > 1
        process.kill()
        process.wait(timeout=20)
    wait_for(lambda: not of_session(process.pid), f"the end of session {process.pid}")


def test_nobody_is_killed_whom_the_program_merely_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(["sleep", "60"]) as stranger:
        lines = f"print('zombie_pid', {stranger.pid}, flush=True)", "input()"
        (tmp_path / "zombie.py").write_text("\n".join(lines))
        monkeypatch.setattr(stage, "PROGRAMS", tmp_path)
        with stage.Stage() as begun, pytest.raises(KintroError, match="no child of the lab's program"):
            list(zombie.play(begun))
        stranger.terminate()
        assert stranger.wait(timeout=20) == -signal.SIGTERM


def test_what_is_no_text_is_no_answer(tmp_path: Path) -> None:
    """As in a locale that is neither C nor POSIX, where Python takes offence at it."""
    env = environment(XDG_STATE_HOME=str(tmp_path), LANG="C.UTF-8", PYTHONIOENCODING="utf-8:strict")
    typed = b"\xff\xfe\nyes\n0\n" + b"\n" * 4
    done = kintro("lab", "start", "zombie", env=env, stdin=None, input=typed)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"That is no answer to this.") == 1


def test_who_leaves_at_the_last_questions_can_answer_the_others_later(tmp_path: Path) -> None:
    env = environment(XDG_STATE_HOME=str(tmp_path), LANG="C.UTF-8")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": env}
    with running([KINTRO, "lab", "start", "address-space"], **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"1\nmuch\n4 KiB\n8 KiB\n")
        process.stdin.flush()
        told = ""
        while not told.endswith("\n1-5> "):
            piece = os.read(process.stdout.fileno(), 4096)
            assert piece, told
            told += piece.decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert "no number" in told
        assert b"`kintro lab check address-space` asks for them." in process.stdout.read()
    listed = strictly(kintro("lab", "list", "--json", env=env).stdout)["labs"]
    [entry] = [one for one in listed if one["name"] == "address-space"]
    assert entry["taken_at"] is not None and entry["marks"] is None
    done = kintro("lab", "check", "address-space", env=env, stdin=None, input=b"1\n")
    assert done.returncode == 0 and b"RSS" not in done.stdout.split(b"Predictions")[0]
    [kept] = json.loads((tmp_path / "kintro/labs.json").read_text())["sessions"]
    observed = kept["observations"]
    assert (observed["size_bytes"], observed["resident_bytes"], observed["kind"]) == (4096, 8192, "text")


def test_who_leaves_before_all_is_recorded_is_told_that_nothing_is_kept(tmp_path: Path) -> None:
    env = environment(XDG_STATE_HOME=str(tmp_path), LANG="C.UTF-8")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": env}
    with running([KINTRO, "lab", "start", "orphans"], **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"1\n")
        process.stdin.flush()
        told = ""
        while not told.endswith("goes on. "):
            piece = os.read(process.stdout.fileno(), 4096)
            assert piece, told
            told += piece.decode()
        assert "go on only then" in told
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert b"nothing of it is kept" in process.stdout.read()
    listed = strictly(kintro("lab", "list", "--json", env=env).stdout)["labs"]
    assert all(lab["taken_at"] is None for lab in listed)
