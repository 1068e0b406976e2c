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

#include "gpuvm_internal.h"

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

#endif /* DSVM_LINUX_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
