/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The inside of TLS: what followed processes hand to and take from libssl and Go's crypto/tls, x86-64.
 *
 * Uprobes sit on the code of a library, for all processes that run it; unfollowed ones leave at once. Which
 * socket an object speaks on is not decided here: a record of plaintext or of ciphertext only says what was seen of that.
 *
 * A uprobe can be preempted while it runs (bpf_prog_run_array_uprobe, include/linux/bpf.h), so nothing here uses per-CPU
 * scratch memory: plaintext is copied straight into reserved records of a few sizes.
 */
#pragma once
#include "descriptor.h"
#include "tls_call.h"

/* Helper number: include/uapi/linux/bpf.h, ___BPF_FUNC_MAPPER. */
static u64 (*bpf_get_attach_cookie)(void *ctx) = (void *)174;

struct user_regs { /* struct pt_regs of x86-64, the fixed layout that uprobe programs get as their context */
	u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

INLINE int emit_tls(u8 kind, u8 direction, struct tls_object *object, u64 socket, u64 task)
{
	struct tls_record *out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);

	if (!out) {
		count_loss(BUFFER_FULL, 0);
		return 0;
	}
	__builtin_memset(out, 0, sizeof(*out));
	fill_head(&out->head, kind, direction, socket, task);
	out->object = object->id;
	if (kind == TLS_FREED) {
		out->position = object->position[SENT];
		out->missing = object->position[RECEIVED];
	}
	submit(out, sizeof(*out));
	return 1;
}

INLINE void forget_tls_object(u64 address)
{
	u64 task = followed_task();
	struct tls_key key = { .address = address, .process = task >> 32 };
	struct tls_object *object;

	if (!task)
		return;
	object = bpf_map_lookup_elem(&tls_objects, &key);
	if (!object)
		return;
	emit_tls(TLS_FREED, 0, object, object->socket, task);
	bpf_map_delete_elem(&tls_objects, &key);
}

/* ---- Plaintext ---- */

enum { TLS_LARGEST = 65536 };

/* Copies up to `room` bytes into a record with that much room. */
INLINE int copy_plaintext(struct tls_copy *copy, u64 length, const u32 room)
{
	u64 waiting = bytes_waiting(), space = space_for(sizeof(struct tls_record) + room);
	struct tls_record *out;
	u64 missing = 0;

	if (waiting + space > payload_limit)
		return 0;
	out = bpf_ringbuf_reserve(&events, sizeof(*out) + room, 0);
	if (!out)
		return 0;
	AT_MOST(length, room);
	if (bpf_probe_read_user((u8 *)out + sizeof(*out), length, (void *)copy->at)) {
		count_loss(UNREADABLE, length);
		missing = length;
	}
	fill_head(&out->head, TLS_DATA, copy->direction, copy->socket, copy->task);
	out->head.length = length - missing;
	out->object = copy->object;
	out->position = copy->position;
	out->missing = missing;
	out->left = copy->left - length;
	out->requested = copy->requested;
	bpf_ringbuf_submit(out, wake_flags(waiting, space));
	return 1;
}

static long plaintext_step(u32 index, void *context)
{
	struct tls_thread *thread = bpf_task_storage_get(&tls_threads, bpf_get_current_task_btf(), NULL, 0);
	struct tls_copy *copy;
	u64 length;
	int copied;

	if (!thread)
		return 1;
	copy = &thread->copy;
	length = copy->left;
	if (length > TLS_LARGEST)
		length = TLS_LARGEST;
	if (length <= 256)
		copied = copy_plaintext(copy, length, 256);
	else if (length <= 1024)
		copied = copy_plaintext(copy, length, 1024);
	else if (length <= 4096)
		copied = copy_plaintext(copy, length, 4096);
	else if (length <= 16384)
		copied = copy_plaintext(copy, length, 16384);
	else
		copied = copy_plaintext(copy, length, TLS_LARGEST);
	if (!copied)
		count_loss(BUFFER_FULL, length);
	copy->at += length;
	copy->position += length;
	copy->left -= length;
	return !copy->left;
}

