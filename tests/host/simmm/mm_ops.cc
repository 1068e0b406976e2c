// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What programs ask the kernel to do with their memory.
//
// Each takes the locks, sends the events and changes the entries in the kernel's order:
// VMAs under the mm's lock for writing; an event before the first entry changes and its end
// after the last one (kernel: Documentation/mm/mmu_notifier.rst); entries one by one.

#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

namespace {

class WriteLock {
public:
	explicit WriteLock(Mm &mm) : mm_(mm) { scheduler().write_lock(mm_.lock); }
	~WriteLock()
	{
		if (read_)
			scheduler().read_unlock(mm_.lock);
		else
			scheduler().write_unlock(mm_.lock);
	}
	WriteLock(const WriteLock &) = delete;
	WriteLock &operator=(const WriteLock &) = delete;

	void downgrade()
	{
		scheduler().downgrade(mm_.lock);
		read_ = true;
	}

private:
	Mm &mm_;
	bool read_ = false;
};

class ReadLock {
public:
	explicit ReadLock(Mm &mm) : mm_(mm) { scheduler().read_lock(mm_.lock); }
	~ReadLock() { scheduler().read_unlock(mm_.lock); }
	ReadLock(const ReadLock &) = delete;
	ReadLock &operator=(const ReadLock &) = delete;

private:
	Mm &mm_;
};

} // namespace

Vma *Machine::new_vma(Mm &mm)
{
	for (Vma &vma : mm.vmas) {
		if (!vma.in_use)
			return &vma;
	}
	return nullptr;
}

// One that no VMA is linked to and no page was made in; 0: there is none.
u8 Machine::new_anon_vma()
{
	for (u32 i = 1; i < 64; i++) {
		const u8 id = static_cast<u8>((next_anon_vma_ + i) % 63 + 1);
		bool used = anon_vma_lives(id);
		for (const Page &page : pages_)
			used = used || (page.refs != 0 && page.anon_vma == id);
		if (!used) {
			next_anon_vma_ = id;
			return id;
		}
	}
	return 0;
}

int Machine::mmap(Mm &mm, usize first, usize last, VmaKind kind, bool may_be_huge, u32 object)
{
	WriteLock lock{mm};

	if (mm.users == 0 || first_vma(mm, first, last) != nullptr)
		return -DSVM_EEXIST;
	Vma *const vma = new_vma(mm);
	const bool is_private = kind == VmaKind::kAnonymous || kind == VmaKind::kFile;
	const u8 anon_vma = is_private ? new_anon_vma() : 0;
	if (vma == nullptr || (is_private && anon_vma == 0))
		return -DSVM_ENOMEM;
	*vma = Vma{.first = first,
		   .last = last,
		   .kind = kind,
		   .in_use = true,
		   .may_be_huge = may_be_huge && kind == VmaKind::kAnonymous,
		   .anon_vmas = anon_vma ? u64{1} << anon_vma : 0,
		   .own_anon_vma = anon_vma,
		   .object = object,
		   .object_page = index_of(first)};
	for (u32 i = index_of(first); i <= index_of(last); i++)
		mm.shadow[i] = untouched(vma, i);
	return 0;
}

// So that a VMA begins at `at`, if any is there.
bool Machine::split_vma(Mm &mm, usize at)
{
	Vma *const vma = find_vma(mm, at);

	if (vma == nullptr || vma->first == at)
		return true;
	Vma *const rest = new_vma(mm);
	if (rest == nullptr)
		return false;

	// Kernel: vma_adjust_trans_huge(): a huge mapping does not cross a VMA's end.
	const u32 block = index_of(at) >> geometry_.huge_order;
	if ((index_of(at) & (block_pages() - 1)) != 0 && mm.huge[block]) {
		const usize first = addr_of(block << geometry_.huge_order);
		Invalidation event{mm, first, first + (kPageSize << geometry_.huge_order) - 1,
				   Event::kClear};
		split_block(mm, block);
	}
	*rest = *vma;
	rest->first = at;
	rest->object_page += index_of(at) - index_of(vma->first);
	vma->last = at - 1;
	return true;
}

