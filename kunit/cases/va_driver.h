// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The driver of a bind transaction: its callbacks, which count, fail when told to, and
// look whether they are called when they are due and with what they were promised.
#ifndef DSVM_KUNIT_CASES_VA_DRIVER_H
#define DSVM_KUNIT_CASES_VA_DRIVER_H

#include "drm_svm/bind.h"
#include "kunit/cases/va_scene.h"

namespace dsvm::cases {

// The callbacks that can fail.
enum class VaCallback : u8 { kNone, kVaCreate, kBoObtain, kPrepare };

// What a request carries: the answers that can_merge() is to give, from bit 0 on.
struct VaTag {
	u32 answers;
	u32 asked;
};

class VaDriver {
public:
	struct Counts {
		u32 created;
		u32 destroyed;
		u32 dropped; // destroyed again before there was a commit
		u32 obtained;
		u32 released;
		u32 prepared;
		u32 unprepared;
		u32 inserted;
		u32 removed;
		u32 committed;
		u32 finished;
	};

	explicit VaDriver(VaScene &scene) : scene_(scene) {}
	VaDriver(const VaDriver &) = delete;
	VaDriver &operator=(const VaDriver &) = delete;

	int begin(u32 room, void *buffer, usize size)
	{
		counts = {};
		room_ = room;
		return dsvm_bind_begin(&bind, &scene_.space, &env_, room, buffer, size);
	}
	// The same, where it is bound to fail and must not change anything.
	[[nodiscard]] int begin_again()
	{
		return dsvm_bind_begin(&bind, &scene_.space, &env_, 0, nullptr, 0);
	}
	// The `n`-th call of `which` fails.
	int prepare(VaCallback which, u32 n)
	{
		failing_ = which;
		fail_in_ = n;
		failed_ = 0;
		last_prepared_ = 0;
		const int result = dsvm_bind_prepare(&bind);
		fail_in_ = 0;
		return result;
	}
	// What the callback that failed has returned; 0 if none has.
	[[nodiscard]] int failed() const { return failed_; }
	void commit()
	{
		last_committed_ = 0;
		dsvm_bind_commit(&bind);
	}
	void end()
	{
		last_finished_ = 0;
		dsvm_bind_end(&bind);
	}

	// Whether nothing of the driver's is in a step.
	[[nodiscard]] bool is_untouched(const dsvm_bind_op &op) const
	{
		return op.va == nullptr && op.prev == nullptr && op.next == nullptr &&
		       op.vm_bo == nullptr && op.bo_state == 0 && op.made[0].object == nullptr &&
		       op.made[1].object == nullptr && subject_of(op) == op.subject &&
		       room_holds(op, 0);
	}

	// The mapping that a step takes away, or null.
	[[nodiscard]] static const dsvm_va *gone_of(const dsvm_bind_op &op)
	{
		return op.base.type == DSVM_VA_OP_PREFETCH ? nullptr : subject_of(op);
	}

	dsvm_bind bind = {};
	Counts counts = {};

private:
	static VaDriver &of(dsvm_bind *bind) { return *container_of(bind, &VaDriver::bind); }

	[[nodiscard]] bool fails_now(VaCallback which, int error)
	{
		if (failing_ != which || fail_in_ == 0 || --fail_in_ > 0)
			return false;
		failed_ = error;
		return true;
	}

	[[nodiscard]] bool room_holds(const dsvm_bind_op &op, u8 value) const
	{
		const u8 *const room = reinterpret_cast<const u8 *>(&op + 1);

		for (u32 i = 0; i < room_; i++) {
			if (room[i] != value)
				return false;
		}
		return true;
	}
	void fill_room(dsvm_bind_op &op, u8 value) const
	{
		__builtin_memset(&op + 1, value, room_);
	}
	// What the driver has in a step that it has prepared: the step's number, from 1.
	[[nodiscard]] static u8 mark_of(const dsvm_bind_op &op)
	{
		return static_cast<u8>(0x80 | op.bo_state);
	}

