// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Invalidations: what the CPU takes away from the devices, what is left of a range of which a
 * part was unmapped, and the order of two passes. What only a process can do to itself (mremap,
 * mprotect, fork, madvise) is for tests/guest.
 */
#include <linux/mman.h>

#include "compat/mmu_notifier_compat.h"
#include "gpusvm_fixture.h"

/* As drivers of mainline's; with only what has gone going; the same without a common lock. */
static const struct sx_config plain = { .devices = 2 };
static const struct sx_config keeping = { .devices = 2, .keeps_rest = true };
static const struct sx_config concurrent = {
	.features = DRM_SVM_WINDOW_LOCKS,
	.concurrent = true,
	.devices = 2,
	.keeps_rest = true,
};
static const struct sx_config two_passes = {
	.features = DRM_SVM_WINDOW_LOCKS,
	.concurrent = true,
	.devices = 2,
	.keeps_rest = true,
	.two_passes = true,
};

/* A mirror of one range whose pages are all different ones and bound. */
static struct sx_mirror *bound(struct kunit *test, const struct sx_config *config)
{
	struct sx_mirror *m = sx_mirror_create(test, config);
	struct sx_fixture *f = test->priv;

	sx_map(test, f->start, SX_RANGE);
	sx_cpu_fill(test, f->start, SX_RANGE, 1);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	sx_expect_bound(test, m, f->start, SX_RANGE);
	return m;
}

static struct drm_svm_counters counters_of(struct sx_mirror *m)
{
	struct drm_svm_counters counters;

	drm_svm_read_counters(&m->base, &counters);
	return counters;
}

static void unmap_pages(struct kunit *test, unsigned int first, unsigned int count)
{
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + first * PAGE_SIZE, count * PAGE_SIZE), 0);
}

/* That a span of pages is bound, or not. */
static void expect_pages(struct kunit *test, struct sx_mirror *m, unsigned int first,
			 unsigned int count, bool present)
{
	unsigned long addr = m->fixture->start + first * PAGE_SIZE;

	if (present)
		sx_expect_bound(test, m, addr, count * PAGE_SIZE);
	else
		sx_expect_unbound(test, m, addr, count * PAGE_SIZE);
}

/* munmap ---------------------------------------------------------------------------------------- */

static void whole_with(struct kunit *test, const struct sx_config *config)
{
	struct sx_mirror *m = bound(test, config);
	struct sx_fixture *f = test->priv;

	unmap_pages(test, 0, SX_RANGE_PAGES);
	expect_pages(test, m, 0, SX_RANGE_PAGES, false);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 1);
	sx_bury(m);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&m->base.notifier_list));
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_READ), -ENOENT);

	/* Other memory in its place. */
	sx_map(test, f->start, SX_RANGE);
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	sx_map(test, f->start, SX_RANGE);
	expect_pages(test, m, 0, SX_RANGE_PAGES, false);
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

static void whole(struct kunit *test)
{
	whole_with(test, &plain);
}

static void whole_keeping(struct kunit *test)
{
	whole_with(test, &keeping);
}

static void whole_concurrent(struct kunit *test)
{
	whole_with(test, &concurrent);
}

static void whole_two_passes(struct kunit *test)
{
	whole_with(test, &two_passes);
}

/* Mainline's way: the range goes, and what is left of the memory gets others. */
static void part(struct kunit *test)
{
	struct sx_mirror *m = bound(test, &plain);
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_range *range;

	range = sx_get_range(m, f->start, DRM_SVM_ACCESS_READ);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	sx_put_range(m, range);

	unmap_pages(test, 4, 2);
	expect_pages(test, m, 0, SX_RANGE_PAGES, false);
	KUNIT_EXPECT_TRUE(test, range->flags.unmapped);
	KUNIT_EXPECT_TRUE(test, range->flags.partial_unmap);
	KUNIT_EXPECT_TRUE(test, to_sx_range(range)->pages[0].flags.unmapped);
	KUNIT_EXPECT_TRUE(test, to_sx_range(range)->pages[1].flags.unmapped);
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start + 6 * PAGE_SIZE, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start + 5 * PAGE_SIZE, DRM_SVM_ACCESS_WRITE), -ENOENT);
	KUNIT_EXPECT_EQ(test, counters_of(m).ranges_trimmed, 0);
	KUNIT_EXPECT_EQ(test, counters_of(m).ranges_split, 0);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* Pages that a munmap takes out of a range, and what it becomes. */
