// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the CPU takes away from hmmptrs: invalidations, by a process that unmaps and by a file that
 * is cut, in one pass and in two; what is made good again, and what cannot be; and invalidations
 * that a test has put in between.
 */
#include <linux/mman.h>

#include "compat/mmu_notifier_compat.h"
#include "hmmptr_driver.h"

#define PAGES(n) ((n) * PAGE_SIZE)
#define SPAN_PAGES 16
#define SPAN PAGES(SPAN_PAGES)

/* A userptr over a file, bound in two pieces of eight pages, and a set of its own. */
static struct hx_ptr *bound(struct kunit *test, struct sx_file **file)
{
	struct hx_vm *vm = hx_vm_create(test);
	struct sx_fixture *f = test->priv;
	struct hx_ptr *p = hx_ptr_create(test, vm, f->start, SPAN);

	*file = sx_file_create(test, 0);
	sx_map_file(test, f->start, SPAN, PROT_READ | PROT_WRITE, MAP_SHARED, *file);
	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, PAGES(8), true), 0);
	KUNIT_ASSERT_EQ(test, hx_use(p, f->start + PAGES(8), PAGES(8), true), 0);
	hx_expect_bound(test, p, f->start, SPAN);
	return p;
}

/* Invalidations -------------------------------------------------------------------------------- */

/* All of the piece goes that is met, and no other. */
static void taken(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct drm_svm_hmmptr_counters c;
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);

	KUNIT_EXPECT_TRUE(test, hx_all_valid(p->vm));
	sx_file_zap(sf, 3, 1);
	KUNIT_EXPECT_EQ(test, p->vm->starts, 1);
	KUNIT_EXPECT_EQ(test, p->vm->finishes, 1);
	KUNIT_EXPECT_EQ(test, p->vm->last_start, f->start);
	KUNIT_EXPECT_EQ(test, p->vm->last_end, f->start + PAGES(8));
	hx_expect_unbound(test, p, f->start, PAGES(8));
	KUNIT_EXPECT_FALSE(test, hx_is_valid(p, f->start, PAGE_SIZE));
	KUNIT_EXPECT_FALSE(test, hx_all_valid(p->vm));
	hx_expect_bound(test, p, f->start + PAGES(8), PAGES(8));
	KUNIT_EXPECT_TRUE(test, hx_is_valid(p, f->start + PAGES(8), PAGES(8)));
	c = hx_counters(p->vm);
	KUNIT_EXPECT_EQ(test, c.invalidations, 1);
	KUNIT_EXPECT_EQ(test, c.pieces_invalidated, 1);

	/* It has nothing left to lose. */
	sx_file_zap(sf, 3, 1);
	KUNIT_EXPECT_EQ(test, p->vm->starts, 1);
	hx_check(test, p->vm);
	hx_vm_destroy(test, p->vm);
}

static void outside(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);

	sx_map(test, f->start + SPAN, SPAN);
	sx_cpu_fill(test, f->start + SPAN, SPAN, 1);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + SPAN, SPAN), 0);
	KUNIT_EXPECT_EQ(test, p->vm->starts, 0);
	KUNIT_EXPECT_EQ(test, hx_counters(p->vm).invalidations, 0);
	KUNIT_EXPECT_TRUE(test, hx_is_valid(p, f->start, SPAN));

	/* Both pieces, in one event. */
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + PAGES(7), PAGES(2)), 0);
	KUNIT_EXPECT_EQ(test, p->vm->starts, 1);
	KUNIT_EXPECT_EQ(test, p->vm->last_start, f->start);
	KUNIT_EXPECT_EQ(test, p->vm->last_end, f->start + SPAN);
	KUNIT_EXPECT_EQ(test, hx_counters(p->vm).pieces_invalidated, 2);
	hx_expect_unbound(test, p, f->start, SPAN);
	hx_vm_destroy(test, p->vm);
}

static void note_valid(struct hx_ptr *p)
{
	bool *valid = p->vm->hook_arg;

	*valid = drm_svm_hmmptr_pages_valid(&p->base, p->base.start, p->base.start + PAGES(8));
}

