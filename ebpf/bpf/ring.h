/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The ring and what goes into it besides payload, the followed processes, and the count of what was lost.
 */
#pragma once
#include "cgroup.h"
#include "namespace.h"
#include "strand.h"

/* Set by the loader, from the ring's size. */
volatile const u64 payload_limit = 0;
volatile const u32 wake_shift = 0;

struct {
	MAP_UINT(type, MAP_RINGBUF);
	MAP_UINT(max_entries, 16 << 20);
} events SEC(".maps");

struct { /* thread group ids that are recorded, besides the members of the cgroup */
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u8);
} followed SEC(".maps");

/* Those of `followed` that were found there last, each at its place: most events need not look further. */
enum { RECENT = 64 };
volatile u32 recently_followed[RECENT] = {};

struct {
	MAP_UINT(type, MAP_PERCPU_ARRAY);
	MAP_UINT(max_entries, LOSS_KINDS);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct loss_count);
} losses SEC(".maps");

INLINE void count_loss(u32 kind, u64 bytes)
{
	struct loss_count *loss = bpf_map_lookup_elem(&losses, &kind);

	if (!loss)
		return;
	__sync_fetch_and_add(&loss->events, 1);
	__sync_fetch_and_add(&loss->bytes, bytes);
}

/* How many bytes the reader has not taken yet. */
INLINE u64 bytes_waiting(void)
{
	return bpf_ringbuf_query(&events, RING_AVAILABLE);
}

/* What a record of so many bytes takes: the ring puts eight before it and rounds up to eight. */
INLINE u64 space_for(u64 size)
{
	return (size + 8 + 7) & ~7ull;
}

/* Waking the reader for each record is what costs: it is woken each time that another part of the ring (1 << wake_shift)
 * has come together, less can wait for its poll. `waiting` is what there was before the record at hand, which takes `space`. */
INLINE u64 wake_flags(u64 waiting, u64 space)
{
	return waiting >> wake_shift != (waiting + space) >> wake_shift ? RING_FORCE_WAKEUP : RING_NO_WAKEUP;
}

/* Submits a record of `size` bytes that was reserved. */
INLINE void submit(void *out, u64 size)
{
	bpf_ringbuf_submit(out, wake_flags(bytes_waiting() - space_for(size), space_for(size)));
}

INLINE void fill_head(struct record *head, u8 kind, u8 detail, u64 socket, u64 task)
{
	head->at = bpf_ktime_get_ns();
	head->socket = socket;
	head->process = task >> 32;
	head->thread = (u32)task;
	head->kind = kind;
	head->detail = detail;
	head->joined = 0;
	head->padding = 0;
	head->length = 0;
	head->strand = task ? current_strand(task >> 32) : 0;
}

/* Whether its process is recorded for its own sake, or for that of its parent. */
INLINE int is_named(u64 task)
{
	u32 process = task >> 32;
	volatile u32 *recent = &recently_followed[process % RECENT];

	if (*recent == process)
		return 1;
	if (!has_been(FOLLOWED_ONCE, process) || !bpf_map_lookup_elem(&followed, &process))
		return 0;
	*recent = process;
	return 1;
}

/* Records a process from now on. Returns 0 where the table is full. */
INLINE int follow_process(u32 process)
{
	u8 yes = 1;

	know(FOLLOWED_ONCE, process);
	return !bpf_map_update_elem(&followed, &process, &yes, 0);
}

/* The last thread of a process is gone: the number may become that of another. */
INLINE void forget_process(u32 process)
{
	volatile u32 *recent = &recently_followed[process % RECENT];

	bpf_map_delete_elem(&followed, &process);
	forget_program(process);
	if (*recent == process)
		*recent = 0;
}

/* `task` is the current one. */
INLINE int is_followed(u64 task)
{
	return task && (is_named(task) || is_member());
}

/* The current thread, as the unit of an event; 0 when its process is not followed. */
INLINE u64 followed_task(void)
{
	u64 task = current_unit();

	return is_followed(task) ? task : 0;
}

/* What runs at the moment has started another. */
INLINE void emit_strand(u64 child)
{
	struct strand_record *out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);

	if (!out) {
		count_loss(BUFFER_FULL, 0);
		return;
	}
	fill_head(&out->head, STRAND_BORN, 0, 0, current_unit());
	out->child = child;
	submit(out, sizeof(*out));
}

INLINE int emit_bare(u8 kind, u8 detail, u64 socket, u64 task)
{
	struct record *out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);

	if (!out) {
		count_loss(BUFFER_FULL, 0);
		return 0;
	}
	fill_head(out, kind, detail, socket, task);
	submit(out, sizeof(*out));
	return 1;
}

INLINE int emit_addresses(struct sock *sk, u64 id, u8 kind, u8 role, u8 joined, u64 task)
{
	struct address_record *out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);

	if (!out) {
		count_loss(BUFFER_FULL, 0);
		return 0;
	}
	fill_head(&out->head, kind, role, id, task);
	out->head.joined = joined;
	out->family = PEEK(sk, __sk_common.skc_family);
	out->local_port = PEEK(sk, __sk_common.skc_num);
	out->peer_port = __builtin_bswap16(PEEK(sk, __sk_common.skc_dport));
	out->padding = 0;
	__builtin_memset(out->local, 0, sizeof(out->local));
	__builtin_memset(out->peer, 0, sizeof(out->peer));
	if (out->family == AF_INET6) {
		bpf_probe_read_kernel(out->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_probe_read_kernel(out->peer, 16, &sk->__sk_common.skc_v6_daddr);
	} else {
		*(u32 *)out->local = PEEK(sk, __sk_common.skc_rcv_saddr);
		*(u32 *)out->peer = PEEK(sk, __sk_common.skc_daddr);
	}
	submit(out, sizeof(*out));
	return 1;
}

/* Bytes that moved and that nobody can read: their number is all there is. */
INLINE int emit_missing(u64 id, u8 direction, u64 position, u64 missing, u64 other, u64 within,
			u64 task)
{
	struct data_record *out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);

	if (!out) {
		count_loss(BUFFER_FULL, missing);
		return 0;
	}
	fill_head(&out->head, DATA, direction, id, task);
	out->position = position;
	out->missing = missing;
	out->other = other;
	out->within = within;
	submit(out, sizeof(*out));
	return 1;
}
