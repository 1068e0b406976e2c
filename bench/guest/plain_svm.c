// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A VM: ranges, faults, and invalidations.
 */
#include <linux/crc32.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "plain.h"
#include "plain_locks.h"

/* What the library watches as one, and all of a VM is in. */
#define WINDOW SZ_512M

/* A fault that finds no end in this time is an error; on an emulated machine it is long. */
#define PATIENCE (10 * HZ)

/**
 * struct plain_range - What the GPU maps as one
 * @base: the library's part
 * @pages: what is behind it
 * @garbage: in &plain_vm.garbage, with a reference; or empty
 */
struct plain_range {
	struct drm_gpusvm_range base;
	struct drm_gpusvm_pages pages;
	struct list_head garbage;
};

static struct plain_range *to_range(struct drm_gpusvm_range *range)
{
	return container_of(range, struct plain_range, base);
}

static struct plain_vm *to_vm(struct drm_gpusvm *svm)
{
	return container_of(svm, struct plain_vm, svm);
}

/* Invalidations -------------------------------------------------------------------------- */

static void invalidate(struct drm_gpusvm *svm, struct drm_gpusvm_notifier *notifier,
		       const struct mmu_notifier_range *mmu_range)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = true };
	struct drm_gpusvm_range *range = NULL;
	struct plain_vm *vm = to_vm(svm);
	struct plain_range *r;

	drm_gpusvm_for_each_range(range, notifier, mmu_range->start, mmu_range->end) {
		r = to_range(range);
		plain_zap(vm, range);
		drm_gpusvm_unmap_pages(svm, &r->pages, drm_gpusvm_range_size(range) >> PAGE_SHIFT,
				       &ctx);
		if (mmu_range->event != MMU_NOTIFY_UNMAP)
			continue;

		drm_gpusvm_range_set_unmapped(range, &r->pages, 1, mmu_range);
		spin_lock(&vm->garbage_lock);
		if (list_empty(&r->garbage)) {
			drm_gpusvm_range_get(range);
			list_add_tail(&r->garbage, &vm->garbage);
		}
		spin_unlock(&vm->garbage_lock);
	}
}

static struct drm_gpusvm_range *range_alloc(struct drm_gpusvm *svm)
{
	struct plain_range *r = kzalloc(sizeof(*r), GFP_KERNEL);

	if (!r)
		return NULL;
	drm_gpusvm_init_pages(&r->pages, plain.drm);
	INIT_LIST_HEAD(&r->garbage);
	return &r->base;
}

static void range_free(struct drm_gpusvm_range *range)
{
	kfree(to_range(range));
}

#ifdef PLAIN_EXTENDED
static struct drm_gpusvm_pages *range_pages(struct drm_gpusvm_range *range, unsigned int *count)
{
	*count = 1;
	return &to_range(range)->pages;
}
#endif

static const struct drm_gpusvm_ops svm_ops = {
	.range_alloc = range_alloc,
	.range_free = range_free,
	.invalidate = invalidate,
#ifdef PLAIN_EXTENDED
	.features = DRM_SVM_WINDOW_LOCKS,
	.range_pages = range_pages,
#endif
};

static void remove_range(struct plain_vm *vm, struct drm_gpusvm_range *range)
{
	plain_lock_entries(range);
	plain_zap(vm, range);
	plain_unlock_entries(range);
	drm_gpusvm_free_pages(&vm->svm, &to_range(range)->pages,
			      drm_gpusvm_range_size(range) >> PAGE_SHIFT);
	drm_gpusvm_range_remove(&vm->svm, range);
}

/* And the caller's reference. */
static void end_range(struct plain_vm *vm, struct drm_gpusvm_range *range)
{
	if (plain_lock_range(range)) {
		remove_range(vm, range);
		plain_unlock_range(range);
	}
	drm_gpusvm_range_put(range);
}

static void collect_garbage(struct plain_vm *vm)
{
	struct plain_range *r;

	for (;;) {
		spin_lock(&vm->garbage_lock);
		r = list_first_entry_or_null(&vm->garbage, struct plain_range, garbage);
		if (r)
			list_del_init(&r->garbage);
		spin_unlock(&vm->garbage_lock);
		if (!r)
			return;
		end_range(vm, &r->base);
	}
}

/* Faults --------------------------------------------------------------------------------- */

static bool is_bound(struct plain_vm *vm, struct drm_gpusvm_range *range, unsigned long addr,
		     bool write)
{
	u64 need = PLAIN_PTE_PRESENT | (write ? PLAIN_PTE_WRITABLE : 0);
	bool bound;

	plain_lock_entries(range);
	bound = drm_gpusvm_pages_valid(&vm->svm, &to_range(range)->pages) &&
		(plain_entry(vm, addr) & need) == need;
	plain_unlock_entries(range);
	return bound;
}

