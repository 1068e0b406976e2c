#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# shell.sh [FLAVOUR]: boot a test kernel with the modules loaded, and give a
# prompt in it. All test programs are there.

. "$(dirname "$0")/lib.sh"

flavour=${1:-7.3}
prepare_guest "$flavour"

options=()
while IFS= read -r program; do
	options+=(--program "$program")
done < <("$top/tests/guest/build.sh" "$build/guest")
say "Leave the guest with 'exit'; Ctrl-A X stops it at any time."
exec "$top/scripts/qemu.py" "$flavour" job-shell --module drm_svm_stub "${options[@]}"
