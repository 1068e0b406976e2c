// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Two ways to state what must hold.
//
// DSVM_VERIFY(cond) is in every build. It reports a broken invariant through
// dsvm_os_warn() and has the value of the condition, so that the caller says
// what happens next: `if (!DSVM_VERIFY(range.is_linked())) return kInvalid;`.
// It neither stops the machine nor returns on its own: a library inside a
// kernel survives its own bugs if it can.
//
// DSVM_ASSERT(cond) is for what is too costly or too obvious to check in
// production; it exists only where DSVM_DEBUG is defined and has no value.
#ifndef DSVM_CORE_BASE_VERIFY_H
#define DSVM_CORE_BASE_VERIFY_H

#include "drm_svm/os.h"

namespace dsvm::detail {

// Usable in a constant expression as long as the condition holds.
constexpr bool verify(bool holds, const char *file, int line, const char *what) noexcept
{
	if (__builtin_expect(!holds, 0))
		dsvm_os_warn(file, line, what);
	return holds;
}

} // namespace dsvm::detail

#define DSVM_VERIFY(cond) \
	(::dsvm::detail::verify(static_cast<bool>(cond), __FILE__, __LINE__, #cond))

#ifdef DSVM_DEBUG
#define DSVM_ASSERT(cond) static_cast<void>(DSVM_VERIFY(cond))
#else
// Not evaluated, but still compiled, so that it cannot rot.
#define DSVM_ASSERT(cond) static_cast<void>(sizeof(static_cast<bool>(cond)))
#endif

#endif // DSVM_CORE_BASE_VERIFY_H
