// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A GPU's address space with a driver around it, what the cases for core/va have in common.
//
// The driver is the simplest one: it makes a mapping for each that a step asks for, from
// the environment's memory, keeps the mappings of an object on the object's list, and
// changes the space as soon as it gets a step.
#ifndef DSVM_KUNIT_CASES_VA_SCENE_H
#define DSVM_KUNIT_CASES_VA_SCENE_H

#include "core/base/list.h"
#include "core/base/va_range.h"
#include "drm_svm/va.h"
#include "kunit/case.h"
#include "kunit/cases/va_index_check.h"

// What joins an object and the space, as long as there is a mapping or a step that wants it.
struct dsvm_os_vm_bo {
	// One for each of these.
	dsvm::u32 refs;
};

// A buffer object.
struct dsvm_os_obj {
	// The mappings that show it, through dsvm_va.bo_entry.
	dsvm_link mappings;
	dsvm_os_vm_bo *vm_bo;
	// Those that transactions took.
	dsvm::u64 refs;
};

namespace dsvm::cases {

constexpr u32 kVaObjs = 4;

// As long as it lives, whoever allocates what may be waited for fails the case.
class VaNoAllocation {
public:
	VaNoAllocation() { dsvm_env_fail_alloc(1); }
	VaNoAllocation(const VaNoAllocation &) = delete;
	VaNoAllocation &operator=(const VaNoAllocation &) = delete;
	~VaNoAllocation()
	{
		DSVM_EXPECT(!dsvm_env_alloc_failed());
		dsvm_env_fail_alloc(0);
	}
};

// Preconditions: not empty, ends by 2^64.
[[nodiscard]] inline u64 va_last(const dsvm_va_map &map)
{
	return map.addr + (map.range - 1);
}

[[nodiscard]] inline bool same_map(const dsvm_va_map &a, const dsvm_va_map &b)
{
	return a.flags == b.flags && a.state == b.state && a.addr == b.addr && a.range == b.range &&
	       a.offset == b.offset && a.obj == b.obj && a.repeat_offset == b.repeat_offset &&
	       a.repeat_range == b.repeat_range;
}

class VaScene {
public:
	using Shown = List<dsvm_va, &dsvm_va::bo_entry>;

	explicit VaScene(u64 start, u64 range, u64 kernel_addr = 0, u64 kernel_range = 0)
	{
		kernel.map.addr = kernel_addr;
		kernel.map.range = kernel_range;
		for (dsvm_os_obj &obj : objs)
			link_init(obj.mappings);
		DSVM_EXPECT_EQ(dsvm_va_space_init(&space, start, range, &kernel), 0);
	}
	VaScene(const VaScene &) = delete;
	VaScene &operator=(const VaScene &) = delete;
	~VaScene()
	{
		while (dsvm_va *const va = any())
			destroy(*va);
		DSVM_EXPECT(dsvm_va_space_fini(&space));
		DSVM_EXPECT_EQ(mappings, 0u);
		for (const dsvm_os_obj &obj : objs) {
			DSVM_EXPECT_EQ(obj.refs, 0u);
			DSVM_EXPECT(obj.vm_bo == nullptr);
		}
	}

	// A mapping in no space; null if there is no memory.
	[[nodiscard]] dsvm_va *make(const dsvm_va_map &map)
	{
		auto *const va = static_cast<dsvm_va *>(dsvm_os_alloc(sizeof(dsvm_va)));

		if (va == nullptr)
			return nullptr;
		mappings++;
		va->map = map;
		return va;
	}

	// Frees one that is in no space.
	void free(dsvm_va *va)
	{
		mappings--;
		dsvm_os_free(va);
	}

	// Puts a new mapping in. What dsvm_va_insert() says, which may not allocate.
	int insert(const dsvm_va_map &map, dsvm_va **out = nullptr)
	{
		dsvm_va *const va = make(map);

		if (va == nullptr)
			return -DSVM_ENOMEM;
		const int result = put_in(*va);
		if (result != 0) {
			free(va);
			return result;
		}
		static_cast<void>(vm_bo_get(map.obj));
		link(*va);
		vm_bo_put(map.obj);
		if (out != nullptr)
			*out = va;
		return 0;
	}

	// Whether this one is in the space.
	[[nodiscard]] bool has(const dsvm_va &va)
	{
		return dsvm_va_find_first(&space, va.map.addr, 1) == &va;
	}

