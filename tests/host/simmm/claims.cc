// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/claims.h"

namespace dsvm::sim {

Claims::Claims(const Program &program)
{
	const Geometry &geometry = program.geometry;
	u32 pages = 0;

	for (const Area &area : program.areas) {
		for (u32 i = area.first; i <= area.last; i++)
			steady_[i] = area.kind != VmaKind::kSpecial;
		pages += area.last - area.first + 1;
	}
	for (const auto &thread : program.threads) {
		for (const Op &op : thread) {
			survey(op);
			pages += op.verb == Verb::kMap || op.verb == Verb::kMove
					 ? op.last - op.first + 1u
					 : 0;
		}
	}
	// Huge pages of which only some are mapped, and what is on its way, need some more.
	const bool tight = geometry.ram_pages < 2 * geometry.mms * pages + 32;
	const bool many_windows = geometry.va_pages / program.driver.notifier_pages + kMaxThreads +
					  kMaxHmmptrs + kMaxThreads >=
				  kMaxNotifiers;
	for (const HmmptrArea &hmmptr : program.hmmptrs)
		hmmptrs_are_strange = hmmptrs_are_strange || (hmmptr.flags & kHmmptrConst) != 0;
	lacks_memory = fails || tight || many_windows;
	lacks_huge = lacks_memory || (geometry.fragmented != 0 && rearranges);
	has_to_split = geometry.fragmented != 0;
}

void Claims::survey(const Op &op)
{
	const auto unsettle = [&](u32 first, u32 last) {
		for (u32 i = first; i <= last && i < kMaxVaPages; i++)
			steady_[i] = 0;
	};

	switch (op.verb) {
	case Verb::kFork:
		rearranges = true;
		break;
	case Verb::kMove:
		unsettle(op.to, op.to + (op.last - op.first));
		[[fallthrough]];
	case Verb::kMap:
	case Verb::kUnmap:
	case Verb::kProtectNone:
	case Verb::kProtectRead:
	case Verb::kProtectWrite:
		unsettle(op.first, op.last);
		rearranges = true;
		break;
	case Verb::kExit:
		owner_exits = owner_exits || op.mm == 0;
		break;
	case Verb::kVmDestroy:
	case Verb::kUnbind:
		vm_goes = true;
		break;
	case Verb::kHmmptrMake:
		hmmptrs_are_strange =
			hmmptrs_are_strange || op.mm != 0 || (flags_of(op) & kHmmptrConst) != 0;
		break;
	case Verb::kKill:
		kills = true;
		break;
	case Verb::kFail:
		fails = true;
		break;
	default:
		break;
	}
}

// Errors that what the program does explains for any operation.
bool Claims::is_explained(int ret) const
{
	switch (ret) {
	case -DSVM_ENOMEM:
		return lacks_memory;
	case -DSVM_EINTR:
		return kills;
	case -DSVM_EIO:
	case -DSVM_EAGAIN:
	case -DSVM_EFAULT:
		return fails;
	case -DSVM_ENODEV:
	case -DSVM_ENOENT:
		return vm_goes;
	default:
		return ret == 0;
	}
}

} // namespace dsvm::sim
