// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * Programs that do nothing on the tracepoints of the socket source but put the bytes of calls with one or two pieces of
 * memory into a ring, with the time, the thread and the socket: what moving bytes out of a service costs on this kernel,
 * whoever does it. They keep no position, count no loss and know no owner. For `benches/overhead` only.
 */
#include "regress.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

enum { NR_WRITEV = 20 }; /* arch/x86/entry/syscalls/syscall_64.tbl */
enum { ROOM = 2048, FIRST_ROOM = 512 };
enum { WAKE_SHIFT = 20 }; /* the reader is woken for each MiB */

/* Set by the loader. */
volatile const u32 recorded[4] = {};

struct {
	MAP_UINT(type, MAP_RINGBUF);
	MAP_UINT(max_entries, 16 << 20);
} events SEC(".maps");

struct copied {
	u64 at;
	u64 socket;
	u64 thread;
	u64 length;
	u8 bytes[FIRST_ROOM + ROOM];
};

INLINE int is_recorded(u32 process)
{
	return process == recorded[0] || process == recorded[1] || process == recorded[2] || process == recorded[3];
}

INLINE long copy_pieces(u8 *to, u64 vector)
{
	struct user_iovec pieces[2];
	u64 first, second;

	if (bpf_probe_read_user(pieces, sizeof(pieces), (void *)vector))
		return -1;
	first = pieces[0].length;
	second = pieces[1].length;
	AT_MOST(first, FIRST_ROOM);
	AT_MOST(second, ROOM);
	return bpf_probe_read_user(to, first, (void *)pieces[0].base) ||
	       bpf_probe_read_user(to + first, second, (void *)pieces[1].base);
}

INLINE int copy(u64 socket, s32 result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u64 length = result, waiting, failed;
	struct copied *out;
	struct pt_regs *regs;

	if (result <= 0 || result > ROOM || !is_recorded(task->tgid))
		return 0;
	waiting = bpf_ringbuf_query(&events, RING_AVAILABLE);
	out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);
	if (!out)
		return 0;
	out->at = bpf_ktime_get_ns();
	out->socket = socket;
	out->thread = (u64)task->tgid << 32 | (u32)task->pid;
	out->length = length;
	regs = bpf_task_pt_regs(task);
	AT_MOST(length, ROOM);
	failed = regs->orig_ax == NR_WRITEV ? copy_pieces(out->bytes, regs->si)
					    : bpf_probe_read_user(out->bytes, length, (void *)regs->si);
	if (failed)
		bpf_ringbuf_discard(out, RING_NO_WAKEUP);
	else
		bpf_ringbuf_submit(out, waiting >> WAKE_SHIFT != (waiting + sizeof(*out)) >> WAKE_SHIFT ? RING_FORCE_WAKEUP
													 : RING_NO_WAKEUP);
	return 0;
}

SEC("tp_btf/sock_send_length")
int sock_send_length(u64 *ctx)
{
	return copy(ctx[0], ctx[1]);
}

SEC("tp_btf/sock_recv_length")
int sock_recv_length(u64 *ctx)
{
	return copy(ctx[0], ctx[1]);
}
