/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The GPU's page table: four levels of 512 entries over pages of 4 KiB, which
 * makes 48 bits. Tables are made ahead of an update (stub_pt_prepare()) and
 * stay until the page table goes, so neither writing nor zapping an entry ever
 * allocates, and a walk needs no lock to find its way. Spans that do not overlap
 * may be prepared, written and zapped at the same time. It costs 4 KiB for each
 * 2 MiB of addresses that the GPU has ever used, and little above that.
 */
#ifndef STUB_PT_H
#define STUB_PT_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/rwsem.h>
#include <linux/types.h>

#define STUB_PTE_VALID	BIT_ULL(0)
/* The GPU may write to the page. */
#define STUB_PTE_WRITE	BIT_ULL(1)
/* The address is an offset in VRAM and not a DMA address. */
#define STUB_PTE_VRAM	BIT_ULL(2)
/* No memory and no address: reads give zero, writes vanish. */
#define STUB_PTE_SPARSE	BIT_ULL(3)
/* The VRAM is another device's: the address is one of STUB_PROTO_PEER. */
#define STUB_PTE_PEER	BIT_ULL(4)
#define STUB_PTE_ADDR	GENMASK_ULL(51, 12)

/**
 * struct stub_pt - A page table
 * @root: the table of the highest level; immutable
 * @num_tables: tables below it
 * @tlb_lock: the GPU holds it for reading from the moment it looks at an entry
 *	until the access is done, which includes no wait. What is a TLB flush
 *	for hardware is to take it for writing: entries read before are not in
 *	use any more then.
 */
struct stub_pt {
	u64 *root;
	atomic_long_t num_tables;
	struct rw_semaphore tlb_lock;
};

int stub_pt_init(struct stub_pt *pt);
void stub_pt_fini(struct stub_pt *pt);
int stub_pt_prepare(struct stub_pt *pt, u64 start, u64 end);
void stub_pt_map(struct stub_pt *pt, u64 va, u64 addr, unsigned long npages,
		 u64 flags);
void stub_pt_map_pages(struct stub_pt *pt, u64 va, const u64 *addr,
		       unsigned long npages, u64 flags);
unsigned long stub_pt_zap(struct stub_pt *pt, u64 start, u64 end);
void stub_pt_flush(struct stub_pt *pt);
u64 stub_pt_entry(const struct stub_pt *pt, u64 va);
unsigned long stub_pt_count(const struct stub_pt *pt, u64 start, u64 end, u64 flags);

/**
 * stub_pt_allows() - Whether an entry lets an access through
 * @entry: the entry
 * @write: whether the access is a write
 *
 * Return: true if there is no fault.
 */
static inline bool stub_pt_allows(u64 entry, bool write)
{
	return (entry & STUB_PTE_VALID) && (!write || (entry & STUB_PTE_WRITE));
}

#endif /* STUB_PT_H */
