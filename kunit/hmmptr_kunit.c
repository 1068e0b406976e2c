// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * hmmptrs of RAM: which there can be, what is populated and mapped of them, for which access, what
 * they cost, and what the kernel is told of their pages. What the CPU takes away again is in
 * hmmptr_inval_kunit.c.
 */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/vmstat.h>

#include "hmmptr_driver.h"

#define PAGES(n) ((n) * PAGE_SIZE)
#define SPAN_PAGES 16
#define SPAN PAGES(SPAN_PAGES)

/* A userptr over some memory, each page of which is there. */
static struct hx_ptr *filled(struct kunit *test, unsigned long bytes)
{
	struct sx_fixture *f = test->priv;

	sx_map(test, f->start, bytes);
	sx_cpu_fill(test, f->start, bytes, 1);
	return hx_ptr_create(test, hx_vm_create(test), f->start, bytes);
}

static int populate(struct hx_ptr *p, unsigned int first, unsigned int count, bool write)
{
	unsigned long start = p->base.start + PAGES(first);

	return drm_svm_hmmptr_populate(&p->base, start, start + PAGES(count), write);
}

static int map(struct hx_ptr *p, unsigned int first, unsigned int count)
{
	unsigned long start = p->base.start + PAGES(first);

	return drm_svm_hmmptr_map_dma_pages(&p->base, start, start + PAGES(count));
}

static bool is_valid(struct hx_ptr *p, unsigned int first, unsigned int count)
{
	return hx_is_valid(p, p->base.start + PAGES(first), PAGES(count));
}

/* Making ------------------------------------------------------------------------------------- */

static void init_errors(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	const struct drm_svm_hmmptr_args bad[] = {
		{ .start = f->start, .end = f->start },
		{ .start = f->start + PAGE_SIZE, .end = f->start },
		{ .start = f->start + 1, .end = f->start + PAGE_SIZE },
		{ .start = f->start, .end = f->start + PAGE_SIZE - 1 },
		{ .start = f->start, .end = 0 },
	};
	struct hx_vm *vm = hx_vm_create(test);
	struct hx_ptr *p = NULL;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ_MSG(test, hx_ptr_make(vm, &bad[i], &p), -EINVAL, "%u", i);
	KUNIT_EXPECT_NULL(test, p);
	hx_vm_destroy(test, vm);
}

/* Without a device, or an address space: this thread has none unless it enters one. */
static void init_without(struct kunit *test)
{
	struct drm_svm_hmmptr *hmmptr = kunit_kzalloc(test, sizeof(*hmmptr), GFP_KERNEL);
	struct hx_vm *vm = hx_vm_create(test);
	struct sx_fixture *f = test->priv;
	struct drm_svm_hmmptr_args args = {
		.mm = f->mm,
		.start = f->start,
		.end = f->start + SPAN,
	};
	bool entered;

	KUNIT_ASSERT_NOT_NULL(test, hmmptr);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_init(hmmptr, &vm->set, &args), -EINVAL);
	args.drm = f->drm[0];
	args.mm = NULL;
	if (!current->mm)
		KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_init(hmmptr, &vm->set, &args), -EINVAL);

	entered = sx_enter(f);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_init(hmmptr, &vm->set, &args), 0);
	sx_leave(f, entered);
	KUNIT_EXPECT_PTR_EQ(test, hmmptr->mm, f->mm);
	/* The set's free() knows hx_ptrs alone. */
	drm_svm_hmmptr_release(hmmptr);
	KUNIT_EXPECT_EQ(test, kref_read(&hmmptr->refcount), 1);
	mmdrop(hmmptr->mm);
	kfree(hmmptr->finish);
	hx_vm_destroy(test, vm);
}

static void references(struct kunit *test)
{
	struct hx_ptr *p = filled(test, SPAN);
	struct hx_vm *vm = p->vm;

	KUNIT_EXPECT_PTR_EQ(test, drm_svm_hmmptr_get(&p->base), &p->base);
	hx_ptr_put(p);
	KUNIT_EXPECT_EQ(test, vm->live, 1);
	/* It is as good as before. */
	KUNIT_EXPECT_EQ(test, populate(p, 0, SPAN_PAGES, true), 0);
	drm_svm_hmmptr_put(&p->base);
	KUNIT_EXPECT_EQ(test, vm->live, 0);
	hx_vm_destroy(test, vm);
}

