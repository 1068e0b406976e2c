// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The part of the backend (kunit/env.h) that is the same for all programs in user space.

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "kunit/env.h"

extern "C" {

void *dsvm_backend_alloc(dsvm_usize bytes)
{
	return std::calloc(1, bytes);
}

void dsvm_backend_free(void *memory)
{
	std::free(memory);
}

void dsvm_backend_vformat(char *buffer, dsvm_usize size, const char *format, va_list args)
{
	std::vsnprintf(buffer, size, format, args);
}

} // extern "C"
