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
	u32 more;  /* the memory named by the call is longer than what it moved */
	u32 tries; /* how often reading is tried again, see copy_step */
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
	u64 length = t->out.head.length, waiting = bytes_waiting(), size, space;

	if (!length && !missing)
		return;
	AT_MOST(length, CHUNK);
	size = sizeof(t->out) + length;
	space = space_for(size);
	t->out.missing = missing;
	if (waiting + space > payload_limit || bpf_ringbuf_output(&events, &t->out, size, wake_flags(waiting, space))) {
		count_loss(BUFFER_FULL, length + missing);
		t->owed += length + missing;
	} else {
		t->owed = 0;
	}
	t->out.position += length + missing;
	t->out.head.length = 0;
}

/* Submits a record that was reserved and holds `length` bytes by now. */
INLINE int submit_straight(struct transfer *t, struct data_record *out, u64 length, u64 waiting, u64 space)
{
	*out = t->out;
	out->head.length = length;
	out->missing = 0;
	bpf_ringbuf_submit(out, wake_flags(waiting, space));
	t->out.position += length;
	t->owed = 0;
	return 1;
}

/* Copies bytes from `piece` straight into a record with room for `room` of them. Returns 0 when it cannot be done, and
 * nothing was. */
INLINE int copy_straight(struct transfer *t, u64 length, const u32 room)
{
	u64 waiting = bytes_waiting(), space = space_for(sizeof(struct data_record) + room);
	struct data_record *out;

	if (waiting + space > payload_limit)
		return 0;
	out = bpf_ringbuf_reserve(&events, sizeof(*out) + room, 0);
	if (!out)
		return 0;
	AT_MOST(length, room);
	if (bpf_probe_read_user(out + 1, length, (void *)t->piece)) {
		bpf_ringbuf_discard(out, RING_NO_WAKEUP);
		return 0;
	}
	return submit_straight(t, out, length, waiting, space);
}

/* A message that lies in one piece of memory, and fits a record. */
INLINE int copy_one_piece(struct transfer *t, u64 length)
{
	if (length <= 256)
		return copy_straight(t, length, 256);
	if (length <= 1280)
		return copy_straight(t, length, 1280);
	if (length <= 4096)
		return copy_straight(t, length, 4096);
	if (length <= 16384)
		return copy_straight(t, length, 16384);
	if (length <= BULK)
		return copy_straight(t, length, BULK);
	return 0;
}

/* A message that lies in the one piece that a vector names. */
INLINE int copy_only_vector(struct transfer *t, u64 length)
{
	struct user_iovec vector;

	if (bpf_probe_read_user(&vector, sizeof(vector), (void *)t->vector) || vector.length < length)
		return 0;
	t->piece = vector.base;
	if (!copy_one_piece(t, length))
		return 0;
	t->more = vector.length > length;
	return 1;
}

enum { FIRST_PIECE = 512 };

/* Copies two pieces straight into a record with room for FIRST_PIECE bytes of the first and `room` of the second. */
INLINE int copy_both_straight(struct transfer *t, u64 first, u64 first_size, u64 second, u64 second_size, const u32 room)
{
	u64 waiting = bytes_waiting(), space = space_for(sizeof(struct data_record) + FIRST_PIECE + room);
	struct data_record *out;

	if (waiting + space > payload_limit)
		return 0;
	out = bpf_ringbuf_reserve(&events, sizeof(*out) + FIRST_PIECE + room, 0);
	if (!out)
		return 0;
	AT_MOST(first_size, FIRST_PIECE);
	AT_MOST(second_size, room);
	if (bpf_probe_read_user(out + 1, first_size, (void *)first) ||
	    bpf_probe_read_user((u8 *)(out + 1) + first_size, second_size, (void *)second)) {
		bpf_ringbuf_discard(out, RING_NO_WAKEUP);
		return 0;
	}
	return submit_straight(t, out, first_size + second_size, waiting, space);
}

/* A message that lies in two pieces of memory, all of both, and fits a record: a head and a body, as most writev are. */
INLINE int copy_two_pieces(struct transfer *t, u64 length)
{
	struct user_iovec pieces[2];
	u64 first, second;

	if (bpf_probe_read_user(pieces, sizeof(pieces), (void *)t->vector))
		return 0;
	first = pieces[0].length;
	second = pieces[1].length;
	if (first > FIRST_PIECE || first + second != length)
		return 0;
	if (second <= 512)
		return copy_both_straight(t, pieces[0].base, first, pieces[1].base, second, 512);
	if (second <= 2048)
		return copy_both_straight(t, pieces[0].base, first, pieces[1].base, second, 2048);
	if (second <= 16384)
		return copy_both_straight(t, pieces[0].base, first, pieces[1].base, second, 16384);
	if (second <= BULK)
		return copy_both_straight(t, pieces[0].base, first, pieces[1].base, second, BULK);
	return 0;
}

/* A message that fits a record, by the shortest way. Returns 0 when it cannot be done, and nothing was. Apart from the
 * programs that call it: the verifier goes through its branches once. */
NOINLINE int copy_at_once(u32 slot, u64 length)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &slot);

	if (!t || t->headers_left)
		return 0;
	switch (t->vectors) {
	case 0:
		return length <= t->piece_length && copy_one_piece(t, length);
	case 1:
		return copy_only_vector(t, length);
	case 2:
		return copy_two_pieces(t, length);
	default:
		return 0;
	}
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
	if (!filled && length >= BULK && copy_straight(t, BULK, BULK)) {
		length = BULK;
	} else {
		if (length > CHUNK - filled)
			length = CHUNK - filled;
		AT_MOST(length, CHUNK);
		if (bpf_probe_read_user(t->data + filled, length, (void *)t->piece)) {
			/* The kernel may be moving the page to another place just now (compaction, huge pages). */
			if (t->tries) {
				t->tries--;
				return 0;
			}
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

static long copy_in_slot(u32 index, void *slot)
{
	return copy_step(*(u32 *)slot);
}

/* More steps than any call can need: 2 GiB (MAX_RW_COUNT) in chunks with their flushes, and 1024 iovecs. */
#define MAX_STEPS (1 << 19)

enum { TRIES = 1000 }; /* a millisecond or so */

/* Copies all of a message; `slot` is that of `t`. */
INLINE void copy_all(struct transfer *t, u32 slot)
{
	t->tries = TRIES;
	bpf_loop(MAX_STEPS, copy_in_slot, &slot, 0);
}
