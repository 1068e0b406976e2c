// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Words that one thread writes while another, which does not hold the writer's lock, looks
// at them: read in one load and written in one store, with no order to anything else. They
// are the core's READ_ONCE() and WRITE_ONCE(); where order matters there is a lock.
#ifndef DSVM_CORE_BASE_ONCE_H
#define DSVM_CORE_BASE_ONCE_H

namespace dsvm {

template <class T> [[nodiscard]] inline T read_once(const T &word)
{
	return __atomic_load_n(&word, __ATOMIC_RELAXED);
}

template <class T> inline void write_once(T &word, T value)
{
	__atomic_store_n(&word, value, __ATOMIC_RELAXED);
}

} // namespace dsvm

#endif // DSVM_CORE_BASE_ONCE_H
