/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * A TCP connection from its beginning to its end, whatever hook tells of it: which sockets are followed, positions,
 * gaps, and how it ended.
 */
#pragma once
#include "memory.h"
#include "sockets.h"
#include "tls_call.h"
#include "tokio_exchange.h"

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
enum { SOCK_DONE = 1 << 1 }; /* enum sock_flags, include/net/sock.h: the peer's FIN has come */
enum { MSG_OOB = 1, MSG_PEEK = 2, MSG_TRUNC = 0x20, MSG_ERRQUEUE = 0x2000 };
enum { /* include/uapi/asm-generic/errno.h */
	ENETDOWN = 100,
	ENETUNREACH = 101,
	ETIMEDOUT = 110,
	ECONNREFUSED = 111,
	EHOSTDOWN = 112,
	EHOSTUNREACH = 113,
};

/* ---- Sockets ---- */

INLINE int is_stream(struct sock *sk)
{
	u16 family = PEEK(sk, __sk_common.skc_family);
	u16 protocol = PEEK(sk, sk_protocol);

	return (family == AF_INET || family == AF_INET6) && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

/* TCP's own counters, from which bytes show that passed none of our hooks (splice from a socket, zero-copy receive,
 * another process). Where an upper layer such as kernel TLS sits on the socket they count something else. */
INLINE struct tcp_sock *stream_counters(struct sock *sk)
{
#ifndef RAW_SOCKETS
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
#else
	struct tcp_sock *tcp = PEEK(sk, sk_protocol) == IPPROTO_TCP ? (struct tcp_sock *)sk : NULL;
#endif

	return tcp && !PEEK(tcp, inet_conn.icsk_ulp_ops) ? tcp : NULL;
}

INLINE u32 counter(struct tcp_sock *tcp, u32 direction)
{
	return direction == SENT ? PEEK(tcp, write_seq) : PEEK(tcp, copied_seq);
}

INLINE u64 socket_flags(struct sock *sk)
{
	struct sock___flags *before = (struct sock___flags *)sk;

	return EXISTS(sk->sk_flags) ? PEEK(sk, sk_flags) : PEEK(before, __sk_common.skc_flags);
}

/* Whether a counter has gone past a FIN, which counts as one: the service's own once it is queued, the peer's once the
 * end of the stream was read. */
INLINE int counts_fin(struct sock *sk, struct tcp_sock *tcp, struct socket_state *state, u32 direction)
{
	if (direction == SENT)
		return state->flags & FIN_QUEUED;
	return socket_flags(sk) & SOCK_DONE && PEEK(tcp, copied_seq) == PEEK(tcp, rcv_nxt);
}

/* Both directions stand where the hooks have followed them to, but for `moved` bytes of this one. */
INLINE void start_counting(struct tcp_sock *tcp, struct socket_state *state, u32 direction, u32 moved)
{
	u32 other = 1 - direction;

	state->start[direction & 1] = counter(tcp, direction) - (u32)state->position[direction & 1] - moved;
	state->start[other & 1] = counter(tcp, other) - (u32)state->position[other & 1];
	__sync_fetch_and_or(&state->flags, SEQUENCED);
}

/* How many bytes moved besides the `moved` that are known; `tcp` is what stream_counters gives. */
INLINE u64 uncounted(struct sock *sk, struct tcp_sock *tcp, struct socket_state *state, u32 direction, u32 moved)
{
	s32 unseen;

	if (!tcp)
		return 0;
	if (!(state->flags & SEQUENCED)) {
		start_counting(tcp, state, direction, moved);
		return 0;
	}
	unseen = (s32)(counter(tcp, direction) - state->start[direction & 1] - (u32)state->position[direction & 1] - moved);
	if (unseen > 0 && counts_fin(sk, tcp, state, direction))
		unseen--;
	return unseen > 0 ? unseen : 0;
}

INLINE u64 unseen_bytes(struct sock *sk, struct socket_state *state, u32 direction, u32 moved)
{
	return uncounted(sk, stream_counters(sk), state, direction, moved);
}

/* How much of the stream had been sent by now, also where the call that sent it has not returned: what was received can
 * be put behind it. */
INLINE u64 sent_by_now(struct sock *sk, struct tcp_sock *tcp, struct socket_state *state)
{
	u64 position = state->position[SENT];
	s32 ahead;

	if (!tcp || !(state->flags & SEQUENCED))
		return UNKNOWN_POSITION;
	ahead = (s32)(counter(tcp, SENT) - state->start[SENT] - (u32)position);
	if (ahead > 0 && counts_fin(sk, tcp, state, SENT))
		ahead--;
	return ahead > 0 ? position + ahead : position;
}

/* Whether bytes moved besides the `sent` and `received` of the current call, since the connection was established. */
INLINE int was_used(struct sock *sk, struct socket_state *state, u32 sent, u32 received)
{
	return unseen_bytes(sk, state, SENT, sent) || unseen_bytes(sk, state, RECEIVED, received);
}

/* The state of a socket that a followed process uses; its first use announces it. */
INLINE struct socket_state *used_socket(struct sock *sk, u32 sent, u32 received, u64 task)
{
	struct socket_state *state = known_state(sk);

	if (state && state->flags & ANNOUNCED)
		return state;
	if (!state) {
		if (!belongs_to_user(sk))
			return NULL;
		state = new_state(sk);
		if (!state)
			return NULL;
		/* TCP Fast Open hands an accepted socket out before it is established. */
		state->role = PEEK(sk, __sk_common.skc_state) == SYN_RECV ? SERVER : UNKNOWN;
		if (state->role == UNKNOWN)
			state->flags = JOINED;
	} else if (!(state->flags & FOLLOWED) && state->flags & SEQUENCED && was_used(sk, state, sent, received)) {
		/* Established before its process was followed: what moved until then is none of ours. */
		state->flags = JOINED;
	}
	__sync_fetch_and_or(&state->flags, FOLLOWED);
	/* Set after the record is in the ring: a thread that sees the flag writes behind it. Two threads may both announce. */
	if (emit_addresses(sk, socket_id(sk, state), OPEN, state->role, !!(state->flags & JOINED), task))
		__sync_fetch_and_or(&state->flags, ANNOUNCED);
	return state;
}

/* Bytes of one call. `slot` is that of `t`. */
INLINE void capture(struct sock *sk, struct socket_state *state, struct transfer *t, u32 slot, int readable, u32 direction,
		    u32 length, u64 task)
{
	struct tcp_sock *tcp = stream_counters(sk);
	u64 unseen = uncounted(sk, tcp, state, direction, length);
	u64 position = __sync_fetch_and_add(&state->position[direction & 1], unseen + length);
	u64 other = direction == RECEIVED ? sent_by_now(sk, tcp, state) : UNKNOWN_POSITION;
	u64 id = socket_id(sk, state);
	u64 within = calling_tls_object(task);
	u64 end;

	if (has_been(TOKIO_ONCE, task >> 32))
		task_moves(id, task, direction, state->role, state->connected_by);
	if (!readable) {
		unseen += length;
		length = 0;
	}
	if (unseen) {
		if (emit_missing(id, direction, position, unseen, other, within, task))
			state->owed[direction & 1] = 0;
		else
			state->owed[direction & 1] += unseen;
		position += unseen;
	}
	if (!length)
		return;
	fill_head(&t->out.head, DATA, direction, id, task);
	t->out.position = position;
	t->out.other = other;
	t->out.within = within;
	t->owed = state->owed[direction & 1];
	if (!copy_at_once(slot, length)) {
		t->left = t->headers_left ? 0 : length;
		copy_all(t, slot);
	}
	/* Anything left is what the call's memory did not account for. */
	end = t->out.position + t->out.head.length;
	unseen = position + length > end ? position + length - end : 0;
	if (unseen)
		count_loss(UNREADABLE, unseen);
	send_out(t, unseen);
	state->owed[direction & 1] = t->owed;
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
	if (emit_missing(socket_id(sk, state), direction, position - owed, owed + unseen, UNKNOWN_POSITION, 0, 0))
		state->owed[direction & 1] = 0;
}

INLINE void emit_finished(struct sock *sk, struct socket_state *state, u32 direction, u32 flag, u64 task)
{
	if (state->flags & flag)
		return;
	settle(sk, state, direction);
	if (emit_bare(FINISHED, direction, socket_id(sk, state), task))
		__sync_fetch_and_or(&state->flags, flag);
}

INLINE void emit_close(struct sock *sk, struct socket_state *state, u64 task)
{
	if (state->flags & GONE_FOR_GOOD)
		return;
	if (emit_bare(CLOSE, state->cause ? state->cause : CLOSED, socket_id(sk, state), task))
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

INLINE void end_for_good(struct sock *sk, struct socket_state *state, u64 task)
{
	if (state->flags & GONE_FOR_GOOD)
		return;
	settle(sk, state, SENT);
	settle(sk, state, RECEIVED);
	emit_close(sk, state, task);
}

/* The connection has ended, but bytes of it may still be on their way: they wait to be read, or the call that moved them
 * has not returned (the answer to a send may be a reset, before it has). The end is told when they have passed, or when
 * the socket is destroyed. */
INLINE void end_behind_all(struct sock *sk, struct socket_state *state, u64 task)
{
	if (PEEK(sk, sk_receive_queue.qlen))
		return;
	if (state->flags & SEQUENCED && was_used(sk, state, 0, 0))
		return;
	end_for_good(sk, state, task);
}

INLINE void end(struct sock *sk, struct socket_state *state, u8 cause, u64 task)
{
	if (!state->cause)
		state->cause = cause;
	end_behind_all(sk, state, task);
}

/* Bytes were sent, for which the end of the connection may have waited. */
INLINE void was_sent(struct sock *sk, struct socket_state *state, u64 task)
{
	if (PEEK(sk, __sk_common.skc_state) == TCP_CLOSED)
		end_behind_all(sk, state, task);
}

/* The peer's end of stream, or an error. */
INLINE void nothing_received(struct sock *sk, s32 result, u64 task)
{
	int is_closed = PEEK(sk, __sk_common.skc_state) == TCP_CLOSED;
	struct socket_state *state;

	if (result && !is_closed) /* there was nothing to read yet */
		return;
	state = known_state(sk);
	if (!state || !(state->flags & FOLLOWED) || PEEK(sk, sk_receive_queue.qlen))
		return;
	if (!result && PEEK(sk, sk_shutdown) & RCV_SHUTDOWN)
		emit_finished(sk, state, RECEIVED, RECEIVED_FINISHED, task);
	if (is_closed)
		end_behind_all(sk, state, task);
}

/* ---- Datagrams ---- */

/* DNS answers: what comes back on a socket that is connected to port 53, or that has sent to it. */
INLINE int asks_resolver(struct sock *sk, struct call *call, u32 direction)
{
	u16 peer = PEEK(sk, __sk_common.skc_dport);
	struct socket_state *state;
	u16 address[2] = {};

	if (peer)
		return peer == __builtin_bswap16(DNS_PORT);
	state = known_state(sk);
	if (direction == RECEIVED || (state && state->flags & RESOLVER))
		return state && state->flags & RESOLVER;
	if (!call->name || bpf_probe_read_user(address, sizeof(address), (void *)call->name) ||
	    address[1] != __builtin_bswap16(DNS_PORT))
		return 0;
	state = new_state(sk);
	if (state)
		__sync_fetch_and_or(&state->flags, RESOLVER);
	return state != NULL;
}

/* A datagram that was received; `slot` is that of `t`. */
INLINE void datagram(struct sock *sk, struct transfer *t, u32 slot, struct call *call, u32 length, u64 task)
{
	struct socket_state *state;

	if (!call->readable || length > CHUNK) {
		count_loss(UNREADABLE, length);
		return;
	}
	state = known_state(sk);
	fill_head(&t->out.head, NAME, RECEIVED, state ? socket_id(sk, state) : 0, task);
	t->out.position = 0;
	t->out.other = UNKNOWN_POSITION;
	t->out.within = 0;
	t->left = length;
	copy_all(t, slot);
	send_out(t, 0);
}
