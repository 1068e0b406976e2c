// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* VM_BIND as it is when nothing is asynchronous. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "bind.h"
#include "inject.h"

/* The defaults of an op are good; a case says what it makes worse. */
#pragma GCC diagnostic ignored "-Woverride-init"

#define NOREPLACE .flags = DRM_SVM_STUB_BIND_NOREPLACE
#define COALESCE .flags = DRM_SVM_STUB_BIND_COALESCE
#define READONLY .flags = DRM_SVM_STUB_BIND_READONLY

/* --- Mapping and unmapping ---------------------------------------------------- */

static void test_unmap_middle(const void *arg)
{
	struct window w;
	struct bo bo;

	open_window(&w);
	make_bo(&w, &bo, 16, bo_flags(&w, arg), 1);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 4, 12, &bo, 4)));
	expect_mappings(&w, 1);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 8, 3)));
	expect_mappings(&w, 2);
	expect_nothing(&w, 3, 1);
	expect_shows(&w, 4, 4, 1, 4);
	expect_nothing(&w, 8, 3);
	expect_shows(&w, 11, 5, 1, 11);
	/* One more unmap of everything and of nothing. */
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, 64)));
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, 64)));
	expect_mappings(&w, 0);
	expect_nothing(&w, 4, 12);
}

static void test_replace_middle(const void *arg)
{
	struct window w;
	struct bo a, b;

	open_window(&w);
	make_bo(&w, &a, 16, bo_flags(&w, arg), 1);
	make_bo(&w, &b, 16, bo_flags(&w, arg), 2);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 16, &a, 0)));
	EXPECT_OK(BIND(&w, MAP_OP(&w, 5, 4, &b, 1)));
	expect_mappings(&w, 3);
	expect_shows(&w, 0, 5, 1, 0);
	expect_shows(&w, 5, 4, 2, 1);
	expect_shows(&w, 9, 7, 1, 9);
	/* Of itself, in its place: what is there stays there. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 10, 2, &a, 10)));
	expect_shows(&w, 9, 7, 1, 9);
	/* And elsewhere: page 10 shows page 0. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 10, 2, &a, 0)));
	expect_shows(&w, 9, 1, 1, 9);
	expect_shows(&w, 10, 2, 1, 0);
	expect_shows(&w, 12, 4, 1, 12);
	/* All of it with one. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 16, &b, 0)));
	expect_mappings(&w, 1);
	expect_shows(&w, 0, 16, 2, 0);
}

static void test_noreplace(const void *arg)
{
	struct window w;
	struct bo bo;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 16, 0, 1);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 4, 4, &bo, 0, NOREPLACE)));
	EXPECT_ERR(BIND(&w, MAP_OP(&w, 0, 5, &bo, 0, NOREPLACE)), -EEXIST);
	EXPECT_ERR(BIND(&w, MAP_OP(&w, 7, 1, &bo, 0, NOREPLACE)), -EEXIST);
	EXPECT_ERR(BIND(&w, MAP_OP(&w, 0, 16, &bo, 0, NOREPLACE)), -EEXIST);
	expect_mappings(&w, 1);
	expect_shows(&w, 4, 4, 1, 0);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 4, &bo, 0, NOREPLACE)));
	EXPECT_OK(BIND(&w, MAP_OP(&w, 8, 4, &bo, 0, NOREPLACE)));
	expect_mappings(&w, 3);
}

static void test_readonly(const void *arg)
{
	struct window w;
	struct bo bo;

	open_window(&w);
	make_bo(&w, &bo, 8, bo_flags(&w, arg), 1);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 8, &bo, 0, READONLY)));
	expect_shows(&w, 0, 8, 1, 0);
	EXPECT_ERR(gpu_fill(&w.gpu, gpu_at(w.base), 1, PAGE), -EPERM);
	/* Both halves stay what they were. */
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 3, 2)));
	EXPECT_ERR(gpu_fill(&w.gpu, gpu_at(AT(&w, 2)), 1, PAGE), -EPERM);
	EXPECT_ERR(gpu_fill(&w.gpu, gpu_at(AT(&w, 5)), 1, PAGE), -EPERM);
	expect_nothing(&w, 3, 2);
	/* The same memory, but not in the same way. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 8, &bo, 0)));
	EXPECT_OK(gpu_fill(&w.gpu, gpu_at(w.base), 1, PAGE));
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 4, &bo, 0, READONLY)));
	EXPECT_ERR(gpu_fill(&w.gpu, gpu_at(AT(&w, 3)), 1, PAGE), -EPERM);
	EXPECT_OK(gpu_fill(&w.gpu, gpu_at(AT(&w, 4)), 1, PAGE));
}

static void test_sparse(const void *arg)
{
	struct window w;
	struct bo bo;

	open_window(&w);
	make_bo(&w, &bo, 8, bo_flags(&w, arg), 1);
	EXPECT_OK(BIND(&w, SPARSE_OP(&w, 0, 16, 0)));
	expect_mappings(&w, 1);
	expect_zeros(&w, 0, 16);
	EXPECT_OK(gpu_fill(&w.gpu, gpu_at(w.base), 7, 16 * PAGE));
	EXPECT_OK(gpu_add(&w.gpu, gpu_at(w.base), gpu_at(w.base), gpu_at(w.base), 16 * PAGE));
	expect_zeros(&w, 0, 16);
	/* A tile becomes resident, and stops being so. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 4, 8, &bo, 0)));
	expect_mappings(&w, 3);
	expect_zeros(&w, 0, 4);
	expect_shows(&w, 4, 8, 1, 0);
	expect_zeros(&w, 12, 4);
	EXPECT_OK(BIND(&w, SPARSE_OP(&w, 4, 8, DRM_SVM_STUB_BIND_READONLY)));
	expect_zeros(&w, 0, 16);
	EXPECT_ERR(gpu_fill(&w.gpu, gpu_at(AT(&w, 4)), 7, PAGE), -EPERM);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, 16)));
	expect_nothing(&w, 0, 16);
}

static void test_repeat(const void *arg)
{
	struct window w;
	struct bo bo;

	open_window(&w);
	make_bo(&w, &bo, 8, bo_flags(&w, arg), 1);
	/* Pages 2, 3, 4 of the object, five and a third times. */
	EXPECT_OK(BIND(&w, REPEAT_OP(&w, 0, 16, &bo, 2, 3)));
	expect_mappings(&w, 1);
	for (size_t page = 0; page < 16; page++)
		expect_shows(&w, page, 1, 1, 2 + page % 3);
	/* Cut where the window is not at its beginning. */
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 4, 3)));
	expect_mappings(&w, 2);
	for (size_t page = 0; page < 16; page++) {
		if (page >= 4 && page < 7)
			expect_nothing(&w, page, 1);
		else
			expect_shows(&w, page, 1, 1, 2 + page % 3);
	}
	/* The same in the middle of what is left, by another mapping. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 11, 2, &bo, 6)));
	for (size_t page = 7; page < 16; page++)
		expect_shows(&w, page, 1, 1, page == 11 || page == 12 ? page - 5 : 2 + page % 3);

	/* One page everywhere; a window that is larger than the mapping. */
	EXPECT_OK(BIND(&w, REPEAT_OP(&w, 0, 16, &bo, 7, 1)));
	for (size_t page = 0; page < 16; page++)
		expect_shows(&w, page, 1, 1, 7);
	EXPECT_OK(BIND(&w, REPEAT_OP(&w, 0, 3, &bo, 1, 7)));
	expect_shows(&w, 0, 3, 1, 1);
	expect_shows(&w, 3, 1, 1, 7);
	/* Every page is one page, so all writes go there. */
	EXPECT_OK(gpu_fill(&w.gpu, gpu_at(AT(&w, 5)), 0x55, PAGE));
	expect_gpu_sum(&w.gpu, gpu_at(AT(&w, 9)), PAGE, 0x55 * WORDS_PER_PAGE);
}

