/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Which memory a system call moves bytes from or to.
 */
#pragma once
#include "payload.h"

enum { /* arch/x86/entry/syscalls/syscall_64.tbl */
	NR_READ = 0,
	NR_WRITE = 1,
	NR_READV = 19,
	NR_WRITEV = 20,
	NR_SENDFILE = 40,
	NR_SENDTO = 44,
	NR_RECVFROM = 45,
	NR_SENDMSG = 46,
	NR_RECVMSG = 47,
	NR_SHUTDOWN = 48,
	NR_SPLICE = 275,
	NR_RECVMMSG = 299,
	NR_SENDMMSG = 307,
	NR_PREADV2 = 327,
	NR_PWRITEV2 = 328,
};
enum { ENOSYS = 38 };
enum { TS_COMPAT = 2, PF_IO_WORKER = 0x10 };

struct call {
	u64 name;     /* sockaddr of the peer, where the call names one */
	int readable; /* the transfer's cursor stands at the message's memory */
};

INLINE void forget_memory(struct call *call, struct transfer *t)
{
	call->name = 0;
	call->readable = 0;
	t->headers_left = 0;
	t->vector = 0;
	t->vectors = 0;
	t->next_vector = 0;
	t->piece = 0;
	t->piece_length = 0;
	t->more = 0;
}

INLINE void one_piece(struct call *call, struct transfer *t, u64 address, u64 length)
{
	t->piece = address;
	t->piece_length = length;
	call->readable = 1;
}

INLINE void several_pieces(struct call *call, struct transfer *t, u64 vector, u64 count)
{
	t->vector = vector;
	t->vectors = count;
	call->readable = 1;
}

INLINE void message_at(struct call *call, struct transfer *t, u64 address)
{
	struct user_msghdr header;

	if (bpf_probe_read_user(&header, sizeof(header), (void *)address))
		return;
	call->name = header.name;
	several_pieces(call, t, header.vector, header.vector_length);
}

/* A call that moves one message. Returns 0 where the call is another one. */
INLINE int find_message(struct call *call, struct transfer *t, u32 direction, u32 number, struct pt_regs *regs)
{
	u64 address = regs->si;

	if (direction == SENT ? number == NR_WRITE || number == NR_SENDTO : number == NR_READ || number == NR_RECVFROM) {
		one_piece(call, t, address, regs->dx);
		if (number == NR_SENDTO)
			call->name = regs->r8;
	} else if (direction == SENT ? number == NR_WRITEV || number == NR_PWRITEV2
				     : number == NR_READV || number == NR_PREADV2) {
		several_pieces(call, t, address, regs->dx);
	} else if (number == (direction == SENT ? NR_SENDMSG : NR_RECVMSG)) {
		message_at(call, t, address);
	} else {
		return 0;
	}
	return 1;
}
