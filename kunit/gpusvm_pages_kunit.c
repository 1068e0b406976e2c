// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The pages behind a range: what is collected for which access, what the devices then reach, and
 * what becomes of memory that they cannot have. Device pages are for tests/guest, with the stub's.
 */
#include <linux/dma-mapping.h>
#include <linux/huge_mm.h>
#include <linux/memremap.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>

#include "gpusvm_fixture.h"

static const struct sx_config plain = {};

static struct sx_mirror *mirror_of(struct kunit *test, unsigned long bytes)
{
	struct sx_fixture *f = test->priv;

	sx_map(test, f->start, bytes);
	return sx_mirror_create(test, &plain);
}

static bool is_writable(struct sx_mirror *m, unsigned long addr)
{
	return sx_entry(m, 0, addr) & SX_ENTRY_WRITABLE;
}

static u64 collections(struct sx_mirror *m)
{
	struct drm_svm_counters counters;

	drm_svm_read_counters(&m->base, &counters);
	return counters.collections;
}

/* Mapping and unmapping -------------------------------------------------------------------------- */

/* What one side writes the other one reads: it is the same memory. */
static void shared(struct kunit *test)
{
	struct sx_mirror *m = mirror_of(test, SX_RANGE);
	struct sx_fixture *f = test->priv;
	unsigned long offset;
	u32 *gpu, value;

	sx_cpu_fill(test, f->start, SX_RANGE, 100);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	sx_expect_bound(test, m, f->start, SX_RANGE);
	sx_check(test, m);

	for (offset = 0; offset < SX_RANGE; offset += PAGE_SIZE) {
		KUNIT_EXPECT_TRUE(test, is_writable(m, f->start + offset));
		gpu = phys_to_virt(sx_entry_phys(m, 0, f->start + offset));
		KUNIT_EXPECT_EQ(test, *gpu, 100 + (offset >> PAGE_SHIFT));
		WRITE_ONCE(*gpu, 200 + (offset >> PAGE_SHIFT));
		KUNIT_ASSERT_EQ(test, sx_cpu_read(f, f->start + offset, &value), 0);
		KUNIT_EXPECT_EQ(test, value, 200 + (offset >> PAGE_SHIFT));
	}
	sx_mirror_destroy(test, m);
}

