"""The header tree that bcc compiles a probe against, made afresh from the running kernel's own BTF.

What it does: names every kernel member that the probes read (MEMBERS), looks up in the kernel's BTF
where it lies, and writes structs that hold just these members at just these offsets, together with
the few stub files bcc's front end insists on. So no kernel headers are needed and no offset is ever that
of another kernel.

Cost: about 80 ms, most of it for reading the BTF. What it cannot see: members of kernel modules' own
types (their BTF is separate).

Gaps are packed `char` padding and never bitfields: bcc lays out for the host and retargets to BPF, where
wide integers align differently, so that everything behind a `long: 64` gap would be read at a wrong place.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kintro.errors import EX_UNAVAILABLE, KintroError
from kintro.sources.btf import ARRAY, ENUM, ENUM64, FUNC, INT, PTR, STRUCT, Btf, kernel_btf
from kintro.sources.host import kernel_version

# Every kernel member that any probe reads. A name that ends in "?" may be missing: the probe then finds
# HAVE_<STRUCT>_<MEMBER> undefined.
MEMBERS: Mapping[str, tuple[str, ...]] = {
    "list_head": ("next",),
    "ns_common": ("inum", "ops"),
    "proc_ns_operations": ("name",),
    "xarray": ("xa_head",),
    "xa_node": ("shift", "slots"),
    "idr": ("idr_rt",),
    "hlist_head": ("first",),
    "pid_namespace": ("ns", "idr", "child_reaper"),
    "upid": ("nr", "ns"),
    "pid": ("level", "numbers", "tasks"),
    "sched_entity": ("sum_exec_runtime", "cfs_rq?"),
    "cfs_rq": ("rq?",),
    "rq": ("nr_switches", "clock?"),
    "sched_info": ("last_queued?",),
    "prev_cputime": ("utime", "stime"),
    "mm_struct": ("arg_start", "arg_end", "mm_mt?", "mm_rb?"),
    "vm_area_struct": ("vm_start", "vm_end", "vm_flags", "vm_pgoff", "vm_file", "vm_rb?"),
    "linux_binprm": ("filename",),
    "pt_regs": ("ip?", "r10?", "bx?", "bp?", "orig_ax?", "cs?", "regs?", "syscallno?", "orig_x0?", "pstate?"),
    "qstr": ("hash_len", "name"),
    "hlist_bl_node": ("pprev",),
    "super_block": ("s_magic", "s_dev"),
    "inode": ("i_mode", "i_sb", "i_ino", "i_private"),
    "dentry": ("d_hash", "d_parent", "d_name"),
    "vfsmount": ("mnt_root",),
    "mount": ("mnt_parent", "mnt_mountpoint", "mnt"),
    "path": ("mnt", "dentry"),
    "file": ("f_path", "f_inode", "f_mode", "private_data"),
    "fdtable": ("max_fds", "fd"),
    "files_struct": ("fdt",),
    "eventfd_ctx": ("id",),
    "net": ("ns",),
    "ipc_namespace": ("ns",),
    "nsproxy": ("ipc_ns",),
    "sock_common": (
        "skc_addrpair", "skc_daddr", "skc_rcv_saddr", "skc_dport", "skc_num", "skc_family", "skc_net",
        "skc_v6_daddr?", "skc_v6_rcv_saddr?",
    ),
    "sock": ("__sk_common", "sk_type", "sk_protocol", "sk_socket"),
    "socket": ("sk", "file"),
    "unix_address": ("len", "name"),
    "unix_sock": ("addr", "peer"),
    "kernel_siginfo": ("si_code",),
    "sigaction": ("sa_handler",),
    "k_sigaction": ("sa",),
    "bpf_perf_event_data": ("addr",),
    "signal_struct": (
        "live", "thread_head", "stats_lock", "group_exit_code", "flags", "utime", "stime",
        "sum_sched_runtime", "nvcsw", "nivcsw", "min_flt", "maj_flt", "nr_threads", "prev_cputime?",
    ),
    "thread_info": ("status?", "flags?"),
    "task_struct": (
        "thread_info?", "pid", "tgid", "comm", "flags", "exit_state", "exit_code", "real_parent",
        "group_leader", "children", "sibling", "thread_node", "thread_pid", "pid_links", "signal", "mm",
        "files", "nsproxy", "start_time", "se", "utime", "stime", "nvcsw", "nivcsw", "min_flt", "maj_flt",
        "__state?", "state?", "sched_info",
    ),
}  # fmt: skip

# Of subsystems that a kernel may lack or have as a module: then only who reads them does not compile.
MAY_BE_MISSING = ("eventfd_ctx", "unix_address", "unix_sock")

# Raw tracepoints whose number of arguments changed: probes see <NAME>_ARGS.
TRACEPOINTS = ("sched_process_exit", "sched_switch")

# Helpers and the like that newer kernels have: probes see HAVE_<NAME>.
FUNCTIONS = ("bpf_get_current_task_btf",)

# Directory below arch/ that bcc's front end looks in, by machine.
_ARCH = {"x86_64": "x86", "aarch64": "arm64", "riscv64": "riscv", "ppc64le": "powerpc", "s390x": "s390"}


def declare(btf: Btf, type_id: int, name: str) -> tuple[str, int]:
    """A C declaration of `name` with that type, and its size in bytes. Types not in MEMBERS: their bytes."""
    pointer_bytes = struct.calcsize("P")
    type_id = btf.resolve(type_id)
    kind = btf.kind(type_id)
    if kind == PTR:
        target = btf.resolve(btf.target(type_id))
        if btf.kind(target) == STRUCT and btf.name(target):
            return f"struct {btf.name(target)} *{name}", pointer_bytes
        return f"void *{name}", pointer_bytes
    if kind == ARRAY:
        element, count = btf.array(type_id)
        declaration, size = declare(btf, element, f"{name}[{count}]")
        return declaration, size * count
    size = btf.size(type_id)
    if kind == INT and btf.name(type_id) == "char":
        return f"char {name}", size
    if kind in (INT, ENUM, ENUM64):
        return f"{'s' if kind == INT and btf.is_signed(type_id) else 'u'}{size * 8} {name}", size
    if kind == STRUCT and btf.name(type_id) in MEMBERS:
        return f"struct {btf.name(type_id)} {name}", size
    return f"char {name}[{size}]", size


def kernel_structs(btf: Btf, members: Mapping[str, tuple[str, ...]] = MEMBERS) -> str:
    """C text: the structs of `members` with BTF's sizes and offsets, and the HAVE_… defines.

    Each member has its padding to itself, in a union with the others: some share an address.

    Raises KintroError (69) that names a member the kernel does not have.
    """
    parts = [f"struct {name};" for name in members]
    for name, wanted in members.items():
        if name in MAY_BE_MISSING and btf.find(name, STRUCT) is None:
            continue
        type_id = btf.struct_id(name)
        known = {member: (offset, its_type) for member, offset, its_type in btf.members(type_id)}
        missing = [m for m in wanted if not m.endswith("?") and m not in known]
        if missing:
            raise KintroError(
                f"this kernel's struct {name} has no member {missing[0]}",
                "kintro does not know this kernel yet: please report it with the output of `kintro doctor`",
                EX_UNAVAILABLE,
            )
        lines = [f"char _[{btf.size(type_id)}];"]
        for member in (m.rstrip("?") for m in wanted if m.rstrip("?") in known):
            offset, member_type = known[member]
            declaration = declare(btf, member_type, member)[0]
            lines.append(f"struct {{ char _{member}[{offset}]; {declaration}; }} __attribute__((packed));")
            if f"{member}?" in wanted:
                parts.append(f"#define HAVE_{name.upper()}_{member.upper()} 1")
        body = "\n".join(f"        {line}" for line in lines)
        parts.append(f"struct {name} {{\n    union {{\n{body}\n    }};\n}} __attribute__((packed));")
    for name in TRACEPOINTS:
        parts.append(f"#define {name.upper()}_ARGS {btf.tracepoint_args(name) or 0}")
    for name in FUNCTIONS:
        if btf.find(name, FUNC) is not None:
            parts.append(f"#define HAVE_{name.upper()} 1")
    return "\n".join(parts) + "\n"


_TYPES_H = """\
#pragma once
typedef unsigned char __u8, u8; typedef signed char __s8, s8;
typedef unsigned short __u16, u16; typedef short __s16, s16;
typedef unsigned int __u32, u32; typedef int __s32, s32;
typedef unsigned long long __u64, u64; typedef long long __s64, s64;
typedef __u16 __le16, __be16, __sum16; typedef __u32 __le32, __be32, __wsum; typedef __u64 __le64, __be64;
typedef unsigned long size_t; typedef long ssize_t; typedef _Bool bool; typedef int pid_t;
#define __aligned_u64 __u64 __attribute__((aligned(8)))
#define true 1
#define false 0
#define NULL ((void *)0)
"""

_KCONFIG_H = """\
#pragma once
#define CONFIG_BPF_SYSCALL 1
typedef unsigned long uintptr_t;
#define PAGE_SIZE {page_bytes}UL
struct task_struct;
"""

# The classic BPF opcodes that virtual_bpf.h refers to: include/uapi/linux/bpf_common.h.
_BPF_COMMON_H = """\
#pragma once
#define BPF_CLASS(code) ((code) & 0x07)
#define BPF_LD 0x00
#define BPF_LDX 0x01
#define BPF_ST 0x02
#define BPF_STX 0x03
#define BPF_ALU 0x04
#define BPF_JMP 0x05
#define BPF_W 0x00
#define BPF_H 0x08
#define BPF_B 0x10
#define BPF_IMM 0x00
#define BPF_ABS 0x20
#define BPF_IND 0x40
#define BPF_MEM 0x60
#define BPF_ADD 0x00
#define BPF_SUB 0x10
#define BPF_K 0x00
#define BPF_X 0x08
#define BPF_MAXINSNS 4096
"""


def header_files(structs: str) -> dict[str, str]:
    """Relative path → text of every file in the tree."""
    major, minor, sub = kernel_version(os.uname().release)
    version = (
        "#pragma once\n#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))\n"
        f"#define LINUX_VERSION_CODE KERNEL_VERSION({major}, {minor}, {sub})\n"
    )
    machine = os.uname().machine
    arch = _ARCH.get(machine, machine)
    return {
        "include/linux/kconfig.h": _KCONFIG_H.format(page_bytes=os.sysconf("SC_PAGESIZE")),
        "include/linux/types.h": _TYPES_H,
        "include/linux/version.h": version,
        "include/linux/bpf_common.h": _BPF_COMMON_H,
        "include/linux/log2.h": "",
        "include/uapi/linux/bpf.h": "",
        "include/uapi/linux/if_packet.h": "",
        "include/uapi/linux/ptrace.h": "",
        "include/uapi/linux/if_ether.h": "#include <linux/types.h>\n",
        f"arch/{arch}/include/asm/page.h": "",
        "kernel_structs.h": f"#pragma once\n#include <linux/types.h>\n{structs}",
    }


@contextmanager
def header_tree(below: Path = Path("/run")) -> Iterator[Path]:
    """A fresh directory with the header tree, which only root can enter, gone again on the way out.

    It lies below /run, which only root can write: nobody can prepare or swap a file that root compiles. What
    a killed kintro left there is taken away.
    """
    structs = kernel_structs(kernel_btf())
    for left in below.glob("kintro-*-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            shutil.rmtree(left, ignore_errors=True)
    try:
        root = Path(tempfile.mkdtemp(prefix=f"kintro-{os.getpid()}-", dir=below))
    except OSError as error:
        raise KintroError(
            f"cannot make a folder in {below}: {error.strerror}", "run kintro as root", EX_UNAVAILABLE
        ) from error
    try:
        try:
            for name, text in header_files(structs).items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        except OSError as error:
            message = f"cannot write into {below}: {error.strerror}"
            raise KintroError(message, None, EX_UNAVAILABLE) from error
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)
