// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A bind transaction: many requests, one change.
//
//	begin -> OPEN --- map, unmap, prefetch ---> OPEN --- prepare ---> PREPARED
//	           |                                                         |
//	           +------------------ end (abort) ------------------- commit|
//	           v                                                         v
//	         IDLE <---------------------- end -------------------- COMMITTED
//
// Each request is taken apart into steps (split.h) when it is queued, against the space
// as the steps before it will leave it. The space itself is not touched before commit():
//
//	what will be  =  (the space - mappings claimed by a step)  +  mappings planned by a step
//
// A planned mapping lies in the step that makes it, and in a tree of the transaction's own
// until a later step takes it away again. A claimed mapping stays where it is and is
// passed over: its `skip` points to a later one, once somebody asked, and from there on as in a
// disjoint-set forest (R. E. Tarjan, "Efficiency of a Good But Not Linear Set Union
// Algorithm", JACM 22(2), 1975; path halving), over the order of the space, which does not
// change meanwhile. So a run of claimed mappings costs once what it is long, and not once
// per request. Those that are spilled have no room for that, and are looked up each time.
//
// Invariants while OPEN or PREPARED:
//  - space.bind is this transaction: nobody else changes the space;
//  - planned mappings are disjoint from each other and from all that is not claimed;
//  - each mapping is the subject of at most one step that takes it away;
//  - undoing the steps from the last to the first leads back through every state between.
//
// prepare() makes the driver's objects, in order, and asks the driver for the rest. What
// commit() does then is insert, remove and link: nothing that allocates or fails.
//
// A step is one allocation; the first ones are in the caller's buffer.
//
// Coalescing needs no step of its own: the request is widened over the neighbours that may
// merge, and splitting it takes them away with `keep`. Precondition on a merge: the same
// line through the same object (or both sparse), equal flags, valid entries, can_merge().
//
// Locking: the VM lock, or whatever keeps others from changing the space, from begin() to
// commit() or end(); for writing around commit() if others look meanwhile.
#ifndef DSVM_CORE_VA_BIND_H
#define DSVM_CORE_VA_BIND_H

#include "core/base/list.h"
#include "core/va/split.h"
#include "drm_svm/bind.h"

namespace dsvm {

// The space as the steps queued so far will leave it; a View of split.h.
class PlannedView {
public:
	explicit PlannedView(dsvm_bind &bind) : bind_(bind) {}

	class Cursor {
	public:
		Cursor(const PlannedView &view, VaRange span)
			: view_(view), last_(span.last), now_(view.first(span))
		{}
		[[nodiscard]] dsvm_va *take();

	private:
		const PlannedView &view_;
		u64 last_;
		// What is handed out next, or null.
		dsvm_va *now_;
	};

	[[nodiscard]] dsvm_va *first(VaRange span) const;
	[[nodiscard]] dsvm_va *at(u64 addr) const { return first(VaRange{addr, addr}); }

private:
	[[nodiscard]] dsvm_va *skip_from(dsvm_va &va) const;
	[[nodiscard]] dsvm_va *first_unclaimed(VaRange span) const;

	dsvm_bind &bind_;
};

// A view of a struct dsvm_bind; holds no state of its own.
class Bind {
public:
	explicit Bind(dsvm_bind &bind) : bind_(bind) {}

	Status begin(dsvm_va_space &space, const dsvm_bind_env &env, usize room, void *buffer,
		     usize buffer_size);
	Status map(const dsvm_va_map &request, u32 how, void *tag);
	Status unmap(u64 addr, u64 range, void *tag);
	Status prefetch(u64 addr, u64 range, void *tag);
	dsvm_bind_op *driver(u64 addr, u64 range, void *tag);
	Status prepare();
	void commit();
	void end();

private:
	class Queue;
	using Ops = List<dsvm_va_op, &dsvm_va_op::entry>;

	[[nodiscard]] Ops ops() const { return Ops{bind_.ops}; }
	[[nodiscard]] VaSpace space() const { return VaSpace{*bind_.space}; }
	[[nodiscard]] VaTree planned() const { return VaTree{bind_.planned}; }

	Expected<VaRange> check_open(u64 addr, u64 range) const;
	bool merges(dsvm_va *neighbour, const dsvm_va_map &request, void *tag);
	dsvm_va_map widened(const dsvm_va_map &request, void *tag);

	dsvm_bind_op *allocate();
	void release(dsvm_bind_op &op);
	void add(dsvm_bind_op &op);
	void take_away(dsvm_bind_op &op);
	void plan(dsvm_bind_op &op, dsvm_bind_va &made, const dsvm_va_map &map);
	void undo_last();
	void undo_from(dsvm_link *mark);

	Status make_object(dsvm_bind_op &op, u32 index, dsvm_va *&out);
	Status prepare_op(dsvm_bind_op &op);
	void unprepare_op(dsvm_bind_op &op);
	void unprepare();

	void commit_op(dsvm_bind_op &op);
	void finish();

	dsvm_bind &bind_;
};

} // namespace dsvm

#endif // DSVM_CORE_VA_BIND_H
