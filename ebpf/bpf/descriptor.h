/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The socket behind a descriptor of the current process.
 */
#pragma once
#include "regress.h"

enum { S_IFMT = 0170000, S_IFSOCK = 0140000 };

/* NULL where the descriptor is not of a socket. */
INLINE struct file *socket_file(u32 descriptor)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct files_struct *files = task->files;
	struct fdtable *table = files ? READ_KERNEL(files, fdt) : NULL;
	struct file **slots, *file = NULL;
	struct inode *inode;

	if (!table || descriptor >= READ_KERNEL(table, max_fds))
		return NULL;
	slots = READ_KERNEL(table, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), slots + descriptor) || !file)
		return NULL;
	inode = READ_KERNEL(file, f_inode);
	return inode && (READ_KERNEL(inode, i_mode) & S_IFMT) == S_IFSOCK ? file : NULL;
}

INLINE struct sock *sock_behind(u32 descriptor)
{
	struct file *file = socket_file(descriptor);
	struct socket *socket = file ? READ_KERNEL(file, private_data) : NULL;

	return socket ? READ_KERNEL(socket, sk) : NULL;
}
