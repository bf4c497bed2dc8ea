/* A program that knows what lies where: prints `KIND NAME ADDRESS` for each, then READY, and waits.
 *
 * Built by tests/kernel/test_maps.py, also as a static program; -DSHARED_LIBRARY makes the library it opens.
 */
#define _GNU_SOURCE
#ifdef SHARED_LIBRARY

const char library_constant[64] = "constant";
int library_variable = 3;
char library_zeros[3 * 65536];
void *const library_relocated = &library_variable;
int library_function(void)
{
	return library_variable;
}

#else
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <unistd.h>

#define THREADS 3
#define HUGE_BYTES (64 << 20)

static const char constant[8192] = "constant";
static int initialised[4096] = {7};
static char zero[3 * 65536];
static __thread int of_thread = 5;
static pthread_barrier_t all_there;

static void tell(const char *kind, const char *name, const volatile void *address)
{
	printf("%s %s 0x%lx\n", kind, name, (unsigned long)address);
}

static int function(void)
{
	return 1;
}

static void *thread(void *unused)
{
	pthread_attr_t attributes;
	void *low;
	size_t bytes;
	int local = 1;

	pthread_getattr_np(pthread_self(), &attributes);
	pthread_attr_getstack(&attributes, &low, &bytes);
	tell("thread-stack", "lowest", low);
	tell("thread-stack", "highest", (char *)low + bytes - 1);
	tell("thread-stack", "local", &local);
	tell("thread-stack", "tls", &of_thread);
	tell("gap", "guard", (char *)low - 1);
	pthread_barrier_wait(&all_there);
	for (;;)
		pause();
	return unused;
}

static void *mapped(int protection, int flags, int fd)
{
	void *address = mmap(NULL, 8192, protection, flags, fd, 0);

	if (address == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	if (protection & PROT_WRITE)
		memset(address, 1, 4096);
	return address;
}

int main(int argc, char **argv)
{
	int rw = PROT_READ | PROT_WRITE, local = 2, fd, segment;
	pthread_t threads[THREADS];
	char *huge = malloc(HUGE_BYTES), *named;

	memset(zero, 1, sizeof(zero));
	huge[HUGE_BYTES / 2] = 1;
	tell("text", "function", (void *)function);
	tell("rodata", "constant", constant);
	tell("data", "initialised", initialised);
	tell("bss", "zero", zero + sizeof(zero) / 2);
	tell("heap", "malloc", malloc(100));
	tell("anon", "malloc-huge", huge + HUGE_BYTES / 2);
	tell("stack", "local", &local);
	tell("vdso", "vdso", (void *)getauxval(AT_SYSINFO_EHDR));
	fd = memfd_create("a memfd", 0);
	ftruncate(fd, 8192);
	tell("memfd", "memfd-shared", mapped(rw, MAP_SHARED, fd));
	tell("memfd", "memfd-private", mapped(rw, MAP_PRIVATE, fd));
	segment = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
	tell("shm", "system-v", shmat(segment, NULL, 0));
	shmctl(segment, IPC_RMID, NULL);
	fd = shm_open(argv[1], O_CREAT | O_RDWR, 0600);
	ftruncate(fd, 8192);
	tell("shm", "posix", mapped(rw, MAP_SHARED, fd));
	shm_unlink(argv[1]);
	tell("shm", "posix-unlinked", mapped(rw, MAP_SHARED, fd));
	fd = open(argv[2], O_RDWR);
	tell("shared", "file-shared", mapped(rw, MAP_SHARED, fd));
	tell("file", "file-private", mapped(rw, MAP_PRIVATE, fd));
	tell("shared", "anonymous-shared", mapped(rw, MAP_SHARED | MAP_ANONYMOUS, -1));
	tell("gap", "reserved", mapped(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1));
	tell("anon", "code-made", mapped(rw | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1));
	named = mapped(rw, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, named, 8192, "a name") == 0)
		tell("anon", "named", named);
	fd = open("/proc/self/exe", O_RDONLY);
	tell("file", "elf-read-whole", mmap(NULL, lseek(fd, 0, SEEK_END), PROT_READ, MAP_PRIVATE, fd, 0));
	tell("file", "elf-head-read", mapped(PROT_READ, MAP_PRIVATE, fd));
	if (argc > 3) {
		void *library = dlopen(argv[3], RTLD_NOW);

		if (library == NULL) {
			fprintf(stderr, "%s\n", dlerror());
			return 2;
		}
		tell("text", "library_function", dlsym(library, "library_function"));
		tell("rodata", "library_constant", dlsym(library, "library_constant"));
		tell("rodata", "library_relocated", dlsym(library, "library_relocated"));
		tell("data", "library_variable", dlsym(library, "library_variable"));
		tell("bss", "library_zeros", (char *)dlsym(library, "library_zeros") + 2 * 65536);
		tell("text", "printf", (void *)printf);
	}
	pthread_barrier_init(&all_there, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, thread, NULL);
	pthread_barrier_wait(&all_there);
	printf("READY\n");
	fflush(stdout);
	pause();
	return 0;
}
#endif
