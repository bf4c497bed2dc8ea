"""Memory that arguments of system calls point to: structs of include/uapi/ and how they are shown."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from kintro.observers import syscall_names_network as network
from kintro.observers.lifecycle_records import signal_name
from kintro.observers.syscall_values import Call, Show, ShowBytes, array, name_of, one, signed

# Members in their order, as `name:form` of struct(3) or `name:form:how it is shown`; `name:{struct}` is one
# inside of another, and `8x` is what is not shown. What comes behind the last member is not captured either.
LAYOUTS = {
    "clone_args": "flags:Q:clone_flags pidfd:Q:pointer child_tid:Q:pointer parent_tid:Q:pointer "
    "exit_signal:Q:signal stack:Q:pointer stack_size:Q tls:Q:pointer",
    "flock": "l_type:h:lock l_whence:h:whence 4x l_start:q l_len:q",
    "io_uring_params": "8x flags:I:io_uring_setup",
    "iovec": "iov_base:Q:pointer iov_len:Q",
    "itimerspec": "it_interval:{timespec} it_value:{timespec}",
    "itimerval": "it_interval:{timeval} it_value:{timeval}",
    "linger": "l_onoff:i l_linger:i",
    "mmsghdr": "msg_hdr:{msghdr} msg_len:I 4x",
    "mq_attr": "mq_flags:q:open_flags mq_maxmsg:q mq_msgsize:q mq_curmsgs:q",
    "msgbuf": "mtype:q",
    "msghdr": "msg_name:Q:pointer msg_namelen:i 4x msg_iov:Q:pointer msg_iovlen:Q msg_control:Q:pointer "
    "msg_controllen:Q msg_flags:I:msg_flags 4x",
    "open_how": "flags:Q:open_flags mode:Q:mode resolve:Q:resolve",
    "perf_event_attr": "type:I:perf_type size:I config:Q:hex",
    "pollfd": "fd:i events:H:poll revents:H:poll",
    "rlimit": "rlim_cur:Q:rlimit rlim_max:Q:rlimit",
    "sched_attr": "size:I sched_policy:I:sched sched_flags:Q:hex sched_nice:i sched_priority:I "
    "sched_runtime:Q sched_deadline:Q sched_period:Q",
    "sched_param": "sched_priority:i",
    "sembuf": "sem_num:H sem_op:h sem_flg:h:sem_flags",
    "sigaction": "sa_handler:Q:handler sa_flags:Q:sigaction_flags sa_restorer:Q:pointer sa_mask:Q:sigset",
    "siginfo": "si_signo:i:signal 4x si_code:i:si_code 4x si_pid:i si_uid:I",
    "siginfo_child": "si_signo:i:signal 4x si_code:i:cld_code 4x si_pid:i si_uid:I si_status:i",
    "stack": "ss_sp:Q:pointer ss_flags:I:sigstack_flags 4x ss_size:Q",
    "statfs": "f_type:q:super f_bsize:q f_blocks:Q f_bfree:Q f_bavail:Q f_files:Q f_ffree:Q",
    "statx": "stx_mask:I:statx_mask 24x stx_mode:H:file_mode 10x stx_size:Q",
    "sysinfo": "uptime:q 24x totalram:Q freeram:Q",
    "timespec": "tv_sec:q tv_nsec:q:nsec",
    "timeval": "tv_sec:q tv_usec:q",
    "timezone": "tz_minuteswest:i tz_dsttime:i",
    "ucred": "pid:i uid:I gid:I",
    "utsname": "sysname:65s nodename:65s release:65s version:65s machine:65s",
    "winsize": "ws_row:H ws_col:H ws_xpixel:H ws_ypixel:H",
}
# These differ: arch/x86/include/uapi/asm/stat.h and asm-generic/stat.h; EPOLL_PACKED in linux/eventpoll.h
LAYOUTS_X86 = {
    "stat": "24x st_mode:I:file_mode 20x st_size:q",
    "epoll_event": "events:I:epoll data:Q:hex",
}
LAYOUTS_OTHER = {
    "stat": "16x st_mode:I:file_mode 28x st_size:q",
    "epoll_event": "events:I:epoll 4x data:Q:hex",
}


class Memory(NamedTuple):
    """What a pointer points to: so many bytes, shown so."""

    size: int
    show: ShowBytes
    element: bool = True  # whether an array of them is a list; else it is shown as one piece


def structures(layouts: Mapping[str, str], shows: Mapping[str, Show]) -> dict[str, Memory]:
    """Each struct that `layouts` tells of."""
    made: dict[str, Memory] = {}

    def make(name: str) -> Memory:
        if name not in made:
            made[name] = _structure(layouts[name])
        return made[name]

    def _structure(layout: str) -> Memory:
        members: list[tuple[str, int, Any]] = []
        size = 0
        for word in layout.split():
            if re.fullmatch(r"\d+x", word):
                size += int(word[:-1])
                continue
            name, form, how, *_ = (*word.split(":"), "")
            if form.startswith("{"):
                inner = make(form[1:-1])
                members.append((name, size, inner))
                size += inner.size
            else:
                form = "=" + form
                members.append((name, size, (form, shows[how] if how else None)))
                size += struct.calcsize(form)

        def show(data: bytes, call: Call) -> dict[str, Any]:
            return {name: _member(data, at, what, call) for name, at, what in members}

        return Memory(size, show)

    return {name: make(name) for name in layouts}


def _member(data: bytes, at: int, what: Any, call: Call) -> Any:
    if isinstance(what, Memory):
        return what.show(data[at : at + what.size], call)
    form, show = what
    (value,) = struct.unpack_from(form, data, at)
    if isinstance(value, bytes):
        return value.partition(b"\0")[0]
    return value if show is None else show(value, None, call)


def signal(value: int, data: bytes | None, call: Call) -> str:
    """A signal's name; 0 asks whether one could be sent."""
    number = signed(value)
    return signal_name(number) if number > 0 else str(number)


