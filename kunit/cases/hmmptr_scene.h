// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A driver with hmmptrs over the fake machine's first address space: what the cases for
// core/svm/hmmptr have in common. Each hmmptr has a page table of the GPU, indexed by the CPU's
// addresses: entries are written from what is valid under the notifier lock, and zapped in
// invalidations.
#ifndef DSVM_KUNIT_CASES_HMMPTR_SCENE_H
#define DSVM_KUNIT_CASES_HMMPTR_SCENE_H

#include "core/base/list.h"
#include "drm_svm/hmmptr.h"
#include "kunit/case.h"
#include "kunit/cases/mirror.h"

namespace dsvm::cases {

using fake::PteKind;
using fake::Writable;

class HmmptrScene;

struct ScenePiece {
	dsvm_piece base;
	fake::Notifier stand_in;
};

// A hmmptr of the driver's.
struct Held {
	static constexpr u32 kEventsAtOnce = 4;

	dsvm_hmmptr base;
	HmmptrScene *scene;
	GpuTable *gpu;
	u32 refs;
	bool is_locked;
	bool is_dying; // its last reference has gone, and it is not yet released
	dsvm_hmmptr_event events[kEventsAtOnce]; // between their passes, by sequence
};

struct HmmptrOptions {
	void *owner = nullptr;
	bool read_only = false;
};

class HmmptrScene {
public:
	explicit HmmptrScene(bool two_passes = false)
		: svm_ops_{nullptr,
			   nullptr,
			   range_create,
			   member_offset(&ScenePiece::stand_in) - member_offset(&ScenePiece::base) -
				   member_offset(&dsvm_piece::range),
			   range_get,
			   range_put,
			   nullptr,
			   nullptr,
			   range_pages,
			   nullptr},
		  ops_{invalidate_start, invalidate_finish, rebind, lock, unlock, get, put},
		  lock_("notifier_lock", to_underlying(LockRank::kNotifier))
	{
		world.set_two_passes(two_passes);
		set.svm.lock = lock_.get();
		set.svm.ops = &svm_ops_;
		set.ops = &ops_;
		dsvm_hmmptr_set_init(&set);
	}
	HmmptrScene(const HmmptrScene &) = delete;
	HmmptrScene &operator=(const HmmptrScene &) = delete;
	~HmmptrScene()
	{
		for (Held *&held : held_) {
			if (held != nullptr)
				release(*held);
		}
		DSVM_EXPECT_EQ(pieces, 0u);
		DSVM_EXPECT(link_is_empty(set.invalidated));
		DSVM_EXPECT(link_is_empty(set.repin));
	}

	// A hmmptr over pages [first, first + count).
	Held &make(u32 first, u32 count, const HmmptrOptions &options = {})
	{
		auto *const held = static_cast<Held *>(dsvm_backend_alloc(sizeof(Held)));

		*held = {};
		held->scene = this;
		held->gpu = static_cast<GpuTable *>(dsvm_backend_alloc(sizeof(GpuTable)));
		construct_at<GpuTable>(held->gpu);
		held->refs = 1;
		held->base.set = &set;
		held->base.mm = world.os_mm();
		held->base.dev = world.device();
		held->base.owner = options.owner;
		held->base.read_only = options.read_only;
		held->base.window.node.first = at_page(first);
		held->base.window.node.last = end_of_page(first + count - 1);
		DSVM_EXPECT_EQ(dsvm_hmmptr_init(&held->base), 0);
		held->base.window.os = world.add_notifier(world.mm(), at_page(first),
							  end_of_page(first + count - 1), on_event,
							  held, on_finish, set.svm.lock);
		for (Held *&place : held_) {
			if (place == nullptr) {
				place = held;
				return *held;
			}
		}
		dsvm_env_violation("too many hmmptrs");
		return *held;
	}

	void release(Held &held)
	{
		held.is_locked = true;
		dsvm_hmmptr_release(&held.base);
		held.is_locked = false;
		DSVM_EXPECT_EQ(held.base.populated, 0u);
		for (Held *&place : held_) {
			if (place == &held)
				place = nullptr;
		}
		drop(held);
	}

