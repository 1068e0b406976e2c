// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Programs: what the virtual CPUs do, as data. A seed makes one, a text describes one (the
// same text comes out again), a strategy runs one.
//
//	kernel 7.3			which kernel's contracts; 6.1, 6.12, 7.3
//	pages 32			of an address space; `mms`, `ram`, `vram`, `swap`, `huge` likewise
//	driver migrate_on_fault=1 ...	DriverConfig, what is not the default; `chunks=8,4,1`
//	area 0-15 anon huge filled	memory that mm 0 has before the threads start: `anon`, `shared`,
//					`file` (private) or `special`; `filled` by the CPU, then moved to `vram`
//	hmmptr 0-7 svm			made before the threads start, in the first slot that is
//					empty: `svm`, `const` (see enum HmmptrFlag), or a userptr
//	thread				its operations follow, one a line, in order
//	  store 0 3			mm 0, page 3; values are made up, never twice the same
//	  gpu_store 3			of the GPU, in mm 0, which its VM mirrors
//	  move 0 4-7 12			to page 12
//	  to_vram 0-7
//	  hmmptr_bind 4-7 0 write	of slot 0
//	  fail copy 2			the second copy from now fails
//	  ...
//
// Everything that is not said is as it is by default. '#' begins a comment.
//
// A program has no expectations: whatever it does, no rule may be broken, and operations may
// return the errors that their contracts name. Scenarios with expectations are something else
// (tests/scenarios); they run here too.
#ifndef DSVM_SIMMM_PROGRAM_H
#define DSVM_SIMMM_PROGRAM_H

#include <string>
#include <vector>

#include "tests/host/simmm/driver.h"
#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

enum class Verb : u8 {
	kLoad, // CPU, of mm `mm`, page `first`
	kStore,
	kGpuLoad, // GPU, page `first`
	kGpuStore,
	kMap, // anonymous memory, where nothing is; huge pages with `to`
	kUnmap,
	kProtectNone,
	kProtectRead,
	kProtectWrite,
	kDontneed,
	kFree, // MADV_FREE
	kMove, // to page `to`
	kFork, // mm `mm`; the child's operations name it by index: skipped until it is there
	kExit,
	kPageOut,
	kCompact,
	kCollapse,
	kSplit, // a huge mapping
	kSplitFolio,
	kPin,	// for `to` points, or if that is 0 until kUnpin or the thread's end
	kUnpin, // what this thread has pinned first
	kOomReap,
	kToVram,
	kToRam,
	kToPeer, // the second device's memory
	kEvict,
	kEvictPart, // `to` pages of it
	kEvictAll,
	kEvictRanges,
	kDropRanges,
	kGarbage,
	kVmDestroy,
	kUnbind, // the device goes
	// Of a hmmptr; `to`: its slot, and what it is for (enum HmmptrFlag), see slot_of().
	kHmmptrMake, // of mm `mm`; if the slot is empty
	kHmmptrRelease,
	kHmmptrPopulate,
	kHmmptrMap,
	kHmmptrBind,
	kHmmptrUnmap,
	kHmmptrInject,
	kHmmptrLoad, // by a GPU that faults
	kHmmptrStore,
	kHmmptrExec, // by a job that cannot
	kHmmptrRevalidate,
	kKill, // thread `to`: what it is at may give up, and it does nothing more
	kFail, // the `to`-th call of kind `first` (enum Fail) from now fails
	kCount
};
const char *name_of(Verb verb);

struct Op {
	Verb verb;
	u8 mm = 0;
	u16 first = 0;
	u16 last = 0;
	u16 to = 0;
	bool operator==(const Op &) const = default;
};

// Which fields of an operation mean something; the others are 0.
struct Operands {
	bool mm;
	enum class Pages : u8 { kNone, kOne, kSpan } pages;
	enum class To : u8 { kNone, kNumber, kHuge, kHmmptr } to;
	u32 flags = 0; // of a hmmptr, that may be said
};
Operands operands_of(Verb verb);

// Of an operation on a hmmptr.
constexpr u32 kSlotBits = 8;
inline u32 slot_of(const Op &op)
{
	return op.to & ((1u << kSlotBits) - 1);
}
inline u32 flags_of(const Op &op)
{
	return op.to >> kSlotBits;
}

struct Area {
	u16 first;
	u16 last;
	VmaKind kind = VmaKind::kAnonymous;
	bool huge = false;
	bool filled = false;
	bool in_vram = false; // moved there before the threads start
	bool operator==(const Area &) const = default;
};

// A hmmptr that the first mm has when the threads start.
struct HmmptrArea {
	u16 first;
	u16 last;
	u32 flags = 0;
	bool operator==(const HmmptrArea &) const = default;
};

constexpr u32 kMaxVaPages = 256;
constexpr u32 kMaxThreads = 6; // so that workers find a virtual CPU

struct Program {
	const Kernel *kernel = &kKernel7_3;
	Geometry geometry;
	DriverConfig driver;
	std::vector<Area> areas;
	std::vector<HmmptrArea> hmmptrs;
	std::vector<std::vector<Op>> threads;

	usize ops() const
	{
		usize count = 0;
		for (const auto &thread : threads)
			count += thread.size();
		return count;
	}
};

// What programs a seed may make.
struct Shape {
	u32 min_threads = 2;
	u32 max_threads = 4;
	u32 max_ops = 5; // of a thread
};

Program generate(u64 seed, const Shape &shape);
std::string to_text(const Program &program);
std::string to_text(const Op &op);
// Nothing and a sentence in `error` if the text is none.
bool parse(const std::string &text, Program &program, std::string &error);

struct Outcome {
	bool failed = false;
	Violation violation;
	Schedule schedule; // as it was picked
	u32 steps = 0;
	u64 schedule_hash = 0;
	Tally tally = {};
};

// Runs it once, with all checks. `visit` is told a hash of each state that there was, for
// statistics, unless it is nullptr.
struct RunOptions {
	u32 max_steps = 200000;
	bool trace = false;
	void (*visit)(u64 state, void *arg) = nullptr;
	void *visit_arg = nullptr;
};
Outcome run(const Program &program, Strategy &strategy, const RunOptions &options = {});

} // namespace dsvm::sim

#endif // DSVM_SIMMM_PROGRAM_H
