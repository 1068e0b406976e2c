// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * GPU SVM without pages: what drm_gpusvm_init() takes, windows and ranges, what is found where,
 * counters and the dump.
 */
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>

#include "gpusvm_fixture.h"

/* Setting up ----------------------------------------------------------------------------------- */

struct init_args {
	const char *what;
	struct mm_struct *mm;
	unsigned long start;
	unsigned long range;
	unsigned long window;
	const struct drm_gpusvm_ops *ops;
	const unsigned long *chunks;
	int num_chunks;
};

static void never(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier,
		  const struct mmu_notifier_range *mmu_range)
{
}

static bool never_start(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier,
			const struct mmu_notifier_range *mmu_range)
{
	return false;
}

static struct drm_gpusvm_pages *no_pages(struct drm_gpusvm_range *range, unsigned int *count)
{
	*count = 0;
	return NULL;
}

static const struct drm_gpusvm_ops plain_ops = { .invalidate = never };
static const struct drm_gpusvm_ops empty_ops = {};
static const struct drm_gpusvm_ops start_ops = {
	.range_pages = no_pages,
	.invalidate_start = never_start,
};
static const struct drm_gpusvm_ops start_finish_ops = {
	.invalidate_start = never_start,
	.invalidate_finish = never,
};
static const struct drm_gpusvm_ops window_lock_ops = {
	.invalidate = never,
	.features = DRM_SVM_WINDOW_LOCKS,
};
static const struct drm_gpusvm_ops two_pass_ops = {
	.range_pages = no_pages,
	.invalidate_start = never_start,
	.invalidate_finish = never,
};

static int init(struct drm_gpusvm *gpusvm, const struct init_args *a)
{
	return drm_gpusvm_init(gpusvm, "drm_svm_kunit", a->mm, a->start, a->range, a->window, a->ops,
			       a->chunks, a->num_chunks);
}

static const unsigned long good_chunks[] = { SZ_2M, SZ_64K, SZ_4K };
static const unsigned long upward_chunks[] = { SZ_4K, SZ_64K };
static const unsigned long odd_chunks[] = { SZ_64K + SZ_4K, SZ_4K };
static const unsigned long large_chunks[] = { SZ_4M, SZ_4K };
static const unsigned long zero_chunks[] = { SZ_4K, 0 };

static void init_takes(struct kunit *test)
{
	struct drm_gpusvm *gpusvm = kunit_kzalloc(test, sizeof(*gpusvm), GFP_KERNEL);
	struct sx_fixture *f = test->priv;
	const struct init_args good[] = {
		{ "all", f->mm, 0, TASK_SIZE, SZ_2M, &plain_ops, good_chunks, 3 },
		{ "a part", f->mm, SZ_1M, SZ_16M, SZ_2M, &plain_ops, good_chunks, 3 },
		{ "one chunk", f->mm, 0, TASK_SIZE, SZ_2M, &plain_ops, good_chunks, 1 },
		{ "two passes", f->mm, 0, TASK_SIZE, SZ_2M, &two_pass_ops, good_chunks, 3 },
		{ "pages alone", NULL, 0, 0, 0, NULL, NULL, 0 },
	};
	int held = atomic_read(&f->mm->mm_count);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, gpusvm);
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		KUNIT_ASSERT_EQ_MSG(test, init(gpusvm, &good[i]), 0, "%s", good[i].what);
		KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_count), held + !!good[i].mm);
		drm_gpusvm_fini(gpusvm);
		KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_count), held);
	}
}