/* In process context: unmapped, had again, freed. */
static void unmap_and_free(struct kunit *test)
{
	struct sx_mirror *m = mirror_of(test, SX_RANGE);
	const struct drm_gpusvm_ctx ctx = {};
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_range *range;
	struct drm_gpusvm_pages *pages;

	range = sx_get_range(m, f->start, DRM_SVM_ACCESS_WRITE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	pages = &to_sx_range(range)->pages[0];
	KUNIT_EXPECT_EQ(test, sx_bind(m, range), -EAGAIN);
	KUNIT_ASSERT_EQ(test, sx_collect(m, range, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_EXPECT_TRUE(test, pages->flags.has_dma_mapping);
	KUNIT_EXPECT_TRUE(test, pages->flags.writable);
	KUNIT_EXPECT_FALSE(test, pages->flags.has_devmem_pages);
	KUNIT_EXPECT_EQ(test, sx_bind(m, range), 0);

	/* Nothing to do. */
	KUNIT_EXPECT_EQ(test, collections(m), 1);
	KUNIT_EXPECT_EQ(test, sx_collect(m, range, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_EXPECT_EQ(test, sx_collect(m, range, DRM_SVM_ACCESS_READ), 0);
	KUNIT_EXPECT_EQ(test, collections(m), 1);

	drm_gpusvm_unmap_pages(&m->base, pages, SX_RANGE_PAGES, &ctx);
	KUNIT_EXPECT_FALSE(test, pages->flags.has_dma_mapping);
	KUNIT_EXPECT_EQ(test, sx_bind(m, range), -EAGAIN);
	drm_gpusvm_unmap_pages(&m->base, pages, SX_RANGE_PAGES, &ctx);

	KUNIT_ASSERT_EQ(test, sx_collect(m, range, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_EXPECT_EQ(test, collections(m), 2);
	KUNIT_EXPECT_EQ(test, sx_bind(m, range), 0);

	sx_remove(m, range);
	sx_put_range(m, range);
	sx_expect_unbound(test, m, f->start, SX_RANGE);
	sx_mirror_destroy(test, m);
}

/* As drivers do that free the pages where they free the range: it may be after its window. */
static void free_after_remove(struct kunit *test)
{
	static const struct sx_config concurrent = {
		.features = DRM_SVM_WINDOW_LOCKS,
		.concurrent = true,
		.keeps_rest = true,
	};
	const struct sx_config *const configs[] = { &plain, &concurrent };
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_range *range;
	struct sx_mirror *m;
	unsigned int i;

	sx_map(test, f->start, SX_RANGE);
	for (i = 0; i < ARRAY_SIZE(configs); i++) {
		m = sx_mirror_create(test, configs[i]);
		range = sx_get_range(m, f->start, DRM_SVM_ACCESS_WRITE);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
		drm_gpusvm_range_get(range);
		KUNIT_ASSERT_EQ(test, sx_collect(m, range, DRM_SVM_ACCESS_WRITE), 0);
		drm_gpusvm_range_remove(&m->base, range);
		KUNIT_EXPECT_TRUE(test, list_empty(&m->base.notifier_list));
		drm_gpusvm_free_pages(&m->base, &to_sx_range(range)->pages[0], SX_RANGE_PAGES);
		sx_put_range(m, range);
		KUNIT_EXPECT_FALSE(test, to_sx_range(range)->pages[0].flags.has_dma_mapping);
		drm_gpusvm_range_put(range);
		sx_mirror_destroy(test, m);
	}
}

static void bad_spans(struct kunit *test)
{
	struct sx_mirror *m = mirror_of(test, SX_RANGE);
	const struct drm_gpusvm_ctx ctx = {};
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_pages pages = {};
	struct mmu_interval_notifier *notifier;
	struct drm_gpusvm_range *range;

	range = sx_get_range(m, f->start, DRM_SVM_ACCESS_WRITE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	notifier = &range->notifier->notifier;

	/* Not set up. */
	KUNIT_EXPECT_EQ(test, drm_gpusvm_get_pages(&m->base, &pages, f->mm, notifier, f->start,
						   f->start + SX_RANGE, &ctx), -EINVAL);
	drm_gpusvm_unmap_pages(&m->base, &pages, SX_RANGE_PAGES, &ctx);
	drm_gpusvm_free_pages(&m->base, &pages, SX_RANGE_PAGES);

	drm_gpusvm_init_pages(&pages, f->drm[0]);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_get_pages(&m->base, &pages, f->mm, notifier, f->start + 1,
						   f->start + SX_RANGE, &ctx), -EINVAL);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_get_pages(&m->base, &pages, f->mm, notifier, f->start,
						   f->start + SX_RANGE - 1, &ctx), -EINVAL);
	drm_gpusvm_free_pages(&m->base, &pages, SX_RANGE_PAGES);
	sx_put_range(m, range);
	sx_mirror_destroy(test, m);
}

/* Who lets ranges be trimmed collects the whole range: that is what is trimmed with it. */
static void part_of_a_range(struct kunit *test)
{
	const struct sx_config config = { .keeps_rest = true };
	struct sx_mirror *m = sx_mirror_create(test, &config);
	const struct drm_gpusvm_ctx ctx = {};
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_range *range;

	sx_map(test, f->start, SX_RANGE);
	range = sx_get_range(m, f->start, DRM_SVM_ACCESS_WRITE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_get_pages(&m->base, &to_sx_range(range)->pages[0], f->mm,
						   &range->notifier->notifier, f->start,
						   f->start + PAGE_SIZE, &ctx), -EINVAL);
	KUNIT_EXPECT_EQ(test, sx_collect(m, range, DRM_SVM_ACCESS_WRITE), 0);
	sx_put_range(m, range);
	sx_mirror_destroy(test, m);
}

/* Each device has addresses of its own for the same pages. */
static void two_devices(struct kunit *test)
{
	const struct sx_config config = { .devices = 2 };
	struct sx_mirror *m = sx_mirror_create(test, &config);
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_range *range;

	sx_map(test, f->start, SX_RANGE);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_EXPECT_EQ(test, collections(m), 2);
	sx_expect_bound(test, m, f->start, SX_RANGE);
	sx_check(test, m);

	range = sx_get_range(m, f->start, DRM_SVM_ACCESS_WRITE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_EXPECT_PTR_NE(test, to_sx_range(range)->pages[0].dma_addr,
			    to_sx_range(range)->pages[1].dma_addr);
	sx_put_range(m, range);

	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, PAGE_SIZE), 0);
	sx_expect_unbound(test, m, f->start, SX_RANGE);
	sx_mirror_destroy(test, m);
}

/* Access ------------------------------------------------------------------------------------------- */

/* Where nothing was written a read finds the page of zeroes, and what is written there is seen. */
static void zero_page(struct kunit *test)
{
	struct sx_mirror *m = mirror_of(test, SX_RANGE);
	struct sx_fixture *f = test->priv;
	unsigned long offset;

	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_READ), 0);
	for (offset = 0; offset < SX_RANGE; offset += PAGE_SIZE) {
		KUNIT_EXPECT_TRUE(test, is_zero_pfn(PHYS_PFN(sx_entry_phys(m, 0, f->start + offset))));
		KUNIT_EXPECT_FALSE(test, is_writable(m, f->start + offset));
	}

	KUNIT_ASSERT_EQ(test, sx_cpu_write(f, f->start, 1), 0);
	sx_expect_unbound(test, m, f->start, SX_RANGE);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_READ), 0);
	KUNIT_EXPECT_FALSE(test, is_zero_pfn(PHYS_PFN(sx_entry_phys(m, 0, f->start))));
	/* The CPU may write it, so the device may. */
	KUNIT_EXPECT_TRUE(test, is_writable(m, f->start));
	KUNIT_EXPECT_FALSE(test, is_writable(m, f->start + PAGE_SIZE));
	sx_check(test, m);

	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start + PAGE_SIZE, DRM_SVM_ACCESS_WRITE), 0);
	for (offset = 0; offset < SX_RANGE; offset += PAGE_SIZE)
		KUNIT_EXPECT_TRUE(test, is_writable(m, f->start + offset));
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* Mainline's way, where the driver does not say what the GPU wants. */
static void any_access(struct kunit *test)
{
	struct sx_mirror *m = mirror_of(test, 2 * SX_RANGE);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_ANY), 0);
	KUNIT_EXPECT_TRUE(test, is_writable(m, f->start));
	KUNIT_EXPECT_FALSE(test, is_zero_pfn(PHYS_PFN(sx_entry_phys(m, 0, f->start))));

	sx_cpu_fill(test, f->start + SX_RANGE, SX_RANGE, 1);
	m->ctx.read_only = true;
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start + SX_RANGE, DRM_SVM_ACCESS_ANY), 0);
	KUNIT_EXPECT_FALSE(test, is_writable(m, f->start + SX_RANGE));
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start + SX_RANGE, DRM_SVM_ACCESS_WRITE), -EPERM);
	m->ctx.read_only = false;
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start + SX_RANGE, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_EXPECT_TRUE(test, is_writable(m, f->start + SX_RANGE));
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* A read of a private file mapping leaves the file's pages where they are, and a write does not. */
static void copy_on_write(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &plain);
	struct sx_file *sf = sx_file_create(test, 0);
	struct sx_fixture *f = test->priv;
	unsigned long i, addr;
	u32 value;

	sx_map_file(test, f->start, SX_RANGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, sf);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_READ), 0);
	for (i = 0; i < SX_RANGE_PAGES; i++) {
		addr = f->start + i * PAGE_SIZE;
		KUNIT_EXPECT_EQ(test, sx_entry_phys(m, 0, addr), page_to_phys(sf->pages[i]));
		KUNIT_EXPECT_FALSE(test, is_writable(m, addr));
	}

	*(u32 *)page_address(sf->pages[3]) = 33;
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	for (i = 0; i < SX_RANGE_PAGES; i++) {
		addr = f->start + i * PAGE_SIZE;
		KUNIT_EXPECT_NE(test, sx_entry_phys(m, 0, addr), page_to_phys(sf->pages[i]));
		KUNIT_EXPECT_TRUE(test, is_writable(m, addr));
	}
	KUNIT_ASSERT_EQ(test, sx_cpu_read(f, f->start + 3 * PAGE_SIZE, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 33);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* Nothing is tried twice: it will not be allowed the second time either. */
static void read_only_memory(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &plain);
	struct sx_fixture *f = test->priv;
	struct drm_svm_counters before, after;
	struct drm_gpusvm_range *range;

	KUNIT_ASSERT_EQ(test, sx_mmap(f, f->start, SX_RANGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
				      NULL), 0);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_READ), 0);
	sx_expect_bound(test, m, f->start, SX_RANGE);
	KUNIT_EXPECT_FALSE(test, is_writable(m, f->start));

	range = sx_get_range(m, f->start, DRM_SVM_ACCESS_READ);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	drm_svm_read_counters(&m->base, &before);
	KUNIT_EXPECT_EQ(test, sx_collect(m, range, DRM_SVM_ACCESS_WRITE), -EPERM);
	drm_svm_read_counters(&m->base, &after);
	KUNIT_EXPECT_EQ(test, after.collection_retries, before.collection_retries);
	KUNIT_EXPECT_EQ(test, after.collection_failures, before.collection_failures + 1);
	/* What there was for reading is there. */
	KUNIT_EXPECT_EQ(test, sx_bind(m, range), 0);
	sx_put_range(m, range);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* What the GPU cannot have -------------------------------------------------------------------------- */

