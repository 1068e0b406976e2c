// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The device's memory and who has what of it. An allocation is any pages, best
 * in one naturally aligned piece, which lets a huge page stay one; so memory
 * that is free can always be had, however scattered it is.
 *
 * Pages come back one by one, from wherever the kernel frees the last reference
 * to one: hence the interrupts that are off under the lock.
 */
#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/log2.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/xarray.h>

#include <drm/drm_managed.h>

#include "stub_drv.h"
#include "stub_pagemap.h"

/* All VRAM of the driver by its id. */
static DEFINE_XARRAY_ALLOC(stub_vrams);

/* --- pages ----------------------------------------------------------------- */

/*
 * So many are taken in one go, best in a row: a huge page can stay one, and the
 * lock is not held for long.
 */
#define STUB_VRAM_PIECE (SZ_2M / PAGE_SIZE)

/* There are enough, because they were promised. */
static void stub_vram_take_piece(struct stub_vram *vram, u64 *offset, unsigned int num,
				 struct stub_devmem *owner)
{
	unsigned long index;
	unsigned int i;

	index = bitmap_find_next_zero_area(vram->used, vram->num_pages, 0, num,
					   roundup_pow_of_two(num) - 1);
	if (index >= vram->num_pages)	/* not in one piece, then */
		index = find_first_zero_bit(vram->used, vram->num_pages);

	for (i = 0; i < num; i++, index++) {
		index = find_next_zero_bit(vram->used, vram->num_pages, index);
		__set_bit(index, vram->used);
		WRITE_ONCE(vram->owner[index], owner);
		offset[i] = PFN_PHYS(index);
	}
}

/**
 * stub_vram_take() - Takes pages
 * @vram: the device's memory
 * @block: says how many and for what, and has room to say where they are
 *
 * What was in them is still there.
 *
 * Context: any.
 * Return: 0 or -ENOSPC.
 */
int stub_vram_take(struct stub_vram *vram, struct stub_vram_block *block)
{
	unsigned long i, num, flags;

	spin_lock_irqsave(&vram->lock, flags);
	if (vram->num_pages - vram->num_used < block->num_pages) {
		spin_unlock_irqrestore(&vram->lock, flags);
		return -ENOSPC;
	}
	WRITE_ONCE(vram->num_used, vram->num_used + block->num_pages);
	spin_unlock_irqrestore(&vram->lock, flags);

	for (i = 0; i < block->num_pages; i += num) {
		num = min(block->num_pages - i, STUB_VRAM_PIECE);
		spin_lock_irqsave(&vram->lock, flags);
		stub_vram_take_piece(vram, &block->offset[i], num, block->owner);
		spin_unlock_irqrestore(&vram->lock, flags);
	}

	spin_lock_irqsave(&vram->lock, flags);
	block->age = ++vram->age;
	list_add_tail(&block->link, &vram->blocks);
	spin_unlock_irqrestore(&vram->lock, flags);

	return 0;
}

static void stub_vram_give_locked(struct stub_vram *vram, unsigned long index,
				  const struct stub_devmem *owner)
{
	lockdep_assert_held(&vram->lock);

	/* It has come back before, and may be somebody else's by now. */
	if (!test_bit(index, vram->used) || vram->owner[index] != owner)
		return;

	WRITE_ONCE(vram->owner[index], NULL);
	__clear_bit(index, vram->used);
	WRITE_ONCE(vram->num_used, vram->num_used - 1);
}

/**
 * stub_vram_give() - Gives some pages of a block back
 * @vram: the device's memory
 * @offset: where the first of them is
 * @npages: how many that follow each other
 * @owner: what they were taken for, not NULL
 *
 * Context: any.
 */
