// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The machine's pages, swap slots, users of address spaces, memory of the core.

#include <cstdlib>
#include <cstring>

#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

namespace {

// What a free page holds, so that nobody takes it for data.
constexpr u64 kPoison = 0xdeadbeef00000000;
// The space between the core's allocations and what frees them when a run is abandoned.
constexpr usize kHeader = 32;

Machine *the_machine;

} // namespace

const Kernel kKernel6_1{"6.1", false, false, false, false, false, false, false, false, false};
const Kernel kKernel6_12{"6.12", false, false, false, false, true, false, false, false, false};
const Kernel kKernel7_3{"7.3", true, true, true, true, true, true, true, true, true};

const char *name_of(Fail fail)
{
	static const char *const names[] = {"none", "alloc",	  "page_alloc", "dma_map",
					    "copy", "copy_later", "copy_again", "populate"};
	static_assert(sizeof(names) / sizeof(names[0]) == static_cast<usize>(Fail::kCount));

	return names[static_cast<usize>(fail)];
}

struct Machine::Memory {
	Memory *next;
	Memory *prev;
	usize bytes;
};
static_assert(sizeof(void *) * 3 <= kHeader);

Machine::Machine()
{
	the_machine = this;
	memory_ = static_cast<Memory *>(std::calloc(1, sizeof(Memory)));
	memory_->next = memory_->prev = memory_;
}

Machine::~Machine()
{
	while (memory_->next != memory_)
		free(reinterpret_cast<char *>(memory_->next) + kHeader);
	std::free(memory_);
	the_machine = nullptr;
}

Machine &Machine::current()
{
	return *the_machine;
}

void Machine::reset(const Geometry &geometry, const Kernel &kernel)
{
	while (memory_->next != memory_)
		free(reinterpret_cast<char *>(memory_->next) + kHeader);

	geometry_ = geometry;
	kernel_ = &kernel;
	pages_.assign(geometry.ram_pages + geometry.device_pages + geometry.peer_pages, Page{});
	for (u32 i = 0; i < pages_.size(); i++) {
		pages_[i].head = i;
		pages_[i].content = kPoison | i;
	}
	pages_[kZeroPage].refs = 1;
	pages_[kZeroPage].content = 0;
	slots_.assign(geometry.swap_slots, Slot{});
	object_pages_.assign(kMaxMms * geometry.va_pages, kNoPage);
	object_shadows_.assign(kMaxMms * geometry.va_pages, 0);
	for (u32 i = 0; i < kMaxMms; i++) {
		Mm &mm = mms_[i];

		mm.index = i;
		mm.users = mm.kept = 0;
		mm.in_use = mm.torn_down = false;
		mm.lock = Rwsem{"mmap_lock", LockRank::kMmap};
		for (Vma &vma : mm.vmas)
			vma = Vma{};
		mm.ptes.assign(geometry.va_pages, Pte{});
		mm.huge.assign(geometry.va_pages, 0);
		mm.table.assign(geometry.va_pages, 0);
		mm.shadow.assign(geometry.va_pages, 0);
		mm.invalidate_seq = 2;
		mm.active_invalidations = 0;
	}
	mms_[0].users = 1;
	mms_[0].in_use = true;
	for (Notifier *&notifier : notifiers_)
		notifier = nullptr;
	for (u32 &fail : fail_in_)
		fail = 0;
	active_spans_.clear();
	moves = Moves{};
	for (Asked &asked : asked_)
		asked = Asked{};
	next_anon_vma_ = 1;
	ram_hint_ = 1;
	state_hash_ = 0;
}

// Pages -----------------------------------------------------------------------

u32 Machine::page_of_pfn(usize pfn) const
{
	if (pfn >= kDevicePfn && pfn - kDevicePfn < geometry_.device_pages + geometry_.peer_pages)
		return geometry_.ram_pages + static_cast<u32>(pfn - kDevicePfn);
	if (pfn >= kRamPfn && pfn - kRamPfn < geometry_.ram_pages)
		return static_cast<u32>(pfn - kRamPfn);
	return kNoPage;
}

u32 Machine::alloc_ram(u32 order)
{
	scheduler().may_allocate();
	scheduler().point(Point::kAlloc);
	if (fails(Fail::kPageAlloc))
		return kNoPage;

	const u32 count = 1u << order;
	const u32 places = geometry_.ram_pages >> order;
	for (u32 i = 0; i < places; i++) {
		// Not the page that was freed last, so that whoever still uses that is seen.
		const u32 first = ((ram_hint_ >> order) + i) % places << order;
		bool free = true;
		for (u32 j = first; j < first + count && free; j++)
			free = pages_[j].refs == 0 && pages_[j].head == j;
		if (!free)
			continue;
		for (u32 j = first; j < first + count; j++) {
			pages_[j].head = first;
			pages_[j].content = 0;
		}
		pages_[first].refs = 1;
		pages_[first].order = static_cast<u8>(order);
		ram_hint_ = (first + count) % geometry_.ram_pages;
		return first;
	}
	return kNoPage;
}

