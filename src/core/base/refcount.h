// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Counted references to objects of the core.
//
// RefCount is embedded in the object. It saturates, as the kernel's refcount_t does:
// a count that overflows, or that is touched after it fell to zero, sticks at a large
// value, complains once, and leaks the object rather than freeing it under somebody.
//
//	0 ......... 1 ... 0x7fff'ffff | 0x8000'0000 ... 0xc000'0000 ... 0xffff'ffff
//	dead        live              | saturated: never counts again, never frees
//
// Memory order: taking one more reference needs none (who can do so already has one).
// Dropping one is a release, and the drop that reaches zero is followed by an acquire,
// so that whoever destroys the object sees all that the other owners did to it.
//
// Ref<T> owns one reference. T provides `void get()` and `void put()`; put() destroys
// at zero and knows how. There are two ways in, and each says what happens to the
// count: Ref<T>::adopt(object) takes over a reference that the caller has,
// Ref<T>::retain(object) takes a new one. release() is the way out.
//
// What it does not do: no weak references, no atomic exchange of a Ref itself.
#ifndef DSVM_CORE_BASE_REFCOUNT_H
#define DSVM_CORE_BASE_REFCOUNT_H

#include "core/base/utility.h"
#include "core/base/verify.h"

namespace dsvm {

class RefCount {
public:
	static constexpr u32 kSaturated = 0xc0000000u;

	// A new object has one reference: its maker's.
	constexpr RefCount() = default;
	constexpr explicit RefCount(u32 initial) : value_(initial) {}
	RefCount(const RefCount &) = delete;
	RefCount &operator=(const RefCount &) = delete;

	// For reports and tests only: it may be old by the time it is looked at.
	[[nodiscard]] u32 read() const { return __atomic_load_n(&value_, __ATOMIC_RELAXED); }

	// Precondition: the caller has a reference, so the count is not zero.
	void get()
	{
		const u32 old = __atomic_fetch_add(&value_, 1, __ATOMIC_RELAXED);

		if (DSVM_UNLIKELY(old == 0 || old >= kLimit))
			saturate("reference taken on a dead or saturated count");
	}

	// Takes a reference unless the last one has gone.
	[[nodiscard]] bool get_unless_zero()
	{
		u32 old = read();

		do {
			if (old == 0)
				return false;
		} while (!__atomic_compare_exchange_n(&value_, &old, old + 1, true,
						      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
		if (DSVM_UNLIKELY(old >= kLimit))
			saturate("reference count overflow");
		return true;
	}

	// Gives one back; true for the last one, whose giver destroys the object.
	[[nodiscard]] bool put()
	{
		const u32 old = __atomic_fetch_sub(&value_, 1, __ATOMIC_RELEASE);

		if (old == 1) {
			// Pairs with the releases of all the other owners.
			static_cast<void>(__atomic_load_n(&value_, __ATOMIC_ACQUIRE));
			return true;
		}
		if (DSVM_UNLIKELY(old == 0 || old > kLimit))
			saturate("reference given back on a dead or saturated count");
		return false;
	}

private:
	// The greatest count that is still live.
	static constexpr u32 kLimit = 0x7fffffffu;

	DSVM_NOINLINE void saturate(const char *what)
	{
		__atomic_store_n(&value_, kSaturated, __ATOMIC_RELAXED);
		dsvm_os_warn(__FILE__, __LINE__, what);
	}

	// See the picture above.
	u32 value_ = 1;
};

template <class T> class [[nodiscard]] Ref {
public:
	constexpr Ref() = default;
	Ref(const Ref &other) : object_(other.object_)
	{
		if (object_ != nullptr)
			object_->get();
	}
	Ref(Ref &&other) noexcept : object_(exchange(other.object_, nullptr)) {}
	~Ref() { reset(); }
	// By value: the argument's copy (or move) is the only counting there is.
	Ref &operator=(Ref other) noexcept
	{
		swap(object_, other.object_);
		return *this;
	}

	// Takes over a reference that the caller owns; null makes an empty Ref.
	static Ref adopt(T *object) { return Ref(object); }
	// Takes a reference of its own.
	static Ref retain(T &object)
	{
		object.get();
		return Ref(&object);
	}

	[[nodiscard]] T *ptr() const { return object_; }
	[[nodiscard]] bool is_null() const { return object_ == nullptr; }
	T &operator*() const { return *object_; }
	T *operator->() const { return object_; }

	// The reference is the caller's again.
	[[nodiscard]] T *release() { return exchange(object_, nullptr); }
	void reset()
	{
		if (T *const object = release())
			object->put();
	}

private:
	explicit Ref(T *object) : object_(object) {}

	// Counted once by this; null if it refers to nothing.
	T *object_ = nullptr;
};

} // namespace dsvm

#endif // DSVM_CORE_BASE_REFCOUNT_H