bool Machine::split_vmas(Mm &mm, usize first, usize last)
{
	return split_vma(mm, first) &&
	       (index_of(last) + 1 == mm.ptes.size() || split_vma(mm, last + 1));
}

bool Machine::is_covered(Mm &mm, usize first, usize last)
{
	for (usize at = first;;) {
		const Vma *const vma = find_vma(mm, at);
		if (vma == nullptr)
			return false;
		if (vma->last >= last)
			return true;
		at = vma->last + 1;
	}
}

// Takes what is mapped away; a huge mapping in one go. The event has begun.
void Machine::zap(Mm &mm, usize first, usize last)
{
	for (u32 i = index_of(first); i <= index_of(last);) {
		const u32 block = i >> geometry_.huge_order;
		const bool whole = mm.huge[block] && (i & (block_pages() - 1)) == 0;
		const u32 count = whole ? block_pages() : 1;

		scheduler().point(Point::kPte);
		{
			Scheduler::Atomic atomic{"a page-table lock"};
			split_block(mm, block);
			for (u32 j = i; j < i + count && j <= index_of(last); j++) {
				clear_pte(mm, j);
				mm.shadow[j] = untouched(find_vma(mm, addr_of(j)), j);
			}
			if (whole && i + count - 1 <= index_of(last))
				mm.table[block] = false;
		}
		i += count;
	}
}

int Machine::munmap(Mm &mm, usize first, usize last)
{
	WriteLock lock{mm};

	await_vmas(mm, first, last);
	if (mm.users == 0 || !split_vmas(mm, first, last))
		return -DSVM_ENOMEM;

	// The VMAs are gone first; then, and the lock is for reading from here on, what they map
	// (kernel: vms_complete_munmap_vmas()). Their anon_vmas are, last of all: see rmap.cc.
	for (Vma &vma : mm.vmas)
		vma.detached = vma.in_use && vma.first >= first && vma.last <= last;
	lock.downgrade();
	for (const Vma &vma : mm.vmas) {
		if (!vma.detached)
			continue;
		Invalidation event{mm, vma.first, vma.last, Event::kUnmap};
		zap(mm, vma.first, vma.last);
	}
	for (Vma &vma : mm.vmas) {
		vma.in_use = vma.in_use && !vma.detached;
		vma.detached = false;
	}
	// Kernel: free_pgtables().
	const u32 mask = block_pages() - 1;
	for (u32 i = (index_of(first) + mask) & ~mask; i + mask <= index_of(last); i += mask + 1)
		mm.table[i >> geometry_.huge_order] = false;
	return 0;
}

int Machine::mprotect(Mm &mm, usize first, usize last, bool read, bool write)
{
	WriteLock lock{mm};

	await_vmas(mm, first, last);
	if (mm.users == 0 || !is_covered(mm, first, last) || !split_vmas(mm, first, last))
		return -DSVM_ENOMEM;
	for (Vma &vma : mm.vmas) {
		if (!vma.in_use || vma.first < first || vma.last > last)
			continue;
		// The VMA allows it no longer, or already, while the entries still say otherwise.
		vma.read = read;
		vma.write = write;

		Invalidation event{mm, vma.first, vma.last, Event::kProtectionVma};
		for (u32 i = index_of(vma.first); i <= index_of(vma.last); i++) {
			scheduler().point(Point::kPte);
			if (mm.ptes[i].kind == PteKind::kNone)
				continue;
			Pte entry = mm.ptes[i];
			entry.read = read;
			entry.write = entry.write && write;
			set_entry(mm, i, entry);
		}
	}
	return 0;
}

