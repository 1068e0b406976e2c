#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Run tests, and end with one line: `N passed, N failed`.
#
#   test.sh test                    checks, host tests, and kernel 7.3
#   test.sh more [--deadline TIME]  the other kernels, the debug kernels, DKMS;
#                                   counts the results of `test` as well
#   test.sh all [--deadline TIME]   both
#
# With --deadline (seconds since 1970), a stage of `more` that would not end before
# it is skipped with a sentence, and no stage of any kind runs for more than 20
# minutes beyond it. DRM_SVM_DEADLINE in the environment means the same.
#
# Each stage writes build/results/STAGE.json, and the last line is their sum. A
# stage without a single test is a failure.

. "$(dirname "$0")/lib.sh"

results=$build/results
deadline=${DRM_SVM_DEADLINE:-}
running=

# Times in seconds: after the limit a stage has failed. Five times what a slow
# machine needs, so that a limit is hit by what hangs and not by what is slow.
limit_short=900
limit_kernel=2700
limit_guest=1800
limit_debug=3600

# limited SECONDS COMMAND...: run a command for at most this time. It runs in the
# background, because bash would not look at a signal before it ends.
limited() {
	local limit=$1 left
	shift
	if [[ $deadline ]]; then
		# Even a stage that hangs must leave time to report the others.
		left=$((deadline + 1200 - $(date +%s)))
		((limit < left)) || limit=$((left > 10 ? left : 10))
	fi
	timeout -k 10 "$limit" "$@" </dev/null &
	running=$!
	wait "$running"
}

# record STAGE STATUS [FILE]: count a TAP stream and the status of its program.
record() {
	"$top/scripts/ktap.py" read --name "$1" --status "$2" --json "$results/$1.json" "${3:--}" || true
}

# tap STAGE SECONDS COMMAND...: a stage that prints KTAP or TAP.
tap() {
	local stage=$1 limit=$2 status=0
	shift 2
	limited "$limit" "$@" >"$results/$stage.tap" || status=$?
	record "$stage" "$status" "$results/$stage.tap"
	say "$stage: $(grep -cE '^ *ok ' "$results/$stage.tap" || true) results."
}

# single STAGE WHAT SECONDS COMMAND...: a stage that is one case.
single() {
	local stage=$1 what=$2 limit=$3 word=ok
	shift 3
	limited "$limit" "$@" >&2 || word='not ok'
	record "$stage" 0 <<<"TAP version 13"$'\n'"1..1"$'\n'"$word 1 - $what"
	[[ $word == ok ]]
}

# need STAGE WHAT SECONDS COMMAND...: a step without a result of its own unless
# it fails.
need() {
	single "$@" || return
	rm "$results/$1.json"
}

# fits MINUTES WHAT: whether it ends before the deadline.
fits() {
	local left
	[[ $deadline ]] || return 0
	left=$(((deadline - $(date +%s)) / 60))
	(($1 > left)) || return 0
	step "Skipping $2: it takes about $1 minutes, and $((left > 0 ? left : 0)) are left."
	return 1
}

# kernel_minutes FLAVOUR MINUTES: what building it costs now.
kernel_minutes() {
	if "$top/scripts/kernel.sh" built "$1"; then
		echo 0
	else
		echo "$2"
	fi
}

# modules FLAVOUR: the kernel and the modules for it.
modules() {
	need "kernel-$1" "the kernel builds" "$limit_kernel" "$top/scripts/kernel.sh" build "$1" &&
		single "modules-$1" "the modules build without a warning" "$limit_short" \
			"$top/scripts/build.sh" "$("$top/scripts/kernel.sh" dir "$1")" "$build/$1"
}

programs() {
	need programs "the guest's programs build" "$limit_short" "$top/tests/guest/build.sh" "$build/guest"
}

# expected_cases: how many cases each KUnit suite has, from the list that makes
# the suites; so a case that was lost on the way to the guest is missed.
expected_cases() {
	cpp -P -D'DSVM_SUITE_BEGIN(suite)=' -D'DSVM_SUITE_END(suite)=' \
		-D'DSVM_X(suite, name)=kunit/dsvm_##suite' "$top/kunit/cases.def" |
		awk 'NF { count[$1]++ } END { for (suite in count) print suite, count[suite] }'
}