static void devmem_only(struct kunit *test)
{
	struct sx_mirror *m = mirror_of(test, SX_RANGE);
	struct sx_fixture *f = test->priv;

	m->ctx.devmem_only = true;
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), -EFAULT);
	sx_expect_unbound(test, m, f->start, SX_RANGE);
	m->ctx.devmem_only = false;
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* Memory without pages that comes after the range was made. */
static void no_pages(struct kunit *test)
{
	struct sx_file *sf = sx_file_create(test, VM_PFNMAP | VM_IO | VM_DONTEXPAND);
	struct sx_mirror *m = mirror_of(test, SX_RANGE);
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_range *range;

	range = sx_get_range(m, f->start, DRM_SVM_ACCESS_READ);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	sx_map_file(test, f->start, SX_RANGE, PROT_READ, MAP_SHARED, sf);
	KUNIT_EXPECT_EQ(test, sx_collect(m, range, DRM_SVM_ACCESS_READ), -EFAULT);
	sx_put_range(m, range);
	sx_expect_unbound(test, m, f->start, SX_RANGE);
	sx_mirror_destroy(test, m);
}

/*
 * A device that does not reach the memory is refused it: the copy that the kernel makes then
 * (swiotlb) would not be shared with the CPU.
 */
static void out_of_reach(struct kunit *test)
{
	struct sx_mirror *m = mirror_of(test, SX_RANGE);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	if (sx_entry_phys(m, 0, f->start) <= DMA_BIT_MASK(32))
		kunit_skip(test, "the memory is where a 32-bit device reaches it");
	sx_mirror_destroy(test, m);

	KUNIT_ASSERT_EQ(test, dma_coerce_mask_and_coherent(f->parents[0], DMA_BIT_MASK(32)), 0);
	/* Where the kernel makes no copies it refuses by itself, with a warning. */
	if (dma_max_mapping_size(f->parents[0]) == SIZE_MAX)
		kunit_skip(test, "this machine has no swiotlb");
	m = sx_mirror_create(test, &plain);
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), -EOPNOTSUPP);
	sx_expect_unbound(test, m, f->start, SX_RANGE);
	sx_mirror_destroy(test, m);
}

