# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Form and documentation.

# project_files: every text file that belongs to the project.
project_files() {
	find . \( -path ./.git -o -path ./build \) -prune -o -type f -print | sed 's|^[.]/||' | sort |
		xargs -d '\n' grep -IlE '' 2>/dev/null | grep -vE '[.](o|ko|mod|mod[.]c|cmd|order|symvers)$'
}

# checkpatch reads C in kernel style: the shims, the stub, the public headers.
# The core's C ABI in include/drm_svm/ is also C++ and has its own types.
checkpatch_files() {
	find src kunit tests/plain -name '*.c' -type f
	find include/drm include/uapi src/linux src/stub tests/plain -name '*.h' -type f
	find kunit -maxdepth 1 -name 'gpuvm_*.h'
}

check_checkpatch() {
	local source ignore=(
		ALLOC_WITH_SIZEOF  # kzalloc_obj() is younger than the oldest kernel supported
		LINUX_VERSION_CODE # the check versions_in_compat says where it may be
		MACRO_ARG_UNUSED   # API macros that do nothing without lockdep
	)
	# os.c picks the level at run time; suites.c expands a list with macros, and
	# gpuvm_fixture.h has one that makes several entries of a list.
	local excused='^src/linux/os[.]c:.*:PRINTK_WITHOUT_KERN_LEVEL:'
	excused+='|^kunit/suites[.]c:.*:(AVOID_EXTERNS|TRAILING_SEMICOLON):'
	excused+='|^kunit/gpuvm_fixture[.]h:.*:COMPLEX_MACRO:'

	source=$(kernel_source) || { echo "$source"; return 1; }
	checkpatch_files | sort |
		xargs perl "$source/scripts/checkpatch.pl" --no-tree --no-summary --terse --show-types \
			--ignore "$(IFS=,; echo "${ignore[*]}")" -f |
		grep -vE "$excused" || true
}

check_kernel_doc() {
	local source
	source=$(kernel_source) || { echo "$source"; return 1; }
	{
		find include/drm -name '*.h'
		find src/linux src/stub tests/plain -name '*.[ch]'
	} | sort | xargs "$source/scripts/kernel-doc" -none -Wall
}

check_kernel_doc_exports() {
	local file name exports
	exports=$(grep -roE '^EXPORT_SYMBOL_GPL[(][a-zA-Z0-9_]+' --include='*.c' src/linux) ||
		{ echo "src/linux exports nothing"; return 1; }
	while IFS=: read -r file name; do
		grep -qE "^ \* $name\(\) - " "$file" || echo "$file: the exported $name() has no kernel-doc comment"
	done <<<"${exports//EXPORT_SYMBOL_GPL(/}"
}

check_file_length() {
	local file
	project_files | grep -E '[.](c|h|cc|py|sh)$|Kbuild$' | while IFS= read -r file; do
		awk -v file="$file" 'END { if (NR > 700) print file ": " NR " lines; files end at 700" }' "$file"
	done
}

check_trailing_whitespace() {
	project_files | xargs -d '\n' grep -nE '[[:space:]]+$' || true
}

# Names that mean something on one machine only: the place of this checkout and
# this machine's mirrors (asked, so that the check itself names none), and
# directories that are private on any machine.
check_machine_names() {
	local own
	own=$({
		dirname "$top" | sed -n 's|.\+|&/|p'
		cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
			grep -oE 'https?://[^/ ]+' | sed 's|.*://||'
	} | grep -vxE '//|localhost|[a-z.]*[.](debian|ubuntu)[.](org|com)' | sort -u || true)
	[[ ! $own ]] || project_files | xargs -d '\n' grep -nF -e "$own" || true
	project_files | xargs -d '\n' grep -nE '(^|[^[:alnum:]_.}$])/(home|root|mnt|srv)/[[:alnum:]]' || true
}
