"""Forks of which somebody has the facts wrong."""

DOCTORED = {
    "F1": [
        lambda seen: seen._replace(forks=[]),
        lambda seen: seen._replace(forks=[(seen.caller_pid, 1, seen.child_pid), *seen.forks[1:]]),
        lambda seen: seen._replace(forks=seen.forks[:1]),
        lambda seen: seen._replace(got_pid=seen.caller_pid),
        lambda seen: seen._replace(told_parent_pid=1),
        lambda seen: seen._replace(lost=1),
    ],
    "F2": [
        lambda seen: seen._replace(same_bytes=False),
        lambda seen: seen._replace(kinds={}),
        lambda seen: seen._replace(child_changed=False),
    ],
    "F3": [
        lambda seen: seen._replace(before=seen.before._replace(code=(0, 0))),
        lambda seen: seen._replace(before=seen.before._replace(code=(700, 1))),
        lambda seen: seen._replace(after=seen.after._replace(code=(700, 1))),
        lambda seen: seen._replace(after=seen.after._replace(private=(700, 0))),
    ],
    "F4": [
        lambda seen: seen._replace(parent_unchanged=False),
        lambda seen: seen._replace(child_changed=False),
        lambda seen: seen._replace(child_unchanged=False),
        lambda seen: seen._replace(sibling_unchanged=False),
        lambda seen: seen._replace(after=seen.before),
    ],
}

PLAIN = {
    "F1": [
        lambda seen: seen._replace(sibling=None, forks=seen.forks[:1]),
        lambda seen: seen._replace(sibling=seen.sibling._replace(told_parent_pid=1)),
        lambda seen: seen._replace(forks=[*seen.forks[:2], (seen.sibling.maker_pid,) * 3]),
    ],
    "F2": [
        lambda seen: seen._replace(before=(0, seen.pages)),
        lambda seen: seen._replace(after=(0, seen.pages)),
    ],
    "F3": [
        lambda seen: seen._replace(stranger=seen.stranger._replace(code=(0, 0))),
        lambda seen: seen._replace(stranger=seen.stranger._replace(code=(700, 1))),
    ],
    "F4": [
        lambda seen: seen._replace(shared_changed=False),
        lambda seen: seen._replace(moved_bytes=0),
    ],
}
