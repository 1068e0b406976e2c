// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A driver that mirrors the fake machine's first address space: what the cases for
// core/svm have in common. It owns notifiers and ranges as a driver would, from the
// environment's memory (so that each of its allocations can be made to fail), and its
// invalidation callback takes what overlaps from the device, as MirrorOptions say:
//
//	{}				mainline's way: one lock, one device, ranges go whole
//	.window_locks = true		each window has a lock of its own
//	.devices = n			n devices behind each range, and only what has gone goes
//	.two_passes = true		flushes are begun first and waited for later
//
// It has a page table, so that a case can see what the GPU would get at: entries are written
// from valid pages under the window's lock, and zapped in invalidations.
#ifndef DSVM_KUNIT_CASES_MIRROR_H
#define DSVM_KUNIT_CASES_MIRROR_H

#include "core/base/interval_tree.h"
#include "core/base/list.h"
#include "drm_svm/svm.h"
#include "kunit/case.h"
#include "kunit/cases/tree.h"
#include "kunit/fake/world.h"

namespace dsvm::cases {

using fake::Call;
using fake::kBase;
using fake::World;

class Mirror;

// The address of a page of the fake address space.
constexpr usize at_page(u32 index)
{
	return kBase + usize{index} * kPageSize;
}

// The last byte of a page.
constexpr usize end_of_page(u32 index)
{
	return at_page(index) + (kPageSize - 1);
}

// Pages by their numbers, both ends included.
struct PageSpan {
	u32 first;
	u32 last;

	[[nodiscard]] constexpr bool is_empty() const { return first > last; }
	[[nodiscard]] constexpr u32 count() const { return is_empty() ? 0 : last - first + 1; }
	[[nodiscard]] constexpr usize start() const { return at_page(first); }
	[[nodiscard]] constexpr usize end() const { return end_of_page(last); }
};

constexpr PageSpan kNoPages{1, 0};

struct MirrorRange {
	dsvm_range base;
	dsvm_pages pages[fake::kDevices];
	dsvm_notifier *notifier;
	Mirror *mirror;
	fake::Notifier stand_in; // for the range alone
	u32 refs;
	bool is_locked;
};

struct MirrorNotifier {
	dsvm_notifier base;
	Mirror *mirror;
};

struct MirrorOptions {
	bool window_locks = false;
	u32 devices = 0; // 0: one, and the driver does not let ranges be trimmed
	bool two_passes = false;
};

// For what has to hold either way.
constexpr bool kEither[] = {false, true};

constexpr usize kNotifierBytes = 512 * kPageSize;
constexpr usize kChunkSizes[] = {512 * kPageSize, 16 * kPageSize, kPageSize};

// What the GPU would get at: the page behind each address, or nullptr.
class GpuTable {
public:
	GpuTable()
		: pages_(static_cast<fake::Page **>(
			  dsvm_backend_alloc(sizeof(fake::Page *) * fake::kPtes)))
	{}
	GpuTable(const GpuTable &) = delete;
	GpuTable &operator=(const GpuTable &) = delete;
	~GpuTable() { dsvm_backend_free(pages_); }

	[[nodiscard]] fake::Page *&at(usize addr)
	{
		return pages_[((addr - kBase) >> kPageShift) % fake::kPtes];
	}
	void zap(usize first, usize last)
	{
		for (usize addr = first; addr < last; addr += kPageSize)
			at(addr) = nullptr;
	}
	[[nodiscard]] u32 count(usize first, usize last)
	{
		u32 sum = 0;

		for (usize addr = first; addr < last; addr += kPageSize)
			sum += at(addr) != nullptr;
		return sum;
	}

private:
	fake::Page **pages_;
};

class Mirror {
public:
	explicit Mirror(MirrorOptions mirror_options = {})
		: options(mirror_options), ops_{notifier_create,
						notifier_destroy,
						range_create,
						member_offset(&MirrorRange::stand_in) -
							member_offset(&MirrorRange::base),
						range_get,
						range_put,
						range_lock,
						range_unlock,
						mirror_options.devices != 0 ? range_pages : nullptr,
						mirror_options.devices != 0 ? range_split
									    : nullptr},
		  lock_("notifier_lock", to_underlying(LockRank::kNotifier))
	{
		world.set_two_passes(options.two_passes);
		svm.mm = world.os_mm();
		svm.mm_start = kBase;
		svm.mm_range = usize{fake::kPtes} * kPageSize;
		svm.notifier_size = kNotifierBytes;
		svm.chunk_sizes = kChunkSizes;
		svm.num_chunks = 3;
		svm.lock = lock_.get();
		svm.ops = &ops_;
		DSVM_EXPECT_EQ(dsvm_svm_init(&svm), 0);
	}
	Mirror(const Mirror &) = delete;
	Mirror &operator=(const Mirror &) = delete;
	~Mirror()
	{
		dsvm_svm_fini(&svm);
		DSVM_EXPECT_EQ(notifiers, 0u);
		DSVM_EXPECT_EQ(ranges, 0u);
	}