void Machine::init_device_folio(u32 first, u32 order, Zdd &zdd)
{
	const u32 count = 1u << order;
	bool fits = first + count <= pages_.size() && is_device(first) &&
		    device_of(first) == device_of(first + count - 1) && pfn_of(first) % count == 0;

	for (u32 i = first; fits && i < first + count; i++)
		fits = pages_[i].refs == 0 && pages_[i].head == i;
	if (!fits) {
		scheduler().fail("a device page is taken that is in use", "2^%u from page %u on",
				 order, first);
		return;
	}
	zdd.refs++;
	for (u32 i = first; i < first + count; i++)
		pages_[i] = Page{.head = first,
				 .generation = pages_[i].generation,
				 .content = pages_[i].content};
	pages_[first].refs = 1;
	pages_[first].order = static_cast<u8>(order);
	pages_[first].locked = true;
	pages_[first].locker = scheduler().running();
	pages_[first].zdd = &zdd;
}

void Machine::get_page(Page &page)
{
	Page &folio = folio_of(page);

	if (index_of(folio) == kZeroPage)
		return;
	if (folio.refs == 0)
		scheduler().fail("a free page is used", "page %u gets a reference", index_of(page));
	folio.refs++;
}

bool Machine::try_get_page(Page &page)
{
	if (folio_of(page).refs == 0)
		return false;
	get_page(page);
	return true;
}

void Machine::put_page(Page &page)
{
	Page &folio = folio_of(page);

	if (index_of(folio) == kZeroPage)
		return;
	if (folio.refs == 0) {
		scheduler().fail("a free page is used", "page %u loses a reference",
				 index_of(page));
		return;
	}
	if (--folio.refs == 0)
		free_folio(folio);
}

void Machine::free_folio(Page &folio)
{
	const u32 first = index_of(folio);
	const u32 count = 1u << folio.order;
	Zdd *const zdd = folio.zdd;

	if (folio.mapped != 0 || folio.locked || folio.pins != 0 || folio.isolated ||
	    folio.slot != 0)
		scheduler().fail("a page is freed that is in use",
				 "page %u: %u mappings, %s, %u pins, %s, slot %u", first,
				 folio.mapped, folio.locked ? "locked" : "unlocked", folio.pins,
				 folio.isolated ? "isolated" : "on the LRU", folio.slot);
	for (u32 i = first; i < first + count; i++) {
		if (pages_[i].dma != 0)
			scheduler().fail("a page is freed that is mapped for DMA", "page %u", i);
		pages_[i] = Page{
			.head = i, .generation = pages_[i].generation + 1, .content = kPoison | i};
	}
	if (zdd != nullptr) {
		// Possibly under a page-table lock (kernel: mm/memremap.c, ->folio_free). The
		// frames may be somebody else's before the driver has returned.
		Scheduler::Atomic atomic{"the freeing of a device page"};
		if (zdd->freed != nullptr)
			zdd->freed(*zdd, first, count);
		zdd_put(*zdd);
	}
}

void Machine::zdd_put(Zdd &zdd)
{
	if (zdd.refs == 0) {
		scheduler().fail("a zdd is used that is gone", "it loses a reference");
		return;
	}
	if (--zdd.refs == 0 && zdd.released != nullptr)
		zdd.released(zdd);
}

bool Machine::try_lock_page(Page &page)
{
	Page &folio = folio_of(page);

	scheduler().point(Point::kLock);
	if (folio.locked)
		return false;
	folio.locked = true;
	folio.locker = scheduler().running();
	return true;
}

void Machine::lock_page(Page &page)
{
	Page &folio = folio_of(page);

	if (folio.locked && folio.locker == scheduler().running())
		scheduler().fail("a lock is taken twice", "that of page %u", index_of(folio));
	scheduler().wait_until("a page's lock", [&] { return !folio.locked; });
	folio.locked = true;
	folio.locker = scheduler().running();
}

void Machine::unlock_page(Page &page)
{
	Page &folio = folio_of(page);

	if (!folio.locked || folio.locker != scheduler().running())
		scheduler().fail("a lock is dropped that was not held so", "that of page %u",
				 index_of(folio));
	folio.locked = false;
	folio.locker = kNobody;
	scheduler().point(Point::kUnlock);
}

