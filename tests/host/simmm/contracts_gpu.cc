// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Regions of the model GPU: what it has at other addresses than the CPU is held to the same
// rules as the mirror.

#include "tests/host/simmm/contract_tests.h"
#include "tests/host/simmm/gpu.h"
#include "tests/host/simmm/scene.h"

namespace dsvm::sim {

namespace {

// Pages [0, 3] have been written, and the GPU is told of each change of an entry.
void set_gpu()
{
	map_written(0, 3);
	machine().pte_changed = [](Mm &mm, u32 index) {
		Gpu::current().check(mm, index);
	};
	Gpu::current().reset(process(), device(), 4);
}

// The page at an address of the process, at the same place of a region.
void map_at(u32 base, u32 page, bool write)
{
	dsvm_dma_addr addr = {};

	check(dsvm_os_dma_map(to_os(device()), to_os(page_at(page)), 0, DSVM_DMA_BIDIRECTIONAL,
			      &addr) == 0,
	      "dma_map");
	Gpu::current().map(base + page, addr.addr, write);
}

bool region_shows_what_the_cpu_has()
{
	return Scene()
		.prepare(set_gpu)
		.thread([] {
			Gpu &gpu = Gpu::current();
			const u32 base = gpu.open_region(process());
			u64 value = 0;

			map_at(base, 2, false);
			check(gpu.load(base + 2, &value) == Gpu::Result::kDone &&
				      value == value_of(2),
			      "%#llx", static_cast<unsigned long long>(value));
			check(gpu.load(2, &value) == Gpu::Result::kFault, "in the mirror, too");
			check(gpu.store(base + 2, 1) == Gpu::Result::kFault, "a write");
			check(gpu.load(base + 3, &value) == Gpu::Result::kFault, "its neighbour");
		})
		.holds();
}

bool stale_entry_of_a_region_is_found()
{
	return Scene()
		.prepare(set_gpu)
		.thread([] {
			map_at(Gpu::current().open_region(process()), 1, false);
			machine().munmap(process(), at(1), end_of(1));
		})
		.breaks("the GPU can use a page that the CPU side has taken back");
}

// It is in the TLB that the translation outlives its entry.
bool region_without_a_flush_is_found()
{
	return Scene()
		.prepare(set_gpu)
		.thread([] {
			Gpu &gpu = Gpu::current();
			const u32 base = gpu.open_region(process());
			u64 value = 0;

			map_at(base, 1, false);
			static_cast<void>(gpu.load(base + 1, &value));
			gpu.zap(base + 1, base + 1);
			gpu.close_region(base);
		})
		.breaks("the GPU keeps a translation");
}

bool region_is_used_again()
{
	return Scene()
		.prepare(set_gpu)
		.thread([] {
			Gpu &gpu = Gpu::current();
			const u32 first = gpu.open_region(process());
			const u32 second = gpu.open_region(process());

			check(first != 0 && second != 0 && first != second, "%u and %u", first,
			      second);
			map_at(first, 1, false);
			gpu.zap(first + 1, first + 1);
			gpu.flush();
			gpu.close_region(first);
			check(gpu.open_region(process()) == first, "another one");
			gpu.check_idle();
		})
		.holds();
}

// Another address space's pages are another's business.
bool region_of_another_mm_is_left_alone()
{
	return Scene()
		.prepare(set_gpu)
		.thread([] {
			Mm *const child = machine().fork(process());

			map_at(Gpu::current().open_region(process()), 1, false);
			machine().munmap(*child, at(1), end_of(1));
			check(Gpu::current().entry(machine().geometry().va_pages + 1).valid,
			      "the entry");
		})
		.holds();
}

} // namespace

void add_gpu_contracts(std::vector<Contract> &list)
{
	list.insert(list.end(), {
					DSVM_CONTRACT(region_shows_what_the_cpu_has),
					DSVM_CONTRACT(stale_entry_of_a_region_is_found),
					DSVM_CONTRACT(region_without_a_flush_is_found),
					DSVM_CONTRACT(region_is_used_again),
					DSVM_CONTRACT(region_of_another_mm_is_left_alone),
				});
}

} // namespace dsvm::sim
