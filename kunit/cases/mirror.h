// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A driver that mirrors the fake machine's first address space: what the cases for
// core/svm have in common. It owns notifiers and ranges as a driver would, from the
// environment's memory (so that each of its allocations can be made to fail), and its
// invalidation callback unmaps what overlaps.
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

struct MirrorRange {
	dsvm_range base;
	dsvm_pages pages;
	dsvm_notifier *notifier;
};

struct MirrorNotifier {
	dsvm_notifier base;
	dsvm_os_notifier *os;
};

constexpr usize kNotifierBytes = 512 * kPageSize;
constexpr usize kChunkSizes[] = {512 * kPageSize, 16 * kPageSize, kPageSize};

class Mirror {
public:
	Mirror() : lock_("notifier_lock", to_underlying(LockRank::kNotifier))
	{
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

	[[nodiscard]] int fault(usize addr, dsvm_range **out, bool write = false)
	{
		dsvm_find_or_insert request = {};

		request.fault_addr = addr;
		request.gpuva_first = kBase;
		request.gpuva_last = end_of_page(fake::kPtes - 1);
		request.write = write;
		return dsvm_svm_find_or_insert(&svm, &request, out);
	}

	[[nodiscard]] dsvm_get_pages request(const dsvm_range &range, bool write = false)
	{
		dsvm_get_pages get = {};

		get.lock = svm.lock;
		get.mm = svm.mm;
		get.notifier = os_notifier(range);
		get.dev = world.device();
		get.first = range.node.first;
		get.last = range.node.last;
		get.owner = this;
		get.write = write;
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
		return notifier_os(home(range).notifier);
	}
	[[nodiscard]] static u32 pages_of(const dsvm_range &range)
	{
		return static_cast<u32>((range.node.last - range.node.first + 1) >> kPageShift);
	}
	[[nodiscard]] int get_pages(dsvm_range &range, bool write = false)
	{
		const dsvm_get_pages get = request(range, write);

		return dsvm_svm_get_pages(&home(range).pages, &get);
	}

	// Whether the trees and lists are sound, and agree.
	[[nodiscard]] bool is_sound()
	{
		const Notifiers windows(svm.notifier_list);
		const u32 listed = count_list(windows);
		bool sound = expect_sound(TreeChecker<IntervalTraits>(svm.root).complaint(listed),
					  "notifiers");

		for (dsvm_notifier &n : windows) {
			const u32 count = count_list(Ranges(n.range_list));
			sound = sound &&
				expect_sound(TreeChecker<IntervalTraits>(n.root).complaint(count),
					     "ranges");
			sound = sound && DSVM_CASE_CHECK_(count > 0);
		}
		return sound && DSVM_CASE_CHECK_EQ_(listed, notifiers);
	}

	World world;
	dsvm_svm svm = {};
	// Objects that exist now.
	u32 notifiers = 0;
	u32 ranges = 0;
	// Invalidations so far.
	u32 invalidations = 0;
	// Whether another CPU invalidates each range at the moment it goes.
	bool races_with_range_put = false;

private:
	static Mirror &of(dsvm_svm *svm) { return *container_of(svm, &Mirror::svm); }

	using Notifiers = List<dsvm_notifier, &dsvm_notifier::entry>;
	using Ranges = List<dsvm_range, &dsvm_range::entry>;

	// How many there are; they have to be in the order of their addresses.
	template <class Items> static u32 count_list(const Items &items)
	{
		const dsvm_interval *before = nullptr;
		u32 count = 0;

		for (auto &item : items) {
			DSVM_EXPECT(before == nullptr || before->last < item.node.first);
			before = &item.node;
			count++;
		}
		return count;
	}

	static int notifier_create(dsvm_svm *svm, usize first, usize last, dsvm_notifier **out)
	{
		auto *const notifier =
			static_cast<MirrorNotifier *>(dsvm_os_alloc(sizeof(MirrorNotifier)));

		if (notifier == nullptr)
			return -DSVM_ENOMEM;
		// Inserting one may take mmap_lock for writing.
		if (dsvm_env_rank_held() != 0)
			dsvm_env_violation("a notifier made under a lock");
		notifier->base.node.first = first;
		notifier->base.node.last = last;
		link_init(notifier->base.range_list);
		notifier->os = of(svm).world.add_notifier(of(svm).world.mm(), first, last,
							  invalidate, &of(svm));
		of(svm).notifiers++;
		*out = &notifier->base;
		return 0;
	}

	static dsvm_os_notifier *notifier_os(dsvm_notifier *notifier)
	{
		return container_of(notifier, &MirrorNotifier::base)->os;
	}

	static void notifier_destroy(dsvm_svm *svm, dsvm_notifier *notifier)
	{
		if (!notifier->removed)
			dsvm_os_notifier_remove(notifier_os(notifier));
		of(svm).notifiers--;
		dsvm_os_free(container_of(notifier, &MirrorNotifier::base));
	}

	static int range_create(dsvm_svm *svm, dsvm_notifier *notifier, usize first, usize last,
				u16 flags, dsvm_range **out)
	{
		auto *const range = static_cast<MirrorRange *>(dsvm_os_alloc(sizeof(MirrorRange)));

		if (range == nullptr)
			return -DSVM_ENOMEM;
		range->base.node.first = first;
		range->base.node.last = last;
		range->base.flags = flags;
		range->notifier = notifier;
		of(svm).ranges++;
		*out = &range->base;
		return 0;
	}

	static void range_put(dsvm_svm *svm, dsvm_range *range)
	{
		MirrorRange &mine = home(*range);
		World &world = of(svm).world;

		if (of(svm).races_with_range_put)
			world.invalidate(world.mm(), range->node.first, range->node.last);
		dsvm_svm_free_pages(&mine.pages, svm->lock, of(svm).world.device(),
				    pages_of(*range));
		of(svm).ranges--;
		dsvm_os_free(&mine);
	}

	struct Zap {
		Mirror *mirror;
		usize first;
		usize last;
	};

	static void zap(void *arg)
	{
		const Zap &zap = *static_cast<Zap *>(arg);
		dsvm_svm &svm = zap.mirror->svm;
		dsvm_notifier *const notifier = dsvm_svm_notifier_find(&svm, zap.first, zap.last);

		// A driver marks ranges here.
		dsvm_os_assert_held_write(svm.lock);
		if (notifier == nullptr)
			return;
		for (dsvm_range &range : Ranges(notifier->range_list)) {
			if (range.node.first > zap.last || range.node.last < zap.first)
				continue;
			dsvm_svm_unmap_pages(&home(range).pages, svm.lock,
					     zap.mirror->world.device(), pages_of(range));
		}
	}

	static void invalidate(World &, dsvm_os_notifier *notifier, usize first, usize last,
			       usize seq, void *arg)
	{
		Zap zapped{static_cast<Mirror *>(arg), first, last};

		zapped.mirror->invalidations++;
		static_cast<void>(dsvm_svm_invalidate(&zapped.mirror->svm, notifier, seq, true, zap,
						      &zapped));
	}

	// What the core calls us through. A member: a constant of a class would be an
	// inline variable, which a module does not want.
	const dsvm_svm_ops ops_ = {
		notifier_create, notifier_os, notifier_destroy, range_create, range_put,
	};
	TestLock lock_;
};

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_MIRROR_H