/* Between the passes the pages are mapped still, and yet nobody may write entries for them. */
static void two_passes(struct kunit *test)
{
	bool at_start = false, at_finish = true;
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);

	p->vm->on_start = note_valid;
	p->vm->hook_arg = &at_start;
	p->vm->flushes_at_once = true;
	sx_file_zap(sf, 0, 1);
	KUNIT_EXPECT_TRUE(test, at_start);

	KUNIT_ASSERT_EQ(test, drm_svm_hmmptr_revalidate(&p->vm->set), 0);
	p->vm->on_start = NULL;
	p->vm->on_finish = note_valid;
	p->vm->hook_arg = &at_finish;
	p->vm->flushes_at_once = false;
	sx_file_zap(sf, 0, 1);
	KUNIT_EXPECT_EQ(test, at_finish, !COMPAT_TWO_PASSES);
	KUNIT_EXPECT_EQ(test, p->vm->finishes, 2);

	p->vm->on_finish = NULL;
	KUNIT_ASSERT_EQ(test, drm_svm_hmmptr_revalidate(&p->vm->set), 0);
	hx_expect_bound(test, p, p->base.start, SPAN);
	hx_check(test, p->vm);
	hx_vm_destroy(test, p->vm);
}

/* As of the OOM reaper, which comes back: to wait for the GPU is not allowed, and nothing is done. */
static void refused(struct kunit *test)
{
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);
	struct mmu_interval_notifier *mni = &p->base.notifier;
	struct mmu_interval_notifier_finish *finish = NULL;
	const struct mmu_notifier_range range = {
		.mm = p->base.mm,
		.start = p->base.start,
		.end = p->base.end,
		.event = MMU_NOTIFY_CLEAR,
	};

	KUNIT_EXPECT_FALSE(test, mni->ops->invalidate(mni, &range, mni->invalidate_seq));
	KUNIT_EXPECT_FALSE(test, compat_invalidate(mni, &range, mni->invalidate_seq, &finish));
	KUNIT_EXPECT_NULL(test, finish);
	KUNIT_EXPECT_EQ(test, p->vm->starts, 0);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(p->vm));
	hx_expect_bound(test, p, p->base.start, SPAN);
	hx_check(test, p->vm);
	hx_vm_destroy(test, p->vm);
}

/* What was populated and not mapped is not true any more, and the GPU has nothing to lose. */
static void before_the_map(struct kunit *test)
{
	struct hx_vm *vm = hx_vm_create(test);
	struct sx_fixture *f = test->priv;
	struct hx_ptr *p = hx_ptr_create(test, vm, f->start, SPAN);

	sx_map(test, f->start, SPAN);
	KUNIT_ASSERT_EQ(test, drm_svm_hmmptr_populate(&p->base, f->start, f->start + SPAN, true), 0);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, SPAN), 0);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_map_dma_pages(&p->base, f->start, f->start + SPAN),
			-EAGAIN);
	KUNIT_EXPECT_EQ(test, vm->starts, 0);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(vm));

	/* Other memory in its place. */
	sx_map(test, f->start, SPAN);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_map_dma_pages(&p->base, f->start, f->start + SPAN),
			-EAGAIN);
	KUNIT_EXPECT_EQ(test, hx_use(p, f->start, SPAN, true), 0);
	hx_expect_bound(test, p, f->start, SPAN);
	hx_vm_destroy(test, vm);
}

/* Two hmmptrs of a set over the same memory, and one of another set. */
static void several(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct hx_vm *other = hx_vm_create(test);
	struct hx_ptr *a, *b, *c;
	struct sx_file *sf;

	a = bound(test, &sf);
	b = hx_ptr_create(test, a->vm, f->start + PAGES(4), PAGES(8));
	c = hx_ptr_create(test, other, f->start, SPAN);
	KUNIT_ASSERT_EQ(test, hx_use(b, b->base.start, PAGES(8), true), 0);
	KUNIT_ASSERT_EQ(test, hx_use(c, f->start, SPAN, true), 0);

	sx_file_zap(sf, 4, 1);
	hx_expect_unbound(test, a, f->start, PAGES(8));
	hx_expect_unbound(test, b, b->base.start, PAGES(8));
	hx_expect_unbound(test, c, f->start, SPAN);
	KUNIT_EXPECT_FALSE(test, hx_all_valid(other));

	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&a->vm->set), 0);
	KUNIT_EXPECT_EQ(test, a->vm->rebinds, 2);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(a->vm));
	hx_expect_bound(test, a, f->start, SPAN);
	hx_expect_bound(test, b, b->base.start, PAGES(8));
	KUNIT_EXPECT_FALSE(test, hx_all_valid(other));
	hx_expect_unbound(test, c, f->start, SPAN);
	hx_check(test, a->vm);
	hx_vm_destroy(test, a->vm);
	hx_vm_destroy(test, other);
}