static void test_coalesce(const void *arg)
{
	struct window w;
	struct bo a, b;

	open_window(&w);
	make_bo(&w, &a, 16, bo_flags(&w, arg), 1);
	make_bo(&w, &b, 16, bo_flags(&w, arg), 2);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 4, &a, 0), MAP_OP(&w, 8, 4, &a, 8)));
	/* Not asked for. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 12, 2, &a, 12)));
	expect_mappings(&w, 3);
	/* Fills the gap, so the mapping in front, this one and the next are one. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 4, 4, &a, 4, COALESCE)));
	expect_mappings(&w, 2);
	expect_shows(&w, 0, 14, 1, 0);
	/* Over its own edge. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 10, 4, &a, 10, COALESCE)));
	expect_mappings(&w, 1);
	expect_shows(&w, 0, 14, 1, 0);
	/* Another offset, another object, other flags. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 14, 1, &a, 15, COALESCE)));
	EXPECT_OK(BIND(&w, MAP_OP(&w, 15, 1, &b, 0, COALESCE)));
	EXPECT_OK(BIND(&w, MAP_OP(&w, 16, 1, &b, 1,
				  .flags = DRM_SVM_STUB_BIND_COALESCE | DRM_SVM_STUB_BIND_READONLY)));
	expect_mappings(&w, 4);
	expect_shows(&w, 14, 1, 1, 15);
	expect_shows(&w, 15, 2, 2, 0);
	/* What was made of three is cut like one. */
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 3, 6)));
	expect_mappings(&w, 5);
	expect_shows(&w, 0, 3, 1, 0);
	expect_nothing(&w, 3, 6);
	expect_shows(&w, 9, 5, 1, 9);
	/* Without an object, and with a window that goes on. */
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, 32), SPARSE_OP(&w, 0, 4, 0),
		       SPARSE_OP(&w, 4, 4, DRM_SVM_STUB_BIND_COALESCE),
		       REPEAT_OP(&w, 8, 6, &a, 0, 3),
		       MAP_OP(&w, 14, 3, &a, 0, .repeat_range = 3 * PAGE,
			      .flags = DRM_SVM_STUB_BIND_REPEAT | DRM_SVM_STUB_BIND_COALESCE)));
	expect_mappings(&w, 2);
	expect_zeros(&w, 0, 8);
	/* The same behind one that begins in the middle of its window. */
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 8, 1),
		       MAP_OP(&w, 17, 4, &a, 0, .repeat_range = 3 * PAGE,
			      .flags = DRM_SVM_STUB_BIND_REPEAT | DRM_SVM_STUB_BIND_COALESCE)));
	expect_mappings(&w, 2);
	for (size_t page = 9; page < 21; page++)
		expect_shows(&w, page, 1, 1, (page - 8) % 3);
}