static void released(struct kunit *test)
{
	struct hx_ptr *p = filled(test, SPAN);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, SPAN, true), 0);
	drm_svm_hmmptr_release(&p->base);
	hx_expect_unbound(test, p, f->start, SPAN);
	KUNIT_EXPECT_EQ(test, p->vm->starts, 1);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(p->vm));
	KUNIT_EXPECT_EQ(test, p->base.core.populated, 0);
	KUNIT_EXPECT_FALSE(test, is_valid(p, 0, 1));
	KUNIT_EXPECT_EQ(test, populate(p, 0, 1, false), -ENODEV);
	KUNIT_EXPECT_EQ(test, map(p, 0, 1), -ENODEV);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_get_pages(&p->base, f->start, f->start + PAGE_SIZE,
						       false), -ENODEV);
	drm_svm_hmmptr_unmap_dma_pages(&p->base, f->start, f->start + SPAN);
	drm_svm_hmmptr_forget(&p->base, f->start, f->start + SPAN);
	drm_svm_hmmptr_inject(&p->base, f->start, f->start + SPAN);
	drm_svm_hmmptr_release(&p->base);

	/* Nobody hears of it. */
	KUNIT_EXPECT_EQ(test, sx_munmap(f, f->start, SPAN), 0);
	KUNIT_EXPECT_EQ(test, p->vm->starts, 1);
	KUNIT_EXPECT_EQ(test, hx_counters(p->vm).invalidations, 0);
	hx_vm_destroy(test, p->vm);
}

/* Populating and mapping --------------------------------------------------------------------- */

static void in_steps(struct kunit *test)
{
	struct hx_ptr *p = filled(test, SPAN);
	struct sx_fixture *f = test->priv;

	KUNIT_EXPECT_FALSE(test, is_valid(p, 0, SPAN_PAGES));
	KUNIT_EXPECT_EQ(test, map(p, 0, SPAN_PAGES), -EAGAIN);
	KUNIT_EXPECT_EQ(test, populate(p, 0, SPAN_PAGES, true), 0);
	KUNIT_EXPECT_FALSE(test, is_valid(p, 0, SPAN_PAGES));
	KUNIT_EXPECT_EQ(test, hx_bind(p, f->start, SPAN), -EAGAIN);
	KUNIT_EXPECT_EQ(test, map(p, 0, SPAN_PAGES), 0);
	KUNIT_EXPECT_TRUE(test, is_valid(p, 0, SPAN_PAGES));
	KUNIT_EXPECT_TRUE(test, is_valid(p, 3, 1));
	KUNIT_EXPECT_EQ(test, hx_bind(p, f->start, SPAN), 0);
	hx_expect_bound(test, p, f->start, SPAN);
	hx_check(test, p->vm);

	/* Again: nothing has to be done. */
	KUNIT_EXPECT_EQ(test, populate(p, 0, SPAN_PAGES, true), 0);
	KUNIT_EXPECT_EQ(test, map(p, 0, SPAN_PAGES), 0);
	KUNIT_EXPECT_EQ(test, hx_counters(p->vm).collections, 1);
	KUNIT_EXPECT_EQ(test, hx_counters(p->vm).pages_mapped, SPAN_PAGES);
	KUNIT_EXPECT_EQ(test, p->vm->starts, 0);
	hx_vm_destroy(test, p->vm);
}

/* What one side writes the other one reads: it is the same memory. */
static void shared(struct kunit *test)
{
	struct hx_ptr *p = filled(test, SPAN);
	struct sx_fixture *f = test->priv;
	unsigned int i;
	u32 *gpu, value;

	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, SPAN, true), 0);
	for (i = 0; i < SPAN_PAGES; i++) {
		KUNIT_EXPECT_TRUE(test, hx_is_writable(p, f->start + PAGES(i)));
		gpu = phys_to_virt(hx_entry_phys(p, f->start + PAGES(i)));
		KUNIT_EXPECT_EQ(test, READ_ONCE(*gpu), 1 + i);
		WRITE_ONCE(*gpu, 100 + i);
		KUNIT_ASSERT_EQ(test, sx_cpu_read(f, f->start + PAGES(i), &value), 0);
		KUNIT_EXPECT_EQ(test, value, 100 + i);
	}
	hx_vm_destroy(test, p->vm);
}