	[[nodiscard]] dsvm_find_or_insert find_request(usize addr, bool write = false)
	{
		dsvm_find_or_insert request = {};

		request.fault_addr = addr;
		request.gpuva_first = kBase;
		request.gpuva_last = end_of_page(fake::kPtes - 1);
		request.write = write;
		return request;
	}
	[[nodiscard]] int fault(usize addr, dsvm_range **out, bool write = false)
	{
		const dsvm_find_or_insert request = find_request(addr, write);

		return dsvm_svm_find_or_insert(&svm, &request, out);
	}
	// The same for a caller without a driver's lock, who gets a reference.
	[[nodiscard]] int acquire(usize addr, dsvm_range **out)
	{
		dsvm_find_or_insert request = find_request(addr);

		request.get = true;
		return dsvm_svm_find_or_insert(&svm, &request, out);
	}
	// And who has it locked, as it is then.
	[[nodiscard]] int acquire_locked(usize addr, dsvm_range **out)
	{
		dsvm_find_or_insert request = find_request(addr);

		request.get = true;
		return dsvm_svm_acquire(&svm, &request, out);
	}
	void release(dsvm_range &range)
	{
		range_unlock(&svm, &range);
		put(range);
	}
	// The GPU's entries go before the pages do.
	void remove(dsvm_range &range)
	{
		gpu.zap(range.node.first, range.node.last);
		flushing = false;
		dsvm_svm_range_remove(&svm, home(range).notifier, &range);
	}
	void free_pages(dsvm_range &range)
	{
		for (u32 i = 0; i < devices(); i++) {
			if (home(range).pages[i].lock != nullptr)
				dsvm_svm_free_pages(&home(range).pages[i], world.device(i),
						    pages_of(range));
		}
	}
	void put(dsvm_range &range) { range_put(&svm, &range); }
	// As a driver without a lock around all ranges does it: once for each range.
	bool remove_first(usize first, usize last)
	{
		dsvm_range *const range = dsvm_svm_range_first(&svm, first, last);

		if (range == nullptr)
			return false;
		if ((range->flags & DSVM_RANGE_REMOVED) == 0)
			remove(*range);
		put(*range);
		return true;
	}
	[[nodiscard]] int trim(dsvm_range &range)
	{
		return dsvm_svm_range_trim(&svm, home(range).notifier, &range);
	}

	[[nodiscard]] dsvm_get_pages
	request(const dsvm_range &range, dsvm_access access = DSVM_ACCESS_READ_ONLY, u32 device = 0)
	{
		dsvm_get_pages get = {};

		get.svm = &svm;
		get.window = home(range).notifier;
		get.notifier = os_notifier(range);
		get.mm = svm.mm;
		get.dev = world.device(device);
		get.first = range.node.first;
		get.last = range.node.last;
		get.owner = this;
		get.access = access;
		return get;
	}

