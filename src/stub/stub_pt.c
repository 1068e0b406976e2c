// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The GPU's page table. An entry of an upper level is the physical address of
 * a table and STUB_PTE_VALID; one of the lowest level is described by
 * STUB_PTE_*.
 */
#include <linux/align.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "stub_pt.h"

#define STUB_PT_LEVELS	4
#define STUB_PT_BITS	9
#define STUB_PT_ENTRIES	(1u << STUB_PT_BITS)

/* Pages of the GPU are the CPU's; the layout above is made for 4 KiB. */
static_assert(PAGE_SHIFT == 12);
static_assert(STUB_PT_ENTRIES * sizeof(u64) == PAGE_SIZE);

/* Bytes that one entry of a level covers; level 0 holds the pages. */
static u64 stub_pt_span(unsigned int level)
{
	return 1ull << (PAGE_SHIFT + level * STUB_PT_BITS);
}

static unsigned int stub_pt_index(u64 va, unsigned int level)
{
	return (va >> (PAGE_SHIFT + level * STUB_PT_BITS)) & (STUB_PT_ENTRIES - 1);
}

static u64 *stub_pt_child(u64 entry)
{
	return phys_to_virt(entry & STUB_PTE_ADDR);
}

/*
 * The lowest-level entry of @va, or NULL if there is no table for it. *@next
 * is the first address that this says nothing about: the end of that table, or
 * of the hole.
 */
static u64 *stub_pt_walk(const struct stub_pt *pt, u64 va, u64 *next)
{
	u64 *table = pt->root;
	unsigned int level;

	for (level = STUB_PT_LEVELS - 1; level; level--) {
		/* Pairs with the release in stub_pt_add_table(). */
		u64 entry = READ_ONCE(table[stub_pt_index(va, level)]);

		*next = ALIGN_DOWN(va, stub_pt_span(level)) + stub_pt_span(level);
		if (!(entry & STUB_PTE_VALID))
			return NULL;
		table = stub_pt_child(entry);
	}

	return &table[stub_pt_index(va, 0)];
}

/**
 * stub_pt_init() - Makes an empty page table
 * @pt: the page table
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int stub_pt_init(struct stub_pt *pt)
{
	init_rwsem(&pt->tlb_lock);
	atomic_long_set(&pt->num_tables, 0);
	pt->root = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);

	return pt->root ? 0 : -ENOMEM;
}

static void stub_pt_free_table(u64 *table, unsigned int level)
{
	unsigned int i;

	for (i = 0; level && i < STUB_PT_ENTRIES; i++)
		if (table[i] & STUB_PTE_VALID)
			stub_pt_free_table(stub_pt_child(table[i]), level - 1);

	free_page((unsigned long)table);
	cond_resched();
}

/**
 * stub_pt_fini() - Frees a page table
 * @pt: the page table; nobody uses it any more
 */
void stub_pt_fini(struct stub_pt *pt)
{
	stub_pt_free_table(pt->root, STUB_PT_LEVELS - 1);
	pt->root = NULL;
}

/*
 * How many tables a page table may have. A span of many terabytes is a few bytes
 * for who asks for it, and nobody else would stop it before memory is full of
 * tables: so one page table gets an eighth of it.
 */
static unsigned long stub_pt_limit(void)
{
	return totalram_pages() / 8;
}

/* Whether the tables that a span needs are within that, before any is made. */
static bool stub_pt_may_grow(const struct stub_pt *pt, u64 start, u64 end)
{
	unsigned long limit = stub_pt_limit(), have = atomic_long_read(&pt->num_tables);
	u64 missing = (end - start) / stub_pt_span(1);
	u64 va, next;

	for (va = start; va < end; va = next) {
		if (stub_pt_walk(pt, va, &next))
			missing--;
		cond_resched();
	}

	return have <= limit && missing <= limit - have;
}

/* Makes the table that an entry is to lead to, if nobody else does. 0 or -ENOMEM. */
static int stub_pt_add_table(struct stub_pt *pt, u64 *slot)
{
	u64 *child = NULL;

	if (atomic_long_inc_return(&pt->num_tables) <= stub_pt_limit())
		child = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!child) {
		atomic_long_dec(&pt->num_tables);
		return -ENOMEM;
	}

	/* The GPU may follow at once: empty it is then. */
	if (cmpxchg_release(slot, 0, virt_to_phys(child) | STUB_PTE_VALID)) {
		atomic_long_dec(&pt->num_tables);
		free_page((unsigned long)child);
	}

	return 0;
}

/**
 * stub_pt_prepare() - Makes the tables that a span needs
 * @pt: the page table
 * @start: first byte
 * @end: first byte after the span
 *
 * Maps nothing yet. A failure leaves tables behind that a later call finds.
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM, also for more tables than a page table should have;
 * -EINTR: the caller is being killed.
 */
