/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Goroutines: which one a thread of a Go program runs at the moment. The runtime keeps it where x86-64 threads keep what is
 * their own (`-8(FS)`, runtime/asm_amd64.s), and its number never comes again within the process.
 */
#pragma once
#include "known.h"

/* Where in `runtime.g` its number is, and that of the goroutine that started it. `src/programs.rs` writes it. */
struct go_program {
	u32 number_at;
	u32 parent_at;
};

struct { /* by process */
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 16384);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct go_program);
} go_programs SEC(".maps");

/* Those of `go_programs` that were found there last: the process in the lower half, `number_at` in the upper. */
enum { RECENT_GO = 64 };
volatile u64 recent_go[RECENT_GO] = {};

/* The process is no more what it was. */
INLINE void forget_go_program(u32 process)
{
	bpf_map_delete_elem(&go_programs, &process);
	recent_go[process % RECENT_GO] = 0;
}

/* The number of the current goroutine; 0 where the process is no Go program, or the runtime works for itself. */
INLINE u64 current_goroutine(u32 process)
{
	u64 recent = recent_go[process % RECENT_GO];
	u64 goroutine = 0, number = 0;
	struct go_program *program;

	if ((u32)recent != process) {
		program = bpf_map_lookup_elem(&go_programs, &process);
		if (!program)
			return 0;
		recent = (u64)program->number_at << 32 | process;
		recent_go[process % RECENT_GO] = recent;
	}
	bpf_probe_read_user(&goroutine, sizeof(goroutine), (void *)(bpf_get_current_task_btf()->thread.fsbase - 8));
	if (goroutine)
		bpf_probe_read_user(&number, sizeof(number), (void *)(goroutine + (recent >> 32)));
	return number;
}

/* The number of the goroutine that started one, which is given by its address; 0 where that is not known. */
INLINE u64 parent_of(u64 goroutine, u32 process)
{
	struct go_program *program = bpf_map_lookup_elem(&go_programs, &process);
	u64 number = 0;

	if (program)
		bpf_probe_read_user(&number, sizeof(number), (void *)(goroutine + program->parent_at));
	return number;
}
