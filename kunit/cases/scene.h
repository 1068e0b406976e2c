// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Memory on its way to a device and back: what the cases for core/migrate have in
// common.
//
//	Scene		sixteen pages in a VMA, and an allocation that could hold them
//	Field		pages that are on the device already
//	JobScene	any span, and allocations that are made as a job asks for them
#ifndef DSVM_KUNIT_CASES_SCENE_H
#define DSVM_KUNIT_CASES_SCENE_H

#include "drm_svm/migrate.h"
#include "kunit/case.h"
#include "kunit/fake/device.h"
#include "kunit/fake/world.h"

namespace dsvm::cases {

using fake::Allocation;
using fake::AllocationOptions;
using fake::Call;
using fake::PteKind;
using fake::World;

using Job = dsvm_migrate_job;

constexpr u32 kSpan = 16;
constexpr bool kBoth[] = {false, true};
constexpr u64 kMs = 1000 * 1000;

constexpr usize page_at(u32 index)
{
	return fake::kBase + usize{index} * kPageSize;
}

constexpr usize page_end(u32 index)
{
	return page_at(index) + (kPageSize - 1);
}

// How a CPU touches a page of the device.
struct Touch {
	u64 timeslice_ns = 0;
	bool may_drop_lock = false;
	bool no_wait = false;
	bool by_user = true;
};

// Allocations that live as long as the machine, which their pages belong to.
class Pool {
public:
	Pool()
		: items_(static_cast<Allocation **>(
			  dsvm_backend_alloc(kMost * sizeof(Allocation *))))
	{}
	Pool(const Pool &) = delete;
	Pool &operator=(const Pool &) = delete;
	~Pool()
	{
		for (u32 i = 0; i < count_; i++) {
			destroy_at(items_[i]);
			dsvm_backend_free(items_[i]);
		}
		dsvm_backend_free(items_);
	}

	Allocation &add(World &world, const AllocationOptions &options)
	{
		void *const memory = dsvm_backend_alloc(sizeof(Allocation));

		if (count_ == kMost)
			dsvm_env_violation("too many allocations");
		items_[count_] = static_cast<Allocation *>(memory);
		construct_at<Allocation>(items_[count_], world, options);
		return *items_[count_++];
	}
	// The makers' references go.
	void settle()
	{
		for (u32 i = 0; i < count_; i++)
			items_[i]->settle();
	}
	[[nodiscard]] u32 count() const { return count_; }
	[[nodiscard]] Allocation &at(u32 index) { return *items_[index]; }
	// Frames of all of them that are pages in use.
	[[nodiscard]] u32 pages_in_use() const
	{
		u32 sum = 0;

		for (u32 i = 0; i < count_; i++)
			sum += items_[i]->pages_in_use();
		return sum;
	}
	// Frames that are neither in use nor with the driver again, of what still lives.
	[[nodiscard]] u32 frames_lost() const
	{
		u32 sum = 0;

		for (u32 i = 0; i < count_; i++) {
			if (!items_[i]->is_detached())
				sum += items_[i]->options().npages - items_[i]->frames_back() -
				       items_[i]->pages_in_use();
		}
		return sum;
	}

private:
	static constexpr u32 kMost = fake::kZdds;

	u32 count_ = 0;
	Allocation **const items_;
};

// An address space with a device beside it.
class Stage {
public:
	explicit Stage(u32 huge_order = 0) { world.set_huge_order(huge_order); }
	Stage(const Stage &) = delete;
	Stage &operator=(const Stage &) = delete;
	~Stage() { pool.settle(); }

	// As the shim's drm_pagemap_migrate_to_devmem() does.
	[[nodiscard]] int run(dsvm_to_device &request)
	{
		dsvm_os_mm_read_lock(request.mm);
		const int result = dsvm_migrate_to_device(&request);
		dsvm_os_mm_read_unlock(request.mm);
		return result;
	}

	// A CPU touches a page that is on the device.
	dsvm_fault_result touch(u32 index, const Touch &how = {})
	{
		dsvm_os_mm_read_lock(world.os_mm());
		const dsvm_fault_result result = touch_locked(index, how);
		if (!os_fault.has_dropped)
			dsvm_os_mm_read_unlock(world.os_mm());
		return result;
	}

	// The same on a CPU that has the mm's lock.
	dsvm_fault_result touch_locked(u32 index, const Touch &how = {})
	{
		fake::Page *const page = begin_fault(index);
		const dsvm_fault_result result = handle_fault(index, page, how);

		end_fault(page);
		return result;
	}

