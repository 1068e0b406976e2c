// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The words every other header of the core is written in: short names for the
// fixed-width integers, the half dozen language helpers that a hosted program
// would take from <utility>, placement construction, and the way home from an
// embedded member to the object around it.
//
// The core includes no standard header: the kernel build has none (-nostdinc++),
// and clang refuses several of libstdc++'s under the kernel's -mno-sse. What
// stands here is the small part that the core really uses, spelt with compiler
// builtins that g++-12 and clang-14 share.
//
// Invariants: everything is constexpr or a single cast; nothing allocates,
// nothing has state, nothing here needs a constructor to run at load time.
//
// What is not here: anything that can fail (core/base/result.h), addresses
// (core/base/types.h), arithmetic that can overflow (core/base/checked.h).
#ifndef DSVM_CORE_BASE_UTILITY_H
#define DSVM_CORE_BASE_UTILITY_H

#include "drm_svm/types.h"

#define DSVM_NOINLINE [[gnu::noinline]]
#define DSVM_ALWAYS_INLINE [[gnu::always_inline]] inline
// What hardly ever runs: out of the way of what does, which keeps its registers.
#define DSVM_COLD [[gnu::noinline, gnu::cold]]
// On the definition of a function that another file calls: in the kernel, where all of the core is
// one translation unit, it is inlined there; on the host it is a function like any other.
#ifdef DSVM_ONE_UNIT
#define DSVM_UNIT_INLINE DSVM_ALWAYS_INLINE
#else
#define DSVM_UNIT_INLINE
#endif
// On a local variable that is large: what its constructor does not set is not zeroed beforehand
// either, as kernels have it done (-ftrivial-auto-var-init).
#define DSVM_UNSET __attribute__((uninitialized))
#define DSVM_LIKELY(cond) __builtin_expect(!!(cond), 1)
#define DSVM_UNLIKELY(cond) __builtin_expect(!!(cond), 0)

namespace dsvm {

using u8 = dsvm_u8;
using u16 = dsvm_u16;
using u32 = dsvm_u32;
using u64 = dsvm_u64;
using s32 = dsvm_s32;
using s64 = dsvm_s64;
// As wide as a pointer; the kernel's unsigned long.
using usize = dsvm_usize;

static_assert(sizeof(u64) == 8 && sizeof(u32) == 4 && sizeof(u16) == 2);
static_assert(sizeof(usize) == sizeof(void *));

constexpr u64 kU64Max = ~u64{0};
constexpr u32 kPageShift = DSVM_PAGE_SHIFT;
constexpr u64 kPageSize = u64{1} << kPageShift;
constexpr u64 kPageMask = ~(kPageSize - 1);

// Type traits: only those that the helpers below are made of. -------------------

namespace detail {

template <class T> struct RemoveReference {
	using Type = T;
};
template <class T> struct RemoveReference<T &> {
	using Type = T;
};
template <class T> struct RemoveReference<T &&> {
	using Type = T;
};

template <class T> struct RemoveConst {
	using Type = T;
};
template <class T> struct RemoveConst<const T> {
	using Type = T;
};

template <class A, class B> struct IsSame {
	static constexpr bool kValue = false;
};
template <class A> struct IsSame<A, A> {
	static constexpr bool kValue = true;
};

template <bool Condition, class A, class B> struct Select {
	using Type = A;
};
template <class A, class B> struct Select<false, A, B> {
	using Type = B;
};

} // namespace detail

template <class T> using RemoveReference = typename detail::RemoveReference<T>::Type;
template <class T>
using RemoveCvRef = typename detail::RemoveConst<typename detail::RemoveReference<T>::Type>::Type;
template <class A, class B> constexpr bool kIsSame = detail::IsSame<A, B>::kValue;
template <bool Condition, class A, class B>
using Select = typename detail::Select<Condition, A, B>::Type;

// Value helpers -----------------------------------------------------------------

template <class T> [[nodiscard]] constexpr RemoveReference<T> &&move(T &&value) noexcept
{
	return static_cast<RemoveReference<T> &&>(value);
}

template <class T> [[nodiscard]] constexpr T &&forward(RemoveReference<T> &value) noexcept
{
	return static_cast<T &&>(value);
}

template <class T> [[nodiscard]] constexpr T &&forward(RemoveReference<T> &&value) noexcept
{
	return static_cast<T &&>(value);
}

// Puts `next` in place of `object` and returns what was there.
template <class T, class U = T> [[nodiscard]] constexpr T exchange(T &object, U &&next) noexcept
{
	T old = move(object);
	object = forward<U>(next);
	return old;
}

template <class T> constexpr void swap(T &a, T &b) noexcept
{
	T held = move(a);
	a = move(b);
	b = move(held);
}

// Enumerations --------------------------------------------------------------------

template <class E> [[nodiscard]] constexpr auto to_underlying(E value) noexcept
{
	return static_cast<__underlying_type(E)>(value);
}

// A set of the enumerators of E, each of which is a bit number.
template <class E> class FlagSet {
public:
	constexpr FlagSet() = default;
	constexpr explicit FlagSet(u32 bits) : bits_(bits) {}

	[[nodiscard]] constexpr u32 bits() const { return bits_; }
	[[nodiscard]] constexpr bool is_empty() const { return bits_ == 0; }
	[[nodiscard]] constexpr bool has(E flag) const { return (bits_ & mask(flag)) != 0; }
	[[nodiscard]] constexpr FlagSet with(E flag) const { return FlagSet(bits_ | mask(flag)); }
	[[nodiscard]] constexpr FlagSet without(E flag) const
	{
		return FlagSet(bits_ & ~mask(flag));
	}
	[[nodiscard]] constexpr bool operator==(const FlagSet &) const = default;

private:
	static constexpr u32 mask(E flag) { return u32{1} << to_underlying(flag); }

	// One bit per enumerator.
	u32 bits_ = 0;
};

// Construction in place -------------------------------------------------------------

// Tells our placement operator from <new>'s, so that a hosted file may include both.
struct PlacementTag {};

} // namespace dsvm

inline void *operator new(decltype(sizeof(0)), void *where, dsvm::PlacementTag) noexcept
{
	return where;
}

// A freestanding build has no <new>; a hosted one (the test runner) has, and takes
// the plain form from there.
#if !__STDC_HOSTED__
inline void *operator new(decltype(sizeof(0)), void *where) noexcept
{
	return where;
}
#endif

namespace dsvm {

// Makes a T in memory that the caller owns. Preconditions: `where` is aligned for T
// and has room for one.
template <class T, class... Args> T *construct_at(void *where, Args &&...args) noexcept
{
	return new (where, PlacementTag{}) T(forward<Args>(args)...);
}

// Ends an object's life; its memory stays the caller's.
template <class T> void destroy_at(T *object) noexcept
{
	object->~T();
}

// Home from a member ----------------------------------------------------------------

// How far Member lies inside T. A pointer to a data member *is* that offset in the
// Itanium C++ ABI, which every compiler that builds Linux follows; reading it so
// needs neither a null pointer nor an object.
template <class T, class M> [[nodiscard]] inline usize member_offset(M T::*member) noexcept
{
	static_assert(sizeof(member) == sizeof(usize));
	return __builtin_bit_cast(usize, member);
}

// The object whose `member` is at `field`. Precondition: `field` is that member of a
// live T; it is not null.
template <class T, class M> [[nodiscard]] inline T *container_of(M *field, M T::*member) noexcept
{
	return reinterpret_cast<T *>(reinterpret_cast<usize>(field) - member_offset(member));
}

} // namespace dsvm

#endif // DSVM_CORE_BASE_UTILITY_H
