// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The CPU touches what is on the device: how much comes back, how long the device may keep it,
 * and what becomes of it when something goes wrong.
 */
#include <linux/delay.h>
#include <linux/mman.h>

#include "pagemap_fixture.h"

static const struct px_config plain = {};
static const struct px_config in_runs = { .copies_runs = true };
static const struct px_config late = { .copies_runs = true, .late = true };

#define SPAN ((unsigned long)SZ_512K)
#define PAGES (SPAN / PAGE_SIZE)

static struct px_vram *moved(struct kunit *test, const struct px_config *config)
{
	struct px_vram *v = px_vram_create(test, config);

	px_map(test, v->fixture->start, SPAN, 1);
	px_alloc_put(px_move(test, v, v->fixture->start, SPAN));
	return v;
}

/* What a thread reads; the number of pages that are wrong. */
static int read_page(void *arg)
{
	struct sx_fixture *f = arg;

	return px_count_wrong(f, f->start, PAGE_SIZE, 1);
}

static int read_granule(void *arg)
{
	struct sx_fixture *f = arg;

	return px_count_wrong(f, f->start, SZ_64K, 1);
}

/* How much --------------------------------------------------------------------------------- */

struct granule {
	unsigned long bytes; /* what is asked for */
	unsigned long comes;
};

static void granules(struct kunit *test)
{
	static const struct granule granules[] = {
		{ 0, SZ_64K }, { SZ_4K, SZ_4K }, { SZ_32K, SZ_32K }, { SZ_256K, SZ_256K },
		{ SZ_2M, SPAN },
	};
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(granules); i++) {
		unsigned long comes = granules[i].comes;
		/* Neither at the beginning of the granule nor of the span. */
		unsigned long addr = f->start + SPAN - PAGE_SIZE;
		unsigned long first = addr & ~(comes - 1);

		v->granule = granules[i].bytes;
		px_map(test, f->start, SPAN, i);
		px_alloc_put(px_move(test, v, f->start, SPAN));
		px_reset_copies(v);
		px_expect_data(test, addr, PAGE_SIZE, i);
		px_expect_places(test, v, f->start, SPAN, comes >> PAGE_SHIFT,
				 PAGES - (comes >> PAGE_SHIFT));
		px_expect_places(test, v, first, comes, comes >> PAGE_SHIFT, 0);
		KUNIT_EXPECT_EQ(test, v->out.calls, 1);
		KUNIT_EXPECT_EQ(test, v->out.pages, comes >> PAGE_SHIFT);
		px_expect_data(test, f->start, SPAN, i);
	}
}

/* A granule ends where the VMA does, on both sides. */
static void granule_clipped(struct kunit *test)
{
	struct px_vram *v = moved(test, &plain);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, 3 * PAGE_SIZE), 0);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + 10 * PAGE_SIZE, SPAN - 10 * PAGE_SIZE), 0);
	px_expect_data(test, f->start + 5 * PAGE_SIZE, PAGE_SIZE, 1);
	px_expect_places(test, v, f->start, SPAN, 7, 0);
	KUNIT_EXPECT_EQ(test, v->out.pages, 7);
	px_expect_data(test, f->start + 3 * PAGE_SIZE, 7 * PAGE_SIZE, 1);
	px_expect_empty(test, v);
}

/* What is there beside it, in RAM or of another allocation, is left alone, or comes as well. */
static void granule_of_many(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	unsigned int i;

	px_map(test, f->start, SZ_64K, 1);
	for (i = 0; i < 16; i += 2)
		px_alloc_put(px_move(test, v, f->start + i * PAGE_SIZE, PAGE_SIZE));
	px_expect_places(test, v, f->start, SZ_64K, 8, 8);
	px_expect_data(test, f->start, SZ_64K, 1);
	px_expect_places(test, v, f->start, SZ_64K, 16, 0);
	px_expect_empty(test, v);
}

/* Another device wants a page for its atomics, which takes a page in RAM. */
static void taken_by_another_device(struct kunit *test)
{
	struct px_vram *v = moved(test, &plain);
	struct sx_fixture *f = test->priv;
	unsigned long addr = f->start + 5 * PAGE_SIZE;
	int ret = sx_take_exclusive(f, addr);

	if (ret == -EOPNOTSUPP)
		kunit_skip(test, "this kernel has no exclusive access");
	KUNIT_ASSERT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, v->out.pages, SZ_64K / PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, sx_cpu_has(f, addr));
	KUNIT_EXPECT_TRUE(test, sx_cpu_has(f, addr + PAGE_SIZE));

	/* It stays where it is; the others of its granule may go again. */
	px_alloc_put(px_move(test, v, f->start, SZ_16K));
	KUNIT_EXPECT_FALSE(test, sx_cpu_has(f, addr));
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_places(test, v, f->start, SPAN, PAGES, 0);
	px_expect_empty(test, v);
}

/* How long --------------------------------------------------------------------------------- */

