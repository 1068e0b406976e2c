#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# check.sh [-t TREE] [-o CHECK,...] [BUILD]: check the sources in TREE (default:
# this checkout) and the modules that scripts/build.sh put into BUILD (default:
# build/7.3). Prints TAP; exits 1 if any check fails. A check is a function that
# prints one line per finding, so no output and status 0 is the only success.
# scripts/test_check.sh proves that each of them can fail.
#
#   -l    print the names of the checks
#   -o    run only these checks
#   -u    add what BUILD needs to scripts/symbols/*.txt; review it as a diff

# shellcheck disable=SC2317 # functions are called by name
. "$(dirname "$0")/lib.sh"
for file in "$top"/scripts/checks/*.sh; do
	# shellcheck source=/dev/null
	. "$file"
done

checks=(
	symbols_drm_svm
	symbols_drm_svm_stub
	symbols_drm_svm_kunit
	symbols_core
	layers
	versions_in_compat
	exports
	licences
	headers_kernel
	headers_c11
	headers_cxx20
	headers_uapi
	headers_core
	checkpatch
	kernel_doc
	kernel_doc_exports
	file_length
	trailing_whitespace
	machine_names
)

tree=$top
update=
while getopts t:o:lu option; do
	case $option in
	t) tree=$(realpath "$OPTARG") ;;
	o) IFS=, read -ra checks <<<"$OPTARG" ;;
	u) update=1 ;;
	l) printf '%s\n' "${checks[@]}"; exit ;;
	*) sed -n 's/^# \(check.sh .*\)/usage: \1/p' "$0" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
modules=$(realpath -m "${1:-$build/7.3}")

# kdir: the kernel that BUILD was made for, as scripts/build.sh noted it.
kdir() {
	cat "$modules/.kdir" 2>/dev/null ||
		{ echo "$modules holds no build; run scripts/build.sh KDIR $modules"; return 1; }
}

# kernel_source: where checkpatch and kernel-doc are. The newest kernel's are
# used whatever kernel is built, so that their opinion does not depend on it.
kernel_source() {
	local candidate
	for candidate in "${KERNEL_SOURCE:-}" "$("$top/scripts/kernel.sh" src 7.3 2>/dev/null)" \
		"$(kdir 2>/dev/null)/source"; do
		[[ -e $candidate/scripts/checkpatch.pl ]] && { echo "$candidate"; return; }
	done
	echo "there is no kernel source with scripts/checkpatch.pl; run scripts/kernel.sh build 7.3, or name one in KERNEL_SOURCE"
	return 1
}

cd "$tree"
if [[ $update ]]; then
	update_symbols
	exit
fi

need_packages build-essential libdrm-dev perl python3
echo "TAP version 13"
echo "1..${#checks[@]}"
number=0
failed=0
for check in "${checks[@]}"; do
	number=$((number + 1))
	status=0
	declare -F "check_$check" >/dev/null || die "There is no check named $check; check.sh -l lists them."
	findings=$("check_$check" 2>&1) || status=$?
	if [[ $findings == "# SKIP "* && $status == 0 ]]; then
		echo "ok $number - $check $findings"
	elif [[ ! $findings && $status == 0 ]]; then
		echo "ok $number - $check"
	else
		failed=1
		echo "not ok $number - $check"
		printf '%s\n' "${findings:-the check itself stopped with status $status}" | sed 's/^/# /'
	fi
done
exit "$failed"
