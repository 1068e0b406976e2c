#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# fuzz.sh [SECONDS] [LIBFUZZER_ARGUMENT...]: run the fuzz target of the GPU VA manager
# (tests/host/fuzz_va.cc) under libFuzzer for so long, a minute if nothing is said. What
# it has learnt is kept in build/fuzz/va and is where the next run begins; an input that
# fails is left in build/fuzz. To see one again: build/host/fuzz/fuzz_va FILE.

. "$(dirname "$0")/lib.sh"

need_packages clang make
seconds=${1:-60}
[[ $seconds =~ ^[0-9]+$ ]] || die "Say for how many seconds to run, as the top of $0 describes."
(($# == 0)) || shift

# Debian has the run time of each clang in a package of its own.
echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char *, unsigned long) { return 0; }' |
	clang++ -fsanitize=fuzzer -xc++ - -o /dev/null 2>/dev/null ||
	die "This clang++ has no libFuzzer; install the package libclang-rt-N-dev of its version N."

corpus=$build/fuzz/va
mkdir -p "$corpus"
step "Building the fuzz target."
make -s -C "$top/tests/host" -j"$(nproc)" fuzz
step "Fuzzing for $seconds seconds."
"$build/host/fuzz/fuzz_va" -max_total_time="$seconds" -max_len=2048 -print_final_stats=1 \
	-artifact_prefix="$build/fuzz/" "$@" "$corpus"
