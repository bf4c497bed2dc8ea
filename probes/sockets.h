/* What traffic.c tells of sockets: the kind, the other end, addresses. */

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

static inline u64 inode_of(struct sock *sk)
{
    struct socket *socket = NULL;
    struct file *file = NULL;
    struct inode *inode = NULL;
    u64 number = 0;

    READ(socket, sk, sk_socket);
    if (!socket)
        return 0; /* nobody has accepted it yet, or it is closed */
    READ(file, socket, file);
    READ(inode, file, f_inode);
    READ(number, inode, i_ino);
    return number;
}

/* Tells user space what a socket is, if that is not known. */
static inline void tell_socket(struct thread_record *record, struct end *end, struct sock *sk, u16 family,
                               u16 type, u16 protocol)
{
    u32 cpu = bpf_get_smp_processor_id();
    struct socket_scratch *scratch = socket_scratch.lookup(&cpu);
    u64 inode = end->channel, seen, *told = sockets.lookup(&inode), size = 32;
    struct unix_address *address = NULL;
    u32 length = 0;
    u16 port = 0, local_port = 0;
    u64 pair = 0;
    void *net = NULL;

    if (!scratch)
        return;
    if (family == AF_UNIX) {
        READ(address, (struct unix_sock *)sk, addr);
    } else {
        READ(port, sk, __sk_common.skc_dport);
        READ(local_port, sk, __sk_common.skc_num);
        READ(pair, sk, __sk_common.skc_addrpair);
    }
    seen = (u64)sk ^ pair ^ (u64)address << 1 ^ end->other << 32 ^ (u64)port << 16 ^ local_port;
    if (told && *told == seen)
        return;
    scratch->event.ts_ns = record->ts_ns;
    scratch->event.inode = inode;
    scratch->event.other = end->other;
    scratch->event.family = family;
    scratch->event.type = type;
    scratch->event.protocol = protocol;
    scratch->event.remote_port = __builtin_bswap16(port);
    scratch->event.local_port = local_port;
    scratch->event.net = 0;
    bpf_probe_read_kernel(&net, sizeof(net), &sk->__sk_common.skc_net);
    READ(scratch->event.net, (struct net *)net, ns.inum);
    __builtin_memset(scratch->data, 0, sizeof(scratch->data));
    if (family == AF_UNIX) {
        READ(length, address, len);
        size = length > SUN_PATH_AT ? length - SUN_PATH_AT : 0;
        asm volatile("%0 &= 127" : "+r"(size));
        bpf_probe_read_kernel(scratch->data, size, (char *)&address->name + SUN_PATH_AT);
    } else if (family == AF_INET) {
        bpf_probe_read_kernel(scratch->data, 4, &sk->__sk_common.skc_rcv_saddr);
        bpf_probe_read_kernel(scratch->data + 16, 4, &sk->__sk_common.skc_daddr);
    }
#ifdef HAVE_SOCK_COMMON_SKC_V6_DADDR
    if (family == AF_INET6) {
        bpf_probe_read_kernel(scratch->data, 16, &sk->__sk_common.skc_v6_rcv_saddr);
        bpf_probe_read_kernel(scratch->data + 16, 16, &sk->__sk_common.skc_v6_daddr);
    }
#endif
    size += sizeof(scratch->event);
    asm volatile("%0 &= 255" : "+r"(size));
    long error = socket_ring.ringbuf_output(scratch, size, 0);
    counted(error, socket_sent);
    if (!error)
        sockets.update(&inode, &seen);
}

/* The number of the address that a call sends to, told if it is new; 0: it names none. */
static inline u64 addressee(struct thread_record *record, struct spec *spec, u64 *registers, struct sock *sk,
                            u32 protocol)
{
    u32 cpu = bpf_get_smp_processor_id(), length, net_inode = 0;
    struct address_scratch *scratch = address_scratch.lookup(&cpu);
    u64 name, *known, number, size;
    void *net = NULL;
    char *data;

    if (!scratch)
        return 0;
    if (spec->names == ADDRESS) {
        name = registers[ARG4];
        length = registers[ARG5];
    } else {
        name = 0;
        length = 0;
        bpf_probe_read_user(&name, sizeof(name), (void *)registers[ARG1]);
        bpf_probe_read_user(&length, sizeof(length), (void *)registers[ARG1] + 8); /* msg_namelen */
    }
    if (!name || !length || length > SOCKADDR_MAX)
        return 0;
    __builtin_memset(&scratch->address, 0, sizeof(scratch->address));
    data = (char *)&scratch->address;
    bpf_probe_read_kernel(&net, sizeof(net), &sk->__sk_common.skc_net);
    READ(net_inode, (struct net *)net, ns.inum);
    *(u32 *)data = net_inode;
    *(u32 *)(data + 4) = protocol;
    size = length;
    asm volatile("%0 &= 127" : "+r"(size));
    if (size > SOCKADDR_MAX || bpf_probe_read_user(data + 8, size, (void *)name))
        return 0;
    known = addresses.lookup(&scratch->address);
    if (known)
        return *known;
    number = bpf_ktime_get_ns() * CPUS + cpu; /* no other one has it */
    scratch->event.ts_ns = record->ts_ns;
    scratch->event.number = number;
    size += sizeof(scratch->event) + 8;
    asm volatile("%0 &= 255" : "+r"(size));
    if (size > sizeof(*scratch))
        return 0;
    long error = address_ring.ringbuf_output(scratch, size, 0);
    counted(error, address_sent);
    if (!error)
        addresses.update(&scratch->address, &number);
    return number;
}

static inline void find_socket(struct thread_record *record, struct end *end, struct file *file,
                               struct spec *spec, u64 *registers)
{
    struct socket *socket = NULL;
    struct sock *sk = NULL, *peer = NULL, *back = NULL;
    u16 family = 0, type = 0, protocol = 0;

    bpf_probe_read_kernel(&socket, sizeof(socket), &file->private_data);
    READ(sk, socket, sk);
    READ(family, sk, __sk_common.skc_family);
    READ(type, sk, sk_type);
    READ(protocol, sk, sk_protocol);
    end->kind = SOCKET;
    if (type == SOCK_DGRAM)
        end->flags |= DATAGRAMS;
    if (family == AF_UNIX) {
        end->kind = UNIX;
        READ(peer, (struct unix_sock *)sk, peer);
        if (peer) {
            end->other = inode_of(peer);
            READ(back, (struct unix_sock *)peer, peer);
        }
        if (end->other && back == sk)
            end->flags |= PAIRED;
        else if (end->other && end->direction == SEND)
            end->flags |= TOWARDS;
    } else if (family == AF_INET || family == AF_INET6) {
        end->kind = protocol == IPPROTO_TCP ? TCP : protocol == IPPROTO_UDP ? UDP : SOCKET;
    }
    tell_socket(record, end, sk, family, type, protocol);
    if (spec->names && end->flags & DATAGRAMS) {
        u64 number = addressee(record, spec, registers, sk, protocol);
        if (number) {
            end->other = number;
            end->flags = (end->flags & ~(PAIRED | TOWARDS)) | ADDRESSED;
        }
    }
}
