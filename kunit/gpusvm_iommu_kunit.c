// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A device behind an IOMMU. All RAM of a range is linked into one window of device addresses,
 * however it is scattered; what is invalidated cannot be reached any more, and the rest can.
 */
#include <linux/iommu.h>
#include <linux/mman.h>

#include "gpusvm_fixture.h"

/* With one device behind the IOMMU, and one that is not. */
static const struct sx_config config = {
	.features = DRM_SVM_WINDOW_LOCKS,
	.concurrent = true,
	.keeps_rest = true,
	.devices = 2,
};

/* Where the device reaches what was at an address of its own; 0: nowhere. */
static phys_addr_t reaches(struct sx_fixture *f, dma_addr_t at)
{
	return iommu_iova_to_phys(iommu_get_domain_for_dev(f->parents[0]), at);
}

/* A range whose neighbouring pages are no neighbours in RAM, and where its device addresses begin. */
static struct sx_mirror *scattered(struct kunit *test, dma_addr_t *iova)
{
	struct sx_mirror *m = sx_mirror_create(test, &config);
	struct sx_fixture *f = test->priv;
	unsigned int i, neighbours = 0;
	unsigned long addr;

	sx_map(test, f->start, SX_RANGE);
	for (i = 0; i < SX_RANGE_PAGES; i += 2)
		sx_cpu_fill(test, f->start + i * PAGE_SIZE, PAGE_SIZE, i);
	for (i = 1; i < SX_RANGE_PAGES; i += 2)
		sx_cpu_fill(test, f->start + i * PAGE_SIZE, PAGE_SIZE, i);
	for (addr = f->start; addr < f->start + SX_RANGE - PAGE_SIZE; addr += PAGE_SIZE)
		neighbours += sx_phys(test, addr) + PAGE_SIZE == sx_phys(test, addr + PAGE_SIZE);
	KUNIT_ASSERT_LT(test, neighbours, SX_RANGE_PAGES - 1);

	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	sx_expect_bound(test, m, f->start, SX_RANGE);
	*iova = sx_entry(m, 0, f->start) & PAGE_MASK;
	return m;
}

/* That a span of pages is reached at @iova on, or not. */
static void expect_reached(struct kunit *test, dma_addr_t iova, unsigned int first,
			   unsigned int count, bool reached)
{
	struct sx_fixture *f = test->priv;
	unsigned int i;

	for (i = first; i < first + count; i++)
		KUNIT_EXPECT_EQ_MSG(test, reaches(f, iova + i * PAGE_SIZE),
				    reached ? sx_phys(test, f->start + i * PAGE_SIZE) : 0,
				    "page %u", i);
}

static void one_window(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct sx_mirror *m;
	dma_addr_t iova;
	unsigned int i;

	m = scattered(test, &iova);
	for (i = 0; i < SX_RANGE_PAGES; i++) {
		unsigned long addr = f->start + i * PAGE_SIZE;

		/* Without such windows there is an address for each page, in any order. */
		if (IS_ENABLED(CONFIG_IOMMU_DMA))
			KUNIT_EXPECT_EQ(test, sx_entry(m, 0, addr) & PAGE_MASK, iova + i * PAGE_SIZE);
		KUNIT_EXPECT_NE(test, sx_entry(m, 0, addr), sx_entry(m, 1, addr));
	}
	expect_reached(test, iova, 0, SX_RANGE_PAGES, true);
	sx_check(test, m);

	sx_mirror_destroy(test, m);
	expect_reached(test, iova, 0, SX_RANGE_PAGES, false);
}

static void invalidation(struct kunit *test)
{
	struct sx_file *sf = sx_file_create(test, 0);
	struct sx_mirror *m = sx_mirror_create(test, &config);
	struct sx_fixture *f = test->priv;
	dma_addr_t iova;

	sx_map_file(test, f->start, SX_RANGE, PROT_READ | PROT_WRITE, MAP_SHARED, sf);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	iova = sx_entry(m, 0, f->start) & PAGE_MASK;
	expect_reached(test, iova, 0, SX_RANGE_PAGES, true);
	sx_file_zap(sf, 3, 1);
	expect_reached(test, iova, 0, SX_RANGE_PAGES, false);

	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	iova = sx_entry(m, 0, f->start) & PAGE_MASK;
	expect_reached(test, iova, 0, SX_RANGE_PAGES, true);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
	expect_reached(test, iova, 0, SX_RANGE_PAGES, false);
}

/* For reading first, then for writing: another window takes the place of the first one. */
static void read_then_write(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &config);
	struct sx_fixture *f = test->priv;
	dma_addr_t iova;

	sx_map(test, f->start, SX_RANGE);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_READ), 0);
	iova = sx_entry(m, 0, f->start) & PAGE_MASK;
	expect_reached(test, iova, 0, SX_RANGE_PAGES, true);
	sx_check(test, m);

	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	iova = sx_entry(m, 0, f->start) & PAGE_MASK;
	expect_reached(test, iova, 0, SX_RANGE_PAGES, true);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
	expect_reached(test, iova, 0, SX_RANGE_PAGES, false);
}

/* Only what the CPU unmapped goes; the pieces go one after the other, the window with the last. */
static void hole(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct sx_mirror *m;
	dma_addr_t iova;

	m = scattered(test, &iova);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + 4 * PAGE_SIZE, 3 * PAGE_SIZE), 0);
	expect_reached(test, iova, 0, 4, true);
	expect_reached(test, iova, 4, 3, false);
	expect_reached(test, iova, 7, 9, true);
	sx_bury(m);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 2);
	expect_reached(test, iova, 0, 4, true);
	expect_reached(test, iova, 4, 3, false);
	expect_reached(test, iova, 7, 9, true);
	sx_check(test, m);

	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, 4 * PAGE_SIZE), 0);
	sx_bury(m);
	expect_reached(test, iova, 0, 7, false);
	expect_reached(test, iova, 7, 9, true);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + 15 * PAGE_SIZE, PAGE_SIZE), 0);
	sx_bury(m);
	expect_reached(test, iova, 7, 8, true);
	expect_reached(test, iova, 15, 1, false);
	sx_check(test, m);

	sx_mirror_destroy(test, m);
	expect_reached(test, iova, 0, SX_RANGE_PAGES, false);
}

static struct kunit_case gpusvm_iommu_cases[] = {
	KUNIT_CASE(one_window),
	KUNIT_CASE(invalidation),
	KUNIT_CASE(read_then_write),
	KUNIT_CASE(hole),
	{}
};

static struct kunit_suite gpusvm_iommu_suite = {
	.name = "dsvm_gpusvm_iommu",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = sx_init_iommu,
	.exit = sx_exit_iommu,
	.test_cases = gpusvm_iommu_cases,
};
kunit_test_suite(gpusvm_iommu_suite);
