// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The driver's VMs, and operations on them: what is an ioctl in the stub.

#include "tests/host/simmm/driver_impl.h"
#include "tests/host/simmm/os.h"

#include <new>

namespace dsvm::sim {

namespace {

Driver *the_driver;
Driver::Impl *the_impl;

} // namespace

// Workers ---------------------------------------------------------------------

void Worker::run(void *arg)
{
	Worker &worker = *static_cast<Worker *>(arg);

	while (worker.pending) {
		worker.pending = false;
		worker.running = true;
		worker.work();
		worker.running = false;
	}
	worker.spawned = false;
}

// Without a virtual CPU, and before the threads start, it stays pending until flush().
void Worker::queue()
{
	pending = true;
	if (!spawned && scheduler().in_fiber())
		spawned = scheduler().spawn(name, run, this) != kNobody;
}

void Worker::cancel()
{
	pending = false;
	scheduler().wait_until("a worker's end", [&] { return !running; });
}

void Worker::flush()
{
	if (pending && !spawned)
		run(this);
	else
		scheduler().wait_until("a worker", [&] { return !pending && !running; });
}

// Made and ended --------------------------------------------------------------

Driver::Impl &driver()
{
	return *the_impl;
}

static void garbage_work()
{
	Vm &vm = *driver().vm_of_garbage;

	driver().lock_ranges(vm);
	driver().collect_garbage(vm);
	driver().unlock_ranges(vm);
}

static void release_work()
{
	driver().release_zdds();
}

Driver::Impl::Impl()
	: garbage_worker{.name = "garbage", .work = garbage_work}, release_worker{
									   .name = "release",
									   .work = release_work}
{}

Driver::Driver() : impl_(new Impl)
{
	the_driver = this;
	the_impl = impl_;
}

Driver::~Driver()
{
	delete impl_;
	the_driver = nullptr;
	the_impl = nullptr;
}

Driver &Driver::current()
{
	return *the_driver;
}

void Driver::reset(const DriverConfig &config)
{
	Impl &impl = *impl_;

	// Memory of the run before has gone with its machine, so all that is left is forgotten.
	impl.config = config;
	impl.provider = Provider{};
	impl.device =
		Device{.max_order = config.max_dma_order, .behind_iommu = config.behind_iommu};
	impl.tally = Tally{};
	impl.mm = &machine().mm(0);
	impl.vm = impl.vm_of_garbage = nullptr;
	impl.gone = false;
	impl.operations = impl.events = 0;
	for (Devmem *&devmem : impl.devmems)
		devmem = nullptr;
	impl.frame_taken.assign(machine().geometry().device_pages, 0);
	impl.zdds_to_destroy = nullptr;
	for (Worker *worker : {&impl.garbage_worker, &impl.release_worker})
		worker->pending = worker->running = worker->spawned = false;
	machine().device_owner = impl_;
	machine().migrate_to_ram = Impl::migrate_to_ram;
	Gpu::current().reset(*impl.mm, impl.device, config.tlb_entries);
}

void Driver::set_migrate_on_fault(bool migrate)
{
	impl_->config.migrate_on_fault = migrate;
}

int Driver::vm_create(Mm &mm)
{
	Impl &impl = *impl_;
	void *const memory = dsvm_os_alloc(sizeof(Vm));
	int chunks = 0;

	if (memory == nullptr)
		return -DSVM_ENOMEM;
	for (; chunks < static_cast<int>(kMaxChunks) && impl.config.chunk_pages[chunks] != 0;
	     chunks++)
		impl.chunk_sizes[chunks] = usize{impl.config.chunk_pages[chunks]} << kPageShift;

	Vm *const vm = new (memory) Vm;
	vm->mm = &mm;
	vm->svm.mm = to_os(mm);
	vm->svm.mm_start = kVaBase;
	vm->svm.mm_range = usize{machine().geometry().va_pages} << kPageShift;
	vm->svm.notifier_size = usize{impl.config.notifier_pages} << kPageShift;
	vm->svm.chunk_sizes = impl.chunk_sizes;
	vm->svm.num_chunks = chunks;
	vm->svm.lock = to_os(vm->notifier_lock);
	vm->svm.ops = impl.config.trims ? &Impl::trimmed_ops : &Impl::whole_ops;
	if (const int ret = expect("dsvm_svm_init", dsvm_svm_init(&vm->svm))) {
		dsvm_os_free(vm);
		return ret;
	}
	// The first one brings it to life, as stub_vram_get().
	impl.provider.refs++;
	Gpu::current().reset(mm, impl.device, impl.config.tlb_entries);
	impl.mm = &mm;
	impl.vm = impl.vm_of_garbage = vm;
	return 0;
}

bool Driver::has_vm() const
{
	return impl_->vm != nullptr;
}

// As stub_vm_release(), when nobody uses it any more.
void Driver::Impl::put_vm(Vm &vm)
{
	if (--vm.refs != 0)
		return;

	end_mirror(vm);
	vm_of_garbage = nullptr;

	if (vm.ranges != 0 || vm.garbage != nullptr)
		scheduler().fail("a range outlives its VM", "%u of them", vm.ranges);
	vm.lock.assert_free();
	vm.notifier_lock.assert_free();
	dsvm_os_provider_put(to_os(provider));
	vm.~Vm();
	dsvm_os_free(&vm);
}

// As the stub's VM_DESTROY: no new programs, those that run come to their end.
void Driver::vm_destroy()
{
	Vm *const vm = impl_->vm;

	if (vm == nullptr)
		return;
	impl_->vm = nullptr;
	impl_->end_program(*vm);
	scheduler().wait_until("the GPU's programs", [&] { return vm->programs == 0; });
	impl_->put_vm(*vm);
}

// As a driver whose device can be unplugged (stub_drv.c says what that takes): nobody enters
// any more, whoever is in leaves, and memory that is still in VRAM comes back.
int Driver::unbind()
{
	impl_->gone = true;
	scheduler().wait_until("the device's users", [&] { return impl_->operations == 0; });
	vm_destroy();
	return evict_all();
}

void Driver::flush()
{
	impl_->garbage_worker.flush();
	impl_->release_worker.flush();
}

// Operations ------------------------------------------------------------------

Vm *Driver::Impl::begin()
{
	if (gone || vm == nullptr)
		return nullptr;
	operations++;
	vm->refs++;
	return vm;
}

void Driver::Impl::end(Vm &vm)
{
	put_vm(vm);
	operations--;
}

bool Driver::Impl::begin_program(Vm &vm)
{
	if (vm.programs == 0)
		return false;
	vm.programs++;
	return true;
}

void Driver::Impl::end_program(Vm &vm)
{
	vm.programs--;
}

// One step of a program: tries, and serves the fault, until it gets through. Moving the
// memory once has to do, as in the stub.
static int run_step(Vm &vm, usize addr, bool write, u64 *value)
{
	const u32 index = machine().index_of(addr);
	Gpu &gpu = Gpu::current();

	for (u32 tries = 0; tries < driver().config.fault_tries; tries++) {
		const Gpu::Result result =
			write ? gpu.store(index, *value) : gpu.load(index, value);
		if (result == Gpu::Result::kDone)
			return 0;
		const int err = driver().serve_fault(vm, addr, write, tries == 0);
		if (err != 0 && err != -DSVM_EAGAIN)
			return err;
	}
	return -DSVM_EBUSY;
}

int Driver::Impl::access(usize addr, bool write, u64 *value)
{
	Vm *const vm = begin();
	int err = -DSVM_ENOENT;

	if (vm == nullptr)
		return -DSVM_ENODEV;
	if (begin_program(*vm)) {
		err = run_step(*vm, addr, write, value);
		end_program(*vm);
	}
	end(*vm);
	return err;
}

int Driver::load(usize addr, u64 *value)
{
	return impl_->access(addr, false, value);
}

int Driver::store(usize addr, u64 value)
{
	return impl_->access(addr, true, &value);
}

int Driver::Impl::migrate(usize first, usize last, int (*move)(Vm &, Piece &, usize, usize))
{
	Vm *const vm = begin();
	int err = -DSVM_ENOMEM;

	if (vm == nullptr)
		return -DSVM_ENODEV;
	if (Piece *const piece = Piece::create(config.piece_pages)) {
		err = move(*vm, *piece, first, last);
		dsvm_os_free(piece);
	}
	end(*vm);
	return err;
}

int Driver::to_vram(usize first, usize last)
{
	return impl_->migrate(first, last, span_to_vram);
}

int Driver::to_ram(usize first, usize last)
{
	return impl_->migrate(first, last, span_to_ram);
}

void Driver::collect_garbage()
{
	Vm *const vm = impl_->begin();

	if (vm == nullptr)
		return;
	impl_->lock_ranges(*vm);
	impl_->collect_garbage(*vm);
	impl_->unlock_ranges(*vm);
	impl_->end(*vm);
}

int Driver::evict_ranges(usize first, usize last)
{
	Vm *const vm = impl_->begin();

	if (vm == nullptr)
		return -DSVM_ENODEV;
	const int err = impl_->evict_ranges(*vm, first, last);
	impl_->end(*vm);
	return err;
}

int Driver::drop_ranges(usize first, usize last)
{
	Vm *const vm = impl_->begin();

	if (vm == nullptr)
		return -DSVM_ENODEV;
	impl_->drop_ranges(*vm, first, last);
	impl_->end(*vm);
	return 0;
}

int Driver::evict(usize addr)
{
	const Pte &pte = impl_->mm->ptes[machine().index_of(addr)];

	if (pte.kind != PteKind::kDevice)
		return 0;
	return impl_->evict(*static_cast<Devmem *>(machine().page(pte.page).zdd->allocation));
}

int Driver::evict_all()
{
	int err = 0;

	for (Devmem *&devmem : impl_->devmems) {
		if (devmem == nullptr)
			continue;
		const int ret = impl_->evict(*devmem);
		err = err != 0 ? err : ret;
	}
	return err;
}

// What can be seen ------------------------------------------------------------

dsvm_residency Driver::residency(usize addr)
{
	dsvm_residency result = {};

	static_cast<void>(look(*impl_->mm, addr, addr + (kPageSize - 1), kPageSize, &result));
	return result;
}

GpuAccess Driver::gpu_access(usize addr) const
{
	const u32 index = machine().index_of(addr);
	const Gpu &gpu = Gpu::current();

	if (gpu.allows(index, true))
		return GpuAccess::kWrite;
	return gpu.allows(index, false) ? GpuAccess::kRead : GpuAccess::kNone;
}

u32 Driver::take_events()
{
	const u32 events = impl_->events;

	impl_->events = 0;
	return events;
}

u32 Driver::free_vram() const
{
	return impl_->free_pages();
}

const Tally &Driver::tally() const
{
	return impl_->tally;
}

void Driver::check_nothing_left()
{
	const Impl &impl = *impl_;
	u32 frames = 0;

	if (impl.vm != nullptr || impl.operations != 0)
		scheduler().fail("a VM is left", "%u operations", impl.operations);
	for (const Devmem *devmem : impl.devmems) {
		if (devmem != nullptr)
			scheduler().fail("an allocation of VRAM is left", "%u pages, %u references",
					 devmem->npages, devmem->refs);
	}
	for (const u8 taken : impl.frame_taken)
		frames += taken;
	if (frames != 0)
		scheduler().fail("VRAM is left", "%u pages", frames);
	if (impl.provider.refs != 0)
		scheduler().fail("a reference to the provider is left", "%u", impl.provider.refs);
	if (impl.device.mappings != 0)
		scheduler().fail("a DMA mapping is left", "%u", impl.device.mappings);
	check_no_windows(impl.device);
	Gpu::current().check_idle();
}

void Tally::add(const Tally &other)
{
	u64 *const sum = reinterpret_cast<u64 *>(this);
	const u64 *const more = reinterpret_cast<const u64 *>(&other);

	for (usize i = 0; i < sizeof(Tally) / sizeof(u64); i++)
		sum[i] += more[i];
}

} // namespace dsvm::sim
