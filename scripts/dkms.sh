#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# dkms.sh add: give DKMS the sources, in /usr/src/drm_svm-VERSION. `dkms add`
# on a checkout would copy its build directories too.
# dkms.sh install: that, and build and install the modules for the running kernel.
# dkms.sh remove: take drm_svm out of DKMS, with its modules and its sources.
# dkms.sh version: print the version, which is written in dkms.conf.

. "$(dirname "$0")/lib.sh"

version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"$/\1/p' "$top/dkms.conf")
sources=/usr/src/drm_svm-$version

add() {
	[[ ! -e $sources ]] || die "$sources is already there; run scripts/dkms.sh remove first."
	mkdir "$sources"
	"$top/scripts/sources.sh" | tar -C "$top" -c -T - | tar -C "$sources" -x --no-same-owner
	dkms add "drm_svm/$version"
}

case ${1:-} in
add)
	add
	;;
install)
	add
	dkms install "drm_svm/$version"
	;;
remove)
	dkms remove "drm_svm/$version" --all
	rm -rf "$sources"
	;;
version)
	echo "$version"
	;;
*)
	sed -n 's/^# \(dkms.sh .*\)/\1/p' "$0" >&2
	exit 2
	;;
esac
