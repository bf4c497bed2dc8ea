"""The only exception a user of kintro meets, and the exit codes that go with it.

The codes are those of sysexits.h(3head): a script can tell "this kernel cannot" (69) from "you may not"
(77) and from "kintro is broken" (70).
"""

from __future__ import annotations

EX_USAGE = 2  # argparse's own code for a wrong command line
EX_NOINPUT = 66  # no such process, session or cgroup
EX_UNAVAILABLE = 69  # the kernel or the machine lacks something
EX_SOFTWARE = 70  # a bug in kintro
EX_IOERR = 74  # writing the result failed
EX_NOPERM = 77  # not permitted


class KintroError(Exception):
    """A failure told in one line: what failed, on what; `hint` says what to do about it."""

    def __init__(self, message: str, hint: str | None = None, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
