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
#include "kunit/cases/tree.h"

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

// The tree's order as the checker believes it, which is not the core's word for it.
struct VaOrderTraits {
	using Node = dsvm_va;
	static TreeNode *words(Node &node) { return node.tree; }
	static Node *from_words(TreeNode *words)
	{
		return reinterpret_cast<Node *>(reinterpret_cast<usize>(words) -
						__builtin_offsetof(dsvm_va, tree));
	}
	static bool less(const Node &a, const Node &b) { return a.map.addr < b.map.addr; }
	static bool update(Node &, const Node *, const Node *) { return false; }
};

// As long as it lives, whoever allocates fails the case.
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
	using Order = List<dsvm_va, &dsvm_va::order>;
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
		for (dsvm_va &va : Order(space.order).safe()) {
			if (&va != &kernel)
				destroy(va);
		}
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

	// Takes a mapping out and frees it.
	void destroy(dsvm_va &va)
	{
		if (!take_out(va))
			return;
		unlink(va);
		free(&va);
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
			destroy(*op.remap.unmap->va);
			if (op.remap.prev != nullptr)
				DSVM_EXPECT_EQ(insert(*op.remap.prev), 0);
			if (op.remap.next != nullptr)
				DSVM_EXPECT_EQ(insert(*op.remap.next), 0);
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
		u32 count = 0;
		const char *wrong =
			space.bind == bind ? check_order(count) : "another transaction is open";

		if (wrong == nullptr)
			wrong = TreeChecker<VaOrderTraits>(space.tree).complaint(count);
		if (wrong == nullptr)
			wrong = check_tree_against_order();
		return wrong != nullptr ? wrong : check_objects();
	}

	// Mappings that exist, in the space or not.
	u32 mappings = 0;
	dsvm_va_space space = {};
	dsvm_va kernel = {};
	dsvm_os_obj objs[kVaObjs] = {};

private:
	using Tree = AugTree<VaOrderTraits>;

	int put_in(dsvm_va &va)
	{
		VaNoAllocation none;

		return dsvm_va_insert(&space, &va);
	}

	bool take_out(dsvm_va &va)
	{
		VaNoAllocation none;

		return DSVM_CASE_CHECK_(dsvm_va_remove(&space, &va));
	}

	const char *check_order(u32 &count)
	{
		const u64 last = space.mm_start + (space.mm_range - 1);
		bool kernel_seen = false;
		const dsvm_va *before = nullptr;

		if (space.order.next->prev != &space.order ||
		    space.order.prev->next != &space.order)
			return "links of the list's head";
		for (const dsvm_va &va : Order(space.order)) {
			if (va.order.next->prev != &va.order || va.order.prev->next != &va.order)
				return "links of the list";
			if (va.map.range == 0 || va_last(va.map) < va.map.addr)
				return "a mapping wraps";
			if (before != nullptr && va_last(before->map) >= va.map.addr)
				return "mappings overlap, or are out of order";
			if (va.skip != nullptr && !is_claimed_to(va))
				return "a skip mark";
			if (va.map.state != 0)
				return "a planned mapping was left";
			kernel_seen |= &va == &kernel;
			if (&va != &kernel &&
			    (space.mm_range == 0 || va.map.addr < space.mm_start ||
			     va_last(va.map) > last))
				return "a mapping outside of the space";
			before = &va;
			count++;
		}
		return kernel_seen == (kernel.map.range != 0) ? nullptr : "the kernel's mapping";
	}

	// Whether a transaction is open and the mark leads past what is claimed, and no further.
	[[nodiscard]] bool is_claimed_to(const dsvm_va &va) const
	{
		const dsvm_link *at = va.order.next;

		while (at != va.skip && at != &space.order &&
		       container_of(const_cast<dsvm_link *>(at), &dsvm_va::order)->skip != nullptr)
			at = at->next;
		return space.bind != nullptr && at == va.skip;
	}

	const char *check_tree_against_order()
	{
		dsvm_va *at = Tree(space.tree).first();

		for (const dsvm_va &va : Order(space.order)) {
			if (at != &va)
				return "tree and list disagree";
			at = Tree::next(*at);
		}
		return at == nullptr ? nullptr : "the tree has more than the list";
	}

	// The lists of the objects hold the mappings that show them, and no other.
	const char *check_objects()
	{
		u32 shown = 0;
		u32 listed = 0;

		for (const dsvm_va &va : Order(space.order)) {
			shown += va.map.obj != nullptr;
			if (Shown::is_linked(va) != (va.map.obj != nullptr))
				return "a mapping is not on its object's list";
		}
		for (dsvm_os_obj &obj : objs) {
			u32 here = 0;

			for (const dsvm_va &va : Shown(obj.mappings)) {
				if (va.map.obj != &obj || !Order::is_linked(va))
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
