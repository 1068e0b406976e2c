/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the suites of the GPU VA manager stand on: a driver in small, with its own
 * structs around the library's, real GEM objects and a drm_device, and a check that
 * a case has left nothing behind.
 *
 * Cases run one at a time, so the driver's counters are global: the hooks of
 * &struct drm_gpuvm_ops that allocate get no argument to find anything else with.
 */
#ifndef DSVM_KUNIT_GPUVM_FIXTURE_H
#define DSVM_KUNIT_GPUVM_FIXTURE_H

#include <kunit/test.h>
#include <linux/mutex.h>
#include <linux/ww_mutex.h>

#include <drm/drm_gem.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_svm.h>

/* Where a space is, and what is reserved for the kernel in it. The unit does not matter. */
#define FX_START 0x1000ull
#define FX_RANGE 0x10000ull
#define FX_KERNEL_START FX_START
#define FX_KERNEL_RANGE 0x1000ull
/* The first unit that a case may map. */
#define FX_BASE (FX_KERNEL_START + FX_KERNEL_RANGE)

#define FX_MAX_BOS 8
#define FX_MAX_VAS 24

struct fixture {
	struct platform_device *parent;
	struct drm_device *drm;
	/* The objects of the case, each with the fixture's reference. */
	struct fx_bo *bos[FX_MAX_BOS];
	unsigned int bo_count;
};

/* What the driver has made and not freed yet, and which of its allocations fails. */
struct fx_live {
	atomic_t vms;
	atomic_t bos;
	atomic_t vm_bos;
	atomic_t vas;
	atomic_t ops;
	/* The n-th allocation from now is refused, 1 being the next; 0: none is. */
	atomic_t refuse;
	/* vm_bo_free() takes the object's lock for a moment, as a driver's may. */
	bool free_locks;
};

extern struct fx_live fx_live;

struct fx_vm {
	struct drm_gpuvm base;
	struct fixture *fixture;
	/* The VM lock, and the reservations that fx_lock() took with it. */
	struct mutex lock;
	struct ww_acquire_ctx ticket;
	struct drm_gem_object *locked[FX_MAX_BOS + 1];
	int locked_count;
};

struct fx_bo {
	struct drm_gem_object base;
	/* The object that its dma_resv belongs to, referenced; NULL: its own. */
	struct drm_gem_object *root;
	/* How often vm_bo_validate() was called, what it returns, and what it is to do. */
	unsigned int validated;
	int validate_error;
	void (*on_validate)(struct drm_gpuvm_bo *vm_bo);
};

struct fx_va {
	struct drm_gpuva base;
	u32 canary;
};

/* The library's part is not the first one, so that a hook left out is noticed. */
struct fx_op {
	u32 canary;
	struct drm_gpuva_op base;
};

struct fx_vm_bo {
	u32 canary;
	struct drm_gpuvm_bo base;
};

#define FX_CANARY 0x5ca1ab1e

static inline struct fx_vm *to_fx_vm(struct drm_gpuvm *gpuvm)
{
	return container_of(gpuvm, struct fx_vm, base);
}

static inline struct fx_bo *to_fx_bo(struct drm_gem_object *obj)
{
	return container_of(obj, struct fx_bo, base);
}

static inline struct fx_va *to_fx_va(struct drm_gpuva *va)
{
	return container_of(va, struct fx_va, base);
}

/* .init and .exit of a suite; &kunit.priv is a &struct fixture between them. */
int fixture_init(struct kunit *test);
void fixture_exit(struct kunit *test);

/* Every hook but op_alloc and op_free; those two as well; nothing but vm_free. */
extern const struct drm_gpuvm_ops fx_ops;
extern const struct drm_gpuvm_ops fx_ops_with_op_hooks;
extern const struct drm_gpuvm_ops fx_ops_bare;

/* Like all that makes something here, they end the case if there is no memory. */
struct fx_vm *fx_vm_create(struct kunit *test, enum drm_gpuvm_flags flags);
struct fx_vm *fx_vm_create_at(struct kunit *test, enum drm_gpuvm_flags flags,
			      u64 start, u64 range, u64 kernel_start, u64 kernel_range,
			      const struct drm_gpuvm_ops *ops);
/* Unmaps all, lets the deferred cleanup run, and drops the last reference. */
void fx_vm_destroy(struct fx_vm *vm);

/* Local to @vm, or external. The fixture drops the reference at the end. */
struct drm_gem_object *fx_bo_create(struct kunit *test, struct fx_vm *vm);
/* Drops it now. */
void fx_bo_abandon(struct kunit *test, struct drm_gem_object *obj);

/* Zeroed; NULL if there is no memory, or if it is refused. */
struct drm_gpuva *fx_va_alloc(void);
struct fx_va *fx_va_create(struct kunit *test, u64 addr, u64 range,
			   struct drm_gem_object *obj, u64 offset);
void fx_va_free(struct drm_gpuva *va);

/* The VM lock, its dma_resv, and that of each object which has one of its own. */
void fx_lock(struct fx_vm *vm);
void fx_unlock(struct fx_vm *vm);
/* The lock of an object's lists in immediate mode; else fx_lock() has taken it. */
void fx_gem_lock(struct fx_vm *vm, struct drm_gem_object *obj);
void fx_gem_unlock(struct fx_vm *vm, struct drm_gem_object *obj);

/* What a driver does by hand, in either mode. Under fx_lock(). */
struct drm_gpuvm_bo *fx_obtain(struct fx_vm *vm, struct drm_gem_object *obj);
void fx_vm_bo_put(struct drm_gpuvm_bo *vm_bo);
void fx_link(struct fx_vm *vm, struct drm_gpuva *va, struct drm_gpuvm_bo *vm_bo);
void fx_unlink(struct fx_vm *vm, struct drm_gpuva *va);
struct fx_va *fx_map(struct kunit *test, struct fx_vm *vm, struct drm_gem_object *obj,
		     u64 addr, u64 range, u64 offset);
