/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Where the states of sockets are kept, and how sockets are told apart.
 */
#pragma once
#include "ring.h"

/* Sockets that the kernel keeps for itself, as network file systems do, have no file. Those that carry an MPTCP
 * connection show its file, but are not what is behind it. */
INLINE int belongs_to_user(struct sock *sk)
{
	struct socket *socket = PEEK(sk, sk_socket);

	return socket && PEEK(socket, file) && PEEK(socket, sk) == sk;
}

/* What /proc/PID/fd shows; a socket has it while a process holds it, and it is not used again until 32 bits are. */
INLINE u64 inode_number(struct sock *sk)
{
	struct socket *socket = READ_KERNEL(sk, sk_socket);
	struct file *file = socket ? READ_KERNEL(socket, file) : NULL;
	struct inode *inode = file ? READ_KERNEL(file, f_inode) : NULL;

	return inode ? READ_KERNEL(inode, i_ino) : 0;
}

#ifndef RAW_SOCKETS

/* In the socket itself, gone with it. A socket is known by its cookie (SO_COOKIE), unique until reboot. */
struct {
	MAP_UINT(type, MAP_SK_STORAGE);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct socket_state);
} sockets SEC(".maps");

INLINE struct socket_state *known_state(struct sock *sk)
{
	return bpf_sk_storage_get(&sockets, sk, NULL, 0);
}

INLINE struct socket_state *new_state(struct sock *sk)
{
	struct socket_state *state = bpf_sk_storage_get(&sockets, sk, NULL, STORAGE_CREATE);

	if (!state)
		count_loss(TABLE_FULL, 0);
	return state;
}

INLINE struct socket_state *known_unix_state(struct sock *sk)
{
	return known_state(sk);
}

INLINE struct socket_state *new_unix_state(struct sock *sk)
{
	return new_state(sk);
}

INLINE void forget_state(struct sock *sk)
{
}

INLINE void mark_begun(struct sock *sk)
{
}

INLINE u64 socket_id(struct sock *sk, struct socket_state *state)
{
	if (!state->id)
		state->id = bpf_get_socket_cookie(sk);
	return state->id;
}

#else

/* By address, until the socket is destroyed; Unix sockets, of whose end no tracepoint tells, by inode number, until
 * `src/programs.rs` removes them. */
struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, struct socket_state);
} sockets SEC(".maps");

/* Inside the sockets whose beginning was seen, so that user space, which has a descriptor but no address, can tell. */
struct {
	MAP_UINT(type, MAP_SK_STORAGE);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, u32);
} begun SEC(".maps");

/* Connections found open at the start: by inode number, until they are first used. Written by `src/programs.rs`. */
struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, struct socket_state);
} adopted SEC(".maps");

/* A socket is known by the number of its inode. */
INLINE u64 socket_id(struct sock *sk, struct socket_state *state)
{
	if (!state->id)
		state->id = inode_number(sk);
	return state->id;
}

INLINE struct socket_state *keep_state(u64 key, struct socket_state *state)
{
	if (bpf_map_update_elem(&sockets, &key, state, 0)) {
		count_loss(TABLE_FULL, 0);
		return NULL;
	}
	return bpf_map_lookup_elem(&sockets, &key);
}

INLINE struct socket_state *known_state(struct sock *sk)
{
	u64 address = (u64)sk, inode;
	struct socket_state *state = bpf_map_lookup_elem(&sockets, &address);

	if (state)
		return state;
	inode = inode_number(sk);
	state = inode ? bpf_map_lookup_elem(&adopted, &inode) : NULL;
	if (!state)
		return NULL;
	state = keep_state(address, state);
	bpf_map_delete_elem(&adopted, &inode);
	return state;
}

INLINE struct socket_state *new_state(struct sock *sk)
{
	struct socket_state *state = known_state(sk);
	struct socket_state fresh = {};

	return state ? state : keep_state((u64)sk, &fresh);
}

INLINE struct socket_state *known_unix_state(struct sock *sk)
{
	u64 inode = inode_number(sk);

	return bpf_map_lookup_elem(&sockets, &inode);
}

INLINE struct socket_state *new_unix_state(struct sock *sk)
{
	struct socket_state *state = known_unix_state(sk);
	struct socket_state fresh = {};

	return state ? state : keep_state(inode_number(sk), &fresh);
}

INLINE void forget_state(struct sock *sk)
{
	u64 address = (u64)sk;

	bpf_map_delete_elem(&sockets, &address);
}

/* A socket that has a state by now; `sk` is a pointer that a tracepoint gave. */
INLINE void mark_begun(struct sock *sk)
{
	if (known_state(sk) && !bpf_sk_storage_get(&begun, sk, NULL, STORAGE_CREATE))
		count_loss(TABLE_FULL, 0);
}

#endif
