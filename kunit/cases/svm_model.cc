// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Random cases for core/svm: a process maps, unmaps and moves its memory while a driver mirrors
// it. The model is an array of pages: which are mapped by the CPU, and which the GPU has to have
// still, because nothing has happened to them. A checker runs after every step.

#include "kunit/case.h"
#include "kunit/cases/mirror_check.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// Around the border between two windows.
constexpr u32 kFirst = 480;
constexpr u32 kCount = 64;
constexpr usize kSmallChunks[] = {32 * kPageSize, 8 * kPageSize, kPageSize};

class Model {
public:
	Model(Random &random, MirrorOptions options, bool iommu, bool direct, u32 max_order)
		: random_(random), m_(options), max_order_(max_order)
	{
		m_.world.set_iommu(iommu);
		m_.world.set_direct(direct);
		m_.svm.chunk_sizes = kSmallChunks;
	}

	// One step; false if something is wrong.
	bool step()
	{
		switch (random_.below(12)) {
		case 0:
		case 1:
			map();
			break;
		case 2:
		case 3:
			unmap();
			break;
		case 4:
			invalidate();
			break;
		case 5:
			discard();
			break;
		case 6:
			protect();
			break;
		case 7:
			collect_garbage();
			break;
		case 8:
			if (random_.chance(50))
				remove();
			break;
		default:
			if (!fault())
				return false;
		}
		return is_sound(m_) && MirrorChecker{m_}.gpu_is_sound() && gpu_has_what_is_left();
	}

	[[nodiscard]] const dsvm_svm_counters &counters() const { return m_.svm.counters; }

private:
	PageSpan pick(u32 max_pages)
	{
		const u32 first = kFirst + static_cast<u32>(random_.below(kCount));
		const u32 last = first + static_cast<u32>(random_.below(max_pages));

		return {first, min(last, kFirst + kCount - 1)};
	}

	bool is_mapped(u32 page) const { return mapped_[page - kFirst]; }

	// mmap() where there is nothing, and touch some of it.
	void map()
	{
		PageSpan span = pick(48);

		for (u32 page = span.first; page <= span.last; page++) {
			if (!is_mapped(page))
				continue;
			if (page == span.first)
				return;
			span.last = page - 1;
		}
		if (vmas() + 2 > fake::kVmas)
			return;
		m_.world.add_vma(m_.world.mm(), span.start(), span.end());
		for (u32 page = span.first; page <= span.last;) {
			const u32 order = static_cast<u32>(random_.below(max_order_ + 1));
			const u32 count = 1u << order;

			mapped_[page - kFirst] = true;
			if (page % count == 0 && page + count - 1 <= span.last &&
			    random_.chance(70)) {
				m_.world.populate(m_.world.mm(), at_page(page), count, order);
				for (u32 i = 0; i < count; i++)
					mapped_[page + i - kFirst] = true;
				page += count;
			} else {
				page++;
			}
		}
	}

	u32 vmas()
	{
		u32 count = 0;

		for (const fake::Vma &vma : m_.world.mm().vmas)
			count += vma.in_use;
		return count;
	}

	// As mmap_lock held for writing: no huge page of the CPU is cut.
	void unmap()
	{
		const PageSpan span = pick(random_.chance(80) ? 3 : 32);

		if (vmas() + 1 > fake::kVmas)
			return;
		split_mappings(span);
		for (u32 page = span.first; page <= span.last; page++)
			mapped_[page - kFirst] = false;
		forget(span, true);
		m_.world.unmap(m_.world.mm(), span.start(), span.end());
	}

	// What the CPU maps in one go and is cut is mapped page by page from here on.
	void split_mappings(PageSpan span)
	{
		for (u32 page = kFirst; page < kFirst + kCount; page++) {
			fake::Pte &pte = m_.world.pte(m_.world.mm(), at_page(page));
			const u32 run = 1u << pte.order;

			if (page / run <= span.last / run && page / run >= span.first / run)
				pte.order = 0;
		}
	}

	void invalidate()
	{
		const PageSpan span = pick(3);

		forget(span, false);
		m_.world.invalidate(m_.world.mm(), span.start(), span.end());
	}

	// madvise(MADV_DONTNEED) or MADV_FREE.
	void discard()
	{
		const PageSpan span = pick(3);
		const bool lazily = random_.chance(50);

		split_mappings(span);
		forget(span, false);
		fake::Event &event = m_.world.begin_event(m_.world.mm(), span.start(), span.end());
		for (u32 page = span.first; page <= span.last; page++) {
			fake::Pte &pte = m_.world.pte(m_.world.mm(), at_page(page));

			if (lazily && pte.page != nullptr) {
				pte.page->lazyfree = true;
				pte.page->dirty = false;
			} else {
				m_.world.clear_pte(pte);
			}
		}
		m_.world.end_event(event);
	}

	// Entries become read-only, as by a fork whose child has gone.
	void protect()
	{
		const PageSpan span = pick(3);

		split_mappings(span);
		forget(span, false);
		fake::Event &event = m_.world.begin_event(m_.world.mm(), span.start(), span.end());
		for (u32 page = span.first; page <= span.last; page++)
			m_.world.pte(m_.world.mm(), at_page(page)).writable = false;
		m_.world.end_event(event);
	}

