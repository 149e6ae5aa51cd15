/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * What the BPF programs share: integer types, the helpers they call, the few kernel structures they read, and the
 * records they write. Self-contained on purpose: no system header takes part, so that the object depends on the
 * compiler alone.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define NULL ((void *)0)

/* Map definitions, as libbpf's BTF-defined maps. */
#define MAP_UINT(name, val) int (*name)[val]
#define MAP_TYPE(name, val) typeof(val) *name

enum { /* enum bpf_map_type, include/uapi/linux/bpf.h */
	MAP_HASH = 1,
	MAP_ARRAY = 2,
	MAP_PERCPU_ARRAY = 6,
	MAP_CGROUP_ARRAY = 8,
	MAP_LRU_HASH = 9,
	MAP_SK_STORAGE = 24,
	MAP_RINGBUF = 27,
	MAP_TASK_STORAGE = 29,
};
enum { NO_PREALLOC = 1, STORAGE_CREATE = 1 };
enum { RING_NO_WAKEUP = 1, RING_FORCE_WAKEUP = 2, RING_AVAILABLE = 0 };

/* Two ways to look at a socket. The programs of tp_btf and fexit get it as a pointer whose type the verifier knows: they
 * read its members directly and keep its state inside it (socket storage). Those that find it themselves (kprobe, system
 * call) hold a bare address: RAW_SOCKETS reads with a helper, and keeps states in a table by address. */
#define READ_KERNEL(pointer, member) \
	({ \
		typeof((pointer)->member) _value; \
		bpf_probe_read_kernel((void *)&_value, sizeof(_value), (void *)&(pointer)->member); \
		_value; \
	})
#ifdef RAW_SOCKETS
#define PEEK(pointer, member) READ_KERNEL(pointer, member)
#else
#define PEEK(pointer, member) ((pointer)->member)
#endif

/* Bounds `value` where the verifier looks for it: the compiler may not move the comparison to another register. */
#define AT_MOST(value, bound) \
	({ \
		asm volatile("" : "+r"(value)); \
		if ((value) > (bound)) \
			(value) = (bound); \
	})

/* The value of a bit of a structure that may be read directly, wherever the running kernel has it: the shifts are what
 * BPF_CORE_FIELD_LSHIFT_U64 and BPF_CORE_FIELD_RSHIFT_U64 ask for, the offset what BPF_CORE_FIELD_BYTE_OFFSET does. */
#define BIT_OF(pointer, member) \
	({ \
		u32 _word = *(u32 *)((u8 *)(pointer) + __builtin_preserve_field_info((pointer)->member, 0)); \
		(u64)_word << __builtin_preserve_field_info((pointer)->member, 4) \
			>> __builtin_preserve_field_info((pointer)->member, 5); \
	})

/* Whether the running kernel's structure has this member. */
#define EXISTS(member) __builtin_preserve_field_info(member, 2)

enum { SOCK_STREAM = 1 };
enum { AF_UNIX = 1, AF_INET = 2, AF_INET6 = 10, IPPROTO_TCP = 6, IPPROTO_UDP = 17, IPPROTO_MPTCP = 262 };

struct sock;
struct task_struct;
struct pt_regs;
struct tcp_sock;

