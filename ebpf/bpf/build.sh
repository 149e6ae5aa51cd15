#!/bin/sh
# SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
# Builds the checked-in BPF objects with clang 14. `build.sh --check` only says whether they are what their sources give.
set -eu
cd "$(dirname "$0")"

compile() { # source, object
	clang-14 -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter -O2 -g -nostdinc -target bpfel -mcpu=v3 \
		-fdebug-compilation-dir=. -c "$1" -o "$2"
	llvm-strip-14 -g "$2"
}

fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
for source in *.bpf.c; do
	object=${source%.c}.o
	compile "$source" "$fresh"
	if [ "${1:-}" != --check ]; then
		cat "$fresh" >"$object"
	elif ! cmp "$fresh" "$object"; then
		echo "error: ebpf/bpf/$object is not what its source gives; run ebpf/bpf/build.sh" >&2
		exit 1
	fi
done
