// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * hmmptrs behind the mappings of a GPU's address space: which there are, what an invalidation takes
 * from them, and what becomes of a hmmptr when bind transactions split, cut and replace what shows
 * it. The driver here links with the commit, as one does that writes its entries at once.
 */
#include <linux/dma-resv.h>
#include <linux/mman.h>
#include <linux/slab.h>

#include <drm/drm_gem.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_svm.h>

#include "hmmptr_driver.h"

#define PAGES(n) ((n) * PAGE_SIZE)
#define SPAN_PAGES 16
#define SPAN PAGES(SPAN_PAGES)
/* Where a case maps, for the GPU. */
#define GPU 0x100000ull

struct gpu {
	struct drm_gpuvm base;
	struct hx_vm *vm;
	bool is_freed;
	struct drm_svm_bind bind;
};

struct gpu_va {
	struct drm_gpuva base;
	struct hx_ptr *p;
};

static struct gpu_va *to_va(struct drm_gpuva *va)
{
	return container_of(va, struct gpu_va, base);
}

static void vm_free(struct drm_gpuvm *gpuvm)
{
	container_of(gpuvm, struct gpu, base)->is_freed = true;
}

static const struct drm_gpuvm_ops gpuvm_ops = {
	.vm_free = vm_free,
};

static struct gpu *gpu_create(struct kunit *test)
{
	struct gpu *gpu = kunit_kzalloc(test, sizeof(*gpu), GFP_KERNEL);
	struct sx_fixture *f = test->priv;
	struct drm_gem_object *resv;

	KUNIT_ASSERT_NOT_NULL(test, gpu);
	gpu->vm = hx_vm_create(test);
	resv = drm_gpuvm_resv_object_alloc(f->drm[0]);
	KUNIT_ASSERT_NOT_NULL(test, resv);
	drm_gpuvm_init(&gpu->base, "drm_svm_kunit", 0, f->drm[0], resv, 0, 1ull << 40, 0, 0,
		       &gpuvm_ops);
	drm_gem_object_put(resv);
	return gpu;
}

/* Transactions --------------------------------------------------------------------------------- */

static struct drm_gpuva *va_alloc(struct drm_svm_bind *bind, struct drm_svm_bind_op *op)
{
	struct gpu_va *va = kzalloc(sizeof(*va), GFP_KERNEL);

	return va ? &va->base : NULL;
}

static void va_free(struct drm_svm_bind *bind, struct drm_gpuva *va)
{
	kfree(to_va(va));
}

static void link(struct drm_gpuva *va, struct hx_ptr *p)
{
	if (!va)
		return;
	to_va(va)->p = p;
	drm_svm_hmmptr_link(&p->base, va);
}

/* The parts come before the whole goes, so that no invalidation misses them. */
static void commit(struct drm_svm_bind *bind, struct drm_svm_bind_op *op)
{
	struct hx_ptr **gone = drm_svm_bind_op_priv(op);
	struct drm_gpuva *va = NULL;

	if (op->base.op == DRM_GPUVA_OP_MAP) {
		link(op->va, op->tag);
	} else if (op->base.op == DRM_GPUVA_OP_REMAP) {
		va = op->base.remap.unmap->va;
		link(op->prev, to_va(va)->p);
		link(op->next, to_va(va)->p);
	} else if (op->base.op == DRM_GPUVA_OP_UNMAP) {
		va = op->base.unmap.va;
	}
	if (!va)
		return;

	*gone = to_va(va)->p;
	hx_zap(*gone, va->gem.offset, va->va.range);
	drm_svm_hmmptr_unlink(&(*gone)->base, va);
}

static void finish(struct drm_svm_bind *bind, struct drm_svm_bind_op *op)
{
	struct hx_ptr **gone = drm_svm_bind_op_priv(op);

	if (*gone)
		drm_svm_hmmptr_put(&(*gone)->base);
}

static const struct drm_svm_bind_ops bind_ops = {
	.op_priv_size = sizeof(struct hx_ptr *),
	.va_alloc = va_alloc,
	.va_free = va_free,
	.commit = commit,
	.finish = finish,
};