/* Populating one part does not vouch for another. */
static void in_parts(struct kunit *test)
{
	struct sx_file *sf = sx_file_create(test, 0);
	struct hx_vm *vm = hx_vm_create(test);
	struct sx_fixture *f = test->priv;
	struct hx_ptr *p = hx_ptr_create(test, vm, f->start, SPAN);

	sx_map_file(test, f->start, SPAN, PROT_READ | PROT_WRITE, MAP_SHARED, sf);
	KUNIT_EXPECT_EQ(test, populate(p, 0, 4, true), 0);
	sx_file_zap(sf, 1, 1);
	KUNIT_EXPECT_EQ(test, populate(p, 8, 4, true), 0);
	KUNIT_EXPECT_EQ(test, map(p, 0, 4), -EAGAIN);
	KUNIT_EXPECT_EQ(test, map(p, 8, 4), 0);
	KUNIT_EXPECT_EQ(test, map(p, 4, 4), -EAGAIN);
	KUNIT_EXPECT_EQ(test, map(p, 0, SPAN_PAGES), -EAGAIN);
	KUNIT_EXPECT_TRUE(test, is_valid(p, 8, 4));
	KUNIT_EXPECT_FALSE(test, is_valid(p, 0, 4));
	KUNIT_EXPECT_FALSE(test, is_valid(p, 7, 5));
	KUNIT_EXPECT_FALSE(test, is_valid(p, 8, 5));

	/* The rest around them. */
	KUNIT_EXPECT_EQ(test, populate(p, 0, SPAN_PAGES, true), 0);
	KUNIT_EXPECT_EQ(test, map(p, 0, SPAN_PAGES), 0);
	KUNIT_EXPECT_TRUE(test, is_valid(p, 0, SPAN_PAGES));
	KUNIT_EXPECT_EQ(test, p->base.core.populated, SPAN);
	KUNIT_EXPECT_EQ(test, hx_bind(p, f->start, SPAN), 0);
	hx_expect_bound(test, p, f->start, SPAN);
	hx_check(test, vm);
	hx_vm_destroy(test, vm);
}

/* Pieces do not go over the bounds of blocks, and one is mapped whole, whatever is asked for. */
static void pieces(struct kunit *test)
{
	struct hx_ptr *p = filled(test, SZ_4M);
	struct sx_fixture *f = test->priv;
	const unsigned long middle = f->start + SZ_2M;

	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_populate(&p->base, middle - PAGES(3),
						      middle + PAGES(5), true), 0);
	KUNIT_EXPECT_EQ(test, hx_counters(p->vm).collections, 2);
	KUNIT_EXPECT_EQ(test, p->base.core.populated, PAGES(8));
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_map_dma_pages(&p->base, middle - PAGES(1), middle), 0);
	KUNIT_EXPECT_TRUE(test, hx_is_valid(p, middle - PAGES(3), PAGES(3)));
	KUNIT_EXPECT_FALSE(test, hx_is_valid(p, middle, PAGES(1)));
	KUNIT_EXPECT_EQ(test, hx_use(p, f->start, SZ_4M, true), 0);
	KUNIT_EXPECT_EQ(test, hx_counters(p->vm).collections, 4);
	hx_expect_bound(test, p, f->start, SZ_4M);
	hx_check(test, p->vm);
	hx_vm_destroy(test, p->vm);
}

static void unmapping(struct kunit *test)
{
	struct hx_ptr *p = filled(test, SPAN);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, PAGES(8), true), 0);
	KUNIT_ASSERT_EQ(test, hx_use(p, f->start + PAGES(8), PAGES(8), true), 0);

	/* The second piece reaches beyond it and stays; the first one is taken from the GPU. */
	drm_svm_hmmptr_unmap_dma_pages(&p->base, f->start, f->start + PAGES(12));
	KUNIT_EXPECT_EQ(test, p->vm->starts, 1);
	KUNIT_EXPECT_EQ(test, p->vm->finishes, 1);
	KUNIT_EXPECT_FALSE(test, is_valid(p, 0, 1));
	KUNIT_EXPECT_TRUE(test, is_valid(p, 8, 8));
	hx_expect_unbound(test, p, f->start, PAGES(8));
	hx_expect_bound(test, p, f->start + PAGES(8), PAGES(8));
	KUNIT_EXPECT_TRUE(test, hx_all_valid(p->vm));

	/* It is still populated. */
	KUNIT_EXPECT_EQ(test, map(p, 0, 8), 0);
	KUNIT_EXPECT_EQ(test, hx_counters(p->vm).collections, 2);

	drm_svm_hmmptr_forget(&p->base, f->start, f->start + PAGES(12));
	KUNIT_EXPECT_EQ(test, p->base.core.populated, PAGES(8));
	KUNIT_EXPECT_EQ(test, map(p, 0, 8), -EAGAIN);
	KUNIT_EXPECT_TRUE(test, is_valid(p, 8, 8));

	/* Nothing. */
	drm_svm_hmmptr_forget(&p->base, f->start + PAGES(16), f->start + PAGES(8));
	drm_svm_hmmptr_forget(&p->base, f->start + PAGES(8), f->start + PAGES(8));
	drm_svm_hmmptr_forget(&p->base, f->start, 0);
	KUNIT_EXPECT_TRUE(test, is_valid(p, 8, 8));
	drm_svm_hmmptr_forget(&p->base, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, p->base.core.populated, 0);
	hx_vm_destroy(test, p->vm);
}

