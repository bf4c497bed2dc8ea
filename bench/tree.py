"""Time and memory to see all processes as a tree when there are 10 000, kintro beside its peers.

One small C program forks them; all sleep in a read of one pipe and end with it. What is measured are whole
commands, with the time it takes to start them, taking turns. `ps -ef` lists users and command lines,
`pstree -p` draws the tree: together they tell about what `kintro tree` does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import _peers as peers

SLEEPERS = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int ends[2], count = atoi(argv[1]);
    char byte;
    if (pipe(ends))
        return 1;
    for (int i = 0; i < count; i++) {
        int pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            close(ends[1]);
            return read(ends[0], &byte, 1);
        }
    }
    puts("ready");
    fflush(stdout);
    if (read(0, &byte, 1) < 0)
        return 1;
    close(ends[1]);
    while (wait(NULL) > 0)
        ;
    return 0;
}
"""
PSUTIL = """
import psutil
names = ["pid", "ppid", "name", "username", "status", "create_time", "cmdline", "num_threads"]
for process in psutil.process_iter(names):
    print(process.info)
"""
COMMANDS = {
    "`kintro tree`": (peers.KINTRO, "tree"),
    "`kintro tree --json`": (peers.KINTRO, "tree", "--json"),
    "`ps -ef`": ("ps", "-ef"),
    "`pstree -p`": ("pstree", "-p"),
    "psutil `process_iter([…])`, 8 attributes": (sys.executable, "-c", PSUTIL),
}
KINTRO, PS, PSTREE = "`kintro tree`", "`ps -ef`", "`pstree -p`"
TOGETHER = "`ps -ef` and `pstree -p`"


@contextmanager
def sleepers(count: int) -> Iterator[None]:
    """So many processes that lie still."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("no C compiler: install gcc")
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "sleepers.c"), Path(folder, "sleepers")
        source.write_text(SLEEPERS)
        subprocess.run([compiler, "-O1", "-o", program, source], check=True)
        process = subprocess.Popen([program, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise SystemExit(f"{count} processes cannot be made here: see `ulimit -u` and pids.max")
            yield
        finally:
            process.communicate()


def run(argv: tuple[str, ...]) -> tuple[float, float]:
    """(milliseconds, the most memory in MB) of a command."""
    with open(os.devnull, "wb") as nowhere:
        begin = time.perf_counter()
        process = subprocess.Popen(argv, stdout=nowhere, env=peers.environment())
        _, status, usage = os.wait4(process.pid, 0)
        taken_ms = 1000 * (time.perf_counter() - begin)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{argv[0]} has ended with {process.returncode}")
    return taken_ms, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="of each (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=10_000, help="to be made (default: %(default)s)")
    options = parser.parse_args()
    machine = peers.machine()
    notes = {argv[0]: "not installed" for argv in COMMANDS.values() if shutil.which(argv[0]) is None}
    taken: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    with sleepers(options.processes):
        there = sum(name.isdigit() for name in os.listdir("/proc"))
        for number in range(options.runs + 1):
            for name, argv in COMMANDS.items():
                if argv[0] in notes:
                    continue
                taken_ms, used_mb = run(argv)
                peers.progress(f"{number}/{options.runs} {name}: {taken_ms:.0f} ms")
                if number:  # the first run does not count
                    taken.setdefault(name, []).append(taken_ms)
                    memory[name] = max(memory.get(name, 0), used_mb)
    if PS in taken and PSTREE in taken:
        taken[TOGETHER] = [a + b for a, b in zip(taken[PS], taken[PSTREE])]
    middle = {name: statistics.median(values) for name, values in taken.items()}
    rows = [
        [
            name,
            peers.spread(values),
            f"{middle[name] / middle[KINTRO]:.2f}",
            f"{memory[name]:.0f}" if name in memory else "",
        ]
        for name, values in taken.items()
    ]
    print("### All processes as a tree\n")
    print(machine)
    print(f"- psutil {version('psutil')}; {there:,} processes; {options.runs} runs of each, taking turns\n")
    print(peers.table(["tool", "ms, median (min–max)", "times kintro's", "most memory, MB"], rows, notes))


if __name__ == "__main__":
    main()
