// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The copy engines: what stub_copy.c and stub_engine.c do. An engine works through what it has
// been given, one page after the other, while everybody else goes on; whoever does not wait for
// it finds pages half copied.

#include "tests/host/simmm/driver_impl.h"
#include "tests/host/simmm/os.h"

#include <new>

namespace dsvm::sim {

namespace {

// What there is to be said of a page of the engine's own side, from hand-over to end.
void check_own(const Vram &vram, Page &page)
{
	const Page &folio = machine().folio_of(page);

	if (folio.refs == 0 || !folio.locked)
		scheduler().fail("a page is copied that may change", "page %u: %u references, %s",
				 machine().index_of(page), folio.refs,
				 folio.locked ? "locked" : "not locked");
	if (folio.zdd == nullptr ||
	    folio.zdd->provider != to_os(const_cast<Provider &>(vram.provider)))
		scheduler().fail("an engine is asked to copy another one's page", "page %u",
				 machine().index_of(page));
}

// The engine reaches the other side by DMA alone, so where nothing is mapped it finds nothing.
Page *reach(const Vram &vram, const dsvm_dma_addr &addr, bool writes)
{
	const u32 index = reached_page(vram.device, addr.addr, writes);
	const bool is_ram = index != kNoPage && !machine().is_device(index);

	if (index == kNoPage || !is_mapped_for(vram.device, index) ||
	    is_ram != (addr.proto == DSVM_PROTO_SYSTEM)) {
		scheduler().fail("the copy engine is sent to where nothing is mapped",
				 "address %#llx", addr.addr);
		return nullptr;
	}
	if (addr.dir != DSVM_DMA_BIDIRECTIONAL &&
	    addr.dir != (writes ? DSVM_DMA_FROM_DEVICE : DSVM_DMA_TO_DEVICE))
		scheduler().fail("the copy engine copies against the direction of a mapping", "%u",
				 static_cast<u32>(addr.dir));
	return &machine().page(index);
}

// No source: the page has to be cleared. An address may be zero, a direction is not.
bool has_source(const dsvm_dma_addr &addr)
{
	return addr.dir != 0 || addr.addr != 0;
}

void run_step(const CopyJob &job, const CopyStep &step)
{
	Page &page = machine().page(step.page);

	scheduler().point(Point::kCopy);
	check_own(*job.vram, page);
	Page *const other = job.to_ram || has_source(step.other)
				    ? reach(*job.vram, step.other, job.to_ram)
				    : nullptr;
	if (job.to_ram && other != nullptr)
		other->content = page.content;
	else if (!job.to_ram)
		page.content = other != nullptr ? other->content : 0;
}

int run_copy(CopyJob &job)
{
	for (u32 i = 0; i < job.count; i++) {
		if (machine().fails(Fail::kCopyLater))
			return -DSVM_EIO;
		run_step(job, job.steps()[i]);
	}
	return 0;
}

// What is to be done -----------------------------------------------------------------

void add_run(CopyJob &job, u32 page, const dsvm_dma_addr &addr, u32 npages)
{
	for (u32 i = 0; i < npages; i++) {
		dsvm_dma_addr other = addr;

		other.addr += has_source(addr) ? u64{i} << kPageShift : 0;
		job.steps()[job.count++] = {page + i, other};
	}
}

u32 count_steps(const dsvm_copy &copy, bool runs)
{
	u32 count = 0;

	for (dsvm_usize i = 0; runs && i < copy.nruns; i++)
		count += static_cast<u32>(copy.runs[i].npages);
	for (dsvm_usize i = 0; !runs && i < copy.npages; i++)
		count += copy.pages[i] != nullptr ? 1u << copy.addrs[i].order : 0;
	return count;
}

void fill_from_runs(CopyJob &job, const dsvm_copy &copy)
{
	for (dsvm_usize i = 0; i < copy.nruns; i++)
		add_run(job, machine().index_of(from_os(copy.runs[i].page)), copy.runs[i].addr,
			static_cast<u32>(copy.runs[i].npages));
}

// An entry stands for 2^order pages, and those behind it are empty.
void fill_from_arrays(CopyJob &job, const dsvm_copy &copy)
{
	for (dsvm_usize i = 0; i < copy.npages; i++) {
		if (copy.pages[i] == nullptr)
			continue;
		const u32 npages = 1u << copy.addrs[i].order;
		add_run(job, machine().index_of(from_os(copy.pages[i])), copy.addrs[i], npages);
		for (u32 j = 1; j < npages; j++) {
			if (i + j >= copy.npages || copy.pages[i + j] != nullptr)
				scheduler().fail("a copy has two entries for a page", "entry %lu",
						 static_cast<usize>(i + j));
		}
	}
}

// No page is the destination of two copies; the other side is what the request says it is.
void check_job(CopyJob &job, const dsvm_copy &copy)
{
	for (u32 i = 0; i < job.count; i++) {
		const CopyStep &step = job.steps()[i];

		check_own(*job.vram, machine().page(step.page));
		for (u32 j = 0; j < i; j++) {
			if (job.steps()[j].page == step.page)
				scheduler().fail("a page is copied twice", "page %u", step.page);
		}
		const bool to_device = step.other.proto != DSVM_PROTO_SYSTEM;
		if (job.to_ram && to_device != (copy.target != nullptr))
			scheduler().fail("a copy does not say where it goes", "page %u", step.page);
	}
}

int refusal()
{
	scheduler().point(Point::kCopy);
	if (machine().fails(Fail::kCopy))
		return -DSVM_EIO;
	return machine().fails(Fail::kCopyAgain) ? -DSVM_EAGAIN : 0;
}

} // namespace

// As stub_devmem_copy_runs(), and copy_to_devmem() and copy_to_ram(), which wait.
int Driver::Impl::copy(void *allocation, dsvm_copy *copy)
{
	Driver::Impl &impl = driver();
	const Devmem &devmem = *static_cast<Devmem *>(allocation);
	const u32 count = count_steps(*copy, impl.config.copies_runs);

	scheduler().may_sleep("a copy");
	no_notifier_lock("a copy");
	copy->done = nullptr;
	if (const int err = refusal())
		return err;
	void *const memory = machine().alloc(sizeof(CopyJob) + count * sizeof(CopyStep));
	CopyJob *const job = new (memory) CopyJob{devmem.vram, copy->to_ram != 0, nullptr};
	if (impl.config.copies_runs)
		fill_from_runs(*job, *copy);
	else
		fill_from_arrays(*job, *copy);
	check_job(*job, *copy);
	if (!impl.config.copies_later) {
		const int err = run_copy(*job);
		machine().free(job);
		return err;
	}
	job->fence = new (machine().alloc(sizeof(Fence))) Fence;
	job->fence->push = [] {
		for (Worker &engine : driver().engines) {
			if (engine.pending && !engine.spawned)
				Worker::run(&engine);
		}
	};
	copy->done = to_os(*job->fence);
	CopyJob **end = &devmem.vram->copies;
	while (*end != nullptr)
		end = &(*end)->next;
	*end = job;
	impl.tally.late_copies++;
	impl.engines[devmem.vram - impl.vrams].queue();
	return 0;
}

void run_engine(Vram &vram)
{
	while (CopyJob *const job = vram.copies) {
		vram.copies = job->next;
		job->fence->error = run_copy(*job);
		job->fence->signalled = true;
		machine().free(job);
	}
}

} // namespace dsvm::sim
