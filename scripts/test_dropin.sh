#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# test_dropin.sh [BUILD]: prove that scripts/dropin.sh can fail. Three users of
# mainline's pass with headers and exports that are as they should be; then one
# thing at a time is broken. BUILD (default: build/7.3) names the kernel to test
# with. Prints TAP.

. "$(dirname "$0")/lib.sh"

modules=$(realpath -m "${1:-$build/7.3}")
[[ -e $modules/.kdir ]] || die "$modules holds no build; run scripts/build.sh KDIR $modules."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
number=0
failed=0
gem=drivers/gpu/drm/panthor/panthor_gem.c
vm=drivers/gpu/drm/imagination/pvr_vm.c
tile=drivers/gpu/drm/xe/xe_tile.c
cached=drm_pagemap_get_from_cache_if_active

# good: what dropin.sh is given. The exports are all that the headers promise, so
# that this test does not depend on what the module has.
good() {
	rm -rf include build
	cp -r "$top/include" include
	mkdir build
	cp "$modules/.kdir" build/
	sed -nE 's/^#define .* (dsvm_[a-z0-9_]+)$/0x0\t\1\tdrm_svm\tEXPORT_SYMBOL_GPL\t/p' \
		include/drm_svm/link_names.h >build/Module.symvers
	awk '/^[^#]/ { print $1, "out: not for this test" }' "$top/scripts/dropin/files.txt" >files
	sed -i -E "s|^($gem\|$vm\|$tile) .*|\1|" files
}

report() {
	number=$((number + 1))
	if (($1)); then
		failed=1
		printf 'not ok %d - %s\n' "$number" "$2"
		printf '%s\n' "$3" | sed 's/^/# /'
	else
		printf 'ok %d - %s\n' "$number" "$2"
	fi
}

run() {
	"$top/scripts/dropin.sh" -f files -i include -o out build 2>out.log
}

# lines OUTPUT RESULT: what the output says below a result.
lines() {
	awk -v result="$2" '/^(not )?ok / { mine = index($0, " - " result) } mine' <<<"$1"
}

# planted RESULT REASON 'COMMANDS': with COMMANDS run, RESULT has to be "not ok"
# with a line that has REASON.
planted() {
	local output status=0 wrong=0
	good
	eval "$3" || die "What breaks $1 ($2) could not be planted."
	output=$(run) || status=$?
	[[ $status == 1 ]] && lines "$output" "$1" | grep -q '^not ok' &&
		lines "$output" "$1" | grep -qE -e "^# .*$2" || wrong=1
	report "$wrong" "$1: finds: $2" "$output"
}

# accepted NAME: all passes.
accepted() {
	local output status=0 wrong=0
	good
	output=$(run) || status=$?
	[[ $status == 0 ]] && ! grep -q '^not ok' <<<"$output" || wrong=1
	report "$wrong" "accepts: $1" "$output"
}

echo "TAP version 13"
# Without this, something might be "found" by a check that always fails.
accepted 'users that find all they need'

planted "$vm" 'implicit declaration of function .*drm_gpuvm_bo_put' \
	'sed -i "/^bool drm_gpuvm_bo_put(/d" include/drm/drm_gpuvm.h'
planted "$gem" "compiles with the kernel's own headers" \
	'sed -i "s/define drm_gpuvm_resv(/define removed(/" include/drm/drm_gpuvm.h'
planted "$vm" 'incompatible pointer type' \
	'sed -i "s/(\*sm_step_map)(struct drm_gpuva_op \*op,/(*sm_step_map)(/" include/drm/drm_gpuvm_ops.h'
planted "$tile" 'a warning' 'echo "#warning a warning" >>include/drm/drm_gpuvm.h'
planted "$vm" 'dsvm_drm_gpuvm_put is not exported' 'sed -i /dsvm_drm_gpuvm_put/d build/Module.symvers'
planted "$vm" 'dsvm_drm_gpuvm_put is not exported' \
	'sed -i "/dsvm_drm_gpuvm_put/s/\tdrm_svm\t/\tother\t/" build/Module.symvers'
planted "$vm" "drm_gpuvm_put would be the kernel's own" \
	'sed -i "/define drm_gpuvm_put /d" include/drm_svm/link_names.h'
planted "$vm" "includes the kernel's own drm/drm_gpuvm.h" \
	'echo "#include_next <drm/drm_gpuvm.h>" >include/drm/drm_gpuvm.h'
planted "$vm" 'does not include our' 'rm include/drm/drm_gpuvm.h'
planted "${gem%.c}_none.c" "does not compile with the kernel's own headers either" \
	"echo '${gem%.c}_none.c' >>files"
planted 'every caller is in the list' 'nouveau_uvmm.c uses one of these' 'sed -i /nouveau_uvmm/d files'
planted 'every caller is in the list' 'xe_svm.c uses one of these' 'sed -i /xe_svm/d files'

# Of the page map's header for the same.
planted "$tile" "$cached would be the kernel's own" \
	"sed -i '/define $cached /d' include/drm_svm/link_names.h"
planted "$tile" "dsvm_$cached is not exported" "sed -i /dsvm_$cached/d build/Module.symvers"
planted "$tile" "compiles with the kernel's own headers" \
	'sed -i "/(struct drm_pagemap_cache \*cache);/d" include/drm/drm_pagemap_util.h'

planted "the sources are mainline's" "panthor_gem.c differ" "echo >>'out/tree/$gem'"
echo "1..$number"
exit "$failed"