/* Maps, or unmaps if there is no hmmptr, up to the point where it can still be given up. */
static void prepare(struct kunit *test, struct gpu *gpu, struct hx_ptr *p, u64 addr, u64 range,
		    unsigned long offset)
{
	const struct drm_gpuvm_map_req req = {
		.map.va.addr = addr,
		.map.va.range = range,
		.map.gem.offset = offset,
	};

	dma_resv_lock(drm_gpuvm_resv(&gpu->base), NULL);
	KUNIT_ASSERT_EQ(test, drm_svm_bind_begin(&gpu->bind, &gpu->base, &bind_ops, gpu), 0);
	if (p)
		KUNIT_EXPECT_EQ(test, drm_svm_bind_map(&gpu->bind, &req, 0, p), 0);
	else
		KUNIT_EXPECT_EQ(test, drm_svm_bind_unmap(&gpu->bind, addr, range, NULL), 0);
	KUNIT_ASSERT_EQ(test, drm_svm_bind_prepare(&gpu->bind), 0);
}

static void bind(struct kunit *test, struct gpu *gpu, struct hx_ptr *p, u64 addr, u64 range,
		 unsigned long offset)
{
	prepare(test, gpu, p, addr, range, offset);
	drm_svm_bind_commit(&gpu->bind);
	dma_resv_unlock(drm_gpuvm_resv(&gpu->base));
	/* The last reference to a hmmptr takes locks that are outside of that one. */
	drm_svm_bind_finish(&gpu->bind);
}

static void unbind(struct kunit *test, struct gpu *gpu, u64 addr, u64 range)
{
	bind(test, gpu, NULL, addr, range, 0);
}

static void gpu_destroy(struct kunit *test, struct gpu *gpu)
{
	unbind(test, gpu, 0, 1ull << 40);
	hx_vm_destroy(test, gpu->vm);
	drm_gpuvm_put(&gpu->base);
	KUNIT_EXPECT_TRUE(test, gpu->is_freed);
}

/* A mapping as a case expects it, in the order in which they were linked. */
struct expected {
	u64 addr;
	u64 range;
	unsigned long offset;
};

static void expect_vas(struct kunit *test, struct hx_ptr *p, const struct expected *expect,
		       unsigned int count)
{
	struct drm_gpuva *va;
	unsigned int i = 0, wrong = 0;

	drm_svm_hmmptr_lock(&p->vm->set);
	drm_svm_hmmptr_for_each_va(va, &p->base) {
		wrong += i >= count || va->va.addr != expect[i].addr ||
			 va->va.range != expect[i].range || va->gem.offset != expect[i].offset ||
			 to_va(va)->p != p;
		i++;
	}
	drm_svm_hmmptr_unlock(&p->vm->set);
	KUNIT_EXPECT_EQ(test, i, count);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	/* The fixture has one as well. */
	KUNIT_EXPECT_EQ(test, kref_read(&p->base.refcount), 1 + count);
}

#define EXPECT_VAS(test, p, ...)						\
	do {									\
		const struct expected expect__[] = { __VA_ARGS__ };		\
										\
		expect_vas(test, p, expect__, ARRAY_SIZE(expect__));		\
	} while (0)

static struct hx_ptr *filled(struct kunit *test, struct gpu *gpu)
{
	struct sx_fixture *f = test->priv;

	sx_map(test, f->start, SPAN);
	sx_cpu_fill(test, f->start, SPAN, 1);
	return hx_ptr_create(test, gpu->vm, f->start, SPAN);
}

/* Links ------------------------------------------------------------------------------------------ */