# c_suites FLAVOUR: the KUnit suites that are written in C, each a line of
# kunit/NAME_kunit.c. What is about drm_exec is there where the kernel has that.
c_suites() {
	local config
	config=$("$top/scripts/kernel.sh" dir "$1")/.config
	sed -n 's/^\t[.]name = "\(dsvm_.*\)",$/\1/p' "$top"/kunit/*_kunit.c |
		if grep -q '^CONFIG_DRM_EXEC=' "$config"; then cat; else grep -v _exec; fi
}

# program_options: set options to what qemu.py needs to know of the test programs.
program_options() {
	local program programs
	# They are built already; it prints what they are.
	mapfile -t programs < <("$top/tests/guest/build.sh" "$build/guest")
	options=(--module drm_svm --module drm_svm_stub --require guest/)
	for program in "${programs[@]}"; do
		options+=(--program "$program")
		# The demo is there because some tests run it.
		[[ ${program##*/} == demo ]] || options+=(--require "guest/${program##*/}")
	done
}

# guest FLAVOUR SECONDS [OPTION...]: KUnit and guest tests.
guest() {
	local flavour=$1 limit=$2 options suite
	shift 2
	program_options
	expected_cases | cat - "$top/tests/guest/programs.txt" >"$build/expected"
	options+=(--module drm_svm_kunit --require kunit/ --expect "$build/expected")
	for suite in $(c_suites "$flavour"); do
		options+=(--require "kunit/$suite")
	done
	step "Testing in a guest with the kernel $flavour."
	qemu "guest-$flavour" "$limit" "$flavour" job-test "${options[@]}" "$@"
}

# soak: what finds more the longer it runs: more memory than VRAM, and a device that is
# taken away again and again.
soak() {
	local names='test_oversub test_unbind' name options=(--module drm_svm --module drm_svm_stub)
	for name in $names; do
		options+=(--program "$build/guest/$name" --require "guest/$name")
		grep "^guest/$name " "$top/tests/guest/programs.txt"
	done >"$build/expected-soak"
	step "Testing in a guest with the kernel 7.3 for a quarter of an hour."
	qemu soak-7.3 "$limit_guest" 7.3 job-test --dir "$build/run/7.3-soak" "${options[@]}" \
		--expect "$build/expected-soak" --append DRM_SVM_SECONDS=300
}

# stock: the guest tests on this Debian's own kernel, which has no KUnit and, in
# Debian 12, no device-private memory.
stock() {
	local stock options
	mapfile -t stock < <("$top/scripts/stock-kernel.sh")
	single modules-stock "the modules build without a warning" "$limit_short" \
		"$top/scripts/build.sh" "${stock[1]-}" "$build/stock" || return 0
	program_options
	step "Testing in a guest with Debian's own kernel."
	qemu guest-stock "$limit_guest" "${stock[0]}" job-test --dir "$build/run/stock-test" \
		--module-dir "$build/stock" "${options[@]}" --expect "$top/tests/guest/programs.txt"
}

demo() {
	step "Running the demo with the kernel $1."
	qemu "demo-$1" "$limit_guest" "$1" job-demo \
		--module drm_svm_stub --program "$build/guest/demo" --require demo
}

# qemu STAGE SECONDS ARGUMENT...
qemu() {
	local stage=$1 limit=$2
	shift 2
	rm -f "$results/$stage.json"
	limited $((limit + 60)) "$top/scripts/qemu.py" "$@" --timeout "$limit" --result "$results/$stage.json" ||
		[[ -e $results/$stage.json ]] ||
		record "$stage" 1 </dev/null
}

# install_packages: at once and at the beginning, because sudo may ask for a
# password, and the stages have no terminal.
install_packages() {
	need_packages "${packages_kernel[@]}" "${packages_modules[@]}" "${packages_guest[@]}" \
		"${packages_qemu[@]}" "${packages_host[@]}" "${packages_bench[@]}"
}