int stub_pt_prepare(struct stub_pt *pt, u64 start, u64 end)
{
	unsigned int level;
	u64 va;
	int err;

	start = ALIGN_DOWN(start, stub_pt_span(1));
	end = ALIGN(end, stub_pt_span(1));
	if (!stub_pt_may_grow(pt, start, end))
		return -ENOMEM;

	for (va = start; va < end; va += stub_pt_span(1)) {
		u64 *table = pt->root;

		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();

		for (level = STUB_PT_LEVELS - 1; level; level--) {
			u64 *slot = &table[stub_pt_index(va, level)];

			if (!(READ_ONCE(*slot) & STUB_PTE_VALID)) {
				err = stub_pt_add_table(pt, slot);
				if (err)
					return err;
			}
			table = stub_pt_child(READ_ONCE(*slot));
		}
	}

	return 0;
}

/* Writes entries: of the pages at @each, or of a run that begins at @addr. */
static void stub_pt_write(struct stub_pt *pt, u64 va, u64 addr, const u64 *each,
			  unsigned long npages, u64 flags)
{
	u64 end = va + npages * PAGE_SIZE, next;

	for (; va < end; va = next) {
		u64 *slot = stub_pt_walk(pt, va, &next);

		next = min(next, end);
		if (WARN_ON_ONCE(!slot))
			return;
		for (; va < next; va += PAGE_SIZE, addr += PAGE_SIZE)
			WRITE_ONCE(*slot++, (each ? *each++ : addr) | flags | STUB_PTE_VALID);
		cond_resched();
	}
}

/**
 * stub_pt_map() - Writes the entries of a run of pages
 * @pt: the page table
 * @va: first address; stub_pt_prepare() was called for all of the run
 * @addr: DMA address of the first page, or its offset in VRAM, or what leads to
 *	the VRAM of another device
 * @npages: number of pages
 * @flags: STUB_PTE_WRITE, STUB_PTE_VRAM, STUB_PTE_PEER, STUB_PTE_SPARSE
 *
 * What an entry led to before must not be given away until stub_pt_flush().
 *
 * Context: in the mirror, the range's lock and its window's; in the bind window,
 * &stub_vm.bind.pt_lock. May sleep, allocates nothing.
 */
void stub_pt_map(struct stub_pt *pt, u64 va, u64 addr, unsigned long npages,
		 u64 flags)
{
	stub_pt_write(pt, va, addr, NULL, npages, flags);
}

/**
 * stub_pt_map_pages() - Writes the entries of pages that lie anywhere
 * @pt: the page table
 * @va: first address; stub_pt_prepare() was called for all of them
 * @addr: DMA address of each page, or its offset in VRAM
 * @npages: number of pages
 * @flags: STUB_PTE_WRITE, STUB_PTE_VRAM
 *
 * Otherwise as stub_pt_map().
 */
void stub_pt_map_pages(struct stub_pt *pt, u64 va, const u64 *addr,
		       unsigned long npages, u64 flags)
{
	stub_pt_write(pt, va, 0, addr, npages, flags);
}

/**
 * stub_pt_zap() - Takes the entries of a span away
 * @pt: the page table
 * @start: first byte
 * @end: first byte after the span
 *
 * The GPU may still use what it has read before until stub_pt_flush().
 *
 * Context: in the mirror, the window's lock for writing, or for reading along
 * with the range's lock; in the bind window, &stub_vm.bind.pt_lock, or that of the
 * userptrs for writing. May sleep, allocates nothing.
 * Return: how many there were.
 */
unsigned long stub_pt_zap(struct stub_pt *pt, u64 start, u64 end)
{
	unsigned long zapped = 0;
	u64 va, next;

	for (va = start; va < end; va = next) {
		u64 *slot = stub_pt_walk(pt, va, &next);

		next = min(next, end);
		for (; slot && va < next; va += PAGE_SIZE, slot++) {
			if (!*slot)
				continue;
			WRITE_ONCE(*slot, 0);
			zapped++;
		}
		cond_resched();
	}

	return zapped;
}

/**
 * stub_pt_flush() - Waits until no entry is in use that has been zapped
 * @pt: the page table
 *
 * Context: sleeps for as long as it takes the GPU to touch a page.
 */
void stub_pt_flush(struct stub_pt *pt)
{
	down_write(&pt->tlb_lock);
	up_write(&pt->tlb_lock);
}

/**
 * stub_pt_entry() - Looks an address up
 * @pt: the page table
 * @va: the address
 *
 * Context: any. To use what is found: @pt->tlb_lock for reading, before the
 * call and until the access is done.
 * Return: the entry, 0 if there is none.
 */
u64 stub_pt_entry(const struct stub_pt *pt, u64 va)
{
	u64 next;
	u64 *slot = stub_pt_walk(pt, va, &next);

	return slot ? READ_ONCE(*slot) : 0;
}

/**
 * stub_pt_count() - Counts the pages that are mapped in a span
 * @pt: the page table
 * @start: first byte
 * @end: first byte after the span
 * @flags: STUB_PTE_WRITE for those only that the GPU may write to; or 0
 *
 * Context: may sleep.
 * Return: number of pages.
 */
unsigned long stub_pt_count(const struct stub_pt *pt, u64 start, u64 end, u64 flags)
{
	unsigned long count = 0;
	u64 va, next;

	flags |= STUB_PTE_VALID;
	for (va = start; va < end; va = next) {
		u64 *slot = stub_pt_walk(pt, va, &next);

		next = min(next, end);
		for (; slot && va < next; va += PAGE_SIZE)
			count += (READ_ONCE(*slot++) & flags) == flags;
		cond_resched();
	}

	return count;
}
