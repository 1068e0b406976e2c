// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * hmmptrs of memory that moves: what stays with a device, and what comes to RAM for it; both in
 * one; and what the kernel is told of device pages, which is nothing.
 */
#include <linux/mm.h>

#include "hmmptr_driver.h"
#include "pagemap_fixture.h"

#define PAGES(n) ((n) * PAGE_SIZE)
#define SPAN_PAGES 16
#define SPAN PAGES(SPAN_PAGES)

/* Memory, and something of it with a device. */
struct scene {
	struct px_vram *v;
	struct hx_vm *vm;
	struct hx_ptr *p;
	unsigned long start;
};

/* The first @moved pages are with the device; the hmmptr has an owner or not. */
static struct scene scene_create(struct kunit *test, unsigned int moved, bool owned)
{
	const struct px_config config = { .copies_runs = true };
	struct sx_fixture *f = test->priv;
	struct drm_svm_hmmptr_args args = { .start = f->start, .end = f->start + SPAN };
	struct scene s = { .start = f->start };

	s.v = px_vram_create(test, &config);
	s.vm = hx_vm_create(test);
	px_map(test, s.start, SPAN, 1);
	if (moved)
		px_alloc_put(px_move(test, s.v, s.start, PAGES(moved)));
	args.owner = owned ? s.v->pagemap.owner : NULL;
	KUNIT_ASSERT_EQ(test, hx_ptr_make(s.vm, &args, &s.p), 0);
	return s;
}

static unsigned int count_device_entries(struct scene *s)
{
	unsigned int i, count = 0;

	for (i = 0; i < SPAN_PAGES; i++)
		count += !!(hx_entry(s->p, s->start + PAGES(i)) & HX_ENTRY_DEVICE);
	return count;
}

/* The entry leads to the page that the process has there, whosever it is. */
static void expect_device_page(struct kunit *test, struct scene *s, unsigned int page)
{
	const unsigned long addr = s->start + PAGES(page);
	const u64 entry = hx_entry(s->p, addr);

	KUNIT_EXPECT_TRUE(test, entry & HX_ENTRY_DEVICE);
	KUNIT_EXPECT_EQ(test, entry & PAGE_MASK,
			PFN_PHYS(page_to_pfn(px_device_page(test, s->v, addr))));
}

/* A userptr: whatever is used comes to RAM. */
static void without_owner(struct kunit *test)
{
	struct scene s = scene_create(test, 8, false);

	KUNIT_ASSERT_EQ(test, hx_use(s.p, s.start, SPAN, true), 0);
	px_expect_places(test, s.v, s.start, SPAN, SPAN_PAGES, 0);
	hx_expect_bound(test, s.p, s.start, SPAN);
	KUNIT_EXPECT_EQ(test, s.v->maps, 0);
	px_expect_data(test, s.start, SPAN, 1);
	hx_vm_destroy(test, s.vm);
}

static void with_owner(struct kunit *test)
{
	struct scene s = scene_create(test, SPAN_PAGES, true);
	unsigned int i;

	KUNIT_ASSERT_EQ(test, hx_use(s.p, s.start, SPAN, true), 0);
	px_expect_places(test, s.v, s.start, SPAN, 0, SPAN_PAGES);
	KUNIT_EXPECT_EQ(test, count_device_entries(&s), SPAN_PAGES);
	for (i = 0; i < SPAN_PAGES; i++)
		expect_device_page(test, &s, i);
	KUNIT_EXPECT_GT(test, s.v->maps, 0);
	hx_check(test, s.vm);

	/* It goes when the hmmptr does. */
	hx_vm_destroy(test, s.vm);
	KUNIT_EXPECT_EQ(test, s.v->maps, 0);
	px_expect_data(test, s.start, SPAN, 1);
}

