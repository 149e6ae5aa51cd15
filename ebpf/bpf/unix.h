/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Unix stream sockets. No tracepoint tells of their beginning and their end: a connection is announced when it is first
 * used, and user space asks from time to time whether it is still there.
 */
#pragma once
#include "stream.h"

enum { ECONNRESET = 104 };

INLINE int is_unix_stream(struct sock *sk)
{
	return PEEK(sk, __sk_common.skc_family) == AF_UNIX && PEEK(sk, sk_type) == SOCK_STREAM;
}

/* Gives its length. */
INLINE u16 copy_name(u8 *to, struct sock *sk)
{
	struct unix_address *address = READ_KERNEL((struct unix_sock *)sk, addr);
	u32 length;

	if (!address)
		return 0;
	length = READ_KERNEL(address, len) - sizeof(address->name->sun_family);
	if (length > UNIX_NAME)
		return 0;
	AT_MOST(length, UNIX_NAME);
	bpf_probe_read_kernel(to, length, (u8 *)&address->name + sizeof(address->name->sun_family));
	return length;
}

/* An accepted socket has its listener's name, and whoever connects to it has none as a rule. Where names do not tell,
 * as in a socketpair, the client is who speaks first. */
INLINE u8 role_by_names(int has_name, int peer_has_name, u32 direction)
{
	if (has_name != peer_has_name)
		return has_name ? SERVER : CLIENT;
	return direction == SENT ? CLIENT : SERVER;
}

INLINE int announce_unix(struct sock *sk, struct socket_state *state, u32 direction, u64 task)
{
	struct unix_record *out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);
	struct sock *peer = READ_KERNEL((struct unix_sock *)sk, peer);

	if (!out) {
		count_loss(BUFFER_FULL, 0);
		return 0;
	}
	out->family = AF_UNIX;
	out->padding = 0;
	out->sock = (u64)sk;
	out->local_inode = inode_number(sk);
	out->peer_inode = inode_number(peer);
	out->local_length = copy_name(out->local, sk);
	out->peer_length = copy_name(out->peer, peer);
	state->role = role_by_names(!!out->local_length, !!out->peer_length, direction);
	fill_head(&out->head, OPEN, state->role, socket_id(sk, state), task);
	submit(out, sizeof(*out));
	return 1;
}

/* As used_socket. */
INLINE struct socket_state *used_unix_socket(struct sock *sk, u32 direction, u64 task)
{
	struct socket_state *state = known_unix_state(sk);

	if (state && state->flags & ANNOUNCED)
		return state;
	if (!belongs_to_user(sk))
		return NULL;
	state = new_unix_state(sk);
	if (!state)
		return NULL;
	__sync_fetch_and_or(&state->flags, FOLLOWED);
	if (announce_unix(sk, state, direction, task))
		__sync_fetch_and_or(&state->flags, ANNOUNCED);
	return state;
}

/* The peer's end of stream, or that it closed the socket without reading everything. */
INLINE void nothing_received_unix(struct sock *sk, s32 result, u64 task)
{
	struct socket_state *state = known_unix_state(sk);

	if (!state || !(state->flags & ANNOUNCED) || PEEK(sk, sk_receive_queue.qlen))
		return;
	if (!result && PEEK(sk, sk_shutdown) & RCV_SHUTDOWN)
		emit_finished(sk, state, RECEIVED, RECEIVED_FINISHED, task);
	if (result == -ECONNRESET) {
		state->cause = RESET;
		emit_close(sk, state, task);
	}
}

enum { ALIVE = 1 }; /* beside SEND_SHUTDOWN */

/* Run by `src/programs.rs`: whether a socket that was announced by this address and inode number is still open, and
 * whether its process has shut its sending side. The memory may have become something else, but no other socket gets
 * that number. */
SEC("raw_tp/unix_alive")
int unix_alive(u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];

	if (inode_number(sk) != ctx[1])
		return 0;
	return ALIVE | (READ_KERNEL(sk, sk_shutdown) & SEND_SHUTDOWN);
}
