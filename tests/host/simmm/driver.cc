// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The driver's VMs, and operations on them: what is an ioctl in the stub.

#include "tests/host/simmm/driver_impl.h"
#include "tests/host/simmm/os.h"

#include <cstring>
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

template <u32 index> static void engine_work()
{
	run_engine(driver().vrams[index]);
}

Driver::Impl::Impl()
	: garbage_worker{.name = "garbage", .work = garbage_work},
	  release_worker{.name = "release", .work = release_work}, engines{{.name = "engine",
									    .work = engine_work<0>},
									   {.name = "engine 1",
									    .work = engine_work<1>}}
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

// Memory of the run before has gone with its machine, so all that is left is forgotten.
static void reset_vram(Driver::Impl &impl, u32 index, u32 first_page, u32 frames)
{
	const DriverConfig &config = impl.config;
	Vram &vram = impl.vrams[index];

	vram = Vram{};
	vram.provider.reserve = impl.reserves[index];
	vram.provider.spare = impl.spares[index];
	std::memset(impl.spares[index], 0, sizeof(impl.spares[index]));
	vram.device = Device{.max_order = config.max_dma_order,
			     .behind_iommu = config.behind_iommu,
			     .direct = config.direct_dma};
	vram.first_page = first_page;
	vram.frames.assign(frames, nullptr);
}

