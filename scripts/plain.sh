#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# plain.sh [--strict]: the guest's tests against one driver, written for mainline's API alone, over
# the kernel's own modules and over ours, both loaded in one boot of 7.3 (tests/plain). Prints TAP:
# what passes over the kernel's has to pass over ours, in the second of two runs at the latest, as
# some tests are of races; what does not is on the list of what is beyond mainline,
# tests/plain/beyond.txt, which with --strict has to be right to a case. About five minutes.

. "$(dirname "$0")/lib.sh"

need_packages "${packages_modules[@]}" "${packages_guest[@]}" "${packages_qemu[@]}"
list=$top/tests/plain/beyond.txt
counts=$top/tests/guest/programs.txt
run=$build/run/plain

prepare_guest 7.3
"$top/tests/plain/build.sh" "$("$top/scripts/kernel.sh" dir 7.3)" "$build/7.3" "$build/plain"

programs=$("$top/scripts/plain.py" --run "$list" "$counts")
# Some tests run the demo.
options=(--program "$list" --program "$build/guest/demo")
for program in $programs; do
	options+=(--program "$build/guest/$program" --require "drm_svm_plain_stub/$program"
		--require "drm_svm_plain_stub_kernel/$program")
done

# compare ARGUMENT...: run the tests over both, and judge. The arguments are for plain.py.
compare() {
	rm -rf "$run"
	"$top/scripts/qemu.py" 7.3 job-plain --dir "$run" --module-dir "$build/plain/modules" \
		--module drm_svm_plain_stub_kernel --module drm_svm_plain_stub "${options[@]}" \
		--timeout 1500 >&2 ||
		die "The guest did not come to its end; the logs are in $run."
	"$top/scripts/plain.py" "$@" "$list" "$counts" \
		"$run/files/drm_svm_plain_stub_kernel" "$run/files/drm_svm_plain_stub"
}

step "Testing the plain stub over the kernel's own modules and over drm_svm."
if verdict=$(compare "$@"); then
	echo "$verdict"
	exit
fi
grep '^not ok' <<<"$verdict" >&2 || true
step "That once more."
compare "$@"