/* Huge pages ----------------------------------------------------------------------------------------- */

static void huge_page(struct kunit *test)
{
	static const unsigned long chunks[] = { SZ_2M, PAGE_SIZE };
	const struct sx_config config = { .chunks = chunks, .num_chunks = ARRAY_SIZE(chunks) };
	struct sx_mirror *m = sx_mirror_create(test, &config);
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_range *range;
	struct drm_gpusvm_pages *pages;

	sx_map(test, f->start, SZ_2M);
	sx_cpu_fill(test, f->start, PAGE_SIZE, 1);
	if (!PageCompound(pfn_to_page(PHYS_PFN(sx_phys(test, f->start)))))
		kunit_skip(test, "the kernel gave no huge page");

	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start + SZ_1M, DRM_SVM_ACCESS_WRITE), 0);
	range = sx_get_range(m, f->start, DRM_SVM_ACCESS_WRITE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	pages = &to_sx_range(range)->pages[0];
	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_size(range), SZ_2M);
	KUNIT_EXPECT_TRUE(test, pages->dma_addr[0].order == HPAGE_PMD_ORDER);
	sx_put_range(m, range);
	sx_expect_bound(test, m, f->start, SZ_2M);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* The pages API alone, as for userptr ------------------------------------------------------------------ */

struct userptr {
	struct drm_gpusvm gpusvm;
	struct mmu_interval_notifier notifier;
	struct drm_gpusvm_pages pages;
	unsigned int invalidations;
};

