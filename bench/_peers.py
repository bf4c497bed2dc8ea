"""What the benchmarks share: where the peers are, the machine, one table, and how a tool is ended."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from tabulate import tabulate

KINTRO = str(Path(sys.executable).with_name("kintro"))
PYTHON = "/usr/bin/python3"  # the distribution's: loads run on it, without our environment
PACKAGES = (
    "bpfcc-tools",
    "bpftrace",
    "forkstat",
    "iproute2",
    "libbpf-tools",
    "linux-perf",
    "lsof",
    "procps",
    "psmisc",
    "python3-bpfcc",
    "smem",
    "strace",
    "stress-ng",
    "util-linux",
)
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 1 << 14, 1 << 18  # sched.h, mount.h (include/uapi/linux)
CATCH_UP_S = 60.0


@dataclass(frozen=True)
class Tool:
    """What to run, and what a line of it looks like that is an event and not a heading."""

    name: str
    argv: tuple[str, ...]
    event: str

    @property
    def command(self) -> str:
        """As one could type it, for a Markdown table."""
        words = [f"'{word}'" if re.search(r"[\s;{]", word) else word for word in self.argv]
        return f"`{' '.join([Path(words[0]).name, *words[1:]])}`"

    @property
    def path(self) -> str | None:
        """Where it is; None if it is not installed."""
        return shutil.which(self.argv[0], path=environment()["PATH"])


TRACE_FORK = Tool("kintro", (KINTRO, "trace-fork"), r"^ *\d+\.\d+ (fork|exec|exit) ")
EXECSNOOP = Tool("libbpf-tools execsnoop", ("execsnoop",), r"^\S+ +\d+ +\d+ ")
EXITSNOOP = Tool("libbpf-tools exitsnoop", ("exitsnoop",), r"^\S+ +\d+ +\d+ ")


def environment() -> dict[str, str]:
    """Ours, with sbin on the PATH, and without what developers set for Python.

    PYTHONUNBUFFERED or PYTHONDONTWRITEBYTECODE would slow every tool that is written in Python.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PATH": f"{kept.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"}


def mount_tracefs() -> None:
    """Mounts tracefs and debugfs, which classic tracepoints need, for this process and its children only.

    They lie in a mount namespace of our own: other people's mounts stay as they are, and there is nothing
    to unmount, whichever way we end. debugfs is for tools that know tracefs only by its old place in there.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(kind: bytes | None, where: bytes, flags: int) -> None:
        if libc.mount(b"nodev", where, kind, ctypes.c_ulong(flags), None):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), where.decode())

    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare: " + os.strerror(ctypes.get_errno()))
    mount(None, b"/", MS_REC | MS_PRIVATE)
    for kind, where in ((b"tracefs", b"/sys/kernel/tracing"), (b"debugfs", b"/sys/kernel/debug")):
        if not os.listdir(where):
            mount(kind, where, 0)


def end(process: subprocess.Popen) -> None:
    """Ends a tool that we started as Ctrl-C would, so that it writes out what it still holds."""
    for number, patience_s in ((signal.SIGINT, 20), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            print(f"{process.args}: still there {patience_s} s after {number.name}", file=sys.stderr)


@contextmanager
def attached(tools: Sequence[Tool], folder: Path) -> Iterator[list[Path]]:
    """Whole-system tools, each writing to a file in the folder, from their first event on. Yields the files.

    On the way out they are given time to write what they have seen, and ended.
    """
    files = [folder / f"{number}.out" for number in range(len(tools))]
    with ExitStack() as stack:
        processes = [started(tool.argv, file) for tool, file in zip(tools, files)]
        for process in processes:
            stack.callback(end, process)
        catch_up(files, processes)
        yield files
        catch_up(files, processes)


def catch_up(files: Sequence[Path], tools: Sequence[subprocess.Popen]) -> None:
    """Waits until every file tells of a process that was started after the call.

    Raises TimeoutError after a minute, ChildProcessError if a tool has ended.

    Processes are started until then: what a tool buffers comes out once there is enough of it.
    """
    deadline = time.monotonic() + CATCH_UP_S
    behind = {file: file.stat().st_size for file in files}
    pids: list[str] = []
    while behind:
        for _ in range(10):
            process = subprocess.Popen(["/bin/true"])
            process.wait()
            pids.append(str(process.pid))
        time.sleep(0.02)
        ours = re.compile(rf"\b({'|'.join(pids)})\b".encode())
        behind = {file: size for file, size in behind.items() if not ours.search(file.read_bytes()[size:])}
        for tool in tools:
            if tool.poll() is not None:
                raise ChildProcessError(f"{tool.args[0]} has ended with status {tool.returncode}")
        if behind and time.monotonic() > deadline:
            raise TimeoutError(f"a tool shows nothing new for {CATCH_UP_S:.0f} s")


def started(argv: Sequence[str], output: Path) -> subprocess.Popen:
    """A tool with its standard output in a file."""
    with output.open("wb") as file:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL, env=environment()
        )


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median (min–max)."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def machine() -> str:
    """Kernel, CPU and the versions of the peers, as a Markdown list. To be called before there is load."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    lines = [
        f"- {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, kernel {platform.release()}, {model}, "
        f"{len(os.sched_getaffinity(0))} CPUs, load average before {os.getloadavg()[0]:.2f}",
        f"- {_said(KINTRO, '--version')} on Python {platform.python_version()}; {_versions()}",
    ]
    return "\n".join(lines)


def _versions() -> str:
    found = []
    for package in PACKAGES:
        version = _said("dpkg-query", "-W", "-f", "${Version}", package)
        found.append(f"{package} {version or 'not installed'}")
    return ", ".join(found)


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], notes: Mapping[str, str]) -> str:
    """A Markdown table; below it, why a tool could not be measured."""
    text = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    return "\n".join([text, "", *(f"- {name}: {why}" for name, why in notes.items())]).rstrip()


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Makes the cheapest system call there is, so many times; tells the seconds it took, by the clock and of CPU.
LOOP = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static double since(clockid_t clock, double before)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec / 1e9 - before;
}
int main(int argc, char **argv)
{
    long calls = atol(argv[1]);
    double clock = since(CLOCK_MONOTONIC, 0), cpu = since(CLOCK_PROCESS_CPUTIME_ID, 0);
    for (long i = 0; i < calls; i++)
        syscall(SYS_getppid);
    cpu = since(CLOCK_PROCESS_CPUTIME_ID, cpu), clock = since(CLOCK_MONOTONIC, clock);
    FILE *told = argc > 2 ? fopen(argv[2], "w") : stdout;
    fprintf(told, "%.9f %.9f\n", clock, cpu);
    return fclose(told);
}
"""
_FLOOR = """
import sys
result, *names = sys.argv[1:]
from kintro.sources import bpf, probe_source
from kintro.sources.probe import Probe
header = (probe_source.probes_folder() / "kintro.h").read_text()
for name in names:
    header += f"int tp_{name}(struct bpf_raw_tracepoint_args *ctx) {{ return {result}; }}\\n"
bpf.probe_text = lambda name: header
probe = Probe(bpf.Loading("floor"))
probe.attach()
sys.stdin.read()
"""


def compiled(program: str, path: Path) -> str:
    subprocess.run(
        ["gcc", "-O2", "-pthread", "-x", "c", "-o", path, "-"], input=program, text=True, check=True
    )
    return str(path)


def floor(name: str, result: str, *tracepoints: str) -> Tool:
    """Programs that do nothing but compute a result, at tracepoints."""
    return Tool(name, (sys.executable, "-c", _FLOOR, result, *tracepoints), "")