	// Takes a mapping out and frees it.
	void destroy(dsvm_va &va)
	{
		if (!take_out(va))
			return;
		unlink(va);
		free(&va);
	}

	// Puts a new mapping in the place of what is there, in one go. `with_prev`, `with_next`:
	// whether there are mappings for what remains. What dsvm_va_replace() says.
	int replace(const dsvm_va_map &map, bool with_prev, bool with_next)
	{
		// What these hold before is nothing to go by.
		dsvm_va_map other = map;
		other.range = 1;
		dsvm_va *const va = make(map);
		dsvm_va *const prev = with_prev ? make(other) : nullptr;
		dsvm_va *const next = with_next ? make(other) : nullptr;
		dsvm_va *gone = va;
		const int result = put_over(*va, prev, next, gone);

		if (result == 0)
			static_cast<void>(vm_bo_get(map.obj));
		dsvm_va *const all[] = {va, prev, next};
		for (dsvm_va *const in : all) {
			if (in == nullptr)
				continue;
			if (result == 0 && in->map.range != 0)
				link(*in);
			else
				free(in);
		}
		if (result == 0)
			vm_bo_put(map.obj);
		while (result == 0 && gone != nullptr) {
			dsvm_va *const after = gone->skip;

			unlink(*gone);
			free(gone);
			gone = after;
		}
		return result;
	}

	// Puts one or two new mappings in the place of another, which is freed. What
	// dsvm_va_remap() says.
	int remap(dsvm_va &va, const dsvm_va_map *prev_map, const dsvm_va_map *next_map)
	{
		dsvm_va *const prev = prev_map != nullptr ? make(*prev_map) : nullptr;
		dsvm_va *const next = next_map != nullptr ? make(*next_map) : nullptr;
		dsvm_va *const in[] = {prev, next};
		const int result = put_into(va, prev, next);

		for (dsvm_va *const piece : in) {
			if (piece != nullptr && result == 0)
				link(*piece);
			else if (piece != nullptr)
				free(piece);
		}
		if (result == 0) {
			unlink(va);
			free(&va);
		}
		return result;
	}

	// A reference to what joins the object and the space; null if there is no memory.
	dsvm_os_vm_bo *vm_bo_get(dsvm_os_obj *obj)
	{
		if (obj == nullptr)
			return nullptr;
		if (obj->vm_bo == nullptr)
			obj->vm_bo =
				static_cast<dsvm_os_vm_bo *>(dsvm_os_alloc(sizeof(dsvm_os_vm_bo)));
		if (obj->vm_bo != nullptr)
			obj->vm_bo->refs++;
		return obj->vm_bo;
	}
	void vm_bo_put(dsvm_os_obj *obj)
	{
		if (obj == nullptr || --obj->vm_bo->refs > 0)
			return;
		dsvm_os_free(obj->vm_bo);
		obj->vm_bo = nullptr;
	}

	// Puts a mapping on its object's list; somebody holds the vm_bo.
	void link(dsvm_va &va)
	{
		if (va.map.obj == nullptr)
			return;
		va.map.obj->vm_bo->refs++;
		Shown(va.map.obj->mappings).push_back(va);
	}
	void unlink(dsvm_va &va)
	{
		link_remove(va.bo_entry);
		vm_bo_put(va.map.obj);
	}

	// Does to the space what a step says.
	void apply(const dsvm_va_op &op)
	{
		switch (op.type) {
		case DSVM_VA_OP_MAP:
			DSVM_EXPECT_EQ(insert(op.map), 0);
			return;
		case DSVM_VA_OP_REMAP:
			DSVM_EXPECT_EQ(remap(*op.remap.unmap->va, op.remap.prev, op.remap.next), 0);
			return;
		case DSVM_VA_OP_UNMAP:
			destroy(*op.unmap.va);
			return;
		case DSVM_VA_OP_PREFETCH:
		case DSVM_VA_OP_DRIVER:
			return;
		}
	}

	// What is wrong with the structure, as a word, or null. `bind`: the transaction that is
	// open, which keeps marks in the mappings and references of its own.
	[[nodiscard]] const char *complaint(const dsvm_bind *bind = nullptr)
	{
		u32 spilled = 0;
		const char *wrong =
			space.bind == bind ? check_order(spilled) : "another transaction is open";

		if (wrong == nullptr)
			wrong = TreeChecker<VaOrderTraits>(space.index.spill).complaint(spilled);
		return wrong != nullptr ? wrong : check_objects();
	}

