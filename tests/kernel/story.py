"""Runs kintro trace-syscalls, and what must be true of all that it tells."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .harness import json_lines, kintro


class Story:
    """What `--json` told."""

    def __init__(self, path: Path) -> None:
        *self.calls, self.summary = json_lines(path)
        assert self.summary["type"] == "summary"
        assert {call["type"] for call in self.calls} <= {"syscall"}

    def of(self, *names: str) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["name"] in names]

    def only(self, name: str) -> dict[str, Any]:
        [call] = self.of(name)
        return call

    def only_with(self, name: str, **arguments: Any) -> dict[str, Any]:
        [call] = [call for call in self.of(name) if call["args"].items() >= arguments.items()]
        return call

    def outcomes(self) -> Counter[tuple[str, str | None]]:
        """How often which call had which error."""
        return Counter((call["name"], call["errno"]) for call in self.calls)

    def assert_whole(self) -> Story:
        summary, calls = self.summary, self.calls
        assert (summary["lost"], summary["complete"]) == (0, True), summary
        assert summary["calls"] == len(calls)
        assert summary["errors"] == sum(call["errno"] is not None for call in calls)
        assert summary["unfinished"] == sum(call["ret"] is None for call in calls)
        assert summary["early"] == sum(call["ts_ns"] is None for call in calls)
        for call in calls:
            assert (call["errno"] is None) or -4095 <= call["ret"] < 0
            assert call["duration_ns"] is None or 0 < call["duration_ns"] <= summary["duration_ns"] + 10**9
            assert call["comm"] is not None
        for tid in {call["tid"] for call in calls}:
            own = [call for call in calls if call["tid"] == tid and call["ts_ns"] is not None]
            times = [call["ts_ns"] for call in own]
            assert times == sorted(times)
            for before, after in itertools.pairwise(own):
                assert (
                    before["duration_ns"] is None or before["ts_ns"] + before["duration_ns"] <= after["ts_ns"]
                )
        return self


def story(
    tmp_path: Path, *command: str, options: Sequence[str | Path] = (), status: int = 0, **run: Any
) -> Story:
    output = tmp_path / "story.jsonl"
    done = kintro("trace-syscalls", "--json", "-o", output, *options, "--", *command, **run)
    assert done.returncode == status, done
    return Story(output).assert_whole()
