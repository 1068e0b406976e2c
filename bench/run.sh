#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# run.sh [full | once | build]: the VA manager and GPU SVM, ours and the kernel's own, side by side
# in one process, with the kernel's maple tree beside them; and then all of it, in one guest
# (bench/guest.sh). Prints tables of ratios, of latencies and of how costs grow; build/bench/ has
# them as tables.md, plots of them as NAME.svg, and all figures in figures.json. In full it takes
# twenty minutes and has a million mappings as well; once says no more than that it works, and
# build no more than that the programs for user space can be made.

. "$(dirname "$0")/../scripts/lib.sh"

options=(--benchmark_repetitions=9 --benchmark_min_time=0.02)
mappings='/(100|1000|10000|100000)(/|$)'
ranges='/(512|4096|16384|131072)(/|$)'
# Mappings, and how often.
latency=(100 25 10000 25)
case ${1-} in
'' | build) ;;
once)
	options=(--benchmark_min_time=0.01)
	mappings='/(100|1000)(/|$)' ranges='/(512|4096)(/|$)' latency=(100 1)
	;;
full)
	options=(--benchmark_repetitions=9 --benchmark_min_time=0.05)
	mappings=. ranges=. latency=(100 25 10000 25 1000000 7)
	;;
*) sed -n 's/^# \(run.sh [^:]*\): .*/usage: \1/p' "$0" >&2; exit 2 ;;
esac
out=$build/bench

# ratios NAME WHAT: a table of what NAME.json has; WHAT is what the numbers in it are of.
ratios() {
	"$top/bench/ratios.py" "$out/$1.json" --size "$2" --json "$out/$1-ratios.json"
	echo
}

# compare PROGRAM FILTER WHAT: measure, and print that table.
compare() {
	"$out/$1" "${options[@]}" --benchmark_filter="$2" \
		--benchmark_enable_random_interleaving=true \
		--benchmark_out="$out/$1.json" --benchmark_out_format=json \
		>"$out/$1.log" 2>&1 ||
		die "The benchmark has failed; what it said is in $out/$1.log."
	ratios "$1" "$3"
}

# draw NAME UNIT WHAT [OPTION...]: plots of what NAME.json has, and a table.
draw() {
	"$top/bench/plot.py" "$out/$1.json" "$out/$1.svg" --unit "$2" --size "$3" \
		--json "$out/$1-growth.json" "${@:4}"
	echo
}

need_packages "${packages_kernel[@]}" "${packages_bench[@]}"
source=$("$top/scripts/kernel.sh" src 7.3 2>/dev/null) ||
	{ "$top/scripts/kernel.sh" config 7.3 && source=$("$top/scripts/kernel.sh" src 7.3); } ||
	die "The sources of the kernel 7.3 cannot be had; the messages above say why."

step "Building the VA managers of the kernel and of drm_svm, and the maple tree, for user space."
make -s -C "$top/bench/host" KERNEL="$source"
step "Building GPU SVM of both."
make -s -f "$top/bench/host/svm.mk" KERNEL="$source"
[[ ${1-} != build ]] || exit 0
# Figures of another run are none of this one.
rm -f "$out"/{va,svm,latency,guest-count,guest-time,outside}{,-ratios,-growth}.json "$out"/*.svg
{
	step "Measuring them in turn."
	compare va "$mappings" mappings
	draw va ns mappings --floor touch
	compare svm "$ranges" ranges
	draw svm ns ranges --floor svm_touch
	"$out/latency" "$out/latency.json" "${latency[@]}"
	echo "Single operations of the VA managers, with what the clock takes, the same for both:"
	echo
	ratios latency mappings
	"$top/bench/guest.sh" "$@"
	echo
	draw guest-count instructions size
	[[ ! -e $out/guest-time.json ]] || draw guest-time ns size
} | tee "$out/tables.md"
"$top/bench/figures.py" "$out" "${source##*_}"
