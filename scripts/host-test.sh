#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# host-test.sh [RUNNER_ARGUMENT...]: build the cases of kunit/ for user space and run
# them under ASan and UBSan; look for races on the simulated machine
# (tests/host/simmm); compile the core under clang's analyses. Prints KTAP; exits 1 if
# anything failed or nothing ran. With arguments only the cases are run; they go to the
# runner (tests/host/main.cc): --seed N, --effort PERCENT, filters.

. "$(dirname "$0")/lib.sh"

need_packages g++ clang make

host=$build/host
mkdir -p "$host"

# builds TARGET: make it, the output to a log; the log's end as comments if it fails.
builds() {
	local status=0
	make -s -C "$top/tests/host" -j"$(nproc)" -k "$1" >"$host/$1.log" 2>&1 || status=1
	((status == 0)) || grep -E 'error|warning|Error' "$host/$1.log" | head -n 40 | sed 's/^/# /'
	return $status
}

number=0
failed=0

# result NAME STATUS: one line of the top level.
result() {
	number=$((number + 1))
	if (($2 == 0)); then
		echo "ok $number $1"
	else
		echo "not ok $number $1"
		failed=1
	fi
}

# compiles NAME TARGET
compiles() {
	local status=0
	builds "$2" || status=1
	result "$1" $status
}

# runs NAME TARGET RUNNER ARGUMENT...: the runner's plan becomes one subtest.
runs() {
	local name=$1 target=$2 runner=$3 status=0
	shift 3
	if builds "$target"; then
		"$runner" "$@" | sed 's/^/    /' || status=1
	else
		status=1
	fi
	result "$name" $status
}

# builds_and_runs NAME TARGET COMMAND...: a program that is one result.
builds_and_runs() {
	local name=$1 target=$2 status=0
	shift 2
	builds "$target" && "$@" 2>&1 | sed 's/^\([^#]\)/# \1/' || status=1
	result "$name" $status
}

step "Building and running the cases on the host."
echo "KTAP version 1"
# Who asks for certain cases wants these.
echo "1..$(($# ? 2 : 11))"
runs host_sanitized cases "$host/cases" "$@"
runs host_plain plain "$host/plain/cases" "$@"
(($# == 0)) || exit "$failed"
builds_and_runs host_fuzz_smoke smoke "$host/fuzz_va" --runs 3000
runs sim_selftest sim_sanitized "$host/sim_sanitized" --selftest
runs sim_contracts sim_sanitized "$host/sim_sanitized" --contracts
runs sim_scenarios sim "$host/sim" --scenarios "$top/tests/scenarios" --runs 50
runs sim_seeds sim_sanitized "$host/sim_sanitized" --corpus "$top/tests/host/simmm/seeds"
builds_and_runs sim_races_sanitized sim_sanitized "$host/sim_sanitized" --runs 6000 --jobs "$(nproc)"
builds_and_runs sim_races sim "$host/sim" --runs 40000 --jobs "$(nproc)"
compiles clang_thread_safety clang
compiles core_headers_self_contained self_contained
exit "$failed"
