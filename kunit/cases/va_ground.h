// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A space and its model side by side: whatever is done to the one is done to the other,
// each step is compared with the one that the model expects, and afterwards both have to
// be the same.
#ifndef DSVM_KUNIT_CASES_VA_GROUND_H
#define DSVM_KUNIT_CASES_VA_GROUND_H

#include "kunit/cases/va_model.h"

namespace dsvm::cases {

// Where a space lies, in units.
struct VaPlace {
	u64 base;
	u32 count;
	u32 kernel_first;
	u32 kernel_count;
};

// What a step may do in a test; the number is an error that nothing else returns.
constexpr int kVaStepError = -DSVM_ETIME;

// Steps as they come, against those that are expected.
class VaWalk {
public:
	enum class Apply : bool { No, Yes };

	VaWalk(VaScene &scene, VaSteps steps, Apply apply, u32 stop_at = 0)
		: scene_(scene), steps_(steps), apply_(apply), stop_at_(stop_at)
	{}

	// Whether it is the next one.
	bool see(const dsvm_va_op &op)
	{
		VaStep expected;

		seen_++;
		if (!DSVM_CASE_CHECK_(steps_.next(expected)))
			return false;
		if (DSVM_CASE_CHECK_(same_step(expected, op)))
			return true;
		dsvm_case_log("step %u: type %u, expected %u, keep %u", seen_, op.type,
			      expected.type, expected.keep);
		return false;
	}
	[[nodiscard]] bool is_over()
	{
		VaStep expected;

		return !steps_.next(expected);
	}
	[[nodiscard]] u32 seen() const { return seen_; }

	static int step(void *context, const dsvm_va_op *op)
	{
		auto &walk = *static_cast<VaWalk *>(context);

		if (!walk.see(*op))
			return -DSVM_EFAULT;
		if (walk.seen_ == walk.stop_at_)
			return kVaStepError;
		if (walk.apply_ == Apply::Yes)
			walk.scene_.apply(*op);
		return 0;
	}

private:
	VaScene &scene_;
	VaSteps steps_;
	const Apply apply_;
	// The step that fails, from 1; 0: none.
	const u32 stop_at_;
	u32 seen_ = 0;
};

// Memory for steps on a list: `room` at first, then others, with something of the driver's behind
// each.
class VaOpMemory {
public:
	explicit VaOpMemory(u32 room = 0) : memory_{nullptr, nullptr, alloc, free, this}
	{
		if (room == 0)
			return;
		memory_.first = static_cast<dsvm_va_op *>(dsvm_os_alloc(room * sizeof(dsvm_va_op)));
		if (DSVM_CASE_CHECK_(memory_.first != nullptr))
			memory_.end = memory_.first + room;
	}
	VaOpMemory(const VaOpMemory &) = delete;
	VaOpMemory &operator=(const VaOpMemory &) = delete;
	~VaOpMemory()
	{
		DSVM_EXPECT_EQ(live_, 0u);
		if (memory_.first != nullptr)
			dsvm_os_free(memory_.first);
	}

	const dsvm_va_op_memory *get() const { return &memory_; }
	// The `n`-th allocation from now fails; 0: none.
	void fail_in(u32 n) { fail_in_ = n; }
	[[nodiscard]] u32 live() const { return live_; }

private:
	struct Op {
		dsvm_va_op base;
		u64 mine;
	};

	static dsvm_va_op *alloc(void *context)
	{
		auto &memory = *static_cast<VaOpMemory *>(context);

		if (memory.fail_in_ != 0 && --memory.fail_in_ == 0)
			return nullptr;
		auto *const op = static_cast<Op *>(dsvm_os_alloc(sizeof(Op)));
		if (op == nullptr)
			return nullptr;
		op->mine = kMine;
		memory.live_++;
		return &op->base;
	}
	static void free(void *context, dsvm_va_op *base)
	{
		auto *const op = container_of(base, &Op::base);

		DSVM_EXPECT_EQ(op->mine, u64{kMine});
		static_cast<VaOpMemory *>(context)->live_--;
		dsvm_os_free(op);
	}

	static constexpr u64 kMine = 0x6472'6976'6572ull;
	dsvm_va_op_memory memory_;
	u32 fail_in_ = 0;
	u32 live_ = 0;
};

class VaGround {
public:
	using Ops = List<dsvm_va_op, &dsvm_va_op::entry>;