/* Page by page, in one piece. */
static void mixed(struct kunit *test)
{
	struct scene s = scene_create(test, 6, true);

	KUNIT_ASSERT_EQ(test, hx_use(s.p, s.start, SPAN, true), 0);
	px_expect_places(test, s.v, s.start, SPAN, SPAN_PAGES - 6, 6);
	KUNIT_EXPECT_EQ(test, count_device_entries(&s), 6);
	expect_device_page(test, &s, 0);
	expect_device_page(test, &s, 5);
	hx_expect_bound(test, s.p, s.start + PAGES(6), PAGES(10));
	hx_check(test, s.vm);
	hx_vm_destroy(test, s.vm);
}

/* It moves under a hmmptr that is bound, there and back, and the GPU is told each time. */
static void moved(struct kunit *test)
{
	struct scene s = scene_create(test, 0, true);

	KUNIT_ASSERT_EQ(test, hx_use(s.p, s.start, SPAN, true), 0);
	hx_expect_bound(test, s.p, s.start, SPAN);

	px_alloc_put(px_move(test, s.v, s.start, SPAN));
	hx_expect_unbound(test, s.p, s.start, SPAN);
	KUNIT_EXPECT_FALSE(test, hx_all_valid(s.vm));
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&s.vm->set), 0);
	px_expect_places(test, s.v, s.start, SPAN, 0, SPAN_PAGES);
	KUNIT_EXPECT_EQ(test, count_device_entries(&s), SPAN_PAGES);
	hx_check(test, s.vm);

	/* The CPU wants it. */
	px_expect_data(test, s.start, SPAN, 1);
	hx_expect_unbound(test, s.p, s.start, SPAN);
	KUNIT_EXPECT_EQ(test, s.v->maps, 0);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_revalidate(&s.vm->set), 0);
	px_expect_places(test, s.v, s.start, SPAN, SPAN_PAGES, 0);
	hx_expect_bound(test, s.p, s.start, SPAN);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(s.vm));
	hx_vm_destroy(test, s.vm);
}

/* It may move away between the steps, like any other page. */
static void moved_before_the_map(struct kunit *test)
{
	struct scene s = scene_create(test, SPAN_PAGES, true);

	KUNIT_ASSERT_EQ(test, drm_svm_hmmptr_populate(&s.p->base, s.start, s.start + SPAN, true), 0);
	KUNIT_EXPECT_EQ(test, s.v->maps, 0);
	px_expect_data(test, s.start, SPAN, 1);
	KUNIT_EXPECT_EQ(test, drm_svm_hmmptr_map_dma_pages(&s.p->base, s.start, s.start + SPAN),
			-EAGAIN);
	KUNIT_EXPECT_EQ(test, s.v->maps, 0);
	KUNIT_EXPECT_EQ(test, hx_use(s.p, s.start, SPAN, true), 0);
	hx_expect_bound(test, s.p, s.start, SPAN);
	hx_vm_destroy(test, s.vm);
}

/* Memory of two providers cannot be mapped as one: it comes to RAM. */
static void of_two(struct kunit *test)
{
	const struct px_config here = { .clique = true, .copies_runs = true };
	const struct px_config there = { .clique = true, .copies_runs = true, .device = 1 };
	struct px_vram *v = px_vram_create(test, &here);
	struct px_vram *peer = px_vram_create(test, &there);
	struct sx_fixture *f = test->priv;
	const struct drm_svm_hmmptr_args args = {
		.start = f->start,
		.end = f->start + SPAN,
		.owner = v->pagemap.owner,
	};
	struct hx_vm *vm = hx_vm_create(test);
	struct hx_ptr *p = NULL;

	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, v, f->start, PAGES(8)));
	px_alloc_put(px_move(test, peer, f->start + PAGES(8), PAGES(8)));
	KUNIT_ASSERT_EQ(test, hx_ptr_make(vm, &args, &p), 0);
	KUNIT_ASSERT_EQ(test, hx_use(p, f->start, SPAN, true), 0);
	hx_expect_bound(test, p, f->start, SPAN);
	px_expect_data(test, f->start, SPAN, 1);
	KUNIT_EXPECT_EQ(test, v->maps, 0);
	KUNIT_EXPECT_EQ(test, peer->maps, 0);
	hx_vm_destroy(test, vm);
}

