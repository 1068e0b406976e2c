// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The driver's ranges: what src/linux/gpusvm.c, stub_vm.c and stub_fault.c do together.

#include "tests/host/simmm/driver_impl.h"

#include <cstddef>
#include <new>

namespace dsvm::sim {

namespace {

// What of a failing collection may come on top of its budget: one attempt of the kernel's own.
constexpr u64 kAttemptNs = 1000000000;

Vm &vm_of(dsvm_svm *svm)
{
	return *reinterpret_cast<Vm *>(svm);
}

Window &window_of(dsvm_notifier *core)
{
	return *reinterpret_cast<Window *>(core);
}

Range *range_of(dsvm_range *core)
{
	return reinterpret_cast<Range *>(core);
}

// drm_gpusvm_range_find() and __drm_gpusvm_range_next().
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

Window *next_window(Vm &vm, Window &window, usize last)
{
	dsvm_link *const link = window.core.entry.next;

	if (link == &vm.svm.notifier_list)
		return nullptr;
	Window &next = window_of(reinterpret_cast<dsvm_notifier *>(reinterpret_cast<char *>(link) -
								   offsetof(dsvm_notifier, entry)));
	return next.core.node.first <= last ? &next : nullptr;
}

void put_range(Range &range)
{
	if (--range.refs != 0)
		return;
	range.vm->ranges--;
	dsvm_os_free(&range);
}

// Invalidations ---------------------------------------------------------------

struct Invalidated {
	Window &window;
	const EventRange &event;
};

// As stub_vm_count_event(): if the memory of any of the ranges was still there.
void count_event(Range *first, usize last, Event event)
{
	for (Range *range = first; range != nullptr; range = next_range(*range, last)) {
		if ((range->core.flags & DSVM_RANGE_UNMAPPED) == 0)
			driver().events |= 1u << static_cast<u32>(event);
	}
}

void add_garbage(Vm &vm, Range &range)
{
	Range **end = &vm.garbage;

	if (range.is_garbage)
		return;
	while (*end != nullptr)
		end = &(*end)->next_garbage;
	*end = &range;
	range.next_garbage = nullptr;
	range.is_garbage = true;
	range.refs++;
	driver().garbage_worker.queue();
}

// As stub_vm_invalidate(), for the part of the event that is in the window. Whole ranges, also
// where the event is smaller.
void invalidate_ranges(void *arg)
{
	const Invalidated &invalidated = *static_cast<Invalidated *>(arg);
	const EventRange &event = invalidated.event;
	Window &window = invalidated.window;
	Vm &vm = *window.vm;
	const usize start =
		event.first > window.core.node.first ? event.first : window.core.node.first;
	const usize last = event.last < window.core.node.last ? event.last : window.core.node.last;
	Range *const first = first_range(window, start, last);
	Gpu &gpu = Gpu::current();
	u32 zapped = 0;

	count_event(first, last, event.event);
	for (Range *range = first; range != nullptr; range = next_range(*range, last))
		zapped += gpu.zap(machine().index_of(range->first()),
				  machine().index_of(range->last()));
	if (zapped != 0)
		gpu.flush();
	for (Range *range = first; range != nullptr; range = next_range(*range, last)) {
		dsvm_svm_unmap_pages(&range->pages, to_os(vm.notifier_lock), to_os(driver().device),
				     range->npages());
		if (event.event != Event::kUnmap)
			continue;
		dsvm_svm_pages_set_unmapped(&vm.svm, &range->pages);
		dsvm_svm_range_set_unmapped(&vm.svm, &range->core, event.first, event.last);
		add_garbage(vm, *range);
	}
}

// As gpusvm_invalidate().
bool invalidate(Notifier &notifier, const EventRange &event, usize seq)
{
	Window &window = *static_cast<Window *>(notifier.arg);
	Invalidated invalidated{window, event};

	return dsvm_svm_invalidate(&window.vm->svm, to_os(notifier), seq, event.blockable,
				   invalidate_ranges, &invalidated);
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
	window->notifier.invalidate = invalidate;
	window->notifier.arg = window;
	if (const int ret = machine().notifier_insert(window->notifier, *vm.mm, first, last)) {
		dsvm_os_free(window);
		return ret;
	}
	*out = &window->core;
	return 0;
}

dsvm_os_notifier *notifier_os(dsvm_notifier *core)
{
	return to_os(window_of(core).notifier);
}

void notifier_destroy(dsvm_svm *, dsvm_notifier *core)
{
	Window &window = window_of(core);

	if (window.core.removed == 0)
		machine().notifier_remove(window.notifier);
	dsvm_os_free(&window);
}

// What the public API promises of a new range, and a driver relies on.
void check_new_range(const dsvm_svm &svm, dsvm_notifier &window, usize first, usize last)
{
	if (dsvm_svm_range_find(&window, first, last) != nullptr)
		scheduler().fail("ranges overlap", "a new one of [%lu, %lu]", first, last);
	if (first < window.node.first || last > window.node.last || first < svm.mm_start ||
	    last > svm.mm_start + (svm.mm_range - 1))
		scheduler().fail("a range is not where it may be", "[%lu, %lu]", first, last);
	// The mm's lock is held, so the VMA stays.
	const Vma *const vma = machine().find_vma(from_os(svm.mm), first);
	if (vma == nullptr || last > vma->last || vma->kind == VmaKind::kSpecial)
		scheduler().fail("a range is made where no memory for it is", "[%lu, %lu]", first,
				 last);
}

int range_create(dsvm_svm *svm, dsvm_notifier *notifier, dsvm_usize first, dsvm_usize last,
		 dsvm_u16 flags, dsvm_range **out)
{
	void *const memory = dsvm_os_alloc(sizeof(Range));

	if (memory == nullptr)
		return -DSVM_ENOMEM;
	check_new_range(*svm, *notifier, first, last);
	Range *const range = new (memory) Range{};
	range->vm = &vm_of(svm);
	range->window = &window_of(notifier);
	range->refs = 1;
	range->core.node.first = first;
	range->core.node.last = last;
	range->core.flags = flags;
	range->vm->ranges++;
	*out = &range->core;
	return 0;
}

void range_put(dsvm_svm *, dsvm_range *core)
{
	put_range(*range_of(core));
}

// As stub_vm_zap_range(): its pages stay mapped for the device.
void zap_range(Vm &vm, Range &range)
{
	Gpu &gpu = Gpu::current();

	scheduler().read_lock(vm.notifier_lock);
	if (gpu.zap(machine().index_of(range.first()), machine().index_of(range.last())) != 0)
		gpu.flush();
	scheduler().read_unlock(vm.notifier_lock);
}

} // namespace

const dsvm_svm_ops Driver::Impl::svm_ops = {
	.notifier_create = notifier_create,
	.notifier_os = notifier_os,
	.notifier_destroy = notifier_destroy,
	.range_create = range_create,
	.range_put = range_put,
};

// Ranges ----------------------------------------------------------------------

// Nobody uses its pages any more. Locking: the VM's lock.
static void release_pages(Vm &vm, Range &range)
{
	zap_range(vm, range);
	dsvm_svm_free_pages(&range.pages, to_os(vm.notifier_lock), to_os(driver().device),
			    range.npages());
}

// For a range that no invalidation finds any more.
static void forget_garbage(Vm &vm, Range &range)
{
	Range **link = &vm.garbage;

	while (*link != &range)
		link = &(*link)->next_garbage;
	*link = range.next_garbage;
	put_range(range);
}

// As stub_vm_remove_range().
void Driver::Impl::remove_range(Vm &vm, Range &range)
{
	range.refs++;
	release_pages(vm, range);
	dsvm_svm_range_remove(&vm.svm, &range.window->core, &range.core);
	if (range.is_garbage)
		forget_garbage(vm, range);
	put_range(range);
}

// As stub_vm_release(); or, as other drivers do, all but the removal, which dsvm_svm_fini()
// does then.
void Driver::Impl::end_mirror(Vm &vm)
{
	const usize first = vm.svm.mm_start;
	const usize last = first + (vm.svm.mm_range - 1);

	while (dsvm_notifier *const core = dsvm_svm_notifier_find(&vm.svm, first, last)) {
		Window *window = &window_of(core);
		Range *range = first_range(*window, first, last);

		if (range == nullptr)
			scheduler().fail("a window without a range is left", "[%lu, %lu]",
					 core->node.first, core->node.last);
		if (!config.fini_removes) {
			remove_range(vm, *range);
			continue;
		}
		for (; window != nullptr; window = next_window(vm, *window, last)) {
			range = first_range(*window, first, last);
			for (; range != nullptr; range = next_range(*range, last))
				release_pages(vm, *range);
		}
		break;
	}
	dsvm_svm_fini(&vm.svm);
	while (vm.garbage != nullptr)
		forget_garbage(vm, *vm.garbage);
}

void Driver::Impl::collect_garbage(Vm &vm)
{
	while (vm.garbage != nullptr)
		remove_range(vm, *vm.garbage);
}

// As stub_evict_ranges(): ranges that are in the span as a whole.
int Driver::Impl::evict_ranges(Vm &vm, usize first, usize last)
{
	int err = 0;

	scheduler().write_lock(vm.lock);
	collect_garbage(vm);
	dsvm_notifier *const core = dsvm_svm_notifier_find(&vm.svm, first, last);
	for (Window *window = core != nullptr ? &window_of(core) : nullptr; window != nullptr;
	     window = next_window(vm, *window, last)) {
		for (Range *range = first_range(*window, first, last); range != nullptr;
		     range = next_range(*range, last)) {
			if (range->first() < first || last < range->last() || err == -DSVM_ENOMEM)
				continue;
			err = expect("dsvm_svm_range_evict",
				     dsvm_svm_range_evict(&vm.svm, to_os(window->notifier),
							  &range->core),
				     DSVM_ETIME, DSVM_EFAULT, DSVM_ENOMEM);
		}
	}
	scheduler().write_unlock(vm.lock);
	return err == -DSVM_ENOMEM ? err : 0;
}

// Faults ----------------------------------------------------------------------

namespace {

// As stub_fault_write_ptes().
void write_ptes(Range &range)
{
	const u32 first = machine().index_of(range.first());
	const dsvm_dma_addr *addr = range.pages.dma_addr;

	for (u32 done = 0; done < range.npages(); addr++) {
		for (u32 i = 0; i < 1u << addr->order; i++)
			Gpu::current().map(first + done + i, addr->addr + (u64{i} << kPageShift),
					   addr->dir == DSVM_DMA_BIDIRECTIONAL);
		done += 1u << addr->order;
	}
}

int get_pages(Vm &vm, Range &range, bool write)
{
	dsvm_get_pages request = {};
	const u64 start_ns = scheduler().now_ns();

	request.lock = to_os(vm.notifier_lock);
	request.mm = to_os(*vm.mm);
	request.notifier = to_os(range.window->notifier);
	request.dev = to_os(driver().device);
	request.first = range.first();
	request.last = range.last();
	request.owner = machine().device_owner;
	request.write = write;
	request.allow_mixed = true;
	const int ret = expect("dsvm_svm_get_pages", dsvm_svm_get_pages(&range.pages, &request),
			       DSVM_EBUSY, DSVM_EFAULT, DSVM_EPERM, DSVM_ENOMEM, DSVM_EOPNOTSUPP);
	const u64 took_ns = scheduler().now_ns() - start_ns;
	// In its last attempt the kernel itself may wait for a page whose timeslice has just begun.
	if (took_ns > DSVM_GET_PAGES_BUDGET_NS + kAttemptNs + driver().config.timeslice_ns)
		scheduler().fail("a loop goes on after its budget", "dsvm_svm_get_pages, %lu ms",
				 static_cast<usize>(took_ns / 1000000));
	return ret;
}

// As stub_fault_map().
int map_range(Vm &vm, Range &range, bool write, bool migrate)
{
	int err;

	// Where it cannot move, or only some of it: the GPU can use RAM as well.
	if (migrate && (range.core.flags & DSVM_RANGE_MIGRATE_DEVMEM) != 0)
		static_cast<void>(migrate_piece(vm, range.first(), range.last()));
	// To become writable, pages are unmapped from the device and mapped again; the GPU must
	// not use them meanwhile.
	if (write)
		zap_range(vm, range);
	err = get_pages(vm, range, write);
	if (err != 0)
		return err;

	scheduler().read_lock(vm.notifier_lock);
	if (dsvm_svm_pages_valid(&range.pages))
		write_ptes(range);
	else
		err = -DSVM_EAGAIN;
	scheduler().read_unlock(vm.notifier_lock);
	return err;
}

// As stub_fault_failed().
int judge_failure(const Range &range, int err)
{
	switch (err) {
	case -DSVM_EOPNOTSUPP:
		return -DSVM_EFAULT;
	case -DSVM_EBUSY:
		return -DSVM_EAGAIN;
	case -DSVM_EFAULT:
	case -DSVM_EPERM:
		// Unmapped under our feet: the next attempt makes a new range.
		return (range.core.flags & DSVM_RANGE_UNMAPPED) != 0 ? -DSVM_EAGAIN : err;
	default:
		return err;
	}
}

// As stub_fault_smaller(): pages of the next size of ranges.
usize smaller_than(usize npages)
{
	for (const u32 chunk : driver().config.chunk_pages) {
		if (chunk < npages)
			return chunk;
	}
	return 0;
}

// As stub_fault_locked().
int serve_locked(Vm &vm, usize addr, bool write, bool migrate)
{
	const DriverConfig &config = driver().config;
	dsvm_find_or_insert request = {};

	driver().collect_garbage(vm);
	// Somebody else's fault has brought the page already.
	if (Gpu::current().allows(machine().index_of(addr), write))
		return 0;

	request.fault_addr = addr;
	request.gpuva_first = vm.svm.mm_start;
	request.gpuva_last = vm.svm.mm_start + (vm.svm.mm_range - 1);
	request.check_pages_threshold =
		config.migrate_on_fault ? usize{config.check_pages} << kPageShift : 0;
	request.owner = machine().device_owner;
	request.write = write;
	request.devmem_possible = config.migrate_on_fault;
	for (;;) {
		dsvm_range *core = nullptr;
		int err = expect("dsvm_svm_find_or_insert",
				 dsvm_svm_find_or_insert(&vm.svm, &request, &core), DSVM_EFAULT,
				 DSVM_ENOENT, DSVM_EPERM, DSVM_EIO, DSVM_ENOMEM);
		if (err != 0)
			return err;
		Range &range = *range_of(core);
		err = map_range(vm, range, write, migrate && config.migrate_on_fault);
		if (err != 0)
			err = judge_failure(range, err);
		if (err != -DSVM_EFAULT && err != -DSVM_EPERM)
			return err;

		// Something in the range does not allow what the page at the address may allow:
		// closer around the page it is.
		const usize npages = smaller_than(range.npages());
		driver().remove_range(vm, range);
		if (npages == 0)
			return err;
		request.gpuva_first = addr & ~((npages << kPageShift) - 1);
		request.gpuva_last = request.gpuva_first + ((npages << kPageShift) - 1);
	}
}

// As stub_fault_readable(): the library calls PROT_NONE read-only, too.
bool is_readable(Vm &vm, usize addr)
{
	if (!machine().mm_get(*vm.mm))
		return false;
	scheduler().read_lock(vm.mm->lock);
	const Vma *const vma = machine().find_vma(*vm.mm, addr);
	const bool readable = vma != nullptr && vma->read;
	scheduler().read_unlock(vm.mm->lock);
	machine().mm_put(*vm.mm);
	return readable;
}

} // namespace

// As stub_fault_serve().
int Driver::Impl::serve_fault(Vm &vm, usize addr, bool write, bool migrate)
{
	scheduler().write_lock(vm.lock);
	const int err = serve_locked(vm, addr, write, migrate);
	scheduler().write_unlock(vm.lock);

	switch (err) {
	case 0:
	case -DSVM_EAGAIN:
	case -DSVM_ENOMEM:
		return err;
	case -DSVM_EPERM:
		return is_readable(vm, addr) ? -DSVM_EPERM : -DSVM_EFAULT;
	case -DSVM_EBUSY:
		return -DSVM_EAGAIN;
	default:
		// -ENOENT: no VMA; -EIO: nothing behind it.
		return -DSVM_EFAULT;
	}
}

} // namespace dsvm::sim
