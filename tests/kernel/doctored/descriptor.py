"""Records that lack a fact, or have another than /proc."""

from __future__ import annotations

from typing import Any


def with_fields(seen: Any, group: str, **changes: Any) -> Any:
    fields = tuple(field._replace(**changes) if field.group == group else field for field in seen.task.fields)
    return seen._replace(task=seen.task._replace(fields=fields))


DOCTORED = {
    "D1": [
        lambda seen: with_fields(seen, "priority", equal=None),
        lambda seen: with_fields(seen, "state", equal=None),
        lambda seen: with_fields(with_fields(seen, "memory", equal=None), "addresses", equal=None),
        lambda seen: with_fields(
            with_fields(with_fields(seen, "credentials", equal=None), "limits", equal=None),
            "signals",
            equal=None,
        ),
        lambda seen: with_fields(seen, "files", equal=False),
        lambda seen: seen._replace(nice=seen.nice - 1),
        lambda seen: seen._replace(umask=seen.umask ^ 1),
        lambda seen: seen._replace(files_limit=seen.files_limit + 1),
    ],
}


def with_members(seen: Any, *known: Any) -> Any:
    """Every field is in the same members."""
    fields = tuple(field._replace(members=known) for field in seen.task.fields)
    return seen._replace(task=seen.task._replace(fields=fields))


PLAIN = {
    "D1": [
        with_members,
        lambda seen: with_members(seen, next(f.members[0] for f in seen.task.fields if f.members)),
    ],
}
