/* The current task, and a member of it, of 32 bits (LOAD) or as many as the type has. Where the verifier
 * knows the task's type that is a plain load, else a call; bcc would make the load a call too, hence the
 * assembly. */
#ifdef HAVE_BPF_GET_CURRENT_TASK_BTF
#define CURRENT() bpf_get_current_task_btf()
#define LOAD_AS(type, task, member)                                                                          \
    ({                                                                                                       \
        type loaded;                                                                                         \
        asm volatile("%0 = *(" #type " *)(%1 + %2)"                                                          \
                     : "=r"(loaded)                                                                          \
                     : "r"(task), "i"(__builtin_offsetof(struct task_struct, member)));                      \
        loaded;                                                                                              \
    })
#else
#define CURRENT() ((struct task_struct *)bpf_get_current_task())
#define LOAD_AS(type, task, member)                                                                          \
    ({                                                                                                       \
        type loaded = 0;                                                                                     \
        bpf_probe_read_kernel(&loaded, sizeof(loaded), &(task)->member);                                     \
        loaded;                                                                                              \
    })
#endif
#define LOAD(task, member) LOAD_AS(u32, task, member)
