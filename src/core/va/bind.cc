// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/va/bind.h"

#include "core/base/guard.h"

namespace dsvm {

namespace {

// Bits of dsvm_bind_op::state: what unprepare_op() has to undo.
constexpr u8 kHasBo = 1u << 0;
constexpr u8 kPrepared = 1u << 1;

dsvm_bind_op &op_of(dsvm_va_op &base)
{
	return *container_of(&base, &dsvm_bind_op::base);
}

// Precondition: `va` is a planned mapping.
dsvm_bind_va &planned_of(dsvm_va &va)
{
	return *container_of(&va, &dsvm_bind_va::va);
}

// Whether the step takes its subject away.
bool removes(const dsvm_bind_op &op)
{
	return op.base.type == DSVM_VA_OP_REMAP || op.base.type == DSVM_VA_OP_UNMAP;
}

// Whether the step has a reference to an object until the transaction ends.
bool holds_object(const dsvm_bind_op &op)
{
	return op.base.type == DSVM_VA_OP_MAP && op.base.map.obj != nullptr;
}

// The step's subject as the driver knows it; of a planned one, from prepare on.
dsvm_va *subject_object(const dsvm_bind_op &op)
{
	dsvm_va *const subject = op.subject;

	return subject != nullptr && is_planned(*subject) ? planned_of(*subject).object : subject;
}

// Shows `va` in the step as its subject.
void set_subject(dsvm_bind_op &op, dsvm_va *va)
{
	switch (op.base.type) {
	case DSVM_VA_OP_REMAP:
		op.base.gone.va = va;
		break;
	case DSVM_VA_OP_UNMAP:
		op.base.unmap.va = va;
		break;
	case DSVM_VA_OP_PREFETCH:
		op.base.prefetch.va = va;
		break;
	case DSVM_VA_OP_MAP:
	case DSVM_VA_OP_DRIVER:
		break;
	}
}

// The mapping that a step is about, as it stands in the step.
dsvm_va *shown_subject(const dsvm_va_op &op)
{
	switch (op.type) {
	case DSVM_VA_OP_REMAP:
		return op.gone.va;
	case DSVM_VA_OP_UNMAP:
		return op.unmap.va;
	case DSVM_VA_OP_PREFETCH:
		return op.prefetch.va;
	case DSVM_VA_OP_MAP:
	case DSVM_VA_OP_DRIVER:
		break;
	}
	return nullptr;
}

// Page-table entries of `gone` may have gone, or come back, since the step was planned: what
// remains of it says what it says now.
void inherit_validity(dsvm_va &remnant, const dsvm_va &gone)
{
	remnant.map.flags = (remnant.map.flags & ~DSVM_VA_INVALIDATED) |
			    (flags_of(gone.map) & DSVM_VA_INVALIDATED);
}

// The same for whether the entries may stay. Once they may not, they never may again.
void drop_stale_keep(dsvm_bind_op &op, const dsvm_va &gone)
{
	if (!is_invalidated(gone.map))
		return;
	if (op.base.type == DSVM_VA_OP_REMAP)
		op.base.gone.keep = false;
	else
		op.base.unmap.keep = false;
}

// Of a spilled one it would lie where the tree's links do.
bool has_skip(const dsvm_va &va)
{
	return (va.map.state & DSVM_VA_SPILLED) == 0;
}

// Until a step takes it away: `va` itself; from then on what comes after it, for now.
void claim(dsvm_va &va)
{
	va.map.state |= DSVM_VA_CLAIMED;
	if (has_skip(va))
		va.skip = nullptr;
}

void unclaim(dsvm_va &va)
{
	va.map.state &= ~DSVM_VA_CLAIMED;
}

bool is_claimed(const dsvm_va &va)
{
	return (va.map.state & DSVM_VA_CLAIMED) != 0;
}

} // namespace

// --- What will be ------------------------------------------------------------

// What comes after a claimed mapping, with some claimed ones left out; null: nothing.
dsvm_va *PlannedView::skip_from(dsvm_va &va) const
{
	if (has_skip(va) && va.skip != nullptr)
		return va.skip;

	dsvm_va *const next = VaSpace{*bind_.space}.mappings().after(va);
	if (has_skip(va))
		va.skip = next;
	return next;
}

dsvm_va *PlannedView::first_unclaimed(VaRange span) const
{
	dsvm_va *at = VaSpace{*bind_.space}.mappings().first(span);

	while (at != nullptr && is_claimed(*at)) {
		dsvm_va *next = skip_from(*at);

		if (next != nullptr && is_claimed(*next)) {
			next = skip_from(*next);
			if (has_skip(*at))
				at->skip = next;
		}
		at = next;
	}
	return at != nullptr && at->map.addr <= span.last ? at : nullptr;
}

dsvm_va *PlannedView::first(VaRange span) const
{
	dsvm_va *const real = first_unclaimed(span);
	dsvm_va *const made = VaTree{bind_.planned}.first_overlap(span);

	if (real == nullptr || (made != nullptr && made->map.addr < real->map.addr))
		return made;
	return real;
}

dsvm_va *PlannedView::Cursor::take()
{
	dsvm_va *const va = now_;

	if (va != nullptr) {
		const u64 last = span_of(va->map).last;

		now_ = last < last_ ? view_.first(VaRange{last + 1, last_}) : nullptr;
	}
	return va;
}

// --- Queueing ------------------------------------------------------------------

// The steps of one request: all of them, or none if commit() is not called.
class Bind::Queue {
public:
	Queue(Bind &bind, u64 addr, u64 range, void *tag)
		: bind_(bind), mark_(bind.bind_.ops.prev), addr_(addr), range_(range), tag_(tag)
	{}
	Queue(const Queue &) = delete;
	Queue &operator=(const Queue &) = delete;
	~Queue()
	{
		if (!committed_)
			bind_.undo_from(mark_);
	}

