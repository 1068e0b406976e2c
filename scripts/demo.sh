#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# demo.sh [-v] [FLAVOUR]: set everything up, boot a kernel in QEMU, and show
# memory shared between a process and the stub GPU. The picture it draws ends up
# in build/. With -v the kernel's log is shown too.

. "$(dirname "$0")/lib.sh"

show=story
if [[ ${1-} == -v ]]; then
	show=all
	shift
fi
flavour=${1:-7.3}
run=$build/run/$flavour-demo

prepare_guest "$flavour"
"$top/scripts/qemu.py" "$flavour" job-demo --dir "$run" --show "$show" --timeout 600 \
	--module drm_svm_stub --program "$build/guest/demo" --require demo ||
	die "The demo failed; the sentences above say why, and all logs are in $run."

pictures=$(find "$run/files" -name '*.svg')
[[ $pictures ]] || die "The demo left no picture; its output is $run/job.log."
say "The kernel's log is $run/console.log. The picture is:"
while IFS= read -r picture; do
	cp "$picture" "$build/"
	echo "$build/${picture##*/}"
done <<<"$pictures"