	[[nodiscard]] static MirrorRange &home(dsvm_range &range)
	{
		return *container_of(&range, &MirrorRange::base);
	}
	[[nodiscard]] static const MirrorRange &home(const dsvm_range &range)
	{
		return home(const_cast<dsvm_range &>(range));
	}
	[[nodiscard]] static dsvm_os_notifier *os_notifier(const dsvm_range &range)
	{
		return home(range).notifier->os;
	}
	// Of the last event that met it.
	[[nodiscard]] static usize seq_of(const dsvm_range &range)
	{
		return home(range).stand_in.seq;
	}
	[[nodiscard]] static u32 pages_of(const dsvm_range &range)
	{
		return static_cast<u32>((range.node.last - range.node.first + 1) >> kPageShift);
	}
	[[nodiscard]] u32 devices() const { return options.devices != 0 ? options.devices : 1; }
	// For all devices; `attempts` is that of the last one.
	[[nodiscard]] int get_pages(dsvm_range &range, dsvm_access access = DSVM_ACCESS_READ_ONLY)
	{
		for (u32 i = 0; i < devices(); i++) {
			dsvm_get_pages get = request(range, access, i);

			if (const int error = dsvm_svm_get_pages(&home(range).pages[i], &get))
				return error;
			attempts = get.attempts;
		}
		return 0;
	}
	[[nodiscard]] dsvm_os_rwsem *lock_of(const dsvm_range &range)
	{
		return home(range).notifier->lock;
	}
	[[nodiscard]] bool is_valid(const dsvm_range &range)
	{
		bool valid = true;

		dsvm_os_read_lock(lock_of(range));
		for (u32 i = 0; i < devices(); i++)
			valid = valid && dsvm_svm_pages_valid(&home(range).pages[i]);
		dsvm_os_read_unlock(lock_of(range));
		return valid;
	}

	// Writes the GPU's page table from the pages of the first device, if they are valid.
	bool map_gpu(dsvm_range &range)
	{
		const dsvm_pages &pages = home(range).pages[0];
		bool valid;

		dsvm_os_read_lock(lock_of(range));
		valid = dsvm_svm_pages_valid(&pages);
		usize addr = range.node.first;
		for (u32 i = 0; valid && addr < range.node.last; i++) {
			const dsvm_dma_addr &entry = pages.dma_addr[i];

			for (u32 j = 0; j < 1u << entry.order; j++, addr += kPageSize)
				gpu.at(addr) = world.page_of_dma(entry.addr + j * kPageSize);
		}
		dsvm_os_read_unlock(lock_of(range));
		return valid;
	}

	World world;
	const MirrorOptions options;
	dsvm_svm svm = {};
	GpuTable gpu;
	// Objects that exist now.
	u32 notifiers = 0;
	u32 ranges = 0;
	// Invalidations so far; those that were finished in a second pass; splits of ranges.
	u32 invalidations = 0;
	u32 finishes = 0;
	u32 splits = 0;
	// Of the last collection.
	u32 attempts = 0;
	// What the last invalidation of unmapped memory was told to zap.
	usize zap_first = 0;
	usize zap_last = 0;
	// Whether ranges are marked as mainline's drivers do it when their memory is unmapped.
	bool marks_unmapped = false;
	// Whether a TLB may still have entries that are gone from the page table.
	bool flushing = false;
	// Whether a hook is at work: what it calls has hooks too.
	bool is_busy = false;
	// Whether another CPU invalidates each range at the moment it goes.
	bool races_with_range_put = false;

private:
	static Mirror &of(dsvm_svm *svm) { return *container_of(svm, &Mirror::svm); }

	static int notifier_create(dsvm_svm *svm, usize first, usize last, dsvm_notifier **out)
	{
		Mirror &self = of(svm);

		static_cast<void>(self.world.enter(Call::kWindowCreate));
		auto *const window =
			static_cast<MirrorNotifier *>(dsvm_os_alloc(sizeof(MirrorNotifier)));
		if (window == nullptr)
			return -DSVM_ENOMEM;
		// Inserting one may take mmap_lock for writing.
		if (dsvm_env_rank_held() != 0)
			dsvm_env_violation("a notifier made under a lock");
		window->base.node.first = first;
		window->base.node.last = last;
		window->base.lock = svm->lock;
		if (self.options.window_locks)
			window->base.lock = dsvm_env_lock_create("window's lock",
								 to_underlying(LockRank::kWindow));
		link_init(window->base.range_list);
		window->mirror = &self;
		window->base.os = self.world.add_notifier(self.world.mm(), first, last, on_event,
							  window, on_finish, window->base.lock);
		self.notifiers++;
		*out = &window->base;
		return 0;
	}