void stub_vram_give(struct stub_vram *vram, u64 offset, unsigned long npages,
		    const struct stub_devmem *owner)
{
	unsigned long index = PHYS_PFN(offset), last = index + npages, flags;

	spin_lock_irqsave(&vram->lock, flags);
	WARN_ON_ONCE(vram->owner[index] != owner);
	for (; index < last; index++)
		stub_vram_give_locked(vram, index, owner);
	spin_unlock_irqrestore(&vram->lock, flags);
}

/**
 * stub_vram_release() - Gives back what is left of a block
 * @vram: the device's memory
 * @block: the pages
 *
 * Context: any.
 */
void stub_vram_release(struct stub_vram *vram, struct stub_vram_block *block)
{
	unsigned long i, flags;

	spin_lock_irqsave(&vram->lock, flags);
	list_del_init(&block->link);
	for (i = 0; i < block->num_pages; i++) {
		stub_vram_give_locked(vram, PHYS_PFN(block->offset[i]), block->owner);
		if ((i + 1) % STUB_VRAM_PIECE)
			continue;
		spin_unlock_irqrestore(&vram->lock, flags);
		spin_lock_irqsave(&vram->lock, flags);
	}
	spin_unlock_irqrestore(&vram->lock, flags);
}

/**
 * stub_vram_num_free() - Free memory
 * @vram: the device's memory
 *
 * Counts what the kernel has freed before the call, also if it has not come
 * back to the device yet.
 *
 * Context: may sleep; no locks.
 * Return: pages.
 */
unsigned long stub_vram_num_free(struct stub_vram *vram)
{
	flush_workqueue(stub_queues.release);
	stub_devmem_flush();

	return vram->num_pages - READ_ONCE(vram->num_used);
}

/* --- for a person to read -------------------------------------------------- */

/* How many pieces free memory is in, and pages in the largest. A look, without the lock. */
static unsigned long stub_vram_fragments(const struct stub_vram *vram, unsigned long *largest)
{
	unsigned long start, end, count = 0;

	*largest = 0;
	for (start = 0; ; start = end) {
		start = find_next_zero_bit(vram->used, vram->num_pages, start);
		if (start >= vram->num_pages)
			return count;
		end = find_next_bit(vram->used, vram->num_pages, start);
		*largest = max(*largest, end - start);
		count++;
	}
}

/**
 * stub_vram_show() - Prints the state for a person to read
 * @vram: the device's memory
 * @m: where to
 */
void stub_vram_show(struct stub_vram *vram, struct seq_file *m)
{
	unsigned long blocks = 0, in_pieces = 0, used, fragments, largest, flags;
	struct stub_vram_block *block;

	spin_lock_irqsave(&vram->lock, flags);
	used = vram->num_used;
	list_for_each_entry(block, &vram->blocks, link) {
		u64 last = block->offset[block->num_pages - 1];

		blocks++;
		in_pieces += last - block->offset[0] != PFN_PHYS(block->num_pages - 1);
	}
	spin_unlock_irqrestore(&vram->lock, flags);
	fragments = stub_vram_fragments(vram, &largest);

	seq_printf(m, "size        %12lu KiB\n", vram->num_pages << (PAGE_SHIFT - 10));
	seq_printf(m, "used        %12lu KiB\n", used << (PAGE_SHIFT - 10));
	seq_printf(m, "allocations %12lu\n", blocks);
	seq_printf(m, "  in pieces %12lu\n", in_pieces);
	seq_printf(m, "fragments   %12lu\n", fragments);
	seq_printf(m, "  largest   %12lu KiB\n", largest << (PAGE_SHIFT - 10));
}

/* --- making it, and its end ------------------------------------------------ */

/**
 * stub_vram_peer() - The VRAM that an address of another device's leads to
 * @addr: the address, of STUB_PROTO_PEER. Whoever has it keeps the page behind
 *	it, and with that the VRAM.
 *
 * Context: any.
 * Return: the VRAM.
 */
struct stub_vram *stub_vram_peer(u64 addr)
{
	return xa_load(&stub_vrams, addr >> STUB_PEER_SHIFT);
}

