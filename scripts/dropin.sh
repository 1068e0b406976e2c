#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# dropin.sh [-f FILES] [-i INCLUDE] [-o OUT] [BUILD]: compile mainline's users of
# the GPU VA manager, GPU SVM and the page map, unmodified, with our headers in the
# place of the kernel's, and look whether all that they need is there. Prints TAP;
# exits 1 if anything is missing. scripts/test_dropin.sh proves that it can fail.
#
#   -f    the list of users (default: scripts/dropin/files.txt)
#   -i    the headers (default: include)
#   -o    where to compile (default: build/dropin)
#
# BUILD (default: build/7.3) is what scripts/build.sh made, for the kernel whose
# drivers they are: its Module.symvers says what drm_svm.ko exports.
#
# Each user is one result. It has to compile without a warning; what it includes
# of the names in INCLUDE/drm has to be ours; and each symbol of these three that it
# leaves undefined has to be one that drm_svm.ko exports, since a name of the
# kernel's would bind the driver to the kernel's own modules.

. "$(dirname "$0")/lib.sh"

files=$top/scripts/dropin/files.txt
include=$top/include
out=$build/dropin
while getopts f:i:o: option; do
	case $option in
	f) files=$(realpath "$OPTARG") ;;
	i) include=$(realpath "$OPTARG") ;;
	o) out=$(realpath -m "$OPTARG") ;;
	*) sed -n 's/^# \(dropin.sh .*\)/usage: \1/p' "$0" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
modules=$(realpath -m "${1:-$build/7.3}")
[[ -e $modules/.kdir && -e $modules/Module.symvers ]] ||
	die "$modules holds no build; run scripts/build.sh KDIR $modules."
kdir=$(<"$modules/.kdir")
[[ -d $kdir/source/drivers/gpu/drm ]] ||
	die "The kernel in $kdir has no sources beside it, and the drivers would come from there; build one with scripts/kernel.sh build 7.3."
source=$(realpath "$kdir/source")
copy=$out/tree

# Symbols that have to come from us.
ours='^(dsvm_|drm_(gpuv|gpusvm_|pagemap_|debugfs_gpuva_))'