/* -EAGAIN: the memory has changed meanwhile, or is not what it has to be. */
static int bind_range(struct plain_vm *vm, struct drm_gpusvm_range *range,
		      const struct drm_gpusvm_ctx *ctx)
{
	struct plain_range *r = to_range(range);
	int ret;

	ret = drm_gpusvm_get_pages(&vm->svm, &r->pages, vm->svm.mm, &range->notifier->notifier,
				   drm_gpusvm_range_start(range), drm_gpusvm_range_end(range), ctx);
	if (ret == -EOPNOTSUPP) {
		/* A mixture that the library does not map: all of it has to be in one place. */
		drm_gpusvm_range_evict(&vm->svm, range);
		return -EAGAIN;
	}
	if (ret)
		return range->flags.unmapped ? -EAGAIN : ret;

	plain_lock_entries(range);
	if (drm_gpusvm_pages_valid(&vm->svm, &r->pages))
		plain_map(vm, range, r->pages.dma_addr);
	else
		ret = -EAGAIN;
	plain_unlock_entries(range);
	return ret;
}

static int fault_in_range(struct plain_vm *vm, struct drm_gpusvm_range *range, unsigned long addr,
			  u32 flags, const struct drm_gpusvm_ctx *ctx)
{
	int ret;

	if (range->flags.unmapped)
		return -EAGAIN;
	if (is_bound(vm, range, addr, flags & PLAIN_WRITE))
		return 0;
	if ((flags & PLAIN_DEVMEM) && range->flags.migrate_devmem) {
		/* What cannot be moved is used where it is. */
		ret = plain_vram_move(&plain.vram, vm->svm.mm, drm_gpusvm_range_start(range),
				      drm_gpusvm_range_end(range));
		if (ret == -ENODEV || ret == -ENOMEM)
			return ret;
	}
	return bind_range(vm, range, ctx);
}

static int fault_once(struct plain_vm *vm, unsigned long addr, u32 flags, unsigned long *end)
{
	const struct drm_gpusvm_ctx ctx = {
		.device_private_page_owner = plain.vram.pagemap.owner,
		.read_only = !(flags & PLAIN_WRITE),
		.devmem_possible = !!(flags & PLAIN_DEVMEM),
		.allow_mixed = true,
	};
	struct drm_gpusvm_range *range;
	int ret;

	collect_garbage(vm);
	range = plain_acquire(vm, addr, &ctx);
	if (IS_ERR(range))
		return PTR_ERR(range);

	*end = drm_gpusvm_range_end(range);
	ret = fault_in_range(vm, range, addr, flags, &ctx);
	plain_release(range);
	return ret;
}

int plain_serve(struct plain_vm *vm, unsigned long addr, u32 flags, unsigned long *end)
{
	unsigned long deadline = jiffies + PATIENCE;
	int ret;

	do {
		plain_lock_vm(vm);
		ret = fault_once(vm, addr, flags, end);
		plain_unlock_vm(vm);
	} while (ret == -EAGAIN && time_before(jiffies, deadline));
	return ret;
}

bool plain_is_inside(struct plain_vm *vm, u64 start, u64 bytes)
{
	u64 all = (u64)vm->npages << PAGE_SHIFT;

	return IS_ALIGNED(start | bytes, PAGE_SIZE) && bytes && start >= vm->start &&
	       bytes <= all && start - vm->start <= all - bytes;
}

int plain_fault(struct plain_vm *vm, struct plain_work *work)
{
	unsigned long addr = work->start, last = work->start + work->bytes;
	u64 began;
	int ret = 0;

	if (!plain_is_inside(vm, work->start, work->bytes))
		return -EINVAL;

	began = plain_begin();
	while (addr < last) {
		unsigned long end = addr + PAGE_SIZE;

		ret = plain_serve(vm, addr, work->flags, &end);
		if (ret)
			break;
		work->done++;
		addr = end;
	}
	work->ns = plain_end(began);
	work->error = -ret;
	return 0;
}

int plain_prefetch(struct plain_vm *vm, struct plain_work *work)
{
	unsigned long addr = work->start, last = work->start + work->bytes;
	unsigned long step = work->step ?: work->bytes;
	u64 began;
	int ret;

	if (!plain_is_inside(vm, work->start, work->bytes) || !IS_ALIGNED(step, PAGE_SIZE))
		return -EINVAL;

	plain_lock_vm(vm);
	began = plain_begin();
	for (; addr < last; addr += step) {
		ret = plain_vram_move(&plain.vram, vm->svm.mm, addr, min(last, addr + step));
		work->done += !ret;
		work->error = work->error ?: -ret;
	}
	work->ns = plain_end(began);
	plain_unlock_vm(vm);
	return 0;
}

/* What the GPU sees ---------------------------------------------------------------------- */

