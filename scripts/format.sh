#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# format.sh [--check]: lay out the C++ files as .clang-format says; with --check,
# only say which would change. The C files follow the kernel's style, which
# checkpatch judges better than clang-format.

. "$(dirname "$0")/lib.sh"

need_packages clang-format
cd "$top"
[[ -e .clang-format ]] || die "There is no .clang-format, so there is no layout to apply."

directories=()
for directory in src/core src/abi kunit/cases tests/host bench/host; do
	[[ ! -d $directory ]] || directories+=("$directory")
done
mode=(-i)
[[ ${1-} != --check ]] || mode=(--dry-run -Werror)
find "${directories[@]}" \( -name '*.cc' -o -name '*.h' \) -print0 |
	xargs -0r clang-format "${mode[@]}"
