#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# build.sh [KDIR [OUTDIR [MAKE_ARGUMENT...]]]: build the modules for the kernel
# whose build directory or headers are in KDIR (default: the running kernel), in
# OUTDIR (default: build/RELEASE). Any warning of the compiler, objtool, modpost
# or pahole is a failure. The log is OUTDIR/build.log.
#
# OUTDIR holds symbolic links to the sources, because Kbuild writes objects
# beside them and 6.1 and 6.12 know no other place: so one checkout serves
# several kernels, and make still sees every change of a source.

. "$(dirname "$0")/lib.sh"

kdir=${1:-/lib/modules/$(uname -r)/build}
[[ -e $kdir/Makefile ]] ||
	die "There are no kernel headers in $kdir; on Debian and Ubuntu install the package linux-headers-$(uname -r)."
[[ -e $kdir/Module.symvers ]] ||
	die "The kernel in $kdir is configured but not built (it has no Module.symvers); build it first."
kdir=$(realpath "$kdir")
# Not `make kernelrelease`, which on Debian's headers says 6.1.192.
release=$(sed -n 's/^#define UTS_RELEASE "\(.*\)"$/\1/p' "$kdir/include/generated/utsrelease.h")
out=$(realpath -m "${2:-$build/$release}")
shift $(($# < 2 ? $# : 2))
[[ $out != *[[:space:]:]* ]] ||
	die "Kbuild cannot build in $out, because the path has a space or a colon."

# link_sources: make the links in $out exactly those of the present sources.
link_sources() {
	local file
	find "$out" -type l \( -xtype l -o ! -lname "$top/*" \) -delete
	"$top/scripts/sources.sh" | while IFS= read -r file; do
		[[ -L $out/$file ]] && continue
		mkdir -p "$(dirname "$out/$file")"
		ln -s "$top/$file" "$out/$file"
	done
}

kmake() {
	make -C "$kdir" M="$out" "$@"
}

# A tool warns once, when it makes its output; the next make would find that
# output and keep silent. So what a build leaves counts only if the build came
# to its end without a warning, and the next run starts afresh otherwise.
mkdir -p "$out"
unproven=$out/.unproven
log=$out/build.log
link_sources
if [[ -e $unproven ]]; then
	say "The last build in $out warned or was interrupted; building everything again."
	kmake clean >"$log" 2>&1 || die "make clean failed; see $log."
fi
touch "$unproven"
printf '%s\n' "$kdir" >"$out/.kdir"

step "Building the modules for $kdir."
status=0
kmake -j"$(nproc)" "$@" modules 2>&1 | tee "$log" |
	{ grep -v 'ing directory' || true; } >&2 || status=$?

warned=$(grep -wiE 'warning|pahole' "$log" || true)
[[ $warned ]] || rm "$unproven"

# Kbuild's own $(error) sentences say what is missing and what to do.
reason=$(sed -nE 's/.*[*]{3} (drm_svm.*)\.  Stop\.$/\1/p' "$log" | head -n1)
[[ ! $reason ]] || die "$reason."
((status == 0)) || die "The build failed; the log is $log."
[[ ! $warned ]] ||
	die "The build warned, and warnings are errors here; the log is $log, and it starts with: ${warned%%$'\n'*}"
step "Built $(cd "$out" && echo drm_svm*.ko) in $out."
