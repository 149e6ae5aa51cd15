// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * The socket source: TCP streams and DNS answers of followed processes, kernel 6.3 and later, x86-64.
 *
 * sock_send_length and sock_recv_length fire at the end of every socket send and receive, in the caller's context,
 * where the registers of its system call still say which memory the bytes came from or went to (net/socket.c,
 * call_trace_sock_send_length). inet_sock_set_state tells who opened a connection and how it ended.
 *
 * One ring carries everything in one order. Payload is refused while the ring is more than `payload_limit` full, so
 * that the rest stays free for the small records that open, end and name things. What is refused is counted, and a
 * stream's position advances all the same: a loss shows as a gap.
 */
#include "payload.h"
#include "tls.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

enum { DNS_PORT = 53 };
enum { /* include/net/tcp_states.h */
	ESTABLISHED = 1,
	SYN_SENT = 2,
	SYN_RECV = 3,
	FIN_WAIT1 = 4,
	TCP_CLOSED = 7,
	CLOSE_WAIT = 8,
	LAST_ACK = 9,
};
enum { RCV_SHUTDOWN = 1, SEND_SHUTDOWN = 2, SHUTDOWN_MASK = 3 };
enum { MSG_OOB = 1, MSG_PEEK = 2, MSG_TRUNC = 0x20, MSG_ERRQUEUE = 0x2000 };
enum { /* include/uapi/asm-generic/errno.h */
	ENETDOWN = 100,
	ENETUNREACH = 101,
	ETIMEDOUT = 110,
	ECONNREFUSED = 111,
	EHOSTDOWN = 112,
	EHOSTUNREACH = 113,
};

struct {
	MAP_UINT(type, MAP_SK_STORAGE);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct socket_state);
} sockets SEC(".maps");

/* ---- Sockets ---- */

