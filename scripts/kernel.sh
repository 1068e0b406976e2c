#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Test kernels: fetched as Debian source packages, configured from the fragments
# in scripts/kernels/, built once and kept in the cache directory.
#
#   kernel.sh list            the flavours
#   kernel.sh build FLAVOUR   fetch, configure and build what is not there yet
#   kernel.sh config FLAVOUR  fetch and configure only
#   kernel.sh fetch FLAVOUR   look for a newer source package, even if one is there
#   kernel.sh dir FLAVOUR     print the build directory, for make -C and qemu.py
#   kernel.sh image FLAVOUR   print the bootable image
#   kernel.sh src FLAVOUR     print the source directory
#   kernel.sh built FLAVOUR   status 0 if it is built
#
# Environment: DRM_SVM_CACHE, the cache directory (default ~/.cache/drm_svm);
# DRM_SVM_MIRROR, a Debian mirror (default: the one apt uses on this machine).
#
# Layout of the cache:
#   apt/PACKAGE/              apt's state for one source package
#   src/PACKAGE_VERSION/      extracted sources
#   kernel/FLAVOUR-VERSION-KEY/   a build directory; KEY is a hash over the
#                             fragments and the compiler. `drm/` in it holds the
#                             kernel's own GPU VA and SVM modules, to compare with.
# A directory counts when it has a `.complete` stamp. Kernel build directories
# contain their own path, so they are built in place, and an interrupted build
# goes on where it stopped.

. "$(dirname "$0")/lib.sh"

cache=$(cache_dir)
kernels=$top/scripts/kernels

usage() {
	sed -n 's/^#   \(kernel.sh .*\)/\1/p' "$0" >&2
	exit 2
}

