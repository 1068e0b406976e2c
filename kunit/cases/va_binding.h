// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A bind transaction against a model of what the space is going to be. Each request is
// done to that model at once; the steps that it came to, and what the transaction plans,
// are compared with it before the space changes at all. What the driver is asked for
// (va_driver.h) and what it is asked to take back have to come to the same.
#ifndef DSVM_KUNIT_CASES_VA_BINDING_H
#define DSVM_KUNIT_CASES_VA_BINDING_H

#include "kunit/cases/va_driver.h"
#include "kunit/cases/va_ground.h"

namespace dsvm::cases {

// A space, bit for bit, with what joins it to its objects.
class VaSnapshot {
public:
	void take(VaScene &scene)
	{
		space_ = scene.space;
		mappings_ = scene.mappings;
		count_ = 0;
		for (dsvm_va &va : VaMembers(scene.space.index))
			copies_[count_++] = Copy{&va, meant(va)};
		for (u32 i = 0; i < kVaObjs; i++) {
			objs_[i] = scene.objs[i];
			vm_bo_refs_[i] = refs(scene.objs[i]);
		}
	}
	[[nodiscard]] bool is_same(VaScene &scene) const
	{
		u32 at = 0;

		if (!same_bytes(space_, scene.space) || mappings_ != scene.mappings)
			return false;
		for (dsvm_va &va : VaMembers(scene.space.index)) {
			if (at == count_ || copies_[at].va != &va ||
			    !same_bytes(copies_[at].bytes, meant(va)))
				return false;
			at++;
		}
		for (u32 i = 0; i < kVaObjs; i++) {
			if (!same_bytes(objs_[i], scene.objs[i]) ||
			    vm_bo_refs_[i] != refs(scene.objs[i]))
				return false;
		}
		return at == count_;
	}

	// What is in no tree has anything in the place of a tree's links.
	[[nodiscard]] static dsvm_va meant(dsvm_va va)
	{
		if ((va.map.state & DSVM_VA_SPILLED) == 0)
			va.tree[0] = va.tree[1] = va.tree[2] = 0;
		return va;
	}

	// References to objects that transactions hold, and did not hold before.
	[[nodiscard]] u64 count_new_refs(const VaScene &scene) const
	{
		u64 count = 0;

		for (u32 i = 0; i < kVaObjs; i++)
			count += scene.objs[i].refs - objs_[i].refs;
		return count;
	}

private:
	struct Copy {
		dsvm_va *va;
		dsvm_va bytes;
	};

	template <class T> static bool same_bytes(const T &a, const T &b)
	{
		return __builtin_memcmp(&a, &b, sizeof(T)) == 0;
	}
	static u32 refs(const dsvm_os_obj &obj)
	{
		return obj.vm_bo != nullptr ? obj.vm_bo->refs : 0;
	}

	dsvm_va_space space_;
	u32 mappings_;
	u32 count_;
	u32 vm_bo_refs_[kVaObjs];
	dsvm_os_obj objs_[kVaObjs];
	Copy copies_[VaModel::kMaxUnits];
};

class VaBinding {
public:
	static constexpr u32 kMaxRequests = 64;
	// Room for so many steps can be in the buffer.
	static constexpr u32 kMaxInline = 4;
	static constexpr u32 kMaxRoom = 64;

	explicit VaBinding(VaGround &ground)
		: ground_(ground), memory_(static_cast<Memory *>(dsvm_os_alloc(sizeof(Memory)))),
		  driver_(*construct_at<VaDriver>(memory_->driver, ground.scene))
	{}
	VaBinding(const VaBinding &) = delete;
	VaBinding &operator=(const VaBinding &) = delete;
	~VaBinding()
	{
		driver_.end();
		destroy_at(&driver_);
		dsvm_os_free(memory_);
	}

	[[nodiscard]] dsvm_bind *get() { return &bind_; }
	// What the space is going to be.
	[[nodiscard]] VaModel &planned() { return memory_->planned; }
	[[nodiscard]] u32 steps() const { return steps_; }
	[[nodiscard]] dsvm_bind_op *first_step() { return op_of(Ops(bind_.ops).first()); }
	[[nodiscard]] dsvm_bind_op *last_step() { return op_of(Ops(bind_.ops).last()); }
	[[nodiscard]] dsvm_bind_op *step_after(dsvm_bind_op &op)
	{
		return op_of(Ops(bind_.ops).next(op.base));
	}