void Machine::split_folio(Page &folio)
{
	const u32 first = index_of(folio);
	const u32 count = 1u << folio.order;

	if (!folio.locked || folio.refs != folio.mapped + 1)
		scheduler().fail("a folio is split that others use", "page %u", first);
	const Page head = folio;
	for (u32 i = first; i < first + count; i++) {
		Page &page = pages_[i];
		u32 mapped = 0;

		for (const Mm &mm : mms_) {
			for (const Pte &pte : mm.ptes)
				mapped += pte.kind == PteKind::kPresent && pte.page == i;
		}
		page.head = i;
		page.order = 0;
		page.mapped = mapped;
		page.refs = mapped + (i == first);
		page.entered = false;
		if (i != first)
			inherit(page, head);
	}
	for (u32 i = first + 1; i < first + count; i++) {
		if (pages_[i].refs == 0)
			free_folio(pages_[i]);
	}
}

// Of a device's the zdd has one more page. Whoever is in the folio because of a CPU fault is in
// none of the new ones (src/linux: a bit beside the zdd, which he drops if it is there).
void Machine::inherit(Page &part, const Page &head)
{
	part.anon = head.anon;
	part.anon_vma = head.anon_vma;
	part.dirty = head.dirty;
	part.retired = head.retired;
	part.spent = head.spent;
	part.zdd = head.zdd;
	part.entered = false;
	if (part.zdd != nullptr)
		part.zdd->refs++;
}

// Swap ------------------------------------------------------------------------

u32 Machine::alloc_slot()
{
	for (u32 i = 1; i < slots_.size(); i++) {
		if (slots_[i].refs == 0) {
			slots_[i] = Slot{.refs = 1, .cache = kNoPage, .content = kPoison};
			return i;
		}
	}
	return 0;
}

void Machine::get_slot(u32 slot)
{
	slots_[slot].refs++;
}

void Machine::put_slot(u32 slot)
{
	if (slots_[slot].refs-- == 0)
		scheduler().fail("a swap slot is used that is free", "slot %u", slot);
}

// Users -----------------------------------------------------------------------

bool Machine::mm_get(Mm &mm)
{
	if (mm.users == 0)
		return false;
	mm.users++;
	return true;
}

void Machine::mm_put(Mm &mm)
{
	scheduler().may_sleep("mmput");
	if (mm.users == 0) {
		scheduler().fail("an mm loses a user that it does not have", "mm %u", mm.index);
		return;
	}
	if (--mm.users == 0)
		tear_down(mm);
}

void Machine::mm_put_async(Mm &mm)
{
	if (mm.users == 0)
		scheduler().fail("an mm loses a user that it does not have", "mm %u", mm.index);
	if (--mm.users == 0 && scheduler().in_fiber())
		scheduler().spawn(
			"mmput",
			[](void *arg) {
				Mm &gone = *static_cast<Mm *>(arg);
				if (!gone.torn_down)
					machine().tear_down(gone);
			},
			&mm);
}

void Machine::finish_exits()
{
	for (Mm &mm : mms_) {
		if (mm.in_use && mm.users == 0 && !mm.torn_down)
			tear_down(mm);
	}
}

Asked &Machine::asked()
{
	return asked_[scheduler().in_fiber() ? scheduler().running() : kMaxFibers];
}

// Injection, memory -----------------------------------------------------------

void Machine::inject(Fail fail, u32 nth)
{
	fail_in_[static_cast<u32>(fail)] = nth;
}

bool Machine::fails(Fail fail)
{
	u32 &left = fail_in_[static_cast<u32>(fail)];

	if (left == 0 || --left != 0)
		return false;
	scheduler().note("injected: %s fails", name_of(fail));
	return true;
}

void *Machine::alloc(usize bytes)
{
	char *const block = static_cast<char *>(std::calloc(1, bytes + kHeader));
	Memory *const memory = reinterpret_cast<Memory *>(block);

	if (block == nullptr)
		std::abort();
	memory->bytes = bytes;
	memory->next = memory_->next;
	memory->prev = memory_;
	memory->next->prev = memory;
	memory_->next = memory;
	return block + kHeader;
}

void Machine::free(void *pointer)
{
	if (pointer == nullptr)
		return;
	Memory *const memory = reinterpret_cast<Memory *>(static_cast<char *>(pointer) - kHeader);

	memory->next->prev = memory->prev;
	memory->prev->next = memory->next;
	std::free(memory);
}

bool Machine::holds_memory() const
{
	return memory_->next != memory_;
}

} // namespace dsvm::sim
