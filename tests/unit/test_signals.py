"""Signals that are read: which of them end a trace, which are handed on, and that all is as before."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kintro.cli.signals import CAUGHT, Signals

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A signal that gets through is told, and does not end the tests."""
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda n, _: arrived.append(n)) for number in CAUGHT}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    assert arrived == []


class Calls(list):
    """What `handle` called."""

    def end(self) -> None:
        self.append("end")

    def send(self, number: int) -> None:
        self.append(number)


@pytest.mark.parametrize("number", CAUGHT)
def test_with_a_command_every_signal_is_handed_on(number: int) -> None:
    calls = Calls()
    with Signals() as signals:
        os.kill(os.getpid(), number)
        signals.handle(calls.end, calls.send)
    assert calls == [number]


@pytest.mark.parametrize("number", CAUGHT)
def test_without_a_command_some_end_the_trace(number: int) -> None:
    calls = Calls()
    with Signals() as signals:
        os.kill(os.getpid(), number)
        signals.handle(calls.end, None)
    assert calls == (["end"] if number in ENDING else [])


def test_each_handle_takes_one() -> None:
    calls = Calls()
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        signals.handle(calls.end, calls.send)
        assert len(calls) == 1
        signals.handle(calls.end, calls.send)
    assert sorted(calls) == [signal.SIGUSR1, signal.SIGTERM]


def test_what_was_blocked_before_is_blocked_after() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
    try:
        with Signals() as signals:
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before | {signal.SIGWINCH, *CAUGHT}
            assert not os.get_inheritable(signals.fd)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before | {signal.SIGWINCH}
        with pytest.raises(OSError):
            os.fstat(signals.fd)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    with Signals() as signals:
        assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        os.kill(os.getpid(), signal.SIGHUP)
        os.set_blocking(signals.fd, False)
        with pytest.raises(BlockingIOError):
            signals.handle(lambda: None, None)


TERMINAL = """
import fcntl, os, termios
from kintro.cli.signals import Signals
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
with Signals() as signals:
    print("ready", flush=True)
    signals.handle(lambda: print("end"), {send})
print("over", flush=True)
"""


@pytest.mark.parametrize(
    ("send", "said"), [("lambda number: print(number)", b"over\n"), ("None", b"end\nover\n")]
)
def test_ctrl_c_reaches_a_command_by_itself(send: str, said: bytes) -> None:
    """The terminal sends it to the whole process group: handed on, the command would have it twice."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINAL.format(send=send)], stdin=slave, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.write(master, b"\x03")
    assert process.communicate(timeout=20) == (said, None)
    assert process.returncode == 0
    os.close(master)
    os.close(slave)