	// `inline_steps`: how many steps the buffer has room for, with a rest that holds none.
	bool begin(u32 room = 0, u32 inline_steps = 0)
	{
		const usize size = step_bytes(room) * inline_steps + 8;

		memory_->planned = ground_.model();
		memory_->before.take(ground_.scene);
		steps_ = 0;
		requests_ = 0;
		inline_steps_ = inline_steps;
		allocated_ = dsvm_env_outstanding();
		return DSVM_CASE_CHECK_EQ_(driver_.begin(room, memory_->buffer, size), 0) &&
		       check_open();
	}

	// Whether it cannot begin, because another one is open or this one is.
	[[nodiscard]] bool is_refused() { return driver_.begin_again() == -DSVM_EBUSY; }

	// `answers`: what can_merge says, from bit 0 on. `fail_in`: the allocation that fails.
	bool map(const dsvm_va_map &map, u32 how = 0, u32 answers = ~0u, u32 fail_in = 0)
	{
		if (!planned().is_valid(map.addr, map.range) || !has_valid_source(map))
			return refused(call_map(map, how), -DSVM_EINVAL);
		if ((how & DSVM_BIND_NOREPLACE) != 0 && !planned().is_empty(map.addr, map.range))
			return refused(call_map(map, how), -DSVM_EEXIST);

		const Widened wide = (how & DSVM_BIND_COALESCE) != 0
					     ? widened(map, answers)
					     : Widened{map, false, false, 0};
		const u32 count = count_steps(VaRequest::kMap, wide.map);
		tag() = VaTag{answers, 0};
		dsvm_env_fail_alloc(fail_in);
		const int result = call_map(map, how);
		dsvm_env_fail_alloc(0);
		if (!DSVM_CASE_CHECK_EQ_(tag().asked, wide.asked))
			return false;
		if (fails(count, fail_in))
			return refused(result, -DSVM_ENOMEM);
		if (!DSVM_CASE_CHECK_EQ_(result, 0) ||
		    !check_steps(VaRequest::kMap, wide.map, map.addr, map.range))
			return false;
		planned().put(map);
		if (wide.left)
			planned().join(map.addr);
		if (wide.right)
			planned().join(va_last(map) + 1);
		return check_open();
	}
	bool unmap(u64 addr, u64 range, u32 fail_in = 0)
	{
		return request(VaRequest::kUnmap, addr, range, fail_in);
	}
	bool prefetch(u64 addr, u64 range, u32 fail_in = 0)
	{
		return request(VaRequest::kPrefetch, addr, range, fail_in);
	}
	bool driver(u64 addr, u64 range, u32 fail_in = 0)
	{
		const dsvm_link *const last = bind_.ops.prev;

		dsvm_env_fail_alloc(fail_in);
		dsvm_bind_op *const op = dsvm_bind_driver(&bind_, addr, range, &tag());
		dsvm_env_fail_alloc(0);
		if (fails(1, fail_in))
			return DSVM_CASE_CHECK_(op == nullptr) && check_open();
		if (!DSVM_CASE_CHECK_(op != nullptr) ||
		    !DSVM_CASE_CHECK_(op->base.type == DSVM_VA_OP_DRIVER) ||
		    !DSVM_CASE_CHECK_(last->next == &op->base.entry) ||
		    !check_step(*op, addr, range))
			return false;
		steps_++;
		requests_++;
		return check_open();
	}

	// The `n`-th call of a callback fails, or the `n`-th allocation (kNone).
	bool prepare(VaCallback which = VaCallback::kNone, u32 n = 0)
	{
		const VaDriver::Counts before = counts_;

		dsvm_env_fail_alloc(which == VaCallback::kNone ? n : 0);
		const int result = driver_.prepare(which, n);
		const bool no_memory = dsvm_env_alloc_failed();
		dsvm_env_fail_alloc(0);
		if (driver_.failed() == 0 && !no_memory)
			return DSVM_CASE_CHECK_EQ_(result, 0) && check_prepared(before);
		return DSVM_CASE_CHECK_EQ_(result, no_memory ? -DSVM_ENOMEM : driver_.failed()) &&
		       DSVM_CASE_CHECK_EQ_(bind_.stage, DSVM_BIND_OPEN) &&
		       check_nothing_prepared() && check_open();
	}