static void test_prefetch(const void *arg)
{
	struct window w;
	struct bo bo;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 8, 0, 1);
	EXPECT_ERR(BIND(&w, PREFETCH_OP(&w, 0, 16)), -ENOENT);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 2, 2, &bo, 0), SPARSE_OP(&w, 6, 2, 0)));
	EXPECT_OK(BIND(&w, PREFETCH_OP(&w, 3, 1)));
	EXPECT_EQ(window_stats(&w).prefetched, 1);
	EXPECT_OK(BIND(&w, PREFETCH_OP(&w, 0, 16)));
	EXPECT_EQ(window_stats(&w).prefetched, 3);
	EXPECT_ERR(BIND(&w, PREFETCH_OP(&w, 4, 2)), -ENOENT);
	EXPECT_EQ(window_stats(&w).prefetched, 3);
	EXPECT_EQ(window_stats(&w).binds, 3);
}

/* --- Arrays ------------------------------------------------------------------- */

static void test_later_sees_earlier(const void *arg)
{
	struct window w;
	struct bo a, b;

	(void)arg;
	open_window(&w);
	make_bo(&w, &a, 16, 0, 1);
	make_bo(&w, &b, 16, 0, 2);
	EXPECT_OK(BIND(&w,
		       MAP_OP(&w, 0, 16, &a, 0),
		       UNMAP_OP(&w, 4, 4),
		       MAP_OP(&w, 4, 2, &b, 4, NOREPLACE),
		       MAP_OP(&w, 5, 6, &b, 5),
		       PREFETCH_OP(&w, 5, 1),
		       UNMAP_OP(&w, 12, 1)));
	expect_shows(&w, 0, 4, 1, 0);
	expect_shows(&w, 4, 7, 2, 4);
	expect_shows(&w, 11, 1, 1, 11);
	expect_nothing(&w, 12, 1);
	expect_shows(&w, 13, 3, 1, 13);
	expect_mappings(&w, 5);
	/* All of this, and nothing of it is left. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 32, &a, 0, .flags = DRM_SVM_STUB_BIND_REPEAT,
				  .repeat_range = PAGE),
		       MAP_OP(&w, 8, 8, &b, 0), UNMAP_OP(&w, 0, 32)));
	expect_mappings(&w, 0);
	expect_nothing(&w, 0, 32);
	/* Nothing at all is fine, too. */
	EXPECT_OK(gpu_bind_ops(&w.gpu, NULL, 0));
}