struct hole {
	unsigned int first;
	unsigned int count;
	unsigned int split;
	unsigned int trimmed;
};

static const struct hole holes[] = {
	{ 4, 2, 1, 0 },
	{ 1, 1, 1, 0 },
	{ 14, 1, 1, 0 },
	{ 0, 1, 0, 1 },
	{ 0, 15, 0, 1 },
	{ 15, 1, 0, 1 },
	{ 1, 15, 0, 1 },
};

/* The first page with an entry of the range at @page, and how many there are in all. */
static void expect_span(struct kunit *test, struct sx_mirror *m, unsigned int page,
			unsigned int count)
{
	unsigned long addr = m->fixture->start + page * PAGE_SIZE;
	struct drm_gpusvm_range *range;

	if (!count)
		return;

	range = sx_get_range(m, addr, DRM_SVM_ACCESS_READ);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_start(range), addr);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_size(range), count * PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, range->flags.unmapped);
	KUNIT_EXPECT_FALSE(test, range->flags.partial_unmap);
	sx_lock_window(m, range);
	KUNIT_EXPECT_TRUE(test, sx_is_valid(m, range));
	sx_unlock_window(m, range);
	sx_put_range(m, range);
}

/* What is left is bound all the time, and nothing has to be collected for it. */
static void punch(struct kunit *test, const struct sx_config *config, const struct hole *hole)
{
	struct sx_mirror *m = bound(test, config);
	unsigned int after = hole->first + hole->count;
	struct drm_svm_counters c;

	unmap_pages(test, hole->first, hole->count);
	expect_pages(test, m, 0, hole->first, true);
	expect_pages(test, m, hole->first, hole->count, false);
	expect_pages(test, m, after, SX_RANGE_PAGES - after, true);

	sx_bury(m);
	expect_pages(test, m, 0, hole->first, true);
	expect_pages(test, m, hole->first, hole->count, false);
	expect_pages(test, m, after, SX_RANGE_PAGES - after, true);
	sx_check(test, m);
	expect_span(test, m, 0, hole->first);
	expect_span(test, m, after, SX_RANGE_PAGES - after);

	c = counters_of(m);
	KUNIT_EXPECT_EQ(test, c.ranges_split, hole->split);
	KUNIT_EXPECT_EQ(test, c.ranges_trimmed, hole->trimmed);
	KUNIT_EXPECT_EQ(test, c.ranges_made, 1 + hole->split);
	KUNIT_EXPECT_EQ(test, c.ranges_removed, 0);
	KUNIT_EXPECT_EQ(test, c.collections, m->config.devices);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 1 + hole->split);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->splits), hole->split);

	/* Each piece goes as a range does. */
	unmap_pages(test, 0, SX_RANGE_PAGES);
	expect_pages(test, m, 0, SX_RANGE_PAGES, false);
	sx_bury(m);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 0);
	sx_mirror_destroy(test, m);
}

static void punch_all(struct kunit *test, const struct sx_config *config)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(holes); i++)
		punch(test, config, &holes[i]);
}

static void hole_keeping(struct kunit *test)
{
	punch_all(test, &keeping);
}

static void hole_concurrent(struct kunit *test)
{
	punch_all(test, &concurrent);
}

static void hole_two_passes(struct kunit *test)
{
	punch_all(test, &two_passes);
}

