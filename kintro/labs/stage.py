"""Where a lab is played: its program, which waits at each step, and what is shown and recorded of it.

A program tells one line of names and values at each step, and goes on when it is sent a line. It runs as the
user who called sudo, in a session of its own, so that Ctrl-C at the terminal does not reach it; its whole
process group ends with the stage.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from kintro.concepts.words import Value
from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.labs.lab import Answer
from kintro.sources.command import calling_user

PROGRAMS = Path(__file__).parent / "programs"
BUILD_S = 120.0  # for a Go program
STEP_S = 30.0  # at most, from one line of a program to the next

# The program runs as the user who called sudo.
_READABLE = "kintro and its Python have to be where every user can read them, as script/install has it"


class Stage:
    """A context manager: whatever was begun on it ends with it."""

    def __init__(self) -> None:
        self.shown: dict[str, Value] = {}  # what the student is told: pids, addresses
        self.facts: dict[str, Answer] = {}  # what the kernel did, by the names of questions
        self._random = random.SystemRandom()
        self.source: Path | None = None  # of its program
        self._program: subprocess.Popen[str] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            if self._program is not None:
                self._end(self._program)

    def _end(self, program: subprocess.Popen[str]) -> None:
        # Not waited for yet, so that the number of its process group is nobody else's.
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        for stream in (program.stdin, program.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    @property
    def pid(self) -> int:
        """The program's."""
        assert self._program is not None
        return self._program.pid

    def draw(self, low: int, high: int) -> int:
        """A random number, both ends included."""
        return self._random.randint(low, high)

    def choose(self, *of: Any) -> Any:
        """One of these, at random."""
        return self._random.choice(of)

    def begin(self, name: str, *arguments: Value, as_root: bool = False) -> dict[str, int]:
        """Starts a program, its Go version where there are one and a Go tool chain; what it tells first."""
        more = {} if as_root else _as_calling_user()
        self.source, command = self._command(name, more)
        try:
            self._program = subprocess.Popen(
                [*command, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
                **more,
            )
        except OSError as error:
            message = f"cannot start the lab's program: {error.strerror}"
            raise KintroError(message, _READABLE, EX_UNAVAILABLE) from error
        return self._told(_READABLE)

    def _command(self, name: str, more: dict[str, Any]) -> tuple[Path, list[str]]:
        """A program's source, and how it is run."""
        script, source = PROGRAMS / f"{name}.py", PROGRAMS / f"{name}.go"
        go = shutil.which("go")
        if go is not None and source.exists():
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kintro-lab-"))
            if more:
                os.chown(folder, more["user"], more["group"])
            built = str(Path(folder, name))
            build = [go, "build", "-o", built, str(source)]
            with suppress(subprocess.SubprocessError, OSError):
                subprocess.run(build, check=True, capture_output=True, cwd=folder, timeout=BUILD_S, **more)
                return source, [built]
        return script, [sys.executable, "-I", str(script)]

    def step(self) -> dict[str, int]:
        """Lets the program go on; what it tells next."""
        assert self._program is not None and self._program.stdin is not None
        with suppress(BrokenPipeError):
            self._program.stdin.write("\n")
            self._program.stdin.flush()
        return self._told()

    def _told(self, hint: str = "start the lab again") -> dict[str, int]:
        assert self._program is not None and self._program.stdout is not None
        poll = select.poll()
        poll.register(self._program.stdout, select.POLLIN)
        line = self._program.stdout.readline() if poll.poll(STEP_S * 1000) else None
        if not line:
            why = "has ended" if line is not None else "does not answer"
            raise KintroError(f"the lab's program {why}", hint, EX_UNAVAILABLE)
        words = line.split()
        return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}


def _as_calling_user() -> dict[str, Any]:
    """Options of Popen for a program of the user who called sudo; none without sudo."""
    user = calling_user()
    if user is None:
        return {}
    groups = os.getgrouplist(user.name, user.gid)
    env = {**os.environ, "HOME": user.home, "USER": user.name, "LOGNAME": user.name}
    return {"user": user.uid, "group": user.gid, "extra_groups": groups, "env": env}