/* Longer than it takes to come to the first access. */
#define TIMESLICE_MS (IS_ENABLED(CONFIG_PROVE_LOCKING) ? 3000 : 500)

/*
 * It comes back when the time is over and not before. That it sleeps until then, and does not
 * come to ask again and again, is what the number of faults says.
 */
static void timeslice_with(struct kunit *test,
			   int (*touch)(struct sx_fixture *f, unsigned long addr))
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	struct px_alloc *alloc;
	u64 waits;

	v->timeslice_ms = TIMESLICE_MS;
	px_map(test, f->start, SPAN, 1);
	alloc = px_move(test, v, f->start, SPAN);
	KUNIT_ASSERT_EQ(test, touch(f, f->start), 0);
	KUNIT_EXPECT_FALSE(test, time_before64(get_jiffies_64(), alloc->base.timeslice_expiration));
	px_expect_places(test, v, f->start, SPAN, 16, PAGES - 16);
	waits = px_counters(v).timeslice_waits;
	KUNIT_EXPECT_GE(test, waits, 1);
	KUNIT_EXPECT_LE(test, waits, 3);

	/* It is over. */
	KUNIT_ASSERT_EQ(test, touch(f, f->start + SZ_64K), 0);
	KUNIT_EXPECT_EQ(test, px_counters(v).timeslice_waits, waits);
	px_alloc_put(alloc);
	px_expect_data(test, f->start, SPAN, 1);
}

static int read_once(struct sx_fixture *f, unsigned long addr)
{
	u32 value;

	return sx_cpu_read(f, addr, &value);
}

/* The lock of the address space can be given up for that. */
static void timeslice(struct kunit *test)
{
	timeslice_with(test, read_once);
}

/* It cannot. */
static void timeslice_of_hmm(struct kunit *test)
{
	timeslice_with(test, px_hmm_fault);
}

/* Whoever faults has a page for a moment each time that it looks, and may be put off just then. */
static int evict_patiently(struct px_alloc *alloc)
{
	unsigned long timeout = jiffies + SX_PATIENCE / 2;
	int ret;

	do
		ret = drm_pagemap_evict_to_ram(&alloc->base);
	while (ret == -EBUSY && time_before(jiffies, timeout));
	return ret;
}

/* It is not for evictions, and who waits for it does not wait any longer. */
static void timeslice_evicted(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	struct px_thread *reader = px_thread_create(test, read_page, f);
	unsigned long begun = jiffies;
	struct px_alloc *alloc;

	v->timeslice_ms = 60 * MSEC_PER_SEC;
	px_map(test, f->start, SPAN, 1);
	alloc = px_move(test, v, f->start, SPAN);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	px_alloc_put(alloc);
	px_expect_data(test, f->start, SPAN, 1);
	KUNIT_EXPECT_EQ(test, px_counters(v).timeslice_waits, 0);

	alloc = px_move(test, v, f->start, SPAN);
	px_thread_start(reader);
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&reader->done, HZ / 5), 0);
	KUNIT_EXPECT_EQ(test, evict_patiently(alloc), 0);
	KUNIT_EXPECT_EQ(test, px_thread_end(reader), 0);
	/* It would be a minute. */
	KUNIT_EXPECT_TRUE(test, time_before(jiffies, begun + SX_PATIENCE));
	KUNIT_EXPECT_EQ(test, px_counters(v).timeslice_waits, 1);
	px_alloc_put(alloc);
	px_expect_data(test, f->start, SPAN, 1);
}

/* Gone wrong ------------------------------------------------------------------------------- */

/* The device does not give it back: the process is told, and other memory is not concerned. */
static void lost_with(struct kunit *test, const struct px_config *config)
{
	struct px_vram *v = moved(test, config);
	struct sx_fixture *f = test->priv;
	u32 value;

	px_fail_copies(v, -EIO, 1000);
	KUNIT_EXPECT_EQ(test, sx_cpu_read(f, f->start, &value), -EFAULT);
	KUNIT_EXPECT_EQ(test, px_counters(v).fault_lost, 1);
	KUNIT_EXPECT_EQ(test, px_counters(v).fault_oom, 0);
	px_expect_places(test, v, f->start, SPAN, 0, PAGES);

	/* Whatever it was, it is over. */
	px_fail_copies(v, 0, 0);
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, v);
}

static void lost(struct kunit *test)
{
	lost_with(test, &plain);
}

static void lost_in_runs(struct kunit *test)
{
	lost_with(test, &in_runs);
}