	int populate(Held &held, u32 first, u32 count, dsvm_access access = DSVM_ACCESS_READ)
	{
		return locked(held, [&] {
			return dsvm_hmmptr_populate(&held.base, at_page(first),
						    end_of_page(first + count - 1), access);
		});
	}
	int map(Held &held, u32 first, u32 count)
	{
		return locked(held, [&] {
			return dsvm_hmmptr_map(&held.base, at_page(first),
					       end_of_page(first + count - 1));
		});
	}
	int get_pages(Held &held, u32 first, u32 count, dsvm_access access = DSVM_ACCESS_READ)
	{
		return locked(held, [&] {
			return dsvm_hmmptr_get_pages(&held.base, at_page(first),
						     end_of_page(first + count - 1), access);
		});
	}
	void unmap(Held &held, u32 first, u32 count, bool forget = false)
	{
		held.gpu->zap(at_page(first), end_of_page(first + count - 1));
		flushing = false;
		static_cast<void>(locked(held, [&] {
			dsvm_hmmptr_unmap(&held.base, at_page(first),
					  end_of_page(first + count - 1), forget);
			return 0;
		}));
	}
	void inject(Held &held, u32 first, u32 count)
	{
		static_cast<void>(locked(held, [&] {
			dsvm_hmmptr_inject(&held.base, at_page(first),
					   end_of_page(first + count - 1));
			return 0;
		}));
	}
	int revalidate() { return dsvm_hmmptr_revalidate(&set); }

	[[nodiscard]] bool is_valid(Held &held, u32 first, u32 count)
	{
		dsvm_os_read_lock(set.svm.lock);
		const bool valid = dsvm_hmmptr_valid(&held.base, at_page(first),
						     end_of_page(first + count - 1));
		dsvm_os_read_unlock(set.svm.lock);
		return valid;
	}
	[[nodiscard]] bool all_valid()
	{
		dsvm_os_read_lock(set.svm.lock);
		const bool valid = dsvm_hmmptr_all_valid(&set);
		dsvm_os_read_unlock(set.svm.lock);
		return valid;
	}

	// Writes entries for what is valid of the span. False: not all of it is, and nothing was done.
	bool bind(Held &held, usize first, usize last)
	{
		dsvm_hmmptr_cursor run = {};

		dsvm_os_read_lock(set.svm.lock);
		const bool valid = dsvm_hmmptr_valid(&held.base, first, last);
		while (valid && dsvm_hmmptr_next(&held.base, first, last, &run)) {
			for (usize i = 0; i < run.npages; i++) {
				const usize addr = run.first + i * kPageSize;

				if (addr >= first && addr <= last)
					held.gpu->at(addr) =
						world.page_of_dma(run.addr->addr + i * kPageSize);
			}
		}
		dsvm_os_read_unlock(set.svm.lock);
		return valid;
	}
	bool bind_pages(Held &held, u32 first, u32 count)
	{
		return bind(held, at_page(first), end_of_page(first + count - 1));
	}
	// Pages, from the first on, that the GPU sees as the CPU does.
	[[nodiscard]] u32 bound(Held &held, u32 first, u32 count)
	{
		u32 sum = 0;

		for (u32 i = first; i < first + count; i++)
			sum += held.gpu->at(at_page(i)) != nullptr &&
			       held.gpu->at(at_page(i)) == world.pte(world.mm(), at_page(i)).page;
		return sum;
	}
	[[nodiscard]] static u32 pieces_of(Held &held)
	{
		u32 sum = 0;

		for ([[maybe_unused]] dsvm_range &range : Ranges(held.base.window.range_list))
			sum++;
		return sum;
	}
	// Whether all that has to hold between two calls does.
	[[nodiscard]] bool is_sound(Held &held)
	{
		const dsvm_interval &whole = held.base.window.node;
		usize populated = 0;
		usize free_from = whole.first;

		for (dsvm_range &range : Ranges(held.base.window.range_list)) {
			const dsvm_piece &piece = *container_of(&range, &dsvm_piece::range);
			const usize first = range.node.first;
			const usize last = range.node.last;
			const bool mapped = (piece.pages.flags & DSVM_PAGES_DMA_MAPPED) != 0;

			if (first < free_from || last > whole.last ||
			    first / set.piece_size != last / set.piece_size)
				return false;
			if ((piece.state & DSVM_PIECE_FRESH) != 0 || (mapped && !piece.wanted))
				return false;
			if (piece.wanted && !mapped && !piece.unbound)
				return false;
			if (piece.wanted && piece.unbound && held.base.place == DSVM_HMMPTR_CLEAN)
				return false;
			populated += last - first + 1;
			free_from = last + 1;
		}
		return populated == held.base.populated;
	}

