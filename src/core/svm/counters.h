// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Counters that anybody adds to and anybody reads, without a lock and without an order.
#ifndef DSVM_CORE_SVM_COUNTERS_H
#define DSVM_CORE_SVM_COUNTERS_H

#include "core/base/types.h"

namespace dsvm {

template <class T> inline void count(T &counter, u64 more = 1)
{
	__atomic_fetch_add(&counter, static_cast<T>(more), __ATOMIC_RELAXED);
}

} // namespace dsvm

#endif // DSVM_CORE_SVM_COUNTERS_H
