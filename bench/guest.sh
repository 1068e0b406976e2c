#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# guest.sh [full | once | profile]: one driver over the kernel's own drm_gpuvm, drm_gpusvm and
# drm_pagemap, over ours, and over ours with what only ours can do, all loaded in one boot of 7.3
# in QEMU. Prints two tables of ratios: instructions, as QEMU counts them, and time, of the running
# kernel if that can be (bench/native.sh); and one of what instructions are left without core mm.
# Leaves all figures in build/bench/. Four to six minutes; in full, twelve; once says no more than
# that it works.
#
# To profile is only to print which modules an item's instructions are spent in. After each of
# these but once, bench/guest/profile.py build/bench/profile WORKLOAD/SIZE tells the functions.

. "$(dirname "$0")/../scripts/lib.sh"

count_rounds=9
time_rounds=5
# What takes long: 256 MiB that move, a million mappings.
large_rounds=0
case ${1-} in
'') ;;
once) count_rounds=1 time_rounds=0 ;;
profile) ;;
full) count_rounds=15 time_rounds=9 large_rounds=2 ;;
*) sed -n 's/^# \(guest.sh [^:]*\): .*/usage: \1/p' "$0" >&2; exit 2 ;;
esac

need_packages "${packages_modules[@]}" "${packages_guest[@]}" "${packages_qemu[@]}"
"$top/scripts/kernel.sh" build 7.3
kernel=$("$top/scripts/kernel.sh" dir 7.3)
"$top/scripts/build.sh" "$kernel" "$build/7.3"
out=$build/bench/guest
"$top/bench/guest/build.sh" "$kernel" "$build/7.3" "$out"

# Two CPUs are what workers are compared on; with more, more of them are.
cpus=$(nproc)
((cpus >= 2)) || cpus=2
((cpus <= 4)) || cpus=4

# The largest that moves fits into it.
vram="vram_mib=$((large_rounds ? 256 : 64))"
extended=(--module "drm_svm_plain_extended $vram")

# boot NAME ROUNDS OPTION...: run the comparison in a guest; what it measured becomes
# build/bench/NAME.json.
boot() {
	local name=$1 rounds=$2
	shift 2
	"$top/scripts/qemu.py" 7.3 job-bench --dir "$build/run/bench-$name" --timeout 3600 \
		--module-dir "$out/modules" --module "drm_svm_plain $vram" \
		--module "drm_svm_plain_kernel $vram" --program "$out/compare" \
		--append "ROUNDS=$rounds LARGE=$large_rounds" --require bench/compare "$@" ||
		die "The comparison has failed; the logs are in $build/run/bench-$name."
	cp "$build/run/bench-$name/files/compare.json" "$build/bench/$name.json"
}

# table NAME UNIT: the ratios of what boot() left.
table() {
	"$top/bench/ratios.py" "$build/bench/$1.json" --unit "$2" --size size \
		--json "$build/bench/$1-ratios.json"
}

# core_mm: the functions that are core mm's, one a line: those of the kernel's mm/ but for the
# allocators of small memory, and those that handle page tables, find VMAs, and copy and clear
# pages.
core_mm() {
	local objects=()
	mapfile -t objects < <(find "$kernel/mm" "$kernel/arch/x86/mm" -name '*.o' \
		! -name 'slub.o' ! -name 'slab_common.o' ! -name 'vmalloc.o')
	objects+=("$kernel"/arch/x86/lib/{memcpy,clear_page,copy_page}_64.o "$kernel/lib/maple_tree.o")
	nm --defined-only -j "${objects[@]}" 2>/dev/null |
		grep -Ev '(mem|str)n?dup|v[cm]alloc' | sort -u
}

# profile OPTION...: count the instructions of each block of code, and say what they are spent on.
profile() {
	local large_rounds=0
	mkdir -p "$build/bench/profile"
	gcc -O2 -Wall -shared -fPIC -fvisibility=hidden -o "$out/profile.so" \
		"$top/bench/guest/profile_plugin.c"
	step "Counting instructions of each block of code."
	boot profile 1 --icount --smp 1 --append PROFILE=1 \
		--plugin "$out/profile.so,out=$build/bench/profile/blocks"
	cp "$build"/run/bench-profile/files/* "$build/bench/profile/"
	core_mm >"$build/bench/profile/core_mm"
	"$top/bench/guest/profile.py" "$build/bench/profile" "$@"
}

if [[ ${1-} == profile ]]; then
	profile
	exit
fi

step "Counting instructions, which takes its time."
boot guest-count "$count_rounds" --icount --smp 1 "${extended[@]}"
if ((time_rounds)); then
	why=$("$top/bench/native.sh" why)
	if [[ $why ]]; then
		step "Measuring time in QEMU, with $cpus CPUs; not in the running kernel, because $why."
		boot guest-time "$time_rounds" --smp "$cpus" "${extended[@]}"
		machine="a machine in QEMU"
		! grep -q '"accelerator": "tcg"' "$build/run/bench-guest-time/result.json" ||
			machine="an emulated machine"
	else
		step "Measuring time in the running kernel."
		"$top/bench/native.sh" run "$vram" "$time_rounds" "$build/bench/guest-time.json" \
			"$large_rounds"
		machine="this machine"
	fi
fi

tick=$(sed -n 's/.*"instructions_a_tick": \([0-9.]*\).*/\1/p' "$build/bench/guest-count.json")
cat <<END
An item of fault*, refault* and invalidate_* is a range; of to_device*, fault_moves*, evict*,
cpu_return*, workers_*, disturbed_*, saxpy* and processes*, a page; of cpu_first_access*, a word; of
chase*, a hop; of va_*, a request. Of one_* it is a single fault: what half of them, and 99 of 100,
are within; of *_worst, the longest time that the GPU or the CPU stood still in a whole program. A
size is that of a range in KiB; where pages move, that of an allocation in KiB; of invalidate_*,
ranges in the window; of va_*, mappings; of workers_*, workers; of saxpy*, chase* and processes*,
KiB in all. Allocations are those of an item, by whom ever. What ends in _but_copy is without the
time in the driver's copy routine. Extended is the driver with what only drm_svm can do, where that
matters.

Instructions: what the guest executed, kernel and driver included; a nanosecond of its clock is
one instruction ($tick in a loop that counts its own, with the timer's interrupts beside it).

END
table guest-count instructions
if ((time_rounds)); then
	printf '\nTime, of %s:\n\n' "$machine"
	table guest-time ns
	cat <<END

Instructions in one boot, without those of core mm, of user space and of what copies pages; and
without the driver's own as well. Pages that a process has mostly lie in rows there.

END
	profile --ratios "$build/bench/outside-ratios.json"
fi