	// A GPU fault, as a driver without a lock around all ranges serves it.
	bool fault()
	{
		const u32 page = kFirst + static_cast<u32>(random_.below(kCount));
		const auto access = static_cast<dsvm_access>(random_.below(3));
		dsvm_range *range = nullptr;
		int result = m_.acquire(at_page(page), &range);

		if (result == 0 && (range->flags & DSVM_RANGE_UNMAPPED) != 0) {
			tidy(*range);
			m_.put(*range);
			result = m_.acquire(at_page(page), &range);
		}
		if (!DSVM_CASE_CHECK_EQ_(result, is_mapped(page) ? 0 : -DSVM_ENOENT))
			return false;
		if (result != 0)
			return true;
		const bool got = DSVM_CASE_CHECK_EQ_(m_.get_pages(*range, access), 0) &&
				 DSVM_CASE_CHECK_(m_.map_gpu(*range));
		for (usize addr = range->node.first; got && addr < range->node.last;
		     addr += kPageSize)
			expected_[index_of(addr)] = true;
		m_.put(*range);
		return got;
	}

	static u32 index_of(usize addr)
	{
		return static_cast<u32>((addr - at_page(kFirst)) >> kPageShift);
	}

	// Trims a range of which something has gone, or removes it.
	void tidy(dsvm_range &range)
	{
		if (random_.chance(10))
			dsvm_env_fail_alloc(1);
		const int result = m_.trim(range);

		if (!DSVM_CASE_CHECK_(result == 1 || result == 0 ||
				      (result == -DSVM_ENOMEM && dsvm_env_alloc_failed())))
			return;
		dsvm_env_fail_alloc(0);
		if (result != 1)
			drop(range);
	}

	void drop(dsvm_range &range)
	{
		for (usize addr = range.node.first; addr < range.node.last; addr += kPageSize)
			expected_[index_of(addr)] = false;
		m_.remove(range);
	}

	void collect_garbage()
	{
		for (u32 page = kFirst; page < kFirst + kCount; page++) {
			dsvm_range *const range =
				dsvm_svm_range_first(&m_.svm, at_page(page), end_of_page(page));

			if (range == nullptr)
				continue;
			if ((range->flags & DSVM_RANGE_UNMAPPED) != 0)
				tidy(*range);
			m_.put(*range);
		}
	}

	void remove()
	{
		const PageSpan span = pick(1);
		dsvm_range *const range = dsvm_svm_range_first(&m_.svm, span.start(), span.end());

		if (range == nullptr)
			return;
		drop(*range);
		m_.put(*range);
	}

	// What an event takes from the GPU: whole ranges, or, if memory goes, what has gone. Of
	// runs of more than a page, and where something has gone already, it may be more.
	void forget(PageSpan span, bool unmaps)
	{
		for (u32 page = kFirst; page < kFirst + kCount; page++) {
			dsvm_range *const range =
				dsvm_svm_range_first(&m_.svm, at_page(page), end_of_page(page));

			if (range == nullptr)
				continue;
			const bool meets =
				range->node.first <= span.end() && range->node.last >= span.start();
			const bool exactly = unmaps && max_order_ == 0 &&
					     (range->flags & DSVM_RANGE_UNMAPPED) == 0;
			if (meets && (!exactly || (page >= span.first && page <= span.last)))
				expected_[page - kFirst] = false;
			m_.put(*range);
		}
	}

	bool gpu_has_what_is_left()
	{
		for (u32 i = 0; i < kCount; i++) {
			if (expected_[i] &&
			    !DSVM_CASE_CHECK_(m_.gpu.at(at_page(kFirst + i)) != nullptr))
				return false;
		}
		return true;
	}

	Random &random_;
	Mirror m_;
	const u32 max_order_;
	// Pages that a VMA covers; pages that the GPU has to have.
	bool mapped_[kCount] = {};
	bool expected_[kCount] = {};
};

} // namespace

DSVM_CASE(model, random_lives_of_ranges)
{
	Random random;
	dsvm_svm_counters sum = {};
	const u32 worlds = rounds(200);

	for (u32 i = 0; i < worlds; i++) {
		const MirrorOptions options{random.chance(50),
					    1 + static_cast<u32>(random.below(fake::kDevices)),
					    random.chance(50)};
		Model model(random, options, random.chance(50), random.chance(50),
			    i % 2 == 0 ? 0 : 3);

		for (u32 step = 0; step < 250; step++)
			DSVM_REQUIRE(model.step());
		sum.ranges_split += model.counters().ranges_split;
		sum.ranges_trimmed += model.counters().ranges_trimmed;
		sum.ranges_removed += model.counters().ranges_removed;
	}
	// It has met what it is made for, in a full run.
	DSVM_EXPECT(worlds < 200 || sum.ranges_split > 50);
	DSVM_EXPECT(worlds < 200 || sum.ranges_trimmed > 50);
	DSVM_EXPECT(worlds < 200 || sum.ranges_removed > 50);
}
