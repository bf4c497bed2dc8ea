"""Prototypes of system calls on files, directories, descriptors and memory; see syscall_signatures.

Names of arguments are those of the man pages.
"""

FILES = """
open(path pathname, open_flags flags, open_mode mode) fd
openat(dirfd dirfd, path pathname, open_flags flags, openat_mode mode) fd
openat2(dirfd dirfd, path pathname, in open_how how, ulong size) fd
creat(path pathname, mode mode) fd
close(fd fd)
close_range(uint first, uint last, close_range_flags flags)
read(fd fd, out bytes[result] buf, ulong count)
write(fd fd, in bytes[count] buf, ulong count)
pread64(fd fd, out bytes[result] buf, ulong count, long offset)
pwrite64(fd fd, in bytes[count] buf, ulong count, long offset)
readv(fd fd, in iovec[iovcnt] iov, int iovcnt)
writev(fd fd, in iovec[iovcnt] iov, int iovcnt)
preadv(fd fd, in iovec[iovcnt] iov, int iovcnt, long offset, unused pos_h)
pwritev(fd fd, in iovec[iovcnt] iov, int iovcnt, long offset, unused pos_h)
preadv2(fd fd, in iovec[iovcnt] iov, int iovcnt, long offset, unused pos_h, rwf_flags flags)
pwritev2(fd fd, in iovec[iovcnt] iov, int iovcnt, long offset, unused pos_h, rwf_flags flags)
lseek(fd fd, long offset, whence whence)
stat(path pathname, out stat statbuf)
lstat(path pathname, out stat statbuf)
fstat(fd fd, out stat statbuf)
newfstatat(dirfd dirfd, path pathname, out stat statbuf, at_flags flags)
statx(dirfd dirfd, path pathname, at_statx_flags flags, statx_mask mask, out statx statxbuf)
access(path pathname, access_mode mode)
faccessat(dirfd dirfd, path pathname, access_mode mode)
faccessat2(dirfd dirfd, path pathname, access_mode mode, at_access_flags flags)
readlink(path pathname, out text[result<=4096] buf, ulong bufsiz)
readlinkat(dirfd dirfd, path pathname, out text[result<=4096] buf, ulong bufsiz)
getcwd(out text[result<=4096] buf, ulong size)
chdir(path path)
fchdir(fd fd)
chroot(path path)
pivot_root(path new_root, path put_old)
mkdir(path pathname, mode mode)
mkdirat(dirfd dirfd, path pathname, mode mode)
mknod(path pathname, file_mode mode, hex dev)
mknodat(dirfd dirfd, path pathname, file_mode mode, hex dev)
rmdir(path pathname)
unlink(path pathname)
unlinkat(dirfd dirfd, path pathname, at_unlink_flags flags)
rename(path oldpath, path newpath)
renameat(dirfd olddirfd, path oldpath, dirfd newdirfd, path newpath)
renameat2(dirfd olddirfd, path oldpath, dirfd newdirfd, path newpath, rename_flags flags)
link(path oldpath, path newpath)
linkat(dirfd olddirfd, path oldpath, dirfd newdirfd, path newpath, at_flags flags)
symlink(path target, path linkpath)
symlinkat(path target, dirfd newdirfd, path linkpath)
chmod(path pathname, mode mode)
fchmod(fd fd, mode mode)
fchmodat(dirfd dirfd, path pathname, mode mode)
fchmodat2(dirfd dirfd, path pathname, mode mode, at_flags flags)
chown(path pathname, id owner, id group)
lchown(path pathname, id owner, id group)
fchown(fd fd, id owner, id group)
fchownat(dirfd dirfd, path pathname, id owner, id group, at_flags flags)
utime(path filename, pointer times)
utimes(path filename, in timeval_pair times)
futimesat(dirfd dirfd, path pathname, in timeval_pair times)
utimensat(dirfd dirfd, path pathname, in timespec_pair times, at_flags flags)
umask(mode mask) mode
getdents(fd fd, pointer dirp, uint count)
getdents64(fd fd, pointer dirp, ulong count)
statfs(path path, out statfs buf)
fstatfs(fd fd, out statfs buf)
mount(path source, path target, string filesystemtype, mount_flags mountflags, pointer data)
umount2(path target, umount_flags flags)
fsopen(string fsname, hex flags) fd
fsmount(fd fsfd, hex flags, hex attr_flags) fd
fspick(dirfd dirfd, path path, hex flags) fd
open_tree(dirfd dirfd, path path, hex flags) fd
open_by_handle_at(dirfd mount_fd, pointer handle, open_flags flags) fd
truncate(path path, long length)
ftruncate(fd fd, long length)
fallocate(fd fd, fallocate_mode mode, long offset, long len)
fadvise64(fd fd, long offset, long len, fadvice advice)
readahead(fd fd, long offset, ulong count)
fsync(fd fd)
fdatasync(fd fd)
sync_file_range(fd fd, long offset, long nbytes, hex flags)
syncfs(fd fd)
sync()
flock(fd fd, flock operation)
dup(fd oldfd) fd
dup2(fd oldfd, fd newfd) fd
dup3(fd oldfd, fd newfd, pipe_flags flags) fd
fcntl(fd fd, fcntl op, in fcntl_argument arg) fcntl_result
ioctl(fd fd, ioctl op, out ioctl_argument argp)
pipe(out int_pair pipefd)
pipe2(out int_pair pipefd, pipe_flags flags)
sendfile(fd out_fd, fd in_fd, in long offset, ulong count)
splice(fd fd_in, in long off_in, fd fd_out, in long off_out, ulong size, splice_flags flags)
tee(fd fd_in, fd fd_out, ulong size, splice_flags flags)
vmsplice(fd fd, in iovec[nr_segs] iov, ulong nr_segs, splice_flags flags)
copy_file_range(fd fd_in, in long off_in, fd fd_out, in long off_out, ulong size, hex flags)
getxattr(path path, string name, pointer value, ulong size)
lgetxattr(path path, string name, pointer value, ulong size)
fgetxattr(fd fd, string name, pointer value, ulong size)
setxattr(path path, string name, in bytes[size] value, ulong size, xattr_flags flags)
lsetxattr(path path, string name, in bytes[size] value, ulong size, xattr_flags flags)
fsetxattr(fd fd, string name, in bytes[size] value, ulong size, xattr_flags flags)
listxattr(path path, pointer list, ulong size)
llistxattr(path path, pointer list, ulong size)
flistxattr(fd fd, pointer list, ulong size)
removexattr(path path, string name)
lremovexattr(path path, string name)
fremovexattr(fd fd, string name)
poll(out pollfd[nfds] fds, uint nfds, int timeout)
ppoll(out pollfd[nfds] fds, uint nfds, in timespec tmo_p, in sigset sigmask, ulong sigsetsize)
select(int nfds, in fd_set readfds, in fd_set writefds, in fd_set exceptfds, in timeval timeout)
pselect6(int nfds, in fd_set readfds, in fd_set writefds, in fd_set exceptfds, in timespec timeout,
    pointer sigmask)
epoll_create(int size) fd
epoll_create1(epoll_create_flags flags) fd
epoll_ctl(fd epfd, epoll_op op, fd fd, in epoll_event event)
epoll_wait(fd epfd, out epoll_event[result] events, int maxevents, int timeout)
epoll_pwait(fd epfd, out epoll_event[result] events, int maxevents, int timeout, in sigset sigmask,
    ulong sigsetsize)
epoll_pwait2(fd epfd, out epoll_event[result] events, int maxevents, in timespec timeout,
    in sigset sigmask, ulong sigsetsize)
eventfd(uint initval) fd
eventfd2(uint initval, eventfd_flags flags) fd
inotify_init() fd
inotify_init1(inotify_flags flags) fd
inotify_add_watch(fd fd, path pathname, inotify mask)
inotify_rm_watch(fd fd, int wd)
fanotify_init(hex flags, open_flags event_f_flags) fd
userfaultfd(pipe_flags flags) fd
memfd_secret(pipe_flags flags) fd
memfd_create(string name, memfd_flags flags) fd
mmap(pointer addr, ulong length, prot prot, map_flags flags, fd fd, hex offset) pointer
munmap(pointer addr, ulong length)
mprotect(pointer addr, ulong len, prot prot)
pkey_mprotect(pointer addr, ulong len, prot prot, int pkey)
mremap(pointer old_address, ulong old_size, ulong new_size, mremap_flags flags,
    mremap_address new_address) pointer
madvise(pointer addr, ulong length, madvise advice)
brk(pointer addr) pointer
msync(pointer addr, ulong length, msync_flags flags)
mincore(pointer addr, ulong length, pointer vec)
mlock(pointer addr, ulong len)
mlock2(pointer addr, ulong len, mlock_flags flags)
munlock(pointer addr, ulong len)
mlockall(mlockall_flags flags)
munlockall()
io_uring_setup(uint entries, in io_uring_params p) fd
io_uring_enter(fd fd, uint to_submit, uint min_complete, io_uring_enter flags, pointer sig, ulong sz)
io_uring_register(fd fd, io_uring_register opcode, pointer arg, uint nr_args)
"""
