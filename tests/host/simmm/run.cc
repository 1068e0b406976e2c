// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Runs a program:
//
//	the stage	memory, what is in it and where, a VM; before there are fibers
//	the threads	a fiber each; workers of the kernel join them
//	the end		one fiber, by the default schedule: everything is looked at, and goes

#include "tests/host/simmm/claims.h"
#include "tests/host/simmm/hmmptr_ops.h"

namespace dsvm::sim {

namespace {

constexpr u32 kMaxPins = 8;  // of a thread
constexpr u32 kEndPages = 4; // that the GPU is asked to use in the end

class Run;

struct Thread {
	Run *run = nullptr;
	const std::vector<Op> *ops = nullptr;
	u32 index = 0;
	u32 fiber = kNobody;
	bool ended = false;
	u32 next = 0; // operation
	u32 pins[kMaxPins] = {};
	u32 num_pins = 0;
};

// What the caller wants to decide, and to be told, as long as the threads run.
class Director final : public Strategy {
public:
	Director(Strategy &strategy, const Run &run, const RunOptions &options)
		: strategy_(strategy), run_(run), options_(options)
	{}
	u32 pick(const Choice &choice) override;
	void end() { ending_ = true; }

private:
	Strategy &strategy_;
	const Run &run_;
	const RunOptions &options_;
	bool ending_ = false;
};

class Run {
public:
	explicit Run(const Program &program) : program_(program), claims_(program) {}

	void set_stage();
	void start();
	// After all threads have ended. In a fiber, but for the last part.
	void look_at_everything();
	void end_everything();
	void check_nothing_left();
	// What is where, and who.
	u64 state() const { return machine().state_hash() ^ where_; }

private:
	static void thread_body(void *arg);
	void perform(Thread &thread, const Op &op);
	void perform_on_mm(Thread &thread, const Op &op, Mm &mm);
	bool perform_daemon(const Op &op, Mm &mm);
	void perform_on_driver(Thread &thread, const Op &op);
	void access(const Op &op, Mm &mm, u64 value);
	void gpu_access(const Op &op, u64 value);
	void judge_eviction(const Op &op, int ret);
	void change(const Op &op, Mm &mm);
	void fork(Mm &mm);
	void pin(Thread &thread, const Op &op, Mm &mm);
	void unpin(Thread &thread);
	dsvm_scan expected_scan(const Area &area, bool from_device) const;
	void scan_areas();
	void use_gpu();
	void read_everything();
	void arrive(Thread &thread, u32 next);

