/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Contexts and jobs of CPython as they come and go. Which functions these are stands in src/code/python.rs.
 */
#pragma once
#include "tls.h"

/* The key of an object of the current process. Returns 0 where that is not followed, or no Python that we know. */
INLINE int own_object(struct object_key *key, u64 address)
{
	u64 task = followed_task();
	u32 process = task >> 32;
	struct python_program *program;

	if (!task || !address)
		return 0;
	program = bpf_map_lookup_elem(&python_programs, &process);
	if (!program)
		return 0;
	key->instance = program->instance;
	key->address = address;
	return 1;
}

/* PyContext_CopyCurrent() has made a context out of the current one. */
SEC("uretprobe")
int context_copied(struct user_regs *ctx)
{
	struct object_key key = {};
	u64 number;

	if (!own_object(&key, ctx->ax))
		return 0;
	number = new_context(&key);
	if (number)
		emit_strand(number | CONTEXT_NUMBER);
	return 0;
}

/* The destructor of PyContext_Type. */
SEC("uprobe")
int context_freed(struct user_regs *ctx)
{
	struct object_key key = {};

	if (own_object(&key, ctx->di))
		bpf_map_delete_elem(&contexts, &key);
	return 0;
}

/* SimpleQueue.put(item) and put_nowait(item): METH_FASTCALL, the arguments are an array. */
SEC("uprobe")
int job_put(struct user_regs *ctx)
{
	struct object_key key = {};
	u64 item = 0, number;

	if ((s64)ctx->dx < 1)
		return 0;
	bpf_probe_read_user(&item, sizeof(item), (void *)ctx->si);
	if (!own_object(&key, item))
		return 0;
	number = next_number();
	if (!bpf_map_update_elem(&waiting_jobs, &key, &number, 0))
		emit_strand(number | JOB_NUMBER);
	return 0;
}

/* SimpleQueue.get() and get_nowait() return `item`: the thread is done with what it took before. One of them may have called the other,
 * or what both have in common, which has returned the same item further down the stack. */
INLINE int take_job(u64 item, u64 stack)
{
	struct task_struct *thread = bpf_get_current_task_btf();
	struct object_key key = {};
	struct running_job *running;
	u64 *waiting = NULL, number = 0;

	if (own_object(&key, item))
		waiting = bpf_map_lookup_elem(&waiting_jobs, &key);
	if (waiting) {
		number = *waiting;
		bpf_map_delete_elem(&waiting_jobs, &key);
	}
	running = bpf_task_storage_get(&running_jobs, thread, NULL, number ? STORAGE_CREATE : 0);
	if (running && !number && item && running->item == item && running->stack < stack)
		return 0;
	if (running) {
		running->item = item;
		running->stack = stack;
		running->number = number;
		running->context = number ? current_context(current_unit() >> 32) : 0;
	}
	return 0;
}

/* At each of their RETs. */
SEC("uprobe")
int job_taken(struct user_regs *ctx)
{
	return take_job(ctx->ax, ctx->sp);
}

/* Where these are not known: of calls that began before the probe was there nothing is seen. */
SEC("uretprobe")
int job_get_returned(struct user_regs *ctx)
{
	return take_job(ctx->ax, ctx->sp);
}
