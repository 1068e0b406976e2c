/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Tracepoints. Numbers and pointers only: what it takes to record a string
 * differs between kernels.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM drm_svm

#if !defined(DSVM_LINUX_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DSVM_LINUX_TRACE_H

#include <linux/tracepoint.h>

#include "gpusvm_internal.h"
#include "gpuvm_internal.h"
#include "hmmptr_internal.h"
#include "pagemap_internal.h"

/* Tools outside of the kernel know no enumerators, but what is listed here. */
TRACE_DEFINE_ENUM(DSVM_VA_OP_MAP);
TRACE_DEFINE_ENUM(DSVM_VA_OP_REMAP);
TRACE_DEFINE_ENUM(DSVM_VA_OP_UNMAP);
TRACE_DEFINE_ENUM(DSVM_VA_OP_PREFETCH);
TRACE_DEFINE_ENUM(DSVM_VA_OP_DRIVER);
TRACE_DEFINE_ENUM(DSVM_BIND_IDLE);
TRACE_DEFINE_ENUM(DSVM_BIND_OPEN);
TRACE_DEFINE_ENUM(DSVM_BIND_PREPARED);
TRACE_DEFINE_ENUM(DSVM_BIND_COMMITTED);
TRACE_DEFINE_ENUM(DSVM_ACCESS_READ_ONLY);
TRACE_DEFINE_ENUM(DSVM_ACCESS_READ);
TRACE_DEFINE_ENUM(DSVM_ACCESS_WRITE);
TRACE_DEFINE_ENUM(DSVM_REFUSED);
TRACE_DEFINE_ENUM(DSVM_DONE);
TRACE_DEFINE_ENUM(DSVM_UNFINISHED);
TRACE_DEFINE_ENUM(DSVM_WAY_TO_DEVICE);
TRACE_DEFINE_ENUM(DSVM_WAY_CPU_FAULT);
TRACE_DEFINE_ENUM(DSVM_WAY_EVICT);
TRACE_DEFINE_ENUM(DSVM_PHASE_SETUP);
TRACE_DEFINE_ENUM(DSVM_PHASE_MAP);
TRACE_DEFINE_ENUM(DSVM_PHASE_COPY);
TRACE_DEFINE_ENUM(DSVM_PHASE_FINALIZE);
TRACE_DEFINE_ENUM(MMU_NOTIFY_UNMAP);
TRACE_DEFINE_ENUM(MMU_NOTIFY_CLEAR);
TRACE_DEFINE_ENUM(MMU_NOTIFY_PROTECTION_VMA);
TRACE_DEFINE_ENUM(MMU_NOTIFY_PROTECTION_PAGE);
TRACE_DEFINE_ENUM(MMU_NOTIFY_SOFT_DIRTY);
TRACE_DEFINE_ENUM(MMU_NOTIFY_RELEASE);
TRACE_DEFINE_ENUM(MMU_NOTIFY_MIGRATE);
TRACE_DEFINE_ENUM(MMU_NOTIFY_EXCLUSIVE);

#define show_mmu_event(event)						\
	__print_symbolic(event,						\
			 { MMU_NOTIFY_UNMAP, "unmap" },			\
			 { MMU_NOTIFY_CLEAR, "clear" },			\
			 { MMU_NOTIFY_PROTECTION_VMA, "protection_vma" },	\
			 { MMU_NOTIFY_PROTECTION_PAGE, "protection_page" },	\
			 { MMU_NOTIFY_SOFT_DIRTY, "soft_dirty" },	\
			 { MMU_NOTIFY_RELEASE, "release" },		\
			 { MMU_NOTIFY_MIGRATE, "migrate" },		\
			 { MMU_NOTIFY_EXCLUSIVE, "exclusive" })

#define show_invalidated(result)					\
	__print_symbolic(result,					\
			 { DSVM_REFUSED, "refused" },			\
			 { DSVM_DONE, "done" },				\
			 { DSVM_UNFINISHED, "unfinished" })

