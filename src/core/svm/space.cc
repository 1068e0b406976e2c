// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/space.h"

#include "core/base/guard.h"
#include "core/svm/counters.h"
#include "core/svm/flags.h"
#include "core/svm/hmm.h"

namespace dsvm {

namespace {

// A window's users are counted without a lock as long as there are others.
bool drop_user_unless_last(dsvm_notifier &window)
{
	u32 users = __atomic_load_n(&window.users, __ATOMIC_RELAXED);

	while (users > 1) {
		if (__atomic_compare_exchange_n(&window.users, &users, users - 1, true,
						__ATOMIC_RELEASE, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

inline bool is_page(VaRange span)
{
	return span.last - span.first == kPageSize - 1;
}

// Windows are of one size, and the last one may begin in what is mirrored and end beyond it.
dsvm_index_shape shape_of_windows(const dsvm_svm &svm)
{
	const usize last = (svm.mm_start + (svm.mm_range - 1)) | (svm.notifier_size - 1);
	dsvm_index_shape shape = undivided_shape(ilog2(last) + 1);

	divide_shape(shape, ilog2(svm.notifier_size));
	return shape;
}

dsvm_index_shape shape_of_ranges(const dsvm_svm &svm)
{
	dsvm_index_shape shape = undivided_shape(ilog2(svm.notifier_size));

	for (int i = 0; i < svm.num_chunks; ++i)
		divide_shape(shape, ilog2(svm.chunk_sizes[i]));
	return shape;
}

} // namespace

Status Space::init()
{
	link_init(svm_.notifier_list);
	svm_.index = dsvm_index{};
	svm_.counters = dsvm_svm_counters{};
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
	svm_.shape = shape_of_windows(svm_);
	svm_.window_shape = shape_of_ranges(svm_);
	svm_.index.shape = &svm_.shape;
	return Status::ok();
}

void Space::clear()
{
	NotifierList windows{svm_.notifier_list};

	while (dsvm_notifier *window = windows.first()) {
		// First of all no invalidation may find ranges that are about to go. From here on
		// the window goes with its last range.
		dsvm_os_notifier_remove(window->os);
		window->removed = 1;

		RangeList ranges{window->range_list};
		dsvm_range *range = ranges.first();
		if (!DSVM_VERIFY(range != nullptr)) {
			BlockSpares spares;
			{
				RwLock lock{svm_.lock};
				WriteGuard guard{lock};
				unlink_window(*window, spares, lock);
			}
			svm_.ops->notifier_destroy(&svm_, window);
			continue;
		}
		while (range) {
			dsvm_range *after = ranges.next(*range);
			remove(*window, *range);
			range = after;
		}
	}
}

VaRange Space::mirrored() const
{
	return VaRange{svm_.mm_start, svm_.mm_start + (svm_.mm_range - 1)};
}

DSVM_UNIT_INLINE dsvm_notifier *Space::find_notifier(VaRange span) const
{
	return window_index().first_overlap(span);
}

// The first range of the window in a span, with a reference if that is wanted, or nullptr. With
// svm_locked the caller has the svm's lock, or that of the driver.
inline dsvm_range *Space::look_up(dsvm_notifier &window, VaRange span, bool svm_locked,
				  bool get) const
{
	const auto find = [&] {
		dsvm_range *range = find_range(window, span);
		if (range && get)
			svm_.ops->range_get(&svm_, range);
		return range;
	};
	if (svm_locked && window.lock == svm_.lock)
		return find();

	RwLock lock{window.lock};
	ReadGuard guard{lock};
	return find();
}

bool Space::has_range(VaRange span) const
{
	NotifierList windows{svm_.notifier_list};

	for (dsvm_notifier *window = find_notifier(span); window;
	     window = next_overlap(windows, *window, span)) {
		if (look_up(*window, span, true, false))
			return true;
	}
	return false;
}

// The first window that overlaps the span, with one more user, or nullptr.
inline dsvm_notifier *Space::pin_first(VaRange span)
{
	RwLock lock{svm_.lock};
	ReadGuard guard{lock};
	dsvm_notifier *const window = find_notifier(span);

	if (window)
		add_user(*window);
	return window;
}

// Without the svm's lock while it waits for that of a window, which may be held by who waits for
// the GPU.
dsvm_range *Space::first_range(VaRange span)
{
	for (VaRange rest = span;;) {
		dsvm_notifier *const window = pin_first(rest);
		if (!window)
			return nullptr;
		auto unpin = on_exit([&] { unpin_window(*window); });

		if (dsvm_range *range = look_up(*window, rest, false, true))
			return range;
		if (window->node.last >= rest.last)
			return nullptr;
		rest.first = window->node.last + 1;
	}
}

Status Space::check_access(const dsvm_vma_info &vma, bool write) const
{
	if (write && !vma.writable)
		return kPermission;
	if (vma.special)
		return kIo;
	return Status::ok();
}

// Windows ---------------------------------------------------------------------

// The window at an address where there was none, with one more user, who is the caller. To make it
// may take the mm's lock for writing. Two callers may both make one, then one of them is lost.
Status Space::make_window(u64 addr, dsvm_notifier *&out)
{
	MmUser user{svm_.mm};
	if (!user.is_alive())
		return kFault;

	const VaRange span = aligned_block(addr, svm_.notifier_size);
	u32 wanted = 0;
	{
		RwLock lock{svm_.lock};
		ReadGuard guard{lock};
		wanted = window_index().wanted(span);
	}

	BlockSpares spares{svm_.shape, wanted};
	dsvm_notifier *made = nullptr;
	DSVM_TRY(Status{svm_.ops->notifier_create(&svm_, span.first, span.last, &made)});
	made->users = 1;
	set_newest(*made, nullptr, VaRange{kNowhere, kNowhere});
	{
		// An invalidation may be looking for ranges already.
		RwLock lock{made->lock};
		WriteGuard guard{lock};
		made->index = dsvm_index{0, &svm_.window_shape};
	}
	out = insert_window(*made, spares);
	if (out != made)
		svm_.ops->notifier_destroy(&svm_, made);
	else
		count(svm_.counters.windows_made);
	return Status::ok();
}

// Puts a window with one user into the index, or adds the user to the one that is there.
dsvm_notifier *Space::insert_window(dsvm_notifier &window, BlockSpares &spares)
{
	RwLock lock{svm_.lock};
	WriteGuard guard{lock};

	if (dsvm_notifier *existing = find_notifier(span_of(window.node))) {
		add_user(*existing);
		return existing;
	}
	insert_sorted(window_index(), NotifierList{svm_.notifier_list}, window, spares);
	return &window;
}

void Space::unlink_window(dsvm_notifier &window, BlockSpares &spares, RwLock &)
{
	NotifierList{svm_.notifier_list}.remove(window);
	window_index().remove(window, spares);
}

// One user less; without users the window goes. Locking: takes the svm's lock; may sleep.
void Space::unpin_window(dsvm_notifier &window)
{
	if (drop_user_unless_last(window))
		return;
	BlockSpares spares;
	{
		// Who finds the window may use it, so the last one leaves under the lock that keeps
		// everybody from looking.
		RwLock lock{svm_.lock};
		WriteGuard guard{lock};
		if (__atomic_sub_fetch(&window.users, 1, __ATOMIC_ACQ_REL) != 0)
			return;
		unlink_window(window, spares, lock);
	}
	// Waits for invalidations that run, and these take the window's lock.
	svm_.ops->notifier_destroy(&svm_, &window);
}

// Ranges ----------------------------------------------------------------------

// Whether every page of the span is there already. Locking: the mm's lock.
bool Space::all_present(dsvm_notifier &window, VaRange span, void *owner) const
{
	// In an exit VMAs stay as long as the lock is held, page tables do not.
	MmUser user{svm_.mm};
	if (!user.is_alive())
		return false;
	const usize npages = span.page_count();
	HmmEntries entries;
	if (entries.allocate(npages).is_error())
		return false; // a smaller range needs less

	dsvm_hmm_request request{};
	request.notifier = window.os;
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

// Whether a range of several pages may be made of the span. Locking: the mm's lock.
bool Space::is_acceptable(dsvm_notifier &window, VaRange span,
			  const dsvm_find_or_insert &request) const
{
	const bool driver_locked = !request.get;

	if (look_up(window, span, driver_locked, false))
		return false;
	return span.size() > request.check_pages_threshold ||
	       all_present(window, span, request.owner);
}

// The largest chunk that @acceptable(VaRange) takes, of those that fit.
template <class Acceptable>
DSVM_ALWAYS_INLINE Status Space::choose_fitting(const dsvm_vma_info &vma,
						const dsvm_find_or_insert &request,
						Acceptable acceptable, VaRange &span) const
{
	const ChunkBounds bounds{VaRange{vma.first, vma.last},
				 VaRange{request.gpuva_first, request.gpuva_last}};

	return choose_chunk(svm_.chunk_sizes, svm_.num_chunks, request.fault_addr, bounds,
			    acceptable, span);
}

DSVM_NOINLINE Status Space::choose_acceptable(dsvm_notifier &window, const dsvm_vma_info &vma,
					      const dsvm_find_or_insert &request,
					      VaRange &span) const
{
	const auto acceptable = [&](VaRange chunk) {
		return is_page(chunk) || is_acceptable(window, chunk, request);
	};

	return choose_fitting(vma, request, acceptable, span);
}

// Most fit, and are of a page or are taken: the loop that asks is out of the way.
//
// Locking: the mm's lock.
DSVM_ALWAYS_INLINE Status Space::choose_range(dsvm_notifier &window, const dsvm_vma_info &vma,
					      const dsvm_find_or_insert &request,
					      VaRange &span) const
{
	DSVM_TRY(choose_fitting(
		vma, request, [](VaRange) { return true; }, span));
	// Nothing overlapped the page itself when it was looked for.
	if (is_page(span))
		return Status::ok();
	DSVM_UNSET VaRange chosen;
	DSVM_TRY(Space(*this).choose_acceptable(window, vma, request, chosen));
	span = chosen;
	return Status::ok();
}

// What is left to do with a range that is in the index and in the list: from here on invalidations
// meet it. It is a user of the window, for which one is added or there is one.
//
// Locking: the window's lock for writing.
DSVM_ALWAYS_INLINE void Space::set_inserted(dsvm_notifier &window, dsvm_range &range, Get get)
{
	// What runs by now and has been to the window already is waited for.
	dsvm_os_notifier_copy_seq(stand_in_of(svm_, range), window.os);
	if (!svm_.ops->range_pages)
		set_newest(window, &range, span_of(range.node));
	if (get == Get::Yes)
		add_user(window);
}

// False, and nothing done, if something overlaps it by now. Locking: the window's lock for writing.
inline bool Space::insert_anywhere(dsvm_notifier &window, dsvm_range &range, BlockSpares &spares,
				   Get get)
{
	if (find_range(window, span_of(range.node)))
		return false;
	insert_sorted(range_index(window), RangeList{window.range_list}, range, spares);
	set_inserted(window, range, get);
	return true;
}

// Wherever it goes, with the tables that are wanted for it.
DSVM_NOINLINE bool Space::insert_apart(dsvm_notifier &window, dsvm_range &range, u32 wanted,
				       Get get)
{
	BlockSpares spares{svm_.window_shape, wanted};
	RwLock lock{window.lock};
	WriteGuard guard{lock};

	if (insert_beside(window, range, range_index(window).insert_beside(range), get))
		return true;
	return insert_anywhere(window, range, spares, get);
}

// The rest of the insertion beside another range, if it was.
DSVM_ALWAYS_INLINE bool Space::insert_beside(dsvm_notifier &window, dsvm_range &range,
					     dsvm_range *before, Get get)
{
	if (!before)
		return false;
	RangeList{window.range_list}.insert_after(*before, range);
	set_inserted(window, range, get);
	return true;
}

// False, and nothing done, if something overlaps it by now. Where ranges are made one behind the
// other, all that it takes is a slot of a table that is there.
template <Space::Get kGet>
DSVM_ALWAYS_INLINE bool Space::insert_range(dsvm_notifier &window, dsvm_range &range, Room room)
{
	if (room.spot.at) {
		RwLock lock{window.lock};
		// Short: readers who come now have to sleep.
		WriteGuard guard{lock};
		dsvm_range *const before = range_index(window).insert_beside(range, room.spot);
		if (insert_beside(window, range, before, kGet))
			return true;
	}
	return Space(*this).insert_apart(window, range, room.wanted, kGet);
}

// The range that is at the address already. What it was made for is not looked at: with the mm's
// lock given up it may change at any time, and who collects its pages finds out. Else, where the
// index of the window has room for a range there, whatever its size.
//
// Locking: the window's lock; or the driver's, if the window's is the svm's.
DSVM_ALWAYS_INLINE dsvm_range *
Space::find_existing_locked(dsvm_notifier &window, const dsvm_find_or_insert &request, Room &room)
{
	dsvm_range *const range =
		range_index(window).at(request.fault_addr, room.wanted, room.spot);

	if (range && request.get)
		svm_.ops->range_get(&svm_, range);
	return range;
}

dsvm_range *Space::find_existing(dsvm_notifier &window, const dsvm_find_or_insert &request,
				 u32 &wanted)
{
	RwLock lock{window.lock};
	ReadGuard guard{lock};
	// The spot is one no longer than this lock is held.
	Room room;
	dsvm_range *const range = find_existing_locked(window, request, room);

	wanted = room.wanted;
	return range;
}

// The same, out of line.
DSVM_ALWAYS_INLINE dsvm_range *Space::find_unlocked(dsvm_notifier &window,
						    const dsvm_find_or_insert &request, Room &room)
{
	u32 wanted;
	dsvm_range *const range = Space(*this).find_existing(window, request, wanted);

	room.wanted = wanted;
	return range;
}

// kAgain: somebody else has made a range there in the meantime.
template <Space::Get kGet>
DSVM_ALWAYS_INLINE Status Space::try_find_or_insert(const dsvm_find_or_insert &request,
						    dsvm_range *&out)
{
	dsvm_notifier *window;
	Room room{0, {nullptr, 0}};

	if (kGet == Get::No) {
		// The driver's lock keeps the window. Who makes one asks for tables of its own.
		DSVM_UNSET u32 unused;
		DSVM_UNSET NotifierIndex::Spot unused_spot;
		window = window_index().at(request.fault_addr, unused, unused_spot);
		if (window) {
			dsvm_range *const found =
				window->lock == svm_.lock
					? find_existing_locked(*window, request, room)
					: find_unlocked(*window, request, room);
			if (found) {
				out = found;
				return Status::ok();
			}
			add_user(*window);
		}
	} else {
		window = pin_first(VaRange{request.fault_addr, request.fault_addr});
		out = window ? find_unlocked(*window, request, room) : nullptr;
		if (out) {
			Space(*this).unpin_window(*window);
			return Status::ok();
		}
	}
	return insert_anew<kGet>(request, window, room, out);
}

DSVM_NOINLINE Status Space::try_acquire(const dsvm_find_or_insert &request, dsvm_range *&out)
{
	return try_find_or_insert<Get::Yes>(request, out);
}

// Makes the range in the window, which has a user for it; nullptr: and the window. The user is gone
// in the end.
template <Space::Get kGet>
DSVM_ALWAYS_INLINE Status Space::insert_anew(const dsvm_find_or_insert &request,
					     dsvm_notifier *window, Room room, dsvm_range *&out)
{
	// The window comes before the mm's lock: to make one, or to be its last user, may take that
	// lock for writing, or wait for who has.
	if (!window) {
		DSVM_UNSET dsvm_notifier *made;
		DSVM_TRY(Space(*this).make_window(request.fault_addr, made));
		window = made;
	}
	const Status status = insert_into<kGet>(*window, request, room, out);
	// The range keeps it. Without the driver's lock somebody may remove that while we are still
	// unlocking the window's lock: then each has one of his own.
	if (status.is_error() || kGet == Get::Yes)
		Space(*this).unpin_window(*window);
	return status;
}

// The same in a window that stays meanwhile.
template <Space::Get kGet>
DSVM_ALWAYS_INLINE Status Space::insert_into(dsvm_notifier &window,
					     const dsvm_find_or_insert &request, Room room,
					     dsvm_range *&out)
{
	DSVM_UNSET dsvm_vma_info vma;
	// Held to the end, so that the VMA is the one the range is cut to.
	DSVM_UNSET const MmVmaGuard guard{svm_.mm, request.fault_addr, vma};
	DSVM_TRY(guard.status());
	DSVM_TRY(check_access(vma, request.write));

	DSVM_UNSET VaRange span;
	DSVM_TRY(choose_range(window, vma, request, span));
	const u16 flags = request.devmem_possible && vma.anonymous ? DSVM_RANGE_MIGRATE_DEVMEM : 0;
	dsvm_range *const range =
		svm_.ops->range_create(&svm_, &window, span.first, span.last, flags);
	if (!range)
		return kNoMemory;
	clear_gone(*range);
	for_each_pages(*range, [&](Pages pages, u32) { pages.set_range(*range); });
	if (kGet == Get::Yes)
		svm_.ops->range_get(&svm_, range);

	if (!insert_range<kGet>(window, *range, room)) {
		if (kGet == Get::Yes)
			svm_.ops->range_put(&svm_, range);
		svm_.ops->range_put(&svm_, range);
		return kAgain;
	}
	count(svm_.counters.ranges_made);
	out = range;
	return Status::ok();
}

DSVM_UNIT_INLINE Status Space::find_or_insert(const dsvm_find_or_insert &request, dsvm_range *&out)
{
	count(svm_.counters.faults);
	if (!mirrored().contains(request.fault_addr))
		return kInvalid;

	const Deadline deadline = Deadline::from_failure(DSVM_GET_PAGES_BUDGET_NS);
	for (;;) {
		const Status status = request.get ? Space(*this).try_acquire(request, out)
						  : try_find_or_insert<Get::No>(request, out);
		if (status != kAgain)
			return status;
		count(svm_.counters.lost_races);
		DSVM_TRY(deadline.next_attempt());
	}
}

// kAgain: it is not at the address any more, it was removed or trimmed before it was locked.
Status Space::lock_at(dsvm_range &range, u64 addr)
{
	DSVM_TRY(Status{svm_.ops->range_lock(&svm_, &range)});
	// Other flags beside it may be written at the same time.
	if ((read_once(range.flags) & DSVM_RANGE_REMOVED) == 0 &&
	    span_of(range.node).contains(addr))
		return Status::ok();
	svm_.ops->range_unlock(&svm_, &range);
	return kAgain;
}

Status Space::acquire(const dsvm_find_or_insert &request, dsvm_range *&out)
{
	const Deadline deadline = Deadline::from_failure(DSVM_GET_PAGES_BUDGET_NS);

	// Each further round is for a range that somebody took away in the one before.
	for (;;) {
		dsvm_range *range = nullptr;
		DSVM_TRY(find_or_insert(request, range));
		const Status status = lock_at(*range, request.fault_addr);
		if (status.is_ok()) {
			out = range;
			return status;
		}
		svm_.ops->range_put(&svm_, range);
		if (status != kAgain)
			return status;
		DSVM_TRY(deadline.next_attempt());
	}
}

void Space::remove(dsvm_notifier &window, dsvm_range &range)
{
	// As long as they are mapped, invalidations have to find the range. Later the window's lock,
	// which guards them, may have gone with the window.
	const usize npages = span_of(range.node).page_count();
	for_each_pages(range, [&](Pages pages, u32) { pages.free(npages); });
	BlockSpares spares;
	{
		RwLock lock{window.lock};
		WriteGuard guard{lock};
		if (!DSVM_VERIFY((range.flags & DSVM_RANGE_REMOVED) == 0))
			return;
		RangeList{window.range_list}.remove(range);
		range_index(window).remove(range, spares);
		if (window.newest.range == &range)
			set_newest(window, nullptr, VaRange{kNowhere, kNowhere});
		set_flags(range.flags, range.flags | DSVM_RANGE_REMOVED);
	}
	count(svm_.counters.ranges_removed);
	svm_.ops->range_put(&svm_, &range);
	unpin_window(window);
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

} // namespace dsvm
