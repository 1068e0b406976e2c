#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# build.sh KDIR MODULES OUT: build the plain stub over the modules that scripts/kernel.sh left in
# KDIR/drm, and over drm_svm as scripts/build.sh left it in MODULES. All modules that a guest
# needs end up in OUT/modules.

. "$(dirname "$0")/../../scripts/lib.sh"

(($# == 3)) || { sed -n 's/^# \(build.sh [^:]*\): .*/usage: \1/p' "$0" >&2; exit 2; }
kdir=$(realpath "$1")
modules=$(realpath "$2")
out=$(realpath -m "$3")
here=$top/tests/plain
need_packages "${packages_modules[@]}"
[[ -e $kdir/drm/drm_gpusvm_helper.ko ]] ||
	die "The kernel in $kdir has no GPU SVM of its own to compare with; scripts/kernel.sh build 7.3 makes one that has."

# driver NAME SYMBOLS LIBRARY: one of the two, with the same sources and flags. The headers of
# tests/plain are in the place of those of src/stub that they are called like.
driver() {
	local name=$1 dir=$out/$1
	mkdir -p "$dir/include/uapi/drm" "$out/modules"
	find "$dir" -type l -delete
	ln -s "$top"/src/stub/*.[ch] "$dir/"
	ln -sf "$here"/Kbuild "$here"/*.[ch] "$dir/"
	ln -s "$top"/include/uapi/drm/*.h "$dir/include/uapi/drm/"
	make -C "$kdir" M="$dir" KBUILD_EXTRA_SYMBOLS="$2" PLAIN_TOP="$top" PLAIN_LIBRARY="$3" \
		modules >"$dir/build.log" 2>&1 || die "Building $name failed; see $dir/build.log."
	! grep -wi warning "$dir/build.log" >&2 ||
		die "Building $name warned, and warnings are errors here; see $dir/build.log."
	cp "$dir/$name.ko" "$out/modules/"
}

step "Building the plain stub over the kernel's own modules and over drm_svm."
driver drm_svm_plain_stub_kernel "$kdir/drm/Module.symvers" ''
driver drm_svm_plain_stub "$modules/Module.symvers" "$top/include"
cp "$modules/drm_svm.ko" "$out/modules/"
