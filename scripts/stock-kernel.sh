#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# stock-kernel.sh: lay out this Debian's own kernel for initramfs.sh and qemu.py,
# and print two directories: that one, and the kernel's headers for build.sh.
#
# It is the kernel people have, and unlike the test kernels of 6.1 and 6.12 it
# comes without CONFIG_DEVICE_PRIVATE. The headers are installed; the image is
# only unpacked in the cache, so nothing on this machine boots anything else.

. "$(dirname "$0")/lib.sh"

need_packages "${packages_modules[@]}" linux-headers-amd64
# The one that the package linux-headers-amd64 stands for.
headers=$(dpkg-query -W -f '${Depends}' linux-headers-amd64 | sed -E 's/^(linux-headers-[^ ,]+).*/\1/')
release=${headers#linux-headers-}
image=linux-image-$release
version=$(dpkg-query -W -f '${Version}' "$headers")
dir=$(cache_dir)/kernel/stock-${version//[^0-9A-Za-z.]/-}

if [[ ! -e $dir/.complete ]]; then
	rm -rf "$dir"
	mkdir -p "$dir/arch/x86/boot"
	step "Downloading $image $version."
	(cd "$dir" && apt-get -q -o APT::Sandbox::User=root download "$image=$version" >download.log 2>&1) ||
		die "apt could not download $image $version; see $dir/download.log."
	dpkg-deb -x "$dir/$image"_*.deb "$dir"
	rm "$dir/$image"_*.deb
	cp "$dir/boot/vmlinuz-$release" "$dir/arch/x86/boot/bzImage"
	# 6.1 packs its modules plainly; one that does not needs unpacking here.
	(cd "$dir" && find . -name '*.ko') >"$dir/modules.order"
	[[ -s $dir/modules.order ]] || die "The package $image has no uncompressed modules."
	touch "$dir/.complete"
fi
printf '%s\n' "$dir" "/usr/src/$headers"