static void init_refuses(struct kunit *test)
{
	struct drm_gpusvm *gpusvm = kunit_kzalloc(test, sizeof(*gpusvm), GFP_KERNEL);
	struct sx_fixture *f = test->priv;
	const struct init_args bad[] = {
		{ "no ops", f->mm, 0, TASK_SIZE, SZ_2M, NULL, good_chunks, 3 },
		{ "nothing that invalidates", f->mm, 0, TASK_SIZE, SZ_2M, &empty_ops, good_chunks, 3 },
		{ "no second pass", f->mm, 0, TASK_SIZE, SZ_2M, &start_ops, good_chunks, 3 },
		{ "no range_pages", f->mm, 0, TASK_SIZE, SZ_2M, &start_finish_ops, good_chunks, 3 },
		{ "or for window locks", f->mm, 0, TASK_SIZE, SZ_2M, &window_lock_ops, good_chunks, 3 },
		{ "window of 3 MiB", f->mm, 0, TASK_SIZE, 3 * SZ_1M, &plain_ops, good_chunks, 3 },
		{ "no window", f->mm, 0, TASK_SIZE, 0, &plain_ops, good_chunks, 3 },
		{ "nothing mirrored", f->mm, 0, 0, SZ_2M, &plain_ops, good_chunks, 3 },
		{ "wraps around", f->mm, SZ_1M, ULONG_MAX, SZ_2M, &plain_ops, good_chunks, 3 },
		{ "no chunks", f->mm, 0, TASK_SIZE, SZ_2M, &plain_ops, NULL, 0 },
		{ "zero chunks", f->mm, 0, TASK_SIZE, SZ_2M, &plain_ops, good_chunks, 0 },
		{ "upward", f->mm, 0, TASK_SIZE, SZ_2M, &plain_ops, upward_chunks, 2 },
		{ "odd", f->mm, 0, TASK_SIZE, SZ_2M, &plain_ops, odd_chunks, 2 },
		{ "larger than a window", f->mm, 0, TASK_SIZE, SZ_2M, &plain_ops, large_chunks, 2 },
		{ "chunk of nothing", f->mm, 0, TASK_SIZE, SZ_2M, &plain_ops, zero_chunks, 2 },
		{ "ops without mm", NULL, 0, 0, 0, &plain_ops, NULL, 0 },
		{ "span without mm", NULL, 0, TASK_SIZE, 0, NULL, NULL, 0 },
		{ "window without mm", NULL, 0, 0, SZ_2M, NULL, NULL, 0 },
		{ "chunks without mm", NULL, 0, 0, 0, NULL, good_chunks, 3 },
	};
	int held = atomic_read(&f->mm->mm_count);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, gpusvm);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ_MSG(test, init(gpusvm, &bad[i]), -EINVAL, "%s", bad[i].what);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_count), held);
}

/* Ranges ------------------------------------------------------------------------------------------ */

static const struct sx_config one_lock = {};
static const struct sx_config many_locks = {
	.features = DRM_SVM_WINDOW_LOCKS,
	.concurrent = true,
	.keeps_rest = true,
};

/* What becomes of a fault: the range's span, or an error. */
static void expect_range(struct kunit *test, struct sx_mirror *m, unsigned long addr,
			 unsigned long start, unsigned long bytes)
{
	struct drm_gpusvm_range *range = sx_get_range(m, addr, DRM_SVM_ACCESS_READ);

	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(range), "%ld at %#lx", PTR_ERR(range),
			       addr - m->fixture->start);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_start(range), start);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_size(range), bytes);
	sx_put_range(m, range);
}

static void expect_error(struct kunit *test, struct sx_mirror *m, unsigned long addr,
			 enum drm_svm_access access, int error)
{
	struct drm_gpusvm_range *range = sx_get_range(m, addr, access);

	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(range), error);
	if (!IS_ERR(range))
		sx_put_range(m, range);
}

