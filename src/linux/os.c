// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm_svm/os.h: memory, time, log, locks.
 */
#include <linux/bug.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/rwsem.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "drm_svm/os.h"
#include "internal.h"

void *dsvm_os_alloc(dsvm_usize bytes)
{
	return kvzalloc(bytes, GFP_KERNEL_ACCOUNT);
}

void *dsvm_os_alloc_unset(dsvm_usize bytes)
{
	return kvmalloc(bytes, GFP_KERNEL_ACCOUNT);
}

void dsvm_os_free(void *memory)
{
	kvfree(memory);
}

/* Those who ask can do without. */
void *dsvm_os_alloc_nowait(dsvm_usize bytes)
{
	return kmalloc(bytes, GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT);
}

void dsvm_os_free_nowait(void *memory)
{
	kfree(memory);
}

dsvm_u64 dsvm_os_now_ns(void)
{
	return ktime_get_ns();
}

dsvm_u64 dsvm_os_tick_ns(void)
{
	return get_jiffies_64() * TICK_NSEC;
}

void dsvm_os_relax(void)
{
	usleep_range(20, 100);
}

void dsvm_os_resched(void)
{
	cond_resched();
}

dsvm_bool dsvm_os_killed(void)
{
	return fatal_signal_pending(dsvm_client());
}

void dsvm_os_log(enum dsvm_log_level level, const char *format, ...)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);
	static const char *const prefix[] = {
		[DSVM_LOG_ERROR] = KERN_ERR,
		[DSVM_LOG_WARNING] = KERN_WARNING,
		[DSVM_LOG_INFO] = KERN_INFO,
		[DSVM_LOG_DEBUG] = KERN_DEBUG,
	};
	struct va_format vaf = { .fmt = format };
	va_list args;

	if (!__ratelimit(&limit))
		return;

	va_start(args, format);
	vaf.va = &args;
	printk("%sdrm_svm: %pV\n", prefix[level], &vaf);
	va_end(args);
}

void dsvm_os_warn(const char *file, int line, const char *what)
{
	WARN_RATELIMIT(1, "drm_svm: %s:%d: broken: %s\n", file, line, what);
}

/* To be woken up takes some thousand cycles; to put a range into a tree some hundred. */
#define READ_TRIES 50

static noinline void read_lock_patiently(struct rw_semaphore *lock)
{
	unsigned int tries;

	for (tries = 1; tries < READ_TRIES && !need_resched(); tries++) {
		cpu_relax();
		if (down_read_trylock(lock))
			return;
	}
	down_read(lock);
}

void dsvm_read_lock(struct rw_semaphore *lock)
{
	/* A lock that one only tries to take teaches lockdep nothing. */
	might_lock_read(lock);
	if (!down_read_trylock(lock))
		read_lock_patiently(lock);
}

void dsvm_os_read_lock(struct dsvm_os_rwsem *lock)
{
	dsvm_read_lock(to_rwsem(lock));
}

void dsvm_os_read_unlock(struct dsvm_os_rwsem *lock)
{
	up_read(to_rwsem(lock));
}

void dsvm_os_write_lock(struct dsvm_os_rwsem *lock)
{
	down_write(to_rwsem(lock));
}

void dsvm_os_write_unlock(struct dsvm_os_rwsem *lock)
{
	up_write(to_rwsem(lock));
}

void dsvm_os_assert_held(struct dsvm_os_rwsem *lock)
{
	lockdep_assert_held(to_rwsem(lock));
}

void dsvm_os_assert_held_write(struct dsvm_os_rwsem *lock)
{
	lockdep_assert_held_write(to_rwsem(lock));
}
