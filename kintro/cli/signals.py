"""Signals as something to read, so that none interrupts the middle of a line."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
from collections.abc import Callable
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

    def discard_pending(self) -> None:
        self.forward_pending(lambda number: None)

    def forward_pending(self, send: Callable[[int], None]) -> None:
        """Hands on what came before there was a command: no terminal could send it to that."""
        while select.select([self.fd], [], [], 0)[0]:
            number, _, _ = _INFO.unpack_from(os.read(self.fd, _INFO_BYTES))
            send(number)
