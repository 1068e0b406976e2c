# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Helpers of the guest's jobs.

# report NAME COMMAND...: run a command that prints KTAP, between markers, so
# that scripts/qemu.py knows whose results they are and that they are all there.
report() {
	name=$1
	shift
	echo "@@ begin $name"
	"$@" </dev/null
	status=$?
	# The marker has to start a line, even after output without a last newline.
	echo
	echo "@@ end $name $status"
}

# leak_scan: let kmemleak look, where the kernel has it. It reports an object
# only when it is some seconds old and a second scan still finds no pointer to
# it; the report in the kernel log fails the run.
leak_scan() {
	[ -e /sys/kernel/debug/kmemleak ] || return 0
	sleep 6
	echo scan >/sys/kernel/debug/kmemleak
	echo scan >/sys/kernel/debug/kmemleak
	cat /sys/kernel/debug/kmemleak
}
