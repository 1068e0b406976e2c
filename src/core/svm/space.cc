// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/space.h"

#include "core/base/guard.h"
#include "core/svm/flags.h"
#include "core/svm/hmm.h"

namespace dsvm {

namespace {

// Inserts into a tree and, at the place that the tree gives it, into the list beside it.
template <class Tree, class Items, class T> void insert_sorted(Tree tree, Items list, T &item)
{
	tree.insert(item);
	if (T *before = tree.prev(item))
		list.insert_after(*before, item);
	else
		list.push_front(item);
}

} // namespace

Status Space::init()
{
	link_init(svm_.notifier_list);
	svm_.root = dsvm_tree_root{};
	if (!svm_.mm)
		return Status::ok();

	if (!is_power_of_two(svm_.notifier_size) || svm_.notifier_size < DSVM_PAGE_SIZE ||
	    svm_.num_chunks <= 0 || svm_.mm_range == 0)
		return kInvalid;
	if (VaRange::from_start_size(svm_.mm_start, svm_.mm_range).is_error())
		return kInvalid;

	usize larger = svm_.notifier_size;
	for (int i = 0; i < svm_.num_chunks; ++i) {
		const usize size = svm_.chunk_sizes[i];
		if (!is_power_of_two(size) || size < DSVM_PAGE_SIZE || size > larger)
			return kInvalid;
		larger = size;
	}
	return Status::ok();
}

void Space::clear()
{
	NotifierTree notifiers{svm_.root};

	while (dsvm_notifier *notifier = notifiers.first()) {
		// First of all no invalidation may find ranges that are about to go. From here on
		// the notifier goes with its last range.
		dsvm_os_notifier_remove(svm_.ops->notifier_os(notifier));
		notifier->removed = 1;

		RangeTree ranges{notifier->root};
		dsvm_range *range = ranges.first();
		if (!DSVM_VERIFY(range != nullptr)) {
			unlink_notifier(*notifier);
			continue;
		}
		while (range) {
			dsvm_range *after = ranges.next(*range);
			remove(*notifier, *range);
			range = after;
		}
	}
}

VaRange Space::mirrored() const
{
	return VaRange{svm_.mm_start, svm_.mm_start + (svm_.mm_range - 1)};
}

dsvm_notifier *Space::find_notifier(VaRange span) const
{
	return NotifierTree{svm_.root}.first_overlap(span);
}

bool Space::has_range(VaRange span) const
{
	NotifierTree notifiers{svm_.root};

	for (dsvm_notifier *notifier = notifiers.first_overlap(span); notifier;
	     notifier = notifiers.next_overlap(*notifier, span)) {
		if (find_range(*notifier, span))
			return true;
	}
	return false;
}

dsvm_range *find_range(dsvm_notifier &notifier, VaRange span)
{
	return RangeTree{notifier.root}.first_overlap(span);
}

Status Space::check_access(const dsvm_vma_info &vma, bool write) const
{
	if (write && !vma.writable)
		return kPermission;
	if (vma.special)
		return kIo;
	return Status::ok();
}

Expected<dsvm_notifier *> Space::make_notifier(u64 addr)
{
	const VaRange window = aligned_block(addr, svm_.notifier_size);
	dsvm_notifier *notifier = nullptr;

	DSVM_TRY(Status{svm_.ops->notifier_create(&svm_, window.first, window.last, &notifier)});
	return notifier;
}

// Whether every page of the span is there already. Locking: the mm's lock.
bool Space::all_present(dsvm_notifier &notifier, VaRange span, void *owner) const
{
	const usize npages = span.page_count();
	HmmEntries entries;
	if (entries.allocate(npages).is_error())
		return false; // a smaller range needs less

	dsvm_hmm_request request{};
	request.notifier = svm_.ops->notifier_os(&notifier);
	request.mm = svm_.mm;
	request.first = span.first;
	request.last = span.last;
	request.owner = owner;
	request.mm_locked = true;
	request.entries = entries.data();
	if (hmm_collect(request, npages, Deadline{DSVM_GET_PAGES_BUDGET_NS}).is_error())
		return false;

	for (usize i = 0; i < npages; ++i) {
		if (entries.kind_at(i) == DSVM_PAGE_NONE)
			return false;
	}
	return true;
}

Expected<VaRange> Space::choose_range(dsvm_notifier &notifier, const dsvm_vma_info &vma,
				      const dsvm_find_or_insert &request)
{
	const ChunkBounds bounds{VaRange{vma.first, vma.last}, span_of(notifier.node),
				 VaRange{request.gpuva_first, request.gpuva_last}};

	return choose_chunk(svm_.chunk_sizes, svm_.num_chunks, request.fault_addr, bounds,
			    [&](VaRange chunk) {
				    // Nothing overlaps the page itself, or it would have been found.
				    if (chunk.page_count() == 1)
					    return true;
				    if (find_range(notifier, chunk))
					    return false;
				    return chunk.size() > request.check_pages_threshold ||
					   all_present(notifier, chunk, request.owner);
			    });
}

void Space::publish(dsvm_notifier &notifier, bool notifier_is_new, dsvm_range &range)
{
	WriteGuard guard{notifier_lock_};

	insert_sorted(RangeTree{notifier.root}, RangeList{notifier.range_list}, range);
	if (notifier_is_new)
		insert_sorted(NotifierTree{svm_.root}, NotifierList{svm_.notifier_list}, notifier);
}

Status Space::find_or_insert(const dsvm_find_or_insert &request, dsvm_range *&out)
{
	const VaRange byte{request.fault_addr, request.fault_addr};
	if (!mirrored().contains(byte))
		return kInvalid;

	MmUser user{svm_.mm};
	if (!user.is_alive())
		return kFault;

	// The window comes before the mm's lock: to make one may take that lock for writing.
	dsvm_notifier *notifier = find_notifier(byte);
	const bool notifier_is_new = notifier == nullptr;
	if (notifier_is_new)
		notifier = DSVM_TRY(make_notifier(request.fault_addr));
	auto undo_notifier = on_exit([&] {
		if (notifier_is_new)
			svm_.ops->notifier_destroy(&svm_, notifier);
	});

	// Held to the end, so that the VMA is the one the range is cut to.
	MmReadGuard mm_guard{svm_.mm};

	dsvm_vma_info vma;
	if (!dsvm_os_vma_at(svm_.mm, request.fault_addr, &vma))
		return kNotFound;
	DSVM_TRY(check_access(vma, request.write));

	if (dsvm_range *existing = find_range(*notifier, byte)) {
		out = existing;
		return Status::ok();
	}

	const VaRange span = DSVM_TRY(choose_range(*notifier, vma, request));
	const u16 flags = request.devmem_possible && vma.anonymous ? DSVM_RANGE_MIGRATE_DEVMEM : 0;
	dsvm_range *range = nullptr;
	DSVM_TRY(Status{
		svm_.ops->range_create(&svm_, notifier, span.first, span.last, flags, &range)});

	publish(*notifier, notifier_is_new, *range);
	undo_notifier.release();
	out = range;
	return Status::ok();
}

bool Space::invalidate(dsvm_os_notifier *notifier, usize seq, bool blockable, void (*zap)(void *),
		       void *arg)
{
	// The zap waits for the GPU; only the OOM reaper cannot, and it comes back.
	if (!blockable)
		return false;

	WriteGuard guard{notifier_lock_};
	dsvm_os_notifier_set_seq(notifier, seq);
	zap(arg);
	return true;
}

void Space::set_unmapped(dsvm_range &range, VaRange gone)
{
	notifier_lock_.assert_held_write();

	const u16 partial = gone.contains(span_of(range.node)) ? 0 : DSVM_RANGE_PARTIAL_UNMAP;
	set_flags(range.flags, range.flags | DSVM_RANGE_UNMAPPED | partial);
}

usize Space::find_vma_start(VaRange span) const
{
	constexpr usize kNone = ~usize{0};

	MmUser user{svm_.mm};
	if (!user.is_alive())
		return kNone;

	MmReadGuard guard{svm_.mm};
	dsvm_vma_info vma;
	return dsvm_os_vma_first(svm_.mm, span.first, span.last, &vma) ? vma.first : kNone;
}

void Space::unlink_notifier(dsvm_notifier &notifier)
{
	{
		WriteGuard guard{notifier_lock_};
		NotifierTree{svm_.root}.remove(notifier);
		NotifierList{svm_.notifier_list}.remove(notifier);
	}
	// Waits for invalidations that run, and these take the notifier lock.
	svm_.ops->notifier_destroy(&svm_, &notifier);
}

void Space::remove(dsvm_notifier &notifier, dsvm_range &range)
{
	bool last;
	{
		WriteGuard guard{notifier_lock_};
		RangeTree ranges{notifier.root};
		ranges.remove(range);
		RangeList{notifier.range_list}.remove(range);
		last = ranges.empty();
	}
	svm_.ops->range_put(&svm_, &range);
	if (last)
		unlink_notifier(notifier);
}

} // namespace dsvm