/**
 * stub_vram_kill() - Makes the data unreachable
 * @vram: the device's memory, which may have gone
 *
 * Copies and programs that come to it fail from here on.
 *
 * Context: any.
 */
void stub_vram_kill(struct stub_vram *vram)
{
	WRITE_ONCE(vram->dead, true);
}

/**
 * stub_vram_stop() - Ends the use of the memory
 * @vram: the device's memory. Nobody takes pages any more.
 *
 * If none is taken there is no way to the data, which need not wait for the last
 * open file then.
 *
 * Context: may sleep.
 */
void stub_vram_stop(struct stub_vram *vram)
{
	stub_vram_kill(vram);
	if (vram->num_pages && !READ_ONCE(vram->num_used)) {
		vfree(vram->mem);
		vram->mem = NULL;
	}
}

static void stub_vram_free_data(struct stub_vram *vram)
{
	kvfree(vram->owner);
	bitmap_free(vram->used);
	vfree(vram->mem);
}

static void stub_vram_free(struct stub_vram *vram)
{
	xa_erase(&stub_vrams, vram->id);
	stub_vram_free_data(vram);
	vram->num_pages = 0;
}

static int stub_vram_alloc(struct stub_vram *vram, u64 size)
{
	unsigned long num_pages = PHYS_PFN(size);
	int err = -ENOMEM;

	if (size > BIT_ULL(STUB_PEER_SHIFT))
		return -EFBIG;

	/* Better none than other people's: do not call the OOM killer for it. */
	vram->mem = __vmalloc(size, GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	vram->used = bitmap_zalloc(num_pages, GFP_KERNEL | __GFP_NOWARN);
	vram->owner = kvcalloc(num_pages, sizeof(*vram->owner), GFP_KERNEL | __GFP_NOWARN);
	if (vram->mem && vram->used && vram->owner)
		err = xa_alloc(&stub_vrams, &vram->id, vram, XA_LIMIT(0, STUB_MAX_VRAMS - 1),
			       GFP_KERNEL);
	if (err) {
		stub_vram_free_data(vram);
		return err;
	}
	vram->num_pages = num_pages;

	return 0;
}

/* With the last reference to the DRM device, which each taken page has a part in. */
static void stub_vram_fini(struct drm_device *drm, void *data)
{
	struct stub_vram *vram = data;

	WARN_ON(vram->num_used);
	WARN_ON(!list_empty(&vram->stats.list));

	if (vram->num_pages)
		stub_vram_free(vram);
}

/**
 * stub_vram_init() - Makes the device's memory
 * @stub: the device; the memory goes with it
 * @size: bytes, may be zero
 *
 * Without the memory, or without a kernel that can migrate to it, the device
 * works on RAM alone and says so in the log.
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM; -EINTR: a signal came.
 */
int stub_vram_init(struct stub_device *stub, u64 size)
{
	struct stub_vram *vram = &stub->vram;
	struct device *dev = stub->drm.dev;
	int err;

	spin_lock_init(&vram->lock);
	INIT_LIST_HEAD(&vram->blocks);
	stub_stats_init(&vram->stats);

	size = round_up(size, SZ_2M);
	if (!size) {
		dev_info(dev, "no VRAM was asked for: working on system memory\n");
		return 0;
	}
	if (!stub_devmem_is_possible()) {
		dev_info(dev, "this kernel cannot migrate to VRAM: working on system memory\n");
		return 0;
	}

	err = stub_vram_alloc(vram, size);
	if (!err) {
		err = drmm_add_action_or_reset(&stub->drm, stub_vram_fini, vram);
		if (err)
			return err;
		err = stub_pagemap_init(stub);
		if (err)
			stub_vram_free(vram);
	}
	if (err)
		dev_info(dev, "no %llu MiB of VRAM (%pe): working on system memory\n",
			 size >> 20, ERR_PTR(err));

	return err == -EINTR ? err : 0;
}
