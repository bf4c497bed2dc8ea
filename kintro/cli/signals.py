"""Signals as something to read, so that none interrupts the middle of a line."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
from collections.abc import Callable, Iterator
from types import TracebackType

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
_SI_KERNEL = 0x80  # include/uapi/asm-generic/siginfo.h: sent by the terminal, so the command has it too
_SFD_CLOEXEC = 0o2000000
_INFO = struct.Struct("=Iii")  # struct signalfd_siginfo begins so: signo, errno, code
_INFO_BYTES = 128


class Signals:
    """Holds signals back and offers them on a descriptor (signalfd(2)). A context manager.

    Made before anything starts threads (numpy does when imported): one that does not hold signals back
    would take them away. And before a command is forked, so that none is lost in between.
    """

    def __init__(self) -> None:
        ignored = {number for number in CAUGHT if signal.getsignal(number) is signal.SIG_IGN}
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, set(CAUGHT) - ignored)
        mask = (ctypes.c_uint8 * 128)()  # sigset_t: bit n - 1 for signal n
        for number in set(CAUGHT) - ignored:
            mask[(number - 1) // 8] |= 1 << (number - 1) % 8
        self.fd = ctypes.CDLL(None, use_errno=True).signalfd(-1, mask, _SFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "signalfd")

    def __enter__(self) -> Signals:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        os.close(self.fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def handle(self, end: Callable[[], None], send: Callable[[int], None] | None) -> None:
        """Reads one signal. With a command (`send`), hands it on; without, calls `end` for an ending one."""
        number, _, code = _INFO.unpack_from(os.read(self.fd, _INFO_BYTES))
        if send is not None:
            if code != _SI_KERNEL:
                send(number)
        elif number in _ENDING:
            end()

    def forward_pending(self, send: Callable[[int], None] | None, terminals: bool = False) -> None:
        """Hands on what has come, or drops it where there is no command.

        `terminals`: also what a terminal sent, which a command that is there already has got itself.
        """
        for number, code in self._pending():
            if send is not None and (terminals or code != _SI_KERNEL):
                send(number)

    def told_to_end(self, send: Callable[[int], None] | None) -> bool:
        """Hands on what has come, as `forward_pending`; whether anything of it asks kintro to end."""
        ending = False
        for number, code in self._pending():
            ending = ending or number in _ENDING
            if send is not None and code != _SI_KERNEL:
                send(number)
        return ending

    def _pending(self) -> Iterator[tuple[int, int]]:
        """What has come: number and origin (si_code of sigaction(2))."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        while poll.poll(0):
            number, _, code = _INFO.unpack_from(os.read(self.fd, _INFO_BYTES))
            yield number, code