	// What a step is about, as the step says.
	[[nodiscard]] static const dsvm_va *subject_of(const dsvm_bind_op &op)
	{
		switch (op.base.type) {
		case DSVM_VA_OP_UNMAP:
			return op.base.unmap.va;
		case DSVM_VA_OP_REMAP:
			return op.base.remap.unmap->va;
		case DSVM_VA_OP_PREFETCH:
			return op.base.prefetch.va;
		case DSVM_VA_OP_MAP:
		case DSVM_VA_OP_DRIVER:
			break;
		}
		return nullptr;
	}
	// Whether a mapping of the driver's is what the step says. What it is a part of may have
	// been evicted since.
	static bool is_made(const dsvm_va *va, const dsvm_va_map *map)
	{
		if (va == nullptr || map == nullptr)
			return va == nullptr && map == nullptr;
		dsvm_va_map made = va->map;
		made.flags ^= (made.flags ^ map->flags) & DSVM_VA_INVALIDATED;
		return same_map(made, *map);
	}
	[[nodiscard]] bool is_in(const dsvm_va *va)
	{
		return va == nullptr ||
		       dsvm_va_find(&scene_.space, va->map.addr, va->map.range) == va;
	}

	// --- What the core calls ---

	static void obj_get(dsvm_bind *, dsvm_os_obj *obj)
	{
		DSVM_EXPECT(obj != nullptr);
		obj->refs++;
	}
	static void obj_put(dsvm_bind *, dsvm_os_obj *obj) { obj->refs--; }

	static dsvm_bool can_merge(dsvm_bind *bind, dsvm_va *va, dsvm_bind_op *maker,
				   const dsvm_va_map *, void *arg)
	{
		auto *const tag = static_cast<VaTag *>(arg);

		DSVM_EXPECT((va != nullptr) != (maker != nullptr));
		// What a driver can look at: a mapping of its own, or a step that asks for one.
		DSVM_EXPECT(of(bind).is_in(va));
		DSVM_EXPECT(maker == nullptr || maker->base.type == DSVM_VA_OP_MAP);
		return (tag->answers >> tag->asked++ & 1) != 0;
	}

	static dsvm_va *va_create(dsvm_bind *bind, dsvm_bind_op *)
	{
		VaDriver &self = of(bind);

		if (self.fails_now(VaCallback::kVaCreate, -DSVM_ENOMEM))
			return nullptr;
		dsvm_va *const va = self.scene_.make({});
		self.counts.created += va != nullptr;
		return va;
	}
	static void va_destroy(dsvm_bind *bind, dsvm_va *va)
	{
		VaDriver &self = of(bind);

		DSVM_EXPECT(!self.scene_.has(*va));
		DSVM_EXPECT(!VaScene::Shown::is_linked(*va));
		// What a step has taken away stays until the driver has seen the end of them all.
		if (bind->stage == DSVM_BIND_COMMITTED)
			DSVM_EXPECT_EQ(self.counts.finished, bind->steps);
		self.counts.destroyed++;
		self.counts.dropped += bind->stage != DSVM_BIND_COMMITTED;
		self.scene_.free(va);
	}

	static int bo_obtain(dsvm_bind *bind, dsvm_bind_op *op)
	{
		VaDriver &self = of(bind);

		DSVM_EXPECT(op->base.type == DSVM_VA_OP_MAP && op->vm_bo == nullptr);
		if (self.fails_now(VaCallback::kBoObtain, -DSVM_ENOSPC))
			return -DSVM_ENOSPC;
		op->vm_bo = self.scene_.vm_bo_get(op->base.map.obj);
		if (op->vm_bo == nullptr)
			return -DSVM_ENOMEM;
		self.counts.obtained++;
		return 0;
	}
	static void bo_release(dsvm_bind *bind, dsvm_bind_op *op)
	{
		VaDriver &self = of(bind);

		DSVM_EXPECT(op->bo_state == 0 && op->vm_bo != nullptr);
		op->vm_bo = nullptr;
		self.scene_.vm_bo_put(op->base.map.obj);
		self.counts.released++;
	}

