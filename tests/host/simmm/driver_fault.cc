// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The driver's GPU faults: what stub_fault.c does.
//
// Under the lock of ranges (driver_ranges.cc), which is that of the VM, so that faults come one
// after the other, or that of the range, so that faults on different ranges run side by side.

#include "tests/host/simmm/driver_impl.h"

namespace dsvm::sim {

namespace {

// A fault that is being served.
struct Fault {
	Vm &vm;
	usize addr;
	bool write;
	bool migrate;
};

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

dsvm_access access_of(bool write)
{
	if (write)
		return DSVM_ACCESS_WRITE;
	return driver().config.wide_reads ? DSVM_ACCESS_READ : DSVM_ACCESS_READ_ONLY;
}

// What a collection may not do: begin again for what has happened elsewhere, go on for ever, and
// for a read keep pages that nobody wants. It may begin again once for pages of the device's
// own that are to be written and are shared: they have to be collected in another way.
void check_collection(const Range &range, const dsvm_get_pages &request, u32 events)
{
	const bool writes = request.access == DSVM_ACCESS_WRITE;
	const u32 most = writes ? 2 : 1;

	if (request.attempts > most && range.events == events)
		scheduler().fail("a collection begins again for what happens elsewhere",
				 "%u attempts, and nothing has met [%lu, %lu]", request.attempts,
				 range.first(), range.last());
	if (!writes && machine().asked().kept_pages != 0)
		scheduler().fail("a read keeps pages that may be dropped", "%u of [%lu, %lu]",
				 machine().asked().kept_pages, range.first(), range.last());
}

int get_pages(Vm &vm, Range &range, bool write)
{
	const usize windows = driver().device.windows.size();
	const u64 start_ns = scheduler().now_ns();
	const u32 events = range.events;
	dsvm_get_pages request = {};

	request.svm = &vm.svm;
	request.window = &range.window->core;
	request.notifier = to_os(range.window->notifier);
	request.mm = to_os(*vm.mm);
	request.dev = to_os(driver().device);
	request.first = range.first();
	request.last = range.last();
	request.owner = machine().device_owners[0];
	request.access = access_of(write);
	request.allow_mixed = true;
	machine().asked().kept_pages = 0;
	driver().tally.overlaps += vm.collecting++ != 0;
	const int ret = expect("dsvm_svm_get_pages", dsvm_svm_get_pages(&range.pages, &request),
			       DSVM_EBUSY, DSVM_EFAULT, DSVM_EPERM, DSVM_ENOMEM, DSVM_EOPNOTSUPP);
	vm.collecting--;
	driver().tally.linked += driver().device.windows.size() > windows;
	check_budget("dsvm_svm_get_pages", start_ns);
	check_collection(range, request, events);
	return ret;
}

// As stub_fault_map(). Locking: the lock of ranges.
int map_range(const Fault &fault, Range &range)
{
	Vm &vm = fault.vm;
	int err;

	// Where it cannot move, or only some of it: the GPU can use RAM as well.
	if (fault.migrate && (range.core.flags & DSVM_RANGE_MIGRATE_DEVMEM) != 0)
		static_cast<void>(migrate_piece(vm, range.first(), range.last()));
	// To become writable, pages are unmapped from the device and mapped again; the GPU must
	// not use them meanwhile.
	if (fault.write)
		driver().zap_range(range);
	err = get_pages(vm, range, fault.write);
	if (err != 0)
		return err;

	Rwsem &guard = range.window->guard();
	scheduler().read_lock(guard);
	if (dsvm_svm_pages_valid(&range.pages))
		write_ptes(range);
	else
		err = -DSVM_EAGAIN;
	scheduler().read_unlock(guard);
	return err;
}

// What to make of a failure, with the range at hand.
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

// The range at the address, entered and referenced. Under the VM's lock it is one that stays until
// we have a reference.
int acquire(Vm &vm, const dsvm_find_or_insert &request, Range *&out)
{
	const auto call = request.get ? dsvm_svm_acquire : dsvm_svm_find_or_insert;
	dsvm_range *core = nullptr;
	const int err =
		expect("dsvm_svm_find_or_insert or _acquire", call(&vm.svm, &request, &core),
		       DSVM_EFAULT, DSVM_ENOENT, DSVM_EPERM, DSVM_EIO, DSVM_ENOMEM, DSVM_EBUSY);

	if (err != 0)
		return err;
	out = range_of(core);
	out->refs += !request.get;
	return 0;
}

void release(Range &range)
{
	driver().leave_range(range);
	put_range(range);
}

// As stub_fault_in_range(): what there is to do with the range at the address. -EFAULT, -EPERM:
// closer around the page it may work.
int serve_with(const Fault &fault, Range &range)
{
	if (!driver().mend_range(fault.vm, range))
		return -DSVM_EAGAIN;
	// It may be another one now, or none.
	if ((range.core.flags & DSVM_RANGE_REMOVED) != 0 || fault.addr < range.first() ||
	    fault.addr > range.last())
		return -DSVM_EAGAIN;
	// Somebody else's fault has brought the page already.
	if (Gpu::current().allows(machine().index_of(fault.addr), fault.write))
		return 0;
	const int err = map_range(fault, range);
	return err != 0 ? judge_failure(range, err) : 0;
}

dsvm_find_or_insert to_request(const Fault &fault)
{
	const DriverConfig &config = driver().config;
	dsvm_find_or_insert request = {};

	request.fault_addr = fault.addr;
	request.gpuva_first = fault.vm.svm.mm_start;
	request.gpuva_last = fault.vm.svm.mm_start + (fault.vm.svm.mm_range - 1);
	request.check_pages_threshold =
		config.migrate_on_fault ? usize{config.check_pages} << kPageShift : 0;
	request.owner = machine().device_owners[0];
	request.write = fault.write;
	request.devmem_possible = config.migrate_on_fault;
	request.get = config.range_locks;
	return request;
}

// As stub_fault_try().
int serve(const Fault &fault)
{
	dsvm_find_or_insert request = to_request(fault);

	for (;;) {
		Range *range = nullptr;
		int err = acquire(fault.vm, request, range);
		if (err != 0)
			return err;
		err = serve_with(fault, *range);
		if (err != -DSVM_EFAULT && err != -DSVM_EPERM) {
			release(*range);
			return err;
		}

		// Something in the range does not allow what the page at the address may allow:
		// closer around the page it is.
		const usize npages = smaller_than(range->npages());
		driver().remove_range(fault.vm, *range);
		release(*range);
		if (npages == 0)
			return err;
		request.gpuva_first = fault.addr & ~((npages << kPageShift) - 1);
		request.gpuva_last = request.gpuva_first + ((npages << kPageShift) - 1);
	}
}

// As stub_verdict_is_readable(): the library calls PROT_NONE read-only, too.
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

// No attempt of a call that began at @start_ns, and has so many budgets one after the other, begins
// when its time is up. How long the last one takes is the kernel's: each page may have a timeslice
// that has just begun.
void check_budget(const char *call, u64 start_ns, u32 budgets)
{
	// Between the look at the clock and the walk others run.
	constexpr u64 kOthersNs = 1000000000;
	const u64 walk_ns = machine().asked().walk_ns;

	if (walk_ns > start_ns + budgets * (DSVM_GET_PAGES_BUDGET_NS + kOthersNs))
		scheduler().fail("an attempt begins after its budget", "%s, %lu ms", call,
				 static_cast<usize>((walk_ns - start_ns) / 1000000));
}

// As stub_fault_serve().
int Driver::Impl::serve_fault(Vm &vm, usize addr, bool write, bool migrate)
{
	const Fault fault{vm, addr, write, migrate && config.migrate_on_fault};

	lock_ranges(vm);
	if (!config.range_locks)
		collect_garbage(vm);
	const int err = serve(fault);
	unlock_ranges(vm);

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
