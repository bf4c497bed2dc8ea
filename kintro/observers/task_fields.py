"""The fields of a task: what /proc calls each, where the kernel keeps it, and how one becomes the other.

Rules of conversion are those of fs/proc/array.c, fs/proc/task_mmu.c and fs/proc/base.c. Where a member's name
has changed since Linux 5.8 there are several paths; BTF says which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kintro.observers.task_fields_use import memory_sources, scheduling_sources
from kintro.observers.task_names import state_letter
from kintro.observers.task_proc import NAMESPACES, Facts
from kintro.observers.task_source import Source, cpu_list, device, handled, in_ticks, text_of

_MAX_RT_PRIO, _DEFAULT_PRIO = 100, 120  # include/linux/sched/prio.h


def _permitted(facts: Facts) -> bool:
    """Whether this reader may see addresses: stat shows 0 or 1 instead."""
    return "maps" not in facts.why


def _identity() -> Iterator[Source]:
    def of(name: str, proc: Callable[[Facts], Any], *paths: str, unit: str = "number", **more: Any) -> Source:
        return Source("identity", name, unit, proc, paths, **more)

    yield of("tid", lambda f: f.status.pid, "pid")
    yield of("tgid", lambda f: f.status.tgid, "tgid")
    yield of("ppid", lambda f: f.status.ppid, "real_parent->tgid")
    yield of(
        "own_parent",
        lambda f: f.status.ppid == f.status.tgid,
        "real_parent",
        "group_leader",
        unit="answer",
        kernel=lambda parent, leader: parent == leader,
    )
    yield of("pgid", lambda f: f.stat.pgrp, "signal->pids[2]->numbers[0].nr")
    yield of("sid", lambda f: f.stat.session, "signal->pids[3]->numbers[0].nr")
    yield of("ns_pids", lambda f: f.status.ns_pids, "thread_pid->numbers[*].nr")
    longer = "of a kernel thread /proc shows a longer name, which begins with it"
    yield of("comm", lambda f: f.status.comm, "comm", unit="text", kernel=text_of, how="begins", note=longer)
    yield of(
        "start_time",
        lambda f: f.thread.starttime_ticks,
        "start_boottime | real_start_time",
        unit="ticks",
        kernel=in_ticks,
    )
    yield of(
        "tty",
        lambda f: f.stat.tty_nr,
        "signal->tty->driver->major",
        "signal->tty->driver->minor_start",
        "signal->tty->index",
        unit="device",
        kernel=device,
        absent=0,
    )


def _state() -> Iterator[Source]:
    def of(name: str, proc: Callable[[Facts], Any], *paths: str, unit: str = "number", **more: Any) -> Source:
        return Source("state", name, unit, proc, paths, **more)

    yield of(
        "state", lambda f: f.thread.state, "__state | state", "exit_state", unit="state", kernel=state_letter
    )
    yield of("flags", lambda f: f.thread.flags, "flags", unit="flags")
    yield of("threads", lambda f: f.status.threads, "signal->nr_threads")
    yield of(
        "exit_code",
        lambda f: f.thread.exit_code if _permitted(f) else None,
        "exit_code",
        file="maps",
    )
    yield of("exit_signal", lambda f: f.thread.exit_signal, "exit_signal")
    yield of(
        "tracer_pid",
        lambda f: f.status.tracer_pid,
        "parent->pid",
        "ptrace",
        kernel=lambda parent, ptrace: parent if ptrace else 0,
    )
    yield of(
        "no_new_privs",
        lambda f: f.status.no_new_privs,
        "atomic_flags",
        unit="answer",
        kernel=lambda flags: bool(flags & 1),
    )
    yield of("seccomp", lambda f: f.status.seccomp, "seccomp.mode", unit="seccomp")
    yield of("seccomp_filters", lambda f: f.status.seccomp_filters, "seccomp.filter_count")
    yield of("oom_score_adj", lambda f: f.oom_score_adj, "signal->oom_score_adj", file="oom_score_adj")


def _priority() -> Iterator[Source]:
    def of(name: str, proc: Callable[[Facts], Any], *paths: str, unit: str = "number", **more: Any) -> Source:
        return Source("priority", name, unit, proc, paths, **more)

    yield of("policy", lambda f: f.thread.policy, "policy", unit="policy")
    yield of("priority", lambda f: f.thread.priority, "prio", kernel=lambda prio: prio - _MAX_RT_PRIO)
    yield of(
        "nice", lambda f: f.nice, "static_prio", kernel=lambda prio: prio - _DEFAULT_PRIO, file="getpriority"
    )
    yield of("rt_priority", lambda f: f.thread.rt_priority, "rt_priority")
    yield of("cpu", lambda f: f.thread.processor, "thread_info.cpu | cpu")
    yield of("cpus_allowed", lambda f: f.status.cpus_allowed, "cpus_mask", unit="cpus", kernel=cpu_list)


def _credentials() -> Iterator[Source]:
    def ids(name: str, proc: Callable[[Facts], Any], member: str, unit: str = "number") -> Source:
        return Source("credentials", name, unit, proc, (f"real_cred->{member}",))

    yield ids("uid", lambda f: f.status.uids and f.status.uids.real, "uid")
    yield ids("euid", lambda f: f.status.uids and f.status.uids.effective, "euid")
    yield ids("suid", lambda f: f.status.uids and f.status.uids.saved, "suid")
    yield ids("fsuid", lambda f: f.status.uids and f.status.uids.filesystem, "fsuid")
    yield ids("gid", lambda f: f.status.gids and f.status.gids.real, "gid")
    yield ids("egid", lambda f: f.status.gids and f.status.gids.effective, "egid")
    yield ids("sgid", lambda f: f.status.gids and f.status.gids.saved, "sgid")
    yield ids("fsgid", lambda f: f.status.gids and f.status.gids.filesystem, "fsgid")
    yield ids("groups", lambda f: f.status.groups, "group_info->gid[*]")
    yield ids("cap_inheritable", lambda f: f.status.cap_inheritable, "cap_inheritable", "capabilities")
    yield ids("cap_permitted", lambda f: f.status.cap_permitted, "cap_permitted", "capabilities")
    yield ids("cap_effective", lambda f: f.status.cap_effective, "cap_effective", "capabilities")
    yield ids("cap_bounding", lambda f: f.status.cap_bounding, "cap_bset", "capabilities")
    yield ids("cap_ambient", lambda f: f.status.cap_ambient, "cap_ambient", "capabilities")


def _signals() -> Iterator[Source]:
    def of(name: str, proc: Callable[[Facts], Any], path: str, **more: Any) -> Source:
        return Source("signals", name, "signals", proc, (path,), absent=0, **more)

    action = "sighand->action"
    yield of("pending", lambda f: f.status.signals_pending, "pending.signal")
    yield of("shared_pending", lambda f: f.status.signals_shared_pending, "signal->shared_pending.signal")
    yield of("blocked", lambda f: f.status.signals_blocked, "blocked")
    yield of("ignored", lambda f: f.status.signals_ignored, action, kernel=lambda data: handled(data, True))
    yield of("caught", lambda f: f.status.signals_caught, action, kernel=lambda data: handled(data, False))


def _limits() -> Iterator[Source]:
    names = (
        "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
        "sigpending", "msgqueue", "nice", "rtprio", "rttime",
    )  # fmt: skip
    for number, name in enumerate(names):
        paths = tuple(f"signal->rlim[{number}].{part}" for part in ("rlim_cur", "rlim_max"))

        def proc(facts: Facts, number: int = number) -> tuple[int, ...] | None:
            limit = facts.limits[number] if facts.limits else None
            return tuple(limit) if limit else None

        yield Source("limits", name, "limit", proc, paths, kernel=lambda soft, hard: (soft, hard))


def _files() -> Iterator[Source]:
    def of(name: str, unit: str, proc: Callable[[Facts], Any], path: str, **more: Any) -> Source:
        return Source("files", name, unit, proc, (path,), **more)

    yield of("open_files", "number", lambda f: f.open_files, "files->fdt->open_fds[*]", absent=0, file="fd")
    yield of("fd_slots", "number", lambda f: f.status.fd_slots, "files->fdt->max_fds", absent=0)
    yield of("umask", "octal", lambda f: f.status.umask, "fs->umask")


def _namespaces() -> Iterator[Source]:
    paths = {name: f"nsproxy->{name}_ns->ns.inum" for name in NAMESPACES} | {
        "pid": "thread_pid->numbers[*].ns->ns.inum",
        "user": "real_cred->user_ns->ns.inum",
        "pid_for_children": "nsproxy->pid_ns_for_children->ns.inum",
        "time_for_children": "nsproxy->time_ns_for_children->ns.inum",
    }
    for name, path in paths.items():

        def proc(facts: Facts, name: str = name) -> int | None:
            return facts.namespaces.get(name)

        yield Source("namespaces", name, "inode", proc, (path,), file=f"ns/{name}")
    note = "the folder in the v2 hierarchy cannot be found"
    inode = "cgroups->dfl_cgrp->kn->id"
    yield Source("namespaces", "cgroup_folder", "inode", lambda f: f.cgroup_inode, (inode,), note=note)


def all_sources() -> tuple[Source, ...]:
    return (
        *_identity(), *_state(), *_priority(), *_credentials(), *_signals(), *_limits(), *_files(),
        *_namespaces(), *memory_sources(), *scheduling_sources(),
    )  # fmt: skip
