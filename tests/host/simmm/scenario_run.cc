// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "tests/host/simmm/scenario_run.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <memory>

namespace dsvm::sim {

namespace {

// As on a real machine, in pages.
constexpr u32 kHugeOrder = 9;
constexpr u32 kBlock = 1u << kHugeOrder;
constexpr u32 kWindow = 1u << 17;
constexpr u32 kMms = 4;
// A loop of a `together` is there so that the two meet at all on a real machine. Here they
// meet where the schedule says.
constexpr u32 kMaxLoops = 3;
constexpr u32 kMaxHeld = 16;

constexpr DriverConfig kStub{.migrate_on_fault = false,
			     .notifier_pages = kWindow,
			     .chunk_pages = {512, 16, 1},
			     .piece_pages = kBlock,
			     .check_pages = 16,
			     .range_locks = true,
			     .window_locks = true,
			     .trims = true,
			     .wide_reads = true,
			     .finish_slots = 2,
			     .workers = 1,
			     .copies_runs = true,
			     .copies_later = true,
			     .frees_pages = true,
			     .evicts = true};

// A page that an actor holds, by the area and the page that it was found at.
struct Held {
	u32 area;
	u32 at;
	u32 page = kNoPage;
};

struct Actor {
	const scn_actor *info = nullptr;
	u32 number = 0;
	Mm *mm = nullptr; // of a child: while it lives
	u32 block = 0;	  // the `together` that its fiber is of
	bool running = false;
	Held held[kMaxHeld];
};

class Stage {
public:
	Stage(const scn &scenario, const Kernel &kernel);

	void set();
	void run();
	void finish();

private:
	[[gnu::format(printf, 3, 4)]] void fail(const scn_step &step, const char *format, ...);
	usize addr(u32 area, u32 page) const { return machine().addr_of(first_[area] + page); }
	Mm *mm_of(const Actor &actor);
	void run_together(u32 block);
	static void run_actor(void *arg);
	void run_lines(Actor &actor, u32 block);
	void run_step(Actor &actor, const scn_step &step);
	u32 perform(Actor &actor, const scn_step &step);
	u32 access(Actor &actor, const scn_step &step);
	u32 access_page(Actor &actor, usize addr, bool write, u64 *value);
	u32 change(Mm &mm, const scn_step &step);
	u32 hold(Actor &actor, const scn_step &step);
	u32 let_go(Actor &actor, const scn_step &step);
	void fork(Actor &actor, const scn_step &step);
	void end_process(Actor &actor, bool exit);
	void expect_place(const scn_step &step);
	void expect_gpu(const scn_step &step);
	void expect_events(const scn_step &step);

