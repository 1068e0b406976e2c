// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Steps on a list, for who wants to see them more than once: to allocate first, say, and
// to apply them later.
//
// A step is one piece of memory, whatever it is: what a REMAP points to lies in it. The first
// ones lie where the caller has room for them, and each of the others is one allocation. A list
// is made whole or not at all: after an error nothing is on it, and nothing is left over.
#ifndef DSVM_CORE_VA_OP_LIST_H
#define DSVM_CORE_VA_OP_LIST_H

#include "core/base/list.h"
#include "core/va/split.h"

namespace dsvm {

// kInvalid, kNoMemory.
Status list_map(dsvm_va_space &space, const dsvm_va_map &request, dsvm_va_mode mode,
		const dsvm_va_op_memory &memory, dsvm_link &list);
Status list_unmap(dsvm_va_space &space, u64 addr, u64 range, const dsvm_va_op_memory &memory,
		  dsvm_link &list);
Status list_prefetch(dsvm_va_space &space, u64 addr, u64 range, const dsvm_va_op_memory &memory,
		     dsvm_link &list);
// For all on `mappings`, a list through dsvm_va::bo_entry. kNoMemory.
Status list_bo_unmap(dsvm_link &mappings, const dsvm_va_op_memory &memory, dsvm_link &list);
void list_free(const dsvm_va_op_memory &memory, dsvm_link &list);

} // namespace dsvm

#endif // DSVM_CORE_VA_OP_LIST_H