/* Holes that come before anybody trims are one, with what is between them. */
static void two_holes(struct kunit *test)
{
	struct sx_mirror *m = bound(test, &concurrent);
	struct sx_fixture *f = test->priv;

	unmap_pages(test, 4, 1);
	expect_pages(test, m, 5, 11, true);
	unmap_pages(test, 7, 1);
	expect_pages(test, m, 0, 4, true);
	expect_pages(test, m, 4, 4, false);
	expect_pages(test, m, 8, 8, true);
	sx_bury(m);
	sx_check(test, m);
	expect_span(test, m, 0, 4);
	expect_span(test, m, 8, 8);

	/* What was between them is memory as any other. */
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start + 5 * PAGE_SIZE, DRM_SVM_ACCESS_WRITE), 0);
	expect_pages(test, m, 0, 4, true);
	expect_pages(test, m, 5, 1, true);
	expect_pages(test, m, 8, 8, true);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* A hole in a piece that an earlier one has left: it has been split twice. */
static void hole_in_a_piece(struct kunit *test)
{
	struct sx_mirror *m = bound(test, &concurrent);

	unmap_pages(test, 3, 1);
	sx_bury(m);
	unmap_pages(test, 8, 2);
	sx_bury(m);
	expect_span(test, m, 0, 3);
	expect_span(test, m, 4, 4);
	expect_span(test, m, 10, 6);
	unmap_pages(test, 1, 12);
	sx_bury(m);
	expect_span(test, m, 0, 1);
	expect_span(test, m, 13, 3);
	expect_pages(test, m, 1, 12, false);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 2);
	KUNIT_EXPECT_EQ(test, counters_of(m).collections, m->config.devices);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* The kernel splits a huge page before it unmaps a part of it: all of it goes, and comes again. */
static void hole_in_a_huge_page(struct kunit *test)
{
	static const unsigned long chunks[] = { SZ_2M, PAGE_SIZE };
	struct sx_config config = keeping;
	struct sx_fixture *f = test->priv;
	struct sx_mirror *m;

	config.chunks = chunks;
	config.num_chunks = ARRAY_SIZE(chunks);
	m = sx_mirror_create(test, &config);
	sx_map(test, f->start, SZ_2M);
	sx_cpu_fill(test, f->start, SZ_2M, 1);
	if (!PageCompound(pfn_to_page(PHYS_PFN(sx_phys(test, f->start)))))
		kunit_skip(test, "the kernel gave no huge page");

	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	sx_expect_bound(test, m, f->start, SZ_2M);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + SZ_1M, PAGE_SIZE), 0);
	sx_expect_unbound(test, m, f->start, SZ_2M);
	sx_bury(m);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 2);
	sx_check(test, m);

	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start + SZ_2M - 1, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start + SZ_1M, DRM_SVM_ACCESS_WRITE), -ENOENT);
	sx_expect_bound(test, m, f->start, SZ_1M);
	sx_expect_unbound(test, m, f->start + SZ_1M, PAGE_SIZE);
	sx_expect_bound(test, m, f->start + SZ_1M + PAGE_SIZE, SZ_1M - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 2);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* A range that has lost a part loses all of its pages to whatever comes next. */
static void zap_after_hole(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &concurrent);
	struct sx_file *sf = sx_file_create(test, 0);
	struct sx_fixture *f = test->priv;

	sx_map_file(test, f->start, SX_RANGE, PROT_READ | PROT_WRITE, MAP_SHARED, sf);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	unmap_pages(test, 4, 1);
	sx_file_zap(sf, 10, 1);
	expect_pages(test, m, 0, SX_RANGE_PAGES, false);
	sx_bury(m);
	sx_check(test, m);
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	expect_pages(test, m, 0, 4, true);
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start + 5 * PAGE_SIZE, DRM_SVM_ACCESS_WRITE), 0);
	expect_pages(test, m, 5, 11, true);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* What leaves the mapping ------------------------------------------------------------------------ */