/* Making good ------------------------------------------------------------------------------------ */

static void made_good(struct kunit *test)
{
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);
	struct hx_vm *vm = p->vm;

	/* Nothing to do. */
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
	KUNIT_EXPECT_EQ(test, vm->rebinds, 0);

	sx_file_zap(sf, 0, SPAN_PAGES);
	KUNIT_EXPECT_FALSE(test, hx_all_valid(vm));
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
	KUNIT_EXPECT_EQ(test, vm->rebinds, 2);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(vm));
	hx_expect_bound(test, p, p->base.start, SPAN);
	KUNIT_EXPECT_TRUE(test, hx_is_writable(p, p->base.start));

	/* What was given up is not. */
	drm_svm_hmmptr_unmap_dma_pages(&p->base, p->base.start, p->base.start + PAGES(8));
	sx_file_zap(sf, 0, SPAN_PAGES);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
	KUNIT_EXPECT_EQ(test, vm->rebinds, 3);
	hx_expect_unbound(test, p, p->base.start, PAGES(8));
	hx_expect_bound(test, p, p->base.start + PAGES(8), PAGES(8));
	hx_check(test, vm);
	hx_vm_destroy(test, vm);
}

static void zap_once(struct hx_ptr *p)
{
	struct sx_file *sf = p->vm->hook_arg;

	p->vm->on_rebind = NULL;
	sx_file_zap(sf, 0, 1);
}

/* An invalidation comes when the entries are about to be written: it is all done again. */
static void taken_while_made_good(struct kunit *test)
{
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);

	sx_file_zap(sf, 0, 1);
	p->vm->on_rebind = zap_once;
	p->vm->hook_arg = sf;
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&p->vm->set), 0);
	KUNIT_EXPECT_EQ(test, p->vm->rebinds, 2);
	KUNIT_EXPECT_EQ(test, p->vm->starts, 2);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(p->vm));
	hx_expect_bound(test, p, p->base.start, SPAN);
	hx_check(test, p->vm);
	hx_vm_destroy(test, p->vm);
}

/* What the process has unmapped is given up, page by page, and all around it is made good. */
static void lost(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);
	struct hx_vm *vm = p->vm;
	unsigned int rebinds;

	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + PAGES(6), PAGES(1)), 0);
	hx_expect_unbound(test, p, f->start, PAGES(8));
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
	KUNIT_EXPECT_EQ(test, hx_counters(vm).lost, 1);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(vm));
	hx_expect_bound(test, p, f->start, PAGES(6));
	hx_expect_unbound(test, p, f->start + PAGES(6), PAGES(1));
	hx_expect_bound(test, p, f->start + PAGES(7), PAGES(9));
	hx_check(test, vm);

	/* For good: it is not tried again, until the driver wants it. */
	rebinds = vm->rebinds;
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
	KUNIT_EXPECT_EQ(test, hx_counters(vm).lost, 1);
	KUNIT_EXPECT_EQ(test, vm->rebinds, rebinds);
	KUNIT_EXPECT_EQ(test, hx_use(p, f->start, PAGES(8), true), -EFAULT);
	KUNIT_EXPECT_EQ(test, hx_use(p, f->start + PAGES(7), PAGES(1), true), 0);
	sx_map(test, f->start + PAGES(6), PAGES(1));
	KUNIT_EXPECT_EQ(test, hx_use(p, f->start, PAGES(8), true), 0);
	hx_expect_bound(test, p, f->start, SPAN);
	hx_check(test, vm);
	hx_vm_destroy(test, vm);
}

/* Where nothing at all is left it goes in one. */
static void all_lost(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);
	struct hx_vm *vm = p->vm;

	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, SPAN), 0);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
	KUNIT_EXPECT_EQ(test, hx_counters(vm).lost, 2);
	KUNIT_EXPECT_EQ(test, vm->rebinds, 0);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(vm));
	hx_expect_unbound(test, p, f->start, SPAN);
	hx_vm_destroy(test, vm);
}

