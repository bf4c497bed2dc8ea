"""What each mapping of a process is, found out and not guessed from its place in the list.

Clues are the program headers of the mapped files, the auxiliary vector, the ends that /proc/PID/stat tells,
the stack pointers of the threads, and the names that the kernel gives its own mappings. Each answer says by
which of them it is known.

What it cannot tell: the stack of a thread that never sleeps while it is looked at (its stack pointer is not
told then), and what a program itself keeps in anonymous memory, such as the stacks of goroutines.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from kintro.observers.memory_records import Region
from kintro.sources import mappings as m
from kintro.sources.elf import PF_W, PF_X, PT_GNU_RELRO, Elf, Segment

Key = tuple[str, int]  # dev and inode of a file
Answer = tuple[str, str, str]  # kind, what, reason

# Names that the kernel gives to mappings of its own (special_mapping, arch_vma_name, vma_set_anon_name).
_OWN = {
    b"[vdso]": ("vdso", "functions of the kernel that run without a system call"),
    b"[vvar]": ("vvar", "data of the vDSO"),
    b"[vvar_vclock]": ("vvar", "clock data of the vDSO"),
    b"[vsyscall]": ("vsyscall", "system calls of old at their fixed address"),
    b"[vectors]": ("vdso", "exception vectors of arm"),
    b"[sigpage]": ("vdso", "return code of signal handlers"),
    b"[uprobes]": ("vdso", "instructions that uprobes replaced"),
}


class Clues(NamedTuple):
    """What is known beside the mappings. None where it could not be read."""

    files: Mapping[Key, Elf] = {}
    vdso: int | None = None  # AT_SYSINFO_EHDR of getauxval(3)
    start_brk: int | None = None  # of proc_pid_stat(5)
    start_stack: int | None = None
    stack_pointers: Mapping[int, int] = {}  # tid → stack pointer, of threads other than the first


class _Load(NamedTuple):
    """An ELF file as it was mapped: its segments lie at their vaddr plus the bias."""

    key: Key
    elf: Elf
    bias: int
    start: int
    end: int
    path: bytes

    @property
    def name(self) -> str:
        return _name(self.path)


def regions(found: Sequence[tuple[m.Mapping, m.Usage | None]], clues: Clues, page: int) -> list[Region]:
    """Each mapping with its kind. `found` in order of addresses, as the kernel lists them."""
    stacks = dict(_thread_stacks(found, clues))
    starts = [mapping.start for mapping, _ in found]
    loads: list[_Load] = []  # those around the mapping at hand
    result = []
    for place, (mapping, usage) in enumerate(found):
        loads = [load for load in loads if mapping.start < load.end]
        load = _load_of(mapping, clues, loads, page)
        if load is not None and load not in loads:
            if _code_is_there(load, found, starts):
                loads.append(load)
            else:
                load = None
        part = _in_load(mapping, load, page) if load is not None else None
        kind, what, reason = (
            _own(mapping, clues)
            or part
            or _process_wide(mapping, clues)
            or stacks.get(place)
            or _by_itself(mapping)
        )
        path = load.path if part and load else mapping.path if mapping.inode else b""
        owner = path.decode("utf-8", "backslashreplace") or f"[{kind}]"
        result.append(Region(mapping, usage, kind, what, reason, owner))
    return _with_guards(result)


def _own(mapping: m.Mapping, clues: Clues) -> Answer | None:
    if mapping.path == b"[vdso]" and mapping.start == clues.vdso:
        return *_OWN[b"[vdso]"], "AT_SYSINFO_EHDR of the auxiliary vector"
    if mapping.inode == 0 and mapping.path in _OWN:
        return *_OWN[mapping.path], f"the kernel's name {mapping.path.decode()}"
    return None


def _process_wide(mapping: m.Mapping, clues: Clues) -> Answer | None:
    if mapping.inode:
        return None
    if clues.start_stack and mapping.start <= clues.start_stack < mapping.end:
        return "stack", "of the first thread", "holds start_stack of /proc/PID/stat"
    if mapping.path == b"[stack]":
        return "stack", "of the first thread", "the kernel's name [stack]"
    if mapping.path == b"[heap]":
        reason = "the kernel's name [heap]"
        if clues.start_brk and mapping.start <= clues.start_brk < mapping.end:
            reason = "holds start_brk of /proc/PID/stat"
        return "heap", "grown by brk", reason
    return None


def _load_of(mapping: m.Mapping, clues: Clues, loads: list[_Load], page: int) -> _Load | None:
    """The mapped ELF file that a mapping is a part of, out of `loads` or new."""
    key = mapping.dev, mapping.inode
    elf = clues.files.get(key) if mapping.inode else None
    around = loads[-1] if loads else None
    if elf is None or not elf.loads:
        return around if not mapping.inode else None
    if around is not None and around.key == key:
        return around
    first = elf.loads[0]
    if mapping.offset != _down(first.offset, page):
        return None
    bias = mapping.start - _down(first.vaddr, page)
    end = bias + max(_up(segment.vaddr + segment.memory_bytes, page) for segment in elf.loads)
    for segment in elf.loads:
        start = bias + segment.vaddr
        part = start < mapping.end and mapping.start < start + segment.memory_bytes
        if part and bool(segment.flags & PF_X) != ("x" in mapping.perms):
            return None  # mapped as a whole, to be read
    return _Load(key, elf, bias, mapping.start, end, mapping.path)


def _code_is_there(load: _Load, found: Sequence[tuple[m.Mapping, m.Usage | None]], starts: list[int]) -> bool:
    """Whether code lies where the file wants it. If not, only the beginning is mapped, to be read."""
    code = [load.bias + s.vaddr for s in load.elf.loads if s.flags & PF_X and s.file_bytes]
    for address in code:
        place = bisect_right(starts, address) - 1
        if place >= 0 and address < found[place][0].end and "x" in found[place][0].perms:
            return True
    return not code


def _in_load(mapping: m.Mapping, load: _Load, page: int) -> Answer | None:
    """By the segment that a mapping belongs to."""
    at = mapping.start - load.bias
    if mapping.perms.startswith("---"):
        return "gap", f"between the segments of {load.name}", "within a mapped ELF file, no access"
    inside = [s for s in load.elf.loads if _down(s.vaddr, page) <= at < _up(s.vaddr + s.memory_bytes, page)]
    if mapping.inode:
        place = at - mapping.offset
        inside = [s for s in inside if _down(s.vaddr, page) - _down(s.offset, page) == place]
    if not inside:
        return None
    segment = inside[-1]
    shown = f"PT_LOAD {_flags(segment)} of the ELF file"
    if segment.flags & PF_X or "x" in mapping.perms:
        return "text", f"{load.name}, code", shown
    if not segment.flags & PF_W:
        return "rodata", f"{load.name}, constants", shown
    relro = any(
        s.kind == PT_GNU_RELRO and _down(s.vaddr, page) <= at < s.vaddr + s.memory_bytes
        for s in load.elf.segments
    )
    if "w" not in mapping.perms and relro:
        return "rodata", f"{load.name}, relocated constants", f"PT_GNU_RELRO in {shown}"
    if mapping.inode:
        return "data", f"{load.name}, variables", shown
    return "bss", f"{load.name}, variables that begin as 0", f"{shown}, behind what is in the file"


def _thread_stacks(
    found: Sequence[tuple[m.Mapping, m.Usage | None]], clues: Clues
) -> Iterator[tuple[int, Answer]]:
    """Place of a mapping → answer, for anonymous memory that a thread's stack pointer points into.

    It is the thread's own stack if a guard lies below it, else only memory in which the stack is.
    """
    pointers = sorted((pointer, tid) for tid, pointer in clues.stack_pointers.items())
    for place, (mapping, usage) in enumerate(found):
        first, last = bisect_left(pointers, (mapping.start, 0)), bisect_left(pointers, (mapping.end, 0))
        tids = sorted(tid for _, tid in pointers[first:last])
        if not tids or mapping.inode or "w" not in mapping.perms:
            continue
        below = found[place - 1][0] if place else None
        guarded = below is not None and below.end == mapping.start and below.perms.startswith("---")
        reason = "holds the thread's stack pointer (/proc/PID/task/TID/syscall)"
        if len(tids) == 1 and (guarded or (usage is not None and {"gd", "gu"} & set(usage.flags))):
            yield place, ("thread-stack", f"of thread {tids[0]}", f"{reason}, a guard below")
        else:
            names = ", ".join(map(str, tids[:4])) + (", …" if len(tids) > 4 else "")
            label = _label(mapping)
            what = f"{label}, with the stack of {names}" if label else f"with the stack of {names}"
            yield place, ("anon", what, reason)


def _by_itself(mapping: m.Mapping) -> Answer:
    path, name = mapping.path, _name(mapping.path)
    gone = ", deleted" if mapping.deleted else ""
    if mapping.perms.startswith("---"):
        return "gap", _label(mapping) or name or "reserved", "no permission to read, write or execute"
    if path.startswith(b"/memfd:") and mapping.deleted:  # the kernel's mark: it never had a name
        return "memfd", path[7:].decode("utf-8", "backslashreplace"), "the kernel's name /memfd:"
    if path.startswith(b"/SYSV") and mapping.deleted:
        return "shm", f"System V segment, key 0x{name[4:]}", "the kernel's name /SYSV"
    if path.startswith(b"/dev/shm/"):
        return "shm", f"POSIX shared memory /{name}{gone}", "a file in /dev/shm"
    if mapping.perms.endswith("s"):
        if path.startswith(b"/anon_hugepage") and mapping.deleted:
            return "shared", "anonymous, in huge pages", "MAP_SHARED, the kernel's name /anon_hugepage"
        if path == b"/dev/zero" and mapping.deleted:
            return "shared", "anonymous, shared with children", "the kernel's name /dev/zero (deleted)"
        if path.startswith(b"[anon_shmem:"):
            return "shared", _label(mapping), "the kernel's name [anon_shmem:"
        return "shared", name + gone, "MAP_SHARED of a file"
    if path.startswith(b"/anon_hugepage") and mapping.deleted:
        return "anon", "in huge pages", "the kernel's name /anon_hugepage"
    if mapping.inode and "x" in mapping.perms:  # V8 maps its part of the program a second time
        return "text", f"{name}, code{gone}", "a file, mapped to be executed"
    if mapping.inode:
        return "file", name + gone, "a file that is not mapped as an ELF segment"
    what = _label(mapping) or ("code made at run time" if "x" in mapping.perms else "")
    return "anon", what, "no file behind it"


def _with_guards(found: list[Region]) -> list[Region]:
    """Gaps right below a stack are its guard."""
    result = list(found)
    for place, (below, above) in enumerate(pairwise(found)):
        guards = below.kind == "gap" and not below.mapping.inode and below.mapping.end == above.mapping.start
        if guards and above.kind == "thread-stack":
            result[place] = below._replace(what=f"guard below the stack {above.what}")
    return result


def _label(mapping: m.Mapping) -> str:
    """The name that a program gave to anonymous memory (PR_SET_VMA_ANON_NAME of prctl(2))."""
    for prefix in (b"[anon:", b"[anon_shmem:"):
        if mapping.path.startswith(prefix):
            return mapping.path[len(prefix) : -1].decode("utf-8", "backslashreplace")
    return ""


def _name(path: bytes) -> str:
    return (path.rpartition(b"/")[2] or path).decode("utf-8", "backslashreplace")


def _flags(segment: Segment) -> str:
    return "".join(letter if segment.flags & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))


def _down(address: int, page: int) -> int:
    return address // page * page


def _up(address: int, page: int) -> int:
    return -(-address // page) * page
