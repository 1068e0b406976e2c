#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# install.sh [KDIR]: build the modules for a kernel (default: the running one)
# and install them where modprobe finds them. `dkms.sh install` instead builds
# them again for each new kernel. INSTALL_MOD_PATH is honoured.

. "$(dirname "$0")/lib.sh"

kdir=${1:-/lib/modules/$(uname -r)/build}
[[ -w ${INSTALL_MOD_PATH:-/lib/modules} ]] ||
	die "Installing writes to ${INSTALL_MOD_PATH:-/lib/modules}; run this as root."
[[ -e $kdir/Makefile ]] ||
	die "There are no kernel headers in $kdir; on Debian and Ubuntu install the package linux-headers-$(uname -r)."
release=$(sed -n 's/^#define UTS_RELEASE "\(.*\)"$/\1/p' "$kdir/include/generated/utsrelease.h")
out=$build/$release

"$top/scripts/build.sh" "$kdir" "$out"
step "Installing the modules for $release."
make -C "$kdir" M="$out" INSTALL_MOD_DIR=updates modules_install >"$out/install.log" 2>&1 ||
	die "make modules_install failed; see $out/install.log."
depmod -b "${INSTALL_MOD_PATH:-/}" -a "$release"
say "Installed; load them with: modprobe drm_svm_stub"
