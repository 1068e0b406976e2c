// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Virtual CPUs that take turns as a strategy says.
//
// A fiber is what runs on one virtual CPU. One runs at a time, and another one comes to
// its turn only at a point: an OS call, a lock, an unlock, a step of the simulated mm that
// a real CPU could be interrupted at. What happens between two points is atomic. At each
// point the strategy picks who goes on; it is the only source of non-determinism, so that
// what it picked is the whole schedule, and a run with the same program and the same
// picks is the same run.
//
//	steps    0    1    2    3    4    5    6
//	A        ##########.................#####	A is preempted at step 2,
//	B        ..........##############........	B blocks at step 5
//	schedule: 2>B
//
// A schedule is written down as its deviations: by default the running fiber goes on, and
// when it cannot, the next one that can does (in circular order). Step numbers count points.
//
// Time is simulated: each point takes a microsecond, dsvm_os_relax() ten milliseconds, so
// that a retry loop with a budget of a second ends after a hundred tries at most.
//
// What is found out here: deadlock (nobody can go on), livelock (too many steps), sleeping
// where the contract forbids it, locks taken twice or against their order or kept.
//
// A run that breaks a rule stops at once: its fibers are abandoned where they stand, and
// whatever they had allocated through the simulation is freed by the next begin().
#ifndef DSVM_SIMMM_SCHED_H
#define DSVM_SIMMM_SCHED_H

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/locking.h"

namespace dsvm::sim {

constexpr uint32_t kMaxFibers = 16;
constexpr uint32_t kNobody = ~0u;

// Why a fiber may be switched here. For traces and for strategies.
enum class Point : uint8_t {
	kStart,	   // a fiber begins
	kEnd,	   // a fiber has ended
	kOp,	   // between two operations of a program
	kLock,	   // about to take a lock
	kUnlock,   // has dropped a lock
	kOs,	   // an OS call that is none of the others
	kAlloc,	   // memory
	kNotifier, // before and after each step of an invalidation
	kPte,	   // between two page table entries
	kPhase,	   // between two steps of a migration
	kCopy,	   // between two pages of a copy
	kGpu,	   // an access of the GPU is in flight
	kRelax,	   // lets others run
	kWait,	   // waits for a condition
	kCount,
};

const char *name_of(Point point);

// What a strategy is asked.
struct Choice {
	uint32_t step;	   // how many points there were before
	uint32_t runnable; // bit i: fiber i can go on
	uint32_t running;  // who stands at the point; may be unable to go on
	Point point;
	bool fair; // the running fiber said that others should run: dsvm_os_relax()

	bool can_run(uint32_t fiber) const { return (runnable >> fiber) & 1; }
	// Who goes on if nobody decides otherwise.
	uint32_t by_default() const;
};

class Strategy {
public:
	virtual ~Strategy() = default;
	// One of the runnable.
	virtual uint32_t pick(const Choice &choice) = 0;
};

// One deviation from the default.
struct Deviation {
	uint32_t step;
	uint32_t fiber;
	bool operator==(const Deviation &) const = default;
};
using Schedule = std::vector<Deviation>;

std::string to_string(const Schedule &schedule);

// A rule that was broken.
struct Violation {
	std::string what;  // the rule, stable from run to run: the class of the failure
	std::string where; // the fiber, the step, and the details
};

// A reader-writer semaphore as the kernel's: not recursive, and a writer that waits keeps
// new readers out (kernel: Documentation/locking/locktypes.rst, "rw_semaphore").
struct Rwsem {
	const char *name;
	LockRank rank;
	uint32_t readers = 0;		      // how many
	uint8_t reading[kMaxFibers + 1] = {}; // by fiber; the last one is nobody's: set-up
	uint32_t writer = kNobody;
	uint32_t waiting_writers = 0;

	// Complains if somebody has it, or waits for it: its memory is about to go.
	void assert_free() const;
};

class Scheduler {
public:
	using Body = void (*)(void *arg);

	Scheduler();
	~Scheduler();
	Scheduler(const Scheduler &) = delete;
	Scheduler &operator=(const Scheduler &) = delete;

	static Scheduler &current();

	// A new run, on an empty stage.
	void begin(Strategy &strategy, uint32_t max_steps);
	// A fiber that can run from now on; also from within a fiber. kNobody: no room.
	uint32_t spawn(const char *name, Body body, void *arg);
	// Until all have ended or a rule was broken.
	void run();

	bool failed() const { return failed_; }
	const Violation &violation() const { return violation_; }
	// What was picked in this run.
	const Schedule &schedule() const { return schedule_; }
	uint32_t steps() const { return step_; }
	uint64_t now_ns() const { return now_ns_; }
	// A hash of who ran when, for the count of distinct schedules.
	uint64_t schedule_hash() const { return schedule_hash_; }