/* The plaintext of one call: `length` of at most `requested` bytes. */
INLINE void emit_plaintext(struct tls_object *object, u64 buffer, u64 length, u64 requested, u32 direction,
			   u64 task)
{
	struct tls_thread *thread =
		bpf_task_storage_get(&tls_threads, bpf_get_current_task_btf(), NULL, STORAGE_CREATE);
	u64 position = __sync_fetch_and_add(&object->position[direction & 1], length);

	if (!thread) {
		count_loss(TABLE_FULL, length);
		return;
	}
	thread->copy.at = buffer;
	thread->copy.left = length;
	thread->copy.position = position;
	thread->copy.requested = requested;
	thread->copy.object = object->id;
	thread->copy.socket = object->socket;
	thread->copy.task = task;
	thread->copy.direction = direction;
	bpf_loop((1u << 31) / TLS_LARGEST + 2, plaintext_step, NULL, 0);
}

/* ---- libssl ---- */

INLINE int enter_ssl(struct user_regs *ctx, u32 direction, u64 requested, u64 result_at)
{
	u64 task = followed_task();
	u64 probe = bpf_get_attach_cookie(ctx);
	struct tls_thread *thread;
	struct tls_object *object;
	struct tls_frame *frame;
	u32 place = TLS_DEPTH;

	if (!task)
		return 0;
	object = tls_object(ctx->di, task, probe);
	if (!object)
		return 0;
	thread = bpf_task_storage_get(&tls_threads, bpf_get_current_task_btf(), NULL, STORAGE_CREATE);
	if (!thread) {
		count_loss(TABLE_FULL, 0);
		return 0;
	}
	tls_called = 1;
#pragma unroll
	for (u32 i = 0; i < TLS_DEPTH; i++)
		if (thread->frames[i].stack == ctx->sp || (place == TLS_DEPTH && !thread->frames[i].stack))
			place = i;
	if (place == TLS_DEPTH)
		place = thread->next++;
	frame = &thread->frames[place % TLS_DEPTH];
	frame->stack = ctx->sp;
	frame->address = ctx->di;
	frame->object = object->id;
	frame->buffer = ctx->si;
	frame->requested = requested;
	frame->result_at = result_at;
	frame->probe = probe;
	frame->direction = direction;
	return 0;
}

SEC("uprobe")
int ssl_read(struct user_regs *ctx)
{
	return enter_ssl(ctx, RECEIVED, (u32)ctx->dx, 0);
}

SEC("uprobe")
int ssl_read_ex(struct user_regs *ctx)
{
	return enter_ssl(ctx, RECEIVED, ctx->dx, ctx->cx);
}

SEC("uprobe")
int ssl_write(struct user_regs *ctx)
{
	return enter_ssl(ctx, SENT, (u32)ctx->dx, 0);
}

SEC("uprobe")
int ssl_write_ex(struct user_regs *ctx)
{
	return enter_ssl(ctx, SENT, ctx->dx, ctx->cx);
}

SEC("uprobe")
int ssl_do_handshake(struct user_regs *ctx)
{
	return enter_ssl(ctx, HANDSHAKE, 0, 0);
}