	bool commit()
	{
		{
			VaNoAllocation none;
			driver_.commit();
		}
		ground_.model() = planned();
		return DSVM_CASE_CHECK_EQ_(counts_.committed, steps_) && holds_refs() &&
		       DSVM_CASE_CHECK_EQ_(counts_.inserted, counts_.created - counts_.destroyed) &&
		       DSVM_CASE_CHECK_EQ_(counts_.destroyed, counts_.dropped) &&
		       DSVM_CASE_CHECK_EQ_(bind_.stage, DSVM_BIND_COMMITTED) && ground_.check();
	}

	// After a commit, or instead of it.
	bool end()
	{
		const bool committed = bind_.stage == DSVM_BIND_COMMITTED;

		driver_.end();
		bool right = DSVM_CASE_CHECK_EQ_(bind_.stage, DSVM_BIND_IDLE);
		right = right &&
			DSVM_CASE_CHECK_EQ_(memory_->before.count_new_refs(ground_.scene), 0u);
		if (committed)
			return right && DSVM_CASE_CHECK_EQ_(counts_.finished, steps_) &&
			       DSVM_CASE_CHECK_EQ_(counts_.destroyed - counts_.dropped,
						   counts_.removed) &&
			       ground_.check();
		return right && DSVM_CASE_CHECK_EQ_(counts_.finished, 0u) &&
		       check_nothing_prepared() &&
		       DSVM_CASE_CHECK_EQ_(dsvm_env_outstanding(), allocated_) &&
		       DSVM_CASE_CHECK_(memory_->before.is_same(ground_.scene)) && ground_.check();
	}

	// The space and what is planned for it, as long as nothing is committed.
	[[nodiscard]] bool check_open()
	{
		const char *wrong = ground_.scene.complaint(&bind_);

		if (wrong == nullptr)
			wrong = ground_.model().complaint(ground_.scene);
		if (wrong != nullptr)
			dsvm_case_log("the space is wrong: %s", wrong);
		const char *const planned_wrong = complaint_of_planned();
		if (planned_wrong != nullptr)
			dsvm_case_log("what is planned is wrong: %s", planned_wrong);
		const u32 outside = steps_ - min(steps_, inline_steps_);
		return DSVM_CASE_CHECK_(wrong == nullptr) &&
		       DSVM_CASE_CHECK_(planned_wrong == nullptr) &&
		       DSVM_CASE_CHECK_EQ_(count_ops(), steps_) &&
		       DSVM_CASE_CHECK_EQ_(bind_.requests, requests_) && holds_refs() &&
		       (counts_.created != counts_.destroyed ||
			DSVM_CASE_CHECK_EQ_(dsvm_env_outstanding(), allocated_ + outside));
	}

private:
	using Ops = List<dsvm_va_op, &dsvm_va_op::entry>;

	// Too much for a kernel's stack.
	struct Memory {
		alignas(VaDriver) u8 driver[sizeof(VaDriver)];
		VaModel planned;
		VaSnapshot before;
		VaTag tags[kMaxRequests + 1];
		u64 buffer[(sizeof(dsvm_bind_op) + kMaxRoom) / 8 * kMaxInline + 1];
	};

	// A request to map, made wider over neighbours that merge with it.
	struct Widened {
		dsvm_va_map map;
		bool left;
		bool right;
		u32 asked;
	};

	static usize step_bytes(u32 room) { return (sizeof(dsvm_bind_op) + room + 7) / 8 * 8; }
	static dsvm_bind_op *op_of(dsvm_va_op *base)
	{
		return base != nullptr ? container_of(base, &dsvm_bind_op::base) : nullptr;
	}
	[[nodiscard]] VaTag &tag() { return memory_->tags[min(requests_, kMaxRequests)]; }

	int call_map(const dsvm_va_map &map, u32 how)
	{
		return dsvm_bind_map(&bind_, &map, how, &tag());
	}

	// A call that may not have changed anything.
	bool refused(int result, int expected)
	{
		return DSVM_CASE_CHECK_EQ_(result, expected) && check_open();
	}