DECLARE_EVENT_CLASS(gpuva,
	TP_PROTO(const struct drm_gpuva *va),
	TP_ARGS(va),
	TP_STRUCT__entry(
		__field(const void *, vm)
		__field(const void *, va)
		__field(const void *, obj)
		__field(u64, first)
		__field(u64, last)
		__field(u64, offset)
		__field(u32, flags)
	),
	TP_fast_assign(
		__entry->vm = va->vm;
		__entry->va = va;
		__entry->obj = va->gem.obj;
		__entry->first = va->va.addr;
		__entry->last = va->va.addr + va->va.range - 1;
		__entry->offset = va->gem.offset;
		__entry->flags = READ_ONCE(va->flags);
	),
	TP_printk("vm=%p va=%p [0x%llx, 0x%llx] obj=%p offset=0x%llx flags=0x%x",
		  __entry->vm, __entry->va, __entry->first, __entry->last,
		  __entry->obj, __entry->offset, __entry->flags)
);

/* A mapping has been put into a space. */
DEFINE_EVENT(gpuva, gpuva_insert,
	TP_PROTO(const struct drm_gpuva *va),
	TP_ARGS(va)
);

/* A mapping has been taken out. */
DEFINE_EVENT(gpuva, gpuva_remove,
	TP_PROTO(const struct drm_gpuva *va),
	TP_ARGS(va)
);

/*
 * A step has been handed out, or done by a transaction. @first and @last are of
 * the mapping that comes, or else of the one that goes or is prefetched; @prev
 * and @next are how many units of it come back.
 */
TRACE_EVENT(gpuva_op,
	TP_PROTO(const struct drm_gpuvm *gpuvm, const struct drm_gpuva_op *op),
	TP_ARGS(gpuvm, op),
	TP_STRUCT__entry(
		__field(const void *, vm)
		__field(const void *, va)
		__field(u64, first)
		__field(u64, last)
		__field(u64, prev)
		__field(u64, next)
		__field(u32, op)
		__field(bool, keep)
	),
	TP_fast_assign(
		const struct drm_gpuva *va = op_subject(op);
		const bool map = op->op == DRM_GPUVA_OP_MAP;
		const bool remap = op->op == DRM_GPUVA_OP_REMAP;
		const u64 range = map ? op->map.va.range : va ? va->va.range : 0;

		__entry->vm = gpuvm;
		__entry->va = va;
		__entry->first = map ? op->map.va.addr : va ? va->va.addr : 0;
		__entry->last = range ? __entry->first + range - 1 : 0;
		__entry->prev = remap && op->remap.prev ? op->remap.prev->va.range : 0;
		__entry->next = remap && op->remap.next ? op->remap.next->va.range : 0;
		__entry->op = op->op;
		__entry->keep = remap ? op->remap.unmap->keep :
				op->op == DRM_GPUVA_OP_UNMAP && op->unmap.keep;
	),
	TP_printk("vm=%p %s va=%p [0x%llx, 0x%llx] prev=0x%llx next=0x%llx keep=%d",
		  __entry->vm,
		  __print_symbolic(__entry->op,
				   { DSVM_VA_OP_MAP, "map" },
				   { DSVM_VA_OP_REMAP, "remap" },
				   { DSVM_VA_OP_UNMAP, "unmap" },
				   { DSVM_VA_OP_PREFETCH, "prefetch" },
				   { DSVM_VA_OP_DRIVER, "driver" }),
		  __entry->va, __entry->first, __entry->last,
		  __entry->prev, __entry->next, __entry->keep)
);

