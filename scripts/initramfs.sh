#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Pack the file system a test guest boots with: busybox, kernel modules in the
# order in which they load, test programs, and scripts/guest/.
#
#   initramfs.sh -o OUT -k KERNEL [-d DIR] [-m MODULE[ PARAMETER...]]... [-p PROGRAM]...
#
#   -o   the archive to write
#   -k   the kernel's build directory; modules that are not in DIR come from there
#   -d   directory with the modules under test
#   -m   a module to load, with its parameters; what it depends on comes along
#   -p   a static program, to be found as /programs/NAME

. "$(dirname "$0")/lib.sh"

out='' kernel='' dir='' modules=() programs=()
while getopts o:k:d:m:p: option; do
	case $option in
	o) out=$OPTARG ;;
	k) kernel=$OPTARG ;;
	d) dir=$OPTARG ;;
	m) modules+=("$OPTARG") ;;
	p) programs+=("$OPTARG") ;;
	*) exit 2 ;;
	esac
done
[[ $out && $kernel ]] || die "Both -o and -k are needed; the top of $0 describes them."

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,proc,sys,modules,programs,jobs}

busybox=$(command -v busybox)
# A shared busybox would need libraries that the guest does not have.
if ldd "$busybox" >/dev/null 2>&1; then
	die "The busybox of this machine is not static; install the package busybox-static."
fi
cp "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
	[[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
done

# Where each module is. Names are compared with underscores, as the kernel does.
declare -A file_of
know() {
	local file=$1 base
	base=$(basename "$file" .ko)
	file_of[${base//-/_}]=$file
}
while read -r object; do
	# 6.1 lists .ko files, later kernels the .o files they are made from.
	know "$kernel/${object%.*}.ko"
done <"$kernel/modules.order"
for file in "$kernel"/drm/*.ko ${dir:+"$dir"/*.ko}; do
	[[ ! -e $file ]] || know "$file"
done

# add MODULE [PARAMETER...]: append it to the list, after its dependencies.
declare -A added
add() {
	local name=${1//-/_} file depends dependency
	shift
	[[ ! ${added[$name]-} ]] || return 0
	added[$name]=1
	file=${file_of[$name]-}
	[[ -e $file ]] || die "The module $name is neither in ${dir:-the directory of -d} nor in the kernel's build directory."
	depends=$(modinfo -F depends "$file")
	for dependency in ${depends//,/ }; do
		add "$dependency"
	done
	cp "$file" "$root/modules/$name.ko"
	echo "$name.ko $*" >>"$root/modules.list"
}
: >"$root/modules.list"
for module in "${modules[@]}"; do
	# shellcheck disable=SC2086 # the name and its parameters are words
	add $module
done

((${#programs[@]} == 0)) || cp "${programs[@]}" "$root/programs/"
cp "$top"/scripts/guest/init "$root/init"
cp "$top"/scripts/guest/{job-*,report.sh} "$root/jobs/"

mkdir -p "$(dirname "$out")"
(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0) | gzip -1 >"$out"