INLINE int is_stream(struct sock *sk)
{
	u16 family = sk->__sk_common.skc_family;
	u16 protocol = sk->sk_protocol;

	return (family == AF_INET || family == AF_INET6) && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

/* Sockets that the kernel keeps for itself, as network file systems do, have no file. Those that carry an MPTCP
 * connection show its file, but are not what is behind it. */
INLINE int belongs_to_user(struct sock *sk)
{
	struct socket *socket = sk->sk_socket;

	return socket && socket->file && socket->sk == sk;
}

/* TCP's own counters, from which bytes show that passed none of our hooks (splice from a socket, zero-copy receive,
 * another process). Where an upper layer such as kernel TLS sits on the socket they count something else. */
INLINE struct tcp_sock *stream_counters(struct sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	return tcp && !tcp->inet_conn.icsk_ulp_ops ? tcp : NULL;
}

INLINE void start_counting(struct sock *sk, struct socket_state *state)
{
	struct tcp_sock *tcp = stream_counters(sk);

	if (!tcp)
		return;
	state->sequence[SENT] = tcp->write_seq;
	state->sequence[RECEIVED] = tcp->copied_seq;
	state->flags |= SEQUENCED;
}

/* How many bytes moved besides the `moved` that are known, since the last look. A FIN counts as one in either counter. */
INLINE u64 unseen_bytes(struct sock *sk, struct socket_state *state, u32 direction, u32 moved)
{
	struct tcp_sock *tcp = stream_counters(sk);
	u32 now, fin;
	s32 unseen;

	if (!tcp)
		return 0;
	if (direction == SENT) {
		now = tcp->write_seq;
		fin = sk->sk_shutdown & SEND_SHUTDOWN;
	} else {
		now = tcp->copied_seq;
		fin = sk->sk_shutdown & RCV_SHUTDOWN;
	}
	unseen = (s32)(now - state->sequence[direction & 1] - moved);
	state->sequence[direction & 1] = now;
	if (!(state->flags & SEQUENCED)) {
		/* The other direction starts here as well: both were unknown until now. */
		start_counting(sk, state);
		return 0;
	}
	if (unseen > 0 && fin)
		unseen--;
	return unseen > 0 ? unseen : 0;
}

/* Whether bytes moved besides the `sent` and `received` of the current call, since the connection was established. */
INLINE int was_used(struct sock *sk, struct socket_state *state, u32 sent, u32 received)
{
	struct tcp_sock *tcp = stream_counters(sk);

	return tcp && state->flags & SEQUENCED &&
	       (tcp->write_seq - state->sequence[SENT] != sent || tcp->copied_seq - state->sequence[RECEIVED] != received);
}

/* The state of a socket that a followed process uses; its first use announces it. */
INLINE struct socket_state *used_socket(struct sock *sk, u32 sent, u32 received, u64 task)
{
	struct socket_state *state = bpf_sk_storage_get(&sockets, sk, NULL, 0);

	if (state && state->flags & ANNOUNCED)
		return state;
	if (!state) {
		if (!belongs_to_user(sk))
			return NULL;
		state = bpf_sk_storage_get(&sockets, sk, NULL, STORAGE_CREATE);
		if (!state) {
			count_loss(TABLE_FULL, 0);
			return NULL;
		}
		/* TCP Fast Open hands an accepted socket out before it is established. */
		state->role = sk->__sk_common.skc_state == SYN_RECV ? SERVER : UNKNOWN;
		if (state->role == UNKNOWN)
			state->flags = JOINED;
	} else if (!(state->flags & FOLLOWED) && was_used(sk, state, sent, received)) {
		/* Established before its process was followed: what moved until then is none of ours. */
		state->flags = JOINED;
	}
	__sync_fetch_and_or(&state->flags, FOLLOWED);
	/* Set after the record is in the ring: a thread that sees the flag writes behind it. Two threads may both announce. */
	if (emit_addresses(sk, OPEN, state->role, !!(state->flags & JOINED), task))
		__sync_fetch_and_or(&state->flags, ANNOUNCED);
	return state;
}

INLINE void capture(struct sock *sk, struct socket_state *state, struct transfer *t, struct call *call, u32 direction,
		    u32 length, u64 task)
{
	u64 unseen = unseen_bytes(sk, state, direction, length);
	u64 position = __sync_fetch_and_add(&state->position[direction & 1], unseen + length);
	u64 within = calling_tls_object();

	if (!call->readable) {
		unseen += length;
		length = 0;
	}
	if (unseen) {
		if (emit_missing(sk, direction, position, unseen, within, task))
			state->owed[direction & 1] = 0;
		else
			state->owed[direction & 1] += unseen;
		position += unseen;
	}
	if (!length)
		return;
	fill_head(&t->out.head, DATA, direction, bpf_get_socket_cookie(sk), task);
	t->out.position = position;
	t->out.within = within;
	t->left = length;
	t->owed = state->owed[direction & 1];
	copy_all(direction);
	/* Anything left is what the call's memory did not account for. */
	if (t->left)
		count_loss(UNREADABLE, t->left);
	send_out(t, t->left);
	state->owed[direction & 1] = t->owed;
	end_partial_batch(call, t, direction);
}

/* ---- The end of a connection ---- */

/* Settles the books of one direction before it ends: what TCP moved and no hook saw, and what the ring refused last. */
INLINE void settle(struct sock *sk, struct socket_state *state, u32 direction)
{
	u64 unseen = state->flags & SEQUENCED ? unseen_bytes(sk, state, direction, 0) : 0;
	u64 owed = state->owed[direction & 1];
	u64 position;

	if (!unseen && !owed)
		return;
	position = __sync_fetch_and_add(&state->position[direction & 1], unseen);
	if (emit_missing(sk, direction, position - owed, owed + unseen, 0, 0))
		state->owed[direction & 1] = 0;
}

INLINE void emit_finished(struct sock *sk, struct socket_state *state, u32 direction, u32 flag, u64 task)
{
	if (state->flags & flag)
		return;
	settle(sk, state, direction);
	if (emit_bare(FINISHED, direction, bpf_get_socket_cookie(sk), task))
		__sync_fetch_and_or(&state->flags, flag);
}

INLINE void emit_close(struct sock *sk, struct socket_state *state, u64 task)
{
	if (state->flags & GONE_FOR_GOOD)
		return;
	if (emit_bare(CLOSE, state->cause ? state->cause : CLOSED, bpf_get_socket_cookie(sk), task))
		__sync_fetch_and_or(&state->flags, GONE_FOR_GOOD);
}

INLINE u8 cause_of(int error, int from)
{
	switch (error) {
	case 0:
		return from == ESTABLISHED || from == CLOSE_WAIT ? RESET : CLOSED;
	case ECONNREFUSED:
		return from == SYN_SENT ? REFUSED : RESET;
	case ETIMEDOUT:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
		return TIMED_OUT;
	default:
		return RESET;
	}
}

/* The connection has ended, but bytes of it may still wait to be read: then the end is told when they were, or when
 * the socket is destroyed. */
INLINE void end(struct sock *sk, struct socket_state *state, u8 cause, u64 task)
{
	if (state->flags & GONE_FOR_GOOD)
		return;
	if (!state->cause)
		state->cause = cause;
	settle(sk, state, SENT);
	if (!sk->sk_receive_queue.qlen) {
		settle(sk, state, RECEIVED);
		emit_close(sk, state, task);
	}
}

/* ---- Programs ---- */

/* DNS answers: what comes back on a socket that is connected to port 53, or that has sent to it. */
INLINE int asks_resolver(struct sock *sk, struct call *call, u32 direction)
{
	u16 peer = sk->__sk_common.skc_dport;
	struct socket_state *state;
	u16 address[2] = {};

	if (peer)
		return peer == __builtin_bswap16(DNS_PORT);
	state = bpf_sk_storage_get(&sockets, sk, NULL, 0);
	if (direction == RECEIVED || (state && state->flags & RESOLVER))
		return state && state->flags & RESOLVER;
	if (!call->name || bpf_probe_read_user(address, sizeof(address), (void *)call->name) ||
	    address[1] != __builtin_bswap16(DNS_PORT))
		return 0;
	state = bpf_sk_storage_get(&sockets, sk, NULL, STORAGE_CREATE);
	if (state)
		__sync_fetch_and_or(&state->flags, RESOLVER);
	else
		count_loss(TABLE_FULL, 0);
	return state != NULL;
}

INLINE void datagram(struct sock *sk, s32 length, int flags, u32 direction, u64 task)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &direction);
	struct call call;
	u16 family = sk->__sk_common.skc_family;

	if (!t || (family != AF_INET && family != AF_INET6))
		return;
	if (length < 0) {
		end_batch();
		return;
	}
	find_memory(&call, t, direction, length);
	if (!length || !asks_resolver(sk, &call, direction) || direction == SENT || flags & (MSG_PEEK | MSG_ERRQUEUE))
		return;
	if (!call.readable || (u32)length > CHUNK) {
		count_loss(UNREADABLE, length);
		return;
	}
	fill_head(&t->out.head, NAME, RECEIVED, bpf_get_socket_cookie(sk), task);
	t->out.position = 0;
	t->out.within = 0;
	t->left = length;
	copy_all(RECEIVED);
	send_out(t, 0);
}

