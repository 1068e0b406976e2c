/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the suites of hmmptrs stand on, beside gpusvm_fixture.h: a driver in small. Each hmmptr has a
 * page table of its own, which is an array and has the GPU's addresses equal to the CPU's. Only
 * what lies in the case's area has entries.
 */
#ifndef DSVM_KUNIT_HMMPTR_DRIVER_H
#define DSVM_KUNIT_HMMPTR_DRIVER_H

#include <drm/drm_svm_hmmptr.h>

#include "gpusvm_fixture.h"

/* An entry of the GPU's beside SX_ENTRY_*: it leads to a device's memory. */
#define HX_ENTRY_DEVICE BIT(2)

struct hx_ptr;

struct hx_vm {
	struct drm_svm_hmmptr_set set;
	struct drm_svm_hmmptr_ops ops;
	struct sx_fixture *fixture;
	struct list_head entry;
	struct list_head ptrs;
	unsigned int live;	/* hmmptrs that were not freed */
	unsigned int wrong;	/* calls that make no sense; said in the log */
	/* Of the callbacks: how often they were called, and with which span last. */
	unsigned int starts;
	unsigned int finishes;
	unsigned int rebinds;
	unsigned long last_start;
	unsigned long last_end;
	/* Set by the case. */
	bool flushes_at_once;	/* invalidate_start() leaves nothing to wait for */
	int rebind_error;
	void (*on_start)(struct hx_ptr *p);  /* in the callbacks, before what they do */
	void (*on_finish)(struct hx_ptr *p);
	void (*on_rebind)(struct hx_ptr *p);
	void *hook_arg;
};

struct hx_ptr {
	struct drm_svm_hmmptr base;
	struct hx_vm *vm;
	struct list_head entry; /* of those that the fixture has a reference to */
	u64 *entries;
};

static inline struct hx_ptr *to_hx_ptr(struct drm_svm_hmmptr *hmmptr)
{
	return container_of(hmmptr, struct hx_ptr, base);
}

/* For .exit, before the fixture's: destroys what the case has left behind. */
void hx_exit(struct kunit *test);

/* End the case if there is no memory. The fixture destroys what the case does not. */
struct hx_vm *hx_vm_create(struct kunit *test);
void hx_vm_destroy(struct kunit *test, struct hx_vm *vm);

/* Without a device or an address space in @args, those of the fixture. 0 or an errno. */
int hx_ptr_make(struct hx_vm *vm, const struct drm_svm_hmmptr_args *args, struct hx_ptr **out);
/* A userptr, over some bytes; it has to work. */
struct hx_ptr *hx_ptr_create(struct kunit *test, struct hx_vm *vm, unsigned long start,
			     unsigned long bytes);
/* Drops the fixture's reference. */
void hx_ptr_put(struct hx_ptr *p);

/* Writes entries for what is valid, or -EAGAIN. */
int hx_bind(struct hx_ptr *p, unsigned long start, unsigned long bytes);
/* Has the pages and binds them, as a driver does it. 0 or an errno. */
int hx_use(struct hx_ptr *p, unsigned long start, unsigned long bytes, bool write);
/* Takes entries away, as a driver does whose mapping of some addresses goes. */
void hx_zap(struct hx_ptr *p, unsigned long start, unsigned long bytes);

/* What the entry for an address is; 0 if there is none. */
u64 hx_entry(struct hx_ptr *p, unsigned long addr);
/* Where it points to. */
phys_addr_t hx_entry_phys(struct hx_ptr *p, unsigned long addr);
bool hx_is_writable(struct hx_ptr *p, unsigned long addr);
bool hx_is_valid(struct hx_ptr *p, unsigned long start, unsigned long bytes);
bool hx_all_valid(struct hx_vm *vm);
struct drm_svm_hmmptr_counters hx_counters(struct hx_vm *vm);

/* All of a span is bound to the pages of RAM that the CPU has, or none of it is. */
void hx_expect_bound(struct kunit *test, struct hx_ptr *p, unsigned long start,
		     unsigned long bytes);
void hx_expect_unbound(struct kunit *test, struct hx_ptr *p, unsigned long start,
		       unsigned long bytes);
/* Each entry that there is says what the library says. */
void hx_check(struct kunit *test, struct hx_vm *vm);

#endif /* DSVM_KUNIT_HMMPTR_DRIVER_H */
