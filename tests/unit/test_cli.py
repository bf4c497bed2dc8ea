"""The command line: exit codes, messages and help. What can go wrong with its output: test_output.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kintro import __version__
from kintro.cli import VERBS, main, trace_fork
from kintro.errors import EX_NOINPUT, EX_NOPERM, EX_SOFTWARE, EX_USAGE, KintroError
from kintro.sources import host

# Usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trace-forks"], "invalid choice: 'trace-forks'"),
        (["--bogus"], "VERB"),
        (["trace-fork", "--bogus"], "unrecognized arguments: --bogus"),
        (["trace-fork", "ls", "-l"], "unrecognized arguments: -l"),
        (["trace-fork", "-p"], "expected one argument"),
        (["trace-fork", "-p", "init"], "'init' is not a process id"),
        (["trace-fork", "-p", "0"], "'0' is not a process id"),
        (["trace-fork", "-p", "2147483648"], "'2147483648' is not a process id"),
        (["trace-fork", "-p", "²"], "'²' is not a process id"),
        (["trace-fork", "-d", "0"], "'0' is not a number of seconds"),
        (["trace-fork", "-d", "-1"], "'-1' is not a number of seconds"),
        (["trace-fork", "-d", "nan"], "'nan' is not a number of seconds"),
        (["trace-fork", "-d", "inf"], "'inf' is not a number of seconds"),
        (["trace-fork", "-d", "1m"], "'1m' is not a number of seconds"),
        (["replay"], "required: DIR"),
        (["replay", "a", "b"], "unrecognized arguments: b"),
        (["completion"], "required: shell"),
        (["completion", "cmd.exe"], "invalid choice: 'cmd.exe'"),
        (["doctor", "now"], "unrecognized arguments: now"),
    ],
)
def test_usage_errors(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    out, err = capsys.readouterr()
    assert (raised.value.code, out) == (EX_USAGE, "")
    assert said in err
    assert err.startswith("usage: kintro")


def test_a_process_and_a_command_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace-fork", "-p", "1", "--", "ls"]) == EX_USAGE
    assert capsys.readouterr().err == "kintro: give either --pid or a command, not both\n"


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help(verb: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([verb, "--help"] if verb else ["--help"])
    out, err = capsys.readouterr()
    assert (raised.value.code, err) == (0, "")
    assert out.startswith(f"usage: kintro {verb} " if verb else "usage: kintro ")
    assert "\nexamples:\n" in out
    if verb is None:
        assert re.findall(r"^    ([a-z-]+)\b", out, re.MULTILINE) == list(VERBS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert (raised.value.code, capsys.readouterr().out) == (0, f"kintro {__version__}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_all_verbs(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in (*VERBS, "--no-follow", "--pid-namespace"))


def test_bash_reads_the_completion(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = capsys.readouterr().out
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# The boundary of errors


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def run(_: object) -> int:
        raise error

    monkeypatch.setattr(trace_fork, "run", run)
    return main(["trace-fork"])


def test_an_error_with_its_hint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(monkeypatch, KintroError("what failed", "what to do", 69)) == 69
    assert capsys.readouterr() == ("", "kintro: what failed\n    what to do\n")


def test_an_error_without_a_hint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(monkeypatch, KintroError("what failed")) == 1
    assert capsys.readouterr() == ("", "kintro: what failed\n")


def test_ctrl_c_before_tracing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("wanted", [False, True])
def test_a_bug_in_kintro(
    wanted: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KINTRO_TRACEBACK", "1" if wanted else "")
    assert raising(monkeypatch, ZeroDivisionError("by zero")) == EX_SOFTWARE
    out, err = capsys.readouterr()
    assert out == ""
    assert "kintro: a bug in kintro: ZeroDivisionError: by zero\n" in err
    assert ("Traceback" in err) == wanted


def test_not_permitted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(host, "can_trace", lambda: False)
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/kintro", "trace-fork", "-d", "5"])
    assert main(["trace-fork", "-d", "5"]) == EX_NOPERM
    assert capsys.readouterr().err == (
        "kintro: tracing the kernel needs root\n    run it as: sudo kintro trace-fork -d 5\n"
    )


@pytest.mark.parametrize("user", ["no such user", "²"])
def test_a_user_that_does_not_exist(user: str) -> None:
    from kintro.cli import parser, tracing

    with pytest.raises(KintroError, match=f"no user '{user}'") as raised:
        tracing.filters(parser().parse_args(["trace-fork", "-u", user]))
    assert raised.value.exit_code == EX_NOINPUT


def test_a_session_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path / "none")]) == EX_NOINPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert str(tmp_path / "none") in err