# flavour NAME: read its line of the table into package, suites, fragments, steps.
flavour() {
	local line
	line=$(awk -v n="$1" '!/^#/ && $1 == n' "$kernels/flavours")
	[[ $line ]] || die "There is no kernel flavour '$1'; known are: $(list | paste -sd' ')."
	read -r name package suites fragments steps <<<"$line"
	configs=()
	local f
	for f in ${fragments//,/ }; do
		configs+=("$kernels/$f.config")
	done
}

list() {
	awk '!/^#/ && NF { print $1 }' "$kernels/flavours"
}

# locked NAME: hold a lock until the script ends, so that two runs do not write
# to one directory.
locked() {
	exec {lock_fd}>"$cache/$1.lock"
	flock -n "$lock_fd" && return
	say "Another run is working on $1; waiting for it."
	flock "$lock_fd"
}

# find_source: set src to the newest complete source tree of $package, or fail.
find_source() {
	local dir found=
	for dir in "$cache/src/${package}"_*; do
		[[ -e $dir/.complete ]] || continue
		if [[ ! $found ]] || dpkg --compare-versions "${dir##*_}" gt "${found##*_}"; then
			found=$dir
		fi
	done
	src=$found
	[[ $src ]]
}

# repository LABEL: the URI from which this machine's apt gets Debian (or
# Debian-Security). Asking apt keeps local mirrors and proxies working.
repository() {
	# shellcheck disable=SC2016 # apt-get expands these, not the shell
	apt-get indextargets --format '$(CREATED_BY)|$(REPO_URI)|$(LABEL)' |
		awk -F'|' -v label="$1" '$1 == "Packages" && $3 == label { print $2; exit }'
}

# private_apt: an apt configuration of our own in $apt, which sees only $suites.
# The system's sources and lists are neither used nor changed.
private_apt() {
	local debian security suite uri
	debian=${DRM_SVM_MIRROR:-$(repository Debian)}
	security=$(repository Debian-Security)
	[[ $debian ]] ||
		die "apt on this machine knows no Debian mirror, from which $package would come; name one in DRM_SVM_MIRROR, or run apt-get update if it has not run yet."

	apt=$cache/apt/$package
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/sources.list"
	for suite in ${suites//,/ }; do
		uri=$debian
		[[ $suite == *-security ]] && uri=$security
		[[ $uri ]] || continue
		printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg target=Packages lang=none] %s %s main\n' \
			"$uri" "$suite" >>"$apt/sources.list"
	done
	cat >"$apt/apt.conf" <<-END
		Dir::Etc::sourcelist "$apt/sources.list";
		Dir::Etc::sourceparts "-";
		Dir::State::lists "$apt/lists";
		Dir::Cache "$apt/cache";
		// Pins of the system are about its own suites.
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		APT::Default-Release "";
		// The user _apt could not enter a cache in a home directory.
		APT::Sandbox::User "root";
	END
}

# fetch: download and extract the newest source package; sets src.
fetch() {
	local deb version dir
	need_packages "${packages_kernel[@]}"
	private_apt
	step "Looking for $package in ${suites//,/, }."
	apt-get -q -c "$apt/apt.conf" update >"$apt/log" 2>&1 ||
		die "apt could not read the package lists of ${suites//,/, }; see $apt/log. If a signature is unknown, upgrade the package debian-archive-keyring."
	version=$(apt-cache -c "$apt/apt.conf" show --no-all-versions "$package" 2>/dev/null |
		sed -n 's/^Version: //p')
	[[ $version ]] || die "The Debian suites ${suites//,/, } have no package $package any more; change scripts/kernels/flavours."

	dir=$cache/src/${package}_$version
	if [[ ! -e $dir/.complete ]]; then
		step "Downloading $package $version."
		rm -f "$apt"/*.deb
		(cd "$apt" && apt-get -q -c apt.conf download "$package" >>log 2>&1) ||
			die "apt could not download $package; see $apt/log."
		deb=$(echo "$apt"/*.deb)
		step "Extracting $package $version."
		rm -rf "$dir"
		mkdir -p "$dir"
		dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/src/$package.tar.xz" |
			tar -xJ --strip-components=1 -C "$dir"
		rm -f "$deb"
		touch "$dir/.complete"
	fi
	src=$dir
}

need_source() {
	find_source && return
	[[ $(uname -m) == x86_64 ]] || die "The test kernels are built for x86_64, and this machine is $(uname -m)."
	locked "$package"
	# Another run may have fetched it while we waited.
	if ! find_source; then
		fetch
	fi
}

# locate: set obj, the build directory that belongs to $src, the fragments and
# the compiler.
locate() {
	local version key
	version=${src##*_}
	key=$({ cat "${configs[@]}"; gcc --version | head -n1; ld --version | head -n1; } |
		sha256sum | cut -c1-12)
	# Characters such as ~ and + mean something to make and to regular expressions.
	obj=$cache/kernel/$name-${version//[^0-9A-Za-z.]/-}-$key
}

kmake() {
	make -C "$src" O="$obj" ARCH=x86_64 "$@"
}

# configure: allnoconfig plus the fragments. An option whose dependencies are
# missing vanishes silently in Kconfig; here that is an error.
configure() {
	local missing
	mkdir -p "$obj"
	if ! {
		kmake -s allnoconfig &&
			(cd "$obj" && KCONFIG_CONFIG=.config \
				"$src/scripts/kconfig/merge_config.sh" -m -O "$obj" .config "${configs[@]}") &&
			kmake -s olddefconfig
	} >"$obj/config.log" 2>&1; then
		die "Configuring the kernel $name failed; see $obj/config.log."
	fi
	missing=$(grep -h '^CONFIG_' "${configs[@]}" | grep -vxFf "$obj/.config" || true)
	[[ ! $missing ]] ||
		die "The kernel $name does not grant these options of scripts/kernels/: ${missing//$'\n'/ }."
}

# progress: copy a build's output to the log file, and say now and then how far
# it is. Plain lines, so that a CI log stays readable.
progress() {
	local line n=0 next=$((SECONDS + 5))
	while IFS= read -r line; do
		printf '%s\n' "$line"
		n=$((n + 1))
		if ((SECONDS >= next)); then
			step "Kernel $name: $n of about $steps build steps."
			next=$((SECONDS + 10))
		fi
	done >"$1"
}

compile() {
	step "Building the kernel $name (${src##*_}) with $(nproc) jobs; this is done once."
	kmake -j"$(nproc)" bzImage modules 2>&1 | progress "$obj/build.log" || {
		grep -m5 -B2 -A5 -E 'error|Error' "$obj/build.log" >&2 || tail "$obj/build.log" >&2
		die "Building the kernel $name failed; the whole log is $obj/build.log."
	}
}

# compile_drm: the kernel's own drm_exec, drm_gpuvm and drm_gpusvm_helper, from
# copies of its files. No Kconfig option asks for them without a large driver.
compile_drm() {
	local drm=$src/drivers/gpu/drm
	[[ -e $drm/drm_gpuvm.c ]] || return 0
	step "Building the kernel's own GPU VA modules for $name."
	rm -rf "$obj/drm"
	mkdir "$obj/drm"
	cp "$drm"/drm_exec.c "$drm"/drm_gpuvm.c "$obj/drm/"
	echo 'obj-m := drm_exec.o drm_gpuvm.o' >"$obj/drm/Kbuild"
	if [[ -e $drm/drm_gpusvm.c ]]; then
		cp "$drm"/drm_gpusvm.c "$drm"/drm_pagemap*.c "$obj/drm/"
		cat >>"$obj/drm/Kbuild" <<-'END'
			obj-m += drm_gpusvm_helper.o
			drm_gpusvm_helper-y := drm_gpusvm.o drm_pagemap.o drm_pagemap_util.o
		END
	fi
	make -C "$obj" M="$obj/drm" modules >"$obj/drm/build.log" 2>&1 ||
		die "Building the kernel's own GPU VA modules failed; see $obj/drm/build.log."
}

build_kernel() {
	need_source
	locate
	if [[ -e $obj/.complete ]]; then
		say "The kernel $name (${src##*_}) is in the cache."
		return
	fi
	need_packages "${packages_kernel[@]}"
	mkdir -p "$cache/kernel"
	locked "$(basename "$obj")"
	[[ -e $obj/.complete ]] && return
	configure
	compile
	compile_drm
	touch "$obj/.complete"
	step "The kernel $name is ready."
}

is_built() {
	find_source && locate && [[ -e $obj/.complete ]]
}

# need_built: for the commands that only print a path.
need_built() {
	is_built || die "The kernel $name is not built; run scripts/kernel.sh build $name."
}

(($# >= 1)) || usage
command=$1
[[ $command == list ]] && { list; exit; }
(($# == 2)) || usage
flavour "$2"
case $cache in
/*) ;;
*) die "The cache directory has to be an absolute path, and it is $cache." ;;
esac
case $cache in
*[[:space:]:]*) die "The kernel cannot be built below $cache, because the path has a space or a colon; set DRM_SVM_CACHE." ;;
esac
mkdir -p "$cache"
case $command in
build) build_kernel ;;
config)
	need_source
	locate
	mkdir -p "$cache/kernel"
	locked "$(basename "$obj")"
	configure
	;;
fetch)
	locked "$package"
	fetch
	;;
dir)
	need_built
	echo "$obj"
	;;
image)
	need_built
	echo "$obj/arch/x86/boot/bzImage"
	;;
src)
	find_source || die "The sources of $name are not fetched; run scripts/kernel.sh build $name."
	echo "$src"
	;;
built) is_built ;;
*) usage ;;
esac
