/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * TLS objects, and the calls on them that threads are in the middle of.
 *
 * A TLS object (SSL * or *tls.Conn) gets an id of its own, because addresses are used again, and its two plaintext
 * streams have positions, so that what the ring refuses shows as a gap.
 */
#pragma once
#include "ring.h"

enum { NO_EXIST = 1 }; /* include/uapi/linux/bpf.h */

/* ---- TLS objects ---- */

struct tls_key {
	u64 address;
	u32 process;
	u32 padding;
};

enum tls_object_flag {
	ON_DESCRIPTOR = 1, /* its calls move socket bytes themselves: they need not be told when they bring no plaintext */
	ANNOUNCED_TLS = 2, /* a record has named its socket */
};

struct tls_object {
	u64 id;
	u64 position[2];
	u64 probe;  /* the attachment that saw it first: two layers of one container image are one file to the kernel */
	u64 socket; /* Go: id */
	u32 flags;
	u32 padding;
};

struct {
	MAP_UINT(type, MAP_LRU_HASH);
	MAP_UINT(max_entries, 32768);
	MAP_TYPE(key, struct tls_key);
	MAP_TYPE(value, struct tls_object);
} tls_objects SEC(".maps");

struct {
	MAP_UINT(type, MAP_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} tls_last_id SEC(".maps");

INLINE struct tls_object *tls_object(u64 address, u64 task, u64 probe)
{
	struct tls_key key = { .address = address, .process = task >> 32 };
	struct tls_object *object = bpf_map_lookup_elem(&tls_objects, &key);
	struct tls_object fresh = {};
	u64 *last_id;
	u32 zero = 0;

	if (object)
		return object->probe == probe ? object : NULL;
	last_id = bpf_map_lookup_elem(&tls_last_id, &zero);
	if (!last_id)
		return NULL;
	fresh.id = __sync_fetch_and_add(last_id, 1) + 1;
	fresh.probe = probe;
	/* Another thread may be quicker. */
	bpf_map_update_elem(&tls_objects, &key, &fresh, NO_EXIST);
	object = bpf_map_lookup_elem(&tls_objects, &key);
	if (!object)
		count_loss(TABLE_FULL, 0);
	return object;
}

/* ---- What a thread is doing ---- */

enum { TLS_DEPTH = 8 };

/* A call into libssl that has not returned. */
struct tls_frame {
	u64 stack;     /* of its return address; 0: free */
	u64 address;   /* SSL * */
	u64 object;    /* id */
	u64 buffer;
	u64 requested;
	u64 result_at; /* where the _ex functions put their count; 0 where the result is the count */
	u64 probe;
	u32 direction; /* or HANDSHAKE */
	u32 padding;
};

enum { HANDSHAKE = 2 };

/* Plaintext on its way into the ring. */
struct tls_copy {
	u64 at; /* user address */
	u64 left;
	u64 position;
	u64 requested;
	u64 object;
	u64 socket;
	u64 task;
	u32 direction;
	u32 padding;
};

struct tls_thread {
	struct tls_frame frames[TLS_DEPTH];
	struct tls_copy copy;
	u32 next; /* the frame to give up when all are taken: of calls that never returned */
	u32 padding;
};

struct {
	MAP_UINT(type, MAP_TASK_STORAGE);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct tls_thread);
} tls_threads SEC(".maps");

/* Whether any call into TLS was seen yet: most services make none, and need not be asked at each system call. */
volatile u32 tls_called = 0;

/* The TLS object whose call the current system call was made in; 0 for none. That is the innermost: frames are told apart
 * by their place on the stack, which also holds where a thread switches between stacks of its own (coroutines). */
INLINE u64 calling_tls_object(u64 unit)
{
	struct tls_key key = { .process = unit >> 32 };
	u64 stack, innermost = ~0ull, found = 0;
	struct task_struct *task;
	struct tls_thread *thread;
	struct tls_object *object;

	if (!tls_called)
		return 0;
	task = bpf_get_current_task_btf();
	thread = bpf_task_storage_get(&tls_threads, task, NULL, 0);
	if (!thread)
		return 0;
	stack = bpf_task_pt_regs(task)->sp;
#pragma unroll
	for (u32 i = 0; i < TLS_DEPTH; i++) {
		u64 at = thread->frames[i].stack;

		if (at > stack && at < innermost) {
			innermost = at;
			found = thread->frames[i].object;
			key.address = thread->frames[i].address;
		}
	}
	if (!found)
		return 0;
	object = bpf_map_lookup_elem(&tls_objects, &key);
	if (object)
		__sync_fetch_and_or(&object->flags, ON_DESCRIPTOR);
	return found;
}
