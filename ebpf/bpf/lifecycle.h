/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * What every source has besides the hooks that see bytes: connections as they begin and end, and followed processes as
 * they multiply. inet_sock_set_state tells who opened a connection and how it ended, also where the kernel does so on its own.
 */
#pragma once
#include "stream.h"

/* shutdown(2) leaves the socket to be read from; close(2) does not. */
INLINE int is_shutting_down(void)
{
	struct pt_regs *regs = bpf_task_pt_regs(bpf_get_current_task_btf());

	return regs->orig_ax == NR_SHUTDOWN;
}

INLINE void count_from_here(struct sock *sk, struct socket_state *state)
{
	struct tcp_sock *tcp = stream_counters(sk);

	if (tcp)
		start_counting(tcp, state, SENT, 0);
}

INLINE void began_connecting(struct sock *sk)
{
	u64 task = followed_task();
	struct socket_state *state;

	if (!task || !belongs_to_user(sk))
		return;
	state = new_state(sk);
	if (!state)
		return;
	/* A socket may connect again after it failed to. */
	__builtin_memset(state, 0, sizeof(*state));
	state->role = CLIENT;
	state->flags = FOLLOWED;
	if (has_been(TOKIO_ONCE, task >> 32))
		state->connected_by = current_tokio_task(task >> 32);
	/* An MPTCP socket learns where to only afterwards. */
	if (PEEK(sk, __sk_common.skc_dport))
		emit_addresses(sk, socket_id(sk, state), CONNECTING, CLIENT, 0, task);
}

INLINE void established(struct sock *sk, int from)
{
	struct socket_state *state = known_state(sk);

	if (state && state->role == CLIENT) {
		count_from_here(sk, state);
		if (!(state->flags & ANNOUNCED) && emit_addresses(sk, socket_id(sk, state), OPEN, CLIENT, 0, 0))
			__sync_fetch_and_or(&state->flags, ANNOUNCED);
		return;
	}
	if (from == SYN_SENT)
		return;
	/* Accepted by nobody yet: whose it is shows at its first use. */
	if (!state)
		state = new_state(sk);
	if (!state)
		return;
	/* What a table says of the address may be of an MPTCP socket that was there before: no tracepoint tells when one
	 * is destroyed. */
	if (state->flags & GONE_FOR_GOOD)
		__builtin_memset(state, 0, sizeof(*state));
	state->role = SERVER;
	count_from_here(sk, state);
}

/* The service shut its sending side, or closed the socket. Only close(2) and shutdown(2) lead here, so that the
 * current thread is the one that did. */
INLINE void finished_sending(struct sock *sk)
{
	struct socket_state *state = known_state(sk);
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
	__sync_fetch_and_or(&state->flags, FIN_QUEUED);
	if (PEEK(sk, sk_shutdown) == SHUTDOWN_MASK && !is_shutting_down())
		end(sk, state, CLOSED, task);
}

INLINE void closed(struct sock *sk, int from)
{
	struct socket_state *state = known_state(sk);

	if (state && state->flags & FOLLOWED)
		end(sk, state, cause_of(PEEK(sk, sk_err), from), 0);
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
	if (to == SYN_SENT || to == ESTABLISHED)
		mark_begun(sk);
}

/* Where a connection had ended before its socket was closed, no state changes any more: this is the last that is seen. */
INLINE void destroyed(struct sock *sk)
{
	struct socket_state *state = known_state(sk);

	if (state && state->flags & FOLLOWED)
		end_for_good(sk, state, 0);
	forget_state(sk);
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
	u64 task = unit_of(parent), born = unit_of(child);
	struct born_record *out;
	u32 process = born >> 32;

	if (!is_followed(task))
		return 0;
	if (process != (u32)(task >> 32) && is_named(task) && !follow_process(process))
		count_loss(TABLE_FULL, 0);
	if (process != (u32)(task >> 32))
		inherit_program(task >> 32, process);
	out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);
	if (!out) {
		count_loss(BUFFER_FULL, 0);
		return 0;
	}
	fill_head(&out->head, BORN, 0, 0, task);
	out->process = process;
	out->thread = (u32)born;
	submit(out, sizeof(*out));
	return 0;
}

SEC("tp_btf/sched_process_exit")
int sched_process_exit(u64 *ctx)
{
	struct task_struct *dying = (struct task_struct *)ctx[0];
	u64 task = unit_of(dying);
	u32 process = task >> 32;

	if (!is_followed(task))
		return 0;
	emit_bare(GONE, 0, 0, task);
	if (!dying->signal->live.counter)
		forget_process(process);
	return 0;
}
