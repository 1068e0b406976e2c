// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What GPU mappings show of hmmptrs: the order of calls in include/drm/drm_svm_hmmptr.h, by a
// GPU that faults and by one whose jobs cannot.
//
//	bind	link; get pages, or populate and map; entries, if they are valid; or again
//	unmap	unlink; take the pages from the GPU; unlink what was bound meanwhile
//	load	a word of a program that may fault: bind around it, and again
//	exec	revalidate until nothing is left; publish a job; it has to get through

#include "tests/host/simmm/driver_impl.h"

#include <algorithm>

namespace dsvm::sim {

namespace {

usize end_addr(u32 page)
{
	return machine().addr_of(page + 1) - 1;
}

dsvm_access access_of(bool write)
{
	if (write)
		return DSVM_ACCESS_WRITE;
	return driver().config.wide_reads ? DSVM_ACCESS_READ : DSVM_ACCESS_READ_ONLY;
}

} // namespace

// Entries -----------------------------------------------------------------------------

// As drm_svm_hmmptr_link(). -ENODEV: nobody is to see it any more.
int link_pages(Hmmptr &hmmptr, u32 mapping, u32 first, u32 last, GpuAccess access)
{
	HmmptrSet &set = *hmmptr.set;

	scheduler().write_lock(set.notifier_lock);
	const bool closed = hmmptr.closed;
	for (u32 i = first; i <= last && !closed; i++) {
		GpuAccess &linked = hmmptr.linked[mapping][i];

		if (linked == GpuAccess::kNone && hmmptr.links++ == 0)
			hmmptr.refs++;
		if (linked != GpuAccess::kWrite)
			linked = access;
	}
	scheduler().write_unlock(set.notifier_lock);
	return closed ? -DSVM_ENODEV : 0;
}

// As drm_svm_hmmptr_unlink(), once the entries have gone. Locking: the VM's lock, so that no job
// begins that needs them.
void unlink_pages(Hmmptr &hmmptr, u32 mapping, u32 first, u32 last)
{
	HmmptrSet &set = *hmmptr.set;
	Gpu &gpu = Gpu::current();
	const u32 region = hmmptr.region[mapping];

	scheduler().wait_until("the GPU's jobs", [&] { return set.jobs == 0; });
	scheduler().write_lock(set.notifier_lock);
	const u32 links = hmmptr.links;
	for (u32 i = first; i <= last; i++) {
		GpuAccess &linked = hmmptr.linked[mapping][i];

		hmmptr.links -= linked != GpuAccess::kNone;
		linked = GpuAccess::kNone;
	}
	const bool is_last = links != 0 && hmmptr.links == 0;
	gpu.zap(region + first, region + last);
	const u64 flush = gpu.begin_flush();
	scheduler().write_unlock(set.notifier_lock);
	gpu.end_flush(flush);
	if (is_last)
		put_hmmptr(hmmptr);
}

bool zap_entries(Hmmptr &hmmptr, u32 first, u32 last)
{
	u32 zapped = 0;

	for (const u32 region : hmmptr.region)
		zapped += Gpu::current().zap(region + first, region + last);
	return zapped != 0;
}

// Of a run, what is in the span and linked.
static void write_run(Hmmptr &hmmptr, const dsvm_hmmptr_cursor &cursor, u32 first, u32 last)
{
	const u32 run_first = machine().index_of(cursor.first);
	const bool write = cursor.addr->dir == DSVM_DMA_BIDIRECTIONAL;

	if (write && hmmptr.core.read_only)
		scheduler().fail("a hmmptr for reading is mapped for writing", "page %u",
				 run_first);
	for (u32 i = 0; i < cursor.npages; i++) {
		const u32 page = run_first + i;

		for (u32 mapping = 0; mapping < kMappings; mapping++) {
			if (page < first || page > last ||
			    hmmptr.linked[mapping][page] == GpuAccess::kNone)
				continue;
			Gpu::current().map(hmmptr.region[mapping] + page,
					   cursor.addr->addr + (u64{i} << kPageShift), write);
		}
	}
}

// -EAGAIN: what was mapped is so no more; or for `writes` it is for reading only: somebody else has
// populated it since. The walk goes over each page once, in order.
int write_entries(Hmmptr &hmmptr, u32 first, u32 last, bool writes)
{
	const usize start = machine().addr_of(first), end = end_addr(last);
	HmmptrSet &set = *hmmptr.set;
	dsvm_hmmptr_cursor cursor = {};
	int ret = -DSVM_EAGAIN;
	bool writable = true;
	u32 next = first;

	scheduler().read_lock(set.notifier_lock);
	if (dsvm_hmmptr_valid(&hmmptr.core, start, end)) {
		while (dsvm_hmmptr_next(&hmmptr.core, start, end, &cursor)) {
			const u32 run = machine().index_of(cursor.first);

			if (run > next || (run < next && next != first) ||
			    run + cursor.npages <= next)
				scheduler().fail("a walk over a hmmptr leaves something out",
						 "a run at %u, not %u", run, next);
			write_run(hmmptr, cursor, first, last);
			writable = writable && cursor.addr->dir == DSVM_DMA_BIDIRECTIONAL;
			next = run + static_cast<u32>(cursor.npages);
		}
		if (next <= last)
			scheduler().fail("a walk over a hmmptr leaves something out",
					 "%u to %u, all of which is valid", next, last);
		ret = writable || !writes ? 0 : -DSVM_EAGAIN;
	}
	scheduler().read_unlock(set.notifier_lock);
	return ret;
}

// Pages ------------------------------------------------------------------------------------

namespace {

template <class Call> int call_locked(Hmmptr &hmmptr, bool maps, Call call)
{
	scheduler().write_lock(hmmptr.lock);
	const int ret = call();
	check_hmmptr(hmmptr);
	note_populations(hmmptr, maps);
	scheduler().write_unlock(hmmptr.lock);
	return ret;
}

// Whether somebody wants to write there.
bool is_to_be_written(Hmmptr &hmmptr, u32 first, u32 last)
{
	HmmptrPiece *piece = first_piece(hmmptr, first, last);

	for (; piece != nullptr; piece = next_piece(*piece, last)) {
		if (piece->core.access == DSVM_ACCESS_WRITE)
			return true;
	}
	return false;
}

// A read keeps nothing that may be dropped, unless somebody wants to write there: by now, or before
// it began, as long as what he had collected could be used.
void check_kept(Hmmptr &hmmptr, u32 first, u32 last, bool was_to_be_written)
{
	if (was_to_be_written || is_to_be_written(hmmptr, first, last))
		return;
	if (machine().asked().kept_pages != 0)
		scheduler().fail("a read keeps pages that may be dropped", "%u of %u-%u",
				 machine().asked().kept_pages, first, last);
}

// Who fails leaves nothing behind.
void check_failed(const Hmmptr &hmmptr, usize populated, int ret)
{
	if (ret != 0 && hmmptr.core.populated != populated)
		scheduler().fail("a call that fails leaves something behind", "%lu bytes, not %lu",
				 hmmptr.core.populated, populated);
}

int populate(Hmmptr &hmmptr, u32 first, u32 last, dsvm_access access)
{
	return call_locked(hmmptr, false, [&] {
		const u64 start_ns = scheduler().now_ns();
		const Marks before = machine().asked().marks;
		const usize populated = hmmptr.core.populated;
		const int ret = expect("dsvm_hmmptr_populate",
				       dsvm_hmmptr_populate(&hmmptr.core, machine().addr_of(first),
							    end_addr(last), access),
				       DSVM_EPERM, DSVM_EFAULT, DSVM_EBUSY, DSVM_ENOMEM,
				       DSVM_EOPNOTSUPP, DSVM_ENODEV);

		check_budget("dsvm_hmmptr_populate", start_ns, last - first + 1);
		check_failed(hmmptr, populated, ret);
		if (!(machine().asked().marks == before))
			scheduler().fail("pages are marked that are not mapped yet", "%u-%u", first,
					 last);
		return ret;
	});
}

int map(Hmmptr &hmmptr, u32 first, u32 last)
{
	return call_locked(hmmptr, true, [&] {
		MarkCheck marks{hmmptr, first, last, false, DSVM_ACCESS_READ};
		const bool was_to_be_written = is_to_be_written(hmmptr, first, last);
		const int ret = expect(
			"dsvm_hmmptr_map",
			dsvm_hmmptr_map(&hmmptr.core, machine().addr_of(first), end_addr(last)),
			DSVM_EAGAIN, DSVM_ENOMEM, DSVM_EOPNOTSUPP, DSVM_EFAULT, DSVM_ENODEV);

		marks.judge(ret);
		if (ret == 0)
			check_kept(hmmptr, first, last, was_to_be_written);
		return ret;
	});
}

int get_pages(Hmmptr &hmmptr, u32 first, u32 last, dsvm_access access)
{
	return call_locked(hmmptr, true, [&] {
		MarkCheck marks{hmmptr, first, last, true, access};
		const bool was_to_be_written = is_to_be_written(hmmptr, first, last);
		const usize populated = hmmptr.core.populated;
		const u64 start_ns = scheduler().now_ns();
		const int ret = expect("dsvm_hmmptr_get_pages",
				       dsvm_hmmptr_get_pages(&hmmptr.core, machine().addr_of(first),
							     end_addr(last), access),
				       DSVM_EPERM, DSVM_EFAULT, DSVM_EBUSY, DSVM_ENOMEM,
				       DSVM_EOPNOTSUPP, DSVM_ENODEV);

		// Each page may be a piece, in the first attempt and in the last one.
		check_budget("dsvm_hmmptr_get_pages", start_ns, 2 * (last - first + 1) + 1);
		check_failed(hmmptr, populated, ret);
		marks.judge(ret);
		if (ret == 0)
			check_kept(hmmptr, first, last, was_to_be_written);
		return ret;
	});
}

// One attempt. Half of those who read take the two steps themselves. Who writes has to have both in
// one: others who populate for reading in between would have the second one map what they need.
int make_present(Hmmptr &hmmptr, u32 first, u32 last, bool write, bool stepwise)
{
	machine().asked().kept_pages = 0;
	if (!stepwise)
		return get_pages(hmmptr, first, last, access_of(write));
	const int ret = populate(hmmptr, first, last, access_of(write));
	return ret != 0 ? ret : map(hmmptr, first, last);
}

int bind_pages(Hmmptr &hmmptr, u32 mapping, u32 first, u32 last, bool write)
{
	const GpuAccess access = write ? GpuAccess::kWrite : GpuAccess::kRead;
	const bool stepwise = !write && (first + mapping) % 2 != 0;
	int ret = link_pages(hmmptr, mapping, first, last, access);

	if (ret != 0)
		return ret;
	ret = -DSVM_EAGAIN;
	for (u32 tries = 0; tries < driver().config.fault_tries && ret == -DSVM_EAGAIN; tries++) {
		if (tries != 0)
			scheduler().relax();
		ret = make_present(hmmptr, first, last, write, stepwise);
		if (ret == 0)
			ret = write_entries(hmmptr, first, last, write);
	}
	if (ret != 0)
		unlink_pages(hmmptr, mapping, first, last);
	return ret == -DSVM_EAGAIN ? -DSVM_EBUSY : ret;
}

int bind_locked(Hmmptr &hmmptr, u32 mapping, u32 first, u32 last, bool write)
{
	scheduler().read_lock(hmmptr.set->vm_lock);
	const int ret = bind_pages(hmmptr, mapping, first, last, write);
	scheduler().read_unlock(hmmptr.set->vm_lock);
	return ret;
}

int access_once(Hmmptr &hmmptr, u32 page, bool write, u64 *value)
{
	Gpu &gpu = Gpu::current();
	const u32 index = hmmptr.region[0] + page;

	return (write ? gpu.store(index, *value) : gpu.load(index, value)) == Gpu::Result::kDone
		       ? 0
		       : -DSVM_EAGAIN;
}

// A word of a program that may fault: around it first, then the page alone.
int access(Hmmptr &hmmptr, u32 page, bool write, u64 *value)
{
	const u32 around = driver().config.chunk_pages[0] - 1;

	for (u32 tries = 0; tries < driver().config.fault_tries; tries++) {
		if (access_once(hmmptr, page, write, value) == 0)
			return 0;
		const bool alone = tries != 0;
		const u32 first = alone ? page : std::max(page & ~around, hmmptr.first());
		const u32 last = alone ? page : std::min(page | around, hmmptr.last());
		const int ret = bind_locked(hmmptr, 0, first, last, write);
		if (ret != 0 && ret != -DSVM_EBUSY &&
		    (alone || (ret != -DSVM_EFAULT && ret != -DSVM_EPERM)))
			return ret;
	}
	return -DSVM_EBUSY;
}

int revalidate(HmmptrSet &set)
{
	scheduler().write_lock(set.revalidate);
	set.waited_ns = 0;
	const u64 start_ns = scheduler().now_ns();
	const int ret = expect("dsvm_hmmptr_revalidate", dsvm_hmmptr_revalidate(&set.core),
			       DSVM_EBUSY, DSVM_ENOMEM);
	// Those who have the lock have the same budget.
	check_budget("dsvm_hmmptr_revalidate", start_ns + set.waited_ns);
	scheduler().write_unlock(set.revalidate);
	return ret;
}

// Until all that is bound is there, and a job has been published.
int publish_job(HmmptrSet &set, u32 &lost)
{
	for (u32 tries = 0; tries < driver().config.fault_tries; tries++) {
		const int ret = revalidate(set);
		if (ret != 0)
			return ret;
		scheduler().read_lock(set.notifier_lock);
		const bool valid = dsvm_hmmptr_all_valid(&set.core);
		if (valid) {
			lost = check_bound(set);
			set.jobs++;
		}
		scheduler().read_unlock(set.notifier_lock);
		if (valid)
			return 0;
		scheduler().relax();
	}
	return -DSVM_EBUSY;
}

// The job: what its entries allow when it begins it can do to its end.
void run_job(Hmmptr &hmmptr, u32 page, bool write, u64 value)
{
	Gpu &gpu = Gpu::current();

	for (const u32 region : hmmptr.region) {
		u64 read;

		if (!gpu.allows(region + page, write))
			continue;
		const Gpu::Result result =
			write ? gpu.store(region + page, value) : gpu.load(region + page, &read);
		if (result != Gpu::Result::kDone)
			scheduler().fail("a job that cannot fault faults", "page %u", page);
		driver().tally.hmmptr_jobs++;
	}
	hmmptr.set->jobs--;
}

} // namespace

// Operations -----------------------------------------------------------------------------

// What is in a slot, with a reference, and the part of the span that is of it, while the VM stays.
template <class Use> int Driver::with_hmmptr(u32 slot, u32 first, u32 last, Use use)
{
	Vm *const vm = impl_->begin();
	int ret = 0;

	if (vm == nullptr)
		return -DSVM_ENODEV;
	if (Hmmptr *const hmmptr = vm->hmmptrs.slots[slot]) {
		first = std::max(first, hmmptr->first());
		last = std::min(last, hmmptr->last());
		hmmptr->refs++;
		if (first <= last)
			ret = use(*hmmptr, first, last);
		put_hmmptr(*hmmptr);
		check_set(vm->hmmptrs);
	}
	impl_->end(*vm);
	return ret;
}

int Driver::hmmptr_make(u32 slot, Mm &mm, u32 first, u32 last, u32 flags)
{
	Vm *const vm = impl_->begin();
	Hmmptr *hmmptr = nullptr;

	if (vm == nullptr)
		return -DSVM_ENODEV;
	int ret = create_hmmptr(vm->hmmptrs, mm, first, last, flags, hmmptr);
	if (ret == 0 && vm->hmmptrs.slots[slot] == nullptr)
		vm->hmmptrs.slots[slot] = hmmptr;
	else if (ret == 0)
		put_hmmptr(*hmmptr);
	impl_->end(*vm);
	return ret;
}

int Driver::hmmptr_populate(u32 slot, u32 first, u32 last, bool write)
{
	return with_hmmptr(slot, first, last, [&](Hmmptr &hmmptr, u32 from, u32 to) {
		return populate(hmmptr, from, to, access_of(write));
	});
}

int Driver::hmmptr_map(u32 slot, u32 first, u32 last)
{
	return with_hmmptr(slot, first, last, [&](Hmmptr &hmmptr, u32 from, u32 to) {
		machine().asked().kept_pages = 0;
		return map(hmmptr, from, to);
	});
}

int Driver::hmmptr_bind(u32 slot, u32 first, u32 last, u32 flags)
{
	return with_hmmptr(slot, first, last, [&](Hmmptr &hmmptr, u32 from, u32 to) {
		return bind_locked(hmmptr, (flags & kHmmptrSecond) != 0, from, to,
				   (flags & kHmmptrWrite) != 0);
	});
}

int Driver::hmmptr_unmap(u32 slot, u32 first, u32 last, bool forget)
{
	return with_hmmptr(slot, first, last, [&](Hmmptr &hmmptr, u32 from, u32 to) {
		const auto unlink = [&] {
			for (u32 mapping = 0; mapping < kMappings; mapping++)
				unlink_pages(hmmptr, mapping, from, to);
		};

		scheduler().read_lock(hmmptr.set->vm_lock);
		unlink();
		static_cast<void>(call_locked(hmmptr, false, [&] {
			dsvm_hmmptr_unmap(&hmmptr.core, machine().addr_of(from), end_addr(to),
					  forget);
			return 0;
		}));
		unlink();
		scheduler().read_unlock(hmmptr.set->vm_lock);
		return 0;
	});
}

int Driver::hmmptr_inject(u32 slot, u32 first, u32 last)
{
	return with_hmmptr(slot, first, last, [&](Hmmptr &hmmptr, u32 from, u32 to) {
		return call_locked(hmmptr, false, [&] {
			dsvm_hmmptr_inject(&hmmptr.core, machine().addr_of(from), end_addr(to));
			return 0;
		});
	});
}

int Driver::hmmptr_access(u32 slot, u32 page, bool write, u64 *value)
{
	return with_hmmptr(slot, page, page, [&](Hmmptr &hmmptr, u32, u32) {
		return access(hmmptr, page, write, value);
	});
}

int Driver::hmmptr_revalidate()
{
	Vm *const vm = impl_->begin();

	if (vm == nullptr)
		return -DSVM_ENODEV;
	const int ret = revalidate(vm->hmmptrs);
	check_set(vm->hmmptrs);
	impl_->end(*vm);
	return ret;
}

int Driver::hmmptr_exec(u32 slot, u32 page, bool write, u64 value, u32 &lost)
{
	lost = kNoPage;
	return with_hmmptr(slot, page, page, [&](Hmmptr &hmmptr, u32, u32) {
		HmmptrSet &set = *hmmptr.set;

		scheduler().write_lock(set.vm_lock);
		const int ret = publish_job(set, lost);
		scheduler().write_unlock(set.vm_lock);
		if (ret == 0)
			run_job(hmmptr, page, write, value);
		return ret;
	});
}

// What mappings show goes first, and nobody shows any of it from then on.
void release_slot(HmmptrSet &set, u32 slot, bool early)
{
	Hmmptr *const hmmptr = set.slots[slot];

	if (hmmptr == nullptr)
		return;
	set.slots[slot] = nullptr;
	scheduler().read_lock(set.vm_lock);
	scheduler().write_lock(set.notifier_lock);
	hmmptr->closed = true;
	scheduler().write_unlock(set.notifier_lock);
	for (u32 mapping = 0; mapping < kMappings; mapping++)
		unlink_pages(*hmmptr, mapping, hmmptr->first(), hmmptr->last());
	if (early)
		static_cast<void>(call_locked(*hmmptr, false, [&] {
			end_hmmptr(*hmmptr);
			return 0;
		}));
	scheduler().read_unlock(set.vm_lock);
	put_hmmptr(*hmmptr);
}

int Driver::hmmptr_release(u32 slot, bool early)
{
	Vm *const vm = impl_->begin();

	if (vm == nullptr)
		return -DSVM_ENODEV;
	release_slot(vm->hmmptrs, slot, early);
	impl_->end(*vm);
	return 0;
}

} // namespace dsvm::sim