	static void notifier_destroy(dsvm_svm *svm, dsvm_notifier *notifier)
	{
		Mirror &self = of(svm);

		static_cast<void>(self.world.enter(Call::kWindowDestroy));
		if (!notifier->removed)
			dsvm_os_notifier_remove(notifier->os);
		if (RangeList(notifier->range_list).first() != nullptr)
			dsvm_env_violation("a window destroyed with ranges in it");
		if (self.options.window_locks)
			dsvm_env_lock_destroy(notifier->lock);
		self.notifiers--;
		dsvm_os_free(container_of(notifier, &MirrorNotifier::base));
	}

	static dsvm_range *range_create(dsvm_svm *svm, dsvm_notifier *notifier, usize first,
					usize last, u16 flags)
	{
		Mirror &self = of(svm);

		static_cast<void>(self.world.enter(Call::kRangeCreate));
		auto *const range = static_cast<MirrorRange *>(dsvm_os_alloc(sizeof(MirrorRange)));
		if (range == nullptr)
			return nullptr;
		range->base.node.first = first;
		range->base.node.last = last;
		range->base.flags = flags;
		range->notifier = notifier;
		range->mirror = &self;
		range->stand_in.mm = &self.world.mm();
		range->stand_in.lock = notifier->lock;
		range->refs = 1;
		range->is_locked = false;
		self.ranges++;
		return &range->base;
	}

	static void range_get(dsvm_svm *, dsvm_range *range)
	{
		if (home(*range).refs == 0)
			dsvm_env_violation("reference to a dead range taken");
		home(*range).refs++;
	}

	static void range_put(dsvm_svm *svm, dsvm_range *range)
	{
		MirrorRange &mine = home(*range);
		Mirror &self = of(svm);

		static_cast<void>(self.world.enter(Call::kRangePut));
		if (mine.refs == 0) {
			dsvm_env_violation("reference to a dead range dropped");
			return;
		}
		if (--mine.refs != 0)
			return;
		if (mine.is_locked)
			dsvm_env_violation("a range freed that is locked");
		if (self.races_with_range_put)
			self.world.invalidate(self.world.mm(), range->node.first, range->node.last);
		self.free_pages(*range);
		self.ranges--;
		dsvm_os_free(&mine);
	}

	static int range_lock(dsvm_svm *svm, dsvm_range *range)
	{
		Mirror &self = of(svm);

		if (const int err = self.world.enter(Call::kRangeLock))
			return err;
		if (dsvm_env_rank_held() != 0)
			dsvm_env_violation("a range locked under another lock");
		if (home(*range).refs == 0 || home(*range).is_locked)
			dsvm_env_violation("a range locked that is dead or locked");
		home(*range).is_locked = true;
		return 0;
	}

	static void range_unlock(dsvm_svm *, dsvm_range *range)
	{
		if (!home(*range).is_locked)
			dsvm_env_violation("a range unlocked that is not locked");
		home(*range).is_locked = false;
	}

	static dsvm_pages *range_pages(dsvm_range *range, u32 index, dsvm_os_dev **dev)
	{
		MirrorRange &mine = home(*range);

		if (index >= mine.mirror->devices())
			return nullptr;
		*dev = mine.mirror->world.device(index);
		return &mine.pages[index];
	}

	static void range_split(dsvm_range *range, dsvm_range *tail)
	{
		dsvm_os_assert_held_write(home(*range).notifier->lock);
		home(*range).mirror->splits++;
		if (tail != nullptr && tail->node.first <= range->node.last)
			dsvm_env_violation("the tail of a range is not behind it");
	}

	using RangeList = List<dsvm_range, &dsvm_range::entry>;

	// One invalidation of one window, in the core's words.
	struct Zap {
		MirrorNotifier &window;
		const fake::Event &event;