	const Program &program_;
	const Claims claims_;
	Thread threads_[kMaxThreads];
	u64 where_ = 0;
	bool alive_[kMaxMms] = {};   // processes that have not ended
	bool started_[kMaxMms] = {}; // ... and those that have
};

u32 Director::pick(const Choice &choice)
{
	if (ending_)
		return choice.by_default();
	if (options_.visit != nullptr)
		options_.visit(run_.state(), options_.visit_arg);
	return strategy_.pick(choice);
}

// The stage ---------------------------------------------------------------------

void Run::set_stage()
{
	Machine &m = machine();
	Driver &driver = Driver::current();

	m.reset(program_.geometry, *program_.kernel);
	m.pte_changed = [](Mm &mm, u32 index) {
		Gpu::current().check(mm, index);
	};
	driver.reset(program_.driver);
	alive_[0] = started_[0] = true;
	for (const Area &area : program_.areas) {
		const usize first = m.addr_of(area.first), last = m.addr_of(area.last + 1u) - 1;

		if (m.mmap(m.mm(0), first, last, area.kind, area.huge) != 0)
			scheduler().fail("an area cannot be made", "page %u", area.first);
		for (u32 i = area.first; area.filled && i <= area.last; i++)
			m.store(m.mm(0), m.addr_of(i), (u64{0xf} << 32) | i);
	}
	driver.vm_create(m.mm(0));
	for (const Area &area : program_.areas) {
		if (area.in_vram)
			driver.to_vram(m.addr_of(area.first), m.addr_of(area.last + 1u) - 1);
	}
	driver.flush();
	for (u32 slot = 0; slot < program_.hmmptrs.size(); slot++) {
		const HmmptrArea &hmmptr = program_.hmmptrs[slot];

		if (driver.hmmptr_make(slot, m.mm(0), hmmptr.first, hmmptr.last, hmmptr.flags) != 0)
			scheduler().fail("a hmmptr cannot be made", "page %u", hmmptr.first);
	}
}

void Run::start()
{
	static const char *const names[kMaxThreads] = {"t0", "t1", "t2", "t3", "t4", "t5"};

	for (u32 i = 0; i < program_.threads.size() && i < kMaxThreads; i++) {
		Thread &thread = threads_[i];

		thread.run = this;
		thread.ops = &program_.threads[i];
		thread.index = i;
		arrive(thread, 0);
		thread.fiber = scheduler().spawn(names[i], thread_body, &thread);
	}
}

// Threads -----------------------------------------------------------------------

void Run::arrive(Thread &thread, u32 next)
{
	where_ ^= mix((u64{thread.index + 1} << 32) | thread.next);
	thread.next = next;
	where_ ^= mix((u64{thread.index + 1} << 32) | thread.next);
}

void Run::thread_body(void *arg)
{
	Thread &thread = *static_cast<Thread *>(arg);
	Run &run = *thread.run;

	for (const Op &op : *thread.ops) {
		scheduler().point(Point::kOp);
		if (scheduler().is_killed())
			break;
		if (scheduler().traces())
			scheduler().note("%s", to_text(op).c_str());
		run.perform(thread, op);
		run.arrive(thread, thread.next + 1);
		scheduler().assert_no_locks("after an operation");
	}
	while (thread.num_pins > 0)
		run.unpin(thread);
	thread.ended = true;
}

void Run::perform(Thread &thread, const Op &op)
{
	if (!operands_of(op.verb).mm) {
		perform_on_driver(thread, op);
		return;
	}
	if (op.mm >= kMaxMms || !started_[op.mm])
		return;
	Mm &mm = machine().mm(op.mm);
	if (op.verb == Verb::kOomReap) {
		// Comes for a process that is being killed, and may be late.
		machine().oom_reap(mm);
		return;
	}
	if (!alive_[op.mm])
		return;
	if (op.verb == Verb::kExit) {
		alive_[op.mm] = false;
		machine().exit(mm);
		return;
	}
	// A thread of the process is a user as long as it runs.
	if (!machine().mm_get(mm))
		return;
	perform_on_mm(thread, op, mm);
	machine().mm_put(mm);
}

void Run::perform_on_mm(Thread &thread, const Op &op, Mm &mm)
{
	switch (op.verb) {
	case Verb::kLoad:
	case Verb::kStore:
		access(op, mm, (u64{thread.index + 1} << 16) | (thread.next + 1));
		break;
	case Verb::kFork:
		fork(mm);
		break;
	case Verb::kPin:
		pin(thread, op, mm);
		break;
	case Verb::kHmmptrMake:
		claims_.judge(op, Driver::current().hmmptr_make(slot_of(op), mm, op.first, op.last,
								flags_of(op)));
		break;
	default:
		if (!perform_daemon(op, mm))
			change(op, mm);
		break;
	}
}

// False: it is none of the kernel's own doings.
bool Run::perform_daemon(const Op &op, Mm &mm)
{
	const usize addr = machine().addr_of(op.first);

	switch (op.verb) {
	case Verb::kPageOut:
		machine().page_out(mm, addr);
		return true;
	case Verb::kCompact:
		machine().compact(mm, addr);
		return true;
	case Verb::kCollapse:
		machine().collapse(mm, addr);
		return true;
	case Verb::kSplit:
	case Verb::kSplitFolio:
		machine().split_huge(mm, addr, op.verb == Verb::kSplitFolio);
		return true;
	default:
		return false;
	}
}

void Run::access(const Op &op, Mm &mm, u64 value)
{
	const usize addr = machine().addr_of(op.first);
	const Access result = op.verb == Verb::kLoad ? machine().load(mm, addr, &value)
						     : machine().store(mm, addr, value);
	bool explained = true;

	switch (result) {
	case Access::kDone:
		break;
	case Access::kSegv:
		explained = !claims_.is_steady(op.first);
		break;
	case Access::kBus:
		explained = claims_.fails || !claims_.is_steady(op.first);
		break;
	case Access::kOom:
		explained = claims_.lacks_memory;
		break;
	case Access::kGone:
		explained = false; // we are a user
		break;
	}
	if (!explained)
		scheduler().fail("an access ends in a way that nothing explains",
				 "%s of page %u of mm %u: %s", name_of(op.verb), op.first, mm.index,
				 name_of(result));
}

void Run::change(const Op &op, Mm &mm)
{
	Machine &m = machine();
	const usize first = m.addr_of(op.first), last = m.addr_of(op.last + 1u) - 1;
	int ret = 0;

	switch (op.verb) {
	case Verb::kMap:
		ret = m.mmap(mm, first, last, VmaKind::kAnonymous, op.to != 0);
		break;
	case Verb::kUnmap:
		ret = m.munmap(mm, first, last);
		break;
	case Verb::kProtectNone:
		ret = m.mprotect(mm, first, last, false, false);
		break;
	case Verb::kProtectRead:
		ret = m.mprotect(mm, first, last, true, false);
		break;
	case Verb::kProtectWrite:
		ret = m.mprotect(mm, first, last, true, true);
		break;
	case Verb::kDontneed:
		ret = m.madvise_dontneed(mm, first, last);
		break;
	case Verb::kFree:
		ret = m.madvise_free(mm, first, last);
		break;
	case Verb::kMove:
		ret = m.mremap(mm, first, last, m.addr_of(op.to));
		break;
	default:
		break;
	}
	claims_.judge(op, ret, DSVM_ENOMEM, DSVM_EEXIST, DSVM_EINVAL, DSVM_EFAULT);
}

void Run::fork(Mm &mm)
{
	if (const Mm *const child = machine().fork(mm)) {
		alive_[child->index] = started_[child->index] = true;
		scheduler().note("the child is mm %u", child->index);
	}
}

void Run::pin(Thread &thread, const Op &op, Mm &mm)
{
	if (thread.num_pins == kMaxPins)
		return;
	const u32 page = machine().pin(mm, machine().addr_of(op.first));
	if (page == kNoPage)
		return;
	if (op.to == 0) {
		thread.pins[thread.num_pins++] = page;
		return;
	}
	for (u32 i = 0; i < op.to; i++)
		scheduler().point(Point::kOs);
	machine().unpin(page);
}

void Run::unpin(Thread &thread)
{
	const u32 page = thread.pins[0];

	thread.num_pins--;
	for (u32 i = 0; i < thread.num_pins; i++)
		thread.pins[i] = thread.pins[i + 1];
	machine().unpin(page);
}

// The driver's ------------------------------------------------------------------

void Run::gpu_access(const Op &op, u64 value)
{
	const usize addr = machine().addr_of(op.first);
	Driver &driver = Driver::current();
	const int ret =
		op.verb == Verb::kGpuLoad ? driver.load(addr, &value) : driver.store(addr, value);

	if (ret == -DSVM_EPERM || ret == -DSVM_EFAULT) {
		// A killed caller's fault ends as one that cannot be served.
		if (claims_.is_steady(op.first) && !claims_.fails && !claims_.owner_exits &&
		    !scheduler().is_killed())
			scheduler().fail("the GPU is refused what nothing forbids",
					 "%s of page %u returned %d", name_of(op.verb), op.first,
					 ret);
		return;
	}
	claims_.judge(op, ret, DSVM_EBUSY);
}

// No RAM to go to has its own error; none in one piece as well, for a huge page that cannot be
// split as long as somebody (a CPU's fault that has stopped, say) holds it.
void Run::judge_eviction(const Op &op, int ret)
{
	if (ret != -DSVM_ENOSPC || !(claims_.lacks_huge || claims_.has_to_split))
		claims_.judge(op, ret, DSVM_EBUSY);
}

void Run::perform_on_driver(Thread &thread, const Op &op)
{
	Machine &m = machine();
	Driver &driver = Driver::current();
	const usize first = m.addr_of(op.first), last = m.addr_of(op.last + 1u) - 1;
	const bool is_ioctl = op.verb == Verb::kToVram || op.verb == Verb::kToRam ||
			      op.verb == Verb::kToPeer || op.verb == Verb::kEvictRanges ||
			      op.verb == Verb::kDropRanges;

	// By a thread of the process that has the VM.
	if (perform_on_hmmptr(op, (u64{thread.index + 1} << 16) | (thread.next + 1), claims_))
		return;
	if (is_ioctl && (!alive_[0] || !m.mm_get(m.mm(0))))
		return;
	switch (op.verb) {
	case Verb::kGpuLoad:
	case Verb::kGpuStore:
		if (driver.has_vm())
			gpu_access(op, (u64{thread.index + 1} << 16) | (thread.next + 1));
		break;
	case Verb::kToVram:
		claims_.judge(op, driver.to_vram(first, last), DSVM_EBUSY, DSVM_ENOSPC,
			      DSVM_ENOENT);
		break;
	case Verb::kToPeer:
		claims_.judge(op, driver.to_peer(first, last), DSVM_EBUSY, DSVM_ENOSPC,
			      DSVM_ENOENT);
		break;
	case Verb::kToRam:
		claims_.judge(op, driver.to_ram(first, last), DSVM_EBUSY, DSVM_ENOENT);
		break;
	case Verb::kEvictRanges:
		claims_.judge(op, driver.evict_ranges(first, last));
		break;
	case Verb::kEvict:
		judge_eviction(op, driver.evict(first));
		break;
	case Verb::kEvictPart:
		judge_eviction(op, driver.evict_part(first, op.to));
		break;
	case Verb::kEvictAll:
		judge_eviction(op, driver.evict_all());
		break;
	case Verb::kDropRanges:
		claims_.judge(op, driver.drop_ranges(first, last));
		break;
	case Verb::kGarbage:
		driver.collect_garbage();
		break;
	case Verb::kVmDestroy:
		driver.vm_destroy();
		break;
	case Verb::kUnbind:
		judge_eviction(op, driver.unbind());
		break;
	case Verb::kUnpin:
		if (thread.num_pins > 0)
			unpin(thread);
		break;
	case Verb::kKill:
		// A thread that has ended may have left its virtual CPU to a worker.
		if (op.to < program_.threads.size() && !threads_[op.to].ended)
			scheduler().kill(threads_[op.to].fiber);
		break;
	case Verb::kFail:
		m.inject(static_cast<Fail>(op.first), op.to);
		break;
	default:
		break;
	}
	if (is_ioctl)
		m.mm_put(m.mm(0));
}

// The end -----------------------------------------------------------------------

// Nothing is under way: every page has what it has to have, and can be got.
void Run::look_at_everything()
{
	Machine &m = machine();
	Driver &driver = Driver::current();

	for (u32 i = 1; i < static_cast<u32>(Fail::kCount); i++)
		m.inject(static_cast<Fail>(i), 0);
	m.check_consistency();
	for (u32 i = 0; i < program_.geometry.va_pages; i++)
		Gpu::current().check(m.mm(0), i);
	driver.check_quiet();
	scan_areas();
	if (program_.driver.workers != 0 && alive_[0])
		driver.check_report();
	m.check_consistency();
	use_gpu();
	if (driver.has_vm() && alive_[0])
		use_hmmptrs(program_, claims_);
	// Every other program has its memory back by eviction, the others by CPU faults.
	const int evicted = program_.ops() % 2 != 0 ? driver.evict_all() : 0;
	// A huge page that is not mapped where it was made for cannot be split, and needs one of RAM.
	if (evicted != 0 && !claims_.lacks_huge)
		scheduler().fail("an eviction fails that nothing is in the way of", "%d", evicted);
	read_everything();
	m.check_consistency();
	driver.check_quiet();
}

// What has to be said of a span, by its entries.
dsvm_scan Run::expected_scan(const Area &area, bool from_device) const
{
	Mm &mm = machine().mm(0);
	u32 ram = 0, device = 0, peer = 0;

	for (u32 i = area.first; i <= area.last; i++) {
		const Vma *const vma = machine().find_vma(mm, machine().addr_of(i));

		if (vma == nullptr || !vma->read)
			return DSVM_SCAN_UNPOPULATED;
		ram += mm.ptes[i].kind == PteKind::kPresent;
		if (mm.ptes[i].kind != PteKind::kDevice)
			continue;
		// Another owner's is as good as nothing.
		if (machine().owner_of(mm.ptes[i].page) != machine().device_owners[0])
			return DSVM_SCAN_UNPOPULATED;
		device += machine().device_of(mm.ptes[i].page) == 0;
		peer += machine().device_of(mm.ptes[i].page) != 0;
	}
	if (ram + device + peer != area.last - area.first + 1u)
		return DSVM_SCAN_UNPOPULATED;
	if (ram != 0)
		return device + peer != 0 ? DSVM_SCAN_MIXED : DSVM_SCAN_SYSTEM;
	if (device != 0 && peer != 0)
		return DSVM_SCAN_MIXED_DEVICE;
	return from_device && peer == 0 ? DSVM_SCAN_EQUAL : DSVM_SCAN_OTHER;
}

void Run::scan_areas()
{
	const bool from_device = program_.ops() % 2 != 0;

	if (!alive_[0] || claims_.lacks_memory)
		return;
	for (const Area &area : program_.areas) {
		const usize first = machine().addr_of(area.first);
		const usize last = machine().addr_of(area.last + 1u) - 1;
		const dsvm_scan expected = expected_scan(area, from_device);
		const dsvm_scan seen = Driver::current().scan(first, last, from_device);

		if (area.kind != VmaKind::kSpecial && seen != expected)
			scheduler().fail("a scan does not say what there is",
					 "pages %u-%u: %d, not %d", area.first, area.last,
					 static_cast<int>(seen), static_cast<int>(expected));
	}
}

// What is steady can be read and written by the GPU, wherever the threads have left it.
void Run::use_gpu()
{
	Driver &driver = Driver::current();
	u32 left = kEndPages;

	if (!driver.has_vm() || !alive_[0])
		return;
	for (u32 page = 0; page < program_.geometry.va_pages && left > 0; page++) {
		const usize addr = machine().addr_of(page);
		u64 value;

		if (!claims_.is_steady(page))
			continue;
		left--;
		int ret = driver.load(addr, &value);
		if (ret == 0)
			ret = driver.store(addr, (u64{0xe} << 32) | page);
		if (ret != 0 && !(ret == -DSVM_ENOMEM && claims_.lacks_memory))
			scheduler().fail("the GPU cannot use a page at the end", "page %u: %d",
					 page, ret);
	}
}

void Run::read_everything()
{
	Machine &m = machine();

	for (u32 i = 0; i < kMaxMms; i++) {
		for (u32 page = 0; alive_[i] && page < program_.geometry.va_pages; page++) {
			const Vma *const vma = m.find_vma(m.mm(i), m.addr_of(page));
			u64 value;

			if (vma == nullptr || !vma->read || vma->kind == VmaKind::kSpecial)
				continue;
			const Access result = m.load(m.mm(i), m.addr_of(page), &value);
			if (result != Access::kDone &&
			    !(result == Access::kOom && claims_.lacks_memory))
				scheduler().fail("a page cannot be read at the end",
						 "page %u of mm %u: %s", page, i, name_of(result));
		}
	}
}

void Run::end_everything()
{
	Driver::current().vm_destroy();
	for (u32 i = 0; i < kMaxMms; i++) {
		if (alive_[i])
			machine().exit(machine().mm(i));
	}
}

void Run::check_nothing_left()
{
	machine().check_nothing_left();
	Driver::current().check_nothing_left();
}

// Until nothing is under way any more, workers included.
void settle()
{
	scheduler().run();
	if (scheduler().failed())
		return;
	machine().finish_exits();
	Driver::current().flush();
}

} // namespace

Outcome run(const Program &program, Strategy &strategy, const RunOptions &options)
{
	Run run(program);
	Director director(strategy, run, options);
	Scheduler &sched = scheduler();
	Outcome outcome;

	sched.begin(director, options.max_steps);
	sched.set_trace(options.trace);
	run.set_stage();
	if (!sched.failed()) {
		run.start();
		settle();
	}
	outcome.steps = sched.steps();
	outcome.schedule_hash = sched.schedule_hash();
	director.end();
	if (!sched.failed()) {
		sched.spawn(
			"end",
			[](void *arg) {
				static_cast<Run *>(arg)->look_at_everything();
				static_cast<Run *>(arg)->end_everything();
			},
			&run);
		settle();
	}
	if (!sched.failed())
		run.check_nothing_left();
	outcome.tally = Driver::current().tally();
	outcome.failed = sched.failed();
	outcome.violation = sched.violation();
	outcome.schedule = sched.schedule();
	return outcome;
}

} // namespace dsvm::sim
