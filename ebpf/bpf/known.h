/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * What processes have been, by the end of their number, so that those that never were, most of a machine, cost an array
 * access and no search.
 */
#pragma once
#include "regress.h"

enum { ENDINGS = 1 << 16 };

/* `src/programs.rs` has the same. */
enum { FOLLOWED_ONCE = 1, GO_ONCE = 2, PYTHON_ONCE = 4, TOLD_ONCE = 8, TOKIO_ONCE = 16 };

struct {
	MAP_UINT(type, MAP_ARRAY);
	MAP_UINT(max_entries, ENDINGS);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} known_endings SEC(".maps");

INLINE u32 *known_of(u32 process)
{
	u32 ending = process % ENDINGS;

	return bpf_map_lookup_elem(&known_endings, &ending);
}

/* Whether this may hold for the process; 0: it never did. */
INLINE int has_been(u32 what, u32 process)
{
	u32 *known = known_of(process);

	return known && *known & what;
}

/* This holds for the process from now on. */
INLINE void know(u32 what, u32 process)
{
	u32 *known = known_of(process);

	if (known)
		__sync_fetch_and_or(known, what);
}

/* Given to programs and contexts, and never again. */
volatile u64 numbers = 0;

INLINE u64 next_number(void)
{
	return __sync_fetch_and_add(&numbers, 1) + 1;
}