static bool userptr_invalidate(struct mmu_interval_notifier *notifier,
			       const struct mmu_notifier_range *mmu_range, unsigned long seq)
{
	struct userptr *u = container_of(notifier, struct userptr, notifier);
	const struct drm_gpusvm_ctx ctx = { .in_notifier = true };

	if (!mmu_notifier_range_blockable(mmu_range))
		return false;

	down_write(&u->gpusvm.notifier_lock);
	mmu_interval_set_seq(notifier, seq);
	drm_gpusvm_unmap_pages(&u->gpusvm, &u->pages, SX_RANGE_PAGES, &ctx);
	u->invalidations++;
	up_write(&u->gpusvm.notifier_lock);
	return true;
}

static const struct mmu_interval_notifier_ops userptr_ops = {
	.invalidate = userptr_invalidate,
};

static bool userptr_valid(struct userptr *u)
{
	bool valid;

	drm_gpusvm_notifier_lock(&u->gpusvm);
	valid = drm_gpusvm_pages_valid(&u->gpusvm, &u->pages);
	drm_gpusvm_notifier_unlock(&u->gpusvm);
	return valid;
}

static void userptr(struct kunit *test)
{
	struct userptr *u = kunit_kzalloc(test, sizeof(*u), GFP_KERNEL);
	struct sx_file *sf = sx_file_create(test, 0);
	const struct drm_gpusvm_ctx ctx = {};
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, u);
	sx_map_file(test, f->start, SX_RANGE, PROT_READ | PROT_WRITE, MAP_SHARED, sf);
	KUNIT_ASSERT_EQ(test, drm_gpusvm_init(&u->gpusvm, "userptr", NULL, 0, 0, 0, NULL, NULL, 0), 0);
	KUNIT_ASSERT_EQ(test, mmu_interval_notifier_insert(&u->notifier, f->mm, f->start, SX_RANGE,
							   &userptr_ops), 0);
	drm_gpusvm_init_pages(&u->pages, f->drm[0]);

	KUNIT_EXPECT_EQ(test, drm_gpusvm_get_pages(&u->gpusvm, &u->pages, f->mm, &u->notifier,
						   f->start, f->start + SX_RANGE, &ctx), 0);
	KUNIT_EXPECT_TRUE(test, userptr_valid(u));
	sx_file_zap(sf, 3, 1);
	KUNIT_EXPECT_EQ(test, u->invalidations, 1);
	KUNIT_EXPECT_FALSE(test, userptr_valid(u));
	KUNIT_EXPECT_EQ(test, drm_gpusvm_get_pages(&u->gpusvm, &u->pages, f->mm, &u->notifier,
						   f->start, f->start + SX_RANGE, &ctx), 0);
	KUNIT_EXPECT_TRUE(test, userptr_valid(u));

	drm_gpusvm_free_pages(&u->gpusvm, &u->pages, SX_RANGE_PAGES);
	KUNIT_EXPECT_FALSE(test, userptr_valid(u));
	mmu_interval_notifier_remove(&u->notifier);
	drm_gpusvm_fini(&u->gpusvm);
}

