/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Payload: from the memory that a system call names into the ring.
 */
#pragma once
#include "ring.h"

/* Bytes copied through the scratch buffer at most, and bytes of one piece of memory copied straight into the ring. */
#define CHUNK 16256u
#define BULK 65536u

/* One message on its way from user memory to the ring. Each program that copies has a slot of its own on each CPU: the
 * kernel never runs one program twice at the same time on one CPU, but may put another in between. */
struct transfer {
	u64 headers; /* user address of the mmsghdr array whose messages follow the one at hand */
	u32 headers_left;
	u32 padding;
	u64 vector; /* user address of the iovec array */
	u32 vectors;
	u32 next_vector;
	u64 piece; /* user memory at hand */
	u64 piece_length;
	u64 left; /* bytes of the message still to copy */
	u64 owed; /* as in struct socket_state */
	u32 more; /* the memory named by the call is longer than what it moved */
	u32 padding2;
	struct data_record out;
	u8 data[2 * CHUNK]; /* twice, so that the verifier sees every copy fit */
};

enum { TRANSFERS = 7 };

struct {
	MAP_UINT(type, MAP_PERCPU_ARRAY);
	MAP_UINT(max_entries, TRANSFERS);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct transfer);
} transfers SEC(".maps");

INLINE void send_out(struct transfer *t, u64 missing)
{
	u32 length = t->out.head.length;
	u64 size = sizeof(t->out) + length;

	if (!length && !missing)
		return;
	t->out.missing = missing;
	if (length > CHUNK || !has_room(size) || bpf_ringbuf_output(&events, &t->out, size, wake_flags())) {
		count_loss(BUFFER_FULL, length + missing);
		t->owed += length + missing;
	} else {
		t->owed = 0;
	}
	t->out.position += length + missing;
	t->out.head.length = 0;
}

INLINE int copy_bulk(struct transfer *t)
{
	struct {
		struct data_record head;
		u8 data[BULK];
	} *out;

	if (!has_room(sizeof(*out)))
		return 0;
	out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);
	if (!out)
		return 0;
	if (bpf_probe_read_user(out->data, BULK, (void *)t->piece)) {
		bpf_ringbuf_discard(out, RING_NO_WAKEUP);
		return 0;
	}
	out->head = t->out;
	out->head.head.length = BULK;
	out->head.missing = 0;
	bpf_ringbuf_submit(out, wake_flags());
	t->out.position += BULK;
	t->owed = 0;
	return 1;
}

/* Goes on to the next message of a call that moved several. */
INLINE void next_message(struct transfer *t)
{
	struct user_mmsghdr message = {};

	t->headers_left--;
	t->piece_length = 0;
	t->next_vector = 0;
	t->vectors = 0;
	if (bpf_probe_read_user(&message, sizeof(message), (void *)t->headers))
		return;
	t->headers += sizeof(message);
	t->vector = message.header.vector;
	t->vectors = message.header.vector_length;
	t->left = message.length;
}

/* Copies the next piece. Returns 1 when there is nothing left to do. */
INLINE long copy_step(u32 slot)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &slot);
	struct user_iovec vector;
	u64 length;
	u32 filled;

	if (!t)
		return 1;
	if (!t->left && t->headers_left) {
		next_message(t);
		return 0;
	}
	if (!t->piece_length) {
		if (t->next_vector >= t->vectors)
			return 1;
		if (bpf_probe_read_user(&vector, sizeof(vector), (void *)(t->vector + t->next_vector * sizeof(vector))))
			return 1;
		t->next_vector++;
		t->piece = vector.base;
		t->piece_length = vector.length;
		return 0;
	}
	if (!t->left) {
		t->more = 1;
		return 1;
	}
	filled = t->out.head.length;
	if (filled >= CHUNK) {
		send_out(t, 0);
		return 0;
	}
	length = t->piece_length < t->left ? t->piece_length : t->left;
	if (!filled && length >= BULK && copy_bulk(t)) {
		length = BULK;
	} else {
		if (length > CHUNK - filled)
			length = CHUNK - filled;
		asm volatile("" : "+r"(length)); /* keep the bound where the verifier looks for it */
		if (length > CHUNK)
			return 1;
		if (bpf_probe_read_user(t->data + filled, length, (void *)t->piece)) {
			count_loss(UNREADABLE, length);
			send_out(t, length);
		} else {
			t->out.head.length = filled + length;
		}
	}
	t->piece += length;
	t->piece_length -= length;
	t->left -= length;
	return !t->left && !t->vectors && !t->headers_left;
}

static long copy_in_slot_0(u32 index, void *context)
{
	return copy_step(0);
}

static long copy_in_slot_1(u32 index, void *context)
{
	return copy_step(1);
}

static long copy_in_slot_2(u32 index, void *context)
{
	return copy_step(2);
}

static long copy_in_slot_3(u32 index, void *context)
{
	return copy_step(3);
}

static long copy_in_slot_4(u32 index, void *context)
{
	return copy_step(4);
}

static long copy_in_slot_5(u32 index, void *context)
{
	return copy_step(5);
}

static long copy_in_slot_6(u32 index, void *context)
{
	return copy_step(6);
}

/* More steps than any call can need: 2 GiB (MAX_RW_COUNT) in chunks with their flushes, and 1024 iovecs. */
#define MAX_STEPS (1 << 19)

/* Copies all of a message; `slot` is known when this is compiled. */
INLINE void copy_all(u32 slot)
{
	if (slot == 0)
		bpf_loop(MAX_STEPS, copy_in_slot_0, NULL, 0);
	else if (slot == 1)
		bpf_loop(MAX_STEPS, copy_in_slot_1, NULL, 0);
	else if (slot == 2)
		bpf_loop(MAX_STEPS, copy_in_slot_2, NULL, 0);
	else if (slot == 3)
		bpf_loop(MAX_STEPS, copy_in_slot_3, NULL, 0);
	else if (slot == 4)
		bpf_loop(MAX_STEPS, copy_in_slot_4, NULL, 0);
	else if (slot == 5)
		bpf_loop(MAX_STEPS, copy_in_slot_5, NULL, 0);
	else
		bpf_loop(MAX_STEPS, copy_in_slot_6, NULL, 0);
}
