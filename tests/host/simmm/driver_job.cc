// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Spans that move as far as they can: drm_svm_migrate_to_devmem(), and what the stub makes of it.
// What it reports of each page is compared with what the machine has seen.

#include "tests/host/simmm/driver_impl.h"
#include "tests/host/simmm/os.h"

#include <new>

namespace dsvm::sim {

// A job under way; reports and arrivals are behind it.
struct Job {
	dsvm_migrate_job core = {};
	Vram *vram = nullptr;
	u32 npages = 0;
	u32 allocations = 0; // that are not released
	bool is_over = false;

	dsvm_u8 *report() { return reinterpret_cast<dsvm_u8 *>(this + 1); }
	// Whether a page has moved to an allocation of ours.
	u8 *arrived() { return report() + npages; }
};

namespace {

constexpr u32 kBlockPages = 512;
constexpr u32 kMakeRoomTries = 4;

// The frame that was made for a page is the one that it gets.
void on_arrival(Zdd &zdd, u32 index, u32 npages)
{
	DevmemZdd &self = static_cast<DevmemZdd &>(zdd);
	const u32 first = machine().index_of(self.devmem->first);

	if (index < first || index + npages > first + self.devmem->npages)
		scheduler().fail("a page gets memory that was made for another one", "page %u",
				 index);
	if (self.job == nullptr)
		return;
	for (u32 i = index; i < index + npages; i++)
		self.job->arrived()[i - machine().index_of(self.job->core.first)] = true;
}

void check_alloc(const Job &job, usize first, usize npages)
{
	const usize last = first + ((npages << kPageShift) - 1);
	const usize block = ~((usize{kBlockPages} << kPageShift) - 1);

	machine().no_pinned_vma("memory of a device is allocated");
	if (npages == 0 || first < job.core.first || last > job.core.last ||
	    (first & block) != (last & block))
		scheduler().fail("memory of a device is asked for in a way that is not allowed",
				 "%lu pages", npages);
	for (u32 i = 0; i < kMaxMms; i++) {
		if (scheduler().holds(machine().mm(i).lock))
			scheduler().fail("memory of a device is allocated under an mm's lock",
					 "of mm %u", i);
	}
}

// As stub_migrate_alloc(): makes room if it may.
int alloc(void *ctx, dsvm_usize first, dsvm_usize npages, const dsvm_devmem **out)
{
	Job &job = *static_cast<Job *>(ctx);
	Devmem *devmem = nullptr;
	int err = 0;

	check_alloc(job, first, npages);
	for (u32 tries = 0; tries <= kMakeRoomTries; tries++) {
		err = create_devmem(*job.vram, from_os(job.core.mm), first,
				    static_cast<u32>(npages), &devmem);
		if (err != -DSVM_ENOSPC || !driver().config.evicts ||
		    !driver().evict_oldest(*job.vram))
			break;
	}
	if (err != 0)
		return err;
	DevmemZdd *const zdd = create_zdd(*devmem, err);
	if (zdd == nullptr)
		return err;
	zdd->arrived = on_arrival;
	zdd->job = &job;
	job.allocations++;
	*out = &zdd->devmem_core;
	return 0;
}

void release(void *ctx, const dsvm_devmem *core)
{
	DevmemZdd &zdd = static_cast<DevmemZdd &>(from_os(core->zdd));
	Job &job = *static_cast<Job *>(ctx);

	if (job.allocations-- == 0 || zdd.job != &job)
		scheduler().fail("a job releases what it does not have", "%lu bytes", core->size);
	zdd.job = nullptr;
	zdd.devmem->is_filled = true;
	put_zdd(zdd);
}

// Every page has met with one thing, and has moved if it says so.
void check_result(Job &job, int ret)
{
	dsvm_usize counted[DSVM_STAYS] = {};

	if (job.allocations != 0)
		scheduler().fail("a job keeps allocations", "%u", job.allocations);
	for (u32 i = 0; i < job.npages; i++) {
		if (job.report()[i] >= DSVM_STAYS) {
			scheduler().fail("a report is none", "of page %u: %u", i, job.report()[i]);
			return;
		}
		counted[job.report()[i]]++;
		if ((job.report()[i] == DSVM_MOVED) != (job.arrived()[i] != 0))
			scheduler().fail("a report does not say what has become of a page",
					 "page %u, returned %d: %u, and it has %smoved",
					 machine().index_of(job.core.first) + i, ret,
					 job.report()[i], job.arrived()[i] ? "" : "not ");
		if (ret == 0 && job.report()[i] == DSVM_STAY_NOT_TRIED)
			scheduler().fail("a page is not tried for no reason", "page %u", i);
	}
	for (u32 i = 0; i < DSVM_STAYS; i++) {
		driver().tally.stays[i] += counted[i];
		if (counted[i] != job.core.result[i])
			scheduler().fail("a report's sums are wrong", "%u: %lu, not %lu", i,
					 static_cast<usize>(job.core.result[i]),
					 static_cast<usize>(counted[i]));
	}
}

// As the stub's MIGRATE.
int verdict(const Job &job)
{
	const dsvm_usize *const result = job.core.result;
	const dsvm_usize stayed = job.npages - result[DSVM_MOVED] - result[DSVM_WAS_THERE] -
				  result[DSVM_STAY_NO_MEMORY_MAP];
	usize unreadable = 0;

	if (result[DSVM_STAY_NO_DEVICE_MEMORY] != 0)
		return -DSVM_ENOSPC;
	if (result[DSVM_STAY_NO_MEMORY_MAP] == job.npages)
		return -DSVM_ENOENT;
	for (u32 i = 0; i < job.npages; i++) {
		const Vma *const vma = machine().find_vma(
			from_os(job.core.mm), job.core.first + (usize{i} << kPageShift));
		unreadable += vma != nullptr && !vma->read;
	}
	if (stayed != 0 && unreadable + result[DSVM_STAY_NO_MEMORY_MAP] >= job.npages)
		return -DSVM_ENOENT;
	return stayed > unreadable ? -DSVM_EBUSY : 0;
}

} // namespace

// As stub_span_to_vram() does with drm_svm_migrate_to_devmem().
int Driver::Impl::run_job(Mm &mm, Vram &vram, usize first, usize last, void (*look)(Job &job))
{
	const u32 npages = static_cast<u32>((last - first + 1) >> kPageShift);
	void *const memory = dsvm_os_alloc(sizeof(Job) + 2 * npages);
	Notifier notifier;

	if (memory == nullptr)
		return -DSVM_ENOMEM;
	if (!dsvm_os_mm_get(to_os(mm))) {
		dsvm_os_free(memory);
		return -DSVM_EFAULT;
	}
	Job *const job = new (memory) Job{};
	machine().notifier_stand_in(notifier, mm, first, last);
	job->vram = &vram;
	job->npages = npages;
	job->core.mm = to_os(mm);
	job->core.notifier = to_os(notifier);
	job->core.first = first;
	job->core.last = last;
	job->core.owner = machine().device_owners[&vram - vrams];
	job->core.pagemap = machine().pagemap_of(vram.first_page);
	job->core.workers = config.workers;
	job->core.fault_in = config.fault_in;
	job->core.ctx = job;
	job->core.alloc = alloc;
	job->core.release = release;
	job->core.report = job->report();
	tally.jobs++;
	int ret = expect("dsvm_migrate_run_job", dsvm_migrate_run_job(&job->core), DSVM_ENOMEM,
			 DSVM_EIO, DSVM_EAGAIN, DSVM_ENODEV);
	check_result(*job, ret);
	if (ret == 0 && look != nullptr)
		look(*job);
	if (ret == 0)
		ret = verdict(*job);
	dsvm_os_mm_put_async(to_os(mm));
	dsvm_os_free(job);
	return ret;
}

// What there is to be said of a page that is where a job has left it; DSVM_STAYS: one of several
// things.
static u32 expected_report(Mm &mm, u32 index)
{
	const Vma *const vma = machine().find_vma(mm, machine().addr_of(index));

	if (vma == nullptr)
		return DSVM_STAY_NO_MEMORY_MAP;
	if (!vma->read)
		return DSVM_STAY_SWAPPED;
	if (vma->kind != VmaKind::kAnonymous)
		return DSVM_STAY_NOT_ANONYMOUS;
	return DSVM_STAYS;
}

static void check_quiet_report(Job &job)
{
	Mm &mm = from_os(job.core.mm);

	for (u32 i = 0; i < job.npages; i++) {
		const u32 index = machine().index_of(job.core.first) + i;
		const u32 said = job.report()[i], expected = expected_report(mm, index);
		const Pte &pte = mm.ptes[index];
		const bool is_there = pte.kind == PteKind::kDevice &&
				      machine().pagemap_of(pte.page) == job.core.pagemap;

		const bool was_there = said == DSVM_MOVED || said == DSVM_WAS_THERE;
		// What comes first may have had to make room for what comes later.
		const bool fits =
			driver().config.evicts ? was_there || !is_there : was_there == is_there;
		// Swap may still need a page, which shows in the last moment only.
		const bool is_swaps = pte.kind == PteKind::kPresent &&
				      machine().folio_of(machine().page(pte.page)).slot != 0;
		const bool busy = (said == DSVM_STAY_BUSY && !is_swaps) || said == DSVM_STAY_LOCKED;
		if (expected != DSVM_STAYS ? said != expected : !fits || busy)
			scheduler().fail("a report does not say what there is",
					 "page %u: %u, and it is %sthere", index, said,
					 is_there ? "" : "not ");
	}
}

// When nothing else is under way, a job says of each page what is the case.
void Driver::check_report()
{
	Impl &impl = *impl_;
	Vm *const vm = impl.begin();

	if (vm == nullptr)
		return;
	const usize pages = machine().geometry().va_pages;
	static_cast<void>(impl.run_job(*vm->mm, impl.vrams[0], kVaBase,
				       kVaBase + ((pages << kPageShift) - 1), check_quiet_report));
	impl.end(*vm);
}

} // namespace dsvm::sim