static void test_all_or_none(const void *arg)
{
	struct window w;
	struct bo a, b, gone;
	struct drm_svm_stub_vm_stats before, after;

	(void)arg;
	open_window(&w);
	make_bo(&w, &a, 16, 0, 1);
	make_bo(&w, &b, 16, 0, 2);
	make_bo(&w, &gone, 1, 0, 3);
	EXPECT_OK(bo_close(&w.gpu, &gone));
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 8, &a, 0), SPARSE_OP(&w, 8, 4, 0)));

	const struct {
		struct drm_svm_stub_bind_op op;
		int err;
	} bad[] = {
		{ MAP_OP(&w, 40, 1, &gone, 0), -ENOENT },
		{ MAP_OP(&w, 40, 16, &b, 1), -EINVAL },
		{ MAP_OP(&w, 9, 4, &b, 0, NOREPLACE), -EEXIST },
		{ PREFETCH_OP(&w, 60, 1), -ENOENT },
		{ .op = { .op = 9, .addr = w.base, .range = PAGE }, -EINVAL },
		{ SPARSE_OP(&w, 0, (w.gpu.info.bind_end - w.base) / PAGE, 0), -E2BIG },
		{ SPARSE_OP(&w, 0, (1000ul << 30) / PAGE, 0), -ENOMEM },
	};

	before = window_stats(&w);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_ERR(BIND(&w, UNMAP_OP(&w, 2, 3), MAP_OP(&w, 0, 4, &b, 0),
				MAP_OP(&w, 16, 8, &b, 0), UNMAP_OP(&w, 10, 1),
				MAP_OP(&w, 4, 8, &a, 4, COALESCE), bad[i].op), bad[i].err);
		after = window_stats(&w);
		EXPECT_EQ(after.mappings, before.mappings);
		EXPECT_EQ(after.binds, before.binds);
		expect_shows(&w, 0, 8, 1, 0);
		expect_zeros(&w, 8, 4);
		expect_nothing(&w, 12, 12);
	}
	/* What was good in them is good. */
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 2, 3), MAP_OP(&w, 0, 4, &b, 0),
		       MAP_OP(&w, 16, 8, &b, 0), UNMAP_OP(&w, 10, 1)));
	expect_shows(&w, 0, 4, 2, 0);
}

#define MANY 4096

static void test_many_ops(const void *arg)
{
	static struct drm_svm_stub_bind_op ops[MANY + 1];
	struct window w;
	struct bo bo;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 64, 0, 1);
	for (size_t i = 0; i < MANY + 1; i++)
		ops[i] = MAP_OP(&w, 2 * (i % 2048), 1 + i / 2048, &bo, i % 32);
	EXPECT_ERR(gpu_bind_ops(&w.gpu, ops, MANY + 1), -E2BIG);
	expect_mappings(&w, 0);
	EXPECT_OK(gpu_bind_ops(&w.gpu, ops, MANY));
	expect_mappings(&w, 2048);
	/* Each by itself is little, and all together more than a call may come to. */
	for (size_t i = 0; i < 65; i++)
		ops[i] = PREFETCH_OP(&w, 0, 4096);
	EXPECT_ERR(gpu_bind_ops(&w.gpu, ops, 65), -E2BIG);
	for (size_t i = 0; i < 2; i++)
		ops[i] = SPARSE_OP(&w, 4096, (600ul << 30) / PAGE, 0);
	EXPECT_ERR(gpu_bind_ops(&w.gpu, ops, 2), -E2BIG);
	expect_mappings(&w, 2048);
	for (size_t i = 0; i < 2048; i += 97)
		expect_shows(&w, 2 * i, 2, 1, i % 32);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 1, 4094)));
	expect_mappings(&w, 2);
	expect_shows(&w, 0, 1, 1, 0);
	expect_shows(&w, 4095, 1, 1, 32);
}

