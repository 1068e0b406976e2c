#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# test_check.sh [BUILD]: prove that each check of scripts/check.sh can fail. A
# small good tree passes all of them; then one violation at a time is planted
# in a copy of it. BUILD (default: build/7.3) names the kernel to test with.
# Prints TAP.

. "$(dirname "$0")/lib.sh"

modules=$(realpath -m "${1:-$build/7.3}")
[[ -e $modules/.kdir ]] || die "$modules holds no build; run scripts/build.sh KDIR $modules."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0
failed=0
tested=()

licence='SPDX-License-Identifier: GPL-2.0-only OR MIT'

# c FILE, h FILE: write standard input below the licence line.
c() { mkdir -p "$(dirname "$1")" && { echo "// $licence"; cat; } >"$1"; }
h() { mkdir -p "$(dirname "$1")" && { echo "/* $licence */"; cat; } >"$1"; }

# object FLAVOUR FILE: compile standard input the way modules are, into FILE.
object() {
	local compiler=(gcc -xc)
	[[ $1 == c ]] || compiler=(g++ -xc++ -std=gnu++20)
	"${compiler[@]}" "${@:3}" -O1 -fno-asynchronous-unwind-tables -mcmodel=kernel -fno-pic \
		-fno-stack-protector -c -o "$2" -
}

good_tree() {
	mkdir -p build/src/abi scripts/symbols
	cp "$modules/.kdir" build/
	cp "$top/scripts/symbols/compiler.txt" scripts/symbols/
	echo kfree | tee scripts/symbols/drm_svm{,_stub,_kunit}.txt >/dev/null
	echo 'void kfree(void *); void dsvm_f(void) { kfree(0); } char __ksymtab_dsvm_f;' |
		object c build/drm_svm.ko
	cp build/drm_svm.ko build/drm_svm_stub.ko
	cp build/drm_svm.ko build/drm_svm_kunit.ko
	echo 'extern "C" void dsvm_os_free(); extern "C" void dsvm_f() { dsvm_os_free(); }' |
		object cc build/src/abi/core.o

	h include/drm_svm/types.h <<<'typedef __UINT64_TYPE__ dsvm_u64;'
	h include/drm_svm/va.h <<<'#include "drm_svm/types.h"'
	mkdir -p include/uapi/drm
	printf '%s\n#include <drm/drm.h>\n' '/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */' \
		>include/uapi/drm/svm_stub.h
	h src/core/base/a.h <<<'#include "drm_svm/types.h"'
	h src/core/va/a.h <<<'#include "core/base/a.h"'
	h src/core/svm/a.h <<<'#include "core/base/a.h"'
	h src/core/migrate/a.h <<<'#include "core/svm/a.h"'
	h src/linux/compat/a_compat.h <<<'#define DSVM_NEW defined(HAVE_NEW)'
	c src/abi/core.cc <<<'#include "core/va/a.h"'
	h include/drm/drm_a.h <<-'END'
		#ifndef DRM_A_H_
		#define DRM_A_H_

		#include <linux/types.h>

		int dsvm_a(u64 size);

		#endif
	END
	c src/linux/a.c <<-'END'
		#include <linux/export.h>
		#include <drm/drm_a.h>

		/**
		 * dsvm_a() - do nothing
		 * @size: bytes
		 *
		 * Return: 0.
		 */
		int dsvm_a(u64 size)
		{
			return 0;
		}
		EXPORT_SYMBOL_GPL(dsvm_a);
	END
	c src/stub/a.c <<<'#include <drm/drm_a.h>'
	c kunit/cases/a.cc <<<'#include "core/va/a.h"'
	c tests/plain/a.c <<<'#include <drm/drm_gpuvm.h>'
}

report() {
	number=$((number + 1))
	if (($1)); then
		failed=1
		printf 'not ok %d - %s\n' "$number" "$2"
		sed 's/^/# /' <<<"$3"
	else
		printf 'ok %d - %s\n' "$number" "$2"
	fi
}

run() {
	(cd "$work/tree" && "$top/scripts/check.sh" -t . "$@" build 2>&1)
}

# planted CHECK REASON 'COMMANDS': with COMMANDS run in a good tree, CHECK has
# to fail with a line that has REASON.
planted() {
	local output status=0 wrong=0
	tested+=("$1")
	rm -rf "$work/tree"
	cp -r "$work/good" "$work/tree"
	(cd "$work/tree" && eval "$3") || die "The violation for $1 ($2) could not be planted."
	output=$(run -o "$1") || status=$?
	[[ $status == 1 && $output == *"not ok 1 - $1"* ]] &&
		grep -qE -e "^# .*$2" <<<"$output" || wrong=1
	report "$wrong" "$1 finds: $2" "$output"
}

