// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/hmmptr_ops.h"

namespace dsvm::sim {

namespace {

struct Result {
	int ret = 0;
	u32 lost = kNoPage; // a page that a job should have had
};

Result perform(const Op &op, u64 value)
{
	Driver &driver = Driver::current();
	const u32 slot = slot_of(op), flags = flags_of(op);
	const bool write = (flags & kHmmptrWrite) != 0;
	Result result;

	switch (op.verb) {
	case Verb::kHmmptrRelease:
		result.ret = driver.hmmptr_release(slot, (flags & kHmmptrEarly) != 0);
		break;
	case Verb::kHmmptrPopulate:
		result.ret = driver.hmmptr_populate(slot, op.first, op.last, write);
		break;
	case Verb::kHmmptrMap:
		result.ret = driver.hmmptr_map(slot, op.first, op.last);
		break;
	case Verb::kHmmptrBind:
		result.ret = driver.hmmptr_bind(slot, op.first, op.last, flags);
		break;
	case Verb::kHmmptrUnmap:
		result.ret =
			driver.hmmptr_unmap(slot, op.first, op.last, (flags & kHmmptrForget) != 0);
		break;
	case Verb::kHmmptrInject:
		result.ret = driver.hmmptr_inject(slot, op.first, op.last);
		break;
	case Verb::kHmmptrLoad:
	case Verb::kHmmptrStore:
		result.ret =
			driver.hmmptr_access(slot, op.first, op.verb == Verb::kHmmptrStore, &value);
		break;
	case Verb::kHmmptrExec:
		result.ret = driver.hmmptr_exec(slot, op.first, write, value, result.lost);
		break;
	default:
		result.ret = driver.hmmptr_revalidate();
		break;
	}
	return result;
}

bool is_on_hmmptr(Verb verb)
{
	return verb == Verb::kHmmptrRevalidate ||
	       (operands_of(verb).to == Operands::To::kHmmptr && verb != Verb::kHmmptrMake);
}

// What nobody can take away for good.
bool is_there(const Claims &claims, u32 page)
{
	return claims.is_steady(page) && !claims.fails && !claims.lacks_memory &&
	       !claims.owner_exits;
}

// Nothing is refused that is there, nor lost.
void judge(const Op &op, const Result &result, const Claims &claims)
{
	const bool is_refused = result.ret == -DSVM_EPERM || result.ret == -DSVM_EFAULT;
	bool explained = claims.hmmptrs_are_strange || scheduler().is_killed();

	for (u32 page = op.first; page <= op.last; page++)
		explained = explained || !is_there(claims, page);
	if (is_refused && explained)
		return;
	if (result.lost != kNoPage && is_there(claims, result.lost))
		scheduler().fail("a hmmptr loses memory that is there", "page %u", result.lost);
	// To be populated first, busy, released.
	if (op.verb == Verb::kHmmptrMap)
		claims.judge(op, result.ret, DSVM_EAGAIN, DSVM_ENODEV);
	else
		claims.judge(op, result.ret, DSVM_EBUSY, DSVM_ENODEV);
}

} // namespace

bool perform_on_hmmptr(const Op &op, u64 value, const Claims &claims)
{
	if (!is_on_hmmptr(op.verb))
		return false;
	judge(op, perform(op, value), claims);
	return true;
}

void use_hmmptrs(const Program &program, const Claims &claims)
{
	constexpr u32 kPages = 4; // of each
	constexpr u32 kTries = 4;
	const Verb verbs[] = {Verb::kHmmptrBind, Verb::kHmmptrExec, Verb::kHmmptrStore};

	for (u32 slot = 0; slot < program.hmmptrs.size() && !claims.hmmptrs_are_strange; slot++) {
		const HmmptrArea &hmmptr = program.hmmptrs[slot];
		u32 left = kPages;

		for (u32 page = hmmptr.first; page <= hmmptr.last && left > 0; page++) {
			if (!is_there(claims, page))
				continue;
			left--;
			for (const Verb verb : verbs) {
				const u32 flags = kHmmptrWrite & operands_of(verb).flags;
				const u16 at = static_cast<u16>(page);
				const Op op{verb, 0, at, at,
					    static_cast<u16>(slot | flags << kSlotBits)};
				Result result = {-DSVM_EBUSY};

				// A device may keep its page for longer than a call waits.
				for (u32 tries = 0; tries < kTries && result.ret == -DSVM_EBUSY;
				     tries++)
					result = perform(op, (u64{0xd} << 32) | page);
				if (result.ret != 0 || result.lost == page)
					scheduler().fail("a hmmptr cannot be used at the end",
							 "page %u, %s: %d", page, name_of(verb),
							 result.ret);
			}
		}
	}
}

} // namespace dsvm::sim
