// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The environment of a test case: kunit/env.h, and that part of os.h which is not
// about address spaces (those are in the other files of this directory).
//
// Everything here is counted and checked. There is one thread, so a lock is a note
// of who holds what; the notes are what the lock order is checked against. What a hook does as
// another CPU is noted as that one's, and must not need a lock that waits for the first.

#include "kunit/env.h"
#include "core/base/locking.h"
#include "core/base/utility.h"
#include "drm_svm/os.h"

// Models struct rw_semaphore: one writer or many readers, not recursive.
struct dsvm_os_rwsem {
	const char *name;
	dsvm::u32 rank;
	dsvm::u32 holders; // bit n: CPU n
	bool for_writing;
};

namespace dsvm::fake {
namespace {

constexpr u32 kMaxHeld = 16;
constexpr u32 kCpus = 4;
constexpr u32 kLineBytes = 320;
// Failed checks of one case that are printed; the rest is counted.
constexpr u32 kPrintedFailures = 12;
// Before each allocation: tells our memory from others', and how much it is.
constexpr u64 kMagic = 0x6473766d'616c6c6full;

struct Header {
	u64 magic;
	u64 bytes;
};

// What a CPU holds.
struct Cpu {
	u32 held_count;
	dsvm_os_rwsem *held[kMaxHeld];
};

struct Env {
	const char *suite;
	const char *name;
	u64 seed;

	u32 checks;
	u32 failures;
	u32 expecting; // depth of dsvm_env_expect_begin()
	u32 expected;  // reports swallowed since

	u64 outstanding;
	u64 fail_in; // allocations until the one that fails; 0: none
	bool allocs_fail;
	bool alloc_failed;
	u32 nowait_every; // each so many-th fails; 0: none
	u32 nowait_count;
	u64 nowait_failed;

	u64 clock_ns;
	u64 rescheds;
	bool killed;

	u32 log_count;
	char log[kLineBytes];
	char line[kLineBytes];

	u32 cpu;
	Cpu cpus[kCpus];

	u32 step_at; // points until `step` runs; 0: it does not
	u32 step_rank;
	void (*step)(void *arg);
	void *step_arg;
};

Env env;

[[gnu::format(printf, 1, 2)]] void print(const char *format, ...)
{
	__builtin_va_list args;

	__builtin_va_start(args, format);
	dsvm_backend_vformat(env.line, sizeof(env.line), format, args);
	__builtin_va_end(args);
	dsvm_backend_print(env.line);
}

// Counts a failure; whether it is still to be printed.
bool count_failure()
{
	env.failures++;
	if (env.failures == kPrintedFailures + 1)
		dsvm_backend_print("... more failures, not printed");
	return env.failures <= kPrintedFailures;
}

Cpu &this_cpu()
{
	return env.cpus[env.cpu];
}

bool holds(const dsvm_os_rwsem *lock)
{
	return (lock->holders >> env.cpu & 1) != 0;
}

void check_order(const dsvm_os_rwsem *lock)
{
	const Cpu &cpu = this_cpu();

	for (u32 i = 0; i < cpu.held_count; i++) {
		const dsvm_os_rwsem *const other = cpu.held[i];

		if (lock->rank != 0 && other->rank >= lock->rank)
			dsvm_env_violation("%s (rank %u) taken inside %s (rank %u)", lock->name,
					   lock->rank, other->name, other->rank);
	}
}

void take(dsvm_os_rwsem *lock, bool for_writing)
{
	Cpu &cpu = this_cpu();

	dsvm_env_point();
	if (holds(lock)) {
		dsvm_env_violation("%s: taken while held", lock->name);
		return;
	}
	if (lock->holders != 0 && (for_writing || lock->for_writing)) {
		dsvm_env_violation("%s: wanted while another CPU has it", lock->name);
		return;
	}
	check_order(lock);
	lock->holders |= 1u << env.cpu;
	lock->for_writing = for_writing;
	if (cpu.held_count < kMaxHeld)
		cpu.held[cpu.held_count++] = lock;
	else
		dsvm_env_violation("%s: too many locks at once", lock->name);
}

void drop(dsvm_os_rwsem *lock, bool for_writing)
{
	Cpu &cpu = this_cpu();

	if (!holds(lock)) {
		dsvm_env_violation("%s: dropped but not held", lock->name);
		return;
	}
	if (lock->for_writing != for_writing)
		dsvm_env_violation("%s: dropped in another mode than taken", lock->name);
	lock->holders &= ~(1u << env.cpu);

	u32 kept = 0;
	for (u32 i = 0; i < cpu.held_count; i++) {
		if (cpu.held[i] != lock)
			cpu.held[kept++] = cpu.held[i];
	}
	cpu.held_count = kept;
	dsvm_env_point();
}

void *give(usize bytes)
{
	auto *const header = static_cast<Header *>(dsvm_backend_alloc(sizeof(Header) + bytes));

	if (header == nullptr)
		return nullptr;
	header->magic = kMagic;
	header->bytes = bytes;
	env.outstanding++;
	return header + 1;
}

void take_back(void *memory)
{
	Header *const header = static_cast<Header *>(memory) - 1;

	if (header->magic != kMagic) {
		dsvm_env_violation("freed twice, or never allocated");
		return;
	}
	header->magic = 0;
	env.outstanding--;
	dsvm_backend_free(header);
}

// FNV-1a, so that cases draw different numbers from one seed.
u64 mix_name(u64 hash, const char *text)
{
	for (; *text != '\0'; text++)
		hash = (hash ^ static_cast<u8>(*text)) * 0x100000001b3ull;
	return hash;
}

} // namespace
} // namespace dsvm::fake