static void chunks_with(struct kunit *test, const struct sx_config *config)
{
	struct sx_mirror *m = sx_mirror_create(test, config);
	struct sx_fixture *f = test->priv;
	unsigned long at = f->start;

	/* Two ranges and a page; and a page that no range fits around. */
	sx_map(test, at, 2 * SX_RANGE + PAGE_SIZE);
	sx_map(test, at + 4 * SX_RANGE + PAGE_SIZE, PAGE_SIZE);

	expect_range(test, m, at + SX_RANGE + 5 * PAGE_SIZE, at + SX_RANGE, SX_RANGE);
	expect_range(test, m, at, at, SX_RANGE);
	expect_range(test, m, at + SX_RANGE - 1, at, SX_RANGE);
	expect_range(test, m, at + 2 * SX_RANGE, at + 2 * SX_RANGE, PAGE_SIZE);
	expect_range(test, m, at + 4 * SX_RANGE + PAGE_SIZE + 7, at + 4 * SX_RANGE + PAGE_SIZE,
		     PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 4);

	/* A small range is in the way of a large one. */
	sx_map(test, at + 6 * SX_RANGE, PAGE_SIZE);
	expect_range(test, m, at + 6 * SX_RANGE, at + 6 * SX_RANGE, PAGE_SIZE);
	sx_map(test, at + 6 * SX_RANGE + PAGE_SIZE, SX_RANGE - PAGE_SIZE);
	expect_range(test, m, at + 6 * SX_RANGE + 2 * PAGE_SIZE, at + 6 * SX_RANGE + 2 * PAGE_SIZE,
		     PAGE_SIZE);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

static void chunks(struct kunit *test)
{
	chunks_with(test, &one_lock);
}

static void chunks_concurrent(struct kunit *test)
{
	chunks_with(test, &many_locks);
}

static void errors_with(struct kunit *test, const struct sx_config *config)
{
	struct sx_mirror *m = sx_mirror_create(test, config);
	struct sx_file *io = sx_file_create(test, VM_IO | VM_DONTEXPAND);
	struct sx_file *pfnmap = sx_file_create(test, VM_PFNMAP | VM_DONTEXPAND);
	struct sx_fixture *f = test->priv;
	unsigned long at = f->start;

	KUNIT_ASSERT_EQ(test, sx_munmap(f, at, SX_RANGE), 0);
	expect_error(test, m, at, DRM_SVM_ACCESS_READ, -ENOENT);

	KUNIT_ASSERT_EQ(test, sx_mmap(f, at, SX_RANGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, NULL),
			0);
	expect_error(test, m, at, DRM_SVM_ACCESS_WRITE, -EPERM);
	expect_error(test, m, at, DRM_SVM_ACCESS_ANY, -EPERM);
	m->ctx.read_only = true;
	expect_error(test, m, at, DRM_SVM_ACCESS_WRITE, -EPERM);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 0);
	expect_error(test, m, at, DRM_SVM_ACCESS_ANY, 0);
	m->ctx.read_only = false;
	expect_error(test, m, at + PAGE_SIZE, DRM_SVM_ACCESS_READ, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 1);

	sx_map_file(test, at + SX_RANGE, SX_RANGE, PROT_READ | PROT_WRITE, MAP_SHARED, io);
	expect_error(test, m, at + SX_RANGE, DRM_SVM_ACCESS_READ, -EIO);
	sx_map_file(test, at + SX_RANGE, SX_RANGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    pfnmap);
	expect_error(test, m, at + SX_RANGE, DRM_SVM_ACCESS_READ, -EIO);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 1);

	expect_error(test, m, TASK_SIZE, DRM_SVM_ACCESS_READ, -EINVAL);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

static void errors(struct kunit *test)
{
	errors_with(test, &one_lock);
}

static void errors_concurrent(struct kunit *test)
{
	errors_with(test, &many_locks);
}

/* A new range stays in the span that the driver names. */
static void gpuva_bounds(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &many_locks);
	struct sx_fixture *f = test->priv;
	unsigned long at = f->start;
	struct drm_gpusvm_range *range;

	sx_map(test, at, 4 * SX_RANGE);
	range = drm_svm_range_acquire(&m->base, at + PAGE_SIZE, at + PAGE_SIZE, TASK_SIZE, &m->ctx);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_start(range), at + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_size(range), PAGE_SIZE);
	drm_svm_range_release(range);

	range = drm_svm_range_acquire(&m->base, at + SX_RANGE, 0, at + 2 * SX_RANGE, &m->ctx);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_size(range), SX_RANGE);
	drm_svm_range_release(range);

	range = drm_svm_range_acquire(&m->base, at + 2 * SX_RANGE, 0, at + 3 * SX_RANGE - 1, &m->ctx);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_size(range), PAGE_SIZE);
	drm_svm_range_release(range);
	sx_mirror_destroy(test, m);
}

