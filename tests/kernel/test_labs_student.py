"""A student does each lab with the commands that it names, and finds what kintro has recorded."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kintro.labs import catalogue, words
from kintro.labs.lab import CHOICE, YES_NO, Question

from .harness import KINTRO, environment, json_lines, kintro, running, strictly, wait_for_attached

pytestmark = pytest.mark.kernel

LINKS = {"syscalls": 6, "trace-fork": 4, "ctxswitch": 6, "watch": 4}  # tracepoints that their probes are at
Seen = dict[str, Any]  # verb, or `watch` → what it told with --json: a document, or a list of events


class Student:
    """Talks with `kintro lab start`, and has a second terminal for commands."""

    def __init__(self, stack: ExitStack, folder: Path, lab: str) -> None:
        self._stack, self._folder = stack, folder
        env = environment(XDG_STATE_HOME=str(folder), LANG="C.UTF-8")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": env}
        self._lab = stack.enter_context(running([KINTRO, "lab", "start", lab], **pipes))
        self._traces: list[tuple[str, Path, subprocess.Popen[bytes]]] = []
        self.seen: Seen = {}

    def listens(self) -> str:
        """What is said up to the next prompt, or the end."""
        said = ""
        while not said.endswith(("> ", "goes on. ")):
            piece = os.read(self._lab.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
            if not piece:
                break
            said += piece.decode()
        return said

    def says(self, line: str) -> None:
        assert self._lab.stdin is not None
        self._lab.stdin.write(line.encode() + b"\n")
        self._lab.stdin.flush()

    def follows(self, step: str) -> None:
        """Ends the traces that go on, and runs the commands of a step."""
        for verb, path, trace in self._traces:
            trace.send_signal(signal.SIGINT)
            assert trace.wait(timeout=20) == 0
            found = json_lines(path)
            self.seen[verb] = found if verb in ("trace-fork", "watch") else found[-1]
        self._traces.clear()
        for command in re.findall(r"^    (?:sudo )?((?:kintro|kill) .+)$", step, re.MULTILINE):
            program, *arguments = shlex.split(command)
            if program != "kintro":
                subprocess.run([program, *arguments], check=True)
                continue
            verb = "watch" if "--watch" in arguments else arguments[0]
            if "-p" in arguments or verb == "watch":
                path = self._folder / f"{verb}-{len(self.seen)}.json"
                trace = running([KINTRO, *arguments, "--json", "-o", path], stdin=subprocess.DEVNULL)
                process = self._stack.enter_context(trace)
                wait_for_attached(process, LINKS[verb])
                self._traces.append((verb, path, process))
            elif "--json" not in arguments:
                self.seen[verb] = strictly(kintro(*arguments, "--json").stdout)


def calls(seen: Seen, name: str) -> dict[str, Any]:
    found = [call for call in seen["syscalls"]["syscalls"] if call["name"] == name]
    return found[0] if found else {"calls": 0, "errno": {}}


def events(seen: Seen, of: str, /, **wanted: Any) -> list[dict[str, Any]]:
    return [
        event for event in seen["trace-fork"]
        if event["type"] == of and all(event[name] == value for name, value in wanted.items())
    ]  # fmt: skip


def field(seen: Seen, group: str, name: str) -> Any:
    fields = seen["task"]["fields"]
    [value] = [field["proc"] for field in fields if (field["group"], field["name"]) == (group, name)]
    return value


def zombies(seen: Seen) -> int:
    return sum(process["state"] == "Z" for process in seen["tree"]["processes"])


def shared(seen: Seen, shown: dict[str, Any], name: str) -> int:
    """Of the lab's memory, by `maps --diff`."""
    parts = seen["maps"]["mappings"]
    [pages] = [part["pages"] for part in parts if part["a"] and part["a"]["start"] == shown["memory"]]
    return int(pages[name])


def mapping(seen: Seen, address: int) -> dict[str, Any]:
    [found] = [m for m in seen["maps"]["mappings"] if m["start"] <= address < m["end"]]
    return dict(found)


def hogs(seen: Seen) -> list[dict[str, Any]]:
    """The two that computed most, the first one before the nicer, which was forked later."""
    tasks = sorted(seen["ctxswitch"]["tasks"], key=lambda task: -task["on_cpu_ns"])[:2]
    return sorted(tasks, key=lambda task: task["start_time_ns"])


def share(seen: Seen) -> float:
    first, nicer = (task["on_cpu_ns"] for task in hogs(seen))
    return float(100 * nicer / (first + nicer))


def channel(seen: Seen, kind: str, inode: int) -> dict[str, Any]:
    channels = [one for one in seen["ipc"]["channels"] if one["kind"] == kind]
    [found] = [one for one in channels if str(inode) in one["id"].split("-")]
    return dict(found)


def ids(seen: Seen, kind: str) -> list[dict[str, Any]]:
    return [event for event in seen["watch"] if event["type"] == kind]