	static int prepare(dsvm_bind *bind, dsvm_bind_op *op)
	{
		VaDriver &self = of(bind);
		const bool maps = op->base.type == DSVM_VA_OP_MAP;
		const bool remaps = op->base.type == DSVM_VA_OP_REMAP;
		const dsvm_va *const subject = subject_of(*op);

		DSVM_EXPECT(is_made(op->va, maps ? &op->base.map : nullptr));
		DSVM_EXPECT(is_made(op->prev, remaps ? op->base.remap.prev : nullptr));
		DSVM_EXPECT(is_made(op->next, remaps ? op->base.remap.next : nullptr));
		DSVM_EXPECT((op->vm_bo != nullptr) == (maps && op->base.map.obj != nullptr));
		// It is the driver's own by now.
		DSVM_EXPECT(subject == nullptr || (subject->map.state & DSVM_VA_PLANNED) == 0);
		DSVM_EXPECT(op->bo_state == 0 && self.room_holds(*op, 0));
		if (self.fails_now(VaCallback::kPrepare, -DSVM_EIO))
			return -DSVM_EIO;
		self.counts.prepared++;
		op->bo_state = ++self.last_prepared_;
		self.fill_room(*op, mark_of(*op));
		return 0;
	}
	static void unprepare(dsvm_bind *bind, dsvm_bind_op *op)
	{
		VaDriver &self = of(bind);

		// The last one first.
		DSVM_EXPECT_EQ(op->bo_state, self.last_prepared_);
		DSVM_EXPECT(self.room_holds(*op, mark_of(*op)));
		self.last_prepared_--;
		self.counts.unprepared++;
		op->bo_state = 0;
		self.fill_room(*op, 0);
	}

	static void inserted(dsvm_bind *bind, dsvm_bind_op *op, dsvm_va *va, dsvm_va *like)
	{
		VaDriver &self = of(bind);

		DSVM_EXPECT(va == op->va || va == op->prev || va == op->next);
		DSVM_EXPECT(self.is_in(va));
		DSVM_EXPECT((like == nullptr) == (op->base.type == DSVM_VA_OP_MAP));
		if (va->map.obj != nullptr)
			DSVM_EXPECT(like != nullptr ? VaScene::Shown::is_linked(*like)
						    : op->vm_bo != nullptr);
		if (like != nullptr)
			va->map.flags = (va->map.flags & ~DSVM_VA_INVALIDATED) |
					(like->map.flags & DSVM_VA_INVALIDATED);
		self.scene_.link(*va);
		self.counts.inserted++;
	}
	static void removed(dsvm_bind *bind, dsvm_bind_op *op, dsvm_va *va)
	{
		VaDriver &self = of(bind);

		DSVM_EXPECT(va == subject_of(*op));
		DSVM_EXPECT(!self.scene_.has(*va));
		// After the step itself.
		DSVM_EXPECT_EQ(op->bo_state, self.last_committed_);
		self.scene_.unlink(*va);
		self.counts.removed++;
	}
	static void commit(dsvm_bind *bind, dsvm_bind_op *op)
	{
		VaDriver &self = of(bind);

		self.last_committed_++;
		DSVM_EXPECT_EQ(op->bo_state, self.last_committed_);
		DSVM_EXPECT(self.room_holds(*op, mark_of(*op)));
		DSVM_EXPECT(self.is_in(op->va) && self.is_in(op->prev) && self.is_in(op->next));
		if (op->vm_bo != nullptr) {
			op->vm_bo = nullptr;
			self.scene_.vm_bo_put(op->base.map.obj);
		}
		self.counts.committed++;
	}
	static void finish(dsvm_bind *bind, dsvm_bind_op *op)
	{
		VaDriver &self = of(bind);

		self.last_finished_++;
		DSVM_EXPECT_EQ(op->bo_state, self.last_finished_);
		DSVM_EXPECT(self.room_holds(*op, mark_of(*op)));
		self.counts.finished++;
	}

	VaScene &scene_;
	// A member: a constant of a class would be an inline variable, which a module does
	// not want.
	const dsvm_bind_env env_ = {
		obj_get, obj_put,   can_merge, va_create, va_destroy, bo_obtain, bo_release,
		prepare, unprepare, inserted,  removed,	  commit,     finish,
	};
	// Bytes of the driver's in each step.
	u32 room_ = 0;
	VaCallback failing_ = VaCallback::kNone;
	u32 fail_in_ = 0;
	int failed_ = 0;
	// The number of the step that was prepared, committed or finished last.
	u32 last_prepared_ = 0;
	u32 last_committed_ = 0;
	u32 last_finished_ = 0;
};

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_VA_DRIVER_H
