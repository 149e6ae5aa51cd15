/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Payload: from the memory that a system call names into the ring.
 */
#pragma once
#include "ring.h"

/* Bytes copied through the scratch buffer at most, and bytes of one piece of memory copied straight into the ring. */
#define CHUNK 16256u
#define BULK 65536u

/* One message on its way from user memory to the ring. Per CPU and per direction: one program owns one entry, and the
 * kernel never runs a program inside itself on one CPU. */
struct transfer {
	u64 vector; /* user address of the iovec array */
	u32 vectors;
	u32 next_vector;
	u64 piece; /* user memory at hand */
	u64 piece_length;
	u64 left; /* bytes of the message still to copy */
	u64 owed; /* as in struct socket_state */
	u32 more; /* the memory named by the call is longer than what it moved */
	u32 padding;
	struct data_record out;
	u8 data[2 * CHUNK]; /* twice, so that the verifier sees every copy fit */
};

struct {
	MAP_UINT(type, MAP_PERCPU_ARRAY);
	MAP_UINT(max_entries, 2);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct transfer);
} transfers SEC(".maps");

/* The sendmmsg or recvmmsg call that a thread is in: it fires once a message. */
struct batch {
	u64 vector;
	u32 count;
	u32 next;
	s32 last; /* length of the message before `next` */
	u32 padding;
};

struct {
	MAP_UINT(type, MAP_TASK_STORAGE);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct batch);
} batches SEC(".maps");

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

/* Copies the next piece. Returns 1 when there is nothing left to do. */
INLINE long copy_step(u32 direction)
{
	struct transfer *t = bpf_map_lookup_elem(&transfers, &direction);
	struct user_iovec vector;
	u64 length;
	u32 filled;

	if (!t)
		return 1;
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
	return !t->left && !t->vectors;
}

static long copy_sent(u32 index, void *context)
{
	return copy_step(SENT);
}

static long copy_received(u32 index, void *context)
{
	return copy_step(RECEIVED);
}

/* More steps than any call can need: 2 GiB (MAX_RW_COUNT) in chunks with their flushes, and 1024 iovecs. */
#define MAX_STEPS (1 << 19)

INLINE void copy_all(u32 direction)
{
	if (direction == SENT)
		bpf_loop(MAX_STEPS, copy_sent, NULL, 0);
	else
		bpf_loop(MAX_STEPS, copy_received, NULL, 0);
}

/* ---- The system call behind a message ---- */

enum { /* arch/x86/entry/syscalls/syscall_64.tbl */
	NR_READ = 0,
	NR_WRITE = 1,
	NR_READV = 19,
	NR_WRITEV = 20,
	NR_SENDTO = 44,
	NR_RECVFROM = 45,
	NR_SENDMSG = 46,
	NR_RECVMSG = 47,
	NR_SHUTDOWN = 48,
	NR_RECVMMSG = 299,
	NR_SENDMMSG = 307,
	NR_PREADV2 = 327,
	NR_PWRITEV2 = 328,
};
enum { ENOSYS = 38 };
enum { TS_COMPAT = 2, PF_IO_WORKER = 0x10 };

INLINE struct batch *current_batch(u64 vector, u32 count, s32 result)
{
	struct batch *batch = bpf_task_storage_get(&batches, bpf_get_current_task_btf(), NULL, STORAGE_CREATE);
	s32 written = 0;

	if (!batch)
		return NULL;
	if (batch->vector != vector || batch->count != count)
		batch->next = count;
	/* The kernel stores each message's length before it goes on; another value there means another call. */
	if (batch->next && batch->next < count) {
		bpf_probe_read_user(&written, sizeof(written),
				    (void *)(vector + (u64)(batch->next - 1) * sizeof(struct user_mmsghdr) +
					     __builtin_offsetof(struct user_mmsghdr, length)));
		if (written != batch->last)
			batch->next = count;
	}
	if (batch->next >= count)
		batch->next = 0;
	batch->vector = vector;
	batch->count = count;
	batch->last = result;
	batch->next++;
	return batch;
}

/* shutdown(2) leaves the socket to be read from; close(2) does not. */
INLINE int is_shutting_down(void)
{
	struct pt_regs *regs = bpf_task_pt_regs(bpf_get_current_task_btf());

	return regs->orig_ax == NR_SHUTDOWN;
}

/* An error ends the call that the current thread is in. */
INLINE void end_batch(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = bpf_task_pt_regs(task);
	struct batch *batch;

	if (regs->orig_ax != NR_SENDMMSG && regs->orig_ax != NR_RECVMMSG)
		return;
	batch = bpf_task_storage_get(&batches, task, NULL, 0);
	if (batch)
		batch->next = batch->count;
}

struct call {
	u64 name;           /* sockaddr of the peer, where the call names one */
	struct batch *batch;
	int readable;       /* the transfer's cursor stands at the message's memory */
};

/* Points the transfer at the memory of the system call that the current thread is in. */
INLINE void find_memory(struct call *call, struct transfer *t, u32 direction, s32 result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = bpf_task_pt_regs(task);
	struct user_msghdr header;
	u64 address = regs->si;
	u32 number = regs->orig_ax;

	call->name = 0;
	call->batch = NULL;
	call->readable = 0;
	t->vector = 0;
	t->vectors = 0;
	t->next_vector = 0;
	t->piece = 0;
	t->piece_length = 0;
	t->more = 0;
	/* io_uring works in its own threads, or in ours after a system call has set its result (entry code keeps -ENOSYS
	 * there until then); 32-bit calls have other numbers and layouts. */
	if (task->flags & PF_IO_WORKER || task->thread_info.status & TS_COMPAT || (s64)regs->ax != -ENOSYS)
		return;
	if (direction == SENT ? number == NR_WRITE || number == NR_SENDTO : number == NR_READ || number == NR_RECVFROM) {
		t->piece = address;
		t->piece_length = regs->dx;
		if (number == NR_SENDTO)
			call->name = regs->r8;
		call->readable = 1;
		return;
	}
	if (direction == SENT ? number == NR_WRITEV || number == NR_PWRITEV2 : number == NR_READV || number == NR_PREADV2) {
		t->vector = address;
		t->vectors = regs->dx;
		call->readable = 1;
		return;
	}
	if (number == (direction == SENT ? NR_SENDMMSG : NR_RECVMMSG)) {
		/* A timeout ends a recvmmsg without a sign, and then the count would be wrong. */
		if (direction == RECEIVED && regs->r8)
			return;
		call->batch = current_batch(address, regs->dx, result);
		if (!call->batch)
			return;
		address += (u64)(call->batch->next - 1) * sizeof(struct user_mmsghdr);
	} else if (number != (direction == SENT ? NR_SENDMSG : NR_RECVMSG)) {
		return;
	}
	if (bpf_probe_read_user(&header, sizeof(header), (void *)address))
		return;
	t->vector = header.vector;
	t->vectors = header.vector_length;
	call->name = header.name;
	call->readable = 1;
}

/* A message that was sent in part is the last of its call (__sys_sendmmsg). */
INLINE void end_partial_batch(struct call *call, struct transfer *t, u32 direction)
{
	if (call->batch && t->more && direction == SENT)
		call->batch->next = call->batch->count;
}