	// As do_swap_page(), or for a huge page do_huge_pmd_device_private(), does before it calls
	// migrate_to_ram(); after that it unlocks and drops the page.
	[[nodiscard]] fake::Page *begin_fault(u32 index)
	{
		const fake::Pte &pte = world.pte(world.mm(), page_at(index));
		fake::Page *const page = pte.order != 0 ? pte.page - pte.page->index : pte.page;

		world.get_folio(page);
		world.lock_folio(page);
		return page;
	}
	void end_fault(fake::Page *page)
	{
		world.unlock_folio(page);
		world.put_folio(page);
	}

	[[nodiscard]] dsvm_fault_result handle_fault(u32 index, fake::Page *page,
						     const Touch &how = {})
	{
		dsvm_cpu_fault fault = {};
		dsvm_vma_info vma = {};

		DSVM_EXPECT(dsvm_os_vma_at(world.os_mm(), page_at(index), &vma));
		os_fault = {&world.mm(), page, how.may_drop_lock, how.no_wait, false, 0};
		fault.fault = &os_fault;
		fault.vma = vma.vma;
		fault.vma_first = vma.first;
		fault.vma_last = vma.last;
		fault.addr = page_at(index) + 123;
		fault.page = fake::to_os(page);
		fault.order = world.pte(world.mm(), page_at(index)).order;
		fault.is_part = page->order > fault.order;
		fault.by_user = how.by_user;
		fault.devmem = page->zdd->devmem;
		fault.timeslice_ns = how.timeslice_ns;
		return dsvm_migrate_to_ram(&fault);
	}

	// Part of an allocation, by somebody who keeps it.
	[[nodiscard]] int evict(Allocation &victim, usize index, usize npages)
	{
		fake::Zdd &zdd = *fake::from_os(victim.devmem().zdd);

		zdd.refs++;
		const int result =
			dsvm_migrate_evict(&victim.devmem(), world.os_mm(), index, npages);
		world.zdd_put(&zdd);
		return result;
	}
	[[nodiscard]] int evict(Allocation &victim)
	{
		return evict(victim, 0, victim.options().npages);
	}

	[[nodiscard]] fake::Pte &pte(u32 index) { return world.pte(world.mm(), page_at(index)); }
	[[nodiscard]] fake::Page &page(u32 index) { return *pte(index).page; }
	[[nodiscard]] u32 count(PteKind kind, u32 npages)
	{
		return world.count(world.mm(), page_at(0), page_end(npages - 1), kind);
	}
	// Nobody has lost a byte, and no page is on its way any more.
	[[nodiscard]] bool is_intact(u32 populated, u32 npages)
	{
		for (u32 i = 0; i < npages; i++) {
			if (pte(i).kind == PteKind::kMigration)
				return false;
			if (world.read(world.mm(), page_at(i)) != (i < populated ? page_at(i) : 0))
				return false;
		}
		return world.dma_mappings() == 0 && world.iova_windows() == 0 &&
		       world.fences() == 0 && world.vma_pins() == 0;
	}

	// Outlives the machine, whose end frees the last pages of its allocations.
	Pool pool;
	World world;
	dsvm_os_fault os_fault = {};
};

// Sixteen pages of RAM in a VMA, and an allocation that could hold them, or more.
class Scene : public Stage {
public:
	explicit Scene(u32 populated = kSpan, const AllocationOptions &options = {},
		       u32 huge_order = 0)
		: Stage(huge_order), allocation(pool.add(world, complete(options)))
	{
		vma = &world.add_vma(world.mm(), page_at(0), page_end(kSpan - 1));
		world.populate(world.mm(), page_at(0), populated);
		DSVM_EXPECT_EQ(allocation.made(), 0);
	}

	[[nodiscard]] dsvm_to_device request(bool all_or_nothing = false)
	{
		dsvm_to_device request = {};

		request.mm = world.os_mm();
		request.first = page_at(0);
		request.last = page_end(kSpan - 1);
		request.owner = this;
		request.devmem = &allocation.devmem();
		request.all_or_nothing = all_or_nothing;
		request.migrated = ~usize{0}; // of an earlier try, say
		return request;
	}

	[[nodiscard]] int out(bool all_or_nothing = false)
	{
		dsvm_to_device req = request(all_or_nothing);
		const int result = run(req);

		migrated = static_cast<u32>(req.migrated);
		return result;
	}

	using Stage::evict;
	[[nodiscard]] int evict() { return evict(allocation); }

	[[nodiscard]] u32 on_device() { return count(PteKind::kDevice, kSpan); }
	[[nodiscard]] u32 in_ram() { return count(PteKind::kPresent, kSpan); }
	[[nodiscard]] bool is_intact(u32 populated = kSpan)
	{
		return Stage::is_intact(populated, kSpan);
	}

