// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// How a test case is written.
//
//	DSVM_CASE(list, push_front)
//	{
//		...
//		DSVM_EXPECT(list.first() == &a);
//		DSVM_EXPECT_EQ(count(list), 1u);
//		DSVM_REQUIRE(list.last() != nullptr);     // leaves the case if it fails
//	}
//
// Every case is named in kunit/cases.def too, because nothing may run before main()
// to collect them (a kernel module runs no static constructors). Leaving a case out
// there does not compile here; naming one that does not exist does not link.
//
// Random cases draw from cases::Random, seeded by dsvm_case_seed(). A run prints its
// seed at its start and with each failure; given that seed, the case repeats itself,
// whichever other cases run. cases::rounds(n) scales a loop down where a run is slow.
//
// In a kernel a case runs on a kernel thread's stack: keep locals under a kilobyte.
#ifndef DSVM_KUNIT_CASE_H
#define DSVM_KUNIT_CASE_H

#include "core/base/result.h"
#include "core/base/utility.h"
#include "kunit/env.h"

namespace dsvm::cases::registered {

#define DSVM_SUITE_BEGIN(suite)
#define DSVM_X(suite, name) constexpr bool suite##_##name = true;
#define DSVM_SUITE_END(suite)
#include "kunit/cases.def"
#undef DSVM_SUITE_BEGIN
#undef DSVM_X
#undef DSVM_SUITE_END

} // namespace dsvm::cases::registered

namespace dsvm::cases {

// What DSVM_EXPECT_EQ prints of a value.
template <class T> [[nodiscard]] constexpr u64 as_number(const T &value)
{
	if constexpr (kIsSame<T, Status>)
		return static_cast<u64>(static_cast<s64>(value.code()));
	else if constexpr (__is_enum(T))
		return static_cast<u64>(to_underlying(value));
	else
		return static_cast<u64>(value);
}

template <class T> [[nodiscard]] inline u64 as_number(T *value)
{
	return reinterpret_cast<usize>(value);
}

[[nodiscard]] inline u64 as_number(decltype(nullptr))
{
	return 0;
}

// SplitMix64: G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number
// Generators", OOPSLA 2014. One word of state, no bad seeds.
class Random {
public:
	Random() : state_(dsvm_case_seed()) {}
	explicit Random(u64 seed) : state_(seed) {}

	[[nodiscard]] u64 next()
	{
		u64 z = state_ += 0x9e3779b97f4a7c15ull;

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
		return z ^ (z >> 31);
	}
	// One of 0 .. n - 1. Precondition: n > 0.
	[[nodiscard]] u64 below(u64 n) { return next() % n; }
	// One of first .. last, both included.
	[[nodiscard]] u64 between(u64 first, u64 last) { return first + below(last - first + 1); }
	[[nodiscard]] bool chance(u32 percent) { return below(100) < percent; }

private:
	u64 state_;
};

// `n` rounds in a native run, fewer where the backend says so, but not none.
[[nodiscard]] inline u32 rounds(u32 n)
{
	const u32 scaled = static_cast<u32>(u64{n} * dsvm_backend_effort() / 100);

	return scaled > 0 ? scaled : 1;
}

// A semaphore that lives as long as this.
class TestLock {
public:
	TestLock(const char *name, u32 rank) : lock_(dsvm_env_lock_create(name, rank)) {}
	TestLock(const TestLock &) = delete;
	TestLock &operator=(const TestLock &) = delete;
	~TestLock() { dsvm_env_lock_destroy(lock_); }
	[[nodiscard]] dsvm_os_rwsem *get() const { return lock_; }

private:
	dsvm_os_rwsem *lock_;
};

} // namespace dsvm::cases

#define DSVM_CASE(suite, name)                                    \
	static_assert(::dsvm::cases::registered::suite##_##name); \
	extern "C" void dsvm_case_##suite##_##name(void);         \
	void dsvm_case_##suite##_##name(void)

#define DSVM_CASE_CHECK_(cond) dsvm_case_check(static_cast<bool>(cond), __FILE__, __LINE__, #cond)
#define DSVM_CASE_CHECK_EQ_(a, b)                                                              \
	dsvm_case_check_eq(::dsvm::cases::as_number(a), ::dsvm::cases::as_number(b), __FILE__, \
			   __LINE__, #a, #b)

#define DSVM_EXPECT(cond) static_cast<void>(DSVM_CASE_CHECK_(cond))
#define DSVM_EXPECT_EQ(a, b) static_cast<void>(DSVM_CASE_CHECK_EQ_(a, b))
#define DSVM_REQUIRE(cond)                   \
	do {                                 \
		if (!DSVM_CASE_CHECK_(cond)) \
			return;              \
	} while (false)
#define DSVM_REQUIRE_EQ(a, b)                   \
	do {                                    \
		if (!DSVM_CASE_CHECK_EQ_(a, b)) \
			return;                 \
	} while (false)
#define DSVM_CASE_LOG(...) dsvm_case_log(__VA_ARGS__)

#endif // DSVM_KUNIT_CASE_H
