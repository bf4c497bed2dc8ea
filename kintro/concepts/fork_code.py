"""An experiment with the code of a program: what parent, child and a stranger have of it in common."""

from __future__ import annotations

import mmap
import os
import random
import sys
from contextlib import ExitStack
from typing import NamedTuple

from kintro.concepts.experiment import Finding, Picture, judged
from kintro.concepts.fork_on import Shared, compared
from kintro.concepts.scene import Actor, Play
from kintro.concepts.words import Value

PAGES = 512  # of data that the child writes to
_STRANGER = "import sys; print(flush=True); sys.stdin.read()"  # of the same program, and not forked from us


class Code(NamedTuple):
    """The pages of code of a process, as others have them."""

    pages_written: int  # of the child's data
    before: Shared  # beside the child, before that
    after: Shared
    stranger: Shared  # beside a process that only runs the same program


def _writes(data: mmap.mmap, pages: list[int]) -> Play:
    yield sum(os.urandom(1))  # it runs some of the code
    for page in pages:
        data[page * mmap.PAGESIZE] ^= 0xFF
    yield len(pages)


def _runs(argv: list[str], stdin: int, stdout: int) -> Play:
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    yield True
    os.execv(argv[0], argv)


def observe_code() -> Code:
    data = mmap.mmap(-1, PAGES * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    data.write(os.urandom(len(data)))
    pages = random.sample(range(PAGES), random.randint(100, 400))
    own = os.getpid()
    with ExitStack() as stack:
        child = stack.enter_context(Actor(_writes, data, pages))
        child.step()
        before = compared(own, child.pid, True)
        written = child.step()
        after = compared(own, child.pid, True)
        fds = *os.pipe(), *os.pipe()
        for fd in fds:
            stack.callback(os.close, fd)
        argv = [sys.executable, "-I", "-S", "-c", _STRANGER]
        stranger = stack.enter_context(Actor(_runs, argv, fds[0], fds[3]))
        stranger.step()
        stranger.step()
        os.read(fds[2], 1)
        return Code(written, before, after, compared(own, stranger.pid, False))


def judge_shared_code(seen: Code) -> Finding:
    facts: dict[str, Value] = {
        "code_before": seen.before.code[0],
        "own_code_before": seen.before.code[1],
        "written": seen.pages_written,
        "own_data_after": seen.after.private[1],
        "code_after": seen.after.code[0],
        "own_code_after": seen.after.code[1],
        "stranger_code": seen.stranger.code[0],
        "stranger_own_code": seen.stranger.code[1],
    }
    shared = all(one.code[0] > 0 and one.code[1] == 0 for one in (seen.before, seen.after))
    wrote = seen.after.private[1] >= seen.pages_written
    known_to_all = seen.stranger.code[0] > 0 and seen.stranger.code[1] == 0
    shown = Picture("shared-frames", seen.after.layout)
    return Finding(judged(shared and wrote, known_to_all), facts, (shown,))