void fx_unmap(struct fx_vm *vm, struct drm_gpuva *va);
void fx_unmap_all(struct fx_vm *vm);
/* One request, through the callbacks, with all that it needs allocated first. */
int fx_sm_map(struct kunit *test, struct fx_vm *vm, const struct drm_gpuvm_map_req *req);
int fx_sm_unmap(struct kunit *test, struct fx_vm *vm, u64 addr, u64 range);

/* What the callbacks of fx_sm_map() take from: allocated before, never on the way. */
struct fx_steps {
	struct fx_vm *vm;
	struct fx_va *spare[3];
	/* Of the object to map, a reference; or NULL. */
	struct drm_gpuvm_bo *vm_bo;
	unsigned int maps;
	unsigned int remaps;
	unsigned int unmaps;
	/* The n-th step fails with -EIO; 0: none does. */
	unsigned int fail_at;
};

void fx_steps_init(struct kunit *test, struct fx_steps *steps, struct fx_vm *vm,
		   struct drm_gem_object *obj);
/* Frees what was not needed. */
void fx_steps_fini(struct fx_steps *steps);

static inline struct drm_gpuvm_map_req fx_req(struct drm_gem_object *obj, u64 addr,
					      u64 range, u64 offset)
{
	return (struct drm_gpuvm_map_req){
		.map.va.addr = addr,
		.map.va.range = range,
		.map.gem.obj = obj,
		.map.gem.offset = offset,
	};
}

/* A mapping as the case expects it. */
struct fx_expect {
	u64 addr;
	u64 range;
	struct drm_gem_object *obj;
	u64 offset;
};

/* The mappings of @vm, without the kernel's, are exactly these, and found as such. */
void fx_expect_vas(struct kunit *test, struct fx_vm *vm,
		   const struct fx_expect *expect, unsigned int count);

#define FX_EXPECT_VAS(test, vm, ...)						\
	do {									\
		const struct fx_expect expect__[] = { __VA_ARGS__ };		\
										\
		fx_expect_vas(test, vm, expect__, ARRAY_SIZE(expect__));	\
	} while (0)

/*
 * All that a case can see of a space and of the fixture's objects, by value, so that
 * two of them can be compared.
 */
struct fx_snapshot {
	unsigned int vm_refs;
	unsigned int vas_live;
	unsigned int vm_bos_live;
	unsigned int va_count;
	unsigned int extobj_count;
	unsigned int evict_count;
	struct {
		const struct drm_gpuva *va;
		const struct drm_gpuvm_bo *vm_bo;
		struct fx_expect shows;
		u32 flags;
	} vas[FX_MAX_VAS];
	const struct drm_gpuvm_bo *extobj[FX_MAX_BOS];
	const struct drm_gpuvm_bo *evict[FX_MAX_BOS];
	struct {
		unsigned int refs;
		unsigned int vm_bo_count;
		const struct drm_gpuvm_bo *vm_bo[2];
		unsigned int vm_bo_refs[2];
		unsigned int linked[2];
	} bos[FX_MAX_BOS];
};

/* Under fx_lock(). */
struct fx_snapshot *fx_snapshot(struct kunit *test, struct fx_vm *vm);
/* Nothing is different from what it was. Under fx_lock(). */
void fx_expect_unchanged(struct kunit *test, struct fx_vm *vm,
			 const struct fx_snapshot *before);

unsigned int fx_vm_refs(struct fx_vm *vm);
unsigned int fx_obj_refs(struct drm_gem_object *obj);
/* How many drm_gpuvm_bo are on the object's list. Its lock is taken for the time. */
unsigned int fx_gem_vm_bos(struct fx_vm *vm, struct drm_gem_object *obj);
unsigned int fx_linked(struct fx_vm *vm, struct drm_gpuvm_bo *vm_bo);
unsigned int fx_extobjs(struct fx_vm *vm);
unsigned int fx_evicted(struct fx_vm *vm);

#define FX_THREADS 2

/* Runs @fn in FX_THREADS threads at the same time, each with one of @args, to their end. */
void fx_run_threads(struct kunit *test, void (*fn)(void *arg), void *args[FX_THREADS]);

/* Allocations made to fail, for loops that refuse each in turn. */
static inline void fx_refuse(unsigned int n)
{
	atomic_set(&fx_live.refuse, n);
}

/* Whether the one to refuse has come. */
static inline bool fx_refused(void)
{
	return atomic_read(&fx_live.refuse) <= 0;
}

/* A case for each way of protecting the lists: see enum drm_gpuvm_flags. */
#define FX_MODES(name)								\
	static void name##_resv(struct kunit *test)				\
	{									\
		name(test, 0);							\
	}									\
	static void name##_resv_protected(struct kunit *test)			\
	{									\
		name(test, DRM_GPUVM_RESV_PROTECTED);				\
	}									\
	static void name##_immediate(struct kunit *test)			\
	{									\
		name(test, DRM_GPUVM_IMMEDIATE_MODE);				\
	}									\
	static void name##_immediate_resv_protected(struct kunit *test)		\
	{									\
		name(test, DRM_GPUVM_IMMEDIATE_MODE | DRM_GPUVM_RESV_PROTECTED);\
	}

#define FX_CASE_MODES(name)							\
	KUNIT_CASE(name##_resv),						\
	KUNIT_CASE(name##_resv_protected),					\
	KUNIT_CASE(name##_immediate),						\
	KUNIT_CASE(name##_immediate_resv_protected)

#endif /* DSVM_KUNIT_GPUVM_FIXTURE_H */
