// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See hmmptr_driver.h.
 */
#include <linux/iommu.h>
#include <linux/lockdep.h>
#include <linux/slab.h>

#include "hmmptr_driver.h"

/* Suites run one at a time. */
static LIST_HEAD(vms);

/* The library has done what it must not do; any context. */
static void wrong(struct hx_vm *vm, const char *what)
{
	pr_err("    # hmmptr: %s\n", what);
	vm->wrong++;
}

/* The page table ---------------------------------------------------------------------------- */

/* NULL for what is not in the area, and for a hmmptr that no GPU uses. */
static u64 *entry_at(struct hx_ptr *p, unsigned long addr)
{
	unsigned long offset = addr - p->vm->fixture->start;

	return p->entries && offset < SX_AREA ? &p->entries[offset >> PAGE_SHIFT] : NULL;
}

static void set_entry(struct hx_ptr *p, unsigned long addr, u64 value)
{
	u64 *entry = entry_at(p, addr);

	if (entry)
		WRITE_ONCE(*entry, value);
}

u64 hx_entry(struct hx_ptr *p, unsigned long addr)
{
	u64 *entry = entry_at(p, addr);

	return entry ? READ_ONCE(*entry) : 0;
}

phys_addr_t hx_entry_phys(struct hx_ptr *p, unsigned long addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(p->base.drm->dev);
	dma_addr_t at = hx_entry(p, addr) & PAGE_MASK;

	return domain ? iommu_iova_to_phys(domain, at) : at;
}

bool hx_is_writable(struct hx_ptr *p, unsigned long addr)
{
	return hx_entry(p, addr) & SX_ENTRY_WRITABLE;
}

/* The notifier lock, in any mode. Walks the area and not the span, which may be of any size. */
static void zap(struct hx_ptr *p, unsigned long start, unsigned long end)
{
	unsigned long first = p->vm->fixture->start;
	unsigned long addr;

	for (addr = max(start, first); addr < min(end, first + SX_AREA); addr += PAGE_SIZE)
		set_entry(p, addr, 0);
}

static bool is_zapped(struct hx_ptr *p, unsigned long start, unsigned long end)
{
	unsigned long first = p->vm->fixture->start;
	unsigned long addr;

	for (addr = max(start, first); addr < min(end, first + SX_AREA); addr += PAGE_SIZE)
		if (hx_entry(p, addr))
			return false;
	return true;
}

static u64 entry_of(const struct drm_svm_hmmptr_run *run, unsigned long addr)
{
	u64 flags = SX_ENTRY_PRESENT;

	if (run->writable)
		flags |= SX_ENTRY_WRITABLE;
	if (run->proto != DRM_INTERCONNECT_SYSTEM)
		flags |= HX_ENTRY_DEVICE;
	return (run->addr + (addr - run->start)) | flags;
}

static void write_run(struct hx_ptr *p, const struct drm_svm_hmmptr_run *run)
{
	unsigned long addr;

	for (addr = run->start; addr < run->end; addr += PAGE_SIZE)
		set_entry(p, addr, entry_of(run, addr));
}

int hx_bind(struct hx_ptr *p, unsigned long start, unsigned long bytes)
{
	struct drm_svm_hmmptr_run run;
	int ret = -EAGAIN;

	drm_svm_hmmptr_lock(&p->vm->set);
	if (drm_svm_hmmptr_pages_valid(&p->base, start, start + bytes)) {
		drm_svm_hmmptr_for_each_run(&run, &p->base, start, start + bytes)
			write_run(p, &run);
		ret = 0;
	}
	drm_svm_hmmptr_unlock(&p->vm->set);
	return ret;
}

int hx_use(struct hx_ptr *p, unsigned long start, unsigned long bytes, bool write)
{
	unsigned long timeout = jiffies + SX_PATIENCE;
	int ret;

	do {
		cond_resched();
		ret = drm_svm_hmmptr_get_pages(&p->base, start, start + bytes, write);
		if (!ret)
			ret = hx_bind(p, start, bytes);
	} while (ret == -EAGAIN && time_before(jiffies, timeout));
	return ret;
}

