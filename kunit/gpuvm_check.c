// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The part of gpuvm_fixture.h that looks and compares, and runs threads.
 */
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/sched/task.h>

#include "gpuvm_fixture.h"

unsigned int fx_vm_refs(struct fx_vm *vm)
{
	return kref_read(&vm->base.kref);
}

unsigned int fx_obj_refs(struct drm_gem_object *obj)
{
	return kref_read(&obj->refcount);
}

unsigned int fx_gem_vm_bos(struct fx_vm *vm, struct drm_gem_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;
	unsigned int n = 0;

	fx_gem_lock(vm, obj);
	drm_gem_for_each_gpuvm_bo(vm_bo, obj)
		n++;
	fx_gem_unlock(vm, obj);
	return n;
}

unsigned int fx_linked(struct fx_vm *vm, struct drm_gpuvm_bo *vm_bo)
{
	struct drm_gpuva *va;
	unsigned int n = 0;

	fx_gem_lock(vm, vm_bo->obj);
	drm_gpuvm_bo_for_each_va(va, vm_bo)
		n++;
	fx_gem_unlock(vm, vm_bo->obj);
	return n;
}

unsigned int fx_extobjs(struct fx_vm *vm)
{
	struct drm_gpuvm_bo *vm_bo;
	unsigned int n = 0;

	list_for_each_entry(vm_bo, &vm->base.extobj.list, list.entry.extobj)
		n++;
	return n;
}

unsigned int fx_evicted(struct fx_vm *vm)
{
	struct drm_gpuvm_bo *vm_bo;
	unsigned int n = 0;

	list_for_each_entry(vm_bo, &vm->base.evict.list, list.entry.evict)
		n++;
	return n;
}

void fx_expect_vas(struct kunit *test, struct fx_vm *vm,
		   const struct fx_expect *expect, unsigned int count)
{
	struct drm_gpuva *va;
	unsigned int n = 0;

	drm_gpuvm_for_each_va(va, &vm->base) {
		if (va == &vm->base.kernel_alloc_node)
			continue;
		if (n < count) {
			KUNIT_EXPECT_EQ_MSG(test, va->va.addr, expect[n].addr, "mapping %u", n);
			KUNIT_EXPECT_EQ_MSG(test, va->va.range, expect[n].range, "mapping %u", n);
			KUNIT_EXPECT_PTR_EQ_MSG(test, va->gem.obj, expect[n].obj, "mapping %u", n);
			KUNIT_EXPECT_EQ_MSG(test, va->gem.offset, expect[n].offset, "mapping %u", n);
			KUNIT_EXPECT_PTR_EQ(test, va->vm, &vm->base);
			KUNIT_EXPECT_PTR_EQ(test, va, drm_gpuva_find(&vm->base, va->va.addr,
								     va->va.range));
		}
		n++;
	}
	KUNIT_EXPECT_EQ(test, n, count);
}

static void fx_snapshot_obj(struct fx_snapshot *s, struct fx_vm *vm, unsigned int i)
{
	struct drm_gem_object *obj = &vm->fixture->bos[i]->base;
	struct drm_gpuvm_bo *vm_bo;
	struct drm_gpuva *va;
	unsigned int n = 0;

	s->bos[i].refs = fx_obj_refs(obj);
	fx_gem_lock(vm, obj);
	drm_gem_for_each_gpuvm_bo(vm_bo, obj) {
		if (n < ARRAY_SIZE(s->bos[i].vm_bo)) {
			s->bos[i].vm_bo[n] = vm_bo;
			s->bos[i].vm_bo_refs[n] = kref_read(&vm_bo->kref);
			drm_gpuvm_bo_for_each_va(va, vm_bo)
				s->bos[i].linked[n]++;
		}
		n++;
	}
	fx_gem_unlock(vm, obj);
	s->bos[i].vm_bo_count = n;
}

