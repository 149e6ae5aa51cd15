/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * How a thread says where its cell is, see told.h: it gives the cell to a function to which it makes no difference, by
 * its runtime. Which files have these functions stands in src/code/node.rs and src/code/java.rs.
 */
#pragma once
#include "tls.h"

INLINE int hear_of_cell(u64 place, u64 size)
{
	u64 task = followed_task(), *address;
	struct told_cell cell = {};

	if (!task || size != sizeof(cell) || !read_cell(&cell, place))
		return 0;
	address = bpf_task_storage_get(&told_cells, bpf_get_current_task_btf(), NULL, STORAGE_CREATE);
	if (!address)
		return 0;
	*address = place;
	know(TOLD_ONCE, task >> 32);
	return 0;
}

/* Node.js compares the cell with itself: CRYPTO_memcmp(cell, cell, size). */
SEC("uprobe")
int node_cell_told(struct user_regs *ctx)
{
	return ctx->di == ctx->si ? hear_of_cell(ctx->di, ctx->dx) : 0;
}

/* Java has the cell as a dictionary: setDictionaryBuffer(environment, class, stream, cell, size), the last is an int. */
SEC("uprobe")
int java_cell_told(struct user_regs *ctx)
{
	return hear_of_cell(ctx->cx, (u32)ctx->r8);
}
