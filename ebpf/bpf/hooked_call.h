/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Seen from within a socket operation: the system call that the current thread is in.
 */
#pragma once
#include "memory.h"

/* The sendmmsg or recvmmsg call that a thread is in: its hooks fire once a message. */
struct batch {
	u64 vector;
	u32 count;
	u32 next;
	s32 last; /* length of the message before `next` */
	u32 padding;
};

struct {
	MAP_UINT(type, MAP_TASK_STORAGE);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct batch);
} batches SEC(".maps");

/* Whether any such call was seen yet: most services make none. */
volatile u32 batch_seen = 0;

INLINE struct batch *current_batch(u64 vector, u32 count, s32 result)
{
	struct batch *batch = bpf_task_storage_get(&batches, bpf_get_current_task_btf(), NULL, STORAGE_CREATE);
	s32 written = 0;

	if (!batch)
		return NULL;
	batch_seen = 1;
	if (batch->vector != vector || batch->count != count)
		batch->next = count;
	/* The kernel stores each message's length before it goes on; another value there means another call. */
	if (batch->next && batch->next < count) {
		bpf_probe_read_user(&written, sizeof(written),
				    (void *)(vector + (u64)(batch->next - 1) * sizeof(struct user_mmsghdr) +
					     __builtin_offsetof(struct user_mmsghdr, length)));
		if (written != batch->last)
			batch->next = count;
	}
	if (batch->next >= count)
		batch->next = 0;
	batch->vector = vector;
	batch->count = count;
	batch->last = result;
	batch->next++;
	return batch;
}

/* An error ends the call that the current thread is in. */
INLINE void end_batch(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = bpf_task_pt_regs(task);
	struct batch *batch;

	if (regs->orig_ax != NR_SENDMMSG && regs->orig_ax != NR_RECVMMSG)
		return;
	batch = bpf_task_storage_get(&batches, task, NULL, 0);
	if (batch)
		batch->next = batch->count;
}

/* Points the transfer at the memory of the system call. */
INLINE void find_memory(struct call *call, struct transfer *t, u32 direction, s32 result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = bpf_task_pt_regs(task);
	u32 number = regs->orig_ax;
	struct batch *batch;

	forget_memory(call, t);
	/* io_uring works in its own threads, or in ours after a system call has set its result (entry code keeps -ENOSYS
	 * there until then); 32-bit calls have other numbers and layouts. */
	if (task->flags & PF_IO_WORKER || task->thread_info.status & TS_COMPAT || (s64)regs->ax != -ENOSYS)
		return;
	if (find_message(call, t, direction, number, regs) || number != (direction == SENT ? NR_SENDMMSG : NR_RECVMMSG))
		return;
	/* A timeout ends a recvmmsg without a sign, and then the count would be wrong. */
	if (direction == RECEIVED && regs->r8)
		return;
	batch = current_batch(regs->si, regs->dx, result);
	if (batch)
		message_at(call, t, regs->si + (u64)(batch->next - 1) * sizeof(struct user_mmsghdr));
}

/* A message that was sent in part is the last of its call (__sys_sendmmsg). */
INLINE void end_partial_batch(struct transfer *t, u32 direction)
{
	if (t->more && direction == SENT)
		end_batch();
}