void *plain_see(struct plain_vm *vm, unsigned long addr, bool write)
{
	u64 entry = plain_entry(vm, addr);

	if (!(entry & PLAIN_PTE_PRESENT) || (write && !(entry & PLAIN_PTE_WRITABLE)))
		return NULL;
	if (entry & PLAIN_PTE_VRAM)
		return plain_vram_at(&plain.vram, entry & PAGE_MASK);
	return phys_to_virt(entry & PAGE_MASK);
}

int plain_look(struct plain_vm *vm, struct plain_look *look)
{
	struct drm_gpusvm_notifier *window;
	unsigned long addr, flags;
	u64 entry;
	u32 sum = 0;

	if (!plain_is_inside(vm, look->start, look->bytes))
		return -EINVAL;

	for (addr = look->start; addr < look->start + look->bytes; addr += PAGE_SIZE) {
		window = plain_lock_table(vm);
		entry = plain_entry(vm, addr);
		look->writable += !!(entry & PLAIN_PTE_WRITABLE);
		look->vram += !!(entry & PLAIN_PTE_VRAM);
		look->ram += (entry & PLAIN_PTE_PRESENT) && !(entry & PLAIN_PTE_VRAM);
		if (entry & PLAIN_PTE_PRESENT)
			sum = crc32_le(sum, plain_see(vm, addr, false), PAGE_SIZE);
		plain_unlock_table(vm, window);
	}
	look->sum = sum;
	spin_lock_irqsave(&plain.vram.lock, flags);
	look->used = bitmap_weight(plain.vram.used, plain.vram.npages);
	spin_unlock_irqrestore(&plain.vram.lock, flags);
	return 0;
}

int plain_pin(struct plain_vm *vm, unsigned long addr)
{
	int ret;

	if (vm->num_pinned == ARRAY_SIZE(vm->pinned))
		return -ENOSPC;
	ret = pin_user_pages_fast(addr, 1, FOLL_WRITE, &vm->pinned[vm->num_pinned]);
	if (ret < 0)
		return ret;
	vm->num_pinned += ret;
	return 0;
}

/* Setting up and taking down ------------------------------------------------------------- */

static int choose_chunks(struct plain_vm *vm, unsigned long largest)
{
	static const unsigned long sizes[] = { SZ_2M, SZ_64K, SZ_4K };
	unsigned int i, count = 0;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		if (sizes[i] <= largest)
			vm->chunks[count++] = sizes[i];
	return count;
}

struct plain_vm *plain_vm_create(const struct plain_vm_create *create)
{
	unsigned long nblocks = create->bytes / SZ_2M;
	struct plain_vm *vm;
	int ret = -ENOMEM;

	if (!IS_ALIGNED(create->start | create->bytes, SZ_2M) || !create->bytes ||
	    create->bytes > WINDOW - create->start % WINDOW || create->chunk < SZ_4K)
		return ERR_PTR(-EINVAL);

	vm = kzalloc(sizeof(*vm), GFP_KERNEL);
	if (!vm)
		return ERR_PTR(-ENOMEM);
	mutex_init(&vm->lock);
	spin_lock_init(&vm->garbage_lock);
	INIT_LIST_HEAD(&vm->garbage);
	vm->start = create->start;
	vm->npages = create->bytes >> PAGE_SHIFT;
	vm->blocks = kvcalloc(nblocks + vm->npages, sizeof(*vm->blocks), GFP_KERNEL);
	vm->pages = vm->blocks + nblocks;
	if (vm->blocks)
		ret = drm_gpusvm_init(&vm->svm, KBUILD_MODNAME, current->mm, vm->start,
				      create->bytes, WINDOW, &svm_ops, vm->chunks,
				      choose_chunks(vm, create->chunk));
	if (ret) {
		kvfree(vm->blocks);
		kfree(vm);
		return ERR_PTR(ret);
	}
	plain_name_lock(vm);
	return vm;
}

void plain_vm_destroy(struct plain_vm *vm)
{
	struct drm_gpusvm_notifier *notifier, *next_notifier;
	struct drm_gpusvm_range *range, *next_range;
	unsigned long end = plain_vm_end(vm);

	unpin_user_pages(vm->pinned, vm->num_pinned);
	plain_lock_vm(vm);
	collect_garbage(vm);
	drm_gpusvm_for_each_notifier_safe(notifier, next_notifier, &vm->svm, vm->start, end)
		drm_gpusvm_for_each_range_safe(range, next_range, notifier, vm->start, end)
			end_range(vm, drm_gpusvm_range_get(range));
	/* There are no notifiers any more that could add to it. */
	collect_garbage(vm);
	drm_gpusvm_fini(&vm->svm);
	plain_unlock_vm(vm);
	kvfree(vm->blocks);
	kfree(vm);
}
