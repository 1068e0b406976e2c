// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The driver's windows and ranges: what src/linux/gpusvm.c and the ranges' part of the stub do
// together.
//
// Who makes, maps, trims or removes a range has the lock of ranges: the VM's, or with
// range_locks that of the range. In the second case the range has been found by somebody
// without it, so that it may be removed by the time that he has it: enter_range() says so.

#include "tests/host/simmm/driver_impl.h"

#include <cstddef>
#include <new>

namespace dsvm::sim {

namespace {

Vm &vm_of(dsvm_svm *svm)
{
	return *reinterpret_cast<Vm *>(svm);
}

Window *next_window(Vm &vm, Window &window)
{
	dsvm_link *const link = window.core.entry.next;

	if (link == &vm.svm.notifier_list)
		return nullptr;
	return &window_of(reinterpret_cast<dsvm_notifier *>(reinterpret_cast<char *>(link) -
							    offsetof(dsvm_notifier, entry)));
}

Window *first_window(Vm &vm, usize first, usize last)
{
	dsvm_notifier *const core = dsvm_svm_notifier_find(&vm.svm, first, last);

	return core != nullptr ? &window_of(core) : nullptr;
}

usize last_of(const Vm &vm)
{
	return vm.svm.mm_start + (vm.svm.mm_range - 1);
}

// struct dsvm_svm_ops ---------------------------------------------------------

int notifier_create(dsvm_svm *svm, dsvm_usize first, dsvm_usize last, dsvm_notifier **out)
{
	Vm &vm = vm_of(svm);
	void *const memory = dsvm_os_alloc(sizeof(Window));

	if (memory == nullptr)
		return -DSVM_ENOMEM;
	Window *const window = new (memory) Window{};
	window->vm = &vm;
	window->core.node.first = first;
	window->core.node.last = last;
	window->core.range_list = {&window->core.range_list, &window->core.range_list};
	window->core.lock = driver().config.window_locks && driver().config.trims
				    ? to_os(window->lock)
				    : to_os(vm.notifier_lock);
	window->core.os = to_os(window->notifier);
	set_callbacks(*window);
	if (const int ret = machine().notifier_insert(window->notifier, *vm.mm, first, last)) {
		dsvm_os_free(window);
		return ret;
	}
	*out = &window->core;
	return 0;
}

void notifier_destroy(dsvm_svm *, dsvm_notifier *core)
{
	Window &window = window_of(core);

	if (window.core.removed == 0)
		machine().notifier_remove(window.notifier);
	if (window.core.range_list.next != &window.core.range_list)
		scheduler().fail("a window goes with a range in it", "[%lu, %lu]", core->node.first,
				 core->node.last);
	window.lock.assert_free();
	dsvm_os_free(&window);
}

// What the public API promises of a new range, and a driver relies on.
void check_new_range(const dsvm_svm &svm, const dsvm_notifier &window, usize first, usize last)
{
	if (first < window.node.first || last > window.node.last || first < svm.mm_start ||
	    last > svm.mm_start + (svm.mm_range - 1))
		scheduler().fail("a range is not where it may be", "[%lu, %lu]", first, last);
	// What is left of a range that has been trimmed was made in a VMA once.
	if (!scheduler().holds(from_os(svm.mm).lock))
		return;
	const Vma *const vma = machine().find_vma(from_os(svm.mm), first);
	if (vma == nullptr || last > vma->last || vma->kind == VmaKind::kSpecial)
		scheduler().fail("a range is made where no memory for it is", "[%lu, %lu]", first,
				 last);
}

dsvm_range *range_create(dsvm_svm *svm, dsvm_notifier *notifier, dsvm_usize first, dsvm_usize last,
			 dsvm_u16 flags)
{
	void *const memory = dsvm_os_alloc(sizeof(Range));

	if (memory == nullptr)
		return nullptr;
	check_new_range(*svm, *notifier, first, last);
	Range *const range = new (memory) Range{};
	range->vm = &vm_of(svm);
	range->window = &window_of(notifier);
	range->refs = 1;
	range->core.node.first = first;
	range->core.node.last = last;
	range->core.flags = flags;
	range->vm->ranges++;
	machine().notifier_stand_in(range->stand_in, *range->vm->mm, first, last);
	return &range->core;
}

constexpr usize kStandIn = offsetof(Range, stand_in) - offsetof(Range, core);

void range_get(dsvm_svm *, dsvm_range *core)
{
	if (range_of(core)->refs++ == 0)
		scheduler().fail("a range is used that is gone", "it gets a reference");
}

void range_put(dsvm_svm *, dsvm_range *core)
{
	put_range(*range_of(core));
}

int range_lock(dsvm_svm *, dsvm_range *core)
{
	scheduler().write_lock(range_of(core)->lock);
	return 0;
}

void range_unlock(dsvm_svm *, dsvm_range *core)
{
	scheduler().write_unlock(range_of(core)->lock);
}

// There is one device.
dsvm_pages *range_pages(dsvm_range *core, dsvm_u32 index, dsvm_os_dev **dev)
{
	if (index != 0)
		return nullptr;
	*dev = to_os(driver().device);
	return &range_of(core)->pages;
}

void range_split(dsvm_range *core, dsvm_range *tail)
{
	const Range &range = *range_of(core);
	const Rwsem &guard = range.window->guard();

	if (!scheduler().holds_write(guard))
		scheduler().fail("a lock is not held that has to be", "%s, for a split",
				 guard.name);
	check_split(range, tail != nullptr ? range_of(tail) : nullptr);
}

} // namespace

const dsvm_svm_ops Driver::Impl::whole_ops = {
	.notifier_create = notifier_create,
	.notifier_destroy = notifier_destroy,
	.range_create = range_create,
	.range_stand_in = kStandIn,
	.range_get = range_get,
	.range_put = range_put,
	.range_lock = range_lock,
	.range_unlock = range_unlock,
	.range_pages = nullptr,
	.range_split = nullptr,
};

const dsvm_svm_ops Driver::Impl::trimmed_ops = {
	.notifier_create = notifier_create,
	.notifier_destroy = notifier_destroy,
	.range_create = range_create,
	.range_stand_in = kStandIn,
	.range_get = range_get,
	.range_put = range_put,
	.range_lock = range_lock,
	.range_unlock = range_unlock,
	.range_pages = range_pages,
	.range_split = range_split,
};

// Ranges ----------------------------------------------------------------------

Range *first_range(Window &window, usize first, usize last)
{
	return range_of(dsvm_svm_range_find(&window.core, first, last));
}

Range *next_range(Range &range, usize last)
{
	dsvm_link *const link = range.core.entry.next;

	if (link == &range.window->core.range_list)
		return nullptr;
	Range *const next = range_of(reinterpret_cast<dsvm_range *>(reinterpret_cast<char *>(link) -
								    offsetof(dsvm_range, entry)));
	return next->first() <= last ? next : nullptr;
}

void put_range(Range &range)
{
	if (--range.refs != 0)
		return;
	range.vm->ranges--;
	range.lock.assert_free();
	dsvm_os_free(&range);
}

// How many entries they are mapped by.
u32 count_runs(const dsvm_pages &pages, usize npages)
{
	// RAM that a device sees directly is mapped without a trace.
	const bool direct = driver().device.direct;
	const dsvm_dma_addr *addr = pages.dma_addr;
	u32 runs = 0;

	if ((pages.flags & DSVM_PAGES_DMA_MAPPED) == 0)
		return 0;
	for (usize done = 0; done < npages; addr++) {
		runs += addr->dir != DSVM_DMA_NONE && !(direct && addr->proto == DSVM_PROTO_SYSTEM);
		done += usize{1} << addr->order;
	}
	return runs;
}

void Driver::Impl::lock_ranges(Vm &vm)
{
	if (!config.range_locks)
		scheduler().write_lock(vm.lock);
}

void Driver::Impl::unlock_ranges(Vm &vm)
{
	if (!config.range_locks)
		scheduler().write_unlock(vm.lock);
}

// As drm_svm_range_lock().
bool Driver::Impl::enter_range(Range &range)
{
	if (config.range_locks)
		scheduler().write_lock(range.lock);
	if ((range.core.flags & DSVM_RANGE_REMOVED) == 0)
		return true;
	leave_range(range);
	return false;
}

void Driver::Impl::leave_range(Range &range)
{
	if (config.range_locks)
		scheduler().write_unlock(range.lock);
}

// As stub_range_zap(): its pages stay mapped for the device. Flushes whatever there was: an
// invalidation may be between its passes. The flush begins under the lock, so that who finds
// no entries there afterwards waits for it.
void Driver::Impl::zap_range(Range &range)
{
	Rwsem &guard = range.window->guard();
	Gpu &gpu = Gpu::current();

	scheduler().read_lock(guard);
	gpu.zap(machine().index_of(range.first()), machine().index_of(range.last()));
	const u64 flush = gpu.begin_flush();
	scheduler().read_unlock(guard);
	gpu.end_flush(flush);
}

namespace {

// Nobody uses its pages any more. Locking: the lock of ranges.
void release_pages(Range &range)
{
	driver().zap_range(range);
	dsvm_svm_free_pages(&range.pages, to_os(driver().device), range.npages());
}

// The first one that is garbage, with the list's reference; nullptr: none is.
Range *take_garbage(Vm &vm)
{
	Range *const range = vm.garbage;

	if (range == nullptr)
		return nullptr;
	vm.garbage = range->next_garbage;
	range->is_garbage = false;
	return range;
}

// For a range that no invalidation finds any more.
void forget_garbage(Vm &vm, Range &range)
{
	Range **link = &vm.garbage;

	while (*link != &range)
		link = &(*link)->next_garbage;
	*link = range.next_garbage;
	range.is_garbage = false;
	put_range(range);
}

} // namespace

// As stub_range_remove().
void Driver::Impl::remove_range(Vm &vm, Range &range)
{
	range.refs++;
	release_pages(range);
	dsvm_svm_range_remove(&vm.svm, &range.window->core, &range.core);
	if ((range.core.flags & DSVM_RANGE_REMOVED) == 0)
		scheduler().fail("a range does not say that it has been removed", "%#x",
				 range.core.flags);
	if (range.is_garbage)
		forget_garbage(vm, range);
	put_range(range);
}

// As stub_range_put_right(): what is left of a range of which the CPU has unmapped something
// stays, if the driver wants that. False: an invalidation was in the way, which is over by now.
bool Driver::Impl::mend_range(Vm &vm, Range &range)
{
	if ((range.core.flags & DSVM_RANGE_UNMAPPED) == 0)
		return true;
	const int left = config.trims ? trim_range(vm, range) : 0;
	if (left == -DSVM_EAGAIN) {
		static_cast<void>(machine().notifier_read_begin(range.window->notifier));
		return false;
	}
	// Without memory for a second piece all of it goes.
	if (left != 1)
		remove_range(vm, range);
	return true;
}

void Driver::Impl::collect_garbage(Vm &vm)
{
	while (Range *const range = take_garbage(vm)) {
		if (enter_range(*range)) {
			while (!mend_range(vm, *range))
				;
			leave_range(*range);
		}
		put_range(*range);
	}
}

// All ranges of a span, one after the other, each under the lock of ranges.
template <class Visit> static void for_each_range(Vm &vm, usize first, usize last, Visit visit)
{
	Driver::Impl &impl = driver();

	for (usize at = first; at <= last;) {
		dsvm_range *const core = dsvm_svm_range_first(&vm.svm, at, last);

		if (core == nullptr)
			return;
		Range &range = *range_of(core);
		if (impl.enter_range(range)) {
			at = range.last() + 1;
			visit(range);
			impl.leave_range(range);
		}
		put_range(range);
	}
}

// As stub_range_fini(); or, as other drivers do, all but the removal, which dsvm_svm_fini()
// does then. Nobody else uses the VM but the worker, which has nothing to do without ranges.
void Driver::Impl::end_mirror(Vm &vm)
{
	const usize first = vm.svm.mm_start, last = last_of(vm);

	lock_ranges(vm);
	if (config.fini_removes && !config.range_locks)
		for_each_range(vm, first, last, [](Range &range) { release_pages(range); });
	else
		for_each_range(vm, first, last, [&](Range &range) { remove_range(vm, range); });
	if (config.range_locks)
		garbage_worker.cancel();
	if (!config.fini_removes && first_window(vm, first, last) != nullptr)
		scheduler().fail("a window without a range is left", "[%lu, %lu]", first, last);
	dsvm_svm_fini(&vm.svm);
	while (vm.garbage != nullptr)
		forget_garbage(vm, *vm.garbage);
	tally.add(Tally{.svm = vm.svm.counters});
	unlock_ranges(vm);
	if (!config.range_locks)
		garbage_worker.cancel();
}

// As stub_evict_ranges(): ranges that are in the span as a whole.
int Driver::Impl::evict_ranges(Vm &vm, usize first, usize last)
{
	int err = 0;

	lock_ranges(vm);
	collect_garbage(vm);
	for_each_range(vm, first, last, [&](Range &range) {
		if (range.first() < first || last < range.last() || err == -DSVM_ENOMEM)
			return;
		err = expect(
			"dsvm_svm_range_evict",
			dsvm_svm_range_evict(&vm.svm, to_os(range.window->notifier), &range.core),
			DSVM_ETIME, DSVM_EFAULT, DSVM_ENOMEM);
	});
	unlock_ranges(vm);
	return err == -DSVM_ENOMEM ? err : 0;
}

void Driver::Impl::drop_ranges(Vm &vm, usize first, usize last)
{
	lock_ranges(vm);
	for_each_range(vm, first, last, [&](Range &range) { remove_range(vm, range); });
	unlock_ranges(vm);
}

// When nothing is under way -----------------------------------------------------

// Its ranges follow each other, and each says that nothing is the matter with it. How many
// entries their pages are mapped by.
static u32 check_window(Window &window, u32 &ranges)
{
	const usize end = window.core.node.last;
	const dsvm_range *before = nullptr;
	u32 count = 0, runs = 0;

	Range *range = first_range(window, window.core.node.first, end);
	for (; range != nullptr; range = next_range(*range, end)) {
		if (before != nullptr && range->first() <= before->node.last)
			scheduler().fail("ranges overlap", "[%lu, %lu]", range->first(),
					 range->last());
		if ((range->core.flags & (DSVM_RANGE_UNMAPPED | DSVM_RANGE_REMOVED)) != 0 ||
		    (range->pages.flags & (DSVM_PAGES_UNMAPPED | DSVM_PAGES_STALE)) != 0)
			scheduler().fail("a range is left between two states",
					 "[%lu, %lu]: %#x, its pages: %#x", range->first(),
					 range->last(), range->core.flags, range->pages.flags);
		runs += count_runs(range->pages, range->npages());
		before = &range->core;
		count++;
	}
	if (window.core.users != count || count == 0)
		scheduler().fail("a window counts its users wrongly", "%u, and %u ranges",
				 window.core.users, count);
	if (window.core.unfinished != 0)
		scheduler().fail("an invalidation is never finished", "%u of them",
				 window.core.unfinished);
	for (const FinishSlot &slot : window.slots) {
		if (slot.window != nullptr)
			scheduler().fail("an invalidation is never finished", "%s",
					 name_of(slot.event.event));
	}
	ranges += count;
	return runs;
}

void Driver::check_quiet()
{
	Vm *const vm = impl_->vm;
	u32 ranges = 0, runs = 0;

	if (vm == nullptr)
		return;
	Window *window = first_window(*vm, vm->svm.mm_start, last_of(*vm));
	for (; window != nullptr; window = next_window(*vm, *window))
		runs += check_window(*window, ranges);
	if (vm->ranges != ranges)
		scheduler().fail("a range is kept that is in no window", "%u, and %u in windows",
				 vm->ranges, ranges);
	runs += sim::check_quiet(vm->hmmptrs);
	if (impl_->device.mappings != runs)
		scheduler().fail("something is mapped for DMA that nobody knows of",
				 "%u mappings, %u in ranges and hmmptrs", impl_->device.mappings,
				 runs);
}

} // namespace dsvm::sim
