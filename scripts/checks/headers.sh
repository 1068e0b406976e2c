# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Every header compiles alone, and twice in one file, in each language that it
# is written for.

# compile_alone DIRECTORY HEADER COMPILER...: HEADER is relative to DIRECTORY.
compile_alone() {
	local dir=$1 header=$2
	shift 2
	printf '#include "%s"\n#include "%s"\nextern int dsvm_not_empty;\n' "$header" "$header" |
		"$@" -fsyntax-only -Wall -Wextra -Werror -I"$dir" - || echo "$header: does not compile alone with $1"
}

# headers DIRECTORY SUBDIRECTORY: to check nothing is a finding.
headers() {
	local found
	found=$(cd "$1" && find "$2" -type f -name '*.h' | sort) || return
	[[ $found ]] || { echo "$1/$2 has no headers" >&2; return 1; }
	echo "$found"
}

check_headers_c11() {
	local list header
	list=$(headers include drm_svm) || { echo "$list"; return 1; }
	for header in $list; do
		compile_alone include "$header" gcc -xc -std=c11 -pedantic -ffreestanding
	done
}

check_headers_cxx20() {
	local list header compiler
	list=$(headers include drm_svm) || { echo "$list"; return 1; }
	for compiler in g++ clang++; do
		command -v "$compiler" >/dev/null || continue
		for header in $list; do
			compile_alone include "$header" "$compiler" -xc++ -std=c++20 -ffreestanding
		done
	done
}

check_headers_core() {
	local list header
	list=$(headers src core) || { echo "$list"; return 1; }
	for header in $list; do
		compile_alone src "$header" g++ -xc++ -std=gnu++20 -ffreestanding -nostdinc -nostdinc++ \
			-fno-exceptions -fno-rtti -Iinclude
	done
}

# Debian gives the kernel's <drm/drm.h> to libdrm, in a directory of its name.
check_headers_uapi() {
	local list header system
	list=$(headers include/uapi .) || { echo "$list"; return 1; }
	system=$(mktemp -d)
	[[ -e /usr/include/drm/drm.h ]] || ln -s /usr/include/libdrm "$system/drm"
	for header in $list; do
		compile_alone include/uapi "${header#./}" gcc -xc -std=gnu11 -isystem "$system"
	done
	rm -r "$system"
}

# The way of a downstream driver: include/ first on the path, and nothing else.
check_headers_kernel() {
	local kernel list header dir status=0
	kernel=$(kdir) || { echo "$kernel"; return 1; }
	list=$(headers include drm) || { echo "$list"; return 1; }
	dir=$(mktemp -d)
	{
		echo 'obj-m := headers.o'
		echo "headers-y := module.o $(for header in $list; do printf '%s ' "$(basename "$header" .h).o"; done)"
		echo "LINUXINCLUDE := -I$tree/include \$(LINUXINCLUDE)"
	} >"$dir/Kbuild"
	printf '#include <linux/module.h>\nMODULE_DESCRIPTION("headers");\nMODULE_LICENSE("Dual MIT/GPL");\n' >"$dir/module.c"
	for header in $list; do
		printf '#include <%s>\n#include <%s>\n' "$header" "$header" >"$dir/$(basename "$header" .h).c"
	done
	make -C "$kernel" M="$dir" modules >"$dir/log" 2>&1 || status=1
	# No module to link against, so only what the compiler said counts.
	if ((status)) || grep -qwi warning "$dir/log"; then
		grep -wiE -A3 'warning|error' "$dir/log" || tail -n5 "$dir/log"
	fi
	rm -rf "$dir"
}
