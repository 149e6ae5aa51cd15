// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * The inet source at function entries and returns (kprobe, kretprobe), where the kernel has no fexit: kernel 5.17 and
 * later, x86-64. What inet.bpf.c says of the functions holds here.
 *
 * The kernel follows a limited number of calls that have not returned (register_kretprobe: twice the CPUs, at least
 * 10 where it is preemptible). Threads beyond that wait in a receive unseen: TCP's counters then show a gap.
 */
#define RAW_SOCKETS
#include "operation.h"
#include "inet_points.h"
#include "in_flight.h"
#include "python_probes.h"
#include "tokio_probes.h"
#include "told_probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Kretprobes are not preempted, so that those of one direction can share a slot. */
enum { SEND = 0, RECEIVE = 1 };

INLINE void began(u64 socket, u64 flags)
{
	struct flight flight = { .socket = socket, .flags = flags };
	u64 task = followed_task();

	if (task)
		take_off(task, &flight);
}

INLINE struct sock *sock_of(struct flight *flight)
{
	struct socket *socket = (struct socket *)flight->socket;

	return PEEK(socket, sk);
}

/* The end of a function that a followed thread was in; NULL where its beginning was not seen. */
INLINE struct sock *landed(struct flight *flight)
{
	u64 task = followed_task();

	return task && land(task, flight) ? sock_of(flight) : NULL;
}

INLINE void returned(struct pt_regs *ctx, u32 direction, u32 slot)
{
	struct flight flight;
	struct sock *sk = landed(&flight);

	if (sk)
		operation(sk, (s32)ctx->ax, flight.flags, direction, slot);
}

/* One program serves all functions of a kind, so that the verifier goes through it once; src/source.rs says which. */

SEC("kprobe/inet_sendmsg")
int call_begins(struct pt_regs *ctx)
{
	began(ctx->di, 0);
	return 0;
}

SEC("kprobe/inet_recvmsg")
int receive_begins(struct pt_regs *ctx)
{
	began(ctx->di, ctx->cx);
	return 0;
}

SEC("kprobe/inet_accept")
int accept_begins(struct pt_regs *ctx)
{
	began(ctx->si, 0);
	return 0;
}

SEC("kretprobe/inet_sendmsg")
int sent(struct pt_regs *ctx)
{
	returned(ctx, SENT, SEND);
	return 0;
}

SEC("kretprobe/inet_recvmsg")
int received(struct pt_regs *ctx)
{
	returned(ctx, RECEIVED, RECEIVE);
	return 0;
}

SEC("kretprobe/inet_accept")
int inet_accept(struct pt_regs *ctx)
{
	struct flight flight;
	struct sock *sk = landed(&flight);

	if (sk)
		accepted(sk);
	return 0;
}

SEC("kretprobe/inet_stream_connect")
int inet_stream_connect(struct pt_regs *ctx)
{
	struct flight flight;
	struct sock *sk = landed(&flight);

	if (sk)
		connected(sk);
	return 0;
}

SEC("kprobe/inet_release")
int inet_release(struct pt_regs *ctx)
{
	struct flight flight = { .socket = ctx->di };
	struct sock *sk = sock_of(&flight);

	if (sk)
		released(sk);
	return 0;
}