struct fx_snapshot *fx_snapshot(struct kunit *test, struct fx_vm *vm)
{
	struct fx_snapshot *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	struct drm_gpuvm_bo *vm_bo;
	struct drm_gpuva *va;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, s);

	s->vm_refs = fx_vm_refs(vm);
	s->vas_live = atomic_read(&fx_live.vas);
	s->vm_bos_live = atomic_read(&fx_live.vm_bos);

	drm_gpuvm_for_each_va(va, &vm->base) {
		KUNIT_ASSERT_LT(test, s->va_count, FX_MAX_VAS);
		i = s->va_count++;
		s->vas[i].va = va;
		s->vas[i].vm_bo = va->vm_bo;
		s->vas[i].flags = va->flags;
		s->vas[i].shows = (struct fx_expect){
			.addr = va->va.addr,
			.range = va->va.range,
			.obj = va->gem.obj,
			.offset = va->gem.offset,
		};
	}
	list_for_each_entry(vm_bo, &vm->base.extobj.list, list.entry.extobj) {
		KUNIT_ASSERT_LT(test, s->extobj_count, FX_MAX_BOS);
		s->extobj[s->extobj_count++] = vm_bo;
	}
	list_for_each_entry(vm_bo, &vm->base.evict.list, list.entry.evict) {
		KUNIT_ASSERT_LT(test, s->evict_count, FX_MAX_BOS);
		s->evict[s->evict_count++] = vm_bo;
	}
	for (i = 0; i < vm->fixture->bo_count; i++)
		fx_snapshot_obj(s, vm, i);

	return s;
}

void fx_expect_unchanged(struct kunit *test, struct fx_vm *vm,
			 const struct fx_snapshot *before)
{
	const struct fx_snapshot *now = fx_snapshot(test, vm);

	KUNIT_EXPECT_EQ(test, now->vm_refs, before->vm_refs);
	KUNIT_EXPECT_EQ(test, now->vas_live, before->vas_live);
	KUNIT_EXPECT_EQ(test, now->vm_bos_live, before->vm_bos_live);
	KUNIT_EXPECT_EQ(test, now->va_count, before->va_count);
	KUNIT_EXPECT_EQ(test, now->extobj_count, before->extobj_count);
	KUNIT_EXPECT_EQ(test, now->evict_count, before->evict_count);
	KUNIT_EXPECT_EQ(test, memcmp(now->vas, before->vas, sizeof(now->vas)), 0);
	KUNIT_EXPECT_EQ(test, memcmp(now->extobj, before->extobj, sizeof(now->extobj)), 0);
	KUNIT_EXPECT_EQ(test, memcmp(now->evict, before->evict, sizeof(now->evict)), 0);
	KUNIT_EXPECT_EQ(test, memcmp(now->bos, before->bos, sizeof(now->bos)), 0);
}

/* Threads ------------------------------------------------------------------------------ */

struct fx_thread {
	struct task_struct *task;
	struct completion done;
	void (*fn)(void *arg);
	void *arg;
};

static int fx_thread_main(void *data)
{
	struct fx_thread *thread = data;

	thread->fn(thread->arg);
	complete(&thread->done);
	return 0;
}

void fx_run_threads(struct kunit *test, void (*fn)(void *arg), void *args[FX_THREADS])
{
	struct fx_thread *threads = kunit_kcalloc(test, FX_THREADS, sizeof(*threads), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, threads);
	for (i = 0; i < FX_THREADS; i++) {
		struct fx_thread *thread = &threads[i];

		thread->fn = fn;
		thread->arg = args[i];
		init_completion(&thread->done);
		thread->task = kthread_create(fx_thread_main, thread, "drm_svm_kunit/%u", i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, thread->task);
		get_task_struct(thread->task);
	}
	for (i = 0; i < FX_THREADS; i++)
		wake_up_process(threads[i].task);
	for (i = 0; i < FX_THREADS; i++) {
		wait_for_completion(&threads[i].done);
		/* Waits until it has left this module. */
		kthread_stop(threads[i].task);
		put_task_struct(threads[i].task);
	}
}
