// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Flag words that drivers look at without a lock (READ_ONCE): they are written
// under the notifier lock, and in one store.
#ifndef DSVM_CORE_SVM_FLAGS_H
#define DSVM_CORE_SVM_FLAGS_H

#include "core/base/once.h"
#include "core/base/types.h"

namespace dsvm {

inline void set_flags(u16 &flags, u32 value)
{
	write_once(flags, static_cast<u16>(value));
}

} // namespace dsvm

#endif // DSVM_CORE_SVM_FLAGS_H