using dsvm::fake::env;

// Cases ---------------------------------------------------------------------------

void dsvm_env_begin(const char *suite, const char *name, dsvm_u64 seed)
{
	env = {};
	env.suite = suite;
	env.name = name;
	env.seed = seed;
	env.clock_ns = 1;
}

dsvm_bool dsvm_env_end(void)
{
	if (env.checks == 0)
		dsvm_env_violation("the case checked nothing");
	if (env.outstanding != 0)
		dsvm_env_violation("%llu allocations outstanding", env.outstanding);
	for (dsvm::u32 i = 0; i < env.cpus[0].held_count; i++)
		dsvm_env_violation("%s: still held", env.cpus[0].held[i]->name);
	if (env.expecting != 0)
		dsvm_env_violation("reports are still expected");
	if (env.failures != 0)
		dsvm::fake::print("%s_%s: %u failures; seed %#llx", env.suite, env.name,
				  env.failures, env.seed);
	return env.failures == 0;
}

dsvm_bool dsvm_case_check(dsvm_bool holds, const char *file, int line, const char *what)
{
	env.checks++;
	if (!holds && dsvm::fake::count_failure())
		dsvm::fake::print("%s:%d: expected: %s", file, line, what);
	return holds;
}

dsvm_bool dsvm_case_check_eq(dsvm_u64 a, dsvm_u64 b, const char *file, int line, const char *a_text,
			     const char *b_text)
{
	env.checks++;
	if (a != b && dsvm::fake::count_failure())
		dsvm::fake::print("%s:%d: %s is %lld (%#llx), expected %s, %lld (%#llx)", file,
				  line, a_text, static_cast<dsvm_s64>(a), a, b_text,
				  static_cast<dsvm_s64>(b), b);
	return a == b;
}

void dsvm_case_log(const char *format, ...)
{
	__builtin_va_list args;

	__builtin_va_start(args, format);
	dsvm_backend_vformat(env.line, sizeof(env.line), format, args);
	__builtin_va_end(args);
	dsvm_backend_print(env.line);
}

dsvm_u64 dsvm_case_seed(void)
{
	return dsvm::fake::mix_name(
		dsvm::fake::mix_name(env.seed ^ 0xcbf29ce484222325ull, env.suite), env.name);
}