# accepted CHECK NAME 'COMMANDS': what looks like a violation and is none.
accepted() {
	local output status=0
	rm -rf "$work/tree"
	cp -r "$work/good" "$work/tree"
	(cd "$work/tree" && eval "$3") || die "The case for $1 ($2) could not be set up."
	output=$(run -o "$1") || status=$?
	report "$status" "$1 accepts: $2" "$output"
}

echo "TAP version 13"
mkdir "$work/good"
(cd "$work/good" && good_tree)

# Without this, a violation might be "found" by a check that always fails.
cp -r "$work/good" "$work/tree"
status=0
output=$(run) || status=$?
report "$status" "a good tree passes" "$output"

for module in drm_svm drm_svm_stub drm_svm_kunit; do
	planted "symbols_$module" 'does not exist' "rm build/$module.ko"
	planted "symbols_$module" 'not_reviewed: undefined' \
		"echo 'void not_reviewed(void); void f(void) { not_reviewed(); }' | object c build/$module.ko"
done
cxx() {
	planted symbols_drm_svm "$1" "echo '$2' | object cc build/drm_svm.ko ${3:-}"
}
cxx '_ZGVZ.*: guard' 'struct S { S(); int i; }; S& f() { static S s; return s; }'
cxx '_ZTV1S: virtual table' 'struct S { virtual void f(); }; void S::f() {}' -fno-rtti
cxx '_ZTI1S: virtual table or type information' 'struct S { virtual void f(); }; void S::f() {}'
cxx '_Znwm: operator new' 'int* f() { return new int; }'
cxx '_ZdlPvm: operator new or delete' 'void f(int* p) { delete p; }'
cxx '__cxa_throw: C[+][+] runtime' 'void f() { throw 1; }'
cxx '__gxx_personality_v0: C[+][+] runtime' \
	'struct S { ~S(); }; void g(); void f() { S s; g(); }' -fasynchronous-unwind-tables
cxx 'eh_frame: section' 'void f() {}' '-fasynchronous-unwind-tables -Wa,--no-warn'
cxx '_GLOBAL__sub_I_.*: constructor' 'int g(); int x = g();'
cxx 'init_array: section' 'int g(); int x = g();'
cxx '__dso_handle: C[+][+] runtime' 'struct S { ~S(); }; S s;'
cxx 'tbss: section' 'thread_local int x; int* f() { return &x; }'
cxx '_ZN1AIiE1vE: weak undefined or unique' \
	'template <class T> struct A { static inline int v; }; int* f() { return &A<int>::v; }'
cxx '_Z1wv: weak undefined' '__attribute__((weak)) void w(); void f() { w(); }'
cxx 'a name of 600 bytes' "int $(printf 'x%.0s' {1..600});"
cxx '__tsan_vptr_update: sanitizer hook' 'extern "C" void __tsan_vptr_update(); void f() { __tsan_vptr_update(); }'
cxx 'drm_x: exported without' 'extern "C" { char __ksymtab_drm_x; }'
cxx '_GLOBAL__sub_I_.*: constructor' 'extern "C" void __asan_f(); int g(); int x = g(); void f() { __asan_f(); }'
accepted symbols_drm_svm 'the constructor of a sanitizer' \
	"echo 'void __asan_f(void); __attribute__((constructor(99))) static void f(void) { __asan_f(); }' |
		object c build/drm_svm.ko -Wno-prio-ctor-dtor"
planted symbols_core 'kfree: used by the core' \
	"echo 'extern \"C\" void kfree(); void f() { kfree(); }' | object cc build/src/abi/core.o"
planted symbols_core 'does not exist' 'rm build/src/abi/core.o'

