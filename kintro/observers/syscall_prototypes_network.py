"""Prototypes of system calls on sockets and on System V and POSIX queues; see syscall_signatures.

Names of arguments are those of the man pages.
"""

NETWORK = """
socket(family domain, socket_type type, socket_protocol protocol) fd
socketpair(family domain, socket_type type, socket_protocol protocol, out int_pair sv)
connect(fd sockfd, in sockaddr[addrlen<=128] addr, int addrlen)
bind(fd sockfd, in sockaddr[addrlen<=128] addr, int addrlen)
listen(fd sockfd, int backlog)
accept(fd sockfd, out sockaddr[*addrlen<=128] addr, out int addrlen) fd
accept4(fd sockfd, out sockaddr[*addrlen<=128] addr, out int addrlen, socket_flags flags) fd
sendto(fd sockfd, in bytes[size] buf, ulong size, msg_flags flags,
    in sockaddr[addrlen<=128] dest_addr, int addrlen)
recvfrom(fd sockfd, out bytes[result] buf, ulong size, msg_flags flags,
    out sockaddr[*addrlen<=128] src_addr, out int addrlen)
sendmsg(fd sockfd, in msghdr msg, msg_flags flags)
recvmsg(fd sockfd, out msghdr msg, msg_flags flags)
sendmmsg(fd sockfd, in mmsghdr[vlen] msgvec, uint vlen, msg_flags flags)
recvmmsg(fd sockfd, out mmsghdr[result] msgvec, uint vlen, msg_flags flags, in timespec timeout)
shutdown(fd sockfd, shutdown how)
getsockname(fd sockfd, out sockaddr[*addrlen<=128] addr, out int addrlen)
getpeername(fd sockfd, out sockaddr[*addrlen<=128] addr, out int addrlen)
setsockopt(fd sockfd, socket_level level, socket_option optname,
    in socket_value[optlen<=32] optval, int optlen)
getsockopt(fd sockfd, socket_level level, socket_option optname,
    out socket_value[*optlen<=32] optval, out int optlen)
msgget(ipc_key key, ipc_flags msgflg)
msgsnd(int msqid, in msgbuf msgp, ulong msgsz, queue_flags msgflg)
msgrcv(int msqid, out msgbuf msgp, ulong msgsz, long msgtyp, queue_flags msgflg)
msgctl(int msqid, msg_control op, pointer buf)
semget(ipc_key key, int nsems, ipc_flags semflg)
semop(int semid, in sembuf[nsops] sops, ulong nsops)
semtimedop(int semid, in sembuf[nsops] sops, ulong nsops, in timespec timeout)
semctl(int semid, int semnum, sem_control op, semctl_argument arg)
shmget(ipc_key key, ulong size, shm_flags shmflg)
shmat(int shmid, pointer shmaddr, shmat_flags shmflg) pointer
shmdt(pointer shmaddr)
shmctl(int shmid, shm_control op, pointer buf)
mq_open(path name, open_flags oflag, open_mode mode, in queue_attributes attr) fd
mq_unlink(path name)
mq_timedsend(fd mqdes, in bytes[msg_len] msg_ptr, ulong msg_len, uint msg_prio, in timespec abs_timeout)
mq_timedreceive(fd mqdes, out bytes[result] msg_ptr, ulong msg_len, out uint msg_prio,
    in timespec abs_timeout)
mq_notify(fd mqdes, pointer sevp)
mq_getsetattr(fd mqdes, in mq_attr newattr, out mq_attr oldattr)
"""
