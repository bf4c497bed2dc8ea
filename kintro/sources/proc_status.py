"""What /proc/PID/status tells of one process or thread (proc_pid_status(5), fs/proc/array.c).

Reading it costs about as much as /proc/PID/stat, and it is open to every user. The sizes of a running process
are not exact: the kernel counts pages per CPU or thread first (proc_pid_smaps_rollup(5) is exact).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from kintro.sources.host import ROOT
from kintro.sources.procfs import read_file


class Ids(NamedTuple):
    """User or group ids of credentials(7), as seen from the reader's user namespace."""

    real: int
    effective: int
    saved: int
    filesystem: int


class Status(NamedTuple):
    """None: not told, by this kernel or for this process. Sizes are None where there is no address space.

    Signal and capability sets are bit masks: bit n - 1 for signal n, bit n for capability n.
    """

    comm: bytes | None  # Name
    umask: int | None  # None for a zombie and a kernel thread without a working directory
    state: str | None  # one letter, see procfs.Stat
    tgid: int | None  # the pid that user space knows
    ngid: int | None  # NUMA group, 0: none
    pid: int | None  # the tid, of /proc/PID/task/TID/status
    ppid: int | None
    tracer_pid: int | None  # 0: not traced
    uids: Ids | None
    gids: Ids | None
    fd_slots: int | None  # FDSize: allocated, not open
    groups: tuple[int, ...] | None  # supplementary
    ns_tgids: tuple[int, ...] | None  # its pid in each pid namespace, from the reader's inwards
    ns_pids: tuple[int, ...] | None
    ns_pgids: tuple[int, ...] | None
    ns_sids: tuple[int, ...] | None
    is_kernel_thread: bool | None  # Kthread, Linux 6.8
    vm_peak_bytes: int | None  # the most that vm_size_bytes ever was
    vm_size_bytes: int | None  # of all mappings
    vm_locked_bytes: int | None  # by mlock(2)
    vm_pinned_bytes: int | None  # pages that something outside accesses, so they cannot be moved
    vm_hwm_bytes: int | None  # the most that vm_rss_bytes ever was
    vm_rss_bytes: int | None  # resident: the sum of the next three
    rss_anon_bytes: int | None
    rss_file_bytes: int | None
    rss_shmem_bytes: int | None  # System V and POSIX shared memory, tmpfs, shared anonymous mappings
    vm_data_bytes: int | None  # private writable mappings that are not the stack
    vm_stack_bytes: int | None
    vm_exe_bytes: int | None  # text of the program
    vm_lib_bytes: int | None  # text of libraries
    vm_pte_bytes: int | None  # page tables
    vm_swap_bytes: int | None  # anonymous memory that is swapped out, without shared memory
    hugetlb_bytes: int | None
    is_dumping_core: bool | None  # CoreDumping
    thp_enabled: bool | None  # transparent huge pages are not forbidden by prctl(2)
    untag_mask: int | None  # x86: bits of a pointer that are address, Linux 6.4
    threads: int | None
    signals_queued: int | None  # SigQ: for the real user
    signals_limit: int | None  # RLIMIT_SIGPENDING
    signals_pending: int | None  # SigPnd: for the thread
    signals_shared_pending: int | None  # ShdPnd: for the process
    signals_blocked: int | None
    signals_ignored: int | None
    signals_caught: int | None
    cap_inheritable: int | None
    cap_permitted: int | None
    cap_effective: int | None
    cap_bounding: int | None
    cap_ambient: int | None
    no_new_privs: bool | None
    seccomp: int | None  # 0 off, 1 strict, 2 filtered
    seccomp_filters: int | None  # Linux 5.9
    cpus_allowed: str | None  # `0-3,8`
    mems_allowed: str | None  # NUMA nodes, likewise
    voluntary_switches: int | None  # of the thread; it waited for something
    nonvoluntary_switches: int | None