// Huge mappings that the span begins or ends in are split, with an event of their own size.
void Machine::split_edges(Mm &mm, usize first, usize last)
{
	for (const usize edge : {first, last + 1}) {
		const u32 index = index_of(edge);
		if ((index & (block_pages() - 1)) == 0 || !mm.huge[index >> geometry_.huge_order])
			continue;
		const usize block = edge & ~((kPageSize << geometry_.huge_order) - 1);
		Invalidation event{mm, block, block + (kPageSize << geometry_.huge_order) - 1,
				   Event::kClear};
		split_block(mm, index >> geometry_.huge_order);
	}
}

int Machine::madvise_dontneed(Mm &mm, usize first, usize last)
{
	ReadLock lock{mm};

	if (mm.users == 0 || !is_covered(mm, first, last))
		return -DSVM_ENOMEM;
	for (usize at = first; at <= last;) {
		const Vma *const vma = find_vma(mm, at);
		const usize end = vma->last < last ? vma->last : last;

		if (vma->kind == VmaKind::kSpecial)
			return -DSVM_EINVAL;
		Invalidation event{mm, at, end, Event::kClear};
		split_edges(mm, at, end);
		zap(mm, at, end);
		at = end + 1;
	}
	return 0;
}

// Kernel: mm/madvise.c, madvise_free_single_vma(): pages that are nobody else's may be dropped
// from here on, until a write is seen.
int Machine::madvise_free(Mm &mm, usize first, usize last)
{
	ReadLock lock{mm};
	const Vma *const vma = span_vma(mm, first, last);

	if (mm.users == 0 || vma == nullptr || vma->kind != VmaKind::kAnonymous)
		return -DSVM_EINVAL;
	Invalidation event{mm, first, last, Event::kClear};
	split_edges(mm, first, last);
	for (u32 i = index_of(first); i <= index_of(last); i++) {
		scheduler().point(Point::kPte);
		const Pte &pte = mm.ptes[i];
		if (pte.kind != PteKind::kPresent || pte.page == kZeroPage)
			continue;
		Page &page = pages_[pte.page];
		if (page.locked || page.head != pte.page || page.order != 0 || !is_exclusive(page))
			continue;
		page.lazy = true;
		page.written = page.dirty = false;
	}
	return 0;
}

// The one VMA that covers the span, or nullptr.
Vma *Machine::span_vma(Mm &mm, usize first, usize last)
{
	Vma *const vma = find_vma(mm, first);

	return vma != nullptr && vma->last >= last ? vma : nullptr;
}

// Kernel: move_huge_pmd(). False: it has to go page by page.
bool Machine::move_huge(Mm &mm, u32 from, u32 to, u32 count)
{
	const u32 from_block = from >> geometry_.huge_order, to_block = to >> geometry_.huge_order;

	scheduler().point(Point::kPte);
	if (((from | to) & (block_pages() - 1)) != 0 || count < block_pages() ||
	    !mm.huge[from_block] || mm.table[to_block])
		return false;
	Scheduler::Atomic atomic{"two page-table locks"};
	for (u32 i = 0; i < block_pages(); i++) {
		const Pte pte = mm.ptes[from + i];

		set_entry(mm, from + i, Pte{});
		set_entry(mm, to + i, pte);
		mm.shadow[to + i] = mm.shadow[from + i];
		mm.shadow[from + i] = 0;
	}
	set_huge(mm, from_block, false);
	mm.table[from_block] = false;
	set_huge(mm, to_block, true);
	return true;
}