	bool request(VaRequest kind, u64 addr, u64 range, u32 fail_in)
	{
		dsvm_va_map map = {};
		map.addr = addr;
		map.range = range;
		const bool valid = planned().is_valid(addr, range);
		const u32 count = valid ? count_steps(kind, map) : 0;

		dsvm_env_fail_alloc(fail_in);
		const int result = kind == VaRequest::kUnmap
					   ? dsvm_bind_unmap(&bind_, addr, range, &tag())
					   : dsvm_bind_prefetch(&bind_, addr, range, &tag());
		dsvm_env_fail_alloc(0);
		if (!valid)
			return refused(result, -DSVM_EINVAL);
		if (fails(count, fail_in))
			return refused(result, -DSVM_ENOMEM);
		if (kind == VaRequest::kPrefetch && count == 0)
			return refused(result, -DSVM_ENOENT);
		if (!DSVM_CASE_CHECK_EQ_(result, 0) || !check_steps(kind, map, addr, range))
			return false;
		if (kind == VaRequest::kUnmap)
			planned().clear(addr, range);
		return check_open();
	}

	// Whether the `n`-th of the allocations for `count` steps more exists.
	[[nodiscard]] bool fails(u32 count, u32 n) const
	{
		const u32 left = inline_steps_ - min(steps_, inline_steps_);

		return n != 0 && n <= count - min(count, left);
	}

	[[nodiscard]] u32 count_steps(VaRequest kind, const dsvm_va_map &map)
	{
		VaSteps expected(planned(), kind, map, ~0u);
		VaStep step;
		u32 count = 0;

		while (expected.next(step))
			count++;
		return count;
	}

	// Whether the mapping of a unit and a request may become one, as far as one can see.
	[[nodiscard]] bool may_merge(u64 addr, const dsvm_va_map &request)
	{
		const u32 index = planned().index_of(addr);

		if (index >= planned().count() || !planned().is_mapped(index) ||
		    planned().is_kernel(index))
			return false;
		const dsvm_va_map map = planned().mapping_at(index);
		if (map.flags != request.flags || (map.flags & DSVM_VA_INVALIDATED) != 0 ||
		    map.obj != request.obj)
			return false;
		if (map.obj == nullptr)
			return (map.flags & DSVM_VA_SPARSE) != 0;
		// One goes on where the other is.
		dsvm_va_map there = map.addr <= request.addr
					    ? unit_of(map, request.addr - map.addr)
					    : unit_of(request, map.addr - request.addr);
		const dsvm_va_map here = unit_of(map.addr <= request.addr ? request : map, 0);
		return shows_same(there, here) && has_valid_source(joined(map, request));
	}

	// Both as one; one goes on where the other is.
	[[nodiscard]] static dsvm_va_map joined(const dsvm_va_map &a, const dsvm_va_map &b)
	{
		dsvm_va_map both = a.addr <= b.addr ? a : b;

		both.range = max(va_last(a), va_last(b)) - both.addr + 1;
		return both;
	}

	[[nodiscard]] Widened widened(const dsvm_va_map &request, u32 answers)
	{
		Widened wide = {request, false, false, 0};

		if (may_merge(request.addr - 1, request))
			wide.left = (answers >> wide.asked++ & 1) != 0;
		if (may_merge(va_last(request) + 1, request))
			wide.right = (answers >> wide.asked++ & 1) != 0;
		if (wide.left) {
			const dsvm_va_map left =
				planned().mapping_at(planned().index_of(request.addr - 1));

			wide.map.addr = left.addr;
			wide.map.offset = left.offset;
			wide.map.range += request.addr - left.addr;
		}
		if (wide.right) {
			const u64 after = va_last(request) + 1;

			wide.map.range += va_last(planned().mapping_at(planned().index_of(after))) -
					  after + 1;
		}
		return wide;
	}

	// The steps that a request has just come to. The model does not know of it yet.
	[[nodiscard]] bool check_steps(VaRequest kind, const dsvm_va_map &map, u64 addr, u64 range)
	{
		VaWalk walk(ground_.scene, VaSteps(planned(), kind, map, ~0u), VaWalk::Apply::No);
		dsvm_bind_op *op = first_step();

		for (u32 i = 0; i < steps_ && op != nullptr; i++)
			op = step_after(*op);
		for (; op != nullptr; op = step_after(*op)) {
			if (!walk.see(op->base) || !check_step(*op, addr, range))
				return false;
			steps_++;
		}
		requests_++;
		return DSVM_CASE_CHECK_(walk.is_over());
	}
	[[nodiscard]] bool check_step(const dsvm_bind_op &op, u64 addr, u64 range)
	{
		return DSVM_CASE_CHECK_EQ_(op.addr, addr) && DSVM_CASE_CHECK_EQ_(op.range, range) &&
		       DSVM_CASE_CHECK_EQ_(op.request, requests_) &&
		       DSVM_CASE_CHECK_(op.tag == &tag()) &&
		       DSVM_CASE_CHECK_(driver_.is_untouched(op));
	}