/* What is no more than bad luck: the data is there, and no process is to hear of a bus error. */
static void transient(struct kunit *test)
{
	static const int errors[] = { -EAGAIN, -EBUSY, -EINTR, -ERESTARTSYS, -ENOMEM };
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;
	unsigned int i;
	u32 value;
	int ret;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		px_map(test, f->start, SPAN, i);
		px_alloc_put(px_move(test, v, f->start, SPAN));
		px_fail_copies(v, errors[i], 1);
		ret = sx_cpu_read(f, f->start, &value);
		/* A user's access begins again after that; the kernel's own is refused. */
		if (errors[i] != -ENOMEM)
			KUNIT_EXPECT_EQ_MSG(test, ret, 0, "error %d", errors[i]);
		KUNIT_EXPECT_EQ_MSG(test, atomic_read(&v->copy_errors), 0, "error %d", errors[i]);
		px_expect_data(test, f->start, SPAN, i);
		KUNIT_EXPECT_EQ_MSG(test, px_counters(v).fault_lost, 0, "error %d", errors[i]);
	}
	px_expect_empty(test, v);
}

static void no_memory(struct kunit *test)
{
	struct px_vram *v = moved(test, &plain);
	struct sx_fixture *f = test->priv;
	u32 value;

	px_fail_copies(v, -ENOMEM, 1000);
	KUNIT_EXPECT_EQ(test, sx_cpu_read(f, f->start, &value), -EFAULT);
	px_fail_copies(v, 0, 0);
	KUNIT_EXPECT_GE(test, px_counters(v).fault_oom, 1);
	KUNIT_EXPECT_EQ(test, px_counters(v).fault_lost, 0);
	px_expect_places(test, v, f->start, SPAN, 0, PAGES);
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, v);
}

/* Two at once ------------------------------------------------------------------------------ */

struct hold {
	struct completion reached;
	struct completion go;
};

static void hold_first(struct px_vram *v, bool to_ram)
{
	struct hold *hold = v->hook_arg;

	v->on_copy = NULL;
	complete(&hold->reached);
	wait_for_completion(&hold->go);
}

/* The second one finds that somebody is at it, and copies nothing by itself. */
static void single_flight_with(struct kunit *test, const struct px_config *config)
{
	struct hold *hold = kunit_kzalloc(test, sizeof(*hold), GFP_KERNEL);
	struct px_vram *v = moved(test, config);
	struct sx_fixture *f = test->priv;
	struct px_thread *first, *second;

	KUNIT_ASSERT_NOT_NULL(test, hold);
	init_completion(&hold->reached);
	init_completion(&hold->go);
	v->hook_arg = hold;
	v->on_copy = hold_first;

	first = px_thread_create(test, read_page, f);
	second = px_thread_create(test, read_page, f);
	px_thread_start(first);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&hold->reached, SX_PATIENCE), 0);
	px_thread_start(second);
	msleep(100);
	KUNIT_EXPECT_FALSE(test, completion_done(&second->done));
	complete_all(&hold->go);
	KUNIT_EXPECT_EQ(test, px_thread_end(first), 0);
	KUNIT_EXPECT_EQ(test, px_thread_end(second), 0);
	KUNIT_EXPECT_EQ(test, v->out.calls, 1);
	KUNIT_EXPECT_EQ(test, v->out.pages, 16);
	px_expect_places(test, v, f->start, SPAN, 16, PAGES - 16);
	px_expect_data(test, f->start, SPAN, 1);
}

static void single_flight(struct kunit *test)
{
	single_flight_with(test, &plain);
}

static void single_flight_late(struct kunit *test)
{
	single_flight_with(test, &late);
}

/* Somebody has a reference to the page: it comes when that goes, and its neighbours before. */
static void held(struct kunit *test)
{
	struct px_vram *v = moved(test, &plain);
	struct sx_fixture *f = test->priv;
	struct px_thread *reader = px_thread_create(test, read_granule, f);
	struct page *page;

	page = px_device_page(test, v, f->start);
	get_page(page);
	px_thread_start(reader);
	msleep(100);
	KUNIT_EXPECT_FALSE(test, completion_done(&reader->done));
	put_page(page);
	KUNIT_EXPECT_EQ(test, px_thread_end(reader), 0);
	px_expect_places(test, v, f->start, SPAN, 16, PAGES - 16);
	KUNIT_EXPECT_EQ(test, px_counters(v).fault_lost, 0);
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, v);
}

static struct kunit_case pagemap_fault_cases[] = {
	KUNIT_CASE(granules),
	KUNIT_CASE(granule_clipped),
	KUNIT_CASE(granule_of_many),
	KUNIT_CASE(taken_by_another_device),
	KUNIT_CASE(timeslice),
	KUNIT_CASE(timeslice_of_hmm),
	KUNIT_CASE(timeslice_evicted),
	KUNIT_CASE(lost),
	KUNIT_CASE(lost_in_runs),
	KUNIT_CASE(transient),
	KUNIT_CASE(no_memory),
	KUNIT_CASE(single_flight),
	KUNIT_CASE(single_flight_late),
	KUNIT_CASE(held),
	{}
};

static struct kunit_suite pagemap_fault_suite = {
	.name = "dsvm_pagemap_fault",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = px_init,
	.exit = px_exit,
	.test_cases = pagemap_fault_cases,
};
kunit_test_suite(pagemap_fault_suite);