	explicit VaGround(const VaPlace &place)
		: memory_(static_cast<Memory *>(dsvm_os_alloc(sizeof(Memory)))),
		  scene(*construct_at<VaScene>(memory_->scene, place.base, place.count,
					       place.base + place.kernel_first, place.kernel_count))
	{
		model().reset(place.base, place.count, place.kernel_first, place.kernel_count);
	}
	VaGround(const VaGround &) = delete;
	VaGround &operator=(const VaGround &) = delete;
	~VaGround()
	{
		destroy_at(&scene);
		dsvm_os_free(memory_);
	}

	[[nodiscard]] VaModel &model() { return memory_->model; }

	// Whether the structure is sound and shows what the model does.
	[[nodiscard]] bool check()
	{
		const char *wrong = scene.complaint();

		if (wrong == nullptr)
			wrong = model().complaint(scene);
		if (wrong != nullptr)
			dsvm_case_log("the space is wrong: %s", wrong);
		return dsvm_case_check(wrong == nullptr, __FILE__, __LINE__, "the space is right");
	}

	// A mapping, as a driver without requests puts it in.
	bool insert(const dsvm_va_map &map)
	{
		const bool valid = model().is_valid(map.addr, map.range) && has_valid_source(map);
		const int expected = !valid				      ? -DSVM_EINVAL
				     : !model().is_empty(map.addr, map.range) ? -DSVM_EEXIST
									      : 0;

		if (!DSVM_CASE_CHECK_EQ_(scene.insert(map), expected))
			return false;
		if (expected == 0)
			model().put(map);
		return check();
	}

	// Takes the mapping of a unit out.
	bool remove(u32 index)
	{
		const dsvm_va_map map = model().mapping_at(index);
		dsvm_va *const va = dsvm_va_find(&scene.space, map.addr, map.range);

		if (!DSVM_CASE_CHECK_(va != nullptr))
			return false;
		scene.destroy(*va);
		model().clear(map.addr, map.range);
		return check();
	}

	// The same over what is there, in one go. `with_prev`, `with_next`: see VaScene.
	bool replace(const dsvm_va_map &map, bool with_prev, bool with_next)
	{
		bool right = model().is_valid(map.addr, map.range) && has_valid_source(map);

		if (right) {
			const u32 first = model().index_of(map.addr);
			const u32 last = model().index_of(va_last(map));

			if (model().is_mapped(first) && model().first_of(first) < first)
				right = with_prev;
			if (model().is_mapped(last) && model().last_of(last) > last)
				right = right && with_next;
		}
		if (!DSVM_CASE_CHECK_EQ_(scene.replace(map, with_prev, with_next),
					 right ? 0 : -DSVM_EINVAL))
			return false;
		if (right)
			model().put(map);
		return check();
	}

	// A request, with the steps applied as they come. `stop_at`: the step that fails.
	bool request(VaRequest kind, const dsvm_va_map &map, u32 stop_at = 0)
	{
		const bool valid = is_valid(kind, map);
		VaWalk walk(scene, steps(kind, map), VaWalk::Apply::Yes, stop_at);
		const int result = call(kind, map, VaWalk::step, &walk);

		if (!valid)
			return DSVM_CASE_CHECK_EQ_(result, -DSVM_EINVAL) &&
			       DSVM_CASE_CHECK_EQ_(walk.seen(), 0u) && check();
		if (stop_at != 0 && walk.seen() == stop_at) {
			if (!DSVM_CASE_CHECK_EQ_(result, kVaStepError))
				return false;
			mirror_first(kind, map, stop_at - 1);
			return check();
		}
		if (!DSVM_CASE_CHECK_EQ_(result, 0) || !DSVM_CASE_CHECK_(walk.is_over()))
			return false;
		mirror(kind, map);
		return check();
	}

	// The same with a list. `fail_in`: the allocation that fails. `room`: steps that take none.
	bool request_list(VaRequest kind, const dsvm_va_map &map, u32 fail_in = 0, u32 room = 0)
	{
		const bool valid = is_valid(kind, map);
		VaOpMemory memory{room};
		dsvm_link list = {};

		memory.fail_in(fail_in);
		const int result = call_list(kind, map, *memory.get(), list);
		memory.fail_in(0);

		const u32 steps = valid ? count_steps(kind, map) : 0;
		const u32 count = steps - min(room, steps);
		const int expected = !valid				? -DSVM_EINVAL
				     : fail_in != 0 && fail_in <= count ? -DSVM_ENOMEM
									: 0;
		bool right = DSVM_CASE_CHECK_EQ_(result, expected);
		if (expected != 0)
			return right && DSVM_CASE_CHECK_(Ops(list).empty()) && check();

		right = right && DSVM_CASE_CHECK_EQ_(memory.live(), count) &&
			apply_list(kind, map, list);
		dsvm_va_ops_free(memory.get(), &list);
		return right && DSVM_CASE_CHECK_(Ops(list).empty()) && check();
	}