run_test() {
	local built=
	rm -rf "$results"
	mkdir -p "$results"
	install_packages
	step "Testing the scripts."
	tap scripts "$limit_short" "$top/scripts/selftest.py"
	step "Testing the core on the host."
	tap host "$limit_guest" "$top/scripts/host-test.sh"
	# The checks look at the modules too.
	modules 7.3 && built=1
	step "Checking the sources and the modules."
	tap check "$limit_short" "$top/scripts/check.sh" "$build/7.3"
	tap check-itself "$limit_short" "$top/scripts/test_check.sh" "$build/7.3"
	# They stand for the kernel under the shims, so that a new call in a shim can be one too many.
	single bench-host "what is measured in user space builds" "$limit_short" \
		"$top/bench/run.sh" build || true
	step "Compiling mainline's users of the GPU VA manager."
	tap dropin "$limit_guest" "$top/scripts/dropin.sh" "$build/7.3"
	if programs && [[ $built ]]; then
		guest 7.3 "$limit_guest"
	fi
}

run_more() {
	local flavour
	mkdir -p "$results"
	install_packages
	step "Ten million random operations on a GPU's address space."
	tap host-random "$limit_short" "$top/scripts/host-test.sh" --effort 10000 va_random
	step "A million schedules on the simulated machine."
	if need host-sim "the simulation builds" "$limit_short" make -s -C "$top/tests/host" sim; then
		single host-races "no schedule of a million breaks a rule" "$limit_guest" \
			"$build/host/sim" --runs 1000000 --jobs "$(nproc)" || true
	fi
	step "Comparing with the kernel's own VA manager and GPU SVM, once."
	single bench "both of each do the same, and are measured" "$limit_short" \
		"$top/bench/run.sh" once || true
	programs || return 0
	if modules 7.3; then
		demo 7.3
		tap dropin-itself "$limit_guest" "$top/scripts/test_dropin.sh" "$build/7.3"
	fi
	for flavour in 6.12 6.1; do
		fits $(($(kernel_minutes "$flavour" 9) + 4)) "the kernel $flavour" || continue
		if modules "$flavour"; then
			guest "$flavour" "$limit_guest"
			demo "$flavour"
		fi
	done
	if fits 7 "the guest's tests over the kernel's own library"; then
		step "Testing one driver over the kernel's own library and over ours."
		tap plain "$limit_guest" "$top/scripts/plain.sh"
	fi
	# A swap device, groups with limits, allocations that fail.
	if fits $(($(kernel_minutes 7.3-memory 9) + 6)) "the kernel 7.3-memory" && modules 7.3-memory; then
		guest 7.3-memory "$limit_guest"
	fi
	if fits 17 "the long tests"; then
		soak
	fi
	if fits 30 "the mutation check"; then
		step "Planting faults in the core, one at a time."
		tap mutate "$limit_kernel" "$top/scripts/mutate"
	fi
	if fits 5 "Debian's own kernel"; then
		stock
	fi
	if fits 15 "the DKMS test"; then
		step "Installing with DKMS."
		tap dkms "$limit_kernel" "$top/scripts/dkms-test.sh"
	fi
	# The one that looks for data races, and the one with all other checkers.
	for flavour in 7.3-kcsan 7.3-debug; do
		fits $(($(kernel_minutes "$flavour" 25) + 25)) "the kernel $flavour" || continue
		if modules "$flavour"; then
			guest "$flavour" "$limit_debug" --memory 3G
		fi
	done
}

# finish: the last line, whatever happened.
finish() {
	local status=$?
	trap - EXIT
	if ((status)); then
		mkdir -p "$results"
		record stopped 0 <<<"1..1"$'\n'"not ok 1 - test.sh came to its end"
	fi
	"$top/scripts/ktap.py" sum "$results"/*.json
	exit
}

what=${1-}
[[ ${2-} != --deadline ]] || deadline=${3:?a time in seconds since 1970}
[[ $what =~ ^(test|more|all)$ ]] || die "Say what to test: test, more or all; the top of $0 describes them."
trap finish EXIT
trap 'kill "$running" 2>/dev/null; exit 130' INT TERM
[[ $what == more ]] || run_test
[[ $what == test ]] || run_more