	Allocation &allocation;
	fake::Vma *vma = nullptr;
	u32 migrated = 0;

private:
	[[nodiscard]] AllocationOptions complete(AllocationOptions options)
	{
		options.owner = static_cast<Stage *>(this);
		options.npages = options.npages != 0 ? options.npages : kSpan;
		return options;
	}
};

// Pages that are on the device, in an allocation of their own.
class Field : public Stage {
public:
	explicit Field(const AllocationOptions &options = {}, u32 pages_in_it = 64)
		: allocation(pool.add(world, complete(options, pages_in_it))), npages(pages_in_it)
	{
		dsvm_to_device request = {};

		world.add_vma(world.mm(), page_at(0), page_end(npages - 1));
		world.populate(world.mm(), page_at(0), npages);
		request.mm = world.os_mm();
		request.first = page_at(0);
		request.last = page_end(npages - 1);
		request.owner = static_cast<Stage *>(this);
		request.devmem = &allocation.devmem();
		DSVM_EXPECT_EQ(run(request), 0);
		DSVM_EXPECT_EQ(request.migrated, npages);
		allocation.settle();
	}
	using Stage::evict;
	[[nodiscard]] int evict() { return evict(allocation); }
	[[nodiscard]] u32 on_device() { return count(PteKind::kDevice, npages); }
	[[nodiscard]] u32 in_ram() { return count(PteKind::kPresent, npages); }
	[[nodiscard]] bool is_intact() { return Stage::is_intact(npages, npages); }
	// Whether exactly [first, last] is in RAM.
	[[nodiscard]] bool is_back(u32 first, u32 last)
	{
		for (u32 i = 0; i < npages; i++) {
			const bool inside = i >= first && i <= last;

			if ((pte(i).kind == PteKind::kPresent) != inside)
				return false;
		}
		return is_intact();
	}

	Allocation &allocation;
	const u32 npages;

private:
	[[nodiscard]] AllocationOptions complete(AllocationOptions options, u32 count)
	{
		options.owner = static_cast<Stage *>(this);
		options.npages = count;
		return options;
	}
};

// A span that a job moves. The driver's frames go up, each where a huge page could begin if the
// address is where one could.
class JobScene : public Stage {
public:
	explicit JobScene(u32 span, u32 huge_order = 0) : Stage(huge_order), npages(span)
	{
		stand_in.mm = &world.mm();
	}

	~JobScene() { dsvm_backend_free(report); }

	// A VMA over all of it, full of RAM.
	void fill()
	{
		world.add_vma(world.mm(), page_at(0), page_end(npages - 1));
		world.populate(world.mm(), page_at(0), npages);
	}

	[[nodiscard]] Job job()
	{
		Job request = {};

		request.mm = world.os_mm();
		request.notifier = fake::to_os(&stand_in);
		request.first = page_at(0);
		request.last = page_end(npages - 1);
		request.owner = static_cast<Stage *>(this);
		request.pagemap = world.pagemap(options.provider);
		request.ctx = this;
		request.alloc = alloc;
		request.release = release;
		request.report = report;
		// Of an earlier job, say.
		for (usize &count : request.result)
			count = 1000;
		for (u32 i = 0; i < fake::kPtes; i++)
			report[i] = 0xff;
		return request;
	}

	int run(Job &job)
	{
		const int result = dsvm_migrate_run_job(&job);

		check(job);
		if (outstanding != 0)
			dsvm_env_violation("an allocation of a job that is not released");
		return result;
	}
	using Stage::run;

	// A job as it comes; its results stay in `last`.
	int out()
	{
		last = job();
		return run(last);
	}

	[[nodiscard]] u32 on_device() { return count(PteKind::kDevice, npages); }
	[[nodiscard]] u32 in_ram() { return count(PteKind::kPresent, npages); }
	[[nodiscard]] bool is_intact(u32 populated) { return Stage::is_intact(populated, npages); }
	[[nodiscard]] bool is_intact() { return is_intact(npages); }

