#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# bench.sh [ARGUMENT...]: build and run the benchmarks in bench/.

. "$(dirname "$0")/lib.sh"

[[ -e $top/bench/run.sh ]] || die "There are no benchmarks yet: the folder bench/ has none."
exec "$top/bench/run.sh" "$@"