/* A piece that begins inside of a huge page is of those of its pages that it shows. */
static void in_a_huge_page(struct kunit *test)
{
	struct scene s = scene_create(test, 0, true);
	struct sx_fixture *f = test->priv;
	const unsigned long huge = f->start + SZ_2M;
	const struct drm_svm_hmmptr_args args = {
		.start = huge + PAGES(3),
		.end = huge + SZ_2M,
		.owner = s.v->pagemap.owner,
	};
	struct drm_svm_migrate job = {};
	unsigned long pfn;
	unsigned int i;

	px_map(test, huge, SZ_2M, 2);
	KUNIT_ASSERT_EQ(test, px_job(s.v, huge, SZ_2M, &job), 0);
	if (px_look(test, s.v, huge, SZ_2M).huge != SZ_2M / PAGE_SIZE)
		kunit_skip(test, "this kernel moves no huge pages, or had none");

	pfn = page_to_pfn(px_device_page(test, s.v, huge));
	KUNIT_ASSERT_EQ(test, hx_ptr_make(s.vm, &args, &s.p), 0);
	KUNIT_ASSERT_EQ(test, hx_use(s.p, huge + PAGES(3), PAGES(4), true), 0);
	KUNIT_ASSERT_EQ(test, hx_use(s.p, huge + PAGES(7), SZ_2M - PAGES(7), true), 0);
	for (i = 3; i < SZ_2M / PAGE_SIZE; i++)
		KUNIT_ASSERT_EQ_MSG(test, PHYS_PFN(hx_entry(s.p, huge + PAGES(i)) & PAGE_MASK), pfn + i,
				    "page %u", i);
	px_expect_data(test, huge, SZ_2M, 2);
	hx_vm_destroy(test, s.vm);
}

/* The kernel has nothing to do with these; of the pages of RAM beside them it is told. */
static void told_of_ram_alone(struct kunit *test)
{
	struct scene s = scene_create(test, 1, true);
	struct page *device = px_device_page(test, s.v, s.start);
	struct page *ram = px_take_page(test, s.start + PAGES(1), false);

	folio_clear_dirty(page_folio(ram));
	folio_clear_referenced(page_folio(ram));
	folio_clear_dirty(page_folio(device));
	folio_clear_referenced(page_folio(device));
	KUNIT_EXPECT_EQ(test, hx_use(s.p, s.start, SPAN, true), 0);
	KUNIT_EXPECT_EQ(test, count_device_entries(&s), 1);
	KUNIT_EXPECT_TRUE(test, folio_test_dirty(page_folio(ram)));
	KUNIT_EXPECT_TRUE(test, folio_test_referenced(page_folio(ram)));
	KUNIT_EXPECT_FALSE(test, folio_test_dirty(page_folio(device)));
	KUNIT_EXPECT_FALSE(test, folio_test_referenced(page_folio(device)));
	put_page(ram);
	hx_vm_destroy(test, s.vm);
}

static void hmmptr_exit(struct kunit *test)
{
	hx_exit(test);
	px_exit(test);
}

static struct kunit_case hmmptr_devmem_cases[] = {
	KUNIT_CASE(without_owner),
	KUNIT_CASE(with_owner),
	KUNIT_CASE(mixed),
	KUNIT_CASE(moved),
	KUNIT_CASE(moved_before_the_map),
	KUNIT_CASE(of_two),
	KUNIT_CASE(in_a_huge_page),
	KUNIT_CASE(told_of_ram_alone),
	{}
};

static struct kunit_suite hmmptr_devmem_suite = {
	.name = "dsvm_hmmptr_devmem",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = px_init,
	.exit = hmmptr_exit,
	.test_cases = hmmptr_devmem_cases,
};
kunit_test_suite(hmmptr_devmem_suite);