void hx_zap(struct hx_ptr *p, unsigned long start, unsigned long bytes)
{
	drm_svm_hmmptr_lock(&p->vm->set);
	zap(p, start, start + bytes);
	drm_svm_hmmptr_unlock(&p->vm->set);
}

/* Callbacks ---------------------------------------------------------------------------------- */

static bool invalidate_start(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end)
{
	struct hx_ptr *p = to_hx_ptr(hmmptr);
	struct hx_vm *vm = p->vm;

	lockdep_assert_held_write(&vm->set.notifier_lock);
	vm->starts++;
	vm->last_start = start;
	vm->last_end = end;
	if (vm->on_start)
		vm->on_start(p);
	if (start >= end || start < hmmptr->start || end > hmmptr->end)
		wrong(vm, "more is invalidated than there is");
	zap(p, start, end);
	return !vm->flushes_at_once;
}

static void invalidate_finish(struct drm_svm_hmmptr *hmmptr, unsigned long start,
			      unsigned long end)
{
	struct hx_ptr *p = to_hx_ptr(hmmptr);
	struct hx_vm *vm = p->vm;

	lockdep_assert_held_write(&vm->set.notifier_lock);
	if (vm->on_finish)
		vm->on_finish(p);
	if (!is_zapped(p, start, end))
		wrong(vm, "entries were written between the passes");
	vm->finishes++;
	if (vm->finishes > vm->starts)
		wrong(vm, "a pass ends that has not begun");
}

static int rebind(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end)
{
	struct hx_ptr *p = to_hx_ptr(hmmptr);
	struct hx_vm *vm = p->vm;

	lockdep_assert_held(&hmmptr->lock);
	if (vm->on_rebind)
		vm->on_rebind(p);
	vm->rebinds++;
	return vm->rebind_error ?: hx_bind(p, start, end - start);
}

static void free_ptr(struct drm_svm_hmmptr *hmmptr)
{
	struct hx_ptr *p = to_hx_ptr(hmmptr);

	might_sleep();
	p->vm->live--;
	kvfree(p->entries);
	kfree(p);
}

/* Making and destroying ---------------------------------------------------------------------- */

struct hx_vm *hx_vm_create(struct kunit *test)
{
	struct hx_vm *vm = kunit_kzalloc(test, sizeof(*vm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, vm);
	vm->fixture = test->priv;
	vm->ops = (struct drm_svm_hmmptr_ops) {
		.invalidate_start = invalidate_start,
		.invalidate_finish = invalidate_finish,
		.rebind = rebind,
		.free = free_ptr,
	};
	INIT_LIST_HEAD(&vm->ptrs);
	drm_svm_hmmptr_set_init(&vm->set, &vm->ops);
	list_add(&vm->entry, &vms);
	return vm;
}

void hx_vm_destroy(struct kunit *test, struct hx_vm *vm)
{
	struct hx_ptr *p, *next;

	list_for_each_entry_safe(p, next, &vm->ptrs, entry)
		hx_ptr_put(p);
	KUNIT_EXPECT_TRUE(test, hx_all_valid(vm));
	drm_svm_hmmptr_set_fini(&vm->set);
	list_del(&vm->entry);
	KUNIT_EXPECT_EQ(test, vm->live, 0);
	KUNIT_EXPECT_EQ(test, vm->wrong, 0);
	KUNIT_EXPECT_EQ(test, vm->starts, vm->finishes);
}

void hx_exit(struct kunit *test)
{
	struct hx_vm *vm, *next;

	list_for_each_entry_safe(vm, next, &vms, entry)
		hx_vm_destroy(test, vm);
}

int hx_ptr_make(struct hx_vm *vm, const struct drm_svm_hmmptr_args *args, struct hx_ptr **out)
{
	struct hx_ptr *p = kzalloc(sizeof(*p), GFP_KERNEL);
	struct drm_svm_hmmptr_args how = *args;
	int ret = -ENOMEM;

	if (!p)
		return ret;

	how.drm = args->drm ?: vm->fixture->drm[0];
	how.mm = args->mm ?: vm->fixture->mm;
	p->vm = vm;
	p->entries = kvcalloc(SX_AREA >> PAGE_SHIFT, sizeof(*p->entries), GFP_KERNEL);
	if (p->entries)
		ret = drm_svm_hmmptr_init(&p->base, &vm->set, &how);
	if (ret) {
		kvfree(p->entries);
		kfree(p);
		return ret;
	}

	vm->live++;
	list_add_tail(&p->entry, &vm->ptrs);
	*out = p;
	return 0;
}

struct hx_ptr *hx_ptr_create(struct kunit *test, struct hx_vm *vm, unsigned long start,
			     unsigned long bytes)
{
	const struct drm_svm_hmmptr_args args = { .start = start, .end = start + bytes };
	struct hx_ptr *p = NULL;

	KUNIT_ASSERT_EQ(test, hx_ptr_make(vm, &args, &p), 0);
	return p;
}

void hx_ptr_put(struct hx_ptr *p)
{
	list_del(&p->entry);
	drm_svm_hmmptr_put(&p->base);
}

/* What there is ------------------------------------------------------------------------------ */

bool hx_is_valid(struct hx_ptr *p, unsigned long start, unsigned long bytes)
{
	bool valid;

	drm_svm_hmmptr_lock(&p->vm->set);
	valid = drm_svm_hmmptr_pages_valid(&p->base, start, start + bytes);
	drm_svm_hmmptr_unlock(&p->vm->set);
	return valid;
}

bool hx_all_valid(struct hx_vm *vm)
{
	bool valid;

	drm_svm_hmmptr_lock(&vm->set);
	valid = drm_svm_hmmptr_all_valid(&vm->set);
	drm_svm_hmmptr_unlock(&vm->set);
	return valid;
}

struct drm_svm_hmmptr_counters hx_counters(struct hx_vm *vm)
{
	struct drm_svm_hmmptr_counters counters;

