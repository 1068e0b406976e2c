// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Fibers are made with ucontext and switched with _setjmp() and _longjmp(), which, unlike
// swapcontext(), does not cost a system call: the way of QEMU's coroutines.

#include "tests/host/simmm/sched.h"

#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <ucontext.h>

#include "tests/host/simmm/rng.h"

#if defined(__SANITIZE_ADDRESS__)
#define DSVM_SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DSVM_SIM_ASAN 1
#endif
#endif
#ifdef DSVM_SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace dsvm::sim {

namespace {

// Redzones make frames a multiple of what they are.
#ifdef DSVM_SIM_ASAN
constexpr size_t kStackBytes = 512 * 1024;
#else
constexpr size_t kStackBytes = 128 * 1024;
#endif
constexpr size_t kGuardBytes = 4096;
constexpr uint64_t kPointNs = 1000;
constexpr uint64_t kRelaxNs = 10000000;
constexpr uint32_t kMaxHeld = 8;

Scheduler *the_scheduler;

} // namespace

const char *name_of(Point point)
{
	static const char *const names[] = {"start", "end",   "op",	  "lock", "unlock",
					    "os",    "alloc", "notifier", "pte",  "phase",
					    "copy",  "gpu",   "relax",	  "wait"};
	static_assert(sizeof(names) / sizeof(names[0]) == static_cast<size_t>(Point::kCount));

	return names[static_cast<size_t>(point)];
}

std::string to_string(const Schedule &schedule)
{
	std::string text;

	for (const Deviation &deviation : schedule) {
		text += text.empty() ? "" : " ";
		text += std::to_string(deviation.step) + ">" + std::to_string(deviation.fiber);
	}
	return text;
}

uint32_t Choice::by_default() const
{
	if (!fair && can_run(running))
		return running;
	for (uint32_t i = 1; i <= kMaxFibers; i++) {
		const uint32_t fiber = (running + i) % kMaxFibers;
		if (can_run(fiber))
			return fiber;
	}
	return running;
}

struct Scheduler::Fiber {
	enum class State : uint8_t { kUnused, kNew, kReady, kBlocked };

	struct Held {
		Rwsem *lock;
		bool write;
	};

	const char *name = "set-up";
	Body body = nullptr;
	void *arg = nullptr;
	char *stack = nullptr;
	jmp_buf place;
	ucontext_t context;
	State state = State::kUnused;
	bool killed = false;
	uint32_t works_for = kNobody;
	// While it is blocked.
	const char *waits_for = nullptr;
	bool (*ready)(void *) = nullptr;
	void *ready_arg = nullptr;
	// Why it must not; nullptr if it may.
	const char *atomic = nullptr;
	const char *non_blockable = nullptr;
	const char *no_reclaim = nullptr;
	Held held[kMaxHeld];
	uint32_t num_held = 0;
#ifdef DSVM_SIM_ASAN
	void *fake_stack = nullptr;
	const void *stack_bottom = nullptr;
	size_t stack_size = 0;
#endif

	void reset()
	{
		state = State::kUnused;
		killed = false;
		works_for = kNobody;
		waits_for = nullptr;
		atomic = non_blockable = no_reclaim = nullptr;
		num_held = 0;
	}
};

Scheduler::Scheduler()
{
	for (uint32_t i = 0; i <= kMaxFibers; i++) {
		Fiber *const fiber = new Fiber;

		fibers_[i] = fiber;
		if (i == kMaxFibers)
			break;
		void *const memory =
			mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0)
			std::abort();
		fiber->stack = static_cast<char *>(memory) + kGuardBytes;
#ifdef DSVM_SIM_ASAN
		fiber->stack_bottom = fiber->stack;
		fiber->stack_size = kStackBytes;
#endif
	}
	the_scheduler = this;
}

Scheduler::~Scheduler()
{
	for (uint32_t i = 0; i <= kMaxFibers; i++) {
		if (fibers_[i]->stack != nullptr)
			munmap(fibers_[i]->stack - kGuardBytes, kStackBytes + kGuardBytes);
		delete fibers_[i];
	}
	the_scheduler = nullptr;
}

Scheduler &Scheduler::current()
{
	return *the_scheduler;
}

void Scheduler::begin(Strategy &strategy, uint32_t max_steps)
{
	for (Fiber *fiber : fibers_)
		fiber->reset();
	strategy_ = &strategy;
	max_steps_ = max_steps;
	count_ = alive_ = 0;
	running_ = kNobody;
	step_ = 0;
	now_ns_ = 1000000000;
	schedule_hash_ = 0;
	schedule_.clear();
	violation_ = {};
	failed_ = false;
}

