// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Programs worth running: few pages, so that threads meet on them; few kinds of operations at
// a time, so that rare ones meet each other (Groce et al., "Swarm testing", ISSTA 2012).

#include "tests/host/simmm/program.h"

namespace dsvm::sim {

namespace {

struct Weight {
	Verb verb;
	u32 weight;
	u32 enabled; // in how many of 100 programs it may occur
};

constexpr Weight kWeights[] = {
	{Verb::kLoad, 10, 80},	     {Verb::kStore, 14, 90},	  {Verb::kGpuLoad, 12, 85},
	{Verb::kGpuStore, 16, 95},   {Verb::kUnmap, 6, 45},	  {Verb::kMap, 3, 45},
	{Verb::kProtectNone, 2, 20}, {Verb::kProtectRead, 4, 30}, {Verb::kProtectWrite, 4, 35},
	{Verb::kDontneed, 5, 35},    {Verb::kMove, 4, 30},	  {Verb::kFork, 4, 35},
	{Verb::kExit, 2, 15},	     {Verb::kPageOut, 4, 30},	  {Verb::kCompact, 5, 35},
	{Verb::kCollapse, 3, 20},    {Verb::kSplit, 2, 20},	  {Verb::kSplitFolio, 2, 20},
	{Verb::kPin, 4, 25},	     {Verb::kUnpin, 2, 25},	  {Verb::kOomReap, 2, 10},
	{Verb::kToVram, 14, 80},     {Verb::kToRam, 5, 45},	  {Verb::kEvict, 8, 60},
	{Verb::kEvictAll, 3, 30},    {Verb::kEvictRanges, 3, 25}, {Verb::kGarbage, 1, 15},
	{Verb::kFree, 3, 20},	     {Verb::kVmDestroy, 1, 6},	  {Verb::kUnbind, 1, 6},
	{Verb::kKill, 2, 8},	     {Verb::kFail, 4, 12},	  {Verb::kDropRanges, 3, 30},
	{Verb::kToPeer, 8, 60},	     {Verb::kEvictPart, 5, 40},
};

// The same for programs with hmmptrs.
constexpr Weight kHmmptrWeights[] = {
	{Verb::kHmmptrMake, 3, 40},	   {Verb::kHmmptrRelease, 6, 55},
	{Verb::kHmmptrPopulate, 10, 60},   {Verb::kHmmptrMap, 10, 60},
	{Verb::kHmmptrBind, 24, 95},	   {Verb::kHmmptrUnmap, 8, 50},
	{Verb::kHmmptrInject, 3, 30},	   {Verb::kHmmptrLoad, 12, 60},
	{Verb::kHmmptrStore, 16, 60},	   {Verb::kHmmptrExec, 24, 80},
	{Verb::kHmmptrRevalidate, 12, 60},
};
constexpr usize kNumWeights = sizeof(kWeights) / sizeof(kWeights[0]);
constexpr usize kNumHmmptrWeights = sizeof(kHmmptrWeights) / sizeof(kHmmptrWeights[0]);

class Generator {
public:
	Generator(u64 seed, const Shape &shape) : rng_(mix(seed ^ 0x70726f6772616d)), shape_(shape)
	{}

	Program make();

private:
	void choose_machine();
	void choose_driver();
	void choose_contract();
	void choose_migration();
	void choose_areas();
	void choose_hmmptrs();
	void choose_verbs();
	void make_thread(std::vector<Op> &thread);
	void add_sequel(std::vector<Op> &thread, const Op &op);
	Op make_op();
	Verb draw_verb();
	u32 choose_weight(const Weight &weight);
	u16 draw_page();
	u16 draw_slot(Verb verb);
	void draw_span(Op &op);
	template <class T, usize N> const T &one_of(const T (&list)[N])
	{
		return list[rng_.below(N)];
	}

