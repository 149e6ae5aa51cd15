// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * The syscall source: the tracepoints at the beginning and the end of every system call, kernel 5.17 and later, x86-64.
 *
 * The socket is found at the beginning, as its descriptor may mean another one by the end; the bytes are read at the
 * end, when they are there. What moves without a system call of the socket's own (io_uring) shows in TCP's counters.
 */
#define RAW_SOCKETS
#include "descriptor.h"
#include "in_flight.h"
#include "lifecycle.h"
#include "python_probes.h"
#include "tokio_probes.h"
#include "told_probe.h"
#include "unix.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

enum { SEND = 0, RECEIVE = 1 };
enum { SENDS = 1 }; /* flag of a flight: a splice to the socket */
enum { MAX_MESSAGES = 1024 }; /* UIO_MAXIOV, the most that sendmmsg and recvmmsg take */

INLINE int receives(u32 number)
{
	return number == NR_READ || number == NR_READV || number == NR_PREADV2 || number == NR_RECVFROM ||
	       number == NR_RECVMSG || number == NR_RECVMMSG;
}

INLINE int sends(u32 number)
{
	return number == NR_WRITE || number == NR_WRITEV || number == NR_PWRITEV2 || number == NR_SENDTO ||
	       number == NR_SENDMSG || number == NR_SENDMMSG || number == NR_SENDFILE;
}

SEC("tp_btf/sys_enter")
int sys_enter(u64 *ctx)
{
	struct task_struct *current = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)ctx[0];
	struct flight flight = { .number = (u32)ctx[1] };
	struct sock *sk = NULL;
	u64 task;

	if (!receives(flight.number) && !sends(flight.number) && flight.number != NR_SPLICE)
		return 0;
	task = followed_task();
	if (!task || current->thread_info.status & TS_COMPAT)
		return 0;
	sk = sock_behind(regs->di);
	if (flight.number == NR_SPLICE && !sk) {
		flight.flags = SENDS;
		sk = sock_behind(regs->dx);
	}
	if (!sk)
		return 0;
	flight.socket = (u64)sk;
	take_off(task, &flight);
	return 0;
}

INLINE int flags_of(u32 number, struct pt_regs *regs)
{
	if (number == NR_RECVFROM || number == NR_RECVMMSG)
		return regs->r10;
	if (number == NR_RECVMSG)
		return regs->dx;
	return 0;
}

/* The bytes of several messages. Apart from the programs that call it: the verifier goes through the loop once. */
NOINLINE u64 sum_of(u64 messages, u32 count)
{
	u64 sum = 0;
	u32 length;

	for (u32 i = 0; i < MAX_MESSAGES; i++) {
		if (i >= count || bpf_probe_read_user(&length, sizeof(length),
						      (void *)(messages + i * sizeof(struct user_mmsghdr) +
							       __builtin_offsetof(struct user_mmsghdr, length))))
			break;
		sum += length;
	}
	return sum;
}

/* Points the transfer at the call's memory; gives how many bytes moved. */
INLINE u64 find_memory(struct call *call, struct transfer *t, u32 direction, u32 number, struct pt_regs *regs, s32 result)
{
	forget_memory(call, t);
	if (find_message(call, t, direction, number, regs) || result <= 0)
		return result;
	if (number != NR_RECVMMSG && number != NR_SENDMMSG)
		return result;
	t->headers = regs->si;
	t->headers_left = result;
	call->readable = 1;
	return sum_of(regs->si, result);
}

INLINE void stream_call(struct sock *sk, u32 number, struct pt_regs *regs, s32 result, u32 direction, u32 slot, u64 task)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &slot);
	int flags = direction == RECEIVED ? flags_of(number, regs) : 0;
	int is_unix = is_unix_stream(sk);
	struct socket_state *state;
	struct call call;
	u64 length;

	if (!t || flags & (MSG_OOB | MSG_PEEK | MSG_ERRQUEUE))
		return;
	if (result <= 0) {
		if (direction == RECEIVED && is_unix)
			nothing_received_unix(sk, result, task);
		else if (direction == RECEIVED)
			nothing_received(sk, result, task);
		return;
	}
	length = find_memory(&call, t, direction, number, regs, result);
	if (flags & MSG_TRUNC && !is_unix) /* discarded instead of copied, tcp(7) */
		call.readable = 0;
	if (!length)
		return;
	if (is_unix)
		state = used_unix_socket(sk, direction, task);
	else
		state = used_socket(sk, direction == SENT ? length : 0, direction == RECEIVED ? length : 0, task);
	if (!state)
		return;
	capture(sk, state, t, slot, call.readable, direction, length, task);
	if (direction == SENT && !is_unix)
		was_sent(sk, state, task);
}

INLINE void udp_call(struct sock *sk, u32 number, struct pt_regs *regs, s32 result, u32 direction, u32 slot, u64 task)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &slot);
	struct call call;
	u64 length;

	if (!t || result <= 0 || flags_of(number, regs) & (MSG_PEEK | MSG_ERRQUEUE))
		return;
	length = find_memory(&call, t, direction, number, regs, result);
	if (!length)
		return;
	if (t->headers_left) { /* the first message tells where they go; answers of the resolver come one by one */
		message_at(&call, t, t->headers);
		t->headers_left = 0;
		if (direction == RECEIVED && result > 1)
			call.readable = 0;
	}
	if (asks_resolver(sk, &call, direction) && direction == RECEIVED)
		datagram(sk, t, slot, &call, length, task);
}

INLINE void call_ended(struct sock *sk, u32 number, struct pt_regs *regs, s32 result, u32 direction, u32 slot, u64 task)
{
	if (is_stream(sk) || is_unix_stream(sk))
		stream_call(sk, number, regs, result, direction, slot, task);
	else if (PEEK(sk, sk_protocol) == IPPROTO_UDP && PEEK(sk, __sk_common.skc_family) != AF_UNIX)
		udp_call(sk, number, regs, result, direction, slot, task);
}

SEC("tp_btf/sys_exit")
int sys_exit(u64 *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx[0];
	s32 result = (s32)ctx[1];
	struct flight flight;
	struct sock *sk;
	u64 task = followed_task();

	if (!task || !land(task, &flight) || flight.number != (u32)regs->orig_ax)
		return 0;
	sk = (struct sock *)flight.socket;
	if (sends(flight.number) || flight.flags & SENDS)
		call_ended(sk, flight.number, regs, result, SENT, SEND, task);
	else
		call_ended(sk, flight.number, regs, result, RECEIVED, RECEIVE, task);
	return 0;
}