def parse_status(data: bytes) -> Status:
    """/proc/PID/status. Lines may come in any order and number; those unknown here are ignored."""
    lines: dict[str, bytes] = {}
    for line in data.split(b"\n"):
        key, colon, value = line.partition(b":")
        if colon:
            lines[key.decode(errors="replace")] = value.removeprefix(b"\t")

    def number(key: str, base: int = 10) -> int | None:
        return int(lines[key], base) if lines.get(key) else None

    def flag(key: str) -> bool | None:
        return bool(number(key)) if key in lines else None

    def size(key: str) -> int | None:
        return int(lines[key].removesuffix(b" kB")) * 1024 if key in lines else None

    def several(key: str) -> tuple[int, ...] | None:
        return tuple(map(int, lines[key].split())) if key in lines else None

    def ids(key: str) -> Ids | None:
        return Ids._make(map(int, lines[key].split())) if key in lines else None

    def text(key: str) -> str | None:
        return lines[key].decode(errors="replace").strip() if key in lines else None

    queued, _, limit = lines.get("SigQ", b"").partition(b"/")
    return Status(
        comm=_unescaped(lines["Name"]) if "Name" in lines else None,
        umask=number("Umask", 8),
        state=(text("State") or "")[:1] or None,
        tgid=number("Tgid"),
        ngid=number("Ngid"),
        pid=number("Pid"),
        ppid=number("PPid"),
        tracer_pid=number("TracerPid"),
        uids=ids("Uid"),
        gids=ids("Gid"),
        fd_slots=number("FDSize"),
        groups=several("Groups"),
        ns_tgids=several("NStgid"),
        ns_pids=several("NSpid"),
        ns_pgids=several("NSpgid"),
        ns_sids=several("NSsid"),
        is_kernel_thread=flag("Kthread"),
        vm_peak_bytes=size("VmPeak"),
        vm_size_bytes=size("VmSize"),
        vm_locked_bytes=size("VmLck"),
        vm_pinned_bytes=size("VmPin"),
        vm_hwm_bytes=size("VmHWM"),
        vm_rss_bytes=size("VmRSS"),
        rss_anon_bytes=size("RssAnon"),
        rss_file_bytes=size("RssFile"),
        rss_shmem_bytes=size("RssShmem"),
        vm_data_bytes=size("VmData"),
        vm_stack_bytes=size("VmStk"),
        vm_exe_bytes=size("VmExe"),
        vm_lib_bytes=size("VmLib"),
        vm_pte_bytes=size("VmPTE"),
        vm_swap_bytes=size("VmSwap"),
        hugetlb_bytes=size("HugetlbPages"),
        is_dumping_core=flag("CoreDumping"),
        thp_enabled=flag("THP_enabled"),
        untag_mask=number("untag_mask", 16),
        threads=number("Threads"),
        signals_queued=int(queued) if queued else None,
        signals_limit=int(limit) if limit else None,
        signals_pending=number("SigPnd", 16),
        signals_shared_pending=number("ShdPnd", 16),
        signals_blocked=number("SigBlk", 16),
        signals_ignored=number("SigIgn", 16),
        signals_caught=number("SigCgt", 16),
        cap_inheritable=number("CapInh", 16),
        cap_permitted=number("CapPrm", 16),
        cap_effective=number("CapEff", 16),
        cap_bounding=number("CapBnd", 16),
        cap_ambient=number("CapAmb", 16),
        no_new_privs=flag("NoNewPrivs"),
        seccomp=number("Seccomp"),
        seccomp_filters=number("Seccomp_filters"),
        cpus_allowed=text("Cpus_allowed_list"),
        mems_allowed=text("Mems_allowed_list"),
        voluntary_switches=number("voluntary_ctxt_switches"),
        nonvoluntary_switches=number("nonvoluntary_ctxt_switches"),
    )


def read_status(pid: int, root: Path = ROOT) -> Status:
    """Raises KintroError as the readers of procfs.py do."""
    return parse_status(read_file(pid, "status", root))


def _unescaped(name: bytes) -> bytes:
    r"""A comm as it is: status, other than stat, has a newline as `\n` and a backslash as `\\`."""
    return re.sub(rb"\\([n\\])", lambda match: b"\n" if match[1] == b"n" else b"\\", name)
