"""Prototypes of system calls on processes, signals, time and the system; see syscall_signatures.

Names of arguments are those of the man pages.
"""

TASKS = """
clone3(in clone_args cl_args, ulong size)
fork()
vfork()
execve(path pathname, strings argv, pointer envp)
execveat(dirfd dirfd, path pathname, strings argv, pointer envp, at_flags flags)
exit(int status) none
exit_group(int status) none
wait4(int pid, out child_status wstatus, wait_flags options, pointer rusage)
waitid(id_type idtype, int id, out siginfo_child infop, waitid_flags options, pointer rusage)
prctl(prctl op, prctl_2 arg2, prctl_3 arg3, prctl_4 arg4, prctl_5 arg5)
arch_prctl(arch_prctl op, hex addr)
set_tid_address(pointer tidptr)
set_robust_list(pointer head, ulong size)
get_robust_list(int pid, pointer head_ptr, pointer sizep)
rseq(pointer rseq, uint rseq_len, rseq_flags flags, hex sig)
getpid()
gettid()
getppid()
getpgrp()
getpgid(int pid)
setpgid(int pid, int pgid)
getsid(int pid)
setsid()
getuid()
geteuid()
getgid()
getegid()
setuid(id uid)
setgid(id gid)
setreuid(id ruid, id euid)
setregid(id rgid, id egid)
setresuid(id ruid, id euid, id suid)
setresgid(id rgid, id egid, id sgid)
getresuid(out uint ruid, out uint euid, out uint suid)
getresgid(out uint rgid, out uint egid, out uint sgid)
getgroups(int size, pointer list)
setgroups(ulong size, pointer list)
getpriority(prio which, int who)
setpriority(prio which, int who, int prio)
getrlimit(rlimit_kind resource, out rlimit rlim)
setrlimit(rlimit_kind resource, in rlimit rlim)
prlimit64(int pid, rlimit_kind resource, in rlimit new_limit, out rlimit old_limit)
getrusage(rusage who, pointer usage)
times(pointer buf)
sched_yield()
sched_setaffinity(int pid, ulong cpusetsize, in cpu_set[cpusetsize<=128] mask)
sched_getaffinity(int pid, ulong cpusetsize, out cpu_set[result<=128] mask)
sched_setscheduler(int pid, sched policy, in sched_param param)
sched_getscheduler(int pid) sched
sched_setparam(int pid, in sched_param param)
sched_getparam(int pid, out sched_param param)
sched_get_priority_max(sched policy)
sched_get_priority_min(sched policy)
sched_rr_get_interval(int pid, out timespec tp)
sched_setattr(int pid, in sched_attr attr, uint flags)
sched_getattr(int pid, out sched_attr attr, uint size, uint flags)
unshare(unshare_flags flags)
setns(fd fd, unshare_flags nstype)
pidfd_open(int pid, pidfd_flags flags) fd
pidfd_send_signal(fd pidfd, signal sig, pointer info, uint flags)
pidfd_getfd(fd pidfd, int targetfd, uint flags) fd
seccomp(seccomp operation, seccomp_flags flags, pointer args)
process_vm_readv(int pid, in iovec[liovcnt] local_iov, ulong liovcnt, in iovec[riovcnt] remote_iov,
    ulong riovcnt, hex flags)
process_vm_writev(int pid, in iovec[liovcnt] local_iov, ulong liovcnt, in iovec[riovcnt] remote_iov,
    ulong riovcnt, hex flags)
bpf(bpf cmd, pointer attr, uint size)
perf_event_open(in perf_event_attr attr, int pid, int cpu, fd group_fd, perf_flags flags) fd
futex(pointer uaddr, futex_op futex_op, futex_value val, in futex_timeout timeout,
    futex_second uaddr2, futex_value3 val3)
membarrier(membarrier cmd, uint flags, int cpu_id)
rt_sigaction(signal signum, in sigaction act, out sigaction oldact, ulong sigsetsize)
rt_sigprocmask(sigmask_how how, in sigset set, out sigset oldset, ulong sigsetsize)
rt_sigreturn() none
rt_sigsuspend(in sigset mask, ulong sigsetsize)
rt_sigpending(out sigset set, ulong sigsetsize)
rt_sigtimedwait(in sigset set, out siginfo info, in timespec timeout, ulong sigsetsize)
rt_sigqueueinfo(int tgid, signal sig, in siginfo info)
rt_tgsigqueueinfo(int tgid, int tid, signal sig, in siginfo info)
kill(int pid, signal sig)
tkill(int tid, signal sig)
tgkill(int tgid, int tid, signal sig)
sigaltstack(in stack ss, out stack old_ss)
signalfd(fd fd, in sigset mask, ulong sizemask) fd
signalfd4(fd fd, in sigset mask, ulong sizemask, signalfd_flags flags) fd
pause()
restart_syscall()
nanosleep(in timespec duration, pointer rem)
clock_nanosleep(clock clockid, timer_flags flags, in timespec t, pointer remain)
clock_gettime(clock clockid, out timespec tp)
clock_getres(clock clockid, out timespec res)
clock_settime(clock clockid, in timespec tp)
gettimeofday(out timeval tv, out timezone tz)
settimeofday(in timeval tv, in timezone tz)
time(pointer tloc)
alarm(uint seconds)
getitimer(itimer which, out itimerval curr_value)
setitimer(itimer which, in itimerval new_value, out itimerval old_value)
timer_create(clock clockid, pointer sevp, out int timerid)
timer_settime(int timerid, timer_flags flags, in itimerspec new_value, out itimerspec old_value)
timer_gettime(int timerid, out itimerspec curr_value)
timer_getoverrun(int timerid)
timer_delete(int timerid)
timerfd_create(clock clockid, timerfd_flags flags) fd
timerfd_settime(fd fd, timerfd_settime_flags flags, in itimerspec new_value, out itimerspec old_value)
timerfd_gettime(fd fd, out itimerspec curr_value)
getrandom(out bytes[result] buf, ulong buflen, getrandom_flags flags)
uname(out utsname buf)
sysinfo(out sysinfo info)
getcpu(out uint cpu, out uint node, pointer tcache)
"""

# The last two are the other way round on most machines (CLONE_BACKWARDS of kernel/fork.c)
TASKS_X86 = """
clone(clone_flags flags, pointer stack, pointer parent_tid, pointer child_tid, hex tls)
"""
TASKS_OTHER = """
clone(clone_flags flags, pointer stack, pointer parent_tid, hex tls, pointer child_tid)
"""