/* Chunks up to the threshold are for memory that is there. */
static void check_pages_threshold(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &one_lock);
	struct sx_fixture *f = test->priv;
	unsigned long at = f->start;

	sx_map(test, at, 2 * SX_RANGE);
	sx_cpu_fill(test, at, SX_RANGE - PAGE_SIZE, 1);
	m->ctx.check_pages_threshold = SX_RANGE;
	expect_range(test, m, at, at, PAGE_SIZE);
	expect_range(test, m, at + SX_RANGE, at + SX_RANGE, PAGE_SIZE);
	sx_mirror_destroy(test, m);

	m = sx_mirror_create(test, &one_lock);
	sx_cpu_fill(test, at, SX_RANGE, 1);
	m->ctx.check_pages_threshold = SX_RANGE;
	expect_range(test, m, at, at, SX_RANGE);
	m->ctx.check_pages_threshold = SX_RANGE - 1;
	expect_range(test, m, at + SX_RANGE, at + SX_RANGE, SX_RANGE);
	sx_mirror_destroy(test, m);
}

static void devmem_possible(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &one_lock);
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_range *range;

	sx_map(test, f->start, 2 * SX_RANGE);
	range = sx_get_range(m, f->start, DRM_SVM_ACCESS_READ);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_EXPECT_FALSE(test, range->flags.migrate_devmem);
	sx_put_range(m, range);

	m->ctx.devmem_possible = true;
	range = sx_get_range(m, f->start + SX_RANGE, DRM_SVM_ACCESS_READ);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_EXPECT_TRUE(test, range->flags.migrate_devmem);
	sx_put_range(m, range);
	sx_mirror_destroy(test, m);
}

/* Windows ------------------------------------------------------------------------------------------ */

static unsigned int count_windows(struct sx_mirror *m)
{
	struct drm_gpusvm_notifier *notifier;
	unsigned int count = 0;

	drm_gpusvm_notifier_lock(&m->base);
	drm_gpusvm_for_each_notifier(notifier, &m->base, 0, TASK_SIZE)
		count++;
	drm_gpusvm_notifier_unlock(&m->base);
	return count;
}

static void remove_at(struct kunit *test, struct sx_mirror *m, unsigned long addr)
{
	struct drm_gpusvm_range *range = sx_get_range(m, addr, DRM_SVM_ACCESS_READ);

	KUNIT_ASSERT_FALSE(test, IS_ERR(range));
	sx_remove(m, range);
	sx_put_range(m, range);
}

/* A window is there while it has a range. */
static void window_sizes(struct kunit *test)
{
	static const unsigned long sizes[] = { SX_RANGE, SZ_1M, SZ_2M, SZ_512M };
	static const unsigned long offsets[] = { 0, SX_RANGE, SZ_1M, SZ_2M, SZ_4M + SX_RANGE };
	static const unsigned int expected[] = { 5, 4, 3, 1 };
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_range *range;
	struct sx_config config = {};
	unsigned int i, k;
	struct sx_mirror *m;

	sx_map(test, f->start, SX_AREA);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		config.window = sizes[i];
		m = sx_mirror_create(test, &config);
		for (k = 0; k < ARRAY_SIZE(offsets); k++) {
			range = sx_get_range(m, f->start + offsets[k], DRM_SVM_ACCESS_READ);
			KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
			KUNIT_EXPECT_EQ(test, drm_gpusvm_notifier_start(range->notifier),
					ALIGN_DOWN(f->start + offsets[k], sizes[i]));
			KUNIT_EXPECT_EQ(test, drm_gpusvm_notifier_size(range->notifier), sizes[i]);
			sx_put_range(m, range);
		}
		KUNIT_EXPECT_EQ_MSG(test, count_windows(m), expected[i], "windows of %lu bytes",
				    sizes[i]);
		for (k = 0; k < ARRAY_SIZE(offsets); k++)
			remove_at(test, m, f->start + offsets[k]);
		KUNIT_EXPECT_EQ(test, count_windows(m), 0);
		sx_mirror_destroy(test, m);
	}
}

