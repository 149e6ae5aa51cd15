// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * Programs that do nothing on the tracepoints of the socket source: what being called costs on this kernel, below which
 * no recorder that uses them can get. For `benches/overhead` only.
 */
#include "regress.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("tp_btf/sock_send_length")
int sock_send_length(u64 *ctx)
{
	return 0;
}

SEC("tp_btf/sock_recv_length")
int sock_recv_length(u64 *ctx)
{
	return 0;
}