/* Runs --------------------------------------------------------------------------------------- */

/* Steps through a span, and says how many runs there are; at most @max. */
static unsigned int collect_runs(struct hx_ptr *p, unsigned long start, unsigned long end,
				 struct drm_svm_hmmptr_run *out, unsigned int max)
{
	struct drm_svm_hmmptr_run run;
	unsigned int count = 0;

	drm_svm_hmmptr_lock(&p->vm->set);
	drm_svm_hmmptr_for_each_run(&run, &p->base, start, end) {
		if (count < max)
			out[count] = run;
		count++;
	}
	drm_svm_hmmptr_unlock(&p->vm->set);
	return count;
}

/* They come to so many bytes, in @count runs if that is not 0. */
static void expect_runs(struct kunit *test, struct hx_ptr *p, unsigned long start,
			unsigned long end, unsigned int count, unsigned long bytes)
{
	static struct drm_svm_hmmptr_run runs[SPAN_PAGES];
	unsigned int i, got = collect_runs(p, start, end, runs, ARRAY_SIZE(runs));
	unsigned long past = start, sum = 0;

	KUNIT_ASSERT_LE(test, got, (unsigned int)ARRAY_SIZE(runs));
	for (i = 0; i < got; i++) {
		KUNIT_EXPECT_GE(test, runs[i].start, past);
		KUNIT_EXPECT_GT(test, runs[i].end, runs[i].start);
		KUNIT_EXPECT_LE(test, runs[i].end, end);
		KUNIT_EXPECT_TRUE(test, runs[i].proto == DRM_INTERCONNECT_SYSTEM);
		KUNIT_EXPECT_TRUE(test, runs[i].writable);
		KUNIT_EXPECT_EQ(test, runs[i].addr - (runs[i].start & ~PAGE_MASK),
				sx_phys(test, runs[i].start & PAGE_MASK));
		past = runs[i].end;
		sum += runs[i].end - runs[i].start;
	}
	KUNIT_EXPECT_EQ(test, sum, bytes);
	if (count)
		KUNIT_EXPECT_EQ(test, got, count);
}

static void runs(struct kunit *test)
{
	struct hx_ptr *p = filled(test, SPAN);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, PAGES(4), true), 0);
	KUNIT_ASSERT_EQ(test, hx_use(p, f->start + PAGES(6), PAGES(4), true), 0);
	expect_runs(test, p, f->start, f->start + SPAN, 0, PAGES(8));
	expect_runs(test, p, f->start + PAGES(1), f->start + PAGES(8), 0, PAGES(5));
	expect_runs(test, p, f->start + PAGES(3) + 8, f->start + PAGES(3) + 24, 1, 16);
	expect_runs(test, p, f->start + PAGES(4), f->start + PAGES(6), 0, 0);
	expect_runs(test, p, f->start + PAGES(9), f->start + PAGES(9), 0, 0);
	expect_runs(test, p, f->start + PAGES(9), f->start + PAGES(8), 0, 0);
	expect_runs(test, p, 0, ULONG_MAX, 0, PAGES(8));
	hx_vm_destroy(test, p->vm);
}

