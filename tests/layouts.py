"""Address spaces to draw: a real Python's, one that is compared with another, hostile names, very many."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import PurePath

from kintro.renderers.text import size
from kintro.shapes import Band, Layout, Mark, Share, Table

PAGE = 4096
TASK_SIZE = 0x7FFFFFFFF000
HOSTILE = (
    "</script><img src=x onerror=alert(1)>, code",
    "\"><svg onload=alert(2)> ' & quotes",
    "two\nlines\tand a tab",
    "right \u202e tfel ot \u2066 isolate",
    "</td></table><script>alert(3)</script>",
    "日本語の名前, データ",
    "{{ 7 * 7 }}",
    "\udc80 half of a pair",
)
KERNEL = (  # Documentation/arch/x86/x86_64/mm.rst; without the hole between the halves
    (0xFFFF800000000000, 0xFFFF880000000000, "guard hole for the hypervisor", "inferred"),
    (0xFFFF888000000000, 0xFFFFC88000000000, "direct map", "read"),
    (0xFFFFC90000000000, 0xFFFFE90000000000, "vmalloc", "read"),
    (0xFFFFEA0000000000, 0xFFFFEB0000000000, "vmemmap", "read"),
    (0xFFFFFE0000000000, 0xFFFFFE8000000000, "cpu_entry_area", "inferred"),
    (0xFFFFFFFF80000000, 0xFFFFFFFF82C00000, "kernel text", "read"),
    (0xFFFFFFFFC0000000, 0xFFFFFFFFFF000000, "modules", "inferred"),
)


def kernel_bands() -> list[Band]:
    hole = Band(1 << 47, KERNEL[0][0], "hole", "canonical hole", (("known", "inferred"),))
    return [hole, *(Band(start, end, "kernel", name, (("known", how),)) for start, end, name, how in KERNEL)]


def layout(bands: list[Band], title: str = "Address space of python3", **more: object) -> Layout:
    both = [*bands, *kernel_bands()]
    kinds = {band.kind: 0 for band in bands}
    for band in bands:
        kinds[band.kind] += band.end - band.start
    return Layout(
        title,
        "a sample of the tests",
        tuple(sorted(both, key=lambda band: band.start)),
        (
            Mark(0x10000, "mmap_min_addr", "/proc/sys/vm/mmap_min_addr"),
            Mark(TASK_SIZE, "TASK_SIZE", "2^47 less one page: no la57 in /proc/cpuinfo"),
        ),
        (("Page", "4 KiB"), ("Address bits", "48 virtual, 46 physical")),
        Table(("Kind", "Size"), tuple((kind, size(total)) for kind, total in kinds.items())),
    )._replace(**more)


def maps_of_a_child() -> str:
    """What /proc says of a Python with some libraries and two threads."""
    script = (
        "import ctypes, ssl, decimal, threading, time, mmap, sys; m = mmap.mmap(-1, 1 << 20)\n"
        "for _ in range(2): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "print(open('/proc/self/maps').read())"
    )
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout


def mappings(text: str) -> list[Band]:
    """A crude reading of proc_pid_maps(5); guesses the kinds."""
    found = re.findall(r"^(\w+)-(\w+) (\S+) (\w+) \S+ \d+ *(.*)$", text, re.MULTILINE)
    heads = {
        "[heap]": "heap",
        "[stack]": "stack",
        "[vdso]": "vdso",
        "[vvar]": "vvar",
        "[vsyscall]": "vsyscall",
    }
    bands = []
    for start, end, perms, offset, path in found:
        if path in heads or path.startswith("[v"):
            kind, label = heads.get(path, "vvar"), path
        elif path.startswith("/dev/zero"):
            kind, label = "shared", "/dev/zero"
        elif path.startswith("/"):
            part = {"r-x": ("text", "code"), "r--": ("rodata", "constants")}.get(
                perms[:3], ("data", "variables")
            )
            if ".so" not in path and "python" not in path:
                part = ("file", "file")
            kind, label = part[0], f"{PurePath(path).name}, {part[1]}"
        else:
            big = int(end, 16) - int(start, 16) == 8 << 20
            kind, label = ("thread-stack", "stack of a thread") if big else ("anon", "anonymous")
            if perms.startswith("---"):
                kind, label = "gap", "guard, no access"
        resident = size((int(end, 16) - int(start, 16)) // 2 // PAGE * PAGE)
        facts = (("perms", perms), ("offset", f"0x{offset}"), ("path", path), ("resident", resident))
        bands.append(Band(int(start, 16), int(end, 16), kind, label, facts))
    return bands


def real() -> Layout:
    return layout(mappings(maps_of_a_child()))


def compared() -> Layout:
    """The same Python after a fork: every mapping with some pages shared, copied, or only in one."""
    bands = []
    for number, band in enumerate(mappings(maps_of_a_child())):
        pages = (band.end - band.start) // PAGE
        copied = pages // 3 if band.kind in ("data", "heap", "stack", "anon") else 0
        one = pages // 4 if number % 5 == 0 else 0
        share = Share(pages - copied - 2 * one, copied, one, one) if number % 7 else Share(0, 0, 0, 0)
        bands.append(band if band.kind == "vsyscall" else band._replace(share=share))
    return layout(bands, "python3 (pid 100) and its child (pid 101)", sides=("parent 100", "child 101"))


def hostile() -> Layout:
    bands = [
        Band(
            0x400000 + i * 3 * PAGE,
            0x400000 + (i * 3 + 2) * PAGE,
            "text",
            name,
            (("path", name), (name, "x")),
        )
        for i, name in enumerate(HOSTILE)
    ]
    return layout(bands, HOSTILE[0], subtitle=HOSTILE[3], facts=((HOSTILE[1], HOSTILE[4]),))


def many(count: int = 20_000) -> Layout:
    """Mappings such as a Java server has: 9 in 10 small, close together."""
    kinds = ("text", "rodata", "data", "anon", "file", "shared")
    bands, at = [], 0x7F0000000000
    for i in range(count):
        length = PAGE * (1 + i * 7919 % 13) * (200 if i % 10 == 0 else 1)
        facts = (
            ("perms", "r-xp"),
            ("offset", f"0x{i:x}"),
            ("path", f"/usr/lib/x86_64-linux-gnu/lib{i // 5}.so"),
        )
        bands.append(Band(at, at + length, kinds[i % 6], f"lib{i // 5}.so, part {i % 5}", facts))
        at += length + (PAGE * 64 if i % 3 == 0 else 0)
    return layout(bands, f"{count} mappings")


def few() -> Layout:
    return layout(
        [
            Band(0x400000, 0x401000, "text", "tiny, code"),
            Band(0x401000, 0x402000, "data", "tiny, variables"),
            Band(0x7FFFF7FF9000, 0x7FFFF7FFD000, "vvar", "[vvar]"),
            Band(0x7FFFF7FFD000, 0x7FFFF7FFF000, "vdso", "[vdso]"),
            Band(0x7FFFFFFDE000, 0x7FFFFFFFF000, "stack", "[stack]"),
        ],
        "tiny",
    )


def empty() -> Layout:
    return Layout("nothing is mapped", "", (), (), (), Table((), ()))