static atomic_t live_windows;

static struct drm_gpusvm_notifier *count_alloc(void)
{
	atomic_inc(&live_windows);
	return kzalloc(sizeof(struct drm_gpusvm_notifier), GFP_KERNEL);
}

static void count_free(struct drm_gpusvm_notifier *notifier)
{
	atomic_dec(&live_windows);
	kfree(notifier);
}

static void window_hooks(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &many_locks);
	struct sx_fixture *f = test->priv;

	atomic_set(&live_windows, 0);
	m->ops.notifier_alloc = count_alloc;
	m->ops.notifier_free = count_free;
	sx_map(test, f->start, SX_AREA);
	expect_range(test, m, f->start, f->start, SX_RANGE);
	expect_range(test, m, f->start + SZ_2M, f->start + SZ_2M, SX_RANGE);
	KUNIT_EXPECT_EQ(test, atomic_read(&live_windows), 2);
	remove_at(test, m, f->start);
	KUNIT_EXPECT_EQ(test, atomic_read(&live_windows), 1);
	sx_mirror_destroy(test, m);
	KUNIT_EXPECT_EQ(test, atomic_read(&live_windows), 0);
}

static void find(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &one_lock);
	struct sx_fixture *f = test->priv;
	unsigned long at = f->start + SX_RANGE;
	struct drm_gpusvm_notifier *notifier;
	unsigned long end = at + SX_RANGE;

	sx_map(test, f->start, SX_AREA);
	expect_range(test, m, at, at, SX_RANGE);

	mutex_lock(&m->lock);
	notifier = drm_gpusvm_notifier_find(&m->base, at, at + 1);
	KUNIT_ASSERT_NOT_NULL(test, notifier);
	KUNIT_EXPECT_PTR_EQ(test, notifier,
			    drm_gpusvm_notifier_find(&m->base, f->start + SZ_2M - 1, f->start + SX_AREA));
	KUNIT_EXPECT_NULL(test, drm_gpusvm_notifier_find(&m->base, f->start + SZ_2M,
							 f->start + SX_AREA));
	KUNIT_EXPECT_NULL(test, drm_gpusvm_notifier_find(&m->base, f->start - 1, f->start));
	KUNIT_EXPECT_NOT_NULL(test, drm_gpusvm_range_find(notifier, at, at + 1));
	KUNIT_EXPECT_NOT_NULL(test, drm_gpusvm_range_find(notifier, end - 1, end));
	KUNIT_EXPECT_NULL(test, drm_gpusvm_range_find(notifier, at - 1, at));
	KUNIT_EXPECT_NULL(test, drm_gpusvm_range_find(notifier, end, f->start + SZ_2M));
	KUNIT_EXPECT_TRUE(test, drm_gpusvm_has_mapping(&m->base, 0, TASK_SIZE));
	KUNIT_EXPECT_TRUE(test, drm_gpusvm_has_mapping(&m->base, end - 1, TASK_SIZE));
	KUNIT_EXPECT_FALSE(test, drm_gpusvm_has_mapping(&m->base, end, TASK_SIZE));
	KUNIT_EXPECT_FALSE(test, drm_gpusvm_has_mapping(&m->base, 0, at));
	mutex_unlock(&m->lock);
	sx_mirror_destroy(test, m);
}

