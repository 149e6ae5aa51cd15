/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Tasks of tokio as they wake and await each other. Which functions these are stands in src/code/tokio.rs.
 */
#pragma once
#include "tls.h"
#include "tokio_exchange.h"

/* runtime::task::core::Header of tokio 1.25 to 1.54, and where in its table of functions the place of the id is. */
struct tokio_header {
	u64 state;
	u64 next;
	u64 table;
};

enum { TOKIO_RUNNING = 1, TOKIO_COMPLETE = 2, TOKIO_NOTIFIED = 4, TOKIO_ID_AT = 9 * 8, TOKIO_FARTHEST_ID = 4096 };

/* The id of a task; 0 for what is none. */
INLINE u64 task_with(u64 address, struct tokio_header *header)
{
	u64 id_at = 0, id = 0;

	if (bpf_probe_read_user(header, sizeof(*header), (void *)address))
		return 0;
	bpf_probe_read_user(&id_at, sizeof(id_at), (void *)(header->table + TOKIO_ID_AT));
	if (!id_at || id_at > TOKIO_FARTHEST_ID)
		return 0;
	bpf_probe_read_user(&id, sizeof(id), (void *)(address + id_at));
	return id >> TOKIO_ID_BITS ? 0 : id;
}

/* The current task wakes this one; 0: something does that is no task. */
INLINE void note_waker(struct tokio_task *woken, u64 waker, u64 state)
{
	u64 *by = woken->woken_by;

	woken->has_acted = 1;
	if (!(state & (TOKIO_RUNNING | TOKIO_NOTIFIED)))
		by[0] = by[1] = 0;
	if (by[0] == waker || by[1] == waker || by[0] == TOO_MANY_TASKS)
		return;
	if (!waker || by[1])
		by[0] = TOO_MANY_TASKS;
	else
		by[by[0] ? 1 : 0] = waker;
}

/* A task is woken once the response has been read: it is who waited for that, or nobody knows who does. */
INLINE void note_return(struct tokio_task *waking, u64 woken, u64 task)
{
	struct record *out;

	if (waking->asks_for[0] == woken || waking->asks_for[1] == woken) {
		out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);
		if (out) {
			fill_head(out, RETURNED, waking->asks_for_who_connected, waking->socket, task);
			out->strand = woken | TOKIO_NUMBER;
			submit(out, sizeof(*out));
		} else {
			count_loss(BUFFER_FULL, 0);
		}
	}
	waking->asks_for[0] = waking->asks_for[1] = 0;
}

/* A task is woken by way of its waker, whether it is idle or not. */
SEC("uprobe")
int task_woken(struct user_regs *ctx)
{
	u64 task = followed_task();
	u32 process = task >> 32;
	struct tokio_header header = {};
	struct tokio_program *program;
	struct tokio_key key = {};
	struct tokio_task *other;
	u64 woken, waker;

	if (!task)
		return 0;
	program = bpf_map_lookup_elem(&tokio_programs, &process);
	if (!program)
		return 0;
	woken = task_with(ctx->di, &header);
	waker = polled_task(program);
	/* One that wakes itself goes on with what it does. */
	if (!woken || woken == waker)
		return 0;
	key.instance = program->instance;
	key.task = woken;
	other = header.state & TOKIO_COMPLETE ? NULL : tokio_task(&key);
	if (other)
		note_waker(other, waker, header.state);
	key.task = waker;
	other = waker ? bpf_map_lookup_elem(&tokio_tasks, &key) : NULL;
	if (other && other->asks_for[0] && other->was_answered)
		note_return(other, woken, task);
	return 0;
}

/* A task asks for the result of another one, which it waits for. */
SEC("uprobe")
int task_awaited(struct user_regs *ctx)
{
	struct tokio_header header = {};
	u64 task = followed_task();
	u32 process = task >> 32;
	struct tokio_program *program;
	struct tokio_key key = {};
	struct tokio_task *child;
	u64 parent;

	if (!task)
		return 0;
	program = bpf_map_lookup_elem(&tokio_programs, &process);
	if (!program)
		return 0;
	parent = polled_task(program);
	key.instance = program->instance;
	key.task = task_with(ctx->di, &header);
	child = key.task ? tokio_task(&key) : NULL;
	if (child)
		child->acts_itself = 1;
	if (child && parent && key.task != parent)
		emit_strand(key.task | TOKIO_NUMBER);
	return 0;
}
