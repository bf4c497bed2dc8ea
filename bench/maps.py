"""Time to read the memory map of a process, every mapping with what it uses, kintro beside its peers.

Two processes of 1 000 and 20 000 mappings lie still: anonymous mappings of 1 to 8 pages of which some are
resident, readable and writable in turns so that the kernel does not merge them. The floor is to read
/proc/PID/smaps and do nothing with it. kintro, psutil and the floor run in this process, which has read the
maps of both before; pmap and smem are whole commands, with the time it takes to start them. All take turns.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import _peers as peers
import psutil

from kintro.sources.mappings import read_maps, read_smaps

COUNTS = (1_000, 20_000)
SUBJECT = """
import ctypes, random, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
rng = random.Random(1)
for number in range(int(sys.argv[1])):
    pages, writable = rng.randint(1, 8), number % 2
    place = libc.mmap(None, pages * 4096, 3 if writable else 1, 0x22, -1, 0)
    if place == 2**64 - 1:
        sys.exit("mmap failed: see /proc/sys/vm/max_map_count")
    if writable:
        ctypes.memset(place, 1, rng.randint(0, pages) * 4096)
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def subject(mappings: int) -> Iterator[int]:
    """The pid of a process with so many mappings, and those of a Python."""
    argv = [peers.PYTHON, "-I", "-S", "-c", SUBJECT, str(mappings)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"no process with {mappings} mappings")
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def floor(pid: int) -> None:
    with open(f"/proc/{pid}/smaps", "rb", buffering=0) as file:
        file.read()


def by_psutil(pid: int) -> None:
    psutil.Process(pid).memory_maps(grouped=False)


def command(*argv: str) -> Callable[[int], None]:
    def run(pid: int) -> None:
        words = [word.format(pid=pid) for word in argv]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=peers.environment())

    return run


READERS: dict[str, Callable[[int], object]] = {
    "reading /proc/PID/smaps only (the floor)": floor,
    "kintro `read_smaps(PID)`": read_smaps,
    "kintro `read_maps(PID)`: no usage": read_maps,
    "psutil `memory_maps(grouped=False)`": by_psutil,
    "`pmap -X PID`": command("pmap", "-X", "{pid}"),
    "`smem -m`: all processes": command("smem", "-m"),
}
FLOOR, KINTRO = list(READERS)[:2]


def measure(pid: int, runs: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Milliseconds of each, and why one could not be measured. The first run does not count."""
    taken: dict[str, list[float]] = {}
    notes: dict[str, str] = {}
    for name in READERS:
        tool = name.strip("`").split()[0]
        if name.startswith("`") and shutil.which(tool, path=peers.environment()["PATH"]) is None:
            notes[tool] = "not installed"
    for number in range(runs + 1):
        for name, read in READERS.items():
            if name.strip("`").split()[0] in notes:
                continue
            begin = time.perf_counter()
            read(pid)
            taken_ms = 1000 * (time.perf_counter() - begin)
            peers.progress(f"{number}/{runs} {name}: {taken_ms:.1f} ms")
            if number:
                taken.setdefault(name, []).append(taken_ms)
    return taken, notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=11, help="of each tool (default: %(default)s)")
    runs = parser.parse_args().runs
    machine = peers.machine()
    print("### The memory map of one process\n")
    print(machine)
    print(f"- psutil {version('psutil')}; {runs} runs of each, taking turns")
    for mappings in COUNTS:
        with subject(mappings) as pid:
            found = len(Path(f"/proc/{pid}/maps").read_bytes().splitlines())
            taken, notes = measure(pid, runs)
        middle = {name: statistics.median(values) for name, values in taken.items()}
        rows = [
            [
                name,
                peers.spread(values, 1),
                f"{middle[name] / middle[FLOOR]:.2f}",
                f"{middle[name] / middle[KINTRO]:.2f}",
            ]
            for name, values in taken.items()
        ]
        headers = ["tool", "ms, median (min–max)", "times the floor", "times kintro's"]
        print(f"\n{found:,} mappings:\n\n{peers.table(headers, rows, notes)}")


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("without root: pmap and smem may see less", file=sys.stderr)
    main()