int Machine::mremap(Mm &mm, usize first, usize last, usize to)
{
	WriteLock lock{mm};
	const u32 count = index_of(last) - index_of(first) + 1;
	const usize to_last = to + (last - first);

	if (mm.users == 0 || span_vma(mm, first, last) == nullptr ||
	    index_of(to) + count > mm.ptes.size() || first_vma(mm, to, to_last) != nullptr)
		return -DSVM_EFAULT;
	await_vmas(mm, first, last);
	if (!split_vmas(mm, first, last))
		return -DSVM_ENOMEM;
	Vma *const from_vma = span_vma(mm, first, last);
	Vma *const to_vma = new_vma(mm);
	if (to_vma == nullptr)
		return -DSVM_ENOMEM;
	*to_vma = *from_vma;
	to_vma->first = to;
	to_vma->last = to_last;

	{
		// Kernel: move_page_tables(). Entries go as they are, those of pages on their way, too.
		Invalidation event{mm, first, last, Event::kUnmap};
		for (u32 i = 0; i < count; i++) {
			const u32 from_index = index_of(first) + i;
			const u32 to_index = index_of(to) + i;

			if (move_huge(mm, from_index, to_index, count - i)) {
				i += block_pages() - 1;
				continue;
			}
			scheduler().point(Point::kPte);
			Scheduler::Atomic atomic{"two page-table locks"};
			split_block(mm, from_index >> geometry_.huge_order);
			const Pte pte = mm.ptes[from_index];
			// Nobody sees it in neither place, or in both: there is one lock for both.
			set_entry(mm, from_index, Pte{});
			set_entry(mm, to_index, pte);
			mm.shadow[to_index] = mm.shadow[from_index];
			mm.shadow[from_index] = 0;
		}
	}
	Invalidation event{mm, first, last, Event::kUnmap};
	zap(mm, first, last);
	from_vma->in_use = false;
	return 0;
}

// Processes -------------------------------------------------------------------

// One entry of a private mapping. False: a page that is pinned had to be copied, and there is
// no memory (kernel: copy_pte_range(), copy_present_page()).
bool Machine::fork_entry(Mm &from, Mm &to, u32 index)
{
	u32 copy = kNoPage;
	const auto is_pinned = [&] {
		const Pte &pte = from.ptes[index];
		return pte.kind == PteKind::kPresent && folio_of(pages_[pte.page]).pins != 0;
	};

	if (is_pinned()) {
		copy = alloc_ram(0);
		if (copy == kNoPage)
			return false;
	}
	{
		Scheduler::Atomic atomic{"two page-table locks"};
		const Pte pte = from.ptes[index];

		to.shadow[index] = from.shadow[index];
		if (is_pinned() && copy != kNoPage) {
			pages_[copy].content = pages_[pte.page].content;
			make_anonymous(*find_vma(to, addr_of(index)), copy);
			set_present(to, index, copy, false);
		} else if (pte.kind == PteKind::kPresent || pte.kind == PteKind::kDevice) {
			set_write(from, index, false);
			set_present(to, index, pte.page, false);
			Pte entry = to.ptes[index];
			entry.read = pte.read;
			set_entry(to, index, entry);
		} else if (pte.kind == PteKind::kSwap) {
			set_swap(to, index, pte.slot);
		} else if (pte.kind == PteKind::kMigration) {
			// Whoever moves the page finds this one after the parent's.
			set_write(from, index, false);
			set_entry(to, index, from.ptes[index]);
		}
	}
	if (copy != kNoPage)
		put_page(pages_[copy]);
	return true;
}

bool Machine::copy_page_table(Mm &from, Mm &to, Vma &vma)
{
	Invalidation event{from, vma.first, vma.last, Event::kProtectionPage};

	for (u32 i = index_of(vma.first); i <= index_of(vma.last);) {
		const u32 block = i >> geometry_.huge_order;
		const u32 count = from.huge[block] ? block_pages() : 1;

		scheduler().point(Point::kPte);
		if (count > 1 && from.huge[block]) {
			// A huge mapping is shared as one, also one that is on its way, unless
			// somebody has it pinned.
			if (folio_of(pages_[from.ptes[i].page]).pins != 0) {
				split_block(from, block);
				continue;
			}
			Scheduler::Atomic atomic{"two page-table locks"};
			for (u32 j = i; j < i + count; j++)
				fork_entry(from, to, j);
			set_huge(to, block, true);
		} else if (!fork_entry(from, to, i)) {
			return false;
		}
		i += count;
	}
	return true;
}

