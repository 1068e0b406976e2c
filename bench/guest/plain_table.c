// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The GPU's page table: blocks of 2 MiB, and below each its pages. A block that has an entry of
 * its own is mapped as a whole, as GPUs do it with a huge page, and nothing is below it.
 *
 * A range lies in one block and is mapped at once, so its first entry tells of all of them.
 */
#include <linux/mm.h>

#include "plain.h"

#define BLOCK_BYTES SZ_2M
#define BLOCK_ORDER (ilog2(BLOCK_BYTES) - PAGE_SHIFT)

static u64 *block_at(struct plain_vm *vm, unsigned long addr)
{
	return &vm->blocks[(addr - vm->start) / BLOCK_BYTES];
}

static u64 *page_at(struct plain_vm *vm, unsigned long addr)
{
	return &vm->pages[(addr - vm->start) >> PAGE_SHIFT];
}

u64 plain_entry(struct plain_vm *vm, unsigned long addr)
{
	u64 block = *block_at(vm, addr);

	return block ? block + (addr & (BLOCK_BYTES - 1) & PAGE_MASK) : *page_at(vm, addr);
}

void plain_zap(struct plain_vm *vm, struct drm_gpusvm_range *range)
{
	unsigned long start = drm_gpusvm_range_start(range);
	u64 *block = block_at(vm, start);

	if (*block)
		*block = 0;
	else
		memset(page_at(vm, start), 0,
		       (drm_gpusvm_range_size(range) >> PAGE_SHIFT) * sizeof(u64));
}

static u64 entry_of(const struct drm_pagemap_addr *run)
{
	u64 entry = run->addr | PLAIN_PTE_PRESENT;

	if (run->dir == DMA_BIDIRECTIONAL)
		entry |= PLAIN_PTE_WRITABLE;
	if (run->proto == DRM_INTERCONNECT_DRIVER)
		entry |= PLAIN_PTE_VRAM;
	return entry;
}

void plain_map(struct plain_vm *vm, struct drm_gpusvm_range *range,
	       const struct drm_pagemap_addr *run)
{
	unsigned long start = drm_gpusvm_range_start(range);
	unsigned long i, left = drm_gpusvm_range_size(range) >> PAGE_SHIFT;
	u64 *block = block_at(vm, start);
	u64 *page = page_at(vm, start);
	bool whole = run->order == BLOCK_ORDER && IS_ALIGNED(run->addr, BLOCK_BYTES);
	u64 value;

	/* An access may be upgraded in place, and what is behind it be of another size then. */
	if (whole ? *page : *block)
		plain_zap(vm, range);
	if (whole) {
		*block = entry_of(run);
		return;
	}
	for (; left; run++) {
		value = entry_of(run);
		for (i = 0; i < 1ul << run->order; i++, value += PAGE_SIZE)
			*page++ = value;
		left -= 1ul << run->order;
	}
}