/* Bytes moved. A call is looked at also when nothing comes of it, because it may be one of a batch. */
INLINE void moved(struct sock *sk, u32 length, int flags, u32 direction, u64 task)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &direction);
	struct socket_state *state;
	struct call call;

	if (!t)
		return;
	find_memory(&call, t, direction, length);
	if (!length || flags & (MSG_OOB | MSG_PEEK | MSG_ERRQUEUE))
		return;
	if (flags & MSG_TRUNC) /* discarded instead of copied, tcp(7) */
		call.readable = 0;
	state = used_socket(sk, direction == SENT ? length : 0, direction == RECEIVED ? length : 0, task);
	if (state)
		capture(sk, state, t, &call, direction, length, task);
}

/* The peer's end of stream, or an error; what the connection's end waited for, if nothing is left to read. */
INLINE void nothing_received(struct sock *sk, s32 result, u64 task)
{
	struct socket_state *state = bpf_sk_storage_get(&sockets, sk, NULL, 0);

	if (!state || !(state->flags & FOLLOWED) || sk->sk_receive_queue.qlen)
		return;
	if (!result && sk->sk_shutdown & RCV_SHUTDOWN)
		emit_finished(sk, state, RECEIVED, RECEIVED_FINISHED, task);
	if (sk->__sk_common.skc_state == TCP_CLOSED)
		emit_close(sk, state, task);
}

