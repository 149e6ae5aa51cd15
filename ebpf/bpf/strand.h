/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * What a thread runs at the moment, where its program has lines of execution of its own.
 */
#pragma once
#include "goroutine.h"
#include "python.h"
#include "tokio.h"
#include "told.h"

/* Set in the numbers of contexts, jobs and tokio's tasks; goroutines do not come that far. Contexts that a program tells have a range of
 * their own. */
#define CONTEXT_NUMBER (1ull << 63)
#define JOB_NUMBER (1ull << 62)
#define TOLD_NUMBER (1ull << 61)
#define TOKIO_NUMBER (1ull << 60)

/* The number of what runs; 0: nothing but the thread. Apart from the programs that call it: most of them do so several
 * times. */
NOINLINE u64 current_strand(u32 process)
{
	u32 *known = known_of(process);
	u64 number = 0, job;

	if (!known)
		return 0;
	if (*known & GO_ONCE)
		number = current_goroutine(process);
	if (!number && *known & PYTHON_ONCE) {
		number = current_context(process);
		job = current_job(number);
		if (job)
			return job | JOB_NUMBER;
		if (number)
			return number | CONTEXT_NUMBER;
	}
	if (!number && *known & TOLD_ONCE) {
		number = told_context();
		if (number)
			return (number & (TOLD_NUMBER - 1)) | TOLD_NUMBER | CONTEXT_NUMBER;
	}
	if (!number && *known & TOKIO_ONCE) {
		number = current_tokio_task(process);
		if (number)
			return number | TOKIO_NUMBER;
	}
	return number;
}

/* The process is no more what it was. */
INLINE void forget_program(u32 process)
{
	if (has_been(GO_ONCE, process))
		forget_go_program(process);
	if (has_been(PYTHON_ONCE, process))
		bpf_map_delete_elem(&python_programs, &process);
	if (has_been(TOKIO_ONCE, process))
		bpf_map_delete_elem(&tokio_programs, &process);
}

INLINE void inherit_program(u32 parent, u32 child)
{
	if (has_been(PYTHON_ONCE, parent))
		inherit_python(parent, child);
	if (has_been(TOKIO_ONCE, parent))
		inherit_tokio(parent, child);
}
