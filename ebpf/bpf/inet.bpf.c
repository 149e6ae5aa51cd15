// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * The inet source at function exits (fexit): kernel 5.17 and later, x86-64.
 *
 * The functions of struct proto_ops through which the system calls of every kind, sendfile and io_uring reach TCP, UDP
 * and MPTCP sockets (net/ipv4/af_inet.c, net/ipv6/af_inet6.c). The memory is found by the system call, as in the
 * socket source. A splice from a socket passes none of them; TCP's counters give it away. Unix stream sockets have
 * functions of their own (net/unix/af_unix.c), also for a splice.
 */
#include "operation.h"
#include "inet_points.h"
#include "python_probes.h"
#include "tokio_probes.h"
#include "told_probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* What moves pages finds no memory to copy, and so leaves nothing in its slot that another could disturb. */
enum { SEND = 0, RECEIVE = 1, SEND_6 = 2, RECEIVE_6 = 3, PAGES = 4, SEND_UNIX = 5, RECEIVE_UNIX = 6 };

INLINE struct sock *sock_of(u64 socket)
{
	return ((struct socket *)socket)->sk;
}

INLINE void sent(u64 socket, s32 length, u32 slot)
{
	struct sock *sk = sock_of(socket);

	if (sk)
		operation(sk, length, 0, SENT, slot);
}

INLINE void received(u64 socket, s32 length, int flags, u32 slot)
{
	struct sock *sk = sock_of(socket);

	if (sk)
		operation(sk, length, flags, RECEIVED, slot);
}

SEC("fexit/inet_sendmsg")
int inet_sendmsg(u64 *ctx)
{
	sent(ctx[0], (s32)ctx[3], SEND);
	return 0;
}

SEC("fexit/inet6_sendmsg")
int inet6_sendmsg(u64 *ctx)
{
	sent(ctx[0], (s32)ctx[3], SEND_6);
	return 0;
}

/* sendfile and splice to a socket, before 6.5. */
SEC("fexit/inet_sendpage")
int inet_sendpage(u64 *ctx)
{
	sent(ctx[0], (s32)ctx[5], PAGES);
	return 0;
}

SEC("fexit/inet_recvmsg")
int inet_recvmsg(u64 *ctx)
{
	received(ctx[0], (s32)ctx[4], (int)ctx[3], RECEIVE);
	return 0;
}

SEC("fexit/inet6_recvmsg")
int inet6_recvmsg(u64 *ctx)
{
	received(ctx[0], (s32)ctx[4], (int)ctx[3], RECEIVE_6);
	return 0;
}

SEC("fexit/unix_stream_sendmsg")
int unix_stream_sendmsg(u64 *ctx)
{
	sent(ctx[0], (s32)ctx[3], SEND_UNIX);
	return 0;
}

/* As inet_sendpage. */
SEC("fexit/unix_stream_sendpage")
int unix_stream_sendpage(u64 *ctx)
{
	sent(ctx[0], (s32)ctx[5], PAGES);
	return 0;
}

SEC("fexit/unix_stream_recvmsg")
int unix_stream_recvmsg(u64 *ctx)
{
	received(ctx[0], (s32)ctx[4], (int)ctx[3], RECEIVE_UNIX);
	return 0;
}

SEC("fexit/unix_stream_splice_read")
int unix_stream_splice_read(u64 *ctx)
{
	received(ctx[0], (s32)ctx[5], 0, PAGES);
	return 0;
}

/* The arguments behind the new socket changed in 6.10, and with them the place of the result: the socket tells. */
SEC("fexit/inet_accept")
int inet_accept(u64 *ctx)
{
	struct sock *sk = sock_of(ctx[1]);

	if (sk)
		accepted(sk);
	return 0;
}

SEC("fexit/inet_stream_connect")
int inet_stream_connect(u64 *ctx)
{
	struct sock *sk = sock_of(ctx[0]);

	if (sk)
		connected(sk);
	return 0;
}

SEC("fentry/inet_release")
int inet_release(u64 *ctx)
{
	struct sock *sk = sock_of(ctx[0]);

	if (sk)
		released(sk);
	return 0;
}
