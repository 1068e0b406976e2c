// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/va.h and bind.h over the core: forwarders, nothing else.
#include "core/va/bind.h"
#include "core/va/op_list.h"
#include "core/va/split.h"

using namespace dsvm;

int dsvm_va_space_init(dsvm_va_space *space, dsvm_u64 start, dsvm_u64 range, dsvm_va *kernel)
{
	return VaSpace{*space}.init(start, range, kernel).code();
}

dsvm_bool dsvm_va_space_fini(dsvm_va_space *space)
{
	return VaSpace{*space}.fini();
}

dsvm_bool dsvm_va_range_valid(dsvm_va_space *space, dsvm_u64 addr, dsvm_u64 range)
{
	return VaSpace{*space}.check(addr, range).is_ok();
}

int dsvm_va_insert(dsvm_va_space *space, dsvm_va *va)
{
	return VaSpace{*space}.insert(*va).code();
}

dsvm_bool dsvm_va_remove(dsvm_va_space *space, dsvm_va *va)
{
	return VaSpace{*space}.remove(*va);
}

int dsvm_va_replace(dsvm_va_space *space, dsvm_va *va, dsvm_va *prev, dsvm_va *next, dsvm_va **gone)
{
	return VaSpace{*space}.replace(*va, prev, next, *gone).code();
}

int dsvm_va_remap(dsvm_va_space *space, dsvm_va *va, dsvm_va *prev, dsvm_va *next)
{
	return VaSpace{*space}.remap(*va, prev, next).code();
}

dsvm_va_walk dsvm_va_walk_begin(dsvm_va_space *space, dsvm_u64 first, dsvm_u64 last)
{
	return VaSpace{*space}.mappings().walk(VaRange{first, last});
}

dsvm_va_walk dsvm_va_walk_on(dsvm_va_walk walk)
{
	VaMap{*walk.index}.walk_on(walk);
	return walk;
}

dsvm_va *dsvm_va_find_first(dsvm_va_space *space, dsvm_u64 addr, dsvm_u64 range)
{
	return VaSpace{*space}.find_first(addr, range);
}

dsvm_va *dsvm_va_find(dsvm_va_space *space, dsvm_u64 addr, dsvm_u64 range)
{
	return VaSpace{*space}.find(addr, range);
}

dsvm_va *dsvm_va_find_prev(dsvm_va_space *space, dsvm_u64 start)
{
	return start != 0 ? VaSpace{*space}.find_first(start - 1, 1) : nullptr;
}

dsvm_va *dsvm_va_find_next(dsvm_va_space *space, dsvm_u64 end)
{
	return VaSpace{*space}.find_first(end, 1);
}

int dsvm_va_sm_map(dsvm_va_space *space, const dsvm_va_map *request, dsvm_va_mode mode,
		   dsvm_va_step step, void *context)
{
	return sm_map(*space, *request, mode, step, context).code();
}

int dsvm_va_sm_unmap(dsvm_va_space *space, dsvm_u64 addr, dsvm_u64 range, dsvm_va_step step,
		     void *context)
{
	return sm_unmap(*space, addr, range, step, context).code();
}

int dsvm_va_ops_map(dsvm_va_space *space, const dsvm_va_map *request, dsvm_va_mode mode,
		    const dsvm_va_op_memory *memory, dsvm_link *list)
{
	return list_map(*space, *request, mode, *memory, *list).code();
}

int dsvm_va_ops_unmap(dsvm_va_space *space, dsvm_u64 addr, dsvm_u64 range,
		      const dsvm_va_op_memory *memory, dsvm_link *list)
{
	return list_unmap(*space, addr, range, *memory, *list).code();
}

int dsvm_va_ops_prefetch(dsvm_va_space *space, dsvm_u64 addr, dsvm_u64 range,
			 const dsvm_va_op_memory *memory, dsvm_link *list)
{
	return list_prefetch(*space, addr, range, *memory, *list).code();
}

int dsvm_va_ops_bo_unmap(dsvm_link *mappings, const dsvm_va_op_memory *memory, dsvm_link *list)
{
	return list_bo_unmap(*mappings, *memory, *list).code();
}

void dsvm_va_ops_free(const dsvm_va_op_memory *memory, dsvm_link *list)
{
	list_free(*memory, *list);
}

void dsvm_va_remap_pieces(const dsvm_va_op_remap *remap, dsvm_u64 block, dsvm_va_pieces *out)
{
	*out = remap_pieces(*remap, block);
}

int dsvm_bind_begin(dsvm_bind *bind, dsvm_va_space *space, const dsvm_bind_env *env,
		    dsvm_usize room, void *buffer, dsvm_usize buffer_size)
{
	return Bind{*bind}.begin(*space, *env, room, buffer, buffer_size).code();
}

int dsvm_bind_map(dsvm_bind *bind, const dsvm_va_map *request, dsvm_u32 how, void *tag)
{
	return Bind{*bind}.map(*request, how, tag).code();
}

int dsvm_bind_unmap(dsvm_bind *bind, dsvm_u64 addr, dsvm_u64 range, void *tag)
{
	return Bind{*bind}.unmap(addr, range, tag).code();
}

int dsvm_bind_prefetch(dsvm_bind *bind, dsvm_u64 addr, dsvm_u64 range, void *tag)
{
	return Bind{*bind}.prefetch(addr, range, tag).code();
}

dsvm_bind_op *dsvm_bind_driver(dsvm_bind *bind, dsvm_u64 addr, dsvm_u64 range, void *tag)
{
	return Bind{*bind}.driver(addr, range, tag);
}

int dsvm_bind_prepare(dsvm_bind *bind)
{
	return Bind{*bind}.prepare().code();
}

void dsvm_bind_commit(dsvm_bind *bind)
{
	Bind{*bind}.commit();
}

void dsvm_bind_end(dsvm_bind *bind)
{
	Bind{*bind}.end();
}