	// One reference for each mapping that comes, from the request on, and one for each that
	// has gone, from the commit on.
	[[nodiscard]] bool holds_refs()
	{
		u32 refs = 0;

		for (dsvm_bind_op *op = first_step(); op != nullptr; op = step_after(*op)) {
			const dsvm_va *const gone = VaDriver::gone_of(*op);

			refs += op->base.type == DSVM_VA_OP_MAP && op->base.map.obj != nullptr;
			refs += bind_.stage == DSVM_BIND_COMMITTED && gone != nullptr &&
				gone->map.obj != nullptr;
		}
		return DSVM_CASE_CHECK_EQ_(memory_->before.count_new_refs(ground_.scene), refs);
	}

	[[nodiscard]] u32 count_ops()
	{
		u32 count = 0;

		for (dsvm_bind_op *op = first_step(); op != nullptr; op = step_after(*op))
			count++;
		return count;
	}

	// What is not claimed and what is planned, in order, are what is going to be.
	[[nodiscard]] const char *complaint_of_planned()
	{
		using Tree = AugTree<VaOrderTraits>;
		const VaMembers real(ground_.scene.space.index);
		u32 at = 0;
		u32 count = 0;

		for (dsvm_va *va = Tree(bind_.planned).first(); va != nullptr;
		     va = Tree::next(*va)) {
			if (va->map.state != DSVM_VA_PLANNED)
				return "a planned mapping is not marked";
			count++;
		}
		if (const char *const wrong =
			    TreeChecker<VaOrderTraits>(bind_.planned).complaint(count))
			return wrong;

		dsvm_va *made = Tree(bind_.planned).first();
		const char *wrong = nullptr;
		for (const dsvm_va &va : real) {
			if ((va.map.state & DSVM_VA_CLAIMED) != 0)
				continue;
			for (; wrong == nullptr && made != nullptr && made->map.addr < va.map.addr;
			     made = Tree::next(*made))
				wrong = planned().compare_next(made->map, at);
			if (wrong == nullptr)
				wrong = planned().compare_next(va.map, at);
		}
		for (; wrong == nullptr && made != nullptr; made = Tree::next(*made))
			wrong = planned().compare_next(made->map, at);
		return wrong != nullptr ? wrong : planned().compare_rest(at);
	}

	[[nodiscard]] bool check_prepared(const VaDriver::Counts &before)
	{
		u32 made = 0;
		u32 objects = 0;

		for (dsvm_bind_op *op = first_step(); op != nullptr; op = step_after(*op)) {
			made += (op->va != nullptr) + (op->prev != nullptr) + (op->next != nullptr);
			objects += op->vm_bo != nullptr;
		}
		return DSVM_CASE_CHECK_EQ_(bind_.stage, DSVM_BIND_PREPARED) &&
		       DSVM_CASE_CHECK_EQ_(counts_.prepared - before.prepared, steps_) &&
		       DSVM_CASE_CHECK_EQ_(counts_.created - before.created, made) &&
		       DSVM_CASE_CHECK_EQ_(counts_.obtained - before.obtained, objects) &&
		       check_open();
	}

	[[nodiscard]] bool check_nothing_prepared()
	{
		bool right = DSVM_CASE_CHECK_EQ_(counts_.created, counts_.destroyed) &&
			     DSVM_CASE_CHECK_EQ_(counts_.obtained, counts_.released) &&
			     DSVM_CASE_CHECK_EQ_(counts_.prepared, counts_.unprepared) &&
			     DSVM_CASE_CHECK_EQ_(counts_.inserted + counts_.removed, 0u);

		for (dsvm_bind_op *op = first_step(); right && op != nullptr; op = step_after(*op))
			right = DSVM_CASE_CHECK_(driver_.is_untouched(*op));
		return right;
	}

	VaGround &ground_;
	Memory *const memory_;
	VaDriver &driver_;
	dsvm_bind &bind_ = driver_.bind;
	VaDriver::Counts &counts_ = driver_.counts;
	u32 steps_ = 0;
	u32 requests_ = 0;
	u32 inline_steps_ = 0;
	// What was allocated when the transaction began.
	u64 allocated_ = 0;
};

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_VA_BINDING_H