	World world;
	dsvm_hmmptr_set set = {};
	// Pieces that exist.
	u32 pieces = 0;
	// Invalidations that had something to take, and the last one's span.
	u32 starts = 0;
	u32 finishes = 0;
	usize zap_first = 0;
	usize zap_last = 0;
	u32 rebinds = 0;
	int rebind_error = 0;
	int lock_error = 0;
	u64 lock_ns = 0; // how long others have a hmmptr's lock
	// Runs inside of each rebind, before entries are written.
	void (*in_rebind)(HmmptrScene &scene, Held &held) = nullptr;
	// The same each time that a revalidation is done with a hmmptr.
	void (*after_it)(HmmptrScene &scene, Held &held) = nullptr;
	// Whether a TLB may still have entries that are gone from a page table.
	bool flushing = false;

private:
	using Ranges = List<dsvm_range, &dsvm_range::entry>;

	static Held &of(dsvm_hmmptr *hmmptr) { return *container_of(hmmptr, &Held::base); }
	static HmmptrScene &of(dsvm_svm *svm)
	{
		return *container_of(container_of(svm, &dsvm_hmmptr_set::svm), &HmmptrScene::set);
	}
	static ScenePiece &home(dsvm_range *range)
	{
		return *container_of(container_of(range, &dsvm_piece::range), &ScenePiece::base);
	}

	template <class Work> int locked(Held &held, Work work)
	{
		held.is_locked = true;
		const int ret = work();
		held.is_locked = false;
		return ret;
	}
	void drop(Held &held)
	{
		if (--held.refs != 0)
			return;
		destroy_at<GpuTable>(held.gpu);
		dsvm_backend_free(held.gpu);
		dsvm_backend_free(&held);
	}

	static dsvm_range *range_create(dsvm_svm *svm, dsvm_notifier *window, usize first,
					usize last, u16)
	{
		HmmptrScene &self = of(svm);

		static_cast<void>(self.world.enter(Call::kRangeCreate));
		auto *const piece = static_cast<ScenePiece *>(dsvm_os_alloc(sizeof(ScenePiece)));
		if (piece == nullptr)
			return nullptr;
		piece->base.range.node.first = first;
		piece->base.range.node.last = last;
		piece->stand_in.mm = &self.world.mm();
		piece->stand_in.lock = window->lock;
		self.pieces++;
		return &piece->base.range;
	}
	static void range_get(dsvm_svm *, dsvm_range *)
	{
		dsvm_env_violation("a piece referenced");
	}
	static void range_put(dsvm_svm *svm, dsvm_range *range)
	{
		HmmptrScene &self = of(svm);

		static_cast<void>(self.world.enter(Call::kRangePut));
		if (home(range).base.pages.lock != nullptr)
			dsvm_env_violation("a piece freed that is mapped");
		self.pieces--;
		dsvm_os_free(&home(range));
	}
	static dsvm_pages *range_pages(dsvm_range *range, u32 index, dsvm_os_dev **dev)
	{
		if (index != 0)
			return nullptr;
		*dev = World::current().device();
		return &home(range).base.pages;
	}