	u32 npages;
	AllocationOptions options; // of the allocations that are made
	bool misaligned = false;   // their frames never fit for a huge page
	u32 frames = 512;	   // that the driver has
	u32 next_frame = 0;
	u32 short_by = 0;    // pages that an allocation has too few
	u32 outstanding = 0; // allocations that the job has
	fake::Notifier stand_in = {};
	Job last = {};
	// On the heap, as the allocations: a kernel's stack has no room for them.
	u8 *const report = static_cast<u8 *>(dsvm_backend_alloc(fake::kPtes));

private:
	static int alloc(void *ctx, usize first, usize npages, const dsvm_devmem **out)
	{
		JobScene &self = *static_cast<JobScene *>(ctx);
		constexpr usize kBlock = 2ul << 20;

		if (dsvm_env_rank_held() != 0 || self.world.vma_pins() != 0)
			dsvm_env_violation("device memory asked for with a lock held");
		if (npages == 0 || first / kBlock != (first + npages * kPageSize - 1) / kBlock)
			dsvm_env_violation("device memory for more than a block");
		// An error says that there is nothing in it.
		*out = reinterpret_cast<const dsvm_devmem *>(usize{64});
		if (const int injected = self.world.enter(Call::kJobAlloc))
			return injected;
		AllocationOptions options = self.options;
		const u32 mask = (1u << self.world.huge_order()) - 1;
		const u32 wanted =
			static_cast<u32>(first >> kPageShift) + (self.misaligned ? 1 : 0);
		self.next_frame += (wanted - self.next_frame) & mask;
		const u32 taken = static_cast<u32>(npages) * (options.scattered ? 2 : 1) +
				  (options.gap_at != 0);
		if (self.next_frame + taken > self.frames)
			return -DSVM_ENOSPC;
		options.first = self.next_frame;
		options.npages = static_cast<u32>(npages) - self.short_by;
		options.owner = static_cast<Stage *>(&self);
		options.hint = first;
		self.next_frame += taken;
		Allocation &made = self.pool.add(self.world, options);
		if (made.made() != 0) {
			made.settle();
			return made.made();
		}
		self.outstanding++;
		*out = &made.devmem();
		return 0;
	}

	static void release(void *ctx, const dsvm_devmem *devmem)
	{
		JobScene &self = *static_cast<JobScene *>(ctx);

		static_cast<void>(self.world.enter(Call::kJobRelease));
		if (dsvm_env_rank_held() != 0)
			dsvm_env_violation("device memory released with a lock held");
		self.outstanding--;
		static_cast<Allocation *>(devmem->allocation)->settle();
	}

	// The report and the counts say the same, of all pages, and what is so.
	void check(const Job &job)
	{
		usize counted[DSVM_STAYS] = {};
		const u32 begin = static_cast<u32>((job.first - page_at(0)) >> kPageShift);
		const u32 pages = static_cast<u32>((job.last - job.first + 1) >> kPageShift);

		for (u32 i = 0; i < pages && job.report != nullptr; i++) {
			const u8 said = job.report[i];

			if (said >= DSVM_STAYS) {
				dsvm_env_violation("nothing is said of page %u", i);
				continue;
			}
			counted[said]++;
			const bool is_there = said == DSVM_MOVED || said == DSVM_WAS_THERE;
			const fake::Pte &at = pte(begin + i);
			const bool is_on_it = at.kind == PteKind::kDevice &&
					      world.pagemap_of(at.page) == job.pagemap;
			if (is_there != is_on_it && !moves_meanwhile)
				dsvm_env_violation("page %u: %u is said of it", i, said);
		}
		for (u32 i = 0; i < DSVM_STAYS && job.report != nullptr; i++) {
			if (counted[i] != job.result[i])
				dsvm_env_violation("result %u: %lu, reported %lu", i, job.result[i],
						   counted[i]);
		}
	}

public:
	bool moves_meanwhile = false; // pages are taken away after they have moved
};

constexpr u32 kHugeOrder = 2;
constexpr u32 kHuge = 1u << kHugeOrder;

// Four huge pages of RAM in a VMA.
class HugeScene : public JobScene {
public:
	explicit HugeScene(bool is_full = true) : JobScene(kSpan, kHugeOrder)
	{
		world.add_vma(world.mm(), page_at(0), page_end(kSpan - 1));
		for (u32 i = 0; is_full && i < kSpan; i += kHuge)
			world.populate_huge(world.mm(), page_at(i));
	}
	// Pages that are mapped as parts of huge ones.
	[[nodiscard]] u32 huge_pages()
	{
		u32 sum = 0;

		for (u32 i = 0; i < kSpan; i++)
			sum += pte(i).order == kHugeOrder && page(i).order == kHugeOrder;
		return sum;
	}
	// Until it is in RAM, as the CPU does. How many faults it takes.
	u32 touch_until_back(u32 index)
	{
		for (u32 tries = 1; tries < 5; tries++) {
			DSVM_EXPECT_EQ(touch(index), DSVM_FAULT_DONE);
			if (pte(index).kind == PteKind::kPresent)
				return tries;
		}
		return ~0u;
	}
	[[nodiscard]] Allocation &made(u32 index = 0) { return pool.at(index); }
};

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_SCENE_H
