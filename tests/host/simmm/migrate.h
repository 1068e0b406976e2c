// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What the parts of a migration share: migrate.cc has the phases and says what they do,
// collect.cc the first half of the first one, switch.cc the second one, device_pages.cc what pages
// are made with.
#ifndef DSVM_SIMMM_MIGRATE_H
#define DSVM_SIMMM_MIGRATE_H

#include "tests/host/simmm/os.h"

namespace dsvm::sim::migration {

// An entry of src[] or dst[] (kernel: include/linux/migrate.h).
inline constexpr usize kValid = DSVM_ENTRY_PAGE;
inline constexpr usize kMigrate = DSVM_ENTRY_MOVES;
inline constexpr usize kWrite = 1ul << 3;
inline constexpr usize kCompound = DSVM_ENTRY_HUGE;
inline constexpr u32 kPfnShift = DSVM_ENTRY_PFN_SHIFT;

// The page of an entry; nullptr: there is none.
Page *page_of(usize entry);
usize encode(const Page &page, usize flags);
bool is_device(const Page &page);
// How many pages an entry stands for.
u32 pages_of(usize entry);
bool is_locked_by_us(Page &page);
// A CPU fault's page comes locked on kernels that lock it, and stays so.
bool is_locked_by_fault(const dsvm_migrate_span &span, const Page &page);
void unlock_and_put(Page &page);

// The references that a page may have which nothing but a migration holds.
u32 expected_refs(const dsvm_migrate_span &span, const Page &page);

// The second phase.
void switch_pages(dsvm_migrate_span &span, bool by_frames);

// Fills in src[]: pages with a reference and locked, and holes. Between the start and the end of
// a MIGRATE event; the mm's lock is held.
void collect(dsvm_migrate_span &span, Mm &mm);

} // namespace dsvm::sim::migration

#endif // DSVM_SIMMM_MIGRATE_H