uint32_t Scheduler::spawn(const char *name, Body body, void *arg)
{
	uint32_t index = 0;

	while (index < kMaxFibers && fibers_[index]->state != Fiber::State::kUnused)
		index++;
	if (index == kMaxFibers)
		return kNobody;

	Fiber &fiber = *fibers_[index];
	fiber.reset();
#ifdef DSVM_SIM_ASAN
	// Frames of the one before, which was abandoned, or has left them by a jump.
	ASAN_UNPOISON_MEMORY_REGION(fiber.stack, kStackBytes);
#endif
	fiber.name = name;
	fiber.body = body;
	fiber.arg = arg;
	fiber.state = Fiber::State::kNew;
	if (index >= count_)
		count_ = index + 1;
	alive_++;
	return index;
}

// What a new fiber's stack begins with.
void Scheduler::enter(unsigned index)
{
	Scheduler &scheduler = current();
	Fiber &fiber = *scheduler.fibers_[index];

#ifdef DSVM_SIM_ASAN
	Fiber &caller = *scheduler.fibers_[kMaxFibers];
	const void *bottom;
	size_t size;
	__sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
	// The first switch of all comes from run(), whose stack is not one of ours.
	if (caller.stack_bottom == nullptr) {
		caller.stack_bottom = bottom;
		caller.stack_size = size;
	}
#endif
	fiber.body(fiber.arg);
	scheduler.end_fiber();
}

void Scheduler::jump(Fiber &from, Fiber &to)
{
#ifdef DSVM_SIM_ASAN
	__sanitizer_start_switch_fiber(from.state == Fiber::State::kUnused && from.stack != nullptr
					       ? nullptr
					       : &from.fake_stack,
				       to.stack_bottom, to.stack_size);
#endif
	if (_setjmp(from.place) == 0) {
		if (to.state == Fiber::State::kNew) {
			to.state = Fiber::State::kReady;
			getcontext(&to.context);
			to.context.uc_stack.ss_sp = to.stack;
			to.context.uc_stack.ss_size = kStackBytes;
			to.context.uc_link = nullptr;
			unsigned index = 0;
			while (current().fibers_[index] != &to)
				index++;
			makecontext(&to.context, reinterpret_cast<void (*)()>(enter), 1, index);
			setcontext(&to.context);
		}
		_longjmp(to.place, 1);
	}
#ifdef DSVM_SIM_ASAN
	__sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void Scheduler::run()
{
	if (failed_ || alive_ == 0)
		return;

	const Choice choice{step_, runnable(), 0, Point::kStart, false};
	const uint32_t first = strategy_->pick(choice);

	running_ = choice.can_run(first) ? first : choice.by_default();
	if (running_ != choice.by_default())
		schedule_.push_back({step_, running_});
	jump(*fibers_[kMaxFibers], *fibers_[running_]);
	running_ = kNobody;
}

// The running fiber is through.
void Scheduler::end_fiber()
{
	assert_no_locks("at the end of a fiber");
	Fiber &fiber = self();

	fiber.state = Fiber::State::kUnused;
	alive_--;
	if (alive_ > 0)
		choose(Point::kEnd, false);
	running_ = kNobody;
	jump(fiber, *fibers_[kMaxFibers]);
	std::abort(); // nobody comes back here
}

uint32_t Scheduler::runnable()
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < count_; i++) {
		Fiber &fiber = *fibers_[i];

		if (fiber.state == Fiber::State::kReady || fiber.state == Fiber::State::kNew ||
		    (fiber.state == Fiber::State::kBlocked && fiber.ready(fiber.ready_arg)))
			mask |= 1u << i;
	}
	return mask;
}

