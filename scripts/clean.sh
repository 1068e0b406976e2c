#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# clean.sh: remove what was built from this checkout. The test kernels stay: they
# take long to build, and other checkouts use them too.

. "$(dirname "$0")/lib.sh"

rm -rf "$build" "$top/scripts/__pycache__"
[[ ! -d $(cache_dir) ]] || say "The test kernels stay in $(cache_dir); delete that directory to be rid of them."
