/* Loads that switch in known ways. Each says "ready" when it has done its work, then all of its tasks wait, so
 * that what the kernel counted of them can be read, until standard input ends. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int gate[2]; /* closed when standard input ends */

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (cpu >= 0 && sched_setaffinity(0, sizeof(set), &set))
        exit(3);
}

static void wait_at_gate(void)
{
    char byte;
    while (read(gate[0], &byte, 1) < 0)
        ;
}

/* The child's part, and its end. */
static pid_t begin_child(void)
{
    pid_t child = fork();
    if (child < 0)
        exit(4);
    if (child == 0) {
        close(gate[1]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    return child;
}

static void end_child(void)
{
    wait_at_gate();
    _exit(0);
}

static void pass_token(int from, int to, int rounds, int begins)
{
    char byte = 'x';
    for (int i = 0; i < rounds; i++) {
        if (begins && write(to, &byte, 1) != 1)
            exit(5);
        if (read(from, &byte, 1) != 1)
            exit(5);
        if (!begins && write(to, &byte, 1) != 1)
            exit(5);
    }
}

static void pingpong(int rounds)
{
    int there[2], back[2];
    if (pipe(there) || pipe(back))
        exit(4);
    if (begin_child() == 0) {
        pass_token(there[0], back[1], rounds, 0);
        end_child();
    }
    pass_token(back[0], there[1], rounds, 1);
}

static void compute(int cpu_ms)
{
    struct timespec now;
    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    while (now.tv_sec * 1000 + now.tv_nsec / 1000000 < cpu_ms);
}

static void hogs(int cpu_ms)
{
    int done[2];
    char byte = 'x';
    if (pipe(done))
        exit(4);
    if (begin_child() == 0) {
        compute(cpu_ms);
        if (write(done[1], &byte, 1) != 1)
            _exit(5);
        end_child();
    }
    compute(cpu_ms);
    if (read(done[0], &byte, 1) != 1)
        exit(5);
}

static int asleep[2];

static void *sleeper(void *number)
{
    char byte = 'x';
    struct timespec span = {0, (1 + (long)number % 7) * 1000000};
    for (int i = 0; i < 5; i++)
        nanosleep(&span, NULL);
    if (write(asleep[1], &byte, 1) != 1)
        exit(5);
    wait_at_gate();
    return NULL;
}

static void sleepers(int threads)
{
    pthread_attr_t small;
    pthread_t thread;
    char byte;
    if (pipe(asleep))
        exit(4);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (long i = 0; i < threads; i++)
        if (pthread_create(&thread, &small, sleeper, (void *)i))
            exit(4);
    for (int i = 0; i < threads; i++)
        if (read(asleep[0], &byte, 1) != 1)
            exit(5);
}

static volatile sig_atomic_t caught;

static void catch(int signal)
{
    (void)signal;
    caught++;
}

/* Signals for a task that is about to sleep keep it from that. */
static void signals(int number)
{
    int ready[2];
    char byte = 'x';
    pid_t child;
    if (pipe(ready))
        exit(4);
    child = begin_child();
    if (child == 0) {
        struct sigaction action = {.sa_handler = catch};
        struct timespec brief = {0, 50000};
        sigaction(SIGUSR1, &action, NULL);
        if (write(ready[1], &byte, 1) != 1)
            _exit(5);
        while (caught < number)
            nanosleep(&brief, NULL);
        if (write(ready[1], &byte, 1) != 1)
            _exit(5);
        end_child();
    }
    if (read(ready[0], &byte, 1) != 1)
        exit(5);
    fcntl(ready[0], F_SETFL, O_NONBLOCK);
    while (read(ready[0], &byte, 1) != 1) {
        struct timespec brief = {0, 20000};
        kill(child, SIGUSR1);
        nanosleep(&brief, NULL);
    }
}

/* From the one CPU that it was given to CPU 0 and back. */
static void moves(int cpu, int number)
{
    int done[2];
    char byte = 'x';
    if (pipe(done))
        exit(4);
    if (begin_child() == 0) {
        for (int i = 0; i < number; i++)
            pin(i % 2 ? cpu : 0);
        if (write(done[1], &byte, 1) != 1)
            _exit(5);
        end_child();
    }
    if (read(done[0], &byte, 1) != 1)
        exit(5);
}

static void *survivor(void *nothing)
{
    struct timespec span = {0, 20000000};
    for (int i = 0; i < 5; i++)
        nanosleep(&span, NULL);
    return nothing;
}

/* The first thread ends, the others end their process. */
static void survivors(int threads)
{
    pthread_t thread;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&thread, NULL, survivor, NULL))
            exit(4);
    syscall(SYS_exit, 0);
}

int main(int argc, char **argv)
{
    char byte;
    int number;
    if (argc != 4 || pipe(gate))
        return 2;
    number = atoi(argv[3]);
    pin(atoi(argv[2]));
    if (!strcmp(argv[1], "pingpong"))
        pingpong(number);
    else if (!strcmp(argv[1], "hogs"))
        hogs(number);
    else if (!strcmp(argv[1], "sleepers"))
        sleepers(number);
    else if (!strcmp(argv[1], "signals"))
        signals(number);
    else if (!strcmp(argv[1], "moves"))
        moves(atoi(argv[2]), number);
    else if (!strcmp(argv[1], "survivors"))
        survivors(number);
    else
        return 2;
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    close(gate[1]);
    while (wait(NULL) > 0)
        ;
    return 0;
}
