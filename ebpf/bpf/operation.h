/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * One socket operation as hooks inside the kernel see it: a socket, how many bytes moved or why none, and flags.
 */
#pragma once
#include "hooked_call.h"
#include "unix.h"

enum { EAGAIN = 11 }; /* include/uapi/asm-generic/errno-base.h */

INLINE void udp_operation(struct sock *sk, struct transfer *t, u32 slot, s32 length, int flags, u32 direction, u64 task)
{
	u16 family = PEEK(sk, __sk_common.skc_family);
	struct call call;

	if (family != AF_INET && family != AF_INET6)
		return;
	if (length < 0) {
		end_batch();
		return;
	}
	find_memory(&call, t, direction, length);
	if (length && asks_resolver(sk, &call, direction) && direction == RECEIVED && !(flags & (MSG_PEEK | MSG_ERRQUEUE)))
		datagram(sk, t, slot, &call, length, task);
}

/* Bytes moved. A call is looked at also when nothing comes of it, because it may be one of a batch. */
INLINE void moved(struct sock *sk, struct transfer *t, u32 slot, u32 length, int flags, u32 direction, u64 task)
{
	int is_unix = is_unix_stream(sk);
	struct socket_state *state;
	struct call call;

	find_memory(&call, t, direction, length);
	if (!length || flags & (MSG_OOB | MSG_PEEK | MSG_ERRQUEUE))
		return;
	if (flags & MSG_TRUNC && !is_unix) /* discarded instead of copied, tcp(7) */
		call.readable = 0;
	if (is_unix)
		state = used_unix_socket(sk, direction, task);
	else
		state = used_socket(sk, direction == SENT ? length : 0, direction == RECEIVED ? length : 0, task);
	if (state) {
		capture(sk, state, t, slot, call.readable, direction, length, task);
		if (direction == SENT && !is_unix)
			was_sent(sk, state, task);
	}
	end_partial_batch(t, direction);
}

INLINE void operation(struct sock *sk, s32 length, int flags, u32 direction, u32 slot)
{
	struct transfer *t;
	u64 task;

	/* Nothing moved and nothing ended, which is how most services learn that they have read all. */
	if (length == -EAGAIN && !batch_seen)
		return;
	task = followed_task();
	if (!task)
		return;
	t = bpf_map_lookup_elem(&transfers, &slot);
	if (!t)
		return;
	if (!is_stream(sk) && !is_unix_stream(sk)) {
		if (PEEK(sk, sk_protocol) == IPPROTO_UDP)
			udp_operation(sk, t, slot, length, flags, direction, task);
		return;
	}
	if (length < 0)
		end_batch();
	else
		moved(sk, t, slot, length, flags, direction, task);
	if (length > 0 || direction != RECEIVED || flags & (MSG_PEEK | MSG_ERRQUEUE))
		return;
	if (is_unix_stream(sk))
		nothing_received_unix(sk, length, task);
	else
		nothing_received(sk, length, task);
}