Mm *Machine::unused_mm()
{
	for (u32 i = 1; i < geometry_.mms; i++) {
		Mm &mm = mms_[i];
		bool used = mm.in_use &&
			    (!mm.torn_down || mm.kept != 0 || mm.active_invalidations != 0);

		for (const Notifier *notifier : notifiers_)
			used = used || (notifier != nullptr && notifier->mm == &mm);
		if (used)
			continue;
		mm.torn_down = false;
		return &mm;
	}
	return nullptr;
}

Mm *Machine::fork(Mm &mm)
{
	Mm *child = nullptr;
	bool complete = true;
	{
		WriteLock lock{mm};
		child = unused_mm();
		if (mm.users == 0 || child == nullptr)
			return nullptr;
		await_vmas(mm, 0, ~usize{0});

		// Reverse mappings find it from here on; nobody can use it yet.
		child->in_use = true;
		for (u32 i = 0; i < kMaxVmas && complete; i++) {
			Vma &vma = mm.vmas[i];
			if (!vma.in_use)
				continue;
			child->vmas[i] = vma;
			child->vmas[i].detached = false;
			child->vmas[i].is_awaited = false;
			if (!vma.is_private())
				continue; // its pages are found in the object
			const u8 own = new_anon_vma();
			complete = own != 0;
			if (!complete)
				break;
			child->vmas[i].own_anon_vma = own;
			child->vmas[i].anon_vmas |= u64{1} << own;
			complete = copy_page_table(mm, *child, vma);
		}
		child->users = complete;
	}
	if (complete)
		return child;
	tear_down(*child);
	return nullptr;
}

void Machine::exit(Mm &mm)
{
	mm_put(mm);
}

// Kernel: exit_mmap(). Nobody is a user any more, but reverse mappings still lead here.
void Machine::tear_down(Mm &mm)
{
	if (mm.torn_down)
		return;
	{
		Invalidation event{mm, 0, ~usize{0}, Event::kRelease};
	}
	for (Vma &vma : mm.vmas) {
		if (!vma.in_use)
			continue;
		Invalidation event{mm, vma.first, vma.last, Event::kUnmap};
		zap(mm, vma.first, vma.last);
	}
	// Who has the lock may look at VMAs without being a user.
	WriteLock lock{mm};
	for (Vma &vma : mm.vmas) {
		if (vma.in_use && vma.pins != 0)
			scheduler().fail("a VMA goes that is kept", "mm %u", mm.index);
		vma.in_use = false;
	}
	for (u8 &table : mm.table)
		table = false;
	mm.torn_down = true;
}

// Pages that others hold --------------------------------------------------------

u32 Machine::hold(Mm &mm, usize addr)
{
	scheduler().point(Point::kPte);
	const Pte &pte = mm.ptes[index_of(addr)];

	if (pte.kind != PteKind::kPresent)
		return kNoPage;
	get_page(pages_[pte.page]);
	return pte.page;
}

void Machine::let_go(u32 page)
{
	scheduler().point(Point::kPte);
	put_page(pages_[page]);
}

u32 Machine::pin(Mm &mm, usize addr)
{
	scheduler().point(Point::kPte);
	const Pte &pte = mm.ptes[index_of(addr)];

	if (pte.kind != PteKind::kPresent || pte.page == kZeroPage || !pte.write)
		return kNoPage;
	get_page(pages_[pte.page]);
	folio_of(pages_[pte.page]).pins++;
	return pte.page;
}

void Machine::unpin(u32 page)
{
	scheduler().point(Point::kPte);
	folio_of(pages_[page]).pins--;
	put_page(pages_[page]);
}

} // namespace dsvm::sim