void dsvm_env_violation(const char *format, ...)
{
	if (env.expecting > 0) {
		env.expected++;
		return;
	}
	if (!dsvm::fake::count_failure())
		return;
	__builtin_va_list args;

	__builtin_va_start(args, format);
	dsvm_backend_vformat(env.line, sizeof(env.line), format, args);
	__builtin_va_end(args);
	dsvm_backend_print(env.line);
}

void dsvm_env_expect_begin(void)
{
	env.expecting++;
	env.expected = 0;
}

dsvm_u32 dsvm_env_expect_end(void)
{
	env.expecting--;
	return env.expected;
}

// Memory ----------------------------------------------------------------------------

void dsvm_env_fail_alloc(dsvm_u64 n)
{
	env.fail_in = n;
	env.alloc_failed = false;
}

void dsvm_env_fail_allocs(dsvm_bool fail)
{
	env.allocs_fail = fail;
}

dsvm_bool dsvm_env_alloc_failed(void)
{
	return env.alloc_failed;
}

dsvm_u64 dsvm_env_outstanding(void)
{
	return env.outstanding;
}

void dsvm_env_fail_nowait(dsvm_u32 n)
{
	env.nowait_every = n;
	env.nowait_count = 0;
}

dsvm_u64 dsvm_env_nowait_failed(void)
{
	return env.nowait_failed;
}

// Models kvzalloc(GFP_KERNEL): may reclaim, so it is forbidden where a notifier lock
// is held.
void *dsvm_os_alloc(dsvm_usize bytes)
{
	dsvm_env_point();
	if (dsvm_env_rank_held() >= static_cast<dsvm::u32>(dsvm::LockRank::kNotifier))
		dsvm_env_violation("memory allocated under the notifier lock");
	if (env.allocs_fail || (env.fail_in != 0 && --env.fail_in == 0)) {
		env.alloc_failed = true;
		return nullptr;
	}
	return dsvm::fake::give(bytes);
}

// Models kvmalloc(GFP_KERNEL), with what the one before may have left there.
void *dsvm_os_alloc_unset(dsvm_usize bytes)
{
	void *const memory = dsvm_os_alloc(bytes);

	if (memory != nullptr)
		__builtin_memset(memory, 0xa5, bytes);
	return memory;
}

// Models kvfree(): any context that may sleep.
void dsvm_os_free(void *memory)
{
	if (memory == nullptr)
		return;
	dsvm_env_point();
	if (dsvm_env_rank_held() >= static_cast<dsvm::u32>(dsvm::LockRank::kNotifier))
		dsvm_env_violation("memory freed under the notifier lock");
	dsvm::fake::take_back(memory);
}

// Models kmalloc(GFP_NOWAIT): any context, and likely to fail.
void *dsvm_os_alloc_nowait(dsvm_usize bytes)
{
	if (bytes > DSVM_PAGE_SIZE)
		dsvm_env_violation("%lu bytes without waiting", bytes);
	if (env.nowait_every != 0 && env.nowait_count++ % env.nowait_every == 0) {
		env.nowait_failed++;
		return nullptr;
	}

	void *const memory = dsvm::fake::give(bytes);
	if (memory != nullptr)
		__builtin_memset(memory, 0xa5, bytes);
	return memory;
}

// Models kfree(): any context.
void dsvm_os_free_nowait(void *memory)
{
	if (memory != nullptr)
		dsvm::fake::take_back(memory);
}

// Time, log, warnings -----------------------------------------------------------------

dsvm_u64 dsvm_os_now_ns(void)
{
	env.clock_ns += 1000;
	return env.clock_ns;
}

dsvm_u64 dsvm_os_tick_ns(void)
{
	return dsvm_os_now_ns();
}

void dsvm_os_relax(void)
{
	dsvm_env_point();
	env.clock_ns += 100 * 1000;
}

void dsvm_os_resched(void)
{
	dsvm_env_point();
	env.rescheds++;
}

dsvm_u64 dsvm_env_rescheds(void)
{
	return env.rescheds;
}

dsvm_bool dsvm_os_killed(void)
{
	return env.killed;
}

void dsvm_env_advance_ns(dsvm_u64 ns)
{
	env.clock_ns += ns;
}

