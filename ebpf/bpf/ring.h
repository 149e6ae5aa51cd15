/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The ring and what goes into it besides payload, the followed processes, and the count of what was lost.
 */
#pragma once
#include "cgroup.h"
#include "namespace.h"
#include "regress.h"

/* Set by the loader, from the ring's size. */
volatile const u64 payload_limit = 0;
volatile const u64 wake_at = 0;

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

/* Waking the reader for each record is what costs; a full quarter megabyte is worth it, less can wait for its poll. */
INLINE u64 wake_flags(void)
{
	return bpf_ringbuf_query(&events, RING_AVAILABLE) >= wake_at ? RING_FORCE_WAKEUP : RING_NO_WAKEUP;
}

INLINE int has_room(u64 bytes)
{
	return bpf_ringbuf_query(&events, RING_AVAILABLE) + bytes <= payload_limit;
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
}

/* Whether its process is recorded for its own sake, or for that of its parent. */
INLINE int is_named(u64 task)
{
	u32 process = task >> 32;

	return bpf_map_lookup_elem(&followed, &process) != NULL;
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

INLINE int emit_bare(u8 kind, u8 detail, u64 socket, u64 task)
{
	struct record *out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);

	if (!out) {
		count_loss(BUFFER_FULL, 0);
		return 0;
	}
	fill_head(out, kind, detail, socket, task);
	bpf_ringbuf_submit(out, wake_flags());
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
	bpf_ringbuf_submit(out, wake_flags());
	return 1;
}

/* Bytes that moved and that nobody can read: their number is all there is. */
INLINE int emit_missing(u64 id, u8 direction, u64 position, u64 missing, u64 other, u64 task)
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
	bpf_ringbuf_submit(out, wake_flags());
	return 1;
}