/* One entry for the GPU where the CPU has one, and parts of it. */
static void huge_page(struct kunit *test)
{
	struct hx_ptr *p = filled(test, SZ_2M);
	struct sx_fixture *f = test->priv;

	if (!PageCompound(pfn_to_page(PHYS_PFN(sx_phys(test, f->start)))))
		kunit_skip(test, "the kernel gave no huge page");

	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, SZ_2M, true), 0);
	expect_runs(test, p, f->start, f->start + SZ_2M, 1, SZ_2M);
	expect_runs(test, p, f->start + PAGES(7), f->start + PAGES(9), 1, PAGES(2));
	expect_runs(test, p, f->start + SZ_1M, f->start + SZ_4M, 1, SZ_1M);
	hx_expect_bound(test, p, f->start, SZ_2M);
	hx_check(test, p->vm);
	hx_vm_destroy(test, p->vm);
}

/* Access ------------------------------------------------------------------------------------- */

static void read_only(struct kunit *test)
{
	struct hx_vm *vm = hx_vm_create(test);
	struct sx_fixture *f = test->priv;
	const struct drm_svm_hmmptr_args args = {
		.start = f->start,
		.end = f->start + SPAN,
		.read_only = true,
	};
	struct hx_ptr *p = NULL;
	unsigned int i;

	sx_map(test, f->start, SPAN);
	sx_cpu_fill(test, f->start, SPAN, 1);
	KUNIT_ASSERT_EQ(test, hx_ptr_make(vm, &args, &p), 0);
	KUNIT_EXPECT_EQ(test, populate(p, 0, SPAN_PAGES, true), -EPERM);
	KUNIT_EXPECT_EQ(test, p->base.core.populated, 0);
	KUNIT_EXPECT_EQ(test, hx_use(p, f->start, SPAN, true), -EPERM);
	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, SPAN, false), 0);
	for (i = 0; i < SPAN_PAGES; i++)
		KUNIT_EXPECT_FALSE(test, hx_is_writable(p, f->start + PAGES(i)));
	hx_expect_bound(test, p, f->start, SPAN);
	hx_vm_destroy(test, vm);
}

/* For reading first, then for writing: the GPU loses the one before it gets the other. */
static void widened(struct kunit *test)
{
	struct sx_file *sf = sx_file_create(test, 0);
	struct hx_vm *vm = hx_vm_create(test);
	struct sx_fixture *f = test->priv;
	struct hx_ptr *p = hx_ptr_create(test, vm, f->start, SPAN);
	unsigned int i;

	sx_map_file(test, f->start, SPAN, PROT_READ | PROT_WRITE, MAP_PRIVATE, sf);
	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, SPAN, false), 0);
	for (i = 0; i < SPAN_PAGES; i++) {
		KUNIT_EXPECT_FALSE(test, hx_is_writable(p, f->start + PAGES(i)));
		KUNIT_EXPECT_EQ(test, hx_entry_phys(p, f->start + PAGES(i)),
				page_to_phys(sf->pages[i]));
	}

	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, SPAN, true), 0);
	KUNIT_EXPECT_GE(test, vm->starts, 1);
	for (i = 0; i < SPAN_PAGES; i++) {
		KUNIT_EXPECT_TRUE(test, hx_is_writable(p, f->start + PAGES(i)));
		KUNIT_EXPECT_NE(test, hx_entry_phys(p, f->start + PAGES(i)),
				page_to_phys(sf->pages[i]));
	}
	hx_expect_bound(test, p, f->start, SPAN);
	hx_check(test, vm);

	/* Less is wanted: what there is will do. */
	i = vm->starts;
	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, SPAN, false), 0);
	KUNIT_EXPECT_EQ(test, vm->starts, i);
	KUNIT_EXPECT_TRUE(test, hx_is_writable(p, f->start));
	hx_vm_destroy(test, vm);
}