/* A transaction; the stage it is in says how far it has come. */
DECLARE_EVENT_CLASS(bind,
	TP_PROTO(const struct drm_svm_bind *bind),
	TP_ARGS(bind),
	TP_STRUCT__entry(
		__field(const void *, vm)
		__field(const void *, bind)
		__field(u32, requests)
		__field(u32, stage)
	),
	TP_fast_assign(
		__entry->vm = bind->vm;
		__entry->bind = bind;
		__entry->requests = bind->core.requests;
		__entry->stage = bind->core.stage;
	),
	TP_printk("vm=%p bind=%p requests=%u %s",
		  __entry->vm, __entry->bind, __entry->requests,
		  __print_symbolic(__entry->stage,
				   { DSVM_BIND_IDLE, "idle" },
				   { DSVM_BIND_OPEN, "open" },
				   { DSVM_BIND_PREPARED, "prepared" },
				   { DSVM_BIND_COMMITTED, "committed" }))
);

DEFINE_EVENT(bind, bind_begin,
	TP_PROTO(const struct drm_svm_bind *bind),
	TP_ARGS(bind)
);

DEFINE_EVENT(bind, bind_commit,
	TP_PROTO(const struct drm_svm_bind *bind),
	TP_ARGS(bind)
);

/* It is over; committed, or else aborted. */
DEFINE_EVENT(bind, bind_end,
	TP_PROTO(const struct drm_svm_bind *bind),
	TP_ARGS(bind)
);

TRACE_EVENT(bind_prepare,
	TP_PROTO(const struct drm_svm_bind *bind, int ret),
	TP_ARGS(bind, ret),
	TP_STRUCT__entry(
		__field(const void *, vm)
		__field(const void *, bind)
		__field(u32, requests)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->vm = bind->vm;
		__entry->bind = bind;
		__entry->requests = bind->core.requests;
		__entry->ret = ret;
	),
	TP_printk("vm=%p bind=%p requests=%u ret=%d",
		  __entry->vm, __entry->bind, __entry->requests, __entry->ret)
);

/*
 * The range at an address has been asked for. It was made for that if a
 * gpusvm_range_make of the same range comes before in the same task.
 */
TRACE_EVENT(gpusvm_fault,
	TP_PROTO(const struct drm_gpusvm *gpusvm, const struct dsvm_find_or_insert *request,
		 const struct drm_gpusvm_range *range),
	TP_ARGS(gpusvm, request, range),
	TP_STRUCT__entry(
		__field(const void *, gpusvm)
		__field(const void *, range)
		__field(u64, addr)
		__field(u64, first)
		__field(u64, last)
		__field(int, ret)
		__field(bool, write)
	),
	TP_fast_assign(
		__entry->gpusvm = gpusvm;
		__entry->range = IS_ERR(range) ? NULL : range;
		__entry->addr = request->fault_addr;
		__entry->first = IS_ERR(range) ? 0 : range->itree.start;
		__entry->last = IS_ERR(range) ? 0 : range->itree.last;
		__entry->ret = PTR_ERR_OR_ZERO(range);
		__entry->write = request->write;
	),
	TP_printk("gpusvm=%p addr=0x%llx write=%d range=%p [0x%llx, 0x%llx] ret=%d",
		  __entry->gpusvm, __entry->addr, __entry->write, __entry->range,
		  __entry->first, __entry->last, __entry->ret)
);

DECLARE_EVENT_CLASS(gpusvm_range,
	TP_PROTO(const struct drm_gpusvm_range *range),
	TP_ARGS(range),
	TP_STRUCT__entry(
		__field(const void *, gpusvm)
		__field(const void *, range)
		__field(u64, first)
		__field(u64, last)
		__field(u32, flags)
	),
	TP_fast_assign(
		__entry->gpusvm = range->gpusvm;
		__entry->range = range;
		__entry->first = range->itree.start;
		__entry->last = range->itree.last;
		__entry->flags = READ_ONCE(range->flags.__flags);
	),
	TP_printk("gpusvm=%p range=%p [0x%llx, 0x%llx] flags=0x%x",
		  __entry->gpusvm, __entry->range, __entry->first, __entry->last,
		  __entry->flags)
);

/* It has been made, and goes into the tree unless somebody else's is there by then. */
DEFINE_EVENT(gpusvm_range, gpusvm_range_make,
	TP_PROTO(const struct drm_gpusvm_range *range),
	TP_ARGS(range)
);