static void linked(struct kunit *test)
{
	struct gpu *gpu = gpu_create(test);
	struct hx_ptr *p = filled(test, gpu);
	struct gpu_va vas[2] = {
		{ .base.va = { GPU, SPAN }, .base.gem.offset = p->base.start },
		{ .base.va = { 2 * GPU, PAGES(1) }, .base.gem.offset = p->base.start + PAGES(15) },
	};
	unsigned int i;

	expect_vas(test, p, NULL, 0);
	for (i = 0; i < ARRAY_SIZE(vas); i++)
		link(&vas[i].base, p);
	EXPECT_VAS(test, p, { GPU, SPAN, p->base.start },
		   { 2 * GPU, PAGES(1), p->base.start + PAGES(15) });

	/* The reference stays with the caller. */
	drm_svm_hmmptr_unlink(&p->base, &vas[0].base);
	KUNIT_EXPECT_EQ(test, kref_read(&p->base.refcount), 3);
	drm_svm_hmmptr_put(&p->base);
	EXPECT_VAS(test, p, { 2 * GPU, PAGES(1), p->base.start + PAGES(15) });

	/* It is not linked: nothing happens. And it may be again. */
	drm_svm_hmmptr_unlink(&p->base, &vas[0].base);
	link(&vas[0].base, p);
	EXPECT_VAS(test, p, { 2 * GPU, PAGES(1), p->base.start + PAGES(15) },
		   { GPU, SPAN, p->base.start });
	for (i = 0; i < ARRAY_SIZE(vas); i++) {
		drm_svm_hmmptr_unlink(&p->base, &vas[i].base);
		drm_svm_hmmptr_put(&p->base);
	}
	gpu_destroy(test, gpu);
}

static void spans(struct kunit *test)
{
	const struct drm_gpuva va = {
		.va = { GPU, PAGES(8) },
		.gem.offset = PAGES(100),
	};
	static const struct {
		unsigned long start, end; /* pages */
		u64 first, past;	  /* of the mapping's; past 0: nothing */
	} table[] = {
		{ 100, 108, 0, 8 },
		{ 0, 200, 0, 8 },
		{ 102, 104, 2, 4 },
		{ 90, 101, 0, 1 },
		{ 107, 120, 7, 8 },
		{ 90, 100, 0, 0 },
		{ 108, 120, 0, 0 },
		{ 104, 104, 0, 0 },
		{ 105, 104, 0, 0 },
	};
	unsigned int i;
	u64 first, past;
	bool any;

	for (i = 0; i < ARRAY_SIZE(table); i++) {
		first = 0;
		past = 0;
		any = drm_svm_hmmptr_va_span(&va, PAGES(table[i].start), PAGES(table[i].end), &first,
					     &past);
		KUNIT_EXPECT_EQ_MSG(test, any, !!table[i].past, "line %u", i);
		KUNIT_EXPECT_EQ_MSG(test, first, any ? GPU + PAGES(table[i].first) : 0, "line %u", i);
		KUNIT_EXPECT_EQ_MSG(test, past, any ? GPU + PAGES(table[i].past) : 0, "line %u", i);
	}
}

/* Transactions over it ----------------------------------------------------------------------------- */

static void split(struct kunit *test)
{
	struct gpu *gpu = gpu_create(test);
	struct hx_ptr *p = filled(test, gpu);

	bind(test, gpu, p, GPU, SPAN, p->base.start);
	EXPECT_VAS(test, p, { GPU, SPAN, p->base.start });

	unbind(test, gpu, GPU + PAGES(4), PAGES(2));
	EXPECT_VAS(test, p, { GPU, PAGES(4), p->base.start },
		   { GPU + PAGES(6), PAGES(10), p->base.start + PAGES(6) });
	unbind(test, gpu, GPU + PAGES(14), PAGES(2));
	EXPECT_VAS(test, p, { GPU, PAGES(4), p->base.start },
		   { GPU + PAGES(6), PAGES(8), p->base.start + PAGES(6) });
	unbind(test, gpu, GPU, PAGES(4));
	EXPECT_VAS(test, p, { GPU + PAGES(6), PAGES(8), p->base.start + PAGES(6) });
	unbind(test, gpu, GPU, SPAN);
	expect_vas(test, p, NULL, 0);
	gpu_destroy(test, gpu);
}

static void given_up(struct kunit *test)
{
	struct gpu *gpu = gpu_create(test);
	struct hx_ptr *p = filled(test, gpu);

	bind(test, gpu, p, GPU, SPAN, p->base.start);
	prepare(test, gpu, NULL, GPU + PAGES(4), PAGES(2), 0);
	drm_svm_bind_abort(&gpu->bind);
	dma_resv_unlock(drm_gpuvm_resv(&gpu->base));
	EXPECT_VAS(test, p, { GPU, SPAN, p->base.start });
	gpu_destroy(test, gpu);
}