/* The first and the last page that can be used, and those beside them. */
static void test_edges(const void *arg)
{
	struct window w;
	__u64 end;
	struct bo bo;

	(void)arg;
	open_window(&w);
	EXPECT_EQ(w.gpu.info.bind_start, w.gpu.info.va_end);
	make_bo(&w, &bo, 2, 0, 1);
	w.base = w.gpu.info.bind_start;
	end = (w.gpu.info.bind_end - w.base) / PAGE;
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 2, &bo, 0), MAP_OP(&w, end - 2, 2, &bo, 0)));
	expect_shows(&w, 0, 2, 1, 0);
	expect_shows(&w, end - 2, 2, 1, 0);
	EXPECT_ERR(BIND(&w, MAP_OP(&w, -1, 2, &bo, 0)), -EINVAL);
	EXPECT_ERR(BIND(&w, MAP_OP(&w, end - 1, 2, &bo, 0)), -EINVAL);
	EXPECT_ERR(BIND(&w, MAP_OP(&w, end, 1, &bo, 0)), -EINVAL);
	EXPECT_ERR(BIND(&w, UNMAP_OP(&w, end - 1, 2)), -EINVAL);
	EXPECT_ERR(BIND(&w, PREFETCH_OP(&w, end - 1, 2)), -EINVAL);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, end)));
	expect_mappings(&w, 0);
	expect_nothing(&w, 0, 1);
	expect_nothing(&w, end - 1, 1);
}

/* A page table that would take all of memory. */
static void test_too_large(const void *arg)
{
	struct window w;
	struct bo bo;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 1, 0, 1);
	EXPECT_ERR(BIND(&w, SPARSE_OP(&w, 0, (1ull << 46) / PAGE, 0)), -ENOMEM);
	EXPECT_ERR(BIND(&w, REPEAT_OP(&w, 0, (1ull << 45) / PAGE, &bo, 0, 1)), -ENOMEM);
	expect_mappings(&w, 0);
	EXPECT_OK(BIND(&w, SPARSE_OP(&w, 0, MIB(1024) / PAGE, 0)));
	expect_zeros(&w, MIB(1024) / PAGE - 4, 4);
}

/* --- Without memory ------------------------------------------------------------ */

/* Each allocation in turn, until there are no more. */
static void test_no_memory(const void *arg)
{
	struct drm_svm_stub_info before, after;
	unsigned int nth, failed = 0;
	bool reached = true;
	struct window w;
	struct bo a, b;
	__u32 sync;

	open_window(&w);
	inject_failures();
	EXPECT_OK(gpu_info(&w.gpu, &before));
	for (nth = 1; reached; nth++) {
		int err;

		fail_nth(nth);
		err = bo_create(&w.gpu, &a, 16 * PAGE, bo_flags(&w, arg));
		reached = has_failed();
		EXPECT(!err || (reached && err == -ENOMEM), "object, allocation %u: %d", nth, err);
		failed += err != 0;
		EXPECT_OK(err ? 0 : bo_close(&w.gpu, &a));
		if (!err && a.memory)
			munmap(a.memory, a.size);
		EXPECT_OK(gpu_info(&w.gpu, &after));
		EXPECT_EQ(after.vram_free, before.vram_free);
	}

	make_bo(&w, &a, 16, bo_flags(&w, arg), 1);
	make_bo(&w, &b, 16, bo_flags(&w, arg), 2);
	EXPECT_OK(sync_create(&w.gpu, &sync, true));
	for (nth = 1, reached = true; reached; nth++) {
		int err;

		EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, 32000), MAP_OP(&w, 0, 16, &a, 0)));
		fail_nth(nth);
		err = BIND_ASYNC(&w, sync, sync, MAP_OP(&w, 4, 8, &b, 0), UNMAP_OP(&w, 6, 1),
				 REPEAT_OP(&w, 20000, 6, &a, 1, 2), SPARSE_OP(&w, 1, 1, 0),
				 MAP_OP(&w, 0, 2, &a, 0), PREFETCH_OP(&w, 0, 9),
				 UNMAP_OP(&w, 15, 1));
		reached = has_failed();
		EXPECT(!err || (reached && err == -ENOMEM), "bind, allocation %u: %d", nth, err);
		failed += err != 0;
		expect_mappings(&w, err ? 1 : 6);
		EXPECT_OK(sync_wait(&w.gpu, sync, 60000));
		expect_shows(&w, 0, 4, 1, 0);
		if (err)
			expect_shows(&w, 4, 12, 1, 4);
		else
			expect_shows(&w, 7, 5, 2, 3);
	}
	ktap_note("%u failures", failed);
	EXPECT(failed > 20, "only %u allocations have failed", failed);
}