include() {
	planted layers "$1 must not include $2" "mkdir -p '$(dirname "$1")' && echo '#include $2' >>'$1'"
}
include src/core/base/a.h '<stddef.h>'
include src/core/base/a.h '"core/va/a.h"'
include src/core/base/a.h '"drm_svm/va.h"'
include src/core/va/a.h '"core/svm/a.h"'
include src/core/va/a.h '"core/migrate/a.h"'
include src/core/svm/a.h '"core/migrate/a.h"'
include src/core/migrate/a.h '<linux/mm.h>'
include src/core/va/a.h '"linux/a.h"'
include src/abi/core.cc '<linux/mm.h>'
include src/linux/a.c '"core/base/a.h"'
include src/linux/a.c '"abi/core.h"'
include src/linux/compat/a_compat.h '"drm_svm/va.h"'
include src/stub/a.c '"drm_svm/va.h"'
include src/stub/a.c '<drm_svm/va.h>'
include src/stub/a.c '"../linux/a.h"'
include src/stub/stub_vm.c '<drm/drm_svm.h>'
include tests/plain/a.c '<drm/drm_svm.h>'
include tests/plain/a.c '<drm/drm_svm_pagemap.h>'
include include/drm/drm_a.h '"compat/a_compat.h"'
include include/drm_svm/types.h '<linux/types.h>'
include kunit/cases/a.cc '<linux/mm.h>'
include kunit/a.c '"core/base/a.h"'
planted layers 'src/core/new/a.h lies in no layer' 'h src/core/new/a.h <<<""'
planted versions_in_compat 'src/linux/a.c:.*LINUX_VERSION_CODE' 'echo "#if LINUX_VERSION_CODE" >>src/linux/a.c'
planted versions_in_compat 'src/stub/a.c:.*KERNEL_VERSION' 'echo "#if KERNEL_VERSION(6, 1, 0)" >>src/stub/a.c'
planted versions_in_compat 'include/drm/drm_a.h:.*HAVE_NEW' 'echo "#ifdef HAVE_NEW" >>include/drm/drm_a.h'
planted exports 'GPL\(\) only' 'echo "EXPORT_SYMBOL(dsvm_b);" >>src/linux/a.c'
planted exports 'GPL\(\) only' 'echo "EXPORT_SYMBOL_NS(dsvm_b, X);" >>src/linux/a.c'
planted exports 'only the C files of src/linux' 'echo "EXPORT_SYMBOL_GPL(dsvm_b);" >>src/stub/a.c'
planted licences 'src/linux/a.c: the first two lines' 'sed -i 1d src/linux/a.c'
planted licences 'svm_stub.h: the first two lines' 'h include/uapi/drm/svm_stub.h <<<"#include <drm/drm.h>"'
planted licences 'Kbuild: the first two lines' 'echo obj-m := a.o >Kbuild'
planted licences 'a.sh: the first two lines' 'printf "#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0\n" >a.sh'

planted headers_kernel 'drm_b.h' 'h include/drm/drm_b.h <<<"struct drm_b { struct unknown x; };"'
planted headers_kernel 'redefinition' 'h include/drm/drm_b.h <<<"struct drm_b { int x; };"'
planted headers_kernel 'holds no build' 'rm build/.kdir'
planted headers_c11 'drm_svm/b.h: does not compile alone' 'h include/drm_svm/b.h <<<"struct b { dsvm_u64 x; };"'
planted headers_c11 'drm_svm/b.h: does not compile alone' 'h include/drm_svm/b.h <<<"enum class b { x };"'
planted headers_c11 'has no headers' 'rm include/drm_svm/*'
planted headers_cxx20 'drm_svm/b.h: does not compile alone with g' 'h include/drm_svm/b.h <<<"extern int new;"'
planted headers_core 'core/va/b.h: does not compile alone' 'h src/core/va/b.h <<<"inline dsvm_u64 f();"'
planted headers_core 'core/va/b.h: does not compile alone' 'h src/core/va/b.h <<<"#include <cstddef>"'
planted headers_uapi 'drm/b.h: does not compile alone' 'h include/uapi/drm/b.h <<<"struct b { u64 x; };"'

planted checkpatch 'src/linux/a.c:.*POINTER_LOCATION' 'echo "int *f(char* x);" >>src/linux/a.c'
planted checkpatch 'include/drm/drm_a.h:.*LEADING_SPACE' 'echo "  int dsvm_b(void);" >>include/drm/drm_a.h'
planted kernel_doc 'a.c.*size' 'sed -i "s/@size:/@bytes:/" src/linux/a.c'
planted kernel_doc 'return value' 'sed -i "/Return:/d" src/linux/a.c'
planted kernel_doc_exports 'exports nothing' 'rm src/linux/a.c'
planted kernel_doc_exports 'the exported dsvm_a\(\) has no' 'sed -i "s|/[*][*]|/*|; s/dsvm_a() -/it is to/" src/linux/a.c'
planted file_length 'src/linux/a.c: 71[0-9] lines' 'printf "\n%.0s" {1..700} >>src/linux/a.c'
planted trailing_whitespace 'src/linux/a.c:2' 'sed -i "2s/\$/ /" src/linux/a.c'
planted trailing_whitespace 'README.md:1' 'printf "a\t\n" >README.md'
planted machine_names 'README.md:1' 'echo "see /ho""me/someone/notes" >README.md'
planted machine_names 'README.md:1' 'echo "see $top/Kbuild" >README.md'

untested=$("$top/scripts/check.sh" -l | grep -vxFf <(printf '%s\n' "${tested[@]}") || true)
report "$([[ ! $untested ]]; echo $?)" "every check has been seen to fail" "$untested"
echo "1..$number"
exit "$failed"