/* It is taken out of the tree. */
DEFINE_EVENT(gpusvm_range, gpusvm_range_remove,
	TP_PROTO(const struct drm_gpusvm_range *range),
	TP_ARGS(range)
);

/* Its last reference has gone. */
DEFINE_EVENT(gpusvm_range, gpusvm_range_free,
	TP_PROTO(const struct drm_gpusvm_range *range),
	TP_ARGS(range)
);

/* Somebody has its lock; until gpusvm_range_release. */
DEFINE_EVENT(gpusvm_range, gpusvm_range_acquire,
	TP_PROTO(const struct drm_gpusvm_range *range),
	TP_ARGS(range)
);

DEFINE_EVENT(gpusvm_range, gpusvm_range_release,
	TP_PROTO(const struct drm_gpusvm_range *range),
	TP_ARGS(range)
);

/* It has got new ends; the tail, if there is one, is a new range. */
TRACE_EVENT(gpusvm_range_trim,
	TP_PROTO(const struct drm_gpusvm_range *range, const struct drm_gpusvm_range *tail),
	TP_ARGS(range, tail),
	TP_STRUCT__entry(
		__field(const void *, gpusvm)
		__field(const void *, range)
		__field(u64, first)
		__field(u64, last)
		__field(const void *, tail)
		__field(u64, tail_first)
		__field(u64, tail_last)
	),
	TP_fast_assign(
		__entry->gpusvm = range->gpusvm;
		__entry->range = range;
		__entry->first = range->itree.start;
		__entry->last = range->itree.last;
		__entry->tail = tail;
		__entry->tail_first = tail ? tail->itree.start : 0;
		__entry->tail_last = tail ? tail->itree.last : 0;
	),
	TP_printk("gpusvm=%p range=%p [0x%llx, 0x%llx] tail=%p [0x%llx, 0x%llx]",
		  __entry->gpusvm, __entry->range, __entry->first, __entry->last,
		  __entry->tail, __entry->tail_first, __entry->tail_last)
);

DECLARE_EVENT_CLASS(gpusvm_event,
	TP_PROTO(const struct dsvm_gpusvm_event *event, int result),
	TP_ARGS(event, result),
	TP_STRUCT__entry(
		__field(const void *, gpusvm)
		__field(u64, window)
		__field(u64, first)
		__field(u64, last)
		__field(u64, seq)
		__field(u32, event)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->gpusvm = event->notifier->gpusvm;
		__entry->window = event->notifier->itree.start;
		__entry->first = event->core.first;
		__entry->last = event->core.last;
		__entry->seq = event->core.seq;
		__entry->event = event->mmu_range->event;
		__entry->result = result;
	),
	TP_printk("gpusvm=%p window=0x%llx [0x%llx, 0x%llx] %s seq=%llu %s",
		  __entry->gpusvm, __entry->window, __entry->first, __entry->last,
		  show_mmu_event(__entry->event), __entry->seq,
		  show_invalidated(__entry->result))
);

/* The CPU is about to change a span; unfinished: a second pass follows. */
DEFINE_EVENT(gpusvm_event, gpusvm_invalidate,
	TP_PROTO(const struct dsvm_gpusvm_event *event, int result),
	TP_ARGS(event, result)
);

DEFINE_EVENT(gpusvm_event, gpusvm_invalidate_finish,
	TP_PROTO(const struct dsvm_gpusvm_event *event, int result),
	TP_ARGS(event, result)
);