def signal_set(value: int, data: bytes | None, call: Call) -> str:
    """`[INT CHLD]`, or what is not in it where that is shorter: `~[KILL]`."""
    inverted = bin(value & (1 << 64) - 1).count("1") > 32
    if inverted:
        value = ~value
    names = [signal_name(n + 1).removeprefix("SIG") for n in range(64) if value >> n & 1]
    return "~" * inverted + "[" + " ".join(name.removeprefix("signal ") for name in names) + "]"


def wait_status(data: bytes, call: Call) -> list[str]:
    """As the macros of wait(2) take it apart."""
    (status,) = struct.unpack_from("=I", data)
    number = status & 0x7F
    if number == 0:
        return [f"{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8 & 0xFF}}}"]
    if status == 0xFFFF:
        return ["{WIFCONTINUED(s)}"]
    if status & 0xFF == 0x7F:
        event = f" | {status >> 16:#x} << 8" if status >> 16 else ""  # of ptrace(2)
        return [f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(status >> 8 & 0xFF)}{event}}}"]
    if number == 0x7F:  # nothing that the kernel writes
        return [hex(status)]
    core = " && WCOREDUMP(s)" if status & 0x80 else ""
    return [f"{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(number)}{core}}}"]


def socket_address(data: bytes, call: Call) -> dict[str, Any]:
    """struct sockaddr: what its family says of it. An abstract name of UNIX begins with NUL."""
    (family,) = struct.unpack_from("=H", data)
    shown: dict[str, Any] = {"sa_family": name_of(network.FAMILY, family)}
    rest = data[2:]
    if family == 1:
        return (
            {**shown, "sun_path": rest if rest[:1] == b"\0" else rest.partition(b"\0")[0]} if rest else shown
        )
    if family == 2 and len(rest) >= 6:
        (port,) = struct.unpack_from("!H", rest)
        return {**shown, "sin_port": port, "sin_addr": socket.inet_ntop(socket.AF_INET, rest[2:6])}
    if family == 10 and len(rest) >= 22:
        port, flow = struct.unpack_from("!HI", rest)
        address = {"sin6_port": port, "sin6_addr": socket.inet_ntop(socket.AF_INET6, rest[6:22])}
        scope = struct.unpack_from("=I", rest, 22) if len(rest) >= 26 else (0,)
        return {**shown, **address, "sin6_flowinfo": flow, "sin6_scope_id": scope[0]}
    if family == 16 and len(rest) >= 10:
        pid, groups = struct.unpack_from("=2xII", rest)
        return {**shown, "nl_pid": pid, "nl_groups": hex(groups)}
    return {**shown, "sa_data": rest} if rest else shown


def bit_numbers(data: bytes, call: Call) -> list[int]:
    """Numbers of the bits that are set, as in cpu_set_t."""
    value = int.from_bytes(data, "little")
    return [bit for bit in range(value.bit_length()) if value >> bit & 1]


def descriptor_set(data: bytes, call: Call) -> list[int]:
    """fd_set, as far as the call looks at it: its first argument says how far."""
    return [fd for fd in bit_numbers(data, call) if fd < signed(call.registers[0])]


def text_of(data: bytes, call: Call) -> bytes:
    """Up to its NUL, if there is one."""
    found = data.partition(b"\0")[0]
    return found if len(found) < len(data) else data


def memory(layouts: Mapping[str, str], shows: Mapping[str, Show]) -> dict[str, Memory]:
    """Everything that `in` and `out` of a prototype can point to."""
    made = structures(layouts, shows)
    for name in ("timespec", "timeval"):
        made[f"{name}_pair"] = Memory(32, array(16, made[name].show))
    numbers = {"int": "i", "uint": "I", "long": "q"}
    made |= {name: Memory(struct.calcsize(f), one(f, shows[name])) for name, f in numbers.items()}
    return made | {
        "int_pair": Memory(8, lambda data, call: list(struct.unpack_from("=ii", data))),
        "sigset": Memory(8, lambda data, call: signal_set(struct.unpack_from("=Q", data)[0], None, call)),
        "wait_status": Memory(4, wait_status),
        "fd_set": Memory(128, descriptor_set),
        "bytes": Memory(1, lambda data, call: data, element=False),
        "text": Memory(1, text_of, element=False),
        "sockaddr": Memory(1, socket_address, element=False),
        "cpu_set": Memory(1, bit_numbers, element=False),
    }
