# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Who may know whom. The table is the dependency graph of the project: the first
# line whose pattern fits a file says what it may include, as a regular
# expression over the text between and with the delimiters. A file that no line
# fits is a finding too, so new directories have to be placed in the graph. The files of src/stub
# that tests/plain has as well see nothing that mainline has not.

layers='
include/drm_svm/*           "drm_svm/[a-z_]+[.]h"
include/drm/*               <(asm|drm|linux|uapi)/.*>|"drm_svm/[a-z_]+[.]h"|<drm_svm/[a-z_]+[.]h>
include/uapi/*              <(drm|linux)/.*>|"drm.h"
src/core/base/*             "(core/base/.*|drm_svm/(types|os)[.]h)"
src/core/va/*               "(core/(base|va)/.*|drm_svm/(types|os|va|bind)[.]h)"
src/core/svm/*              "(core/(base|svm)/.*|drm_svm/(types|os|svm|hmmptr)[.]h)"
src/core/migrate/*          "(core/(base|svm|migrate)/.*|drm_svm/(types|os|svm|migrate)[.]h)"
src/abi/*                   "(abi|core|drm_svm)/.*"
src/linux/compat/*          <(asm|drm|kunit|linux|trace)/.*>|"compat/.*"
src/linux/*                 <(asm|drm|kunit|linux|trace|uapi)/.*>|"(compat|drm|drm_svm)/.*"|"[a-z_]+[.]h"
src/stub/stub_@(bo|drv|engine|hold|ioctl|ioctl_bind|pagemap|pt|stats|verdict|vm|vram).c <(asm|linux|trace|uapi)/.*>|<drm/drm_[a-rt-z][a-z_]*[.]h>|"compat/.*"|"stub_[a-z_]*[.]h"
src/stub/*                  <(asm|drm|linux|trace|uapi)/.*>|"(compat|drm|uapi)/.*"|"stub_?[a-z_]*[.]h"
kunit/*.c                   <(asm|drm|kunit|linux|trace|uapi)/.*>|"(cases|compat|drm|drm_svm|kunit)/.*"|"[a-z_]+[.]h"
kunit/gpu*vm_*.h            <(drm|kunit|linux)/.*>|"[a-z_]+[.]h"
kunit/hmmptr_*.h            <(drm|kunit|linux)/.*>|"[a-z_]+[.]h"
kunit/pagemap_*.h           <(drm|kunit|linux)/.*>|"[a-z_]+[.]h"
kunit/*.h                   "(cases|core|drm_svm|kunit)/.*"|"[a-z_]+[.]h"
tests/plain/*               <(asm|linux|trace)/.*>|<drm/drm_(drv|gem|gpu|pagemap)[a-z_]*[.]h>|<uapi/drm/drm_svm_stub[.]h>|"stub_[a-z_]*[.]h"
kunit/*.cc                  "abi/core[.]cc"|"(cases|core|drm_svm|fake|kunit)/.*"|"[a-z_]+[.](h|cc)"
'

check_layers() {
	local file pattern allowed rules=()
	mapfile -t rules < <(sed '/^$/d' <<<"$layers")
	kernel_sources | while IFS= read -r file; do
		for rule in "${rules[@]}"; do
			read -r pattern allowed <<<"$rule"
			# shellcheck disable=SC2053 # a pattern is meant to be one
			[[ $file == $pattern ]] || continue
			sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*(["<][^">]*[">]).*/\1/p' "$file" |
				grep -vxE "$allowed" | sed "s|^|$file must not include |" || true
			continue 2
		done
		echo "$file lies in no layer; place its directory in scripts/checks/layers.sh"
	done
}

kernel_sources() {
	find include src kunit tests/plain -type f \( -name '*.[ch]' -o -name '*.cc' \) | sort
}

check_versions_in_compat() {
	kernel_sources | grep -v '^src/linux/compat/' |
		xargs grep -nwE 'LINUX_VERSION_CODE|KERNEL_VERSION|HAVE_[A-Z0-9_]+' |
		sed 's/$/   <- version differences belong in src\/linux\/compat\//' || true
}

check_exports() {
	kernel_sources | xargs grep -nE '\bEXPORT_SYMBOL' | grep -vE '^[^:]*:[0-9]*:EXPORT_SYMBOL_GPL[(]' |
		sed 's/$/   <- EXPORT_SYMBOL_GPL() only/' || true
	kernel_sources | grep -vE '^src/linux/[^/]*[.]c$' | xargs grep -nE '\bEXPORT_SYMBOL' |
		sed 's/$/   <- only the C files of src\/linux export/' || true
}

check_licences() {
	local file licence
	project_files | while IFS= read -r file; do
		case ${file##*/} in
		*.c | *.h | *.cc | *.py | *.sh | *.def | Kbuild | Makefile | dkms.conf) ;;
		*) continue ;;
		esac
		licence='GPL-2.0-only OR MIT'
		# What user space includes has to say that user space may include it.
		[[ $file != include/uapi/* ]] || licence='[(]GPL-2.0-only WITH Linux-syscall-note[)] OR MIT'
		head -n2 "$file" | grep -qE "SPDX-License-Identifier: $licence( \*/)?\$" ||
			echo "$file: the first two lines have no SPDX-License-Identifier: $licence"
	done
}