/* A look ------------------------------------------------------------------------------------------------ */

static enum drm_gpusvm_scan_result scan(struct kunit *test, struct sx_mirror *m,
					const struct dev_pagemap *pagemap)
{
	enum drm_gpusvm_scan_result result;
	struct drm_gpusvm_range *range;

	range = sx_get_range(m, m->fixture->start, DRM_SVM_ACCESS_READ);
	KUNIT_ASSERT_FALSE(test, IS_ERR(range));
	result = drm_gpusvm_scan_mm(range, NULL, pagemap);
	sx_put_range(m, range);
	return result;
}

/* It looks, and faults nothing in. RAM is what has no pagemap. */
static void scan_mm(struct kunit *test)
{
	const struct dev_pagemap *pagemap = kunit_kzalloc(test, sizeof(*pagemap), GFP_KERNEL);
	struct sx_mirror *m = mirror_of(test, SX_RANGE);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, pagemap);
	KUNIT_EXPECT_EQ(test, scan(test, m, pagemap), DRM_GPUSVM_SCAN_UNPOPULATED);
	KUNIT_EXPECT_EQ(test, scan(test, m, NULL), DRM_GPUSVM_SCAN_UNPOPULATED);
	sx_cpu_fill(test, f->start, SX_RANGE - PAGE_SIZE, 1);
	KUNIT_EXPECT_EQ(test, scan(test, m, pagemap), DRM_GPUSVM_SCAN_UNPOPULATED);
	sx_cpu_fill(test, f->start, SX_RANGE, 1);
	KUNIT_EXPECT_EQ(test, scan(test, m, pagemap), DRM_GPUSVM_SCAN_SYSTEM);
	KUNIT_EXPECT_EQ(test, scan(test, m, NULL), DRM_GPUSVM_SCAN_EQUAL);
	sx_mirror_destroy(test, m);
}

static struct kunit_case gpusvm_pages_cases[] = {
	KUNIT_CASE(shared),
	KUNIT_CASE(unmap_and_free),
	KUNIT_CASE(free_after_remove),
	KUNIT_CASE(bad_spans),
	KUNIT_CASE(part_of_a_range),
	KUNIT_CASE(two_devices),
	KUNIT_CASE(zero_page),
	KUNIT_CASE(any_access),
	KUNIT_CASE(copy_on_write),
	KUNIT_CASE(read_only_memory),
	KUNIT_CASE(devmem_only),
	KUNIT_CASE(no_pages),
	KUNIT_CASE(out_of_reach),
	KUNIT_CASE(huge_page),
	KUNIT_CASE(userptr),
	KUNIT_CASE(scan_mm),
	{}
};

static struct kunit_suite gpusvm_pages_suite = {
	.name = "dsvm_gpusvm_pages",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = sx_init,
	.exit = sx_exit,
	.test_cases = gpusvm_pages_cases,
};
kunit_test_suite(gpusvm_pages_suite);
