// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The core's VA manager as one translation unit, as it goes into the module (src/abi/core.cc); so
// is the kernel's own.
#define DSVM_ONE_UNIT

#include "core/va/bind.cc"
#include "core/va/op_list.cc"
#include "core/va/space.cc"
#include "core/va/split.cc"
#include "core/va/va_index.cc"
#include "core/va/va_map.cc"

#include "abi/va_abi.cc"
