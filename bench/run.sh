#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# run.sh [full | once]: the VA manager, ours and the kernel's own, side by side in one process; and
# then all of it, ours and the kernel's own, side by side in one guest (bench/guest.sh). Prints
# tables of ratios and leaves all figures in build/bench/. In full it takes half an hour and has a
# million mappings as well; once says no more than that it works.

. "$(dirname "$0")/../scripts/lib.sh"

options=(--benchmark_repetitions=9 --benchmark_min_time=0.05 '--benchmark_filter=/(100|10000)$')
case ${1-} in
'') ;;
once) options=(--benchmark_min_time=0.01 '--benchmark_filter=/100$') ;;
full) options=(--benchmark_repetitions=21 --benchmark_min_time=0.1) ;;
*) sed -n 's/^# \(run.sh [^:]*\): .*/usage: \1/p' "$0" >&2; exit 2 ;;
esac

need_packages "${packages_kernel[@]}" "${packages_bench[@]}"
source=$("$top/scripts/kernel.sh" src 7.3 2>/dev/null) ||
	{ "$top/scripts/kernel.sh" config 7.3 && source=$("$top/scripts/kernel.sh" src 7.3); } ||
	die "The sources of the kernel 7.3 cannot be had; the messages above say why."

step "Building the VA managers of the kernel and of drm_svm for user space."
make -s -C "$top/bench/host" KERNEL="$source"
step "Measuring them in turn."
"$build/bench/va" "${options[@]}" --benchmark_enable_random_interleaving=true \
	--benchmark_out="$build/bench/va.json" --benchmark_out_format=json \
	>"$build/bench/va.log" 2>&1 ||
	die "The benchmark has failed; what it said is in $build/bench/va.log."
"$top/bench/ratios.py" "$build/bench/va.json" --json "$build/bench/ratios.json"
echo
"$top/bench/guest.sh" "$@"