static void zap_with(struct kunit *test, const struct sx_config *config)
{
	struct sx_mirror *m = sx_mirror_create(test, config);
	struct sx_file *sf = sx_file_create(test, 0);
	struct sx_fixture *f = test->priv;

	sx_map_file(test, f->start, 2 * SX_RANGE, PROT_READ | PROT_WRITE, MAP_SHARED, sf);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start + SX_RANGE, DRM_SVM_ACCESS_WRITE), 0);
	sx_check(test, m);

	sx_file_zap(sf, 5, 1);
	sx_expect_unbound(test, m, f->start, SX_RANGE);
	sx_expect_bound(test, m, f->start + SX_RANGE, SX_RANGE);
	KUNIT_EXPECT_EQ(test, counters_of(m).invalidations, 1);
	KUNIT_EXPECT_EQ(test, counters_of(m).ranges_invalidated, 1);
	KUNIT_EXPECT_TRUE(test, list_empty(&m->garbage));

	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	sx_expect_bound(test, m, f->start, 2 * SX_RANGE);
	sx_file_zap(sf, 0, 2 * SX_RANGE_PAGES);
	sx_expect_unbound(test, m, f->start, 2 * SX_RANGE);
	KUNIT_EXPECT_EQ(test, counters_of(m).ranges_invalidated, 3);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 2);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

static void zap(struct kunit *test)
{
	zap_with(test, &plain);
}

static void zap_concurrent(struct kunit *test)
{
	zap_with(test, &concurrent);
}

static void zap_two_passes(struct kunit *test)
{
	zap_with(test, &two_passes);
}

/*
 * A device that is none of ours takes a page for its atomics: the GPUs have to let go of it, and
 * whoever of them or of the CPUs comes next ends that.
 */
static void exclusive_with(struct kunit *test, const struct sx_config *config)
{
	struct sx_mirror *m = bound(test, config);
	struct sx_fixture *f = test->priv;
	unsigned long addr = f->start + 5 * PAGE_SIZE;
	int ret = sx_take_exclusive(f, addr);
	u32 value = 0;

	if (ret == -EOPNOTSUPP) {
		sx_mirror_destroy(test, m);
		kunit_skip(test, "this kernel has no exclusive access");
	}
	KUNIT_ASSERT_EQ(test, ret, 0);
	sx_expect_unbound(test, m, f->start, SX_RANGE);
	KUNIT_EXPECT_EQ(test, counters_of(m).ranges_invalidated, 1);
	KUNIT_EXPECT_FALSE(test, sx_cpu_has(f, addr));
	KUNIT_EXPECT_TRUE(test, sx_cpu_has(f, addr + PAGE_SIZE));

	/* The GPU takes it back, with what is in it. */
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	sx_expect_bound(test, m, f->start, SX_RANGE);
	KUNIT_EXPECT_TRUE(test, sx_cpu_has(f, addr));
	KUNIT_EXPECT_EQ(test, sx_cpu_read(f, addr, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 1 + 5);

	/* The CPU does, and then the GPU reads what it has written. */
	KUNIT_ASSERT_EQ(test, sx_take_exclusive(f, addr), 0);
	sx_expect_unbound(test, m, f->start, SX_RANGE);
	KUNIT_EXPECT_EQ(test, sx_cpu_write(f, addr, 77), 0);
	KUNIT_EXPECT_TRUE(test, sx_cpu_has(f, addr));
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_READ), 0);
	sx_expect_bound(test, m, f->start, SX_RANGE);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 1);

	/* It goes while it is taken. */
	KUNIT_ASSERT_EQ(test, sx_take_exclusive(f, addr), 0);
	unmap_pages(test, 0, SX_RANGE_PAGES);
	sx_bury(m);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 0);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

static void exclusive(struct kunit *test)
{
	exclusive_with(test, &plain);
}

static void exclusive_concurrent(struct kunit *test)
{
	exclusive_with(test, &concurrent);
}

static void exclusive_two_passes(struct kunit *test)
{
	exclusive_with(test, &two_passes);
}

/* Two passes ------------------------------------------------------------------------------------- */

struct pass_log {
	unsigned int count;
	enum sx_pass passes[4];
	struct sx_mirror *mirrors[4];
	unsigned int valid; /* ranges whose pages were, in a second pass */
};

static void log_pass(struct sx_mirror *m, enum sx_pass pass)
{
	struct drm_gpusvm_notifier *notifier;
	struct pass_log *log = m->hook_arg;
	struct drm_gpusvm_range *range;

	if (log->count < ARRAY_SIZE(log->passes)) {
		log->passes[log->count] = pass;
		log->mirrors[log->count] = m;
	}
	log->count++;
	if (pass != SX_FINISH)
		return;

	/* Nobody makes windows or ranges in this case, so it may look without the outer lock. */
	list_for_each_entry(notifier, &m->base.notifier_list, entry)
		list_for_each_entry(range, &notifier->range_list, entry)
			log->valid += sx_is_valid(m, range);
}

