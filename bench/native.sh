#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# native.sh why                        say why the running kernel cannot be measured, if it cannot
# native.sh run VRAM ROUNDS OUT LARGE  measure it; VRAM is a parameter of the plain driver's, the
#                                      others are those of bench/guest/compare.c
#
# The comparison of bench/guest.sh in the kernel that runs, for its times. For that it has to be
# root who asks, and a kernel with a GPU SVM of its own as 7.3 has it, whose headers are here, and
# which takes modules that nobody has signed. All of them are taken out again. DRM_SVM_NATIVE=0
# says that no module is to be loaded.

. "$(dirname "$0")/../scripts/lib.sh"

release=$(uname -r)
kdir=/lib/modules/$release/build
out=$build/bench/native
loaded=()

why() {
	local option symbol
	[[ ${DRM_SVM_NATIVE-} != 0 ]] || { echo "DRM_SVM_NATIVE is 0"; return; }
	((EUID == 0)) || { echo "only root may load modules"; return; }
	[[ -e $kdir/Makefile && -e $kdir/Module.symvers ]] ||
		{ echo "there are no headers of $release"; return; }
	for option in DRM_GPUVM DRM_GPUSVM DEVICE_PRIVATE; do
		grep -q "^CONFIG_$option=[ym]" "$kdir/include/config/auto.conf" ||
			{ echo "$release has no CONFIG_$option"; return; }
	done
	# The plain driver is written for these two as they are since 7.3.
	for symbol in drm_pagemap_migrate_to_devmem drm_gpusvm_scan_mm; do
		grep -qw "$symbol" "$kdir/Module.symvers" ||
			{ echo "the GPU SVM of $release is older than that of 7.3"; return; }
	done
	if grep -qx Y /sys/module/module/parameters/sig_enforce 2>/dev/null ||
		grep -qE '\[(integrity|confidentiality)\]' /sys/kernel/security/lockdown 2>/dev/null; then
		echo "$release takes only modules that are signed"
		return
	fi
	[[ ! -e /sys/module/drm_svm ]] || echo "drm_svm is loaded, and somebody may need it"
}

unload() {
	local i
	for ((i = ${#loaded[@]} - 1; i >= 0; i--)); do
		rmmod "${loaded[i]}" || say "The module ${loaded[i]} cannot be removed."
	done
}

# load MODULE [PARAMETER...]
load() {
	insmod "$out/modules/$1.ko" "${@:2}" ||
		die "The module $1 cannot be loaded; the kernel's log says why."
	loaded+=("$1")
}

run() {
	local module depends
	"$top/scripts/build.sh" "$kdir" "$build/$release"
	"$top/bench/guest/build.sh" "$kdir" "$build/$release" "$out"
	trap unload EXIT
	depends=$(modinfo -F depends "$out"/modules/*.ko | tr , ' ')
	# The kernel's own stay: others may be using them by then.
	for module in ${depends//drm_svm/}; do
		modprobe "$module" || die "The module $module cannot be loaded; modprobe says why above."
	done
	load drm_svm
	for module in drm_svm_plain_kernel drm_svm_plain drm_svm_plain_extended; do
		load "$module" "$1"
	done
	"$out/compare" "${@:2}" >"$out/compare.log" ||
		die "The comparison has failed; what it said is in $out/compare.log."
}

case ${1-} in
why) why ;;
run) run "${@:2}" ;;
*) sed -n 's/^# \(native.sh .*\)/usage: \1/p' "$0" >&2; exit 2 ;;
esac
