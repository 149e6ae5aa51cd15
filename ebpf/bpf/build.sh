#!/bin/sh
# SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
# Builds the checked-in BPF object with clang 14. `build.sh --check` only says whether it is what its source gives.
set -eu
cd "$(dirname "$0")"

compile() {
	clang-14 -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter -O2 -g -nostdinc -target bpfel -mcpu=v3 \
		-fdebug-compilation-dir=. -c socket.bpf.c -o "$1"
	llvm-strip-14 -g "$1"
}

if [ "${1:-}" = --check ]; then
	fresh=$(mktemp)
	trap 'rm -f "$fresh"' EXIT
	compile "$fresh"
	cmp "$fresh" socket.bpf.o || {
		echo "error: ebpf/bpf/socket.bpf.o is not what its source gives; run ebpf/bpf/build.sh" >&2
		exit 1
	}
else
	compile socket.bpf.o
fi
