/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * What a thread is in the middle of, from the hook at its beginning to the one at its end.
 */
#pragma once
#include "ring.h"

struct flight {
	u64 socket; /* struct socket or struct sock, as the source has it */
	u32 number; /* of the system call */
	u32 flags;
};

struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, struct flight);
} flights SEC(".maps");

INLINE void take_off(u64 task, struct flight *flight)
{
	if (bpf_map_update_elem(&flights, &task, flight, 0))
		count_loss(TABLE_FULL, 0);
}

/* Returns 0 where no flight of this thread is known. */
INLINE int land(u64 task, struct flight *flight)
{
	struct flight *known = bpf_map_lookup_elem(&flights, &task);

	if (!known)
		return 0;
	*flight = *known;
	bpf_map_delete_elem(&flights, &task);
	return 1;
}
