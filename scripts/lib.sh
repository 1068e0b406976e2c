# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Helpers that the scripts of this directory share. Sourced, never run.
#
# Standard output belongs to results (a path, a TAP stream, the last line of
# `make test`), so everything a person reads about progress goes to standard
# error.

set -euo pipefail

# The top of the source tree; scripts may be called from anywhere.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this file
build=$top/build

# DRM_SVM_START keeps one clock for a script and the scripts it calls.
export DRM_SVM_START=${DRM_SVM_START:-$(date +%s)}

elapsed() {
	local s=$(($(date +%s) - DRM_SVM_START))
	printf '%d:%02d' $((s / 60)) $((s % 60))
}

# say SENTENCE: something the reader may want to know.
say() {
	printf '%s\n' "$*" >&2
}

# step SENTENCE: what starts now, with the time since the first script started.
step() {
	printf '[%6s] %s\n' "$(elapsed)" "$*" >&2
}

# die SENTENCE: say what went wrong and what to do about it, and stop.
die() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# cache_dir: where kernels are kept between runs. Outside the checkout, so that
# a clean checkout does not compile four kernels again.
cache_dir() {
	printf '%s\n' "${DRM_SVM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/drm_svm}"
}

# need_packages PACKAGE...: install the Debian packages that are missing.
# Each script asks only for what it is about to use.
need_packages() {
	local missing=() package as_root=()

	command -v dpkg-query >/dev/null ||
		die "This is not a Debian system; install what these Debian packages hold and put a dpkg-query on the PATH that knows them: $*."
	for package; do
		[[ " ${missing[*]-} " == *" $package "* ]] ||
			[[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
			missing+=("$package")
	done
	((${#missing[@]})) || return 0

	if ((EUID != 0)); then
		command -v sudo >/dev/null ||
			die "These packages are missing, and neither root nor sudo is there to install them: ${missing[*]}."
		as_root=(sudo)
	fi
	step "Installing the missing packages: ${missing[*]}."
	# The package lists may be missing (a fresh container) or too old to name a
	# version the mirror still has, so a failure is answered by one update.
	apt_install "${missing[@]}" ||
		{ "${as_root[@]}" apt-get -q update >&2 && apt_install "${missing[@]}"; } ||
		die "apt-get could not install: ${missing[*]}. Its messages are above."
}

# Helper of need_packages(); uses its as_root.
apt_install() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get -q install -y --no-install-recommends "$@" >&2
}

# What each kind of work needs.
# shellcheck disable=SC2034 # used by the scripts that source this file
{
	packages_modules=(build-essential libelf-dev kmod)
	packages_kernel=("${packages_modules[@]}" flex bison bc libssl-dev xz-utils
		cpio python3 debian-archive-keyring)
	packages_qemu=(qemu-system-x86 busybox-static cpio kmod python3)
	packages_host=(build-essential clang)
	packages_guest=(build-essential linux-libc-dev libdrm-dev)
	packages_bench=(build-essential gnuplot-nox libbenchmark-dev python3)
}

# prepare_guest FLAVOUR: all that a guest of this kernel boots with: the kernel,
# the modules in build/FLAVOUR, the test programs in build/guest.
prepare_guest() {
	local kernel
	need_packages "${packages_modules[@]}" "${packages_guest[@]}" "${packages_qemu[@]}"
	"$top/scripts/kernel.sh" build "$1"
	kernel=$("$top/scripts/kernel.sh" dir "$1")
	"$top/scripts/build.sh" "$kernel" "$build/$1"
	"$top/tests/guest/build.sh" "$build/guest" >/dev/null
}