Find = Callable[[Seen, dict[str, Any]], Any]
FINDS: dict[str, dict[str, Find]] = {
    "zombie": {
        "zombies": lambda seen, shown: zombies(seen),
        "code": lambda seen, shown: field(seen, "state", "exit_code") >> 8,
        "killed": lambda seen, shown: "no",
        "left": lambda seen, shown: zombies(seen),
    },
    "orphans": {
        "adopted": lambda seen, shown: len(events(seen, "reparent")),
        "taker_pid": lambda seen, shown: events(seen, "reparent")[0]["new_ppid"],
        "reason": lambda seen, shown: events(seen, "reparent")[0]["reason"],
    },
    "pid-wrap": {
        "highest": lambda seen, shown: ids(seen, "wrap")[0]["after"],
        "first": lambda seen, shown: ids(seen, "wrap")[0]["id"],
        "given": lambda seen, shown: len(ids(seen, "id")),
    },
    "fork-and-frames": {
        "same_before": lambda seen, shown: shared(seen, shown, "same_frame"),
        "copied_after": lambda seen, shown: shared(seen, shown, "different_frame"),
        "same_after": lambda seen, shown: shared(seen, shown, "same_frame"),
    },
    "address-space": {
        "size_bytes": lambda seen, shown: mapping(seen, shown["memory"])["size_bytes"],
        "resident_bytes": lambda seen, shown: mapping(seen, shown["memory"])["rss_bytes"],
        "kind": lambda seen, shown: mapping(seen, shown["some"])["kind"],
    },
    "kernel-wall": {
        "refused": lambda seen, shown: calls(seen, "write")["errno"]["EFAULT"],
        "died": lambda seen, shown: len([e for e in events(seen, "exit") if e["signal"]]),
        "lived": lambda seen, shown: len(events(seen, "exit", signal=None)),
        "by_signal": lambda seen, shown: next(e["signal"] for e in events(seen, "exit") if e["signal"]),
    },
    "syscall-cost": {
        "getppid_calls": lambda seen, shown: calls(seen, "getppid")["calls"],
        "clock_calls": lambda seen, shown: calls(seen, "clock_gettime")["calls"],
    },
    "time-slices": {
        "nice": lambda seen, shown: field(seen, "priority", "nice"),
        "share_percent": lambda seen, shown: share(seen),
        "involuntary": lambda seen, shown: sum(task["involuntary"] for task in hogs(seen)),
    },
    "ping-pong": {
        "voluntary": lambda seen, shown: next(
            task["voluntary"] for task in seen["ctxswitch"]["tasks"] if task["tid"] == shown["first"]
        ),
    },
    "threads-vs-processes": {
        "threads": lambda seen, shown: len(events(seen, "fork", kind="thread")),
        "processes": lambda seen, shown: len(events(seen, "fork", kind="process")),
        "own_pid": lambda seen, shown: "no",
    },
    "signals": {
        "pending": lambda seen, shown: next(
            name for name in ("SIGUSR1", "SIGUSR2", "SIGIO") if name in json.dumps(seen["ipc"])
        ),
        "handled": lambda seen, shown: calls(seen, "rt_sigreturn")["calls"],
        "lost": lambda seen, shown: shown["sent"] - calls(seen, "rt_sigreturn")["calls"],
    },
    "channels": {
        "pipe_bytes": lambda seen, shown: channel(seen, "pipe", shown["pipe"])["bytes"],
        "socket_bytes": lambda seen, shown: channel(seen, "unix", shown["socket"])["bytes"],
        "reader_pid": lambda seen, shown: next(
            end["pid"]
            for end in channel(seen, "pipe", shown["pipe"])["endpoints"]
            if end["role"] == "read"
        ),
        "left_bytes": lambda seen, shown: channel(seen, "pipe", shown["pipe"])["bytes"],
    },
    "pipe-vs-shared-memory": {
        "pipe_writes": lambda seen, shown: calls(seen, "write")["calls"],
        "memory_writes": lambda seen, shown: calls(seen, "write")["calls"],
        "same_frames": lambda seen, shown: shared(seen, shown, "same_frame"),
    },
}  # fmt: skip


def shown_in(said: str) -> dict[str, Any]:
    """Addresses and numbers that the lab tells."""
    addresses = [int(word, 16) for word in re.findall(r"\b0x[0-9a-f]+", said)]
    memory, some, *_ = [*dict.fromkeys(addresses), None, None]
    found: dict[str, Any] = {"memory": memory, "some": some}
    patterns = {
        "sent": r"been sent (\d+)", "first": r"Processes (\d+) and", "pipe": r"the pipe (\d+)",
        "socket": r"of which one is (\d+)",
    }  # fmt: skip
    for name, pattern in patterns.items():
        if match := re.search(pattern, " ".join(said.split())):
            found[name] = int(match[1])
    return found


def some_answer(question: Question) -> str:
    return "1" if question.kind != YES_NO else "yes"


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_a_student_finds_what_is_asked_for(tmp_path: Path, name: str) -> None:
    said_by_lab = words.of_lab(name)
    with ExitStack() as stack:
        student = Student(stack, tmp_path, name)
        for question in said_by_lab.predictions:
            student.listens()
            student.says(some_answer(question))
        told, first = "", ""
        for step in said_by_lab.steps:
            told = student.listens()
            first = first or told
            student.follows(told)
            asked = [question for question in said_by_lab.observations if question.step == step]
            if not asked:
                assert told.endswith("goes on. ")
                student.says("")
            for number, question in enumerate(asked):
                if number:
                    told = student.listens()
                find = FINDS[name].get(question.name)
                # Costs differ from moment to moment: what is found of them is no matter here.
                answer = find(student.seen, shown_in(first)) if find else some_answer(question)
                student.says(_typed(question, answer))
        student.listens()
    done = kintro("lab", "check", name, "--json", env=environment(XDG_STATE_HOME=str(tmp_path)))
    grades = [grade for grade in strictly(done.stdout)["observations"] if grade["name"] in FINDS[name]]
    wrong = [grade for grade in grades if not grade["right"]]
    assert wrong == []


def _typed(question: Question, answer: Any) -> str:
    return str(answer) if question.kind != CHOICE or answer in question.choices else "1"