	// Takes all mappings of an object out, with a list.
	bool unmap_object(dsvm_os_obj &obj, u32 fail_in = 0)
	{
		VaOpMemory memory;
		dsvm_link list = {};
		u32 count = 0;

		for ([[maybe_unused]] const dsvm_va &va : VaScene::Shown(obj.mappings))
			count++;
		memory.fail_in(fail_in);
		const int result = dsvm_va_ops_bo_unmap(&obj.mappings, memory.get(), &list);
		memory.fail_in(0);
		if (fail_in != 0 && fail_in <= count)
			return DSVM_CASE_CHECK_EQ_(result, -DSVM_ENOMEM) &&
			       DSVM_CASE_CHECK_(Ops(list).empty()) && check();

		bool right =
			DSVM_CASE_CHECK_EQ_(result, 0) && DSVM_CASE_CHECK_EQ_(memory.live(), count);
		for (const dsvm_va_op &op : Ops(list)) {
			right = right && DSVM_CASE_CHECK_(op.type == DSVM_VA_OP_UNMAP) &&
				DSVM_CASE_CHECK_(op.unmap.va->map.obj == &obj) &&
				DSVM_CASE_CHECK_(!op.unmap.keep);
			if (!right)
				break;
			model().clear(op.unmap.va->map.addr, op.unmap.va->map.range);
			scene.apply(op);
		}
		dsvm_va_ops_free(memory.get(), &list);
		return right && check();
	}

	// The driver's bits of a mapping, or whether it has been evicted.
	bool set_flags(u32 index, u32 flags)
	{
		return set_flags_meanwhile(index, flags) && check();
	}
	// The same while a transaction is open.
	bool set_flags_meanwhile(u32 index, u32 flags)
	{
		const dsvm_va_map map = model().mapping_at(index);
		dsvm_va *const va = dsvm_va_find(&scene.space, map.addr, map.range);

		if (!DSVM_CASE_CHECK_(va != nullptr))
			return false;
		flags |= map.flags & DSVM_VA_REPEAT;
		va->map.flags = flags;
		model().set_flags(index, flags);
		return true;
	}

	// Every way to look something up, at one span and its edges.
	[[nodiscard]] bool look_up(u64 addr, u64 range)
	{
		return DSVM_CASE_CHECK_(dsvm_va_range_valid(&scene.space, addr, range) ==
					model().is_valid(addr, range)) &&
		       DSVM_CASE_CHECK_(found_first(addr, range)) &&
		       DSVM_CASE_CHECK_(found_exact(addr, range)) &&
		       DSVM_CASE_CHECK_(found_neighbours(addr));
	}

	[[nodiscard]] bool is_valid(VaRequest kind, const dsvm_va_map &map)
	{
		if (kind == VaRequest::kPrefetch)
			return map.range != 0 && map.range - 1 <= kU64Max - map.addr;
		return model().is_valid(map.addr, map.range) &&
		       (kind == VaRequest::kUnmap || has_valid_source(map));
	}
	// Precondition: the request is valid.
	[[nodiscard]] u32 count_steps(VaRequest kind, const dsvm_va_map &map)
	{
		VaSteps expected = steps(kind, map);
		VaStep step;
		u32 count = 0;

		while (expected.next(step))
			count++;
		return count;
	}

private:
	// Too much for a kernel's stack.
	struct Memory {
		alignas(VaScene) u8 scene[sizeof(VaScene)];
		VaModel model;
	};

	Memory *const memory_;

public:
	// In the memory above.
	VaScene &scene;

private:
	[[nodiscard]] VaSteps steps(VaRequest kind, const dsvm_va_map &map)
	{
		return VaSteps(model(), kind,
			       kind == VaRequest::kPrefetch ? model().clipped(map) : map,
			       DSVM_VA_REPEAT);
	}

	int call(VaRequest kind, const dsvm_va_map &map, dsvm_va_step step, void *context)
	{
		switch (kind) {
		case VaRequest::kMap:
			return dsvm_va_sm_map(&scene.space, &map, DSVM_VA_REPLACE, step, context);
		case VaRequest::kMadvise:
			return dsvm_va_sm_map(&scene.space, &map, DSVM_VA_MADVISE, step, context);
		case VaRequest::kUnmap:
			return dsvm_va_sm_unmap(&scene.space, map.addr, map.range, step, context);
		case VaRequest::kPrefetch:
			break;
		}
		return -DSVM_EOPNOTSUPP;
	}