/* All devices of a process flush at the same time: no one waits for another one's wait. */
static void pass_order(struct kunit *test)
{
	struct pass_log *log = kunit_kzalloc(test, sizeof(*log), GFP_KERNEL);
	struct sx_mirror *a = sx_mirror_create(test, &two_passes);
	struct sx_mirror *b = sx_mirror_create(test, &two_passes);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, log);
	sx_map(test, f->start, SX_RANGE);
	KUNIT_ASSERT_EQ(test, sx_fault(a, f->start, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_ASSERT_EQ(test, sx_fault(b, f->start, DRM_SVM_ACCESS_WRITE), 0);
	a->hook_arg = log;
	b->hook_arg = log;
	a->on_pass = log_pass;
	b->on_pass = log_pass;
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, SX_RANGE), 0);
	a->on_pass = NULL;
	b->on_pass = NULL;

	KUNIT_ASSERT_EQ(test, log->count, 4);
	KUNIT_EXPECT_EQ(test, log->valid, 0);
	KUNIT_EXPECT_EQ(test, log->passes[0], SX_START);
	KUNIT_EXPECT_EQ(test, log->passes[3], SX_FINISH);
	if (COMPAT_TWO_PASSES) {
		KUNIT_EXPECT_EQ(test, log->passes[1], SX_START);
		KUNIT_EXPECT_EQ(test, log->passes[2], SX_FINISH);
		KUNIT_EXPECT_PTR_NE(test, log->mirrors[0], log->mirrors[1]);
		KUNIT_EXPECT_PTR_NE(test, log->mirrors[2], log->mirrors[3]);
	} else {
		KUNIT_EXPECT_EQ(test, log->passes[1], SX_FINISH);
		KUNIT_EXPECT_PTR_EQ(test, log->mirrors[0], log->mirrors[1]);
	}
	sx_expect_unbound(test, a, f->start, SX_RANGE);
	sx_expect_unbound(test, b, f->start, SX_RANGE);
	sx_mirror_destroy(test, a);
	sx_mirror_destroy(test, b);
}

/* What happens elsewhere in the window is not the mirror's business. */
static void beside(struct kunit *test)
{
	struct sx_mirror *m = bound(test, &two_passes);
	struct sx_fixture *f = test->priv;

	sx_map(test, f->start + 2 * SX_RANGE, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + 2 * SX_RANGE, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, counters_of(m).invalidations, 0);
	expect_pages(test, m, 0, SX_RANGE_PAGES, true);
	KUNIT_EXPECT_TRUE(test, list_empty(&m->garbage));
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

static struct kunit_case gpusvm_inval_cases[] = {
	KUNIT_CASE(whole),
	KUNIT_CASE(whole_keeping),
	KUNIT_CASE(whole_concurrent),
	KUNIT_CASE(whole_two_passes),
	KUNIT_CASE(part),
	KUNIT_CASE(hole_keeping),
	KUNIT_CASE(hole_concurrent),
	KUNIT_CASE(hole_two_passes),
	KUNIT_CASE(two_holes),
	KUNIT_CASE(hole_in_a_piece),
	KUNIT_CASE(hole_in_a_huge_page),
	KUNIT_CASE(zap_after_hole),
	KUNIT_CASE(zap),
	KUNIT_CASE(zap_concurrent),
	KUNIT_CASE(zap_two_passes),
	KUNIT_CASE(exclusive),
	KUNIT_CASE(exclusive_concurrent),
	KUNIT_CASE(exclusive_two_passes),
	KUNIT_CASE(pass_order),
	KUNIT_CASE(beside),
	{}
};

static struct kunit_suite gpusvm_inval_suite = {
	.name = "dsvm_gpusvm_inval",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = sx_init,
	.exit = sx_exit,
	.test_cases = gpusvm_inval_cases,
};
kunit_test_suite(gpusvm_inval_suite);