/* Pages have been collected; no attempts: they were mapped already. */
TRACE_EVENT(gpusvm_get_pages,
	TP_PROTO(const struct drm_gpusvm_pages *pages, const struct dsvm_get_pages *request,
		 u64 ns, int ret),
	TP_ARGS(pages, request, ns, ret),
	TP_STRUCT__entry(
		__field(const void *, gpusvm)
		__field(const void *, pages)
		__field(u64, first)
		__field(u64, last)
		__field(u64, ns)
		__field(u32, access)
		__field(u32, attempts)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->gpusvm = to_gpusvm(request->svm);
		__entry->pages = pages;
		__entry->first = request->first;
		__entry->last = request->last;
		__entry->ns = ns;
		__entry->access = request->access;
		__entry->attempts = request->attempts;
		__entry->ret = ret;
	),
	TP_printk("gpusvm=%p pages=%p [0x%llx, 0x%llx] count=%llu %s attempts=%u us=%llu ret=%d",
		  __entry->gpusvm, __entry->pages, __entry->first, __entry->last,
		  (__entry->last - __entry->first + 1) >> PAGE_SHIFT,
		  __print_symbolic(__entry->access,
				   { DSVM_ACCESS_READ_ONLY, "read_only" },
				   { DSVM_ACCESS_READ, "read" },
				   { DSVM_ACCESS_WRITE, "write" }),
		  __entry->attempts, __entry->ns / NSEC_PER_USEC, __entry->ret)
);

/* Pages of a hmmptr have been asked for. */
DECLARE_EVENT_CLASS(hmmptr_collect,
	TP_PROTO(const struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end,
		 bool write, u64 ns, int ret),
	TP_ARGS(hmmptr, start, end, write, ns, ret),
	TP_STRUCT__entry(
		__field(const void *, set)
		__field(const void *, hmmptr)
		__field(u64, first)
		__field(u64, last)
		__field(u64, ns)
		__field(int, ret)
		__field(bool, write)
	),
	TP_fast_assign(
		__entry->set = hmmptr->set;
		__entry->hmmptr = hmmptr;
		__entry->first = start;
		__entry->last = end - 1;
		__entry->ns = ns;
		__entry->ret = ret;
		__entry->write = write;
	),
	TP_printk("set=%p hmmptr=%p [0x%llx, 0x%llx] count=%llu write=%d us=%llu ret=%d",
		  __entry->set, __entry->hmmptr, __entry->first, __entry->last,
		  (__entry->last - __entry->first + 1) >> PAGE_SHIFT, __entry->write,
		  __entry->ns / NSEC_PER_USEC, __entry->ret)
);

DEFINE_EVENT(hmmptr_collect, hmmptr_populate,
	TP_PROTO(const struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end,
		 bool write, u64 ns, int ret),
	TP_ARGS(hmmptr, start, end, write, ns, ret)
);

/* And mapped as well. */
DEFINE_EVENT(hmmptr_collect, hmmptr_get_pages,
	TP_PROTO(const struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end,
		 bool write, u64 ns, int ret),
	TP_ARGS(hmmptr, start, end, write, ns, ret)
);

/* What was populated of a hmmptr has been mapped for its device. */
TRACE_EVENT(hmmptr_map,
	TP_PROTO(const struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end,
		 u64 ns, int ret),
	TP_ARGS(hmmptr, start, end, ns, ret),
	TP_STRUCT__entry(
		__field(const void *, set)
		__field(const void *, hmmptr)
		__field(u64, first)
		__field(u64, last)
		__field(u64, ns)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->set = hmmptr->set;
		__entry->hmmptr = hmmptr;
		__entry->first = start;
		__entry->last = end - 1;
		__entry->ns = ns;
		__entry->ret = ret;
	),
	TP_printk("set=%p hmmptr=%p [0x%llx, 0x%llx] count=%llu us=%llu ret=%d",
		  __entry->set, __entry->hmmptr, __entry->first, __entry->last,
		  (__entry->last - __entry->first + 1) >> PAGE_SHIFT,
		  __entry->ns / NSEC_PER_USEC, __entry->ret)
);