	[[nodiscard]] dsvm_va_op *room()
	{
		dsvm_bind_op *const op = bind_.allocate();

		return op != nullptr ? &op->base : nullptr;
	}
	Status add(dsvm_va_op &base)
	{
		dsvm_bind_op &op = op_of(base);

		op.addr = addr_;
		op.range = range_;
		op.tag = tag_;
		op.request = bind_.bind_.requests;
		bind_.add(op);
		return Status::ok();
	}

	void commit()
	{
		bind_.bind_.requests++;
		committed_ = true;
	}

private:
	Bind &bind_;
	// The last step before this request's, or the head of the list.
	dsvm_link *mark_;
	u64 addr_;
	u64 range_;
	void *tag_;
	bool committed_ = false;
};

Status Bind::begin(dsvm_va_space &space, const dsvm_bind_env &env, usize room, void *buffer,
		   usize buffer_size)
{
	if (bind_.stage != DSVM_BIND_IDLE || space.bind != nullptr)
		return kBusy;

	bind_ = dsvm_bind{};
	bind_.space = &space;
	bind_.env = &env;
	link_init(bind_.ops);
	bind_.stage = DSVM_BIND_OPEN;
	bind_.room = room;
	bind_.buffer = buffer;
	bind_.buffer_size = buffer != nullptr ? buffer_size : 0;
	space.bind = &bind_;
	return Status::ok();
}

Expected<VaRange> Bind::check_open(u64 addr, u64 range) const
{
	if (bind_.stage != DSVM_BIND_OPEN)
		return kInvalid;
	return space().check(addr, range);
}

// Whether a mapping that is or will be beside a request (or around its edge) may become
// one with it.
bool Bind::merges(dsvm_va *neighbour, const dsvm_va_map &request, void *tag)
{
	if (neighbour == nullptr || neighbour == bind_.space->kernel)
		return false;

	const dsvm_va_map &map = neighbour->map;
	if (flags_of(map) != request.flags || is_invalidated(map))
		return false;
	if (map.obj == nullptr ? request.obj != nullptr || (flags_of(map) & DSVM_VA_SPARSE) == 0
			       : !same_line(map, request))
		return false;

	// What remains of a mapping is, to the driver, still that mapping.
	if (!is_planned(*neighbour))
		return bind_.env->can_merge(&bind_, neighbour, nullptr, &request, tag);
	const dsvm_bind_va &made = planned_of(*neighbour);
	return bind_.env->can_merge(&bind_, made.origin, made.maker, &request, tag);
}

dsvm_va_map Bind::widened(const dsvm_va_map &request, void *tag)
{
	const PlannedView view{bind_};
	const VaRange bounds = space().managed();
	const VaRange span = span_of(request);
	dsvm_va_map wide = request;

	dsvm_va *const left = span.first > bounds.first ? view.at(span.first - 1) : nullptr;
	if (merges(left, request, tag)) {
		wide.addr = left->map.addr;
		wide.offset = left->map.offset;
		wide.range = span.last - wide.addr + 1;
	}
	dsvm_va *const right = span.last < bounds.last ? view.at(span.last + 1) : nullptr;
	if (merges(right, request, tag))
		wide.range = span_of(right->map).last - wide.addr + 1;
	return wide;
}

Status Bind::map(const dsvm_va_map &request, u32 how, void *tag)
{
	const VaRange span = DSVM_TRY(check_open(request.addr, request.range));
	const PlannedView view{bind_};

	DSVM_TRY(check_source(request));
	if ((how & DSVM_BIND_NOREPLACE) != 0 && view.first(span) != nullptr)
		return kExists;

	Queue queue{*this, request.addr, request.range, tag};
	const dsvm_va_map wide = (how & DSVM_BIND_COALESCE) != 0 ? widened(request, tag) : request;
	DSVM_TRY(split_for_map(view, wide, ~0u, queue));
	queue.commit();
	return Status::ok();
}

Status Bind::unmap(u64 addr, u64 range, void *tag)
{
	const VaRange span = DSVM_TRY(check_open(addr, range));
	Queue queue{*this, addr, range, tag};

	DSVM_TRY(split_for_unmap(PlannedView{bind_}, span, queue));
	queue.commit();
	return Status::ok();
}

Status Bind::prefetch(u64 addr, u64 range, void *tag)
{
	const VaRange span = DSVM_TRY(check_open(addr, range));
	const PlannedView view{bind_};
	PlannedView::Cursor cursor{view, span};
	Queue queue{*this, addr, range, tag};
	dsvm_va *va = cursor.take();

	if (va == nullptr)
		return kNotFound;
	for (; va != nullptr; va = cursor.take()) {
		dsvm_va_op *const op = queue.room();

		if (op == nullptr)
			return kNoMemory;
		op->type = DSVM_VA_OP_PREFETCH;
		op->prefetch.va = va;
		DSVM_TRY(queue.add(*op));
	}
	queue.commit();
	return Status::ok();
}

dsvm_bind_op *Bind::driver(u64 addr, u64 range, void *tag)
{
	if (bind_.stage != DSVM_BIND_OPEN)
		return nullptr;

	Queue queue{*this, addr, range, tag};
	dsvm_va_op *const op = queue.room();
	if (op == nullptr)
		return nullptr;
	op->type = DSVM_VA_OP_DRIVER;
	static_cast<void>(queue.add(*op));
	queue.commit();
	return &op_of(*op);
}

// --- Steps ---------------------------------------------------------------------

// A step, all zero; null if there is no memory.
dsvm_bind_op *Bind::allocate()
{
	const u64 size = checked_add(sizeof(dsvm_bind_op), bind_.room).value_or(0);
	const u64 bytes = align_up(size, sizeof(u64)).value_or(0);
	const bool fits = bytes <= bind_.buffer_size - bind_.buffer_used;
	void *memory = nullptr;

	if (bytes == 0)
		return nullptr;
	if (fits) {
		memory = static_cast<u8 *>(bind_.buffer) + bind_.buffer_used;
		bind_.buffer_used += bytes;
		__builtin_memset(memory, 0, bytes);
	} else {
		memory = dsvm_os_alloc(bytes);
	}

	dsvm_bind_op *const op = static_cast<dsvm_bind_op *>(memory);
	if (op != nullptr)
		op->is_inline = fits;
	return op;
}

// Steps go in the reverse order of their allocation, or all of them.
void Bind::release(dsvm_bind_op &op)
{
	if (op.is_inline)
		bind_.buffer_used = static_cast<usize>(reinterpret_cast<u8 *>(&op) -
						       static_cast<u8 *>(bind_.buffer));
	else
		dsvm_os_free(&op);
}

void Bind::plan(dsvm_bind_op &op, dsvm_bind_va &made, const dsvm_va_map &map)
{
	if (op.subject == nullptr) {
		made.maker = &op;
	} else if (is_planned(*op.subject)) {
		made.origin = planned_of(*op.subject).origin;
		made.maker = planned_of(*op.subject).maker;
	} else {
		made.origin = op.subject;
	}
	made.va.map = map;
	made.va.map.state = DSVM_VA_PLANNED;
	static_cast<void>(DSVM_VERIFY(planned().insert(made.va).is_ok()));
}

void Bind::take_away(dsvm_bind_op &op)
{
	if (is_planned(*op.subject))
		planned().remove(*op.subject);
	else
		claim(*op.subject);
}

// One from allocate(), filled in, comes behind all others.
void Bind::add(dsvm_bind_op &op)
{
	const dsvm_va_op &step = op.base;

	op.subject = shown_subject(step);
	ops().push_back(op.base);
	bind_.steps++;
	if (removes(op))
		take_away(op);
	if (step.type == DSVM_VA_OP_MAP)
		plan(op, op.made[0], step.map);
	if (step.type == DSVM_VA_OP_REMAP && step.remap.prev != nullptr)
		plan(op, op.made[0], step.prev);
	if (step.type == DSVM_VA_OP_REMAP && step.remap.next != nullptr)
		plan(op, op.made[1], step.next);
	if (holds_object(op))
		bind_.env->obj_get(&bind_, op.base.map.obj);
}

void Bind::undo_last()
{
	dsvm_bind_op &op = op_of(*ops().last());

	ops().remove(op.base);
	bind_.steps--;
	for (dsvm_bind_va &made : op.made) {
		if (is_planned(made.va))
			planned().remove(made.va);
	}
	if (removes(op)) {
		if (is_planned(*op.subject))
			static_cast<void>(DSVM_VERIFY(planned().insert(*op.subject).is_ok()));
		else
			unclaim(*op.subject);
	}
	if (holds_object(op))
		bind_.env->obj_put(&bind_, op.base.map.obj);
	release(op);
}

// Takes back all steps behind `mark`. No claim that stays leads past one of theirs: a request
// looks only behind what it has claimed, so no path was halved through that.
void Bind::undo_from(dsvm_link *mark)
{
	while (bind_.ops.prev != mark)
		undo_last();
}

// --- Preparing -------------------------------------------------------------------

Status Bind::make_object(dsvm_bind_op &op, u32 index, dsvm_va *&out)
{
	dsvm_bind_va &made = op.made[index];

	if (!is_planned(made.va))
		return Status::ok();
	out = bind_.env->va_create(&bind_, &op);
	if (out == nullptr)
		return kNoMemory;
	out->map = made.va.map;
	out->map.state = 0;
	if (removes(op))
		inherit_validity(*out, *subject_object(op));
	made.object = out;
	return Status::ok();
}

Status Bind::prepare_op(dsvm_bind_op &op)
{
	const bool maps = op.base.type == DSVM_VA_OP_MAP;

	set_subject(op, subject_object(op));
	if (removes(op))
		drop_stale_keep(op, *subject_object(op));
	DSVM_TRY(make_object(op, 0, maps ? op.va : op.prev));
	DSVM_TRY(make_object(op, 1, op.next));
	if (holds_object(op)) {
		DSVM_TRY(Status{bind_.env->bo_obtain(&bind_, &op)});
		op.state |= kHasBo;
	}
	DSVM_TRY(Status{bind_.env->prepare(&bind_, &op)});
	op.state |= kPrepared;
	return Status::ok();
}

// Undoes as much of prepare_op() as there is.
void Bind::unprepare_op(dsvm_bind_op &op)
{
	if ((op.state & kPrepared) != 0)
		bind_.env->unprepare(&bind_, &op);
	if ((op.state & kHasBo) != 0)
		bind_.env->bo_release(&bind_, &op);
	op.state = 0;
	op.va = nullptr;
	op.prev = nullptr;
	op.next = nullptr;
	for (dsvm_bind_va &made : op.made) {
		if (made.object != nullptr)
			bind_.env->va_destroy(&bind_, exchange(made.object, nullptr));
	}
	set_subject(op, op.subject);
}

void Bind::unprepare()
{
	for (dsvm_va_op *base = ops().last(); base != nullptr; base = ops().prev(*base))
		unprepare_op(op_of(*base));
	bind_.stage = DSVM_BIND_OPEN;
}

Status Bind::prepare()
{
	if (bind_.stage != DSVM_BIND_OPEN)
		return kInvalid;

	auto undo = on_exit([this] { unprepare(); });
	for (dsvm_va_op &base : ops())
		DSVM_TRY(prepare_op(op_of(base)));
	undo.release();
	bind_.stage = DSVM_BIND_PREPARED;
	return Status::ok();
}

// --- The end -----------------------------------------------------------------------

void Bind::commit_op(dsvm_bind_op &op)
{
	dsvm_va *const gone = removes(op) ? subject_object(op) : nullptr;

	if (gone != nullptr) {
		dsvm_va *const remnants[] = {op.prev != nullptr ? op.prev : op.next, op.next};

		drop_stale_keep(op, *gone);
		unclaim(*gone);
		space().mappings().exchange(*gone, remnants,
					    (op.prev != nullptr) + (op.next != nullptr));
		// Whatever keeps it goes with the link; the GPU may use it to the end.
		if (gone->map.obj != nullptr)
			bind_.env->obj_get(&bind_, gone->map.obj);
	}
	if (op.va != nullptr) {
		static_cast<void>(DSVM_VERIFY(space().mappings().insert(*op.va).is_ok()));
		bind_.env->inserted(&bind_, &op, op.va, nullptr);
	}
	if (op.prev != nullptr)
		bind_.env->inserted(&bind_, &op, op.prev, gone);
	if (op.next != nullptr)
		bind_.env->inserted(&bind_, &op, op.next, gone);
	bind_.env->commit(&bind_, &op);
	if (gone != nullptr)
		bind_.env->removed(&bind_, &op, gone);
}

void Bind::commit()
{
	if (!DSVM_VERIFY(bind_.stage == DSVM_BIND_PREPARED))
		return;
	for (dsvm_va_op &base : ops())
		commit_op(op_of(base));
	bind_.stage = DSVM_BIND_COMMITTED;
	bind_.space->bind = nullptr;
}

// What a committed transaction leaves behind. Mappings that it made and took away again
// are subjects of later steps than their makers, so the order is that of the steps.
void Bind::finish()
{
	for (dsvm_va_op &base : ops())
		bind_.env->finish(&bind_, &op_of(base));
	for (dsvm_va_op &base : ops()) {
		dsvm_bind_op &op = op_of(base);

		if (removes(op)) {
			dsvm_va *const gone = subject_object(op);
			dsvm_os_obj *const obj = gone->map.obj;

			bind_.env->va_destroy(&bind_, gone);
			if (obj != nullptr)
				bind_.env->obj_put(&bind_, obj);
		}
		if (holds_object(op))
			bind_.env->obj_put(&bind_, op.base.map.obj);
	}
	while (dsvm_va_op *const base = ops().pop_front())
		release(op_of(*base));
}

void Bind::end()
{
	switch (bind_.stage) {
	case DSVM_BIND_IDLE:
		return;
	case DSVM_BIND_COMMITTED:
		finish();
		break;
	case DSVM_BIND_PREPARED:
		unprepare();
		[[fallthrough]];
	case DSVM_BIND_OPEN:
		undo_from(&bind_.ops);
		bind_.space->bind = nullptr;
		break;
	}
	bind_.stage = DSVM_BIND_IDLE;
}

} // namespace dsvm
