// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for the environment itself: the accounting and the checks that all other
// cases rely on must be able to fail.

#include "core/base/locking.h"
#include "drm_svm/os.h"
#include "kunit/case.h"

using namespace dsvm;

namespace {

constexpr u32 rank(LockRank value)
{
	return to_underlying(value);
}

} // namespace

DSVM_CASE(env, alloc_fails_at_n)
{
	dsvm_env_fail_alloc(3);
	void *const first = dsvm_os_alloc(16);
	void *const second = dsvm_os_alloc(0);
	DSVM_EXPECT(first != nullptr && second != nullptr);
	DSVM_EXPECT(!dsvm_env_alloc_failed());
	DSVM_EXPECT(dsvm_os_alloc(16) == nullptr);
	DSVM_EXPECT(dsvm_env_alloc_failed());
	void *const third = dsvm_os_alloc(16);
	DSVM_EXPECT(third != nullptr);
	DSVM_EXPECT_EQ(dsvm_env_outstanding(), 3u);
	dsvm_os_free(first);
	dsvm_os_free(second);
	dsvm_os_free(third);
	dsvm_os_free(nullptr);
	DSVM_EXPECT_EQ(dsvm_env_outstanding(), 0u);
}

DSVM_CASE(env, alloc_is_zeroed)
{
	auto *const bytes = static_cast<u8 *>(dsvm_os_alloc(4096));
	u32 sum = 0;

	DSVM_REQUIRE(bytes != nullptr);
	for (u32 i = 0; i < 4096; i++)
		sum += bytes[i];
	DSVM_EXPECT_EQ(sum, 0u);
	dsvm_os_free(bytes);
}

DSVM_CASE(env, allocation_under_the_notifier_lock_is_found)
{
	cases::TestLock notifier("notifier", rank(LockRank::kNotifier));

	dsvm_os_write_lock(notifier.get());
	dsvm_env_expect_begin();
	void *const memory = dsvm_os_alloc(1);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	dsvm_os_write_unlock(notifier.get());
	dsvm_os_free(memory);
}

DSVM_CASE(env, lock_order_is_checked)
{
	cases::TestLock outer("range", rank(LockRank::kRange));
	cases::TestLock inner("notifier", rank(LockRank::kNotifier));
	cases::TestLock same("another notifier", rank(LockRank::kNotifier));

	dsvm_os_read_lock(outer.get());
	dsvm_os_write_lock(inner.get());
	DSVM_EXPECT_EQ(dsvm_env_rank_held(), rank(LockRank::kNotifier));
	dsvm_env_expect_begin();
	dsvm_os_read_lock(same.get());
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	dsvm_os_read_unlock(same.get());
	// In any order down.
	dsvm_os_read_unlock(outer.get());

	dsvm_env_expect_begin();
	dsvm_os_read_lock(outer.get());
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	dsvm_os_read_unlock(outer.get());
	dsvm_os_write_unlock(inner.get());
	DSVM_EXPECT_EQ(dsvm_env_rank_held(), 0u);
}

DSVM_CASE(env, lock_misuse_is_found)
{
	cases::TestLock lock("lock", rank(LockRank::kRange));

	dsvm_env_expect_begin();
	dsvm_os_read_unlock(lock.get());
	dsvm_os_assert_held(lock.get());
	dsvm_os_read_lock(lock.get());
	dsvm_os_assert_held(lock.get());
	dsvm_os_assert_held_write(lock.get());
	dsvm_os_read_lock(lock.get());
	dsvm_os_write_unlock(lock.get());
	dsvm_os_write_unlock(lock.get());
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 6u);
	DSVM_EXPECT(!dsvm_env_lock_is_held(lock.get()));
}

DSVM_CASE(env, guards_lock_and_unlock)
{
	cases::TestLock semaphore("lock", rank(LockRank::kNotifier));
	RwLock lock(semaphore.get());
	{
		ReadGuard guard{lock};
		lock.assert_held();
		DSVM_EXPECT(dsvm_env_lock_is_held(semaphore.get()));
	}
	DSVM_EXPECT(!dsvm_env_lock_is_held(semaphore.get()));
	{
		WriteGuard guard{lock};
		lock.assert_held_write();
	}
	DSVM_EXPECT(!dsvm_env_lock_is_held(semaphore.get()));
}