/* Another one takes the place of a part, and of all: the last mapping frees the first hmmptr. */
static void replaced(struct kunit *test)
{
	struct gpu *gpu = gpu_create(test);
	struct hx_ptr *a = filled(test, gpu);
	struct hx_ptr *b = hx_ptr_create(test, gpu->vm, a->base.start, SPAN);
	const unsigned long start = a->base.start;

	bind(test, gpu, a, GPU, SPAN, start);
	bind(test, gpu, b, GPU + PAGES(4), PAGES(4), start);
	EXPECT_VAS(test, a, { GPU, PAGES(4), start },
		   { GPU + PAGES(8), PAGES(8), start + PAGES(8) });
	EXPECT_VAS(test, b, { GPU + PAGES(4), PAGES(4), start });

	hx_ptr_put(a);
	KUNIT_EXPECT_EQ(test, gpu->vm->live, 2);
	bind(test, gpu, b, GPU, PAGES(4), start + PAGES(4));
	KUNIT_EXPECT_EQ(test, gpu->vm->live, 2);
	bind(test, gpu, b, GPU + PAGES(8), PAGES(8), start + PAGES(8));
	KUNIT_EXPECT_EQ(test, gpu->vm->live, 1);
	EXPECT_VAS(test, b, { GPU + PAGES(4), PAGES(4), start },
		   { GPU, PAGES(4), start + PAGES(4) },
		   { GPU + PAGES(8), PAGES(8), start + PAGES(8) });
	gpu_destroy(test, gpu);
}

/* What of the mappings an invalidation takes: their bytes, summed up. */
static void sum_spans(struct hx_ptr *p)
{
	u64 *sum = p->vm->hook_arg;
	struct drm_gpuva *va;
	u64 start, end;

	drm_svm_hmmptr_for_each_va(va, &p->base) {
		if (!drm_svm_hmmptr_va_span(va, p->vm->last_start, p->vm->last_end, &start, &end))
			continue;
		*sum += end - start;
		if (start < va->va.addr || end > va->va.addr + va->va.range)
			p->vm->wrong++;
	}
}

/* A page that is shown twice, and one that is not shown any more. */
static void taken(struct kunit *test)
{
	struct gpu *gpu = gpu_create(test);
	struct hx_ptr *p = filled(test, gpu);
	struct sx_fixture *f = test->priv;
	u64 sum = 0;

	bind(test, gpu, p, GPU, SPAN, p->base.start);
	bind(test, gpu, p, 2 * GPU, PAGES(4), p->base.start + PAGES(2));
	unbind(test, gpu, GPU + PAGES(12), PAGES(2));
	KUNIT_ASSERT_EQ(test, hx_use(p, p->base.start, PAGES(8), true), 0);
	KUNIT_ASSERT_EQ(test, hx_use(p, p->base.start + PAGES(8), PAGES(8), true), 0);

	gpu->vm->on_start = sum_spans;
	gpu->vm->hook_arg = &sum;
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, PAGES(1)), 0);
	KUNIT_EXPECT_EQ(test, sum, PAGES(8) + PAGES(4));
	sum = 0;
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + PAGES(12), PAGES(1)), 0);
	KUNIT_EXPECT_EQ(test, sum, PAGES(6));
	gpu->vm->on_start = NULL;
	gpu_destroy(test, gpu);
}

static void hmmptr_exit(struct kunit *test)
{
	hx_exit(test);
	sx_exit(test);
}

static struct kunit_case hmmptr_gpuva_cases[] = {
	KUNIT_CASE(linked),
	KUNIT_CASE(spans),
	KUNIT_CASE(split),
	KUNIT_CASE(given_up),
	KUNIT_CASE(replaced),
	KUNIT_CASE(taken),
	{}
};

static struct kunit_suite hmmptr_gpuva_suite = {
	.name = "dsvm_hmmptr_gpuva",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = sx_init,
	.exit = hmmptr_exit,
	.test_cases = hmmptr_gpuva_cases,
};
kunit_test_suite(hmmptr_gpuva_suite);
