/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * For which task of tokio another one has an exchange. A connection's task writes what the tasks that wake it give it, reads the
 * response, and wakes who waits for it. Both have to agree: an exchange is of the task that is woken first once the response
 * has been read, if it is one of the two at most that had woken the connection's task before that wrote. A connection's task
 * that nobody has woken yet, because it was made for its first exchange, has it of the task that connected, or of nobody.
 */
#pragma once
#include "ring.h"

/* More tasks have woken it than are remembered, or nobody knows who did. */
#define TOO_MANY_TASKS (~0ull)

struct tokio_key {
	u64 instance;
	u64 task;
};

/* A task, as what others wake. */
struct tokio_task {
	u64 woken_by[2]; /* since it was idle, and has not written since; 0: nobody */
	u64 asks_for[2]; /* those that had woken it when it wrote last: for one of them */
	u64 socket;      /* to which it wrote */
	u8 was_answered;
	u8 acts_itself; /* it serves, or somebody waits for its result: what it writes is its own doing */
	u8 has_acted;   /* it was woken, or moved bytes */
	u8 asks_for_who_connected;
	u8 padding[4];
};

struct {
	MAP_UINT(type, MAP_LRU_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_TYPE(key, struct tokio_key);
	MAP_TYPE(value, struct tokio_task);
} tokio_tasks SEC(".maps");

/* The state of a task that may be new. */
INLINE struct tokio_task *tokio_task(struct tokio_key *key)
{
	struct tokio_task *known = bpf_map_lookup_elem(&tokio_tasks, key);
	struct tokio_task fresh = { .woken_by[0] = TOO_MANY_TASKS };

	if (known)
		return known;
	bpf_map_update_elem(&tokio_tasks, key, &fresh, 0);
	return bpf_map_lookup_elem(&tokio_tasks, key);
}

/* The current thread moves bytes on a socket. */
NOINLINE int task_moves(u64 socket, u64 task, u32 direction, u32 role, u64 connected_by)
{
	u32 process = task >> 32;
	struct tokio_program *program = bpf_map_lookup_elem(&tokio_programs, &process);
	struct tokio_key key = {};
	struct tokio_task *own;
	u64 wakers[2];
	u8 is_new;

	if (!program)
		return 0;
	key.instance = program->instance;
	key.task = polled_task(program);
	own = key.task ? tokio_task(&key) : NULL;
	if (!own)
		return 0;
	is_new = !own->has_acted;
	own->has_acted = 1;
	if (role == SERVER)
		own->acts_itself = 1;
	if (role != CLIENT)
		return 0;
	if (direction == RECEIVED) {
		if (own->socket == socket)
			own->was_answered = 1;
		return 0;
	}
	wakers[0] = own->woken_by[0];
	wakers[1] = own->woken_by[1];
	own->woken_by[0] = own->woken_by[1] = 0;
	own->asks_for_who_connected = is_new && connected_by != key.task;
	if (own->asks_for_who_connected) {
		wakers[0] = connected_by;
		wakers[1] = 0;
	}
	if (own->was_answered || own->socket != socket)
		own->asks_for[0] = own->asks_for[1] = 0;
	if (!wakers[0] || wakers[0] == TOO_MANY_TASKS || own->acts_itself)
		return 0;
	own->asks_for[0] = wakers[0];
	own->asks_for[1] = wakers[1];
	own->socket = socket;
	own->was_answered = 0;
	return 0;
}