static void iterate(struct kunit *test)
{
	static const unsigned int pages[] = { 1, 0, 3, 7 };
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_range *range = NULL;
	struct drm_gpusvm_notifier *notifier;
	unsigned long last = 0;
	struct sx_mirror *m;
	unsigned int i;

	sx_map(test, f->start, SX_AREA);
	m = sx_mirror_create(test, &one_lock);
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		expect_range(test, m, f->start + pages[i] * SX_RANGE,
			     f->start + pages[i] * SX_RANGE, SX_RANGE);

	mutex_lock(&m->lock);
	notifier = drm_gpusvm_notifier_find(&m->base, 0, TASK_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, notifier);
	i = 0;
	drm_gpusvm_for_each_range(range, notifier, 0, TASK_SIZE) {
		KUNIT_EXPECT_GT(test, drm_gpusvm_range_start(range), last);
		last = drm_gpusvm_range_start(range);
		i++;
	}
	KUNIT_EXPECT_EQ(test, i, ARRAY_SIZE(pages));
	i = 0;
	range = NULL;
	drm_gpusvm_for_each_range(range, notifier, f->start + 2 * SX_RANGE - 1,
				  f->start + 3 * SX_RANGE + 1)
		i++;
	KUNIT_EXPECT_EQ(test, i, 2);
	mutex_unlock(&m->lock);
	sx_mirror_destroy(test, m);
}

static void find_vma_start(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &one_lock);
	struct sx_fixture *f = test->priv;
	unsigned long at = f->start;

	KUNIT_ASSERT_EQ(test, sx_munmap(f, at, SX_AREA), 0);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_find_vma_start(&m->base, at, at + SX_AREA), ULONG_MAX);
	sx_map(test, at + SZ_1M, SX_RANGE);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_find_vma_start(&m->base, at, at + SX_AREA), at + SZ_1M);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_find_vma_start(&m->base, at, at + SZ_1M), ULONG_MAX);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_find_vma_start(&m->base, at + SZ_1M + PAGE_SIZE,
							at + SX_AREA), at + SZ_1M);
	sx_mirror_destroy(test, m);
}

/* References and locks ------------------------------------------------------------------------------- */

static void references(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &many_locks);
	struct sx_fixture *f = test->priv;
	struct drm_gpusvm_range *range, *same;

	sx_map(test, f->start, SX_AREA);
	range = sx_get_range(m, f->start, DRM_SVM_ACCESS_READ);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_EXPECT_EQ(test, kref_read(&range->refcount), 2);
	KUNIT_EXPECT_TRUE(test, mutex_is_locked(&range->lock));
	drm_gpusvm_range_get(range);
	sx_put_range(m, range);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&range->lock));

	same = drm_svm_range_first(&m->base, 0, f->start + 1);
	KUNIT_EXPECT_PTR_EQ(test, same, range);
	drm_gpusvm_range_put(same);
	KUNIT_EXPECT_NULL(test, drm_svm_range_first(&m->base, f->start + SX_RANGE, TASK_SIZE));

	KUNIT_EXPECT_TRUE(test, drm_svm_range_lock(range));
	KUNIT_EXPECT_FALSE(test, range->flags.removed);
	sx_remove(m, range);
	drm_svm_range_unlock(range);
	KUNIT_EXPECT_TRUE(test, range->flags.removed);
	KUNIT_EXPECT_EQ(test, kref_read(&range->refcount), 1);
	KUNIT_EXPECT_FALSE(test, drm_svm_range_lock(range));
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&range->lock));
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 1);
	drm_gpusvm_range_put(range);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 0);
	sx_mirror_destroy(test, m);
}

/* What one sees -------------------------------------------------------------------------------------- */