INLINE void message(struct sock *sk, s32 length, int flags, u32 direction)
{
	u64 task = bpf_get_current_pid_tgid();

	if (!is_followed(task))
		return;
	if (!is_stream(sk)) {
		if (sk->sk_protocol == IPPROTO_UDP)
			datagram(sk, length, flags, direction, task);
		return;
	}
	if (length < 0)
		end_batch();
	else
		moved(sk, length, flags, direction, task);
	if (length <= 0 && direction == RECEIVED && !(flags & (MSG_PEEK | MSG_ERRQUEUE)))
		nothing_received(sk, length, task);
}

SEC("tp_btf/sock_send_length")
int sock_send_length(u64 *ctx)
{
	message((struct sock *)ctx[0], (s32)ctx[1], 0, SENT);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int sock_recv_length(u64 *ctx)
{
	message((struct sock *)ctx[0], (s32)ctx[1], (int)ctx[2], RECEIVED);
	return 0;
}

INLINE void began_connecting(struct sock *sk)
{
	u64 task = followed_task();
	struct socket_state *state;

	if (!task || !belongs_to_user(sk))
		return;
	state = bpf_sk_storage_get(&sockets, sk, NULL, STORAGE_CREATE);
	if (!state) {
		count_loss(TABLE_FULL, 0);
		return;
	}
	/* A socket may connect again after it failed to. */
	__builtin_memset(state, 0, sizeof(*state));
	state->role = CLIENT;
	state->flags = FOLLOWED;
	/* An MPTCP socket learns where to only afterwards. */
	if (sk->__sk_common.skc_dport)
		emit_addresses(sk, CONNECTING, CLIENT, 0, task);
}

INLINE void established(struct sock *sk, int from)
{
	struct socket_state *state = bpf_sk_storage_get(&sockets, sk, NULL, 0);

	if (state && state->role == CLIENT) {
		start_counting(sk, state);
		if (!(state->flags & ANNOUNCED) && emit_addresses(sk, OPEN, CLIENT, 0, 0))
			__sync_fetch_and_or(&state->flags, ANNOUNCED);
		return;
	}
	if (from == SYN_SENT)
		return;
	/* Accepted by nobody yet: whose it is shows at its first use. */
	if (!state)
		state = bpf_sk_storage_get(&sockets, sk, NULL, STORAGE_CREATE);
	if (!state) {
		count_loss(TABLE_FULL, 0);
		return;
	}
	state->role = SERVER;
	start_counting(sk, state);
}

/* The service shut its sending side, or closed the socket. Only close(2) and shutdown(2) lead here, so that the
 * current thread is the one that did. */
INLINE void finished_sending(struct sock *sk)
{
	struct socket_state *state = bpf_sk_storage_get(&sockets, sk, NULL, 0);
	u64 task = 0;

	if (!state || !(state->flags & ANNOUNCED)) {
		task = followed_task();
		if (!task)
			return;
		state = used_socket(sk, 0, 0, task);
		if (!state)
			return;
	}
	if (!(state->flags & FOLLOWED))
		return;
	if (!task)
		task = followed_task();
	emit_finished(sk, state, SENT, SENT_FINISHED, task);
	if (sk->sk_shutdown == SHUTDOWN_MASK && !is_shutting_down())
		end(sk, state, CLOSED, task);
}

INLINE void closed(struct sock *sk, int from)
{
	struct socket_state *state = bpf_sk_storage_get(&sockets, sk, NULL, 0);

	if (!state || !(state->flags & FOLLOWED))
		return;
	end(sk, state, cause_of(sk->sk_err, from), 0);
}

INLINE void state_changed(struct sock *sk, int from, int to)
{
	if (!is_stream(sk))
		return;
	if (to == SYN_SENT)
		began_connecting(sk);
	else if (to == ESTABLISHED)
		established(sk, from);
	else if (to == FIN_WAIT1 || to == LAST_ACK)
		finished_sending(sk);
	else if (to == TCP_CLOSED)
		closed(sk, from);
}

/* Where a connection had ended before its socket was closed, no state changes any more: this is the last that is seen. */
INLINE void destroyed(struct sock *sk)
{
	struct socket_state *state = bpf_sk_storage_get(&sockets, sk, NULL, 0);

	if (state && state->flags & FOLLOWED)
		emit_close(sk, state, 0);
}

/* A system call that changes a socket's state may be interrupted by packets that change another's on the same CPU. The
 * kernel then skips a program that is running (__bpf_trace_run, kernel/trace/bpf_trace.c), so each of these has a second that
 * takes over while the first runs. It goes no deeper: packets do not interrupt packets. */
enum { STATE_PROGRAM = 0, DESTROY_PROGRAM = 1 };

struct {
	MAP_UINT(type, MAP_PERCPU_ARRAY);
	MAP_UINT(max_entries, 2);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} running SEC(".maps");

SEC("tp_btf/inet_sock_set_state")
int inet_sock_set_state(u64 *ctx)
{
	u32 program = STATE_PROGRAM;
	volatile u32 *depth = bpf_map_lookup_elem(&running, &program);

	if (!depth)
		return 0;
	*depth = 1;
	state_changed((struct sock *)ctx[0], (int)ctx[1], (int)ctx[2]);
	*depth = 0;
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int set_state_nested(u64 *ctx)
{
	u32 program = STATE_PROGRAM;
	volatile u32 *depth = bpf_map_lookup_elem(&running, &program);

	if (depth && *depth)
		state_changed((struct sock *)ctx[0], (int)ctx[1], (int)ctx[2]);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int tcp_destroy_sock(u64 *ctx)
{
	u32 program = DESTROY_PROGRAM;
	volatile u32 *depth = bpf_map_lookup_elem(&running, &program);

	if (!depth)
		return 0;
	*depth = 1;
	destroyed((struct sock *)ctx[0]);
	*depth = 0;
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int destroy_sock_nested(u64 *ctx)
{
	u32 program = DESTROY_PROGRAM;
	volatile u32 *depth = bpf_map_lookup_elem(&running, &program);

	if (depth && *depth)
		destroyed((struct sock *)ctx[0]);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int sched_process_fork(u64 *ctx)
{
	struct task_struct *parent = (struct task_struct *)ctx[0];
	struct task_struct *child = (struct task_struct *)ctx[1];
	u64 task = (u64)(u32)parent->tgid << 32 | (u32)parent->pid;
	struct born_record *out;
	u32 process = child->tgid;
	u8 yes = 1;

	if (!is_followed(task))
		return 0;
	if (process != (u32)parent->tgid && bpf_map_update_elem(&followed, &process, &yes, 0))
		count_loss(TABLE_FULL, 0);
	out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);
	if (!out) {
		count_loss(BUFFER_FULL, 0);
		return 0;
	}
	fill_head(&out->head, BORN, 0, 0, task);
	out->process = process;
	out->thread = child->pid;
	bpf_ringbuf_submit(out, wake_flags());
	return 0;
}

SEC("tp_btf/sched_process_exit")
int sched_process_exit(u64 *ctx)
{
	struct task_struct *dying = (struct task_struct *)ctx[0];
	u32 process = dying->tgid;
	u64 task = (u64)process << 32 | (u32)dying->pid;

	if (!is_followed(task))
		return 0;
	emit_bare(GONE, 0, 0, task);
	if (!dying->signal->live.counter)
		bpf_map_delete_elem(&followed, &process);
	return 0;
}
