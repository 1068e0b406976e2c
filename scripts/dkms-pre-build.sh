#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# dkms-pre-build.sh KDIR: DKMS sends make's output to a log file and tells the
# user where that is. What Kbuild itself refuses to build on (no C++ compiler,
# a kernel without HMM) is worth saying on the terminal; a dry run asks it.
set -uo pipefail

cd "$(dirname "$0")/.." || exit
reason=$(make -n -C "$1" M="$PWD" modules 2>&1 |
	sed -nE 's/.*[*]{3} (drm_svm.*)\.  Stop\.$/\1/p' | head -n1)
[[ ! $reason ]] || { printf '%s.\n' "$reason" >&2; exit 1; }
