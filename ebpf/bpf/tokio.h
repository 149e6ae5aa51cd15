/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Tasks of tokio: which one a thread runs at the moment. The runtime keeps its id in the thread's own memory while it polls
 * it, and ids never come again within the process.
 */
#pragma once
#include "known.h"

/* Where a program keeps the id of the current task. `src/code/tokio.rs` finds it. */
struct tokio_program {
	u64 instance; /* no other program has it, in whatever process */
	s64 task_at;  /* seen from what FS points to */
	u64 marked;   /* the word before it is 1 where there is one */
};

struct { /* by process */
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 16384);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct tokio_program);
} tokio_programs SEC(".maps");

/* What is no id. */
enum { TOKIO_ID_BITS = 48 };

/* The id of the current task; 0 where there is none. */
INLINE u64 polled_task(struct tokio_program *program)
{
	u64 at = bpf_get_current_task_btf()->thread.fsbase + program->task_at;
	u64 words[2] = {};

	bpf_probe_read_user(words, sizeof(words), (void *)(at - 8));
	if (program->marked && words[0] != 1)
		return 0;
	return words[1] >> TOKIO_ID_BITS ? 0 : words[1];
}

INLINE u64 current_tokio_task(u32 process)
{
	struct tokio_program *program = bpf_map_lookup_elem(&tokio_programs, &process);

	return program ? polled_task(program) : 0;
}

/* A forked process has its parent's memory, and goes its own way. */
INLINE void inherit_tokio(u32 parent, u32 child)
{
	struct tokio_program *known = bpf_map_lookup_elem(&tokio_programs, &parent);
	struct tokio_program program;

	if (!known)
		return;
	program = *known;
	program.instance = next_number();
	know(TOKIO_ONCE, child);
	bpf_map_update_elem(&tokio_programs, &child, &program, 0);
}
