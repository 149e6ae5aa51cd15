/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * How a thread says where its cell is, see told.h: it has the cell compared with itself by a function that does nothing
 * else, CRYPTO_memcmp(cell, cell, sizeof(cell)). Which files have it stands in src/code/node.rs.
 */
#pragma once
#include "tls.h"

SEC("uprobe")
int cell_told(struct user_regs *ctx)
{
	u64 task = followed_task(), *address;
	struct told_cell cell = {};

	if (!task || ctx->di != ctx->si || ctx->dx != sizeof(cell) || !read_cell(&cell, ctx->di))
		return 0;
	address = bpf_task_storage_get(&told_cells, bpf_get_current_task_btf(), NULL, STORAGE_CREATE);
	if (!address)
		return 0;
	*address = ctx->di;
	know(TOLD_ONCE, task >> 32);
	return 0;
}
