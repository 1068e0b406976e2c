#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# build.sh OUTDIR: build the demo and the test programs, static, in OUTDIR. What
# is up to date is left alone. Prints the path of each.

. "$(dirname "$0")/../../scripts/lib.sh"

(($# == 1)) || die "Say where to build: build.sh OUTDIR."
need_packages "${packages_guest[@]}"
mkdir -p "$1/include"
here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$1" && pwd)

# Debian keeps the kernel's drm.h in a directory of another name.
ln -sfn /usr/include/libdrm "$out/include/drm"
flags=(-std=gnu17 -D_GNU_SOURCE -O2 -g -static -pthread
	-Wall -Wextra -Wshadow -Wno-missing-field-initializers -Werror
	-isystem "$out/include" -I "$top/include/uapi" -I "$top/tests/scenarios")

# program NAME FILE...: build one program from those of the files that are C, if one of them
# all, or this file, is newer.
program() {
	local name=$1 file files=() sources=() new=''
	shift
	for file; do
		[[ $file == /* ]] || file=$here/$file
		files+=("$file")
		[[ $file != *.c ]] || sources+=("$file")
	done
	for file in "${files[@]}" "$here"/*.h "$here/build.sh" "$top"/include/uapi/drm/*.h; do
		[[ $out/$name -nt $file ]] || new=1
	done
	if [[ $new ]]; then
		gcc "${flags[@]}" -o "$out/$name.new" "${sources[@]}"
		mv "$out/$name.new" "$out/$name"
	fi
	echo "$out/$name"
}

# The scenarios are part of their program, which needs a list of them.
scenarios=("$top"/tests/scenarios/*.scn)
list=$out/include/scenarios.inc
for file in "${scenarios[@]}"; do
	printf 'SCENARIO(%s, "%s")\n' "$(basename "$file" .scn)" "$file"
done >"$list.new"
cmp -s "$list.new" "$list" || cp "$list.new" "$list"
parser=(../scenarios/{arguments,scenario,words}.c ../scenarios/{scenario,words}.h)

program demo demo.c demo_svg.c stub.c
program test_advice test_advice.c program.c memory.c ktap.c stub.c
program test_bind test_bind.c bind.c inject.c memory.c ktap.c stub.c
program test_bind_async test_bind_async.c bind.c memory.c ktap.c stub.c
program test_bind_model test_bind_model.c bind.c memory.c ktap.c stub.c
program test_bind_show test_bind_show.c userptr.c place.c show.c bind.c memory.c ktap.c stub.c
program test_bo test_bo.c bind.c memory.c ktap.c stub.c
program test_fail test_fail.c inject.c memory.c ktap.c stub.c
program test_fault test_fault.c program.c memory.c ktap.c stub.c
program test_granule test_granule.c place.c memory.c ktap.c stub.c
program test_hmmptr test_hmmptr.c userptr.c devices.c modules.c place.c bind.c memory.c ktap.c stub.c
program test_hold test_hold.c program.c memory.c ktap.c stub.c
program test_huge test_huge.c place.c memory.c ktap.c stub.c
program test_huge_storm test_huge_storm.c place.c memory.c ktap.c stub.c
program test_ioctl test_ioctl.c ktap.c stub.c
program test_kill test_kill.c ktap.c stub.c
program test_kinds test_kinds.c program.c memory.c ktap.c stub.c
program test_leak test_leak.c modules.c bind.c memory.c ktap.c stub.c
program test_migrate test_migrate.c place.c memory.c ktap.c stub.c
program test_migrate_show test_migrate_show.c show.c place.c memory.c ktap.c stub.c
program test_mm test_mm.c memory.c ktap.c stub.c
program test_others test_others.c pin.c swap.c place.c memory.c ktap.c stub.c
program test_oversub test_oversub.c times.c modules.c place.c memory.c ktap.c stub.c
program test_process test_process.c program.c memory.c ktap.c stub.c
program test_race test_race.c memory.c ktap.c stub.c
program test_report test_report.c pin.c swap.c place.c memory.c ktap.c stub.c
program test_scenario test_scenario.c test_scenario_actor.c ktap.c stub.c "${parser[@]}" \
	"${scenarios[@]}" "$list"
program test_scenario_parse test_scenario_parse.c ktap.c "${parser[@]}"
program test_storm test_storm.c program.c memory.c ktap.c stub.c
program test_svm test_svm.c memory.c ktap.c stub.c
program test_svm_show test_svm_show.c show.c program.c memory.c ktap.c stub.c
program test_timeslice test_timeslice.c place.c memory.c ktap.c stub.c
program test_two test_two.c modules.c place.c memory.c ktap.c stub.c
program test_uffd test_uffd.c uffd.c program.c memory.c ktap.c stub.c
program test_unbind test_unbind.c devices.c inject.c modules.c times.c program.c place.c memory.c \
	ktap.c stub.c
program test_unmap test_unmap.c program.c memory.c ktap.c stub.c
program test_userptr test_userptr.c userptr.c devices.c modules.c place.c bind.c memory.c ktap.c \
	stub.c
program test_userptr_kinds test_userptr_kinds.c userptr.c place.c bind.c memory.c ktap.c stub.c
program test_userptr_mm test_userptr_mm.c userptr.c uffd.c pin.c swap.c place.c bind.c memory.c \
	ktap.c stub.c
program test_userptr_race test_userptr_race.c userptr.c program.c place.c bind.c memory.c ktap.c \
	stub.c
