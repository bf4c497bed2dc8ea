"""The student's file of sessions: JSON, with a SHA-256 for each session.

To be read and written with the student's own rights: the folder is the student's.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kintro.errors import EX_IOERR, EX_NOINPUT, KintroError
from kintro.labs.session import Session, as_json, digest
from kintro.sources.command import calling_user

_SIZE_MAX = 16 << 20  # bytes


class Kept(NamedTuple):
    """A session, and whether it is as kintro wrote it."""

    session: Session
    whole: bool


def file_of(environment: Mapping[str, str]) -> Path:
    """Where the sessions of the calling user are: the XDG base directory specification has the rule."""
    folder = environment.get("XDG_STATE_HOME", "")
    if folder.startswith("/"):
        return Path(folder) / "kintro/labs.json"
    user = calling_user()
    home = Path(user.home) if user is not None else Path.home()
    return home / ".local/state/kintro/labs.json"


def read(path: Path) -> list[Kept]:
    """All sessions, oldest first; none if there is no file. KintroError if it is damaged or not readable."""
    try:
        with open(path, "rb") as file:
            data = file.read(_SIZE_MAX + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KintroError(f"cannot read {path}: {error.strerror}", None, EX_NOINPUT) from error
    try:
        return parsed(data)
    except (ValueError, RecursionError) as error:
        raise KintroError(
            f"{path} is damaged: {error}",
            f"move it away to begin anew: mv {path} {path}.damaged",
            EX_NOINPUT,
        ) from error


def parsed(data: bytes) -> list[Kept]:
    """ValueError for what is no file of sessions."""
    if len(data) > _SIZE_MAX:
        raise ValueError(f"it has more than {_SIZE_MAX} bytes")
    found = json.loads(data)
    if not isinstance(found, dict) or not isinstance(found.get("sessions"), list):
        raise ValueError("it has no list of sessions")
    return [_kept(number, item) for number, item in enumerate(found["sessions"], 1)]


def _kept(number: int, found: Any) -> Kept:
    types: dict[str, type] = {
        name: str if name in ("lab", "taken_at", "kernel") else dict for name in Session._fields
    }
    if not isinstance(found, dict) or found.keys() != {*types, "sha256"}:
        raise ValueError(f"session {number} has other parts than it should")
    if not all(isinstance(found[name], kind) for name, kind in types.items()):
        raise ValueError(f"session {number} has parts that are not what they should be")
    values = [value for name in types if types[name] is dict for value in found[name].values()]
    if not all(value is None or isinstance(value, (int, float, str)) for value in values):
        raise ValueError(f"session {number} has values that are neither numbers nor words")
    session = Session(**{name: found[name] for name in types})
    return Kept(session, digest(session) == found["sha256"])


def written(kept: list[Kept]) -> bytes:
    """What `parsed` reads. A session that was not whole stays so."""
    sessions = [as_json(one.session) | ({} if one.whole else {"sha256": ""}) for one in kept]
    return (json.dumps({"sessions": sessions}, indent=1) + "\n").encode()


def last(kept: list[Kept], lab: str) -> Kept | None:
    """The latest session of a lab."""
    return next((one for one in reversed(kept) if one.session.lab == lab), None)


def keep(path: Path, session: Session | None = None) -> None:
    """Adds a session, or replaces the one that was taken at the same time. None: only tries to write."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(path.parent):
            kept = read(path)
            if session is not None:
                same = session.lab, session.taken_at
                kept = [one for one in kept if (one.session.lab, one.session.taken_at) != same]
                kept.append(Kept(session, True))
            beside = path.with_name(f".{path.name}.new")
            beside.write_bytes(written(kept))
            os.replace(beside, path)
    except OSError as error:
        hint = "set XDG_STATE_HOME to a folder of yours"
        raise KintroError(f"cannot write {path}: {error.strerror}", hint, EX_IOERR) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no other kintro changes the file."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
