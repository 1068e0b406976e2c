/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Memory of the process in the bind window, under addresses that it chose: userptrs.
 */
#ifndef STUB_USERPTR_H
#define STUB_USERPTR_H

#include <linux/list.h>

#include <drm/drm_gpuvm.h>
#include <drm/drm_svm_hmmptr.h>

struct drm_svm_stub_vm_stats;
struct stub_device;
struct stub_fault;
struct stub_vm;

/**
 * struct stub_userptr - Memory that a MAP has shown
 * @base: the library's side
 * @vm: the VM, which outlives it; immutable
 * @link: entry in &stub_vm.userptr.list
 *
 * Belongs to the mappings that show some of it: that of the MAP, and what is left of it
 * when others have cut it. Those share it, because a cut can neither fail nor allocate.
 */
struct stub_userptr {
	struct drm_svm_hmmptr base;
	struct stub_vm *vm;
	struct list_head link;
};

/**
 * struct stub_va - A mapping in the bind window
 * @base: the library's side
 * @userptr: what it shows, referenced; NULL: an object, or none at all. Immutable
 * @shown: the page table has it, so invalidations have to find it; under
 *	&stub_vm.bind.pt_lock
 */
struct stub_va {
	struct drm_gpuva base;
	struct stub_userptr *userptr;
	bool shown;
};

static inline struct stub_userptr *to_stub_userptr(struct drm_svm_hmmptr *hmmptr)
{
	return container_of(hmmptr, struct stub_userptr, base);
}

static inline struct stub_va *to_stub_va(struct drm_gpuva *va)
{
	return container_of(va, struct stub_va, base);
}

/* stub_userptr.c */
void stub_userptr_init(struct stub_vm *vm);
void stub_userptr_fini(struct stub_vm *vm);
void stub_userptr_release_all(struct stub_vm *vm);
void stub_userptr_inject(struct stub_vm *vm, u32 every);
struct stub_userptr *stub_userptr_create(struct stub_vm *vm,
					 const struct drm_gpuva_op_map *map);
struct stub_userptr *stub_userptr_get(struct stub_userptr *userptr);
void stub_userptr_put(struct stub_userptr *userptr);
void stub_userptr_show(struct stub_va *va);
void stub_userptr_hide(struct stub_va *va);
int stub_userptr_write_ptes(struct stub_userptr *userptr, unsigned long start,
			    unsigned long end);
int stub_userptr_bind(struct stub_userptr *userptr, unsigned long start, unsigned long end);
void stub_userptr_forget(struct stub_va *va, u64 addr, u64 range);
void stub_userptr_prefetch(struct stub_va *va, u64 addr, u64 range);
void stub_userptr_read_stats(struct stub_vm *vm, struct drm_svm_stub_vm_stats *out);

/* stub_userptr_fault.c */
int stub_userptr_make_good(struct stub_vm *vm);
int stub_userptr_fault(struct stub_vm *vm, const struct stub_fault *fault);

#endif /* STUB_USERPTR_H */