/* What must not be written any more is there to be read. */
static void made_read_only(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);
	unsigned int i;

	KUNIT_EXPECT_TRUE(test, hx_is_writable(p, f->start));
	sx_map_file(test, f->start, PAGES(8), PROT_READ, MAP_SHARED, sf);
	hx_expect_unbound(test, p, f->start, PAGES(8));
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&p->vm->set), 0);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(p->vm));
	hx_expect_bound(test, p, f->start, SPAN);
	for (i = 0; i < SPAN_PAGES; i++)
		KUNIT_EXPECT_EQ(test, hx_is_writable(p, f->start + PAGES(i)), i >= 8);
	hx_check(test, p->vm);
	hx_vm_destroy(test, p->vm);
}

/* An error of the driver's ends it, whatever it is, and the next call goes on with what is left. */
static void driver_fails(struct kunit *test)
{
	static const int errors[] = { -EIO, -EFAULT, -EPERM, -EOPNOTSUPP, -ENOMEM };
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);
	struct hx_vm *vm = p->vm;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		sx_file_zap(sf, 0, SPAN_PAGES);
		vm->rebind_error = errors[i];
		KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), errors[i]);
		KUNIT_EXPECT_FALSE(test, hx_all_valid(vm));
		vm->rebind_error = 0;
		KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
		KUNIT_EXPECT_TRUE(test, hx_all_valid(vm));
		hx_expect_bound(test, p, p->base.start, SPAN);
	}
	KUNIT_EXPECT_EQ(test, hx_counters(vm).lost, 0);
	hx_vm_destroy(test, vm);
}

/* It is taken again and again: a second, and no more. */
static void never_ends(struct kunit *test)
{
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);

	sx_file_zap(sf, 0, 1);
	p->vm->rebind_error = -EAGAIN;
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&p->vm->set), -EBUSY);
	KUNIT_EXPECT_FALSE(test, hx_all_valid(p->vm));
	p->vm->rebind_error = 0;
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&p->vm->set), 0);
	hx_expect_bound(test, p, p->base.start, SPAN);
	hx_check(test, p->vm);
	hx_vm_destroy(test, p->vm);
}

/* Somebody else maps what was taken; the entries that it had are missing as before. */
static void mapped_by_hand(struct kunit *test)
{
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);
	struct hx_vm *vm = p->vm;

	sx_file_zap(sf, 0, 1);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_get_pages(&p->base, p->base.start,
						       p->base.start + PAGES(8), true), 0);
	KUNIT_EXPECT_TRUE(test, hx_is_valid(p, p->base.start, PAGES(8)));
	KUNIT_EXPECT_FALSE(test, hx_all_valid(vm));
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
	hx_expect_bound(test, p, p->base.start, SPAN);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(vm));
	hx_vm_destroy(test, vm);
}

/* Released and freed while it waits to be made good. */
static void released_on_a_list(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);
	struct hx_vm *vm = p->vm;
	struct hx_ptr *b = hx_ptr_create(test, vm, f->start, SPAN);

	KUNIT_ASSERT_EQ(test, hx_use(b, f->start, SPAN, true), 0);
	sx_file_zap(sf, 0, 1);
	KUNIT_EXPECT_FALSE(test, hx_all_valid(vm));
	/* On the second list, both of them. */
	vm->rebind_error = -EIO;
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), -EIO);
	vm->rebind_error = 0;

	hx_ptr_put(p);
	KUNIT_EXPECT_EQ(test, vm->live, 1);
	KUNIT_EXPECT_FALSE(test, hx_all_valid(vm));
	drm_svm_hmmptr_release(&b->base);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(vm));
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
	hx_ptr_put(b);
	KUNIT_EXPECT_EQ(test, vm->live, 0);
	hx_vm_destroy(test, vm);
}

static void put_in_rebind(struct hx_ptr *p)
{
	p->vm->on_rebind = NULL;
	/* Not the last one: the revalidation has one, and this is the driver's. */
	hx_ptr_put(p);
}

/* The last reference goes in the revalidation. */
static void freed_by_revalidation(struct kunit *test)
{
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);
	struct hx_vm *vm = p->vm;

	sx_file_zap(sf, 0, 1);
	vm->on_rebind = put_in_rebind;
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
	KUNIT_EXPECT_EQ(test, vm->live, 0);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(vm));
	hx_vm_destroy(test, vm);
}