	int call_list(VaRequest kind, const dsvm_va_map &map, const dsvm_va_op_memory &memory,
		      dsvm_link &list)
	{
		switch (kind) {
		case VaRequest::kMap:
			return dsvm_va_ops_map(&scene.space, &map, DSVM_VA_REPLACE, &memory, &list);
		case VaRequest::kMadvise:
			return dsvm_va_ops_map(&scene.space, &map, DSVM_VA_MADVISE, &memory, &list);
		case VaRequest::kUnmap:
			return dsvm_va_ops_unmap(&scene.space, map.addr, map.range, &memory, &list);
		case VaRequest::kPrefetch:
			break;
		}
		return dsvm_va_ops_prefetch(&scene.space, map.addr, map.range, &memory, &list);
	}

	// What a list comes to, in one pass to compare and a second one to apply.
	bool apply_list(VaRequest kind, const dsvm_va_map &map, dsvm_link &list)
	{
		VaWalk walk(scene, steps(kind, map), VaWalk::Apply::No);
		u32 remaps = 0;
		u32 maps = 0;

		for (const dsvm_va_op &op : Ops(list)) {
			if (!walk.see(op))
				return false;
			remaps += op.type == DSVM_VA_OP_REMAP;
			maps += op.type == DSVM_VA_OP_MAP;
		}
		// The bound that callers rely on, and no step for what is not there.
		if (!DSVM_CASE_CHECK_(walk.is_over()) || !DSVM_CASE_CHECK_(remaps <= 2) ||
		    !DSVM_CASE_CHECK_(maps <= (kind == VaRequest::kMap ? 1 : remaps)))
			return false;
		for (const dsvm_va_op &op : Ops(list))
			scene.apply(op);
		mirror(kind, map);
		return true;
	}

	void mirror(VaRequest kind, const dsvm_va_map &map)
	{
		switch (kind) {
		case VaRequest::kMap:
			model().put(map);
			return;
		case VaRequest::kMadvise:
			model().madvise(map);
			return;
		case VaRequest::kUnmap:
			model().clear(map.addr, map.range);
			return;
		case VaRequest::kPrefetch:
			return;
		}
	}

	// The model after the first `count` steps of a request.
	void mirror_first(VaRequest kind, const dsvm_va_map &map, u32 count)
	{
		// Every step but MAP takes what it names away from the span of the request.
		for (; count > 0; count--) {
			VaSteps expected = steps(kind, map);
			VaStep step;

			static_cast<void>(expected.next(step));
			if (step.type == DSVM_VA_OP_MAP) {
				model().put(step.map);
				continue;
			}
			const u64 first = max(step.gone.addr, map.addr);
			model().clear(first, min(va_last(step.gone), va_last(map)) - first + 1);
			if (kind == VaRequest::kMadvise && count > 1) {
				static_cast<void>(expected.next(step));
				model().put(step.map);
				count--;
			}
		}
	}

	[[nodiscard]] bool shows(const dsvm_va *va, u32 index)
	{
		return va != nullptr && shows_same(va->map, model().mapping_at(index));
	}

	[[nodiscard]] bool found_first(u64 addr, u64 range)
	{
		const dsvm_va *const va = dsvm_va_find_first(&scene.space, addr, range);

		for (u32 index = 0; index < model().count() && range > 0; index++) {
			if (model().is_mapped(index) && model().base() + index >= addr &&
			    model().base() + index - addr <= range - 1)
				return shows(va, index);
		}
		return va == nullptr;
	}

	[[nodiscard]] bool found_exact(u64 addr, u64 range)
	{
		const dsvm_va *const va = dsvm_va_find(&scene.space, addr, range);
		const u64 at = addr - model().base();
		const bool is_there = at < model().count() &&
				      model().is_mapped(static_cast<u32>(at)) &&
				      model().mapping_at(static_cast<u32>(at)).addr == addr &&
				      model().mapping_at(static_cast<u32>(at)).range == range;

		return is_there ? shows(va, static_cast<u32>(at)) : va == nullptr;
	}

	[[nodiscard]] bool found_neighbours(u64 addr)
	{
		return found_at(dsvm_va_find_next(&scene.space, addr), addr) &&
		       (addr != 0 ? found_at(dsvm_va_find_prev(&scene.space, addr), addr - 1)
				  : dsvm_va_find_prev(&scene.space, addr) == nullptr);
	}
	[[nodiscard]] bool found_at(const dsvm_va *va, u64 addr)
	{
		const u64 at = addr - model().base();
		const bool is_there =
			at < model().count() && model().is_mapped(static_cast<u32>(at));

		return is_there ? shows(va, static_cast<u32>(at)) : va == nullptr;
	}
};

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_VA_GROUND_H