/* What can be asked for wrongly, and what for. */
static void errors(struct kunit *test)
{
	struct sx_file *sf = sx_file_create(test, VM_PFNMAP | VM_IO | VM_DONTEXPAND);
	struct hx_vm *vm = hx_vm_create(test);
	struct sx_fixture *f = test->priv;
	struct hx_ptr *p = hx_ptr_create(test, vm, f->start, SPAN);
	const struct {
		unsigned long start, end;
		bool write;
		int populate, map;
	} table[] = {
		/* Not of the hmmptr, none, not of whole pages. */
		{ f->start - PAGE_SIZE, f->start + PAGE_SIZE, false, -EINVAL, -EINVAL },
		{ f->start, f->start + SPAN + PAGE_SIZE, false, -EINVAL, -EINVAL },
		{ f->start, f->start, false, -EINVAL, -EINVAL },
		{ f->start + PAGE_SIZE, f->start, false, -EINVAL, -EINVAL },
		{ f->start + 1, f->start + PAGE_SIZE, false, -EINVAL, -EINVAL },
		{ f->start, f->start + 1, false, -EINVAL, -EINVAL },
		{ f->start, 0, false, -EINVAL, -EINVAL },
		/* Memory, memory to be read, memory without pages, none. */
		{ f->start, f->start + PAGES(4), true, 0, 0 },
		{ f->start + PAGES(4), f->start + PAGES(8), true, -EPERM, -EAGAIN },
		{ f->start + PAGES(4), f->start + PAGES(8), false, 0, 0 },
		{ f->start + PAGES(8), f->start + PAGES(12), false, -EFAULT, -EAGAIN },
		{ f->start + PAGES(12), f->start + SPAN, false, -EFAULT, -EAGAIN },
		/* All or nothing. */
		{ f->start, f->start + SPAN, false, -EFAULT, -EAGAIN },
	};
	unsigned int i;

	sx_map(test, f->start, PAGES(4));
	KUNIT_ASSERT_EQ(test, sx_mmap(f, f->start + PAGES(4), PAGES(4), PROT_READ,
				      MAP_PRIVATE | MAP_ANONYMOUS, NULL), 0);
	sx_map_file(test, f->start + PAGES(8), PAGES(4), PROT_READ, MAP_SHARED, sf);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + PAGES(12), PAGES(4)), 0);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		KUNIT_EXPECT_EQ_MSG(test, drm_svm_hmmptr_populate(&p->base, table[i].start,
								  table[i].end, table[i].write),
				    table[i].populate, "line %u", i);
		KUNIT_EXPECT_EQ_MSG(test, drm_svm_hmmptr_map_dma_pages(&p->base, table[i].start,
								       table[i].end),
				    table[i].map, "line %u", i);
		KUNIT_EXPECT_EQ_MSG(test, drm_svm_hmmptr_get_pages(&p->base, table[i].start,
								   table[i].end, table[i].write),
				    table[i].populate, "line %u", i);
	}
	KUNIT_EXPECT_EQ(test, p->base.core.populated, PAGES(8));
	hx_vm_destroy(test, vm);
}

/* What it costs ------------------------------------------------------------------------------- */

#define MANY 512

/*
 * Bookkeeping of what is populated, not of what there could be: many of a TiB each, with a page of
 * each. The bound leaves room for a kernel that puts something around each allocation. Each has
 * a page of its own, because a kernel that checks DMA lets no page be mapped that often.
 */
static void memory(struct kunit *test)
{
	struct hx_vm *vm = hx_vm_create(test);
	struct sx_fixture *f = test->priv;
	const struct drm_svm_hmmptr_args args = {
		.drm = f->drm[0],
		.mm = f->mm,
		.start = f->start + SX_AREA - SZ_1T,
		.end = f->start + SX_AREA,
	};
	struct hx_ptr *ptrs = kunit_kcalloc(test, MANY, sizeof(*ptrs), GFP_KERNEL);
	unsigned long before, after, at;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, ptrs);
	sx_map(test, f->start, PAGES(MANY));
	sx_cpu_fill(test, f->start, PAGES(MANY), 1);
	before = global_zone_page_state(NR_FREE_PAGES);
	for (i = 0; i < MANY; i++) {
		at = f->start + PAGES(i);
		ptrs[i].vm = vm;
		KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_init(&ptrs[i].base, &vm->set, &args), 0);
		KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_get_pages(&ptrs[i].base, at, at + PAGE_SIZE,
							       true), 0);
		KUNIT_EXPECT_EQ(test, ptrs[i].base.core.populated, PAGE_SIZE);
	}
	after = global_zone_page_state(NR_FREE_PAGES);
	for (i = 0; i < MANY; i++) {
		drm_svm_hmmptr_release(&ptrs[i].base);
		mmdrop(f->mm);
		kfree(ptrs[i].base.finish);
	}

	kunit_info(test, "%ld pages for %u of them, and %zu bytes for each in the driver's object",
		   (long)(before - after), MANY, sizeof(struct drm_svm_hmmptr));
	KUNIT_EXPECT_LT(test, (long)(before - after), 2 * MANY);
	hx_vm_destroy(test, vm);
}

/* What the kernel is told --------------------------------------------------------------------- */

