"""The lab signals: what becomes of signals that are held back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

from kintro.labs.lab import Lab
from kintro.labs.stage import Stage
from kintro.observers import syscalls
from kintro.sources.filters import Filters
from kintro.sources.proc_status import read_status

REAL_TIME = signal.SIGRTMIN + 1  # Go keeps the first one for itself, and ends by SIGHUP
STANDARD = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGIO)


def play(stage: Stage) -> Iterator[str]:
    standard = stage.choose(*STANDARD)
    stage.begin("signals", int(standard))
    program = stage.pid
    numbers = [standard] * stage.draw(5, 30) + [REAL_TIME] * stage.draw(5, 30)
    for number in numbers:
        os.kill(program, number)
    stage.shown.update(program_pid=program, sent=len(numbers))
    pending = read_status(program).signals_shared_pending or 0
    [name] = [one.name for one in STANDARD if pending >> one - 1 & 1]
    stage.facts["pending"] = name
    yield "pending"
    counted = syscalls.count(filters=Filters(pid=program), during=stage.step)
    handled = sum(call.calls for call in counted.syscalls if call.name == "rt_sigreturn")
    real_time = numbers.count(REAL_TIME)
    ways = {len(numbers): "all", 2: "one-each", 1 + real_time: "real-time"}
    stage.facts.update(
        handled=handled,
        lost=len(numbers) - handled,
        real_time=real_time,
        which=ways.get(handled, "other"),
    )
    yield "handled"


LAB = Lab("signals", play, root=True, traces=True)
