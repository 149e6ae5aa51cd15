/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Process and thread ids as the recorder's PID namespace counts them. A task has one number in its own namespace and in
 * each above it; one that the recorder's namespace does not see has none there.
 */
#pragma once
#include "regress.h"

/* Set by the loader: the inode of the recorder's PID namespace; 0 where that is the initial one, whose numbers the
 * kernel itself uses. */
volatile const u32 pid_namespace = 0;

enum { PID_LEVELS = 33 }; /* MAX_PID_NS_LEVEL, include/linux/pid_namespace.h, and the initial one */

/* 0 where the recorder's namespace does not see it. */
INLINE u32 number_of(struct pid *pid)
{
	struct upid number;
	u32 level, namespace;

	for (level = 0; level < PID_LEVELS; level++) {
		if (level > pid->level)
			break;
		if (bpf_probe_read_kernel(&number, sizeof(number), (u8 *)pid->numbers + level * sizeof(number)))
			break;
		if (bpf_probe_read_kernel(&namespace, sizeof(namespace), &number.ns->ns.inum))
			break;
		if (namespace == pid_namespace)
			return number.nr;
	}
	return 0;
}

/* The thread group id in the upper half, the thread id in the lower; 0 for a task that cannot be seen. */
INLINE u64 unit_of(struct task_struct *task)
{
	u32 process, thread;

	if (!pid_namespace)
		return (u64)(u32)task->tgid << 32 | (u32)task->pid;
	thread = number_of(task->thread_pid);
	process = number_of(task->group_leader->thread_pid);
	return process ? (u64)process << 32 | thread : 0;
}

INLINE u64 current_unit(void)
{
	return unit_of(bpf_get_current_task_btf());
}
