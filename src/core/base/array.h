// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A zeroed array from the environment, freed with its scope.
//
// For scratch that a call needs once: allocate() before the first visible change, then use
// it without a thought. The elements are plain data, for which zeroed memory is a value and
// which need no destructor.
//
// What it does not do: grow, copy, or know its length beyond the allocation.
#ifndef DSVM_CORE_BASE_ARRAY_H
#define DSVM_CORE_BASE_ARRAY_H

#include "core/base/checked.h"
#include "core/base/result.h"
#include "core/base/utility.h"
#include "drm_svm/os.h"

namespace dsvm {

template <class T> class Array {
public:
	static_assert(__is_trivially_copyable(T), "zeroed memory has to be a value");

	Array() = default;
	~Array()
	{
		if (data_)
			dsvm_os_free(data_);
	}
	Array(const Array &) = delete;
	Array &operator=(const Array &) = delete;

	// Once. kNoMemory, kOverflow. May sleep.
	Status allocate(usize count)
	{
		const u64 bytes = DSVM_TRY(checked_mul(count, sizeof(T)));

		data_ = static_cast<T *>(dsvm_os_alloc(bytes));
		return data_ ? Status::ok() : kNoMemory;
	}

	// Null before a successful allocate().
	[[nodiscard]] T *data() const { return data_; }
	// Takes what `other` points to, from dsvm_os_alloc(), and leaves its own there.
	void swap_with(T *&other) { swap(data_, other); }

private:
	T *data_ = nullptr;
};

} // namespace dsvm

#endif // DSVM_CORE_BASE_ARRAY_H
