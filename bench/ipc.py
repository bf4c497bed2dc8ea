"""Time and memory to list who holds which end of what, kintro beside its peers, under three loads.

One after the other: a process with 50 000 descriptors, pipes and files (fewer where RLIMIT_NOFILE forbids and
may not be raised); 5 000 UNIX sockets in pairs between two processes; 10 000 processes that wait. kintro
tells channels of all kinds with both ends. Its peers tell parts of that: lsfd and lsof the descriptors, ss
the sockets and who holds them, lsipc System V's objects without who. All are whole commands with the time it
takes to start them, they take turns, and their output goes to a file. Memory is the most that was resident.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import _peers as peers

LIMIT_S = 60
WHAT = "import os, resource, signal, socket, sys\n"
MANY_DESCRIPTORS = """
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]) + 100, int(sys.argv[1]) + 100))
for number in range(int(sys.argv[1]) // 4):
    os.pipe(), os.open("/dev/null", 0), os.open("/etc/passwd", 0)
"""
MANY_SOCKETS = """
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]) + 100, int(sys.argv[1]) + 100))
pairs = [socket.socketpair() for _ in range(int(sys.argv[1]) // 2)]
if os.fork() == 0:
    for a, b in pairs: a.close()
    sys.stdin.read(); os._exit(0)
for a, b in pairs: b.close()
"""
MANY_PROCESSES = """
import ctypes
null = os.open("/dev/null", os.O_RDWR)
for number in range(int(sys.argv[1])):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with its parent
        for fd in range(3): os.dup2(null, fd)
        signal.pause()
"""
WAIT = """
print("ready", flush=True)
os.read(0, 1)
"""
LOADS = (
    (MANY_DESCRIPTORS, 50_000, "one process with {} descriptors"),
    (MANY_SOCKETS, 5_000, "{} UNIX sockets between two processes"),
    (MANY_PROCESSES, 10_000, "{} processes"),
)
TOOLS = {
    "kintro `ipc --json`": (peers.KINTRO, "ipc", "--json"),
    "`lsfd -J`": ("lsfd", "-J"),
    "`lsof -n -P +E`: with the other ends": ("lsof", "-n", "-P", "+E"),
    "`lsof -n -P`": ("lsof", "-n", "-P"),
    "`ss -xtuapH`: sockets only": ("ss", "-xtuapH"),
    "`lsipc -J`: System V's limits and sums only": ("lsipc", "-J"),
}
KINTRO = next(iter(TOOLS))


@contextmanager
def load(code: str, count: int) -> Iterator[None]:
    """So much of something, for as long as the block takes; it goes when its standard input ends."""
    argv = [peers.PYTHON, "-I", "-S", "-c", WHAT + code + WAIT]
    process = subprocess.Popen([*argv, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdin is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"no load of {count}")
        yield
    finally:
        process.communicate()


def run(argv: tuple[str, ...]) -> tuple[float, int]:
    """Seconds, and bytes resident at most."""
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.DEVNULL, env=peers.environment())
        watch = threading.Timer(LIMIT_S, os.kill, (process.pid, signal.SIGKILL))
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        watch.cancel()
        taken = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == -signal.SIGKILL:
        raise TimeoutError(f"ended after {LIMIT_S} s")
    if process.returncode not in (0, 1):  # lsof: something could not be listed
        raise subprocess.CalledProcessError(process.returncode, argv)
    return taken, usage.ru_maxrss * 1024


def descriptors_max() -> int:
    """How many a process may have open, once root has tried to raise the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, 51_000)))
    except ValueError:  # without CAP_SYS_RESOURCE
        return hard
    return max(hard, 51_000)


def memory(size_bytes: int) -> str:
    """MiB. A process counts what this one had when it was started as its own."""
    floor_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if size_bytes <= floor_bytes:
        return f"under {floor_bytes / 2**20:.0f}"
    return f"{size_bytes / 2**20:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="of each tool and load (default: %(default)s)")
    parser.add_argument("--only", type=int, metavar="N", help="only the N-th load, from 1")
    args = parser.parse_args()
    descriptors = descriptors_max()
    print("### Who talks to whom\n")
    print(peers.machine())
    print(f"- {args.runs} runs of each, taking turns")
    path = peers.environment()["PATH"]
    notes = {argv[0]: "not installed" for argv in TOOLS.values() if not shutil.which(argv[0], path=path)}
    for code, wanted, name in LOADS[args.only - 1 : args.only] if args.only else LOADS:
        count = min(wanted, descriptors - 1000) if code is MANY_DESCRIPTORS else wanted
        name = name.format(f"{count:,}")
        taken: dict[str, list[tuple[float, int]]] = {}
        with load(code, count):
            for _ in range(args.runs):
                for tool, argv in TOOLS.items():
                    if argv[0] in notes or tool in notes:
                        continue
                    try:
                        taken.setdefault(tool, []).append(run(argv))
                    except TimeoutError as error:
                        notes[tool] = f"{name}: {error}"
                        del taken[tool]
                        continue
                    peers.progress(f"{name}: {tool}: {taken[tool][-1][0]:.2f} s")
        middle = {tool: statistics.median(seconds for seconds, _ in runs) for tool, runs in taken.items()}
        rows = [
            [
                tool,
                peers.spread([seconds for seconds, _ in runs], 2),
                f"{middle[tool] / middle[KINTRO]:.2f}",
                memory(max(size for _, size in runs)),
            ]
            for tool, runs in taken.items()
        ]
        headers = ["tool", "s, median (min–max)", "times kintro's", "MiB at most"]
        print(f"\nWith {name}:\n\n{peers.table(headers, rows, notes)}")


if __name__ == "__main__":
    main()
