"""Time from starting a tool to the first event it shows, kintro beside its peers.

A generator in the background makes an event of every kind (a thread, and fork and exec of /bin/true) every
5 ms. The clock runs from the start of the tool's process to the arrival of the first line that is an event.
kintro writes to a pipe. The peers write to a pseudo-terminal, because on a pipe some would keep their first
events in a buffer; this is to their advantage. The tools take turns; a first round, which fills the caches,
does not count.

The bcc tools want kernel headers, and for many kernels there are none. They get kintro's header tree, made
beforehand and outside of the time measured, with stubs for what else they include: their best case, as real
headers take them a second longer to compile.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import _peers as peers

from kintro.sources.headers import header_tree

TIMEOUT_S = 20.0
EVENTS = """
import os, sys, threading, time
parent, end = os.getppid(), time.monotonic() + 3600
while os.getppid() == parent and time.monotonic() < end:
    os.waitpid(os.posix_spawn("/bin/true", ["/bin/true"], {}), 0)
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    time.sleep(0.005)
"""

# include/linux/sched.h and include/linux/ptrace.h as far as bcc tools read them.
SCHED_H = """\
#pragma once
#define pt_regs kintro_pt_regs
#include "{tree}/kernel_structs.h"
#undef pt_regs
#define TASK_COMM_LEN 16
#define __user
struct pt_regs {{
    unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
    unsigned long orig_ax, ip, cs, flags, sp, ss;
}};
"""


TOOLS = [
    peers.TRACE_FORK,
    peers.EXECSNOOP,
    peers.EXITSNOOP,
    peers.Tool("bpftrace execsnoop.bt", ("execsnoop.bt",), r"^\d+ +\d+ "),
    peers.Tool(
        "bpftrace one-liner",
        ("bpftrace", "-e", r'tracepoint:sched:sched_process_exec { printf("exec %d\n", pid); }'),
        r"^exec \d+",
    ),
    peers.Tool("bcc exitsnoop", ("exitsnoop-bpfcc",), r"^\S+ +\d+ +\d+ "),
    peers.Tool("bcc trace", ("trace-bpfcc", "t:sched:sched_process_exec"), r"^\d+ +\d+ "),
    peers.Tool("bcc threadsnoop", ("threadsnoop-bpfcc",), r"^\d+ +\d+ "),
    peers.Tool("bcc execsnoop", ("execsnoop-bpfcc",), r"^\S+ +\d+ +\d+ "),
]


@contextmanager
def background_events() -> Iterator[None]:
    process = subprocess.Popen([peers.PYTHON, "-I", "-c", EVENTS])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def headers_for_bcc() -> Iterator[dict[str, str]]:
    """The environment in which the bcc tools find headers."""
    with header_tree() as tree:
        (tree / "include/linux/sched.h").write_text(SCHED_H.format(tree=tree))
        (tree / "include/linux/ptrace.h").write_text("#include <linux/sched.h>\n")
        (tree / "include/uapi/linux/ptrace.h").write_text("#include <linux/sched.h>\n")
        (tree / "include/linux/fs.h").write_text("")
        yield {**peers.environment(), "BCC_KERNEL_SOURCE": str(tree)}


def first_event_s(tool: peers.Tool, path: str, env: dict[str, str]) -> float:
    """Seconds from the start of the tool to its first event. RuntimeError if there is none."""
    reader, writer = os.pipe() if tool is peers.TRACE_FORK else os.openpty()
    begin = time.monotonic()
    process = subprocess.Popen(
        [path, *tool.argv[1:]], stdout=writer, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env
    )
    os.close(writer)
    text, event = b"", re.compile(tool.event.encode(), re.MULTILINE)
    try:
        while select.select([reader], [], [], max(0.0, begin + TIMEOUT_S - time.monotonic()))[0]:
            try:
                said = os.read(reader, 65536)
            except OSError:  # how a pseudo-terminal says that nobody writes any more
                said = b""
            taken_s = time.monotonic() - begin
            text += said
            if event.search(text[: text.rfind(b"\n") + 1]):
                return taken_s
            if not said:
                break
    finally:
        os.close(reader)
        process.kill()
        _, complaint = process.communicate()
    raise RuntimeError(reason(complaint.decode(errors="replace")))


def reason(complaint: str) -> str:
    """The line of a tool's complaint that tells most."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line or "Exception" in line or "rror" in line]
    return (errors or lines or ["it shows no event"])[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=11, help="of each tool (default: %(default)s)")
    runs = parser.parse_args().runs
    machine = peers.machine()
    peers.mount_tracefs()
    taken: dict[str, list[float]] = {}
    notes: dict[str, str] = {}
    with background_events(), headers_for_bcc() as env:
        for number in range(runs + 1):
            for tool in TOOLS:
                if tool.name in notes:
                    continue
                path = tool.path
                try:
                    if path is None:
                        raise RuntimeError("not installed")
                    taken_ms = 1000 * first_event_s(tool, path, env)
                except RuntimeError as error:
                    notes[tool.name] = f"cannot run here: {error}"
                    continue
                peers.progress(f"{number}/{runs} {tool.name}: {taken_ms:.0f} ms")
                if number:
                    taken.setdefault(tool.name, []).append(taken_ms)
    rows = []
    kintro_ms = statistics.median(taken["kintro"])
    for tool in sorted((t for t in TOOLS if t.name in taken), key=lambda t: statistics.median(taken[t.name])):
        values = taken[tool.name]
        ratio = statistics.median(values) / kintro_ms
        rows.append([tool.name, tool.command, peers.spread(values), f"{ratio:.2f}"])
    print("### Start of a tool to its first event\n")
    print(machine)
    print(f"- {runs} runs of each, taking turns; every 5 ms a fork and exec of /bin/true, and a thread\n")
    headers = ["tool", "command", "ms, median (min–max)", "times kintro's"]
    print(peers.table(headers, rows, notes))


if __name__ == "__main__":
    main()
