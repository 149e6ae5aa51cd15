/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The recorded cgroup. Who is in it is asked at each event instead of being kept as a set: whoever enters is recorded
 * from then on and whoever leaves no longer, however it got there (fork, clone into a cgroup, a write to cgroup.procs).
 */
#pragma once
#include "regress.h"

/* Set by the loader: whether `cgroup` holds one. */
volatile const u32 by_cgroup = 0;

struct {
	MAP_UINT(type, MAP_CGROUP_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} cgroup SEC(".maps");

/* Whether the current task is in the recorded cgroup or in one below it. */
INLINE int is_member(void)
{
	return by_cgroup && bpf_current_task_under_cgroup(&cgroup, 0) == 1;
}
