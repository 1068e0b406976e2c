// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See two_pass.h.
 */
#include <linux/bitops.h>
#include <linux/slab.h>

#include "two_pass.h"

/*
 * Events that one notifier can have between their passes at a time. More have to
 * be different threads that change different parts of what it covers; theirs
 * are finished at once.
 */
#define FINISH_SLOTS 2

/* Bit of the flags of a slot: an event is in it. */
#define SLOT_TAKEN 0

struct drm_svm_finish *dsvm_slots_alloc(void)
{
	return kcalloc(FINISH_SLOTS, sizeof(struct drm_svm_finish), GFP_KERNEL_ACCOUNT);
}

struct drm_svm_finish *dsvm_slot_take(struct drm_svm_finish *slots,
				      const struct mmu_notifier_range *mmu_range)
{
	unsigned int i;

	for (i = 0; i < FINISH_SLOTS; i++) {
		if (!test_and_set_bit_lock(SLOT_TAKEN, &slots[i].flags)) {
			slots[i].mmu_range = *mmu_range;
			return &slots[i];
		}
	}
	return NULL;
}

void dsvm_slot_release(struct drm_svm_finish *slot)
{
	clear_bit_unlock(SLOT_TAKEN, &slot->flags);
}