/* Any of them has returned. */
SEC("uretprobe")
int ssl_returned(struct user_regs *ctx)
{
	u64 task = followed_task();
	struct tls_thread *thread;
	struct tls_object *object;
	struct tls_frame frame = {};
	s64 length = (s32)ctx->ax;
	u64 probe = bpf_get_attach_cookie(ctx);
	u64 count = 0;

	if (!task)
		return 0;
	thread = bpf_task_storage_get(&tls_threads, bpf_get_current_task_btf(), NULL, 0);
	if (!thread)
		return 0;
#pragma unroll
	for (u32 i = 0; i < TLS_DEPTH; i++) {
		/* The return address has been taken from the stack by now. */
		if (thread->frames[i].stack == ctx->sp - 8 && thread->frames[i].probe == probe) {
			frame = thread->frames[i];
			thread->frames[i].stack = 0;
		}
	}
	if (!frame.stack)
		return 0;
	object = tls_object(frame.address, task, probe);
	if (!object)
		return 0;
	if (length > 0 && frame.result_at) {
		length = 0;
		if (bpf_probe_read_user(&count, sizeof(count), (void *)frame.result_at))
			count_loss(UNREADABLE, 0);
		else
			length = count;
	}
	if (frame.direction == HANDSHAKE || length <= 0) {
		if (!(object->flags & ON_DESCRIPTOR))
			emit_tls(TLS_CALL, frame.direction, object, 0, task);
		return 0;
	}
	/* More than was asked for is not what libssl does: not its function, then. */
	if ((u64)length > frame.requested)
		return 0;
	emit_plaintext(object, frame.buffer, length, frame.requested, frame.direction, task);
	return 0;
}

SEC("uprobe")
int ssl_free(struct user_regs *ctx)
{
	forget_tls_object(ctx->di);
	return 0;
}

/* ---- crypto/tls of Go: register ABI, Go 1.17 and later. R14 is the goroutine. ---- */

struct cookie_counter {
	s64 counter;
} __attribute__((preserve_access_index));

struct sock_common___cookie {
	struct cookie_counter skc_cookie;
} __attribute__((preserve_access_index));

/* The id of the socket behind a descriptor of the current process, as records have it; 0 where it is none, or has no id
 * yet. */
INLINE u64 socket_of(u32 descriptor)
{
#ifdef RAW_SOCKETS
	struct file *file = socket_file(descriptor);
	struct inode *inode = file ? READ_KERNEL(file, f_inode) : NULL;

	return inode ? READ_KERNEL(inode, i_ino) : 0;
#else
	struct sock_common___cookie *sk = (struct sock_common___cookie *)sock_behind(descriptor);

	return sk ? READ_KERNEL(sk, skc_cookie.counter) : 0;
#endif
}

/* net.netFD: a poll.FD, of which the lock is 16 bytes and then comes the descriptor, and behind it what socket(2) was
 * asked for. The same in Go 1.20 to 1.27. */
struct go_net {
	u64 lock[2];
	s64 descriptor;
	u64 of_poll[4];
	s64 family;
	s64 type;
};

/* The socket of a net.Conn, an interface of which the second word points to the value: a *net.TCPConn begins with its
 * *netFD. Where it is another type, none comes of it. */
INLINE u64 go_socket(u64 conn)
{
	struct go_net net = {};
	u64 below = 0, at = 0;

	bpf_probe_read_user(&below, sizeof(below), (void *)(conn + 8));
	bpf_probe_read_user(&at, sizeof(at), (void *)below);
	bpf_probe_read_user(&net, sizeof(net), (void *)at);
	if (net.type != SOCK_STREAM || net.descriptor < 0 || net.descriptor >= 1 << 30)
		return 0;
	return net.family == AF_INET || net.family == AF_INET6 || net.family == AF_UNIX ? socket_of(net.descriptor) : 0;
}

/* A connection of Go; told at its first use, before its bytes move. */
INLINE struct tls_object *go_object(u64 conn, u64 task, u64 probe)
{
	struct tls_object *object = tls_object(conn, task, probe);
	u64 socket;

	if (!object)
		return NULL;
	socket = go_socket(conn);
	if (socket != object->socket && object->socket) {
		/* Collected without having been closed, and its memory is another's. */
		forget_tls_object(conn);
		object = tls_object(conn, task, probe);
		if (!object)
			return NULL;
	}
	object->socket = socket;
	if (socket && !(object->flags & ANNOUNCED_TLS) && emit_tls(TLS_CALL, 0, object, socket, task))
		__sync_fetch_and_or(&object->flags, ANNOUNCED_TLS);
	return object;
}