/* --- Arguments ------------------------------------------------------------------- */

static void test_bad_ops(const void *arg)
{
	struct window w;
	struct bo bo;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 8, 0, 1);

	const __u64 base = w.base, bo_size = 8 * PAGE;
	const struct drm_svm_stub_bind_op good = MAP_OP(&w, 0, 2, &bo, 0);
	const __u32 repeat = DRM_SVM_STUB_BIND_REPEAT, sparse = DRM_SVM_STUB_BIND_SPARSE;
	/* What is wrong with them is what differs from @good. */
	const struct {
		const char *what;
		struct drm_svm_stub_bind_op op;
		int err;
	} bad[] = {
#define BAD(what, err, ...) { what, MAP_OP(&w, 0, 2, &bo, 0, __VA_ARGS__), err }
		BAD("unknown op", -EINVAL, .op = 3),
		BAD("unknown flag", -EINVAL, .flags = 1 << 5),
		BAD("unknown high flag", -EINVAL, .flags = 1u << 31),
		BAD("pad", -EINVAL, .pad = 1),
		BAD("address not aligned", -EINVAL, .addr = base + 8),
		BAD("range not aligned", -EINVAL, .range = PAGE + 8),
		BAD("offset not aligned", -EINVAL, .bo_offset = 8),
		BAD("range zero", -EINVAL, .range = 0),
		BAD("range overflows", -EINVAL, .range = -PAGE),
		BAD("address zero", -EINVAL, .addr = 0),
		BAD("address in the mirror", -EINVAL, .addr = w.gpu.info.va_end - 2 * PAGE),
		BAD("address in the reserved part", -EINVAL, .addr = w.gpu.info.bind_end),
		BAD("address beyond all", -EINVAL, .addr = -2 * PAGE),
		BAD("handle zero", -ENOENT, .handle = 0),
		BAD("unknown handle", -ENOENT, .handle = 0x7fffffff),
		BAD("offset behind the object", -EINVAL, .bo_offset = bo_size),
		BAD("offset far behind the object", -EINVAL, .bo_offset = -PAGE),
		BAD("range larger than the rest", -EINVAL, .bo_offset = bo_size - PAGE),
		BAD("repeat_range without REPEAT", -EINVAL, .repeat_range = PAGE),
		BAD("REPEAT without repeat_range", -EINVAL, .flags = repeat),
		BAD("repeat_range not aligned", -EINVAL, .flags = repeat, .repeat_range = 8),
		BAD("repeat_range larger than the rest", -EINVAL, .flags = repeat,
		    .bo_offset = PAGE, .repeat_range = bo_size),
		BAD("repeat_range overflows", -EINVAL, .flags = repeat, .repeat_range = -PAGE),
		BAD("SPARSE with a handle", -EINVAL, .flags = sparse),
		BAD("SPARSE with an offset", -EINVAL, .flags = sparse, .handle = 0,
		    .bo_offset = PAGE),
		BAD("SPARSE with REPEAT", -EINVAL, .flags = sparse | repeat, .handle = 0,
		    .repeat_range = PAGE),
		BAD("UNMAP with a handle", -EINVAL, .op = DRM_SVM_STUB_BIND_UNMAP),
		BAD("UNMAP with a flag", -EINVAL, .op = DRM_SVM_STUB_BIND_UNMAP, .handle = 0,
		    .flags = DRM_SVM_STUB_BIND_NOREPLACE),
		BAD("UNMAP with an offset", -EINVAL, .op = DRM_SVM_STUB_BIND_UNMAP, .handle = 0,
		    .bo_offset = PAGE),
		BAD("PREFETCH with a repeat_range", -EINVAL, .op = DRM_SVM_STUB_BIND_PREFETCH,
		    .handle = 0, .repeat_range = PAGE),
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int err = gpu_bind(&w.gpu, bad[i].op);

		EXPECT(err == bad[i].err, "%s: %d, not %d", bad[i].what, err, bad[i].err);
		expect_mappings(&w, 0);
	}
	EXPECT_OK(gpu_bind(&w.gpu, good));
}

