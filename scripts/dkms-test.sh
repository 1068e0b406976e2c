#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# dkms-test.sh: DKMS adds, builds, installs and removes the modules for Debian's
# stock kernel; nothing is loaded. Prints TAP. Installs dkms and the kernel's
# headers if they are missing, and leaves the rest of the machine as it was.

# shellcheck disable=SC2317 # functions are called by name
. "$(dirname "$0")/lib.sh"

((EUID == 0)) || die "DKMS writes below /usr/src, /var/lib/dkms and /lib/modules; run this as root."
need_packages linux-headers-amd64 dkms kmod "${packages_modules[@]}"

version=$("$top/scripts/dkms.sh" version)
module=drm_svm/$version
release=$(dpkg-query -W -f '${Depends}' linux-headers-amd64 | sed -nE 's/^linux-headers-([^ ,]+).*/\1/p')
[[ $release ]] || die "The package linux-headers-amd64 does not say which headers it stands for."
[[ ! $(dkms status drm_svm) && ! -e /usr/src/drm_svm-$version ]] ||
	die "DKMS already has drm_svm on this machine, and this test would remove it; run scripts/dkms.sh remove first."

number=0
failed=0
work=$(mktemp -d)

# What DKMS and depmod may write: modules, their indices, a signing key. Nothing
# else is looked at, so what others install meanwhile is safe from clean_up().
places() {
	{
		find /usr/src -path "/usr/src/drm_svm-*"
		find /var/lib/dkms -path '*/drm_svm*' -o -name 'mok.*'
		find "/lib/modules/$release" -name 'drm_svm*' -o -name 'modules.*' -o -type d -path '*/updates*'
	} | sort
}

clean_up() {
	"$top/scripts/dkms.sh" remove >/dev/null 2>&1 || true
	places | comm -13 "$work/before" - | sort -r | xargs -r -d '\n' rm -df || true
}
places >"$work/before"
trap 'clean_up; rm -rf "$work"' EXIT

# try NAME COMMAND...: one test; what the command printed explains a failure.
try() {
	number=$((number + 1))
	if "${@:2}" >"$work/output" 2>&1; then
		echo "ok $number - $1"
	else
		failed=1
		echo "not ok $number - $1"
		sed 's/^/# /' "$work/output"
	fi
}

no_compiler() {
	if MAKEFLAGS=CC=gcc-none dkms build "$module" -k "$release" >"$work/none" 2>&1 ||
		! grep -qx 'drm_svm needs g++-none, .*: install the package g++-none[.]' "$work/none"; then
		cat "$work/none"
		return 1
	fi
}

no_warnings() {
	local log=(/var/lib/dkms/"$module/$release"/*/log/make.log)
	[[ -s ${log[0]} ]] && ! grep -wi warning "${log[0]}"
}

# built MODULE: modprobe would find it, made for this kernel from this version.
built() {
	local vermagic found
	vermagic=$(modinfo -k "$release" -F vermagic "$1")
	found=$(modinfo -k "$release" -F version "$1")
	echo "vermagic '$vermagic', version '$found'"
	[[ $vermagic == "$release "* && $found == "$version" ]]
}

stub_needs_library() {
	modprobe -S "$release" --show-depends drm_svm_stub | grep '/drm_svm[.]ko'
}

nothing_left() {
	clean_up
	places | diff "$work/before" -
}

echo "TAP version 13"
try "dkms add" "$top/scripts/dkms.sh" add
try "a missing C++ compiler is one sentence" no_compiler
try "dkms build for $release" dkms build "$module" -k "$release"
try "the build did not warn" no_warnings
try "dkms install" dkms install "$module" -k "$release"
try "modprobe finds drm_svm $version" built drm_svm
try "modprobe finds drm_svm_stub $version" built drm_svm_stub
try "drm_svm_stub loads drm_svm" stub_needs_library
try "dkms remove" "$top/scripts/dkms.sh" remove
try "nothing is left behind" nothing_left
echo "1..$number"
exit "$failed"