/* @taken and @taken_last: the pieces that the GPU loses, as one span; none: 1 and 0. */
DECLARE_EVENT_CLASS(hmmptr_event,
	TP_PROTO(const struct dsvm_hmmptr_event *event, const struct mmu_notifier_range *range,
		 int result),
	TP_ARGS(event, range, result),
	TP_STRUCT__entry(
		__field(const void *, hmmptr)
		__field(u64, first)
		__field(u64, last)
		__field(u64, taken)
		__field(u64, taken_last)
		__field(u64, seq)
		__field(u32, event)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->hmmptr = to_hmmptr(event->hmmptr);
		__entry->first = event->core.first;
		__entry->last = event->core.last;
		__entry->taken = event->first;
		__entry->taken_last = event->last;
		__entry->seq = event->core.seq;
		__entry->event = range->event;
		__entry->result = result;
	),
	TP_printk("hmmptr=%p [0x%llx, 0x%llx] taken=[0x%llx, 0x%llx] %s seq=%llu %s",
		  __entry->hmmptr, __entry->first, __entry->last,
		  __entry->taken, __entry->taken_last,
		  show_mmu_event(__entry->event), __entry->seq,
		  show_invalidated(__entry->result))
);

/* The CPU is about to change a span; unfinished: a second pass follows. */
DEFINE_EVENT(hmmptr_event, hmmptr_invalidate,
	TP_PROTO(const struct dsvm_hmmptr_event *event, const struct mmu_notifier_range *range,
		 int result),
	TP_ARGS(event, range, result)
);

DEFINE_EVENT(hmmptr_event, hmmptr_invalidate_finish,
	TP_PROTO(const struct dsvm_hmmptr_event *event, const struct mmu_notifier_range *range,
		 int result),
	TP_ARGS(event, range, result)
);

/* What invalidations have taken from the hmmptrs of a set has been made good. */
TRACE_EVENT(hmmptr_revalidate,
	TP_PROTO(const struct drm_svm_hmmptr_set *set, u64 ns, int ret),
	TP_ARGS(set, ns, ret),
	TP_STRUCT__entry(
		__field(const void *, set)
		__field(u64, lost)
		__field(u64, ns)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->set = set;
		__entry->lost = READ_ONCE(set->core.lost);
		__entry->ns = ns;
		__entry->ret = ret;
	),
	TP_printk("set=%p lost=%llu us=%llu ret=%d", __entry->set, __entry->lost,
		  __entry->ns / NSEC_PER_USEC, __entry->ret)
);

/*
 * A batch of pages has come through a phase of its migration. @first is an address; of
 * an eviction by frames, the first of them. @count is how many pages were collected, copied, or
 * have moved; of the mapping, how many pieces it has.
 */
TRACE_EVENT(migrate_phase,
	TP_PROTO(const struct dsvm_migrate_event *event),
	TP_ARGS(event),
	TP_STRUCT__entry(
		__field(const void *, dpagemap)
		__field(const void *, devmem)
		__field(u64, first)
		__field(u64, npages)
		__field(u64, count)
		__field(u64, ns)
		__field(u32, way)
		__field(u32, phase)
		__field(int, status)
	),
	TP_fast_assign(
		__entry->dpagemap = event->devmem->provider;
		__entry->devmem = event->devmem->allocation;
		__entry->first = event->first;
		__entry->npages = event->npages;
		__entry->count = event->count;
		__entry->ns = event->ns;
		__entry->way = event->way;
		__entry->phase = event->phase;
		__entry->status = event->status;
	),
	TP_printk("dpagemap=%p devmem=%p %s %s first=0x%llx pages=%llu count=%llu us=%llu ret=%d",
		  __entry->dpagemap, __entry->devmem,
		  __print_symbolic(__entry->way,
				   { DSVM_WAY_TO_DEVICE, "to_device" },
				   { DSVM_WAY_CPU_FAULT, "cpu_fault" },
				   { DSVM_WAY_EVICT, "evict" }),
		  __print_symbolic(__entry->phase,
				   { DSVM_PHASE_SETUP, "setup" },
				   { DSVM_PHASE_MAP, "map" },
				   { DSVM_PHASE_COPY, "copy" },
				   { DSVM_PHASE_FINALIZE, "finalize" }),
		  __entry->first, __entry->npages, __entry->count,
		  __entry->ns / NSEC_PER_USEC, __entry->status)
);

#endif /* DSVM_LINUX_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
