"""Keeps what a tracing verb sees in a session, for `kintro replay`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Any

import kintro
from kintro.errors import KintroError


class Saver:
    """Writes a session. A failure is told at once and kept; tracing goes on."""

    def __init__(self) -> None:
        self.error: KintroError | None = None
        self._writer: Any = None

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, *_: object) -> None:
        self._try(methodcaller("close"))

    def open(
        self, args: argparse.Namespace, defines: Mapping[str, int], dtypes: Mapping[str, Any], more: Any
    ) -> None:
        """Begins the session. `more`: what the verb wants to be kept. KintroError if that cannot be."""
        from kintro.sources import host
        from kintro.sources.session import SessionWriter

        uname = os.uname()
        header = {
            "verb": args.verb,
            "options": _given(args),
            "defines": dict(defines),
            "kintro": kintro.__version__,
            "kernel": uname.release,
            "machine": uname.machine,
            "host": uname.nodename,
            "boot_id": host.boot_id(),
            "clock": "CLOCK_MONOTONIC",
            "begin_ns": time.clock_gettime_ns(time.CLOCK_MONOTONIC),  # until `close` tells it exactly
            "begin_realtime_ns": time.time_ns(),
            **more,
        }
        self._writer = SessionWriter(args.save, dtypes, header)

    def close(self, begin_ns: int, counts: Mapping[str, Any] | None) -> None:
        self._try(methodcaller("close", {"begin_ns": begin_ns, "counts": counts}))

    def write(self, batch: Mapping[str, Any]) -> None:
        for kind, events in batch.items():
            self._try(methodcaller("write", kind, events))

    def _try(self, call: Callable[[Any], None]) -> None:
        if self._writer is None or self.error is not None:
            return
        try:
            call(self._writer)
        except KintroError as error:
            self.error = error
            print(f"kintro: {error.message}; tracing goes on, recording has ended", file=sys.stderr)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The options of this command line that are not at their default."""
    ours = ("run", "verb", "parser", "behind_dashes")
    return {name: value for name, value in vars(args).items() if value and name not in ours}