		[[nodiscard]] dsvm_invalidation invalidation()
		{
			dsvm_invalidation out = {};

			out.first = event.first;
			out.last = event.last;
			out.seq = event.seq;
			out.blockable = event.blockable;
			out.deferrable = event.deferrable;
			out.start = start;
			out.finish = window.mirror->options.two_passes ? finish : nullptr;
			out.arg = this;
			return out;
		}
	};

	template <class Visit> static void for_each_range(const Zap &zap, Visit visit)
	{
		for (dsvm_range &range : RangeList(zap.window.base.range_list)) {
			if (range.node.first <= zap.event.last &&
			    range.node.last >= zap.event.first)
				visit(range);
		}
	}

	// Takes a range's entries out of the GPU's page table; from then on a flush is under way,
	// if there were any.
	bool zap_range(dsvm_range &range, const fake::Event &event)
	{
		zap_first = range.node.first;
		zap_last = range.node.last;
		if (event.unmap && options.devices != 0)
			dsvm_svm_range_set_gone(&svm, &range, event.first, event.last, &zap_first,
						&zap_last);
		else if (event.unmap && marks_unmapped)
			mark_unmapped(range, event);
		const bool flushes = gpu.count(zap_first, zap_last) != 0;
		gpu.zap(zap_first, zap_last);
		return flushes;
	}

	void mark_unmapped(dsvm_range &range, const fake::Event &event)
	{
		dsvm_svm_range_set_unmapped(&svm, &range, event.first, event.last);
		for (dsvm_pages &pages : home(range).pages)
			dsvm_svm_pages_set_unmapped(&svm, &pages);
	}

	void unmap_range(dsvm_range &range, const fake::Event &event)
	{
		if (flushing)
			dsvm_env_violation("pages unmapped that a GPU's TLB may still lead to");
		if (event.unmap && options.devices != 0) {
			dsvm_svm_range_unmap_gone(&svm, &range);
			return;
		}
		for (u32 i = 0; i < devices(); i++)
			dsvm_svm_unmap_pages(&home(range).pages[i], world.device(i),
					     pages_of(range));
	}

	static bool start(void *arg)
	{
		const Zap &zap = *static_cast<Zap *>(arg);
		Mirror &self = *zap.window.mirror;
		bool flushes = false;

		dsvm_os_assert_held_write(zap.window.base.lock);
		for_each_range(zap, [&](dsvm_range &range) {
			flushes = self.zap_range(range, zap.event) || flushes;
			if (!self.options.two_passes)
				self.unmap_range(range, zap.event);
		});
		self.flushing = self.flushing || (self.options.two_passes && flushes);
		return self.options.two_passes && flushes;
	}

	static void finish(void *arg)
	{
		const Zap &zap = *static_cast<Zap *>(arg);
		Mirror &self = *zap.window.mirror;

		dsvm_os_assert_held_write(zap.window.base.lock);
		self.finishes++;
		self.flushing = false;
		for_each_range(zap, [&](dsvm_range &range) { self.unmap_range(range, zap.event); });
	}

	static bool on_event(World &, dsvm_os_notifier *, const fake::Event &event, void *arg)
	{
		auto &window = *static_cast<MirrorNotifier *>(arg);
		Mirror &self = *window.mirror;
		Zap zap{window, event};
		const dsvm_invalidation invalidation = zap.invalidation();

		self.invalidations++;
		switch (dsvm_svm_invalidate(&self.svm, &window.base, &invalidation)) {
		case DSVM_REFUSED:
			dsvm_env_violation("an invalidation refused that may wait");
			return false;
		case DSVM_DONE:
			return false;
		case DSVM_UNFINISHED:
			break;
		}
		return true;
	}

	static void on_finish(World &, dsvm_os_notifier *, const fake::Event &event, void *arg)
	{
		auto &window = *static_cast<MirrorNotifier *>(arg);
		Zap zap{window, event};
		const dsvm_invalidation invalidation = zap.invalidation();

		dsvm_svm_invalidate_finish(&window.mirror->svm, &window.base, &invalidation);
	}

	// What the core calls us through. A member: a constant of a class would be an
	// inline variable, which a module does not want.
	const dsvm_svm_ops ops_;
	TestLock lock_;
};

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_MIRROR_H