# read_list: set users and left_out.
users=()
left_out=()
read_list() {
	local path kind
	while read -r path kind _; do
		[[ $path && $path != '#'* ]] || continue
		case $kind in
		'') users+=("$path") ;;
		out:) left_out+=("$path") ;;
		*) die "In $files, the word $kind after $path means nothing." ;;
		esac
	done <"$files"
	((${#users[@]})) || die "$files names no users."
}

# directories: what to copy. A slash at the end says with all below it; of the DRM
# core, whose headers some drivers include, only the files.
directories() {
	printf '%s\n' drivers/gpu/drm/core.c "${users[@]}" |
		sed -E 's|^(drivers/gpu/drm)/[^/]*$|\1|; t; s|^(drivers/gpu/drm/[^/]*/).*|\1|; t; s|[^/]*$||' | sort -u
}

# copy_sources: Kbuild writes objects beside the sources, and the kernel's tree is
# not ours to write to. The copies stay for the next run, with what the drivers'
# Makefiles generated.
copy_sources() {
	local directory copied
	copied="$kdir $source $(directories)"
	if [[ ! -e $out/.copied || $(<"$out/.copied") != "$copied" ]]; then
		rm -rf "$copy" "$out/.copied"
		while IFS= read -r directory; do
			[[ -d $source/$directory ]] || continue
			mkdir -p "$copy/$directory"
			if [[ $directory == */ ]]; then
				cp -a "$source/$directory." "$copy/$directory"
			else
				find "$source/$directory" -maxdepth 1 -type f -exec cp -a -t "$copy/$directory" {} +
			fi
		done < <(directories)
		printf '%s\n' "$copied" >"$out/.copied"
	fi
	cp "$top/scripts/dropin/Kbuild" "$copy/"
}

# compile LOG INCLUDE USER...: with INCLUDE first on the include path, or with the
# kernel's headers alone if that is empty. Who has no object afterwards failed, so
# none may be there before: a compiler that fails leaves an old one where it is.
compile() {
	local log=$out/$1.log include=$2
	shift 2
	(($#)) || return 0
	(cd "$copy" && rm -f "${@/%.c/.o}")
	make -C "$kdir" M="$copy" DROPIN_INCLUDE="$include" -k -Otarget -j"$(nproc)" \
		"${@/%.c/.o}" >"$log" 2>&1 || true
}

# compiled USER
compiled() {
	[[ -e $copy/${1%.c}.o ]]
}

# messages LOG USER: what the compiler said of it; make, if it was not asked.
messages() {
	local found object=${2%.c}.o
	found=$(awk -v object="$object" '/^  [A-Z]+ / { mine = $NF == object } mine && /(error|warning):/' \
		"$out/$1.log" | head -n8)
	[[ $found ]] || found=$(grep -F "$object" "$out/$1.log" | head -n3)
	printf '%s\n' "$found"
}

# undefined USER
undefined() {
	nm -u "$copy/${1%.c}.o" | awk '{ print $2 }' | sort -u
}

# The findings: functions that print a line for each thing that is wrong.

# What only one side has was generated, or was not to be copied.
modified() {
	local directory
	for directory in "$copy"/*/; do
		diff -rq "$source/$(basename "$directory")" "$directory" | grep -v '^Only in ' || true
	done
}

unlisted() {
	(cd "$source" && grep -rlE --include='*.c' '\<drm_(gpu(svm|vm?)|pagemap|debugfs_gpuva)_' drivers rust samples) |
		grep -vxFf <(printf '%s\n' "${users[@]}" "${left_out[@]}") |
		sed 's/$/ uses one of these and is not in the list/' || true
}

# wrong_headers USER: of the names in INCLUDE/drm, what it has from elsewhere.
wrong_headers() {
	local dependencies names
	dependencies=$copy/$(dirname "$1")/.$(basename "$1" .c).o.cmd
	names=$(cd "$include/drm" && printf '%s\n' *.h | paste -sd'|')
	grep -qF " $include/drm/drm_gpuvm.h" "$dependencies" || echo "does not include our drm/drm_gpuvm.h"
	grep -oE "[^ ]*/drm/($names)" "$dependencies" | grep -vF "$include/drm/" |
		sed "s|.*/drm/|includes the kernel's own drm/|" || true
}

# wrong_symbols USER: what it would not get from us.
wrong_symbols() {
	undefined "$1" | grep -E "$ours" | grep -vxFf "$out/exports" |
		sed "s/^dsvm_.*/& is not exported by drm_svm.ko/; t; s/\$/ would be the kernel's own/" || true
}

# wrong USER: all of it.
wrong() {
	if compiled "$1" && [[ ! ${broken[$1]-} ]]; then
		wrong_headers "$1"
		wrong_symbols "$1"
	elif compiled "$1"; then
		messages ours "$1"
		echo "compiles with the kernel's own headers, so ours are to blame"
	else
		messages ours "$1"
		echo "does not compile with the kernel's own headers either"
	fi
}

number=0
failed=0
# report NAME FINDINGS
report() {
	number=$((number + 1))
	if [[ ! $2 ]]; then
		echo "ok $number - $1"
	else
		failed=1
		echo "not ok $number - $1"
		printf '%s\n' "$2" | sed 's/^/# /'
	fi
}

read_list
need_packages "${packages_modules[@]}" python3
mkdir -p "$out"
awk '$3 ~ /(^|\/)drm_svm$/ { print $2 }' "$modules/Module.symvers" >"$out/exports"
copy_sources

step "Compiling ${#users[@]} users of what the project replaces."
compile ours "$include" "${users[@]}"

# Who failed is compiled once more, with all of the kernel's headers, to tell who
# is to blame.
declare -A broken=()
for user in "${users[@]}"; do
	compiled "$user" || broken[$user]=1
done
compile kernel '' "${!broken[@]}"

echo "TAP version 13"
echo "1..$((${#users[@]} + 2))"
report "the sources are mainline's" "$(modified)"
report "every caller is in the list" "$(unlisted)"
for user in "${users[@]}"; do
	report "$user" "$(wrong "$user")"
done
exit "$failed"
