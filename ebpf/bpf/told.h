/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Contexts that a program tells of itself, where its runtime has none that could be read from outside: each of its
 * threads has a cell in its memory, in which it keeps the number of the context it works in while it writes to sockets
 * (src/hook). The thread has said where the cell is; what it says there costs it no trap.
 */
#pragma once
#include "known.h"

struct told_cell {
	u64 mark[2];
	u64 number; /* 0: of no context */
};

/* "regress context\0": memory that is used again is no cell. */
#define CELL_MARK_LOW 0x2073736572676572ull
#define CELL_MARK_HIGH 0x00747865746e6f63ull

/* Where the cell of a thread is. */
struct {
	MAP_UINT(type, MAP_TASK_STORAGE);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, u64);
} told_cells SEC(".maps");

INLINE int read_cell(struct told_cell *cell, u64 address)
{
	return !bpf_probe_read_user(cell, sizeof(*cell), (void *)address) && cell->mark[0] == CELL_MARK_LOW &&
	       cell->mark[1] == CELL_MARK_HIGH;
}

/* The number of the context that the current thread says it works in; 0 where it says nothing. */
INLINE u64 told_context(void)
{
	u64 *address = bpf_task_storage_get(&told_cells, bpf_get_current_task_btf(), NULL, 0);
	struct told_cell cell = {};

	return address && read_cell(&cell, *address) ? cell.number : 0;
}