DSVM_CASE(env, reports_are_counted)
{
	dsvm_env_expect_begin();
	dsvm_os_warn("file", 1, "what");
	dsvm_env_violation("number %d", 2);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 2u);
}

DSVM_CASE(env, clock_and_log)
{
	const u64 before = dsvm_os_now_ns();

	dsvm_env_advance_ns(5'000'000);
	DSVM_EXPECT(dsvm_os_now_ns() > before + 5'000'000);
	DSVM_EXPECT(!dsvm_os_killed());
	dsvm_env_set_killed(true);
	DSVM_EXPECT(dsvm_os_killed());
	dsvm_os_log(DSVM_LOG_INFO, "%s %d", "line", 7);
	DSVM_EXPECT_EQ(dsvm_env_log_count(), 1u);
	DSVM_EXPECT(__builtin_strcmp(dsvm_env_last_log(), "line 7") == 0);
}

DSVM_CASE(env, random_repeats_with_its_seed)
{
	cases::Random a;
	cases::Random b;
	u64 differs = 0;

	for (u32 i = 0; i < 100; i++)
		DSVM_EXPECT_EQ(a.next(), b.next());
	for (u32 i = 0; i < 100; i++) {
		const u64 value = a.between(5, 9);
		DSVM_EXPECT(value >= 5 && value <= 9);
		differs |= value ^ 5;
	}
	DSVM_EXPECT(differs != 0);
}

// What another CPU holds is not ours, and what it wants of ours would never come.
DSVM_CASE(env, other_cpus_have_locks_of_their_own)
{
	cases::TestLock outer("notifier", rank(LockRank::kNotifier));
	cases::TestLock inner("mmap_lock", rank(LockRank::kMmap));

	dsvm_os_read_lock(outer.get());
	dsvm_env_other_cpu_begin();
	DSVM_EXPECT_EQ(dsvm_env_rank_held(), 0u);
	DSVM_EXPECT(!dsvm_env_lock_is_held(outer.get()));
	// In its own order, and beside another reader.
	dsvm_os_read_lock(inner.get());
	dsvm_os_read_lock(outer.get());
	dsvm_os_read_unlock(outer.get());
	dsvm_os_read_unlock(inner.get());
	dsvm_env_expect_begin();
	dsvm_os_write_lock(outer.get());
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	// It has to drop what it has taken.
	dsvm_os_read_lock(inner.get());
	dsvm_env_expect_begin();
	dsvm_env_other_cpu_end();
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	dsvm_env_other_cpu_begin();
	dsvm_os_read_unlock(inner.get());
	dsvm_env_other_cpu_end();
	DSVM_EXPECT(dsvm_env_lock_is_held(outer.get()));
	dsvm_os_read_unlock(outer.get());
}

DSVM_CASE(env, points_are_exact)
{
	cases::TestLock lock("mmap_lock", rank(LockRank::kMmap));
	u32 ran = 0;
	const auto step = [](void *arg) {
		DSVM_EXPECT_EQ(dsvm_env_rank_held(), 0u);
		dsvm_os_relax();
		++*static_cast<u32 *>(arg);
	};

	dsvm_env_at_point(2, 0, step, &ran);
	DSVM_EXPECT(dsvm_env_point_is_due());
	dsvm_os_relax();
	DSVM_EXPECT_EQ(ran, 0u);
	// Not under a lock; before it is taken and after it is dropped.
	dsvm_os_read_lock(lock.get());
	DSVM_EXPECT_EQ(ran, 1u);
	DSVM_EXPECT(!dsvm_env_point_is_due());
	dsvm_env_at_point(1, 0, step, &ran);
	dsvm_os_relax();
	DSVM_EXPECT_EQ(ran, 1u);
	dsvm_os_read_unlock(lock.get());
	DSVM_EXPECT_EQ(ran, 2u);
	// Unless it is one that the other CPU does without.
	dsvm_os_read_lock(lock.get());
	dsvm_env_at_point(1, rank(LockRank::kMmap), step, &ran);
	dsvm_os_relax();
	DSVM_EXPECT_EQ(ran, 3u);
	dsvm_os_read_unlock(lock.get());
}
