// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * hmmptrs of a device behind an IOMMU: what its page tables say is what the device could reach. Each
 * piece has one window of addresses, and that goes with it.
 */
#include <linux/iommu.h>
#include <linux/mman.h>

#include "hmmptr_driver.h"

#define PAGES(n) ((n) * PAGE_SIZE)
#define SPAN_PAGES 16
#define SPAN PAGES(SPAN_PAGES)

/* Pages that do not follow each other, in two pieces. */
static struct hx_ptr *scattered(struct kunit *test)
{
	struct hx_vm *vm = hx_vm_create(test);
	struct sx_fixture *f = test->priv;
	struct hx_ptr *p = hx_ptr_create(test, vm, f->start, SPAN);
	unsigned int i;

	sx_map(test, f->start, SPAN);
	for (i = SPAN_PAGES; i > 0; i--)
		KUNIT_ASSERT_EQ(test, sx_cpu_write(f, f->start + PAGES(i - 1), i), 0);
	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, PAGES(8), true), 0);
	KUNIT_ASSERT_EQ(test, hx_use(p, f->start + PAGES(8), PAGES(8), true), 0);
	hx_expect_bound(test, p, f->start, SPAN);
	return p;
}

static dma_addr_t address(struct hx_ptr *p, unsigned int page)
{
	return hx_entry(p, p->base.start + PAGES(page)) & PAGE_MASK;
}

/* Whether the device reaches anything there. */
static unsigned int count_reached(struct hx_ptr *p, const dma_addr_t *at, unsigned int count)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(p->base.drm->dev);
	unsigned int i, reached = 0;

	for (i = 0; i < count; i++)
		reached += !!iommu_iova_to_phys(domain, at[i]);
	return reached;
}

static void windows(struct kunit *test)
{
	struct hx_ptr *p = scattered(test);
	dma_addr_t at[SPAN_PAGES];
	unsigned int i;

	for (i = 0; i < SPAN_PAGES; i++) {
		at[i] = address(p, i);
		/* Without such windows there is an address for each page, in any order. */
		if (IS_ENABLED(CONFIG_IOMMU_DMA) && i % 8)
			KUNIT_EXPECT_EQ(test, at[i], at[i - 1] + PAGE_SIZE);
	}
	KUNIT_EXPECT_EQ(test, count_reached(p, at, SPAN_PAGES), SPAN_PAGES);

	/* One goes and the other one stays. */
	KUNIT_ASSERT_EQ(test, sx_munmap(test->priv, p->base.start, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, count_reached(p, at, 8), 0);
	KUNIT_EXPECT_EQ(test, count_reached(p, at + 8, 8), 8);
	drm_svm_hmmptr_get(&p->base);
	hx_ptr_put(p);
	drm_svm_hmmptr_release(&p->base);
	KUNIT_EXPECT_EQ(test, count_reached(p, at, SPAN_PAGES), 0);
	drm_svm_hmmptr_put(&p->base);
}

static void hmmptr_exit(struct kunit *test)
{
	hx_exit(test);
	sx_exit_iommu(test);
}

static struct kunit_case hmmptr_iommu_cases[] = {
	KUNIT_CASE(windows),
	{}
};

static struct kunit_suite hmmptr_iommu_suite = {
	.name = "dsvm_hmmptr_iommu",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = sx_init_iommu,
	.exit = hmmptr_exit,
	.test_cases = hmmptr_iommu_cases,
};
kunit_test_suite(hmmptr_iommu_suite);