	const scn &scenario_;
	const Kernel &kernel_;
	const u32 number_; // SCN_KERNEL()
	u32 first_[SCN_MAX_AREAS];
	Actor actors_[SCN_MAX_ACTORS];
};

Stage *the_stage;

u32 number_of(const Kernel &kernel)
{
	unsigned int major = 0, minor = 0;

	std::sscanf(kernel.name, "%u.%u", &major, &minor);
	return SCN_KERNEL(major, minor);
}

u32 outcome_of(int error)
{
	switch (-error) {
	case 0:
		return SCN_OK;
	case DSVM_EAGAIN:
		return SCN_EAGAIN;
	case DSVM_EBUSY:
		return SCN_EBUSY;
	case DSVM_EFAULT:
		return SCN_EFAULT;
	case DSVM_EINVAL:
		return SCN_EINVAL;
	case DSVM_ENOENT:
		return SCN_ENOENT;
	case DSVM_ENOMEM:
		return SCN_ENOMEM;
	case DSVM_ENOSPC:
		return SCN_ENOSPC;
	case DSVM_EPERM:
		return SCN_EPERM;
	default:
		return SCN_OUTCOMES; // none that a scenario can name
	}
}

u32 outcome_of(Access access)
{
	switch (access) {
	case Access::kDone:
		return SCN_OK;
	case Access::kSegv:
		return SCN_SIGSEGV;
	case Access::kBus:
		return SCN_SIGBUS;
	case Access::kOom:
		return SCN_ENOMEM;
	case Access::kGone:
		break;
	}
	return SCN_OUTCOMES;
}

Stage::Stage(const scn &scenario, const Kernel &kernel)
	: scenario_(scenario), kernel_(kernel), number_(number_of(kernel))
{
	the_stage = this;
	// 2 MiB of nothing before and after each.
	u32 next = kBlock;
	for (u32 i = 0; i < scenario.num_areas; i++) {
		first_[i] = next;
		next += (scenario.areas[i].pages + kBlock - 1) / kBlock * kBlock + kBlock;
	}
	Geometry geometry;
	geometry.mms = kMms;
	geometry.va_pages = next;
	geometry.ram_pages = 8 * kBlock + kMms * next;
	geometry.device_pages = 2 * next;
	geometry.huge_order = kHugeOrder;
	geometry.swap_slots = 0; // as the machines that the others run on
	machine().reset(geometry, kernel);
	Driver::current().reset(kStub);
}

void Stage::fail(const scn_step &step, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	std::vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	scheduler().fail("a scenario comes out otherwise than it says", "line %u: %s", step.line,
			 text);
}

// Outside of fibers: nothing to wait for.
void Stage::set()
{
	Machine &m = machine();

	for (u32 i = 0; i < scenario_.num_actors; i++) {
		actors_[i].info = &scenario_.actors[i];
		actors_[i].number = i;
	}
	actors_[0].mm = &m.mm(0);
	for (u32 i = 0; i < scenario_.num_areas; i++) {
		const scn_area &area = scenario_.areas[i];
		const usize first = addr(i, 0);
		const usize last = first + area.pages * kPageSize - 1;

		switch (area.kind) {
		case SCN_SMALL:
		case SCN_HUGE:
			m.mmap(m.mm(0), first, last, VmaKind::kAnonymous, area.kind == SCN_HUGE);
			break;
		case SCN_SHARED:
			m.mmap(m.mm(0), first, last, VmaKind::kShared, false);
			break;
		case SCN_FILE:
			for (u32 page = 0; page < area.pages; page++)
				m.set_file(0, first_[i] + page, SCN_FILE_VALUE + page);
			m.mmap(m.mm(0), first, last, VmaKind::kFile, false);
			break;
		case SCN_EMPTY:
			break;
		}
	}
}

// Threads of main, the GPU's too, work in its memory.
Mm *Stage::mm_of(const Actor &actor)
{
	return actor.info->role == SCN_CHILD ? actor.mm : actors_[0].mm;
}

void Stage::run()
{
	u32 block = 0;

	for (u32 i = 0; i < scenario_.num_steps; i++) {
		const scn_step &step = scenario_.steps[i];

		if (step.block == 0)
			run_step(actors_[step.actor], step);
		else if (step.block != block)
			run_together(step.block);
		block = step.block;
	}
}

void Stage::run_together(u32 block)
{
	for (Actor &actor : actors_) {
		bool has_lines = false;

		for (u32 i = 0; i < scenario_.num_steps; i++)
			has_lines = has_lines || (scenario_.steps[i].block == block &&
						  scenario_.steps[i].actor == actor.number);
		// A child that is forked in the block begins then.
		if (actor.info == nullptr || !has_lines || mm_of(actor) == nullptr)
			continue;
		actor.block = block;
		actor.running = true;
		scheduler().spawn(actor.info->name, run_actor, &actor);
	}
	scheduler().wait_until("the end of what runs together", [&] {
		for (const Actor &actor : actors_) {
			if (actor.running)
				return false;
		}
		return true;
	});
}

void Stage::run_actor(void *arg)
{
	Actor &actor = *static_cast<Actor *>(arg);

	the_stage->run_lines(actor, actor.block);
	actor.running = false;
}

void Stage::run_lines(Actor &actor, u32 block)
{
	u32 loops = 1;

	// Whatever is in the loop says how often, and all that follows is in it.
	for (u32 i = 0; i < scenario_.num_steps; i++) {
		if (scenario_.steps[i].block == block && scenario_.steps[i].actor == actor.number)
			loops = std::max(loops, scenario_.steps[i].loops);
	}
	for (u32 round = 0; round < std::min(loops, kMaxLoops); round++) {
		for (u32 i = 0; i < scenario_.num_steps; i++) {
			const scn_step &step = scenario_.steps[i];

			if (step.block == block && step.actor == actor.number &&
			    (round == 0 || step.loops > 1))
				run_step(actor, step);
		}
	}
}

void Stage::run_step(Actor &actor, const scn_step &step)
{
	char wanted[128];

	if (!scn_step_applies(&step, number_))
		return;
	scheduler().point(Point::kOp);
	scheduler().note("line %u", step.line);
	const u32 outcome = perform(actor, step);
	if ((step.outcomes & SCN_OUTCOME(outcome)) == 0) {
		char seen[128] = "something else";
		if (outcome < SCN_OUTCOMES)
			scn_set_text(seen, sizeof(seen), SCN_OUTCOME_NAMES, SCN_OUTCOME(outcome));
		fail(step, "expected %s, seen %s",
		     scn_set_text(wanted, sizeof(wanted), SCN_OUTCOME_NAMES, step.outcomes), seen);
	}
}

u32 Stage::perform(Actor &actor, const scn_step &step)
{
	Driver &driver = Driver::current();
	const usize first = addr(step.area, step.first);
	const usize last = first + step.count * kPageSize - 1;

	switch (step.verb) {
	case SCN_VM_CREATE:
		driver.set_migrate_on_fault(step.set == SCN_VM_MIGRATE);
		return outcome_of(driver.vm_create(machine().mm(0)));
	case SCN_VM_DESTROY:
		driver.vm_destroy();
		return SCN_OK;
	case SCN_EXPECT_PLACE:
		expect_place(step);
		return SCN_OK;
	case SCN_EXPECT_GPU:
		expect_gpu(step);
		return SCN_OK;
	case SCN_EXPECT_EVENTS:
		expect_events(step);
		return SCN_OK;
	case SCN_READ:
	case SCN_WRITE:
		return access(actor, step);
	case SCN_PIN:
		return hold(actor, step);
	case SCN_UNPIN:
		return let_go(actor, step);
	case SCN_FORK:
		fork(actor, step);
		return SCN_OK;
	case SCN_WAIT:
		scheduler().wait_until("a child's end",
				       [&] { return !actors_[step.child].running; });
		return SCN_OK;
	case SCN_EXEC:
	case SCN_EXIT:
		end_process(actor, step.verb == SCN_EXIT);
		return SCN_OK;
	case SCN_TO_VRAM:
		return outcome_of(driver.to_vram(first, last));
	case SCN_TO_RAM:
		return outcome_of(driver.to_ram(first, last));
	default:
		return change(*mm_of(actor), step);
	}
}

u32 Stage::change(Mm &mm, const scn_step &step)
{
	Machine &m = machine();
	const usize first = addr(step.area, step.first);
	const usize last = first + step.count * kPageSize - 1;
	const usize to = addr(step.to_area, step.to_first);

	switch (step.verb) {
	case SCN_MUNMAP:
		return outcome_of(m.munmap(mm, first, last));
	case SCN_MMAP:
		// In one call, instead of what was there: nothing can come between.
		m.munmap(mm, first, last);
		return outcome_of(m.mmap(mm, first, last, VmaKind::kAnonymous, false));
	case SCN_PROTECT:
		return outcome_of(m.mprotect(mm, first, last, step.set & SCN_PROT_READ,
					     step.set & SCN_PROT_WRITE));
	case SCN_DONTNEED:
		return outcome_of(m.madvise_dontneed(mm, first, last));
	case SCN_MADV_FREE:
		return outcome_of(m.madvise_free(mm, first, last));
	case SCN_PAGEOUT:
		for (u32 i = 0; i < step.count; i++)
			m.page_out(mm, first + i * kPageSize);
		return SCN_OK;
	case SCN_COLLAPSE:
		for (u32 i = 0; i + kBlock <= step.count; i += kBlock) {
			const int ret = m.collapse(mm, first + i * kPageSize);
			if (ret != 0)
				return outcome_of(ret);
		}
		return SCN_OK;
	case SCN_MOVE:
		m.munmap(mm, to, to + (last - first));
		return outcome_of(m.mremap(mm, first, last, to));
	default:
		return SCN_OUTCOMES;
	}
}

u32 Stage::access_page(Actor &actor, usize at, bool write, u64 *value)
{
	Driver &driver = Driver::current();

	if (actor.info->role == SCN_GPU)
		return outcome_of(write ? driver.store(at, *value) : driver.load(at, value));
	Mm &mm = *mm_of(actor);
	return outcome_of(write ? machine().store(mm, at, *value) : machine().load(mm, at, value));
}

// As far as it goes.
u32 Stage::access(Actor &actor, const scn_step &step)
{
	const bool write = step.verb == SCN_WRITE;

	for (u32 i = 0; i < step.count; i++) {
		u64 value = write ? scn_value_at(&step.values[0], i) : 0;
		const u32 outcome =
			access_page(actor, addr(step.area, step.first + i), write, &value);

		if (outcome != SCN_OK)
			return outcome;
		if (!write && !scn_expects(&step, i, static_cast<u32>(value)))
			fail(step, "page %u holds %lu", step.first + i, static_cast<usize>(value));
	}
	return SCN_OK;
}

u32 Stage::hold(Actor &actor, const scn_step &step)
{
	const usize at = addr(step.area, step.first);
	u64 value = 0;

	const u32 outcome = access_page(actor, at, false, &value);
	if (outcome != SCN_OK)
		return outcome;
	for (Held &held : actor.held) {
		if (held.page != kNoPage)
			continue;
		held = Held{step.area, step.first, machine().hold(*mm_of(actor), at)};
		return held.page == kNoPage ? SCN_EFAULT : SCN_OK;
	}
	return SCN_ENOMEM;
}

u32 Stage::let_go(Actor &actor, const scn_step &step)
{
	for (Held &held : actor.held) {
		if (held.page == kNoPage || held.area != step.area || held.at != step.first)
			continue;
		machine().let_go(held.page);
		held.page = kNoPage;
		return SCN_OK;
	}
	return SCN_EINVAL;
}

void Stage::fork(Actor &actor, const scn_step &step)
{
	Actor &child = actors_[step.child];

	child.mm = machine().fork(*mm_of(actor));
	if (child.mm == nullptr) {
		fail(step, "no child");
		return;
	}
	if (step.block == 0)
		return;
	child.block = step.block;
	child.running = true;
	scheduler().spawn(child.info->name, run_actor, &child);
}

// The end of a process, or of its memory.
void Stage::end_process(Actor &actor, bool exit)
{
	for (Held &held : actor.held) {
		if (held.page != kNoPage)
			machine().let_go(held.page);
		held.page = kNoPage;
	}
	if (actor.mm != nullptr)
		machine().exit(*actor.mm);
	actor.mm = nullptr;
	// Its files go after its memory.
	if (exit && actor.number == 0 && Driver::current().has_vm())
		Driver::current().vm_destroy();
}

void Stage::expect_place(const scn_step &step)
{
	for (u32 i = 0; i < step.count; i++) {
		const dsvm_residency where =
			Driver::current().residency(addr(step.area, step.first + i));
		const u32 place = where.device ? SCN_VRAM : where.system ? SCN_RAM : SCN_NONE;
		char wanted[64], seen[64];

		if ((place & step.set) == 0)
			fail(step, "page %u: expected %s, seen %s", step.first + i,
			     scn_set_text(wanted, sizeof(wanted), SCN_PLACES, step.set),
			     scn_set_text(seen, sizeof(seen), SCN_PLACES, place));
	}
}

void Stage::expect_gpu(const scn_step &step)
{
	for (u32 i = 0; i < step.count; i++) {
		const GpuAccess allowed =
			Driver::current().gpu_access(addr(step.area, step.first + i));
		const u32 right = allowed == GpuAccess::kWrite	? SCN_GPU_RW
				  : allowed == GpuAccess::kRead ? SCN_GPU_R
								: SCN_GPU_NONE;
		char wanted[64], seen[64];

		if ((right & step.set) == 0)
			fail(step, "page %u: expected gpu %s, seen %s", step.first + i,
			     scn_set_text(wanted, sizeof(wanted), SCN_RIGHTS, step.set),
			     scn_set_text(seen, sizeof(seen), SCN_RIGHTS, right));
	}
}

void Stage::expect_events(const scn_step &step)
{
	static_assert(static_cast<u32>(Event::kUnmap) == SCN_EVENT_UNMAP &&
		      static_cast<u32>(Event::kExclusive) == SCN_EVENT_EXCLUSIVE);
	// As the stub's VM_STATS, which waits for garbage.
	Driver::current().flush();
	const u32 events = Driver::current().take_events();
	char wanted[128], seen[128];

	if ((events & ~step.maybe) != (step.set & ~step.maybe))
		fail(step, "expected events %s, seen %s",
		     scn_set_text(wanted, sizeof(wanted), SCN_EVENT_KINDS, step.set),
		     scn_set_text(seen, sizeof(seen), SCN_EVENT_KINDS, events));
}

// Outside of fibers.
void Stage::finish()
{
	machine().check_consistency();
	for (Actor &actor : actors_) {
		if (actor.info != nullptr && actor.info->role == SCN_CHILD)
			end_process(actor, true);
	}
	end_process(actors_[0], true);
	machine().finish_exits();
	Driver::current().flush();
	if (Driver::current().free_vram() != machine().geometry().device_pages)
		scheduler().fail("VRAM is not free when all processes have ended", "%u pages",
				 Driver::current().free_vram());
	Driver::current().check_nothing_left();
	machine().check_nothing_left();
}

} // namespace

Outcome run_scenario(const scn &scenario, const Kernel &kernel, Strategy &strategy,
		     const RunOptions &options)
{
	Scheduler &sched = scheduler();

	sched.begin(strategy, 5000000);
	sched.set_trace(options.trace);
	machine().pte_changed = [](Mm &mm, u32 index) {
		Gpu::current().check(mm, index);
	};
	const std::unique_ptr<Stage> stage = std::make_unique<Stage>(scenario, kernel);
	stage->set();
	sched.spawn(
		"script", [](void *arg) { static_cast<Stage *>(arg)->run(); }, stage.get());
	sched.run();
	if (!sched.failed())
		stage->finish();
	sched.set_trace(false);

	Outcome outcome;
	outcome.failed = sched.failed();
	outcome.violation = sched.violation();
	outcome.schedule = sched.schedule();
	outcome.steps = sched.steps();
	outcome.schedule_hash = sched.schedule_hash();
	return outcome;
}

} // namespace dsvm::sim