/* Helper numbers: include/uapi/linux/bpf.h, ___BPF_FUNC_MAPPER. */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static long (*bpf_current_task_under_cgroup)(void *map, u32 index) = (void *)37;
static u64 (*bpf_get_socket_cookie)(void *sk) = (void *)46;
static void *(*bpf_sk_storage_get)(void *map, void *sk, void *value, u64 flags) = (void *)107;
static long (*bpf_send_signal)(u32 signal) = (void *)109;
static long (*bpf_probe_read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*bpf_ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static void *(*bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;
static void (*bpf_ringbuf_discard)(void *data, u64 flags) = (void *)133;
static u64 (*bpf_ringbuf_query)(void *ring, u64 flags) = (void *)134;
static struct tcp_sock *(*bpf_skc_to_tcp_sock)(void *sk) = (void *)137;
static void *(*bpf_task_storage_get)(void *map, struct task_struct *task, void *value, u64 flags) = (void *)156;
static struct task_struct *(*bpf_get_current_task_btf)(void) = (void *)158;
static struct pt_regs *(*bpf_task_pt_regs)(struct task_struct *task) = (void *)175;
static long (*bpf_loop)(u32 iterations, void *callback, void *context, u64 flags) = (void *)181;

/* The kernel's structures, reduced to what is read; the loader fits the offsets to the running kernel (CO-RE). */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct in6_addr {
	u8 address[16]; /* copied whole, never by member */
};

struct sock_common {
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	u16 skc_dport;
	u16 skc_num;
	u16 skc_family;
	volatile u8 skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sk_buff_head {
	u32 qlen;
};

struct linux_binprm {
	u32 secureexec : 1;
};

struct inode {
	u16 i_mode;
	unsigned long i_ino;
};

struct file {
	void *private_data;
	struct inode *f_inode;
};

struct fdtable {
	u32 max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct socket {
	struct file *file;
	struct sock *sk;
};

struct sock {
	struct sock_common __sk_common;
	struct sk_buff_head sk_receive_queue;
	unsigned long sk_flags;
	int sk_err;
	struct socket *sk_socket;
	u8 sk_shutdown;
	u16 sk_type;
	u16 sk_protocol;
};

/* Until 6.14 or so the flags were in the part that is shared with smaller sockets. */
struct sock_common___flags {
	unsigned long skc_flags;
};

struct sock___flags {
	struct sock_common___flags __sk_common;
};

struct sockaddr_un {
	u16 sun_family;
	u8 sun_path[108];
};

struct unix_address {
	int len; /* of what follows */
	struct sockaddr_un name[];
};

struct unix_sock {
	struct unix_address *addr; /* of an accepted socket: its listener's */
	struct sock *peer;
};

struct tcp_ulp_ops;

struct inet_connection_sock {
	const struct tcp_ulp_ops *icsk_ulp_ops;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u32 rcv_nxt;
	u32 copied_seq;
	u32 write_seq;
};

struct thread_info {
	u32 status;
};

struct signal_struct {
	atomic_t live;
};

struct ns_common {
	u32 inum;
};

struct pid_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	u32 level;
	struct upid numbers[]; /* one a namespace, from the initial one inwards */
};

struct thread_struct { /* x86-64 */
	unsigned long fsbase;
};

struct task_struct {
	struct thread_info thread_info;
	struct thread_struct thread;
	u32 flags;
	int pid;
	int tgid;
	struct files_struct *files;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct signal_struct *signal;
};

struct pt_regs { /* x86-64 */
	unsigned long r10;
	unsigned long r8;
	unsigned long ax;
	unsigned long cx;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
	unsigned long sp;
};

#pragma clang attribute pop

/* What user space hands to system calls: a fixed interface, so the layout is spelled out (x86-64). */
struct user_iovec {
	u64 base;
	u64 length;
};

struct user_msghdr {
	u64 name;
	u64 name_length;
	u64 vector;
	u64 vector_length;
	u64 control;
	u64 control_length;
	u64 flags;
};

struct user_mmsghdr {
	struct user_msghdr header;
	u32 length;
	u32 padding;
};

/* ---- Records. `src/record.rs` decodes them; both files change together. ---- */

enum kind {
	CONNECTING = 1,
	OPEN = 2,
	DATA = 3,
	FINISHED = 4,
	CLOSE = 5,
	BORN = 6,
	GONE = 7,
	NAME = 8,
	TLS_DATA = 9,
	TLS_CALL = 10,
	TLS_FREED = 11,
	MAPPED = 12,
	CLAIMED = 13, /* the goroutine has to do with a request; `enum claim` */
	STRAND_BORN = 14,
	RETURNED = 15, /* whoever read the response has woken the task, for which it had written to the socket */
};

enum direction { SENT = 0, RECEIVED = 1 };
enum role { UNKNOWN = 0, SERVER = 1, CLIENT = 2 };
enum cause { NOT_ENDED = 0, CLOSED = 1, RESET = 2, REFUSED = 3, TIMED_OUT = 4 };
enum loss { BUFFER_FULL = 0, UNREADABLE = 1, TABLE_FULL = 2, PRIVILEGED = 3, LOSS_KINDS = 4 };

struct record {
	u64 at;      /* ns, CLOCK_MONOTONIC */
	u64 socket;  /* cookie; 0 where there is none */
	u32 process; /* as the recorder's PID namespace counts; 0: the kernel acted on its own */
	u32 thread;
	u8 kind;
	u8 detail; /* DATA, TLS_DATA, FINISHED: direction; OPEN: role; CLOSE: cause */
	u8 joined; /* OPEN: bytes moved before */
	u8 padding;
	u32 length; /* payload bytes that follow the fixed part of DATA, TLS_DATA and NAME */
	u64 strand; /* the number of what the thread runs, see strand.h; 0 where that is nothing but itself */
};

struct data_record {
	struct record head;
	u64 position;
	u64 missing;
	u64 other; /* RECEIVED: how much had been sent by then, as TCP counts; UNKNOWN_POSITION where it does not */
	u64 within; /* the TLS object whose call moved these bytes; 0 for none */
};

/* TLS_DATA: plaintext. TLS_CALL: a call that brought none (direction SENT: a write). TLS_FREED: the object is no more.
 * `head.socket` is known only where the object says what it speaks on (Go). */
struct tls_record {
	struct record head;
	u64 object;
	u64 position;  /* in the object's plaintext of this direction; TLS_FREED: how much was sent */
	u64 missing;   /* TLS_FREED: how much was received */
	u64 left;      /* bytes of the same call that follow in other records */
	u64 requested; /* how much the call asked for */
};

#define UNKNOWN_POSITION (~0ull)

struct address_record { /* CONNECTING, OPEN */
	struct record head;
	u16 family; /* AF_INET: 4 bytes of each address count, AF_INET6: 16 */
	u16 local_port;
	u16 peer_port;
	u16 padding;
	u8 local[16];
	u8 peer[16];
};

enum { UNIX_NAME = 108 };

struct unix_record { /* OPEN of a Unix socket */
	struct record head;
	u16 family;       /* AF_UNIX */
	u16 local_length; /* 0: it has no name */
	u16 peer_length;
	u16 padding;
	u64 sock; /* where the kernel has it: what unix_alive asks for */
	u64 local_inode;
	u64 peer_inode; /* 0 while nobody has accepted it */
	u8 local[UNIX_NAME];
	u8 peer[UNIX_NAME];
};

struct born_record {
	struct record head;
	u32 process;
	u32 thread;
};

enum claim { /* what a claim's detail says */
	NEXT_REQUEST = 0, /* the next request on the socket is made for the goroutine */
	OWN_STREAM = 1,   /* what the goroutine sends next there begins a request, which is made for its parent */
	ITSELF = 2,       /* only who started it */
};

struct claimed_record {
	struct record head;
	u64 parent; /* the number of the goroutine that started this one */
};

struct strand_record { /* STRAND_BORN: the head's strand started another */
	struct record head;
	u64 child;
};

struct loss_count {
	u64 events;
	u64 bytes;
};

/* What is known of one socket; lives and dies with it. `src/programs.rs` writes it for connections found open. */
struct socket_state {
	u64 id; /* of the socket in records; 0 until it is first needed */
	u64 position[2];
	u64 owed[2];  /* bytes right before `position` that the ring refused and no record tells of */
	u32 start[2]; /* TCP's own stream counters at position 0 */
	u8 role;
	u8 cause;
	u16 padding;
	u32 flags;
	u64 connected_by; /* the task of tokio that did; 0 where none did */
};

enum socket_flag {
	FOLLOWED = 1,           /* a followed process uses it */
	ANNOUNCED = 2,          /* its OPEN is in the ring */
	SEQUENCED = 4,          /* `start` is valid */
	SENT_FINISHED = 8,      /* FINISHED was written */
	RECEIVED_FINISHED = 16, /* FINISHED was written */
	GONE_FOR_GOOD = 32,     /* CLOSE was written */
	RESOLVER = 64,          /* UDP: it asks port 53 */
	JOINED = 128,           /* it was used before it was followed */
	FIN_QUEUED = 256,       /* from now on TCP counts one more as sent */
};