void Scheduler::choose(Point point, bool fair)
{
	step_++;
	now_ns_ += kPointNs;
	if (step_ > max_steps_)
		fail("livelock: the run does not come to an end", "after %u steps", step_);

	const Choice choice{step_, runnable(), running_, point, fair};
	if (choice.runnable == 0) {
		std::string waiting;
		for (uint32_t i = 0; i < count_; i++) {
			if (fibers_[i]->state == Fiber::State::kBlocked)
				waiting += std::string(" ") + fibers_[i]->name + " for " +
					   fibers_[i]->waits_for + ";";
		}
		fail("deadlock: nobody can go on", "waiting:%s", waiting.c_str());
	}

	const uint32_t by_default = choice.by_default();
	uint32_t next = strategy_->pick(choice);
	if (!choice.can_run(next))
		next = by_default;
	if (next != by_default)
		schedule_.push_back({step_, next});
	if (trace_)
		std::printf("%5u  %-10s %s\n", step_, self().name, name_of(point));
	if (next == running_)
		return;

	Fiber &from = self();
	schedule_hash_ = mix(schedule_hash_ ^ (uint64_t{step_} << 8) ^ next);
	running_ = next;
	fibers_[next]->waits_for = nullptr;
	if (fibers_[next]->state == Fiber::State::kBlocked)
		fibers_[next]->state = Fiber::State::kReady;
	jump(from, *fibers_[next]);
}

void Scheduler::point(Point point)
{
	if (in_fiber() && self().atomic == nullptr)
		choose(point, false);
}

void Scheduler::relax()
{
	may_sleep("relax");
	now_ns_ += kRelaxNs;
	if (in_fiber())
		choose(Point::kRelax, true);
}

void Scheduler::block(const char *what, bool (*ready)(void *), void *arg)
{
	Fiber &fiber = self();

	if (!in_fiber()) {
		std::fprintf(stderr, "sim: the set-up would wait for %s for ever\n", what);
		std::abort();
	}
	fiber.state = Fiber::State::kBlocked;
	fiber.waits_for = what;
	fiber.ready = ready;
	fiber.ready_arg = arg;
	choose(Point::kWait, false);
	fiber.state = Fiber::State::kReady;
	fiber.waits_for = nullptr;
}

void Scheduler::fail(const char *rule, const char *format, ...)
{
	if (!failed_) {
		char details[512];
		va_list args;

		va_start(args, format);
		std::vsnprintf(details, sizeof(details), format, args);
		va_end(args);
		failed_ = true;
		violation_.what = rule;
		violation_.where = std::string(self().name) + ", step " + std::to_string(step_) +
				   ": " + details;
		if (trace_)
			std::printf("%5u  %-10s VIOLATION: %s: %s\n", step_, self().name, rule,
				    details);
	}
	if (!in_fiber())
		return;

	Fiber &fiber = self();
	running_ = kNobody;
	jump(fiber, *fibers_[kMaxFibers]);
}

void Scheduler::note(const char *format, ...)
{
	if (!trace_)
		return;
	va_list args;

	std::printf("%5u  %-10s   ", step_, self().name);
	va_start(args, format);
	std::vprintf(format, args);
	va_end(args);
	std::printf("\n");
}

// Locks -----------------------------------------------------------------------

void Rwsem::assert_free() const
{
	if (writer != kNobody || readers != 0 || waiting_writers != 0)
		Scheduler::current().fail("a lock is freed that is in use", "%s", name);
}

void Scheduler::check_order(const Rwsem &lock)
{
	const Fiber &fiber = self();

	for (uint32_t i = 0; i < fiber.num_held; i++) {
		const Rwsem &held = *fiber.held[i].lock;

		if (&held == &lock)
			fail("a lock is taken twice", "%s", lock.name);
		else if (lock.rank != LockRank::kUnranked && held.rank != LockRank::kUnranked &&
			 lock.rank <= held.rank)
			fail("locks are taken against their order", "%s under %s", lock.name,
			     held.name);
	}
}

void Scheduler::take(Rwsem &lock, bool write)
{
	Fiber &fiber = self();

	if (fiber.num_held == kMaxHeld)
		fail("too many locks are held", "%s", lock.name);
	fiber.held[fiber.num_held++] = {&lock, write};
	if (write) {
		lock.writer = slot();
	} else {
		lock.readers++;
		lock.reading[slot()]++;
	}
}

void Scheduler::drop(Rwsem &lock, bool write)
{
	Fiber &fiber = self();
	uint32_t i = fiber.num_held;

	while (i > 0 && !(fiber.held[i - 1].lock == &lock && fiber.held[i - 1].write == write))
		i--;
	if (i == 0) {
		fail("a lock is dropped that was not held so", "%s", lock.name);
		return;
	}
	for (; i < fiber.num_held; i++)
		fiber.held[i - 1] = fiber.held[i];
	fiber.num_held--;
	if (write) {
		lock.writer = kNobody;
	} else {
		lock.readers--;
		lock.reading[slot()]--;
	}
	point(Point::kUnlock);
}

