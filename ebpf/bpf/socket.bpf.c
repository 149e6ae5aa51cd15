// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * The socket source: TCP and Unix streams and DNS answers of followed processes, kernel 6.3 and later, x86-64.
 *
 * sock_send_length and sock_recv_length fire at the end of every socket send and receive, in the caller's context,
 * where the registers of its system call still say which memory the bytes came from or went to (net/socket.c,
 * call_trace_sock_send_length).
 *
 * One ring carries everything in one order. Payload is refused while the ring is more than `payload_limit` full, so
 * that the rest stays free for the small records that open, end and name things. What is refused is counted, and a
 * stream's position advances all the same: a loss shows as a gap.
 */
#include "operation.h"
#include "lifecycle.h"
#include "python_probes.h"
#include "tokio_probes.h"
#include "told_probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("tp_btf/sock_send_length")
int sock_send_length(u64 *ctx)
{
	operation((struct sock *)ctx[0], (s32)ctx[1], 0, SENT, 0);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int sock_recv_length(u64 *ctx)
{
	operation((struct sock *)ctx[0], (s32)ctx[1], (int)ctx[2], RECEIVED, 1);
	return 0;
}