	static bool invalidate_start(dsvm_hmmptr *hmmptr, usize first, usize last)
	{
		Held &held = of(hmmptr);
		HmmptrScene &self = *held.scene;

		dsvm_os_assert_held_write(self.set.svm.lock);
		self.starts++;
		self.zap_first = first;
		self.zap_last = last;
		const bool flushes = held.gpu->count(first, last) != 0;
		held.gpu->zap(first, last);
		self.flushing = self.flushing || flushes;
		return flushes;
	}
	static void invalidate_finish(dsvm_hmmptr *hmmptr, usize, usize)
	{
		HmmptrScene &self = *of(hmmptr).scene;

		dsvm_os_assert_held_write(self.set.svm.lock);
		self.finishes++;
		self.flushing = false;
	}
	static int rebind(dsvm_hmmptr *hmmptr, usize first, usize last)
	{
		Held &held = of(hmmptr);
		HmmptrScene &self = *held.scene;

		self.rebinds++;
		if (!held.is_locked)
			dsvm_env_violation("a hmmptr bound that is not locked");
		if (self.in_rebind != nullptr)
			self.in_rebind(self, held);
		if (self.rebind_error != 0)
			return self.rebind_error;
		return self.bind(held, first, last) ? 0 : -DSVM_EAGAIN;
	}
	static int lock(dsvm_hmmptr *hmmptr)
	{
		Held &held = of(hmmptr);

		if (dsvm_env_rank_held() != 0)
			dsvm_env_violation("a hmmptr locked under another lock");
		if (held.is_locked)
			dsvm_env_violation("a hmmptr locked twice");
		if (held.scene->lock_error != 0)
			return held.scene->lock_error;
		if (held.scene->lock_ns != 0)
			dsvm_env_advance_ns(held.scene->lock_ns);
		held.is_locked = true;
		return 0;
	}
	static void unlock(dsvm_hmmptr *hmmptr)
	{
		Held &held = of(hmmptr);

		held.is_locked = false;
		if (held.scene->after_it != nullptr)
			held.scene->after_it(*held.scene, held);
	}
	static bool get(dsvm_hmmptr *hmmptr)
	{
		if (of(hmmptr).is_dying)
			return false;
		of(hmmptr).refs++;
		return true;
	}
	static void put(dsvm_hmmptr *hmmptr) { of(hmmptr).scene->drop(of(hmmptr)); }

	static bool on_event(World &, dsvm_os_notifier *, const fake::Event &event, void *arg)
	{
		Held &held = *static_cast<Held *>(arg);
		dsvm_hmmptr_event &mine = held.events[(event.seq / 2) % Held::kEventsAtOnce];

		mine = {};
		mine.core.first = event.first;
		mine.core.last = event.last;
		mine.core.seq = event.seq;
		mine.core.blockable = event.blockable;
		mine.core.deferrable = event.deferrable;
		mine.hmmptr = &held.base;
		return dsvm_hmmptr_invalidate(&mine) == DSVM_UNFINISHED;
	}
	static void on_finish(World &, dsvm_os_notifier *, const fake::Event &event, void *arg)
	{
		Held &held = *static_cast<Held *>(arg);

		dsvm_hmmptr_invalidate_finish(&held.events[(event.seq / 2) % Held::kEventsAtOnce]);
	}

	const dsvm_svm_ops svm_ops_;
	const dsvm_hmmptr_ops ops_;
	TestLock lock_;
	Held *held_[8] = {};
};

// Sixteen pages of RAM; two hmmptrs over eight of them each, mapped and bound.
struct TwoHmmptrs : HmmptrScene {
	explicit TwoHmmptrs(bool two_passes = false)
		: HmmptrScene(two_passes), one(prepare()), other(make(8, 8))
	{
		DSVM_EXPECT_EQ(get_pages(one, 0, 8), 0);
		DSVM_EXPECT_EQ(get_pages(other, 8, 8), 0);
		DSVM_EXPECT(bind_pages(one, 0, 8));
		DSVM_EXPECT(bind_pages(other, 8, 8));
	}
	void invalidate(u32 first, u32 last)
	{
		world.invalidate(world.mm(), at_page(first), end_of_page(last));
	}

	Held &one;
	Held &other;

private:
	Held &prepare()
	{
		world.add_vma(world.mm(), at_page(0), end_of_page(15));
		world.populate(world.mm(), at_page(0), 16);
		return make(0, 8);
	}
};

// As another CPU that swaps a page out, or replaces it.
inline void replace_page_5(World &world, void *)
{
	fake::Mm &mm = world.mm();
	fake::Page *const page = world.alloc_ram();

	fake::Event &event = world.begin_event(mm, at_page(5), end_of_page(5));
	world.clear_pte(world.pte(mm, at_page(5)));
	world.set_pte(world.pte(mm, at_page(5)), PteKind::kPresent, page, Writable::Yes);
	world.end_event(event);
	world.put_page(page);
}

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_HMMPTR_SCENE_H