void Scheduler::read_lock(Rwsem &lock)
{
	may_sleep(lock.name);
	check_order(lock);
	point(Point::kLock);
	const auto free = [&] {
		return lock.writer == kNobody && lock.waiting_writers == 0;
	};
	if (!free())
		block(
			lock.name,
			[](void *arg) { return (*static_cast<decltype(free) *>(arg))(); },
			const_cast<void *>(static_cast<const void *>(&free)));
	take(lock, false);
}

bool Scheduler::try_read_lock(Rwsem &lock)
{
	point(Point::kLock);
	if (lock.writer != kNobody || lock.waiting_writers != 0)
		return false;
	take(lock, false);
	return true;
}

void Scheduler::read_unlock(Rwsem &lock)
{
	drop(lock, false);
}

void Scheduler::write_lock(Rwsem &lock)
{
	may_sleep(lock.name);
	check_order(lock);
	point(Point::kLock);
	const auto free = [&] {
		return lock.writer == kNobody && lock.readers == 0;
	};
	if (!free()) {
		lock.waiting_writers++;
		block(
			lock.name,
			[](void *arg) { return (*static_cast<decltype(free) *>(arg))(); },
			const_cast<void *>(static_cast<const void *>(&free)));
		lock.waiting_writers--;
	}
	take(lock, true);
}

void Scheduler::write_unlock(Rwsem &lock)
{
	drop(lock, true);
}

void Scheduler::downgrade(Rwsem &lock)
{
	Fiber &fiber = self();

	for (uint32_t i = 0; i < fiber.num_held; i++) {
		if (fiber.held[i].lock != &lock || !fiber.held[i].write)
			continue;
		fiber.held[i].write = false;
		lock.writer = kNobody;
		lock.readers++;
		lock.reading[slot()]++;
		point(Point::kUnlock);
		return;
	}
	fail("a lock is dropped that was not held so", "%s", lock.name);
}

bool Scheduler::holds(const Rwsem &lock) const
{
	return lock.reading[slot()] != 0 || holds_write(lock);
}

bool Scheduler::holds_write(const Rwsem &lock) const
{
	return lock.writer == slot();
}

bool Scheduler::holds_rank(LockRank at_least) const
{
	const Fiber &fiber = self();

	for (uint32_t i = 0; i < fiber.num_held; i++) {
		if (fiber.held[i].lock->rank >= at_least)
			return true;
	}
	return false;
}

void Scheduler::kill(uint32_t fiber)
{
	fibers_[fiber]->killed = true;
}

bool Scheduler::is_killed() const
{
	const uint32_t other = self().works_for;

	return self().killed || (other != kNobody && fibers_[other]->killed);
}

void Scheduler::works_for_us(uint32_t fiber)
{
	fibers_[fiber]->works_for = running_;
}

void Scheduler::assert_no_locks(const char *when)
{
	if (self().num_held != 0)
		fail("a lock is kept", "%s %s", self().held[0].lock->name, when);
}

// Contexts --------------------------------------------------------------------

void Scheduler::may_sleep(const char *what)
{
	const Fiber &fiber = self();

	if (fiber.atomic != nullptr)
		fail("sleeps where it must not", "%s in %s", what, fiber.atomic);
	else if (fiber.non_blockable != nullptr)
		fail("sleeps where it must not", "%s in %s", what, fiber.non_blockable);
}

void Scheduler::may_allocate()
{
	may_sleep("memory");
	if (self().no_reclaim != nullptr)
		fail("memory is asked for where reclaim may wait for it", "in %s",
		     self().no_reclaim);
	else if (holds_rank(LockRank::kNotifier))
		fail("memory is asked for where reclaim may wait for it", "under the %s",
		     "notifier lock");
}

Scheduler::Atomic::Atomic(const char *why) : before_(current().self().atomic)
{
	current().self().atomic = why;
}

Scheduler::Atomic::~Atomic()
{
	current().self().atomic = before_;
}

Scheduler::NonBlockable::NonBlockable(const char *why) : before_(current().self().non_blockable)
{
	current().self().non_blockable = why;
}

Scheduler::NonBlockable::~NonBlockable()
{
	current().self().non_blockable = before_;
}

Scheduler::NoReclaim::NoReclaim(const char *why) : before_(current().self().no_reclaim)
{
	current().self().no_reclaim = why;
}

Scheduler::NoReclaim::~NoReclaim()
{
	current().self().no_reclaim = before_;
}

} // namespace dsvm::sim
