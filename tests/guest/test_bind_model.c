// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * VM_BIND against a plain array that says of each page what it shows: random
 * arrays of ops, and after most of them a look by the GPU at every page.
 */
#include <errno.h>
#include <string.h>

#include "bind.h"

#define PAGES 48
#define BO_PAGES 24
#define BOS 3
#define MAX_OPS 6

struct page {
	enum { NOTHING, ZEROS, OBJECT } kind;
	int bo;
	size_t bo_page;
	bool readonly;
};

struct model {
	struct window w;
	struct bo bos[BOS];
	__u32 sync; /* of the last asynchronous VM_BIND */
	struct page pages[PAGES];
};

static unsigned int below(unsigned int limit)
{
	return ktap_random() % limit;
}

/* A random op on @pages; returns what it comes to. */
static int random_op(struct model *m, struct page *pages, struct drm_svm_stub_bind_op *op)
{
	size_t first = below(PAGES), count = 1 + below(PAGES - first);
	struct page now = { .kind = NOTHING };
	size_t repeat = 0, start = 0;
	bool any = false;

	/* Small ones are more interesting. */
	if (count > 4 && below(2))
		count = 1 + below(4);
	for (size_t i = first; i < first + count; i++)
		any |= pages[i].kind != NOTHING;

	switch (below(8)) {
	case 0:
		*op = PREFETCH_OP(&m->w, first, count);
		return any ? 0 : -ENOENT;
	case 1:
	case 2:
		*op = UNMAP_OP(&m->w, first, count);
		break;
	case 3:
		now.kind = ZEROS;
		*op = SPARSE_OP(&m->w, first, count, 0);
		break;
	default:
		now.kind = OBJECT;
		now.bo = below(BOS);
		if (below(3)) {
			/* Often where a neighbour would go on, so that they can merge. */
			if (count > BO_PAGES)
				count = BO_PAGES;
			start = first % BO_PAGES + count <= BO_PAGES && below(2) ?
				first % BO_PAGES : below(BO_PAGES - count + 1);
			*op = MAP_OP(&m->w, first, count, &m->bos[now.bo], start);
		} else {
			start = below(BO_PAGES);
			repeat = 1 + below(BO_PAGES - start);
			*op = REPEAT_OP(&m->w, first, count, &m->bos[now.bo], start, repeat);
		}
		break;
	}

	if (op->op == DRM_SVM_STUB_BIND_MAP) {
		now.readonly = below(4) == 0;
		op->flags |= now.readonly ? DRM_SVM_STUB_BIND_READONLY : 0;
		op->flags |= below(2) ? DRM_SVM_STUB_BIND_COALESCE : 0;
		if (below(8) == 0) {
			op->flags |= DRM_SVM_STUB_BIND_NOREPLACE;
			for (size_t i = first; i < first + count; i++)
				if (pages[i].kind != NOTHING)
					return -EEXIST;
		}
	}
	for (size_t i = 0; i < count; i++) {
		now.bo_page = start + (repeat ? i % repeat : i);
		pages[first + i] = now;
	}
	return 0;
}

static void check_page(struct model *m, size_t index)
{
	const struct page *page = &m->pages[index];
	void *at = gpu_at(AT(&m->w, index));
	__u64 sum;

	switch (page->kind) {
	case NOTHING:
		EXPECT_ERR(gpu_checksum(&m->w.gpu, at, 4, &sum), -EFAULT);
		return;
	case ZEROS:
		expect_zeros(&m->w, index, 1);
		break;
	case OBJECT:
		expect_shows(&m->w, index, 1, page->bo, page->bo_page);
		break;
	}
	/* A write of what is there changes nothing, where one may write. */
	EXPECT_ERR(gpu_copy(&m->w.gpu, at, at, 4), page->readonly ? -EPERM : 0);
}

static void print_op(const struct model *m, const struct drm_svm_stub_bind_op *op)
{
	static const char *const names[] = { "MAP", "UNMAP", "PREFETCH" };

	ktap_note("%s %llu+%llu flags %#x handle %u from %llu repeat %llu", names[op->op],
		  (op->addr - m->w.base) / PAGE, op->range / PAGE, op->flags, op->handle,
		  op->bo_offset / PAGE, op->repeat_range / PAGE);
}

/* With or without waiting; the next one may come before this one has taken effect. */
static int bind_somehow(struct model *m, const struct drm_svm_stub_bind_op *ops, size_t count)
{
	struct drm_svm_stub_vm_bind bind = {
		.num_ops = count,
		.ops = (uintptr_t)ops,
		.out_syncs = (uintptr_t)&m->sync,
		.num_out_syncs = 1,
		.flags = below(2) ? DRM_SVM_STUB_VM_BIND_ASYNC : 0,
	};

	return gpu_vm_bind(&m->w.gpu, &bind);
}

static void run_model(const void *arg)
{
	const int steps = 150;
	struct model m = {};

	open_window(&m.w);
	EXPECT_OK(sync_create(&m.w.gpu, &m.sync, true));
	for (int i = 0; i < BOS; i++)
		make_bo(&m.w, &m.bos[i], BO_PAGES, bo_flags(&m.w, arg), i);

	for (int step = 0; step < steps; step++) {
		struct drm_svm_stub_bind_op ops[MAX_OPS];
		struct page pages[PAGES];
		size_t count = 1 + below(MAX_OPS);
		int expected = 0, err;

		memcpy(pages, m.pages, sizeof(pages));
		for (size_t i = 0; i < count && !expected; i++) {
			expected = random_op(&m, pages, &ops[i]);
			if (expected)
				count = i + 1;
		}
		err = bind_somehow(&m, ops, count);
		if (err != expected) {
			for (size_t i = 0; i < count; i++)
				print_op(&m, &ops[i]);
			EXPECT(false, "step %d: %d, not %d", step, err, expected);
		}
		if (!err)
			memcpy(m.pages, pages, sizeof(pages));
		if (below(3) == 0)
			continue;
		EXPECT_OK(sync_wait(&m.w.gpu, m.sync, 60000));
		for (size_t i = 0; i < PAGES; i++)
			check_page(&m, i);
	}
	EXPECT_OK(BIND(&m.w, UNMAP_OP(&m.w, 0, PAGES)));
	expect_mappings(&m.w, 0);
}

static const struct ktap_case cases[] = {
	IN_RAM("random ops show what an array of pages says", run_model),
	IN_VRAM("random ops show what an array of pages says", run_model),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