	drm_svm_hmmptr_read_counters(&vm->set, &counters);
	return counters;
}

void hx_expect_bound(struct kunit *test, struct hx_ptr *p, unsigned long start,
		     unsigned long bytes)
{
	unsigned long addr;

	for (addr = start; addr < start + bytes; addr += PAGE_SIZE) {
		KUNIT_ASSERT_TRUE_MSG(test, hx_entry(p, addr) & SX_ENTRY_PRESENT,
				      "page %lu is not bound", (addr - start) >> PAGE_SHIFT);
		KUNIT_EXPECT_FALSE(test, hx_entry(p, addr) & HX_ENTRY_DEVICE);
		KUNIT_EXPECT_EQ_MSG(test, hx_entry_phys(p, addr), sx_phys(test, addr),
				    "page %lu is another one", (addr - start) >> PAGE_SHIFT);
	}
}

void hx_expect_unbound(struct kunit *test, struct hx_ptr *p, unsigned long start,
		       unsigned long bytes)
{
	KUNIT_EXPECT_TRUE(test, is_zapped(p, start, start + bytes));
}

/* Whether the entry is that of the run that it lies in. The notifier lock. */
static bool is_right(struct hx_ptr *p, unsigned long addr)
{
	const u64 entry = hx_entry(p, addr);
	struct drm_svm_hmmptr_run run = {};

	if (!entry)
		return true;
	return drm_svm_hmmptr_next_run(&p->base, addr, addr + PAGE_SIZE, &run) &&
	       run.start == addr && entry_of(&run, addr) == entry;
}

void hx_check(struct kunit *test, struct hx_vm *vm)
{
	unsigned long first = vm->fixture->start;
	unsigned int errors = 0;
	unsigned long addr;
	struct hx_ptr *p;

	drm_svm_hmmptr_lock(&vm->set);
	list_for_each_entry(p, &vm->ptrs, entry)
		for (addr = first; addr < first + SX_AREA; addr += PAGE_SIZE)
			errors += !is_right(p, addr);
	drm_svm_hmmptr_unlock(&vm->set);
	KUNIT_EXPECT_EQ(test, errors, 0);
	KUNIT_EXPECT_EQ(test, vm->wrong, 0);
}