void Driver::reset(const DriverConfig &config)
{
	static const char foreign_owner = 0;
	using Peer = DriverConfig::Peer;
	const Geometry &geometry = machine().geometry();
	Impl &impl = *impl_;

	impl.config = config;
	reset_vram(impl, 0, geometry.ram_pages, geometry.device_pages);
	reset_vram(impl, 1, geometry.ram_pages + geometry.device_pages, geometry.peer_pages);
	if (config.peer == static_cast<u32>(Peer::kReadOnly)) {
		impl.vrams[0].provider.barred = &impl.vrams[1].device;
		impl.vrams[1].provider.barred = &impl.vrams[0].device;
	}
	impl.tally = Tally{};
	impl.mm = &machine().mm(0);
	impl.vm = impl.vm_of_garbage = nullptr;
	impl.gone = false;
	impl.operations = impl.events = 0;
	impl.zdds_to_destroy = nullptr;
	for (Worker *worker :
	     {&impl.garbage_worker, &impl.release_worker, &impl.engines[0], &impl.engines[1]})
		worker->pending = worker->running = worker->spawned = false;
	machine().device_owners[0] = impl_;
	machine().device_owners[1] = config.peer == static_cast<u32>(Peer::kForeign)
					     ? const_cast<char *>(&foreign_owner)
					     : static_cast<void *>(impl_);
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
	init_set(vm->hmmptrs);
	// The first one brings it to life, as stub_vram_get().
	for (Vram &vram : impl.vrams)
		vram.provider.refs++;
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

	for (u32 slot = 0; slot < kMaxHmmptrs; slot++)
		release_slot(vm.hmmptrs, slot, false);
	end_set(vm.hmmptrs);
	end_mirror(vm);
	vm_of_garbage = nullptr;

	if (vm.ranges != 0 || vm.garbage != nullptr)
		scheduler().fail("a range outlives its VM", "%u of them", vm.ranges);
	vm.lock.assert_free();
	vm.notifier_lock.assert_free();
	for (Vram &vram : vrams)
		dsvm_os_provider_put(to_os(vram.provider));
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

// Nothing that has once been filled lives there.
static void check_empty(const Vram &vram)
{
	for (u32 i = 0; i < vram.frames.size(); i++) {
		const Page &folio = machine().folio_of(machine().page(vram.page_of(i)));

		if (folio.refs != 0 && !folio.retired && folio.mapped != 0)
			scheduler().fail("an eviction is through while something lives there",
					 "page %u of the device", i);
	}
}

// As a driver whose device can be unplugged (stub_drv.c says what that takes): nobody enters
// any more, whoever is in leaves or finds that there is no memory any more, and what is still in
// VRAM comes back.
int Driver::unbind()
{
	constexpr u64 kBudgetNs = 5000000000;
	int err = 0;

	impl_->gone = true;
	for (Vram &vram : impl_->vrams) {
		vram.unplugged = true;
		const int ret = expect("dsvm_migrate_evict_all",
				       dsvm_migrate_evict_all(to_os(vram.provider), kBudgetNs),
				       DSVM_EBUSY, DSVM_ENOSPC);
		err = err != 0 ? err : ret;
		if (ret == 0)
			check_empty(vram);
	}
	scheduler().wait_until("the device's users", [&] { return impl_->operations == 0; });
	vm_destroy();
	return err;
}

void Driver::flush()
{
	for (Worker &engine : impl_->engines)
		engine.flush();
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
	if (impl_->config.workers != 0)
		return impl_->migrate_job(impl_->vrams[0], first, last);
	return impl_->migrate(first, last, span_to_vram);
}

int Driver::to_peer(usize first, usize last)
{
	if (impl_->vrams[1].frames.empty())
		return 0;
	return impl_->migrate_job(impl_->vrams[1], first, last);
}

int Driver::Impl::migrate_job(Vram &vram, usize first, usize last)
{
	Vm *const vm = begin();

	if (vm == nullptr)
		return -DSVM_ENODEV;
	const int err = run_job(*vm->mm, vram, first, last);
	end(*vm);
	return err;
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
	return evict_part(addr, 0);
}

// 0 pages: all of them.
int Driver::evict_part(usize addr, u32 npages)
{
	const Pte &pte = impl_->mm->ptes[machine().index_of(addr)];

	if (pte.kind != PteKind::kDevice)
		return 0;
	Devmem &devmem = *static_cast<Devmem *>(
		machine().folio_of(machine().page(pte.page)).zdd->allocation);
	if (npages == 0)
		return impl_->evict(devmem, 0, devmem.npages);
	const u32 index =
		(machine().index_of(addr) - machine().index_of(devmem.first)) % devmem.npages;
	const u32 left = devmem.npages - index;
	return impl_->evict(devmem, index, npages < left ? npages : left);
}

int Driver::evict_all()
{
	int err = 0;

	for (Vram &vram : impl_->vrams) {
		for (Devmem *devmem = vram.devmems; devmem != nullptr;) {
			devmem->refs++;
			const int ret = impl_->evict(*devmem, 0, devmem->npages);
			Devmem *const next = devmem->next;
			if (next != nullptr)
				next->refs++;
			impl_->put_devmem(*devmem);
			devmem = next;
			if (devmem != nullptr)
				impl_->put_devmem(*devmem);
			err = err != 0 ? err : ret;
		}
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

Tally Driver::tally() const
{
	Tally tally = impl_->tally;
	const Moves &moves = machine().moves;

	tally.pages_to_device = moves.to_device;
	tally.pages_to_ram = moves.to_ram;
	tally.pages_between = moves.between_devices;
	tally.vmas_kept = moves.vmas_kept;
	tally.free_waits = moves.free_waits;
	tally.folios_split = moves.folios_split;
	for (const Vram &vram : impl_->vrams) {
		const dsvm_migrate_counters &counters = vram.provider.counters;

		tally.huge_moved += counters.huge_moved;
		tally.huge_split += counters.huge_split;
		tally.stayed += counters.stayed;
		tally.timeslice_waits += counters.timeslice_waits;
		tally.fault_races += counters.fault_races;
		tally.fault_lost += counters.fault_lost;
	}
	return tally;
}

// All that has moved has been counted, and nothing else.
static void check_counters(const Driver::Impl &impl)
{
	u64 bytes[DSVM_WAYS] = {};
	u64 between = 0;

	for (const Vram &vram : impl.vrams) {
		for (u32 way = 0; way < DSVM_WAYS; way++) {
			for (const dsvm_phase_counters &phase : vram.provider.counters.phase[way])
				bytes[way] += phase.bytes;
		}
		between += vram.provider.counters.from_device;
	}
	const Moves &moves = machine().moves;
	if (bytes[DSVM_WAY_TO_DEVICE] != moves.to_device << kPageShift ||
	    bytes[DSVM_WAY_CPU_FAULT] + bytes[DSVM_WAY_EVICT] != moves.to_ram << kPageShift ||
	    between != moves.between_devices)
		scheduler().fail("counters do not say what has moved",
				 "%lu to devices, %lu to RAM, %lu between devices; counted: %lu, "
				 "%lu and %lu, %lu",
				 static_cast<usize>(moves.to_device),
				 static_cast<usize>(moves.to_ram),
				 static_cast<usize>(moves.between_devices),
				 static_cast<usize>(bytes[DSVM_WAY_TO_DEVICE] >> kPageShift),
				 static_cast<usize>(bytes[DSVM_WAY_CPU_FAULT] >> kPageShift),
				 static_cast<usize>(bytes[DSVM_WAY_EVICT] >> kPageShift),
				 static_cast<usize>(between));
}

static void check_vram_left(const Vram &vram)
{
	u32 frames = 0;

	if (vram.devmems != nullptr)
		scheduler().fail("an allocation of VRAM is left", "%u pages, %u references",
				 vram.devmems->npages, vram.devmems->refs);
	for (const Devmem *owner : vram.frames)
		frames += owner != nullptr;
	if (frames != 0)
		scheduler().fail("VRAM is left", "%u pages", frames);
	if (vram.provider.refs != 0 || vram.provider.zdds != nullptr)
		scheduler().fail("a reference to the provider is left", "%u", vram.provider.refs);
	if (vram.provider.reserve_taken)
		scheduler().fail("a provider's reserve is not given back", "%s", "at the end");
	if (vram.provider.spare_taken)
		scheduler().fail("a provider's spare memory is not given back", "%s", "at the end");
	if (vram.device.mappings != 0)
		scheduler().fail("a DMA mapping is left", "%u", vram.device.mappings);
	check_no_windows(vram.device);
}

void Driver::check_nothing_left()
{
	const Impl &impl = *impl_;

	if (impl.vm != nullptr || impl.operations != 0)
		scheduler().fail("a VM is left", "%u operations", impl.operations);
	for (const Vram &vram : impl.vrams)
		check_vram_left(vram);
	check_counters(impl);
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