	// From here on: within a fiber -------------------------------------------------

	uint32_t running() const { return running_; }
	bool in_fiber() const { return running_ != kNobody; }

	// Another fiber may go on here. Outside of a fiber, and where no switch is allowed
	// (see NoSwitch), nothing happens.
	void point(Point point);
	// Lets the others run, and time go on.
	void relax();
	// The same until so much time is over, `done()` says so, or it is killed.
	template <class Done> void sleep(uint64_t ns, Done done)
	{
		for (const uint64_t end = now_ns_ + ns; now_ns_ < end && !done() && !is_killed();)
			relax();
	}
	// Goes on as soon as `ready()` says so. Sleeps. Outside of a fiber it must be so already.
	template <class Ready> void wait_until(const char *what, Ready ready)
	{
		may_sleep(what);
		point(Point::kWait);
		if (!ready())
			block(
				what, [](void *arg) { return (*static_cast<Ready *>(arg))(); },
				&ready);
	}

	// Stops the run. Does not return to a fiber.
	[[gnu::format(printf, 3, 4)]] void fail(const char *rule, const char *format, ...);

	void read_lock(Rwsem &lock);
	void read_unlock(Rwsem &lock);
	// As read_lock(), but false where that would have to wait.
	bool try_read_lock(Rwsem &lock);
	void write_lock(Rwsem &lock);
	void write_unlock(Rwsem &lock);
	// From writing to reading, without letting go.
	void downgrade(Rwsem &lock);
	bool holds(const Rwsem &lock) const;
	bool holds_write(const Rwsem &lock) const;
	// Anything of that rank or above it in the order.
	bool holds_rank(LockRank at_least) const;
	// A fatal signal: dsvm_os_killed() says so from then on.
	void kill(uint32_t fiber);
	bool is_killed() const;
	// What kills the running fiber kills that one as well, which works for it.
	void works_for_us(uint32_t fiber);
	// Complains if a lock is still held that the running fiber took.
	void assert_no_locks(const char *when);

	// Complains where the contract forbids to sleep.
	void may_sleep(const char *what);
	// Complains where the contract forbids memory to be asked for: in an invalidation.
	void may_allocate();

	// The running fiber must not sleep while it is in scope, and no other one runs, as
	// under a spinlock.
	class Atomic {
	public:
		explicit Atomic(const char *why);
		~Atomic();
		Atomic(const Atomic &) = delete;
		Atomic &operator=(const Atomic &) = delete;

	private:
		const char *const before_;
	};
	// Others may run, but the running fiber must not sleep: a notifier that cannot block.
	class NonBlockable {
	public:
		explicit NonBlockable(const char *why);
		~NonBlockable();
		NonBlockable(const NonBlockable &) = delete;
		NonBlockable &operator=(const NonBlockable &) = delete;

	private:
		const char *const before_;
	};
	// Inside a notifier: reclaim may wait for us, so memory must not be asked for.
	class NoReclaim {
	public:
		explicit NoReclaim(const char *why);
		~NoReclaim();
		NoReclaim(const NoReclaim &) = delete;
		NoReclaim &operator=(const NoReclaim &) = delete;

	private:
		const char *const before_;
	};

	// A line for each point and for whatever note() says; for replays.
	void set_trace(bool trace) { trace_ = trace; }
	bool traces() const { return trace_; }
	[[gnu::format(printf, 2, 3)]] void note(const char *format, ...);

private:
	struct Fiber;

	static void enter(unsigned index);
	static void jump(Fiber &from, Fiber &to);
	void block(const char *what, bool (*ready)(void *), void *arg);
	void take(Rwsem &lock, bool write);
	void drop(Rwsem &lock, bool write);
	void check_order(const Rwsem &lock);
	uint32_t runnable();
	void choose(Point point, bool fair);
	[[noreturn]] void end_fiber();
	uint32_t slot() const { return running_ == kNobody ? kMaxFibers : running_; }
	Fiber &self() const { return *fibers_[slot()]; }

	// Kept from run to run, for their stacks; the last one is whoever called run().
	Fiber *fibers_[kMaxFibers + 1];
	uint32_t count_ = 0;
	uint32_t alive_ = 0;
	uint32_t running_ = kNobody;
	uint32_t step_ = 0;
	uint32_t max_steps_ = 0;
	uint64_t now_ns_ = 0;
	uint64_t schedule_hash_ = 0;
	Strategy *strategy_ = nullptr;
	Schedule schedule_;
	Violation violation_;
	bool failed_ = false;
	bool trace_ = false;
};

} // namespace dsvm::sim

#endif // DSVM_SIMMM_SCHED_H