void dsvm_env_set_killed(dsvm_bool killed)
{
	env.killed = killed;
}

void dsvm_os_log(enum dsvm_log_level, const char *format, ...)
{
	__builtin_va_list args;

	__builtin_va_start(args, format);
	dsvm_backend_vformat(env.log, sizeof(env.log), format, args);
	__builtin_va_end(args);
	env.log_count++;
}

const char *dsvm_env_last_log(void)
{
	return env.log;
}

dsvm_u32 dsvm_env_log_count(void)
{
	return env.log_count;
}

void dsvm_os_warn(const char *file, int line, const char *what)
{
	dsvm_env_violation("%s:%d: warning: %s", file, line, what);
}

// Other CPUs ------------------------------------------------------------------------------

void dsvm_env_other_cpu_begin(void)
{
	if (env.cpu + 1 == dsvm::fake::kCpus)
		dsvm_env_violation("too many CPUs");
	else
		env.cpu++;
}

void dsvm_env_other_cpu_end(void)
{
	if (dsvm::fake::this_cpu().held_count != 0)
		dsvm_env_violation("another CPU leaves a lock held");
	env.cpu--;
}

void dsvm_env_at_point(dsvm_u32 n, dsvm_u32 rank, void (*step)(void *arg), void *arg)
{
	env.step_at = n;
	env.step_rank = rank;
	env.step = step;
	env.step_arg = arg;
}

dsvm_bool dsvm_env_point_is_due(void)
{
	return env.step_at != 0;
}

void dsvm_env_point(void)
{
	if (env.step_at == 0 || env.cpu != 0 || dsvm_env_rank_held() > env.step_rank ||
	    --env.step_at != 0)
		return;
	dsvm_env_other_cpu_begin();
	env.step(env.step_arg);
	dsvm_env_other_cpu_end();
}

// Locks ----------------------------------------------------------------------------------

dsvm_os_rwsem *dsvm_env_lock_create(const char *name, dsvm_u32 rank)
{
	auto *const lock = static_cast<dsvm_os_rwsem *>(dsvm_backend_alloc(sizeof(dsvm_os_rwsem)));

	if (lock != nullptr) {
		lock->name = name;
		lock->rank = rank;
	}
	return lock;
}

void dsvm_env_lock_destroy(dsvm_os_rwsem *lock)
{
	if (lock->holders != 0) {
		dsvm_env_violation("%s: destroyed while held", lock->name);
		if (dsvm::fake::holds(lock))
			dsvm::fake::drop(lock, lock->for_writing);
	}
	dsvm_backend_free(lock);
}

dsvm_bool dsvm_env_lock_is_held(const dsvm_os_rwsem *lock)
{
	return dsvm::fake::holds(lock);
}

dsvm_u32 dsvm_env_rank_held(void)
{
	dsvm::u32 rank = 0;

	const dsvm::fake::Cpu &cpu = dsvm::fake::this_cpu();

	for (dsvm::u32 i = 0; i < cpu.held_count; i++) {
		if (cpu.held[i]->rank > rank)
			rank = cpu.held[i]->rank;
	}
	return rank;
}

void dsvm_os_read_lock(dsvm_os_rwsem *lock)
{
	dsvm::fake::take(lock, false);
}

void dsvm_os_read_unlock(dsvm_os_rwsem *lock)
{
	dsvm::fake::drop(lock, false);
}

void dsvm_os_write_lock(dsvm_os_rwsem *lock)
{
	dsvm::fake::take(lock, true);
}

void dsvm_os_write_unlock(dsvm_os_rwsem *lock)
{
	dsvm::fake::drop(lock, true);
}

void dsvm_os_assert_held(dsvm_os_rwsem *lock)
{
	if (!dsvm::fake::holds(lock))
		dsvm_env_violation("%s: not held", lock->name);
}

void dsvm_os_assert_held_write(dsvm_os_rwsem *lock)
{
	if (!dsvm::fake::holds(lock) || !lock->for_writing)
		dsvm_env_violation("%s: not held for writing", lock->name);
}