	Rng rng_;
	const Shape &shape_;
	Program program_;
	u32 hot_first_ = 0; // where most happens
	u32 hot_pages_ = 0;
	u32 weights_[kNumWeights + kNumHmmptrWeights] = {};
	u32 total_ = 0;
	bool forks_ = false;
	bool without_mirror_ = false; // hmmptrs alone
};

void Generator::choose_machine()
{
	static const Kernel *const kernels[] = {&kKernel7_3, &kKernel7_3, &kKernel6_12,
						&kKernel6_1};
	static const u32 huge_orders[] = {3, 3, 2, 1};
	static const u32 vrams[] = {64, 64, 64, 16, 4};
	Geometry &geometry = program_.geometry;

	program_.kernel = one_of(kernels);
	geometry.va_pages = rng_.chance(70) ? 16 : 32;
	geometry.huge_order = one_of(huge_orders);
	geometry.device_pages = one_of(vrams);
}

void Generator::choose_driver()
{
	static const u32 chunks[][3] = {{8, 4, 1}, {8, 4, 1}, {4, 1, 0},
					{8, 2, 1}, {2, 1, 0}, {1, 0, 0}};
	static const u32 windows[] = {16, 16, 8, 4};
	static const u32 tlbs[] = {4, 4, 16, 1, 0};
	static const u32 pieces[] = {8, 8, 4, 16};
	static const u64 timeslices[] = {0, 0, 0, 0, 0, 1000000, 30000000, 1500000000};
	DriverConfig &driver = program_.driver;
	const u32(&chosen)[3] = one_of(chunks);

	for (u32 i = 0; i < 3; i++)
		driver.chunk_pages[i] = chosen[i];
	driver.notifier_pages = one_of(windows);
	if (driver.notifier_pages < driver.chunk_pages[0])
		driver.notifier_pages = driver.chunk_pages[0];
	driver.migrate_on_fault = rng_.chance(50);
	driver.piece_pages = one_of(pieces);
	driver.check_pages = rng_.chance(70) ? 4 : 0;
	driver.tlb_entries = one_of(tlbs);
	driver.timeslice_ns = one_of(timeslices);
	driver.max_dma_order = rng_.chance(85) ? driver.max_dma_order : rng_.below(3);
	driver.fini_removes = rng_.chance(30);
	driver.behind_iommu = rng_.chance(35);
	choose_contract();
	choose_migration();
	driver.direct_dma = !driver.behind_iommu && rng_.chance(50);
}

// Mainline's, the stub's, or what is between them.
void Generator::choose_contract()
{
	static const u32 slots[] = {0, 1, 1, 2};
	DriverConfig &driver = program_.driver;
	const u32 kind = rng_.below(10);

	if (kind < 3)
		return;
	const u32 percent = kind < 8 ? 100 : 50;
	driver.range_locks = rng_.chance(percent);
	driver.trims = rng_.chance(percent);
	driver.window_locks = driver.trims && rng_.chance(percent);
	driver.wide_reads = rng_.chance(percent);
	driver.finish_slots = driver.trims ? one_of(slots) : 0;
}

// Mainline's way of moving memory, or all or some of what goes beyond it.
void Generator::choose_migration()
{
	static const u32 workers[] = {1, 1, 2, 3};
	static const u32 granules[] = {0, 0, 1, 2, 4, 8};
	static const u32 peers[] = {0, 0, 1, 1, 2, 3};
	DriverConfig &driver = program_.driver;

	if (rng_.chance(25))
		return;
	program_.geometry.fragmented = program_.kernel->moves_huge_pages && rng_.chance(20);
	driver.workers = rng_.chance(85) ? one_of(workers) : 0;
	driver.fault_in = rng_.chance(30);
	driver.granule_pages = one_of(granules);
	driver.copies_runs = rng_.chance(50);
	driver.copies_later = rng_.chance(60);
	driver.frees_pages = rng_.chance(70);
	driver.evicts = driver.workers != 0 && rng_.chance(60);
	driver.scatters = rng_.chance(20);
	driver.peer = driver.workers != 0 ? one_of(peers) : 0;
	program_.geometry.peer_pages = driver.peer != 0 ? program_.geometry.device_pages : 0;
}

// The hot pages and something around them, in one VMA or in two.
void Generator::choose_areas()
{
	static const VmaKind neighbours[] = {VmaKind::kShared, VmaKind::kFile, VmaKind::kSpecial};
	const u32 half = program_.geometry.va_pages / 2; // the rest is for what moves
	const u32 pages = 2u << rng_.below(3);

	hot_pages_ = pages < half ? pages : half;
	hot_first_ = rng_.below(half / hot_pages_) * hot_pages_;
	const u32 first = rng_.chance(50) ? 0 : hot_first_;
	const u32 last = rng_.chance(50) ? half - 1 : hot_first_ + hot_pages_ - 1;
	Area area{static_cast<u16>(first), static_cast<u16>(last)};

	area.huge = rng_.chance(30);
	area.filled = rng_.chance(70);
	area.in_vram = rng_.chance(40);
	if (rng_.chance(8))
		area.kind = rng_.chance(50) ? VmaKind::kShared : VmaKind::kFile;
	if (last > first && rng_.chance(25)) {
		Area rest = area;

		area.last = static_cast<u16>(first + rng_.below(last - first));
		rest.first = static_cast<u16>(area.last + 1);
		if (rng_.chance(40))
			rest.kind = one_of(neighbours);
		rest.filled = rest.kind != VmaKind::kSpecial && rng_.chance(70);
		program_.areas.push_back(area);
		program_.areas.push_back(rest);
	} else {
		program_.areas.push_back(area);
	}
}

// Over what is hot and some of what is around it, so that they overlap.
void Generator::choose_hmmptrs()
{
	static const u32 blocks[] = {0, 0, 8, 4, 2, 1};
	const u32 pages = program_.geometry.va_pages;

	if (rng_.chance(60))
		return;
	const u32 count = 1 + rng_.below(3);
	for (u32 i = 0; i < count; i++) {
		HmmptrArea hmmptr{static_cast<u16>(hot_first_),
				  static_cast<u16>(hot_first_ + hot_pages_ - 1)};

		if (rng_.chance(30))
			hmmptr.first = static_cast<u16>(rng_.below(hot_first_ + 1));
		if (rng_.chance(30))
			hmmptr.last =
				static_cast<u16>(hmmptr.last + rng_.below(pages - hmmptr.last));
		hmmptr.flags =
			(rng_.chance(50) ? kHmmptrSvm : 0u) | (rng_.chance(8) ? kHmmptrConst : 0u);
		program_.hmmptrs.push_back(hmmptr);
	}
	without_mirror_ = rng_.chance(50);
	program_.driver.block_pages = one_of(blocks);
	program_.driver.inject_every = rng_.chance(25) ? 2 + rng_.below(4) : 0;
}

// 0: it does not occur.
u32 Generator::choose_weight(const Weight &weight)
{
	const bool is_mirrors = weight.verb == Verb::kGpuLoad || weight.verb == Verb::kGpuStore ||
				weight.verb == Verb::kEvictRanges ||
				weight.verb == Verb::kDropRanges || weight.verb == Verb::kGarbage;

	if ((weight.verb == Verb::kToPeer && program_.driver.peer == 0) ||
	    (is_mirrors && without_mirror_))
		return 0;
	return rng_.chance(weight.enabled) ? weight.weight : 0;
}

void Generator::choose_verbs()
{
	u32 i = 0;

	// What a driver does that trims its ranges, and serves faults side by side.
	const bool cuts = program_.driver.trims && rng_.chance(50);
	const bool faults = program_.driver.range_locks && rng_.chance(50);

	for (const Weight &weight : kWeights) {
		const bool boosted =
			(cuts && (weight.verb == Verb::kUnmap || weight.verb == Verb::kMap)) ||
			(faults &&
			 (weight.verb == Verb::kGpuLoad || weight.verb == Verb::kGpuStore ||
			  weight.verb == Verb::kDropRanges));

		weights_[i++] = boosted ? 3 * weight.weight : choose_weight(weight);
	}
	for (const Weight &weight : kHmmptrWeights)
		weights_[i++] = program_.hmmptrs.empty() ? 0 : choose_weight(weight);
	for (const u32 weight : weights_)
		total_ += weight;
	if (total_ == 0)
		total_ = weights_[0] = 1;
}

Verb Generator::draw_verb()
{
	u32 at = rng_.below(total_), i = 0;

	while (at >= weights_[i])
		at -= weights_[i++];
	return i < kNumWeights ? kWeights[i].verb : kHmmptrWeights[i - kNumWeights].verb;
}

// With what may be said of it.
u16 Generator::draw_slot(Verb verb)
{
	const u32 allowed = operands_of(verb).flags;
	u32 flags = 0;

	for (u32 flag = 1; flag <= allowed; flag <<= 1) {
		if ((flag & allowed) != 0 && rng_.chance(flag == kHmmptrConst ? 8 : 45))
			flags |= flag;
	}
	return static_cast<u16>(rng_.below(static_cast<u32>(program_.hmmptrs.size())) |
				flags << kSlotBits);
}

u16 Generator::draw_page()
{
	if (rng_.chance(90))
		return static_cast<u16>(hot_first_ + rng_.below(hot_pages_));
	return static_cast<u16>(rng_.below(program_.geometry.va_pages));
}

void Generator::draw_span(Op &op)
{
	// Something has to be left of what is unmapped.
	if (rng_.chance(op.verb == Verb::kUnmap && program_.driver.trims ? 10 : 35)) {
		op.first = static_cast<u16>(hot_first_);
		op.last = static_cast<u16>(hot_first_ + hot_pages_ - 1);
		return;
	}
	const u16 one = draw_page(), other = rng_.chance(50) ? one : draw_page();

	op.first = one < other ? one : other;
	op.last = one < other ? other : one;
}

Op Generator::make_op()
{
	Op op{draw_verb()};
	const Operands operands = operands_of(op.verb);

	if (op.verb == Verb::kFail) {
		op.first = static_cast<u16>(1 + rng_.below(static_cast<u32>(Fail::kCount) - 1));
		op.to = static_cast<u16>(1 + rng_.below(4));
		return op;
	}
	if (op.verb == Verb::kKill) {
		op.to = static_cast<u16>(rng_.below(shape_.max_threads));
		return op;
	}
	// Children first: what they do is skipped as long as they are not there.
	if (operands.mm && forks_ && op.verb != Verb::kFork && rng_.chance(35))
		op.mm = static_cast<u8>(1 + rng_.below(program_.geometry.mms - 1));
	forks_ = forks_ || op.verb == Verb::kFork;
	if (operands.pages == Operands::Pages::kOne)
		op.first = op.last = draw_page();
	else if (operands.pages == Operands::Pages::kSpan)
		draw_span(op);
	if (op.verb == Verb::kMove) {
		const u32 half = program_.geometry.va_pages / 2;
		op.to = static_cast<u16>(op.first < half ? op.first + half : op.first - half);
	} else if (op.verb == Verb::kMap) {
		op.to = rng_.chance(40);
	} else if (op.verb == Verb::kEvictPart) {
		op.to = static_cast<u16>(1 + rng_.below(8));
	} else if (op.verb == Verb::kPin) {
		op.to = static_cast<u16>(rng_.chance(60) ? 1 + rng_.below(6) : 0);
	} else if (operands.to == Operands::To::kHmmptr) {
		op.to = draw_slot(op.verb);
	}
	return op;
}

// What often comes after an operation, because it is what makes it interesting: what was
// unmapped is there again, what may be dropped is written, what was written is dropped.
void Generator::add_sequel(std::vector<Op> &thread, const Op &op)
{
	struct Sequel {
		Verb after;
		Verb then;
		u32 chance;
	};
	static const Sequel sequels[] = {{Verb::kUnmap, Verb::kMap, 50},
					 {Verb::kFree, Verb::kGpuStore, 50},
					 {Verb::kGpuStore, Verb::kPageOut, 5},
					 {Verb::kHmmptrPopulate, Verb::kHmmptrMap, 50},
					 {Verb::kHmmptrBind, Verb::kHmmptrExec, 40},
					 {Verb::kHmmptrBind, Verb::kCompact, 15},
					 {Verb::kHmmptrRelease, Verb::kHmmptrMake, 50}};

	for (const Sequel &sequel : sequels) {
		const Operands operands = operands_of(sequel.then);

		if (op.verb != sequel.after || !rng_.chance(sequel.chance))
			continue;
		Op next = op;
		next.verb = sequel.then;
		next.mm = operands.mm ? op.mm : 0;
		next.to = operands.to == Operands::To::kNone ? 0 : op.to;
		if (operands.pages == Operands::Pages::kOne)
			next.last = next.first;
		if (operands.to == Operands::To::kHuge)
			next.to = rng_.chance(40);
		if (operands.to == Operands::To::kHmmptr)
			next.to = static_cast<u16>(
				slot_of(op) |
				flags_of(Op{.verb = next.verb, .to = draw_slot(next.verb)})
					<< kSlotBits);
		thread.push_back(next);
		add_sequel(thread, next);
		return;
	}
}

void Generator::make_thread(std::vector<Op> &thread)
{
	const u32 count = 1 + rng_.below(shape_.max_ops);

	while (thread.size() < count) {
		const Op op = make_op();

		thread.push_back(op);
		add_sequel(thread, op);
	}
}

Program Generator::make()
{
	choose_machine();
	choose_driver();
	choose_areas();
	choose_hmmptrs();
	choose_verbs();

	const u32 most = shape_.max_threads < kMaxThreads ? shape_.max_threads : kMaxThreads;
	const u32 least = shape_.min_threads < most ? shape_.min_threads : most;
	program_.threads.resize(least + rng_.below(most - least + 1));
	for (auto &thread : program_.threads)
		make_thread(thread);
	return program_;
}

} // namespace

Program generate(u64 seed, const Shape &shape)
{
	return Generator(seed, shape).make();
}

} // namespace dsvm::sim
