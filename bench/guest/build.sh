#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# build.sh KDIR MODULES OUT: build what compares drm_svm with the kernel's own modules, in OUT:
# the plain driver over drm_svm as scripts/build.sh left it in MODULES, without and with what only
# drm_svm has, and over the kernel's modules, which scripts/kernel.sh left in KDIR/drm if they are
# not KDIR's own; and compare, the program. All modules under test end up in OUT/modules.

. "$(dirname "$0")/../../scripts/lib.sh"

(($# == 3)) || { sed -n 's/^# \(build.sh [^:]*\): .*/usage: \1/p' "$0" >&2; exit 2; }
kdir=$(realpath "$1")
modules=$(realpath "$2")
out=$(realpath -m "$3")
here=$top/bench/guest
need_packages "${packages_modules[@]}" "${packages_guest[@]}"
# Of the kernel's own modules; what KDIR itself exports is known without being named.
symbols=$kdir/drm/Module.symvers
[[ -e $symbols ]] || symbols=
grep -qw drm_gpusvm_helper "${symbols:-$kdir/Module.symvers}" ||
	die "The kernel in $kdir has no GPU SVM of its own to compare with; scripts/kernel.sh build 7.3 makes one that has."

# driver NAME SYMBOLS [MAKE_ARGUMENT...]: one of the three, with the same sources and flags.
driver() {
	local name=$1 symbols=$2 dir=$out/$1 file
	shift 2
	mkdir -p "$dir" "$out/modules"
	for file in "$here"/Kbuild "$here"/plain*.[ch]; do
		ln -sfn "$file" "$dir/"
	done
	make -C "$kdir" M="$dir" KBUILD_EXTRA_SYMBOLS="$symbols" "$@" modules \
		>"$dir/build.log" 2>&1 || die "Building $name failed; see $dir/build.log."
	! grep -wi warning "$dir/build.log" >&2 ||
		die "Building $name warned, and warnings are errors here; see $dir/build.log."
	cp "$dir/$name.ko" "$out/modules/"
}

step "Building the plain driver over drm_svm and over the kernel's own modules."
driver drm_svm_plain_kernel "$symbols" PLAIN_INCLUDE= PLAIN_EXTENDED=
driver drm_svm_plain "$modules/Module.symvers" PLAIN_INCLUDE="$top/include" PLAIN_EXTENDED=
driver drm_svm_plain_extended "$modules/Module.symvers" PLAIN_INCLUDE="$top/include" \
	PLAIN_EXTENDED=1
cp "$modules/drm_svm.ko" "$out/modules/"

gcc -std=gnu17 -D_GNU_SOURCE -O2 -static -pthread -Wall -Wextra -Wshadow \
	-Wno-missing-field-initializers -Werror -o "$out/compare" "$here"/compare*.c