struct go_key {
	u64 goroutine;
	u32 process;
	u32 padding;
};

struct go_read {
	u64 conn;
	u64 buffer;
	u64 requested;
};

struct { /* goroutines that wait in (*Conn).Read */
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, struct go_key);
	MAP_TYPE(value, struct go_read);
} go_reads SEC(".maps");

/* (*Conn).Write(b []byte), behind the check of the stack, which may start the function again. All of `b` will be written,
 * or the connection is of no use any more. */
SEC("uprobe")
int go_write(struct user_regs *ctx)
{
	u64 task = followed_task();
	struct tls_object *object;

	if (!task)
		return 0;
	object = go_object(ctx->ax, task, bpf_get_attach_cookie(ctx));
	if (object && ctx->cx && ctx->cx < 1ull << 31)
		emit_plaintext(object, ctx->bx, ctx->cx, ctx->cx, SENT, task);
	return 0;
}

/* (*Conn).Read(b []byte), at the same place. */
SEC("uprobe")
int go_read(struct user_regs *ctx)
{
	u64 task = followed_task();
	struct go_key key = { .goroutine = ctx->r14, .process = task >> 32 };
	struct go_read read = { .conn = ctx->ax, .buffer = ctx->bx, .requested = ctx->cx };

	if (!task || !go_object(ctx->ax, task, bpf_get_attach_cookie(ctx)))
		return 0;
	if (bpf_map_update_elem(&go_reads, &key, &read, 0))
		count_loss(TABLE_FULL, 0);
	return 0;
}

/* Each of its RETs. Where the call began before the probes were there, nobody knows whose bytes these are. */
SEC("uprobe")
int go_read_returns(struct user_regs *ctx)
{
	u64 task = followed_task();
	struct go_key key = { .goroutine = ctx->r14, .process = task >> 32 };
	struct go_read *found, read;
	struct tls_object *object;

	if (!task)
		return 0;
	found = bpf_map_lookup_elem(&go_reads, &key);
	if (!found)
		return 0;
	read = *found;
	bpf_map_delete_elem(&go_reads, &key);
	if ((s64)ctx->ax <= 0 || ctx->ax > read.requested)
		return 0;
	object = go_object(read.conn, task, bpf_get_attach_cookie(ctx));
	if (object)
		emit_plaintext(object, read.buffer, ctx->ax, read.requested, RECEIVED, task);
	return 0;
}

/* (*Conn).Close() */
SEC("uprobe")
int go_close(struct user_regs *ctx)
{
	forget_tls_object(ctx->ax);
	return 0;
}

/* ---- net/http of Go ---- */

/* http.persistConn of Go 1.21 to 1.27: its net.Conn, and what it knows of TLS, NULL where there is none. */
enum { GO_PERSIST_CONN = 80, GO_PERSIST_TLS = 96 };

INLINE void emit_claim(u8 what, u64 socket, u64 goroutine, u64 task)
{
	struct claimed_record *out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);

	if (!out) {
		count_loss(BUFFER_FULL, 0);
		return;
	}
	fill_head(&out->head, CLAIMED, what, socket, task);
	out->parent = parent_of(goroutine, task >> 32);
	submit(out, sizeof(*out));
}

/* (*persistConn).roundTrip, behind the check of the stack: the goroutine that calls it has its request written by the
 * goroutine that owns the connection (writeLoop), and read by another (readLoop). A *tls.Conn begins with its net.Conn. */
