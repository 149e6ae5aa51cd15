/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Contexts of CPython (PEP 567): which one a thread runs in at the moment. Each asyncio task and callback runs in a copy of
 * the context that it was made in, and so does what asyncio.to_thread and anyio give to threads. Contexts have no number
 * of their own and their memory is used again, so that they are numbered here when they are made, and forgotten when
 * they are freed.
 */
#pragma once
#include "known.h"

/* Where a process keeps what tells contexts apart. `src/python.rs` writes it. */
struct python_program {
	u64 instance; /* no other program has it, in whatever process */
	u64 key_at;   /* address of _PyRuntime's autoTSSkey, by which a thread finds its PyThreadState */
	u64 type;     /* address of PyContext_Type */
	u64 context_at; /* of `context` in PyThreadState */
};

struct { /* by process */
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 16384);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct python_program);
} python_programs SEC(".maps");

struct object_key { /* an object of Python */
	u64 instance;
	u64 address;
};

/* The numbers of contexts. One that is forgotten too early gets another number when it is seen again. */
struct {
	MAP_UINT(type, MAP_LRU_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_TYPE(key, struct object_key);
	MAP_TYPE(value, u64);
} contexts SEC(".maps");

/* struct pthread of glibc on x86-64: what pthread_setspecific keeps for the first 32 keys (nptl/descr.h, 2.3 to 2.41). */
enum { THREAD_SPECIFIC = 0x310, SPECIFIC_KEYS = 32 };

struct thread_specific {
	u64 sequence;
	u64 data;
};

/* PyContext of CPython 3.9 to 3.14 (Include/internal/pycore_context.h). `entered` is not set in the context that a thread has
 * by default. */
struct python_context {
	u64 references;
	u64 type;
	u64 previous;
	u64 variables;
	u64 weak_references;
	u32 entered;
	u32 padding;
};

/* The address of the context that the current thread has entered; 0 where there is none, or Python is not what we take
 * it for. */
INLINE u64 entered_context(struct python_program *program)
{
	struct python_context context = {};
	struct thread_specific slot = {};
	u64 address = 0;
	u32 key = SPECIFIC_KEYS;

	bpf_probe_read_user(&key, sizeof(key), (void *)program->key_at);
	if (key >= SPECIFIC_KEYS)
		return 0;
	bpf_probe_read_user(&slot, sizeof(slot), (void *)(bpf_get_current_task_btf()->thread.fsbase + THREAD_SPECIFIC +
							  key * sizeof(slot)));
	if (!slot.data)
		return 0;
	bpf_probe_read_user(&address, sizeof(address), (void *)(slot.data + program->context_at));
	if (!address)
		return 0;
	bpf_probe_read_user(&context, sizeof(context), (void *)address);
	return context.type == program->type && context.entered ? address : 0;
}

INLINE u64 new_context(struct object_key *key)
{
	u64 number = next_number();

	return bpf_map_update_elem(&contexts, key, &number, 0) ? 0 : number;
}

/* The number of the current context; 0 where there is none. */
INLINE u64 current_context(u32 process)
{
	struct python_program *program = bpf_map_lookup_elem(&python_programs, &process);
	struct object_key key = {};
	u64 *number;

	if (!program)
		return 0;
	key.instance = program->instance;
	key.address = entered_context(program);
	if (!key.address)
		return 0;
	number = bpf_map_lookup_elem(&contexts, &key);
	return number ? *number : new_context(&key);
}

/* Jobs of thread pools: what was put into a queue, by the address of the object, until a thread takes it out. Objects are not
 * freed meanwhile. */
struct {
	MAP_UINT(type, MAP_LRU_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_TYPE(key, struct object_key);
	MAP_TYPE(value, u64);
} waiting_jobs SEC(".maps");

/* What a thread has taken out last. */
struct running_job {
	u64 number;  /* 0 for nothing that is known */
	u64 context; /* the number of the one in which it took it out; 0 where that was none */
	u64 item;    /* the object that it was taken out as */
	u64 stack;   /* where the stack was then */
};

struct {
	MAP_UINT(type, MAP_TASK_STORAGE);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct running_job);
} running_jobs SEC(".maps");

/* The job of the current thread; 0 where it has none, or has entered another context for it since (asyncio.to_thread), which
 * then says more. Threads of Python 3.14 are in a context all their life. */
INLINE u64 current_job(u64 context)
{
	struct running_job *job = bpf_task_storage_get(&running_jobs, bpf_get_current_task_btf(), NULL, 0);

	return job && job->context == context ? job->number : 0;
}

/* A forked process has its parent's memory, and goes its own way. */
INLINE void inherit_python(u32 parent, u32 child)
{
	struct python_program *known = bpf_map_lookup_elem(&python_programs, &parent);
	struct python_program program;

	if (!known)
		return;
	program = *known;
	program.instance = next_number();
	know(PYTHON_ONCE, child);
	bpf_map_update_elem(&python_programs, &child, &program, 0);
}
