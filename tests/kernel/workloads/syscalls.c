/* Makes system calls whose number and outcome are known: what, by its first argument. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            perror(#condition);                                                                              \
            _exit(99);                                                                                       \
        }                                                                                                    \
    } while (0)

static int threads, rounds;
static char *self;

/* For each round: 2 getppid, a read of a bad descriptor, an open of what is not there, a bad seek. */
static void *calls(void *unused)
{
    char byte;
    int pipes[2];
    MUST(pipe(pipes) == 0);
    for (int i = 0; i < rounds; i++) {
        syscall(SYS_getppid);
        syscall(SYS_getppid);
        MUST(syscall(SYS_read, -1, &byte, 1) == -1 && errno == EBADF);
        MUST(syscall(SYS_openat, AT_FDCWD, "/nonexistent/file", O_RDONLY) == -1 && errno == ENOENT);
        MUST(syscall(SYS_lseek, pipes[0], 0, SEEK_SET) == -1 && errno == ESPIPE);
    }
    return unused;
}

static void storm(char **argv)
{
    int processes = atoi(argv[2]);
    threads = atoi(argv[3]), rounds = atoi(argv[4]);
    for (int p = 0; p < processes; p++) {
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid)
            continue;
        pthread_t made[64];
        for (int t = 1; t < threads; t++)
            MUST(pthread_create(&made[t], NULL, calls, NULL) == 0);
        calls(NULL);
        for (int t = 1; t < threads; t++)
            pthread_join(made[t], NULL);
        exit(0);
    }
    int status;
    while (wait(&status) > 0)
        MUST(status == 0);
}

static void noticed(int number)
{
    (void)number;
}

/* A nanosleep that a handler interrupts: EINTR. */
static void interrupted(void)
{
    struct sigaction action = {.sa_handler = noticed};
    struct itimerval soon = {.it_value = {.tv_usec = 20000}};
    struct timespec long_time = {.tv_sec = 20};
    MUST(sigaction(SIGALRM, &action, NULL) == 0);
    MUST(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    MUST(syscall(SYS_nanosleep, &long_time, NULL) == -1 && errno == EINTR);
}

static char state_of(pid_t pid)
{
    char path[64], text[512] = {};
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    MUST(file);
    MUST(fread(text, 1, sizeof(text) - 1, file) > 0);
    fclose(file);
    return strrchr(text, ')')[2];
}

static void wait_until_asleep(pid_t pid)
{
    for (int i = 0; i < 20000 && state_of(pid) != 'S'; i++)
        usleep(500);
    MUST(state_of(pid) == 'S');
}

/* A child's nanosleep or poll that SIGSTOP and SIGCONT interrupt: it goes on as restart_syscall. */
static void stopped(bool polls)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct timespec while_ = {.tv_nsec = 300000000};
        if (polls)
            MUST(poll(NULL, 0, 300) == 0);
        else
            MUST(syscall(SYS_nanosleep, &while_, NULL) == 0);
        exit(0);
    }
    wait_until_asleep(pid);
    int status;
    MUST(kill(pid, SIGSTOP) == 0);
    MUST(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    MUST(kill(pid, SIGCONT) == 0);
    MUST(waitpid(pid, &status, 0) == pid && status == 0);
}

/* A child that is killed in pause. */
static void killed(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        syscall(SYS_pause);
        exit(1);
    }
    wait_until_asleep(pid);
    int status;
    MUST(kill(pid, SIGKILL) == 0);
    MUST(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGKILL);
}

/* A vfork that returns when its child execs. */
static void vforks(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        char *argv[] = {"true", NULL};
        execv("/bin/true", argv);
        _exit(98);
    }
    int status;
    MUST(waitpid(pid, &status, 0) == pid && status == 0);
}

static long int80(long number)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number) : "memory", "r8", "r9", "r10", "r11");
    return result;
}

static void *execs(void *unused)
{
    char *argv[] = {self, "nothing", NULL};
    execv("/proc/self/exe", argv);
    _exit(97);
    return unused;
}

static void forbid_getppid(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = code};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void refused(void)
{
    forbid_getppid();
    for (int i = 0; i < 7; i++)
        MUST(syscall(SYS_getppid) == -1 && errno == EPERM);
}

/* Processes whose first call is refused. */
static void refused_first(void)
{
    forbid_getppid();
    for (int i = 0; i < 5; i++) {
        int status;
        if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0) {
            MUST(syscall(SYS_getppid) == -1 && syscall(SYS_getppid) == -1);
            syscall(SYS_exit_group, 0);
        }
        MUST(wait(&status) > 0 && status == 0);
    }
}

/* Not touched before: a child gets no page of a file with the fork. */
static char *const cold[] __attribute__((aligned(4096))) = {"cold", "arguments", NULL};

static void cold_exec(void)
{
    int status;
    if (fork() == 0) {
        execv("/nonexistent/file", cold);
        _exit(0);
    }
    MUST(wait(&status) > 0 && status == 0);
}

int main(int argc, char **argv)
{
    char *what = argc > 1 ? argv[1] : "nothing", byte;
    pthread_t thread;
    self = argv[0];
    if (!strcmp(what, "storm"))
        storm(argv);
    else if (!strcmp(what, "interrupted"))
        interrupted();
    else if (!strcmp(what, "stopped"))
        stopped(argc > 2);
    else if (!strcmp(what, "killed"))
        killed();
    else if (!strcmp(what, "vfork"))
        vforks();
    else if (!strcmp(what, "int80"))
        for (int i = 0; i < 13; i++)
            MUST(int80(20) == getpid());
    else if (!strcmp(what, "unknown")) {
        for (int i = 0; i < 3; i++)
            MUST(syscall(509) == -1 && errno == ENOSYS);
        MUST(syscall(100000) == -1 && syscall(-1) == -1);
    } else if (!strcmp(what, "threadexec")) {
        MUST(pthread_create(&thread, NULL, execs, NULL) == 0);
        syscall(SYS_pause);
    } else if (!strcmp(what, "refused"))
        refused();
    else if (!strcmp(what, "coldexec"))
        cold_exec();
    else if (!strcmp(what, "refusedfirst"))
        refused_first();
    else if (!strcmp(what, "blocked"))
        return read(0, &byte, 1);
    else if (!strcmp(what, "turns")) /* a byte in: 10 getppid and a byte out */
        while (read(0, &byte, 1) == 1) {
            for (int i = 0; i < 10; i++)
                syscall(SYS_getppid);
            MUST(write(1, &byte, 1) == 1);
        }
    return 0;
}