	// Mappings that exist, in the space or not.
	u32 mappings = 0;
	dsvm_va_space space = {};
	dsvm_va kernel = {};
	dsvm_os_obj objs[kVaObjs] = {};

private:
	// One that may go, or null.
	dsvm_va *any()
	{
		for (dsvm_va &va : VaMembers(space.index)) {
			if (&va != &kernel)
				return &va;
		}
		return nullptr;
	}

	int put_in(dsvm_va &va)
	{
		VaNoAllocation none;

		return dsvm_va_insert(&space, &va);
	}

	int put_over(dsvm_va &va, dsvm_va *prev, dsvm_va *next, dsvm_va *&gone)
	{
		VaNoAllocation none;

		return dsvm_va_replace(&space, &va, prev, next, &gone);
	}

	int put_into(dsvm_va &va, dsvm_va *prev, dsvm_va *next)
	{
		VaNoAllocation none;

		return dsvm_va_remap(&space, &va, prev, next);
	}

	bool take_out(dsvm_va &va)
	{
		VaNoAllocation none;

		return DSVM_CASE_CHECK_(dsvm_va_remove(&space, &va));
	}

	const char *check_order(u32 &spilled)
	{
		const u64 last = space.mm_start + (space.mm_range - 1);
		bool kernel_seen = false;
		const dsvm_va *before = nullptr;
		u32 count = 0;

		for (const dsvm_va &va : VaMembers(space.index)) {
			if (va.map.range == 0 || va_last(va.map) < va.map.addr)
				return "a mapping wraps";
			if (before != nullptr && va_last(before->map) >= va.map.addr)
				return "mappings overlap, or are out of order";
			if (!is_mark_right(va))
				return "a skip mark";
			if ((va.map.state & ~(DSVM_VA_SPILLED | DSVM_VA_CLAIMED)) != 0)
				return "a planned mapping was left";
			spilled += (va.map.state & DSVM_VA_SPILLED) != 0;
			kernel_seen |= &va == &kernel;
			if (&va != &kernel &&
			    (space.mm_range == 0 || va.map.addr < space.mm_start ||
			     va_last(va.map) > last))
				return "a mapping outside of the space";
			before = &va;
			count++;
		}
		if (const char *const wrong =
			    VaIndexChecker(space.index).complaint(count - spilled))
			return wrong;
		if (space.index.spilled != spilled)
			return "how many are spilled";
		return kernel_seen == (kernel.map.range != 0) ? nullptr : "the kernel's mapping";
	}

	// Whether what is claimed is so by an open transaction, and the mark, if there is one,
	// leads past what is claimed, and no further.
	[[nodiscard]] bool is_mark_right(const dsvm_va &va)
	{
		bool begun = false;

		if ((va.map.state & DSVM_VA_CLAIMED) == 0)
			return true;
		if (space.bind == nullptr)
			return false;
		if ((va.map.state & DSVM_VA_SPILLED) != 0 || va.skip == nullptr)
			return true;
		for (const dsvm_va &at : VaMembers(space.index)) {
			if (begun && &at == va.skip)
				return true;
			begun |= &at == &va;
			if (begun && (at.map.state & DSVM_VA_CLAIMED) == 0)
				return false;
		}
		return false;
	}

	// The lists of the objects hold the mappings that show them, and no other.
	const char *check_objects()
	{
		u32 shown = 0;
		u32 listed = 0;

		for (const dsvm_va &va : VaMembers(space.index)) {
			shown += va.map.obj != nullptr;
			if (Shown::is_linked(va) != (va.map.obj != nullptr))
				return "a mapping is not on its object's list";
		}
		for (dsvm_os_obj &obj : objs) {
			u32 here = 0;

			for (const dsvm_va &va : Shown(obj.mappings)) {
				if (va.map.obj != &obj)
					return "a mapping on another object's list";
				here++;
			}
			if (space.bind == nullptr &&
			    (obj.vm_bo != nullptr ? obj.vm_bo->refs : 0) != here)
				return "references to a vm_bo";
			listed += here;
		}
		return shown == listed ? nullptr : "mappings on no list";
	}
};

// Fails the case if the structure is unsound.
inline bool expect_sound(VaScene &scene)
{
	return expect_sound(scene.complaint(), "va");
}

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_VA_SCENE_H