static void test_bad_arguments(const void *arg)
{
	struct drm_svm_stub_bind_op op;
	struct window w;
	__u32 sync;
	struct bo bo;
	pid_t pid;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 8, 0, 1);
	op = MAP_OP(&w, 0, 2, &bo, 0);
	EXPECT_OK(sync_create(&w.gpu, &sync, false));

	const struct {
		const char *what;
		struct drm_svm_stub_vm_bind bind;
		int err;
	} bad[] = {
#undef BAD
#define BAD(what, err, ...) { what, { .ops = (uintptr_t)&op, .num_ops = 1, __VA_ARGS__ }, err }
		BAD("unknown flag", -EINVAL, .flags = 2),
		BAD("pad", -EINVAL, .pad = 1),
		BAD("too many ops", -E2BIG, .num_ops = MANY + 1),
		BAD("too many in_syncs", -E2BIG, .num_in_syncs = 65),
		BAD("too many out_syncs", -E2BIG, .num_out_syncs = 65),
		BAD("no pointer to the ops", -EFAULT, .ops = 0),
		BAD("no pointer to the in_syncs", -EFAULT, .num_in_syncs = 1),
		BAD("no pointer to the out_syncs", -EFAULT, .num_out_syncs = 1),
		BAD("a syncobj without a fence", -ENOENT, .num_in_syncs = 1,
		    .in_syncs = (uintptr_t)&sync),
		BAD("an unknown in_sync", -ENOENT, .num_in_syncs = 1,
		    .in_syncs = (uintptr_t)&(__u32){ 77 }),
		BAD("an unknown out_sync", -ENOENT, .num_out_syncs = 1,
		    .out_syncs = (uintptr_t)&(__u32){ 77 }),
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		for (__u32 async = 0; async < 2; async++) {
			struct drm_svm_stub_vm_bind bind = bad[i].bind;
			int err;

			bind.flags |= async * DRM_SVM_STUB_VM_BIND_ASYNC;
			err = gpu_vm_bind(&w.gpu, &bind);
			EXPECT(err == bad[i].err, "%s: %d, not %d", bad[i].what, err, bad[i].err);
		}
	}

	/* The window is no memory of the process, but it is its maker's all the same. */
	pid = ktap_fork();
	if (!pid) {
		EXPECT_ERR(gpu_bind(&w.gpu, op), -EACCES);
		ktap_done();
	}
	ktap_join(pid);
	expect_mappings(&w, 0);
	EXPECT_EQ(window_stats(&w).binds, 0);
	EXPECT_OK(gpu_destroy(&w.gpu, w.gpu.vm));
	EXPECT_ERR(gpu_bind(&w.gpu, op), -ENOENT);
}

static const struct ktap_case cases[] = {
	IN_RAM("unmap in the middle", test_unmap_middle),
	IN_VRAM("unmap in the middle", test_unmap_middle),
	IN_RAM("replace in the middle", test_replace_middle),
	IN_VRAM("replace in the middle", test_replace_middle),
	{ "NOREPLACE", test_noreplace, NULL },
	IN_RAM("READONLY", test_readonly),
	IN_VRAM("READONLY", test_readonly),
	IN_RAM("SPARSE", test_sparse),
	IN_VRAM("SPARSE", test_sparse),
	IN_RAM("REPEAT", test_repeat),
	IN_VRAM("REPEAT", test_repeat),
	IN_RAM("COALESCE", test_coalesce),
	IN_VRAM("COALESCE", test_coalesce),
	{ "PREFETCH", test_prefetch, NULL },
	{ "later ops see earlier ones", test_later_sees_earlier, NULL },
	{ "all or none", test_all_or_none, NULL },
	{ "4096 ops", test_many_ops, NULL },
	{ "edges of the window", test_edges, NULL },
	{ "too large for the machine", test_too_large, NULL },
	IN_RAM("each allocation fails in turn", test_no_memory),
	IN_VRAM("each allocation fails in turn", test_no_memory),
	{ "bad ops", test_bad_ops, NULL },
	{ "bad arguments", test_bad_arguments, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