static void counters(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &many_locks);
	struct sx_fixture *f = test->priv;
	struct drm_svm_counters c;

	sx_map(test, f->start, SX_RANGE);
	sx_map(test, f->start + SZ_2M, SX_RANGE);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start + 1, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start + SZ_2M, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, SX_RANGE), 0);
	sx_bury(m);

	drm_svm_read_counters(&m->base, &c);
	KUNIT_EXPECT_EQ(test, c.faults, 3);
	KUNIT_EXPECT_EQ(test, c.windows_made, 2);
	KUNIT_EXPECT_EQ(test, c.ranges_made, 2);
	KUNIT_EXPECT_EQ(test, c.ranges_removed, 1);
	KUNIT_EXPECT_EQ(test, c.ranges_split, 0);
	KUNIT_EXPECT_EQ(test, c.lost_races, 0);
	KUNIT_EXPECT_EQ(test, c.invalidations, 1);
	KUNIT_EXPECT_EQ(test, c.ranges_invalidated, 1);
	KUNIT_EXPECT_EQ(test, c.collections, 2);
	KUNIT_EXPECT_EQ(test, c.collection_retries, 0);
	KUNIT_EXPECT_EQ(test, c.collection_failures, 0);
	/* In ticks, of which there may have been none. */
	KUNIT_EXPECT_LT(test, c.collection_ns, 60 * NSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, c.pages_mapped, 2 * SX_RANGE_PAGES);
	sx_mirror_destroy(test, m);
}

#ifdef CONFIG_DEBUG_FS
static void debugfs(struct kunit *test)
{
	const size_t size = 4096;
	struct seq_file *seq = kunit_kzalloc(test, sizeof(*seq), GFP_KERNEL);
	char *text = kunit_kzalloc(test, size, GFP_KERNEL);
	struct sx_mirror *m = sx_mirror_create(test, &many_locks);
	struct sx_fixture *f = test->priv;
	char hex[20];

	KUNIT_ASSERT_NOT_NULL(test, seq);
	KUNIT_ASSERT_NOT_NULL(test, text);
	seq->buf = text;
	seq->size = size - 1;
	sx_map(test, f->start, SX_AREA);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start + 3 * SX_RANGE, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_ASSERT_EQ(test, sx_fault(m, f->start + SZ_2M, DRM_SVM_ACCESS_READ), 0);

	drm_svm_debugfs_gpusvm_info(seq, &m->base);
	KUNIT_EXPECT_FALSE(test, seq_has_overflowed(seq));
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, m->base.name));
	snprintf(hex, sizeof(hex), "%lx", f->start + 3 * SX_RANGE);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(text, hex), "%s is not in:\n%s", hex, text);
	snprintf(hex, sizeof(hex), "%lx", f->start + 4 * SX_RANGE - 1);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(text, hex), "%s is not in:\n%s", hex, text);
	snprintf(hex, sizeof(hex), "%lx", f->start + SZ_2M);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(text, hex), "%s is not in:\n%s", hex, text);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(text, "2 made"), "no windows in:\n%s", text);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(text, "writable"), "no access in:\n%s", text);
	sx_mirror_destroy(test, m);
}
#endif

static struct kunit_case gpusvm_cases[] = {
	KUNIT_CASE(init_takes),
	KUNIT_CASE(init_refuses),
	KUNIT_CASE(chunks),
	KUNIT_CASE(chunks_concurrent),
	KUNIT_CASE(errors),
	KUNIT_CASE(errors_concurrent),
	KUNIT_CASE(gpuva_bounds),
	KUNIT_CASE(check_pages_threshold),
	KUNIT_CASE(devmem_possible),
	KUNIT_CASE(window_sizes),
	KUNIT_CASE(window_hooks),
	KUNIT_CASE(find),
	KUNIT_CASE(iterate),
	KUNIT_CASE(find_vma_start),
	KUNIT_CASE(references),
	KUNIT_CASE(counters),
#ifdef CONFIG_DEBUG_FS
	KUNIT_CASE(debugfs),
#endif
	{}
};

static struct kunit_suite gpusvm_suite = {
	.name = "dsvm_gpusvm",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = sx_init,
	.exit = sx_exit,
	.test_cases = gpusvm_cases,
};
kunit_test_suite(gpusvm_suite);