/* In between, for tests ---------------------------------------------------------------------------- */

static void injected(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct sx_file *sf;
	struct hx_ptr *p = bound(test, &sf);
	struct hx_vm *vm = p->vm;

	/* Between the steps. */
	drm_svm_hmmptr_forget(&p->base, f->start, f->start + PAGES(8));
	KUNIT_ASSERT_EQ(test, drm_svm_hmmptr_populate(&p->base, f->start, f->start + PAGES(8),
						      true), 0);
	drm_svm_hmmptr_inject(&p->base, f->start, f->start + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_map_dma_pages(&p->base, f->start,
							   f->start + PAGES(8)), -EAGAIN);
	KUNIT_EXPECT_EQ(test, hx_use(p, f->start, PAGES(8), true), 0);

	/* When it is bound. */
	KUNIT_EXPECT_TRUE(test, hx_all_valid(vm));
	drm_svm_hmmptr_inject(&p->base, f->start + PAGES(8), f->start + SPAN);
	hx_expect_unbound(test, p, f->start + PAGES(8), PAGES(8));
	KUNIT_EXPECT_FALSE(test, hx_all_valid(vm));
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
	hx_expect_bound(test, p, f->start, SPAN);
	KUNIT_EXPECT_EQ(test, hx_counters(vm).injected, 2);

	/* Not of it. */
	drm_svm_hmmptr_inject(&p->base, f->start, f->start + SPAN + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, hx_counters(vm).injected, 2);
	hx_expect_bound(test, p, f->start, SPAN);
	hx_vm_destroy(test, vm);
}

static void injected_by_the_set(struct kunit *test)
{
	struct hx_vm *vm = hx_vm_create(test);
	struct sx_fixture *f = test->priv;
	struct hx_ptr *p = hx_ptr_create(test, vm, f->start, SPAN);

	sx_map(test, f->start, SPAN);
	drm_svm_hmmptr_set_inject(&vm->set, 1);
	KUNIT_ASSERT_EQ(test, drm_svm_hmmptr_populate(&p->base, f->start, f->start + SPAN, true), 0);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_map_dma_pages(&p->base, f->start, f->start + SPAN),
			-EAGAIN);
	KUNIT_EXPECT_EQ(test, hx_counters(vm).injected, 1);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_get_pages(&p->base, f->start, f->start + SPAN, true),
			-EBUSY);
	KUNIT_EXPECT_FALSE(test, hx_is_valid(p, f->start, SPAN));

	drm_svm_hmmptr_set_inject(&vm->set, 2);
	KUNIT_EXPECT_EQ(test, hx_use(p, f->start, SPAN, true), 0);
	hx_expect_bound(test, p, f->start, SPAN);

	drm_svm_hmmptr_inject(&p->base, f->start, f->start + SPAN);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&vm->set), 0);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(vm));
	hx_expect_bound(test, p, f->start, SPAN);
	drm_svm_hmmptr_set_inject(&vm->set, 0);
	hx_check(test, vm);
	hx_vm_destroy(test, vm);
}

static void hmmptr_exit(struct kunit *test)
{
	hx_exit(test);
	sx_exit(test);
}

static struct kunit_case hmmptr_inval_cases[] = {
	KUNIT_CASE(taken),
	KUNIT_CASE(outside),
	KUNIT_CASE(two_passes),
	KUNIT_CASE(refused),
	KUNIT_CASE(before_the_map),
	KUNIT_CASE(several),
	KUNIT_CASE(made_good),
	KUNIT_CASE(taken_while_made_good),
	KUNIT_CASE(lost),
	KUNIT_CASE(all_lost),
	KUNIT_CASE(made_read_only),
	KUNIT_CASE(driver_fails),
	KUNIT_CASE(never_ends),
	KUNIT_CASE(mapped_by_hand),
	KUNIT_CASE(released_on_a_list),
	KUNIT_CASE(freed_by_revalidation),
	KUNIT_CASE(injected),
	KUNIT_CASE(injected_by_the_set),
	{}
};

static struct kunit_suite hmmptr_inval_suite = {
	.name = "dsvm_hmmptr_inval",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = sx_init,
	.exit = hmmptr_exit,
	.test_cases = hmmptr_inval_cases,
};
kunit_test_suite(hmmptr_inval_suite);