SEC("uprobe")
int go_round_trip(struct user_regs *ctx)
{
	u64 task = followed_task();
	u64 conn = ctx->ax + GO_PERSIST_CONN;
	u64 tls = 0, socket;

	if (!task)
		return 0;
	bpf_probe_read_user(&tls, sizeof(tls), (void *)(ctx->ax + GO_PERSIST_TLS));
	if (tls)
		bpf_probe_read_user(&conn, sizeof(conn), (void *)(conn + 8));
	socket = go_socket(conn);
	if (socket)
		emit_claim(NEXT_REQUEST, socket, ctx->r14, task);
	return 0;
}

/* ---- HTTP/2 of Go: net/http's and golang.org/x/net/http2's, of Go 1.21 to 1.27 ---- */

/* http2.ClientConn: its net.Conn, which is a *tls.Conn or has no TLS. */
enum { GO_HTTP2_CONN = 8 };

/* (*ClientConn).roundTrip, behind the check of the stack: the goroutine that calls it starts one that writes the request, and
 * waits for the response. */
SEC("uprobe")
int go_stream_waits(struct user_regs *ctx)
{
	u64 task = followed_task();

	if (task)
		emit_claim(ITSELF, 0, ctx->r14, task);
	return 0;
}

/* (*clientStream).encodeAndWriteHeaders, at the same place: what this goroutine writes next begins the request. A stream begins
 * with its connection. */
SEC("uprobe")
int go_stream_writes(struct user_regs *ctx)
{
	u64 task = followed_task();
	u64 conn = 0, inside = 0, socket;

	if (!task)
		return 0;
	bpf_probe_read_user(&conn, sizeof(conn), (void *)ctx->ax);
	conn += GO_HTTP2_CONN;
	socket = go_socket(conn);
	if (!socket) {
		/* A *tls.Conn begins with its net.Conn. */
		bpf_probe_read_user(&inside, sizeof(inside), (void *)(conn + 8));
		socket = go_socket(inside);
	}
	if (socket)
		emit_claim(OWN_STREAM, socket, ctx->r14, task);
	return 0;
}

/* ---- Where libraries come from ---- */

/* A followed process may have mapped new code. Told at once: what it will do with it is not seen before somebody has
 * looked. `is_held`: it waits until then. Returns whether it was told. */
INLINE int emit_mapped(u64 task, int is_held)
{
	struct record *out;

	if (!task)
		return 0;
	out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);
	if (!out) {
		count_loss(BUFFER_FULL, 0);
		return 0;
	}
	fill_head(out, MAPPED, is_held, 0, task);
	bpf_ringbuf_submit(out, RING_FORCE_WAKEUP);
	return 1;
}

/* _dl_debug_state: the function that the dynamic loader calls for debuggers after it has mapped or unmapped libraries,
 * before their code runs (the r_brk of struct r_debug, link.h). */
SEC("uprobe")
int libraries_changed(struct user_regs *ctx)
{
	emit_mapped(followed_task(), 0);
	return 0;
}

/* Set by the loader: the process that the recorder itself has started; 0: none. It is stopped before the first instruction
 * of what it executes, and goes on when that has been looked into: only its parent, the recorder, could see that. */
volatile const u32 launched = 0;

enum { SIGSTOP = 19 }; /* include/uapi/asm-generic/signal.h */

/* Set by the loader: whether a process that gains privileges by what it executes (set-user-id, file capabilities) is let
 * go, because whoever is told about it has no right to know what it does then. */
volatile const u32 without_gain = 0;

SEC("tp_btf/sched_process_exec")
int sched_process_exec(u64 *ctx)
{
	struct linux_binprm *program = (struct linux_binprm *)ctx[2];
	u64 task = followed_task();
	int is_held;

	if (!task)
		return 0;
	if (without_gain && BIT_OF(program, secureexec)) {
		count_loss(PRIVILEGED, 0);
		forget_process(task >> 32);
		return 0;
	}
	forget_program(task >> 32);
	is_held = task >> 32 == launched;
	if (emit_mapped(task, is_held) && is_held)
		bpf_send_signal(SIGSTOP);
	return 0;
}