/* As if nobody had used it, since it was written to a disk. */
static void make_clean(struct page *page)
{
	folio_clear_dirty(page_folio(page));
	folio_clear_referenced(page_folio(page));
}

static bool is_used(struct page *page)
{
	return folio_test_referenced(page_folio(page));
}

static bool is_dirty(struct page *page)
{
	return folio_test_dirty(page_folio(page));
}

/* Of one page, so that no folio has others. */
static struct page *only_page(struct kunit *test, struct hx_ptr *p)
{
	return pfn_to_page(PHYS_PFN(sx_phys(test, p->base.start)));
}

/* Once for each time that it was populated, when it is mapped. */
static void told_once(struct kunit *test)
{
	struct hx_ptr *p = filled(test, PAGE_SIZE);
	struct page *page = only_page(test, p);

	make_clean(page);
	KUNIT_ASSERT_EQ(test, populate(p, 0, 1, true), 0);
	KUNIT_EXPECT_FALSE(test, is_dirty(page));
	KUNIT_EXPECT_FALSE(test, is_used(page));
	KUNIT_ASSERT_EQ(test, map(p, 0, 1), 0);
	KUNIT_EXPECT_TRUE(test, is_dirty(page));
	KUNIT_EXPECT_TRUE(test, is_used(page));

	make_clean(page);
	KUNIT_ASSERT_EQ(test, map(p, 0, 1), 0);
	drm_svm_hmmptr_unmap_dma_pages(&p->base, p->base.start, p->base.end);
	KUNIT_ASSERT_EQ(test, populate(p, 0, 1, true), 0);
	KUNIT_ASSERT_EQ(test, map(p, 0, 1), 0);
	KUNIT_EXPECT_TRUE(test, is_valid(p, 0, 1));
	KUNIT_EXPECT_FALSE(test, is_dirty(page));
	KUNIT_EXPECT_FALSE(test, is_used(page));

	drm_svm_hmmptr_inject(&p->base, p->base.start, p->base.end);
	KUNIT_ASSERT_EQ(test, populate(p, 0, 1, true), 0);
	KUNIT_EXPECT_FALSE(test, is_dirty(page));
	KUNIT_ASSERT_EQ(test, map(p, 0, 1), 0);
	KUNIT_EXPECT_TRUE(test, is_dirty(page));
	KUNIT_EXPECT_TRUE(test, is_used(page));
	hx_vm_destroy(test, p->vm);
}

/* What the GPU cannot write does not become dirty. */
static void told_of_reading(struct kunit *test)
{
	struct hx_vm *vm = hx_vm_create(test);
	struct sx_fixture *f = test->priv;
	const struct drm_svm_hmmptr_args args = {
		.start = f->start,
		.end = f->start + PAGE_SIZE,
		.read_only = true,
	};
	struct hx_ptr *p = NULL;
	struct page *page;

	sx_map(test, f->start, PAGE_SIZE);
	sx_cpu_fill(test, f->start, PAGE_SIZE, 1);
	KUNIT_ASSERT_EQ(test, hx_ptr_make(vm, &args, &p), 0);
	page = only_page(test, p);
	make_clean(page);
	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, PAGE_SIZE, false), 0);
	KUNIT_EXPECT_FALSE(test, is_dirty(page));
	KUNIT_EXPECT_TRUE(test, is_used(page));
	hx_vm_destroy(test, vm);
}

static void hmmptr_exit(struct kunit *test)
{
	hx_exit(test);
	sx_exit(test);
}

static struct kunit_case hmmptr_cases[] = {
	KUNIT_CASE(init_errors),
	KUNIT_CASE(init_without),
	KUNIT_CASE(references),
	KUNIT_CASE(released),
	KUNIT_CASE(in_steps),
	KUNIT_CASE(shared),
	KUNIT_CASE(in_parts),
	KUNIT_CASE(pieces),
	KUNIT_CASE(unmapping),
	KUNIT_CASE(runs),
	KUNIT_CASE(huge_page),
	KUNIT_CASE(read_only),
	KUNIT_CASE(widened),
	KUNIT_CASE(errors),
	KUNIT_CASE(memory),
	KUNIT_CASE(told_once),
	KUNIT_CASE(told_of_reading),
	{}
};

static struct kunit_suite hmmptr_suite = {
	.name = "dsvm_hmmptr_ram",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = sx_init,
	.exit = hmmptr_exit,
	.test_cases = hmmptr_cases,
};
kunit_test_suite(hmmptr_suite);
