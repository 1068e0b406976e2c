// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/scene.h"

#include "core/migrate/entry.h"

#include <cstdarg>
#include <cstdio>

namespace dsvm::sim {

namespace {

constexpr u32 kSchedules = 48;
constexpr u32 kMaxSteps = 20000;

// Why the scene fails; empty: it does not.
char complaint[512];

Listener the_listener;
Device the_device;
Provider the_provider;
Zdd the_allocation;

// Seed 0 never switches unless it has to; the others do at a third of the points.
class Dice final : public Strategy {
public:
	explicit Dice(u64 seed) : seed_(seed), rng_(seed) {}
	uint32_t pick(const Choice &choice) override
	{
		if (seed_ == 0 || (choice.can_run(choice.running) && !rng_.chance(33)))
			return choice.by_default();
		uint32_t fiber;
		do
			fiber = rng_.below(kMaxFibers);
		while (!choice.can_run(fiber));
		return fiber;
	}

private:
	const u64 seed_;
	Rng rng_;
};

bool on_invalidate(Notifier &notifier, const EventRange &range, usize seq)
{
	Listener &self = *static_cast<Listener *>(notifier.arg);

	if (self.refuses && !range.blockable)
		return false;
	self.last = range;
	self.events[static_cast<u32>(range.event)]++;
	// What cannot wait must not take a lock that it may have to wait for.
	if (!range.blockable) {
		notifier.seq = seq;
		return true;
	}
	scheduler().write_lock(self.lock);
	machine().notifier_set_seq(notifier, seq);
	scheduler().write_unlock(self.lock);
	return true;
}

FaultResult on_cpu_fault(CpuFault &fault)
{
	const u32 index = machine().index_of(fault.addr);

	static_cast<void>(to_ram(fault.mm, index, index, &fault.page));
	return FaultResult::kDone;
}

void reset_all(const Kernel &kernel)
{
	machine().reset(Geometry{.mms = 3, .va_pages = 32, .ram_pages = 128, .device_pages = 32},
			kernel);
	the_listener.~Listener();
	new (&the_listener) Listener;
	the_listener.notifier.invalidate = on_invalidate;
	the_listener.notifier.arg = &the_listener;
	the_device = Device{};
	the_provider = Provider{.refs = 1};
	the_allocation = Zdd{};
	the_allocation.provider = to_os(the_provider);
	the_allocation.mm = &process();
	the_allocation.refs = 1;
	machine().device_owners[0] = owner();
	machine().migrate_to_ram = on_cpu_fault;
	machine().pte_changed = nullptr;
}

void run_body(void *arg)
{
	(*static_cast<std::function<void()> *>(arg))();
}

} // namespace

bool check(bool holds, const char *format, ...)
{
	va_list args;

	if (holds || complaint[0] != '\0')
		return holds;
	va_start(args, format);
	std::vsnprintf(complaint, sizeof(complaint), format, args);
	va_end(args);
	return false;
}

// Scenes ----------------------------------------------------------------------

Scene::Scene(const Kernel &kernel) : kernel_(kernel)
{
	complaint[0] = '\0';
}

Scene &Scene::prepare(std::function<void()> body)
{
	prepare_ = std::move(body);
	return *this;
}

Scene &Scene::thread(std::function<void()> body)
{
	threads_.push_back(std::move(body));
	return *this;
}

void Scene::play(u64 seed)
{
	static const char *const names[] = {"first", "second", "third", "fourth"};
	Dice dice{seed};

	reset_all(kernel_);
	scheduler().begin(dice, kMaxSteps);
	if (prepare_)
		prepare_();
	for (usize i = 0; i < threads_.size(); i++)
		scheduler().spawn(names[i], run_body, &threads_[i]);
	scheduler().run();
}

bool Scene::holds(std::function<bool()> end)
{
	for (u64 seed = 0; seed < kSchedules && complaint[0] == '\0'; seed++) {
		play(seed);
		if (!scheduler().failed())
			machine().check_consistency();
		if (scheduler().failed())
			check(false, "%s: %s", scheduler().violation().what.c_str(),
			      scheduler().violation().where.c_str());
		else if (end)
			check(end(), "what has to hold in the end does not, schedule %zu",
			      static_cast<size_t>(seed));
	}
	if (complaint[0] != '\0')
		std::printf("# %s\n", complaint);
	return complaint[0] == '\0';
}

bool Scene::may(const bool &happened, std::function<bool()> end)
{
	u32 times = 0;

	const bool fine = holds([&] {
		times += happened;
		return !end || end();
	});
	if (!fine)
		return false;
	if (times != 0 && times != kSchedules)
		return true;
	std::printf("# it happened %u times of %u\n", times, kSchedules);
	return false;
}

bool Scene::breaks(const char *rule)
{
	for (u64 seed = 0; seed < kSchedules; seed++) {
		play(seed);
		if (scheduler().failed() && scheduler().violation().what == rule)
			continue;
		std::printf("# schedule %u: %s\n", static_cast<u32>(seed),
			    scheduler().failed() ? scheduler().violation().what.c_str()
						 : "no rule was broken");
		return false;
	}
	return true;
}

bool Scene::may_break(const char *rule)
{
	u32 times = 0;

	for (u64 seed = 0; seed < kSchedules; seed++) {
		play(seed);
		if (scheduler().failed() && scheduler().violation().what != rule) {
			std::printf("# schedule %u: %s\n", static_cast<u32>(seed),
				    scheduler().violation().what.c_str());
			return false;
		}
		times += scheduler().failed();
	}
	if (times == 0)
		std::printf("# no rule was broken\n");
	return times != 0;
}

bool on_each_kernel(bool (*play)(const Kernel &kernel))
{
	for (const Kernel *kernel : {&kKernel6_1, &kKernel6_12, &kKernel7_3}) {
		if (play(*kernel))
			continue;
		std::printf("# on %s\n", kernel->name);
		return false;
	}
	return true;
}

// Memory ----------------------------------------------------------------------

Mm &process()
{
	return machine().mm(0);
}

usize at(u32 page)
{
	return machine().addr_of(page);
}

usize end_of(u32 page)
{
	return at(page) + (kPageSize - 1);
}

void map(u32 first, u32 last, VmaKind kind)
{
	check(machine().mmap(process(), at(first), end_of(last), kind, false) == 0, "mmap");
}

void map_written(u32 first, u32 last)
{
	map(first, last);
	for (u32 i = first; i <= last; i++)
		write(i, value_of(i));
}

void map_huge(u32 first)
{
	const u32 last = first + machine().block_pages() - 1;

	check(machine().mmap(process(), at(first), end_of(last), VmaKind::kAnonymous, true) == 0,
	      "mmap");
	for (u32 i = first; i <= last; i++)
		write(i, value_of(i));
	check(machine().is_huge(process(), first), "the mapping is not huge");
}

u64 value_of(u32 page)
{
	return 1000 + page;
}

const Pte &pte(u32 page)
{
	return process().ptes[page];
}

Page &page_at(u32 page)
{
	return machine().page(pte(page).page);
}

void read(u32 page)
{
	u64 value = 0;
	const Access result = machine().load(process(), at(page), &value);

	check(result == Access::kDone, "a read of page %u ends in %s", page, name_of(result));
}

void write(u32 page, u64 value)
{
	const Access result = machine().store(process(), at(page), value);

	check(result == Access::kDone, "a write of page %u ends in %s", page, name_of(result));
}

// The device ------------------------------------------------------------------

void Listener::insert()
{
	const usize last = at(static_cast<u32>(process().ptes.size()) - 1) + (kPageSize - 1);

	check(machine().notifier_insert(notifier, process(), kVaBase, last) == 0, "insert");
}

void Listener::remove()
{
	dsvm_os_notifier_remove(to_os(notifier));
}

Listener &listener()
{
	return the_listener;
}

Device &device()
{
	return the_device;
}

Provider &provider()
{
	return the_provider;
}

Zdd &allocation()
{
	return the_allocation;
}

void *owner()
{
	return &the_device;
}

Moving::Moving(u32 first, u32 last, u32 select, Mm &mm)
{
	span.vma = to_os(*machine().find_vma(mm, sim::at(first)));
	span.first = sim::at(first);
	span.last = end_of(last);
	span.npages = last - first + 1;
	span.owner = owner();
	span.select = select;
	span.src = src;
	span.dst = dst;
}

Moving::Moving(Frames frames)
{
	span.npages = frames.count;
	span.src = src;
	span.dst = dst;
	for (u32 i = 0; i < frames.count; i++) {
		src[i] = kDevicePfn + frames.first + i;
		dst[i] = 0;
	}
}

bool Moving::moves(u32 i) const
{
	dsvm_migrate_entry entry;

	dsvm_os_migrate_decode(src[i], &entry);
	return entry.moves;
}

dsvm_os_page *Moving::page(u32 i) const
{
	dsvm_migrate_entry entry;

	dsvm_os_migrate_decode(src[i], &entry);
	return entry.page;
}

u32 Moving::order(u32 i) const
{
	dsvm_migrate_entry entry;

	dsvm_os_migrate_decode(src[i], &entry);
	return entry.order;
}

static void fill(dsvm_os_page *to, dsvm_os_page *from, u32 order)
{
	for (u32 i = 0; i < 1u << order; i++)
		from_os(dsvm_os_page_nth(to, i)).content =
			from != nullptr ? from_os(dsvm_os_page_nth(from, i)).content : 0;
}

void Moving::give_device(u32 i, u32 frame, u32 order)
{
	dsvm_os_page *const to =
		dsvm_os_page_init_device(kDevicePfn + frame, to_os(allocation()), order);

	fill(to, page(i), order);
	dst[i] = make_entry(kDevicePfn + frame, order);
}

void Moving::give_ram(u32 i, u32 order)
{
	dst[i] = dsvm_os_entry_alloc(span.vma, span.first + i * kPageSize, order);
	if (dst[i] != 0)
		fill(dsvm_os_migrate_page(dst[i]), page(i), order);
}

u32 to_device(u32 first, u32 last, u32 frame)
{
	u32 moved = 0;

	dsvm_os_mm_read_lock(to_os(process()));
	Moving moving{first, last};
	check(dsvm_os_migrate_setup(&moving.span) == 0, "migrate_vma_setup");
	for (u32 i = 0; i < moving.span.npages; i++) {
		if (moving.moves(i))
			moving.give_device(i, frame + i);
	}
	dsvm_os_migrate_pages(&moving.span);
	for (u32 i = 0; i < moving.span.npages; i++)
		moved += moving.moves(i);
	dsvm_os_migrate_finalize(&moving.span);
	dsvm_os_mm_read_unlock(to_os(process()));
	return moved;
}

static u32 bring_back(Moving &moving, void (*pages)(dsvm_migrate_span *),
		      void (*finalize)(dsvm_migrate_span *))
{
	u32 moved = 0;

	for (u32 i = 0; i < moving.span.npages; i++) {
		dsvm_migrate_entry entry;
		dsvm_os_migrate_decode(moving.src[i], &entry);
		if (entry.moves && entry.page != nullptr && !entry.retired)
			moving.give_ram(i);
	}
	pages(&moving.span);
	for (u32 i = 0; i < moving.span.npages; i++) {
		if (moving.dst[i] == 0 || !moving.moves(i))
			continue;
		dsvm_os_entries_retire(&moving.src[i], 1);
		moved++;
	}
	finalize(&moving.span);
	return moved;
}

u32 to_ram(Mm &mm, u32 first, u32 last, Page *fault_page)
{
	Moving moving{first, last, DSVM_MIGRATE_DEVICE, mm};

	moving.span.fault_page = fault_page != nullptr ? to_os(*fault_page) : nullptr;
	check(dsvm_os_migrate_setup(&moving.span) == 0, "migrate_vma_setup");
	return bring_back(moving, dsvm_os_migrate_pages, dsvm_os_migrate_finalize);
}

u32 evict(Frames frames)
{
	Moving moving{frames};

	check(dsvm_os_migrate_device_setup(&moving.span) == 0, "migrate_device_range");
	return bring_back(moving, dsvm_os_migrate_device_pages, dsvm_os_migrate_device_finalize);
}

Collection::Collection(u32 first, u32 last)
{
	request.notifier = to_os(listener().notifier);
	request.mm = to_os(process());
	request.first = sim::at(first);
	request.last = end_of(last);
	request.timeout_ns = 1000000000;
	request.entries = entries;
}

Collection &Collection::fault(bool write)
{
	request.fault = true;
	request.write = write;
	return *this;
}

Collection &Collection::as_owner()
{
	request.owner = owner();
	return *this;
}

int Collection::run()
{
	int ret;

	do {
		for (usize i = 0; i < (request.last - request.first + 1) >> kPageShift; i++)
			entries[i] = tag;
		request.seq = dsvm_os_notifier_read_begin(request.notifier);
		ret = dsvm_os_hmm_fault(&request);
	} while (ret == -DSVM_EBUSY);
	return ret;
}

dsvm_page_desc Collection::at(u32 i)
{
	dsvm_page_desc desc;

	scheduler().read_lock(listener().lock);
	dsvm_os_hmm_decode(entries[i], &desc);
	scheduler().read_unlock(listener().lock);
	return desc;
}

} // namespace dsvm::sim
