# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# What a module may contain and what it may ask of the kernel. The compiler and
# modpost accept all that is looked for here, and the kernel then runs it wrongly
# or not at all: constructors that nobody calls, local statics with unlocked
# guards, symbol names that crash a backtrace.

check_symbols_drm_svm() { symbols drm_svm; }
check_symbols_drm_svm_stub() { symbols drm_svm_stub; }

check_symbols_drm_svm_kunit() {
	local kernel
	kernel=$(kdir) || { echo "$kernel"; return 1; }
	if ! grep -qs '^CONFIG_KUNIT=[ym]' "$kernel/include/config/auto.conf" "$kernel/.config"; then
		echo "# SKIP this kernel has no KUnit"
		return
	fi
	symbols drm_svm_kunit
}

symbols() {
	local ko=$modules/$1.ko
	[[ -e $ko ]] || { echo "$ko does not exist; run scripts/build.sh"; return 1; }
	cxx_runtime "$ko"
	sections "$ko"
	nm "$ko" | awk 'length($NF) >= 512 { print substr($NF, 1, 60) "...: a name of " length($NF) " bytes crashes the backtraces of 6.12 and later" }'
	nm "$ko" | awk '$(NF-1) ~ /^[uwv]$/ { print $NF ": weak undefined or unique symbol, which the module loader does not resolve" }'
	nm "$ko" | sed -n 's/.* __ksymtab_//p' | awk '!/^dsvm_/ { print $1 ": exported without the prefix dsvm_" }'
	nm -u "$ko" | awk '$1 == "U" { print $2 }' | not_listed "$1.txt" compiler.txt |
		sed "s|\$|: undefined and not in scripts/symbols/$1.txt|"
}

# The C++ side may call the C side through drm_svm/os.h and nothing else.
check_symbols_core() {
	local object=$modules/src/abi/core.o
	[[ -e $object ]] || { echo "$object does not exist; run scripts/build.sh"; return 1; }
	nm -u "$object" | awk '$1 == "U" && $2 !~ /^dsvm_os_/ { print $2 }' | not_listed compiler.txt |
		sed 's|$|: used by the core, but not a function of drm_svm/os.h|'
}

# not_listed LIST...: those names on standard input that no list in
# scripts/symbols has. Lines of a list are names or shell patterns.
not_listed() {
	local name pattern patterns
	patterns=$(cd "$tree/scripts/symbols" && sed 's/[[:space:]]*#.*//; /^$/d' "$@") || return
	while IFS= read -r name; do
		for pattern in $patterns; do
			# shellcheck disable=SC2053 # a pattern is meant to be one
			[[ $name == $pattern ]] && continue 2
		done
		echo "$name"
	done
}

update_symbols() {
	local name list
	for name in drm_svm drm_svm_stub drm_svm_kunit; do
		[[ -e $modules/$name.ko ]] || continue
		list=$tree/scripts/symbols/$name.txt
		{
			grep '^#' "$list"
			{
				grep -v '^#' "$list" || true
				nm -u "$modules/$name.ko" | awk '$1 == "U" { print $2 }' |
					not_listed compiler.txt
			} | LC_ALL=C sort -u
		} >"$list.new"
		mv "$list.new" "$list"
	done
}

cxx_runtime() {
	nm "$1" | awk '
		$NF ~ /^_ZGV/          { print $NF ": guard of a function-local static" }
		$NF ~ /^_ZT[VISTC]/    { print $NF ": virtual table or type information" }
		$NF ~ /^_Zn[wa]|^_Zd[la]/ { print $NF ": operator new or delete" }
		$NF ~ /^__cxa_|^__gxx_|^_Unwind_|^__dso_handle$/ { print $NF ": C++ runtime" }
		$NF ~ /^_GLOBAL__(sub_)?[ID]/ { print $NF ": constructor or destructor of a global object" }
		$NF ~ /^__tsan_vptr|^__asan_(before|after)_dynamic_init/ { print $NF ": sanitizer hook that the kernel does not have" }'
}

# Sanitizers and gcov register themselves from constructors of their own, and the
# kernels that have them do run those; cxx_runtime() knows ours by their names.
sections() {
	local instrumented='^$'
	# Not grep -q: it would end before nm does, and pipefail would count that.
	if nm "$1" | grep -E ' (__asan_|__tsan_|__gcov_)' >/dev/null; then
		instrumented='^[.](init|fini)_array([.][0-9]+)?$'
	fi
	readelf -SW "$1" | sed -nE 's/^ +\[ *[0-9]+\] ([^ ]+) .*/\1/p' | sed 's/^[.]rela//' | sort -u |
		grep -E '^[.]((init|fini)_array|ctors|dtors|eh_frame|gcc_except_table|tdata|tbss)' |
		grep -vE "$instrumented" | sed 's/$/: section of code that no kernel runs/' || true
}
