/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * What the inet source knows at inet_accept, inet_stream_connect and inet_release, besides what sockets' states tell.
 */
#pragma once
#include "lifecycle.h"

/* Where the kernel skipped the program that should have seen it, a connection may be unknown by now. */
INLINE void accepted(struct sock *sk)
{
	if (followed_task() && is_stream(sk) && !known_state(sk))
		established(sk, SYN_RECV);
}

INLINE void connected(struct sock *sk)
{
	if (followed_task() && is_stream(sk) && !known_state(sk)) {
		began_connecting(sk);
		if (PEEK(sk, __sk_common.skc_state) == ESTABLISHED)
			established(sk, SYN_SENT);
	}
}

/* The service lets go of a socket. If the connection has ended before, nothing more is to come. */
INLINE void released(struct sock *sk)
{
	struct socket_state *state = known_state(sk);

	if (state && state->flags & FOLLOWED && PEEK(sk, __sk_common.skc_state) == TCP_CLOSED)
		emit_close(sk, state, followed_task());
}
