// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What has to be true of hmmptrs: the invariants that src/core/svm/hmmptr.h states, that the
// kernel is told once of what a device uses, and that what is bound stays so for who cannot fault.
//
// Nothing here is a point of the scheduler: what somebody changes under the notifier lock is
// left alone until he is through.

#include "tests/host/simmm/driver_impl.h"

#include <cstdarg>
#include <cstdio>

namespace dsvm::sim {

namespace {

constexpr u16 kValid = DSVM_PAGES_DMA_MAPPED;
constexpr u16 kValidMask = DSVM_PAGES_DMA_MAPPED | DSVM_PAGES_UNMAPPED | DSVM_PAGES_STALE;

bool is_mapped(const dsvm_piece &piece)
{
	return (piece.pages.flags & DSVM_PAGES_DMA_MAPPED) != 0;
}

bool is_valid(const dsvm_piece &piece)
{
	return (piece.pages.flags & kValidMask) == kValid;
}

// Whether somebody is about to change what can be seen.
bool is_changing(const Hmmptr &hmmptr)
{
	return hmmptr.set->notifier_lock.writer != kNobody;
}

usize bytes_of(const dsvm_piece &piece)
{
	return piece.range.node.last - piece.range.node.first + 1;
}

[[gnu::format(printf, 3, 4)]] void fail(const dsvm_piece &piece, const char *what,
					const char *format, ...)
{
	char text[128];
	va_list args;

	va_start(args, format);
	std::vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	scheduler().fail(what, "pages %u-%u: %s", machine().index_of(piece.range.node.first),
			 machine().index_of(piece.range.node.last), text);
}

void check_piece(const Hmmptr &hmmptr, const dsvm_piece &piece)
{
	const usize block = ~(hmmptr.set->core.piece_size - 1);
	const dsvm_interval &node = piece.range.node;

	if (node.first < hmmptr.core.window.node.first ||
	    node.last > hmmptr.core.window.node.last || (node.first & block) != (node.last & block))
		fail(piece, "a piece is not where it may be", "in blocks of %lu bytes", ~block + 1);
	if ((piece.state & DSVM_PIECE_FRESH) != 0)
		fail(piece, "a piece stays fresh", "%#x", piece.state);
	if ((piece.state & DSVM_PIECE_POPULATED) != 0 && piece.entries == nullptr)
		fail(piece, "a piece is populated with nothing", "%#x", piece.state);
	if (is_mapped(piece) && !piece.wanted)
		fail(piece, "a piece is mapped that nobody wants", "%#x", piece.state);
	if (piece.wanted && !is_mapped(piece) && !piece.unbound)
		fail(piece, "a piece is lost that somebody wants", "%#x", piece.state);
	// Nobody puts one on a list, or keeps it there, that is about to be released.
	if (piece.wanted && piece.unbound && hmmptr.core.place == DSVM_HMMPTR_CLEAN &&
	    hmmptr.refs != 0)
		fail(piece, "a piece is unbound, and on no list", "%#x", piece.state);
	if (hmmptr.core.owner == nullptr && (piece.pages.flags & DSVM_PAGES_DEVMEM) != 0)
		fail(piece, "a userptr has memory of a device", "%#x", piece.state);
	if (piece.wanted && piece.wanted_write && hmmptr.core.read_only)
		fail(piece, "a piece is wanted for what it is not for", "%#x", piece.state);
}

bool is_on(const dsvm_link &list, const Hmmptr &hmmptr)
{
	for (const dsvm_link *link = list.next; link != &list; link = link->next) {
		if (link == &hmmptr.core.entry)
			return true;
	}
	return false;
}

void check_place(const Hmmptr &hmmptr)
{
	const dsvm_hmmptr_set &set = hmmptr.set->core;
	const dsvm_hmmptr_place place = hmmptr.core.place;

	if (is_on(set.invalidated, hmmptr) != (place == DSVM_HMMPTR_INVALIDATED) ||
	    is_on(set.repin, hmmptr) != (place == DSVM_HMMPTR_REPIN))
		scheduler().fail("a hmmptr is not on the list that it says", "%u",
				 static_cast<u32>(place));
	if (place != DSVM_HMMPTR_CLEAN && hmmptr.core.released)
		scheduler().fail("a list keeps a hmmptr that was released", "%u",
				 static_cast<u32>(place));
}

// A walk goes over what is valid, whatever is between, and nothing else.
void check_walk(Hmmptr &hmmptr)
{
	const dsvm_interval &node = hmmptr.core.window.node;
	dsvm_hmmptr_cursor cursor = {};
	HmmptrPiece *piece = first_piece(hmmptr, hmmptr.first(), hmmptr.last());
	usize valid = 0, walked = 0;

	for (; piece != nullptr; piece = next_piece(*piece, hmmptr.last()))
		valid += is_valid(piece->core) ? bytes_of(piece->core) >> kPageShift : 0;
	while (dsvm_hmmptr_next(&hmmptr.core, node.first, node.last, &cursor) && walked <= valid)
		walked += cursor.npages;
	if (walked != valid)
		scheduler().fail("a walk over a hmmptr does not see what is valid",
				 "%lu pages, not %lu", walked, valid);
}

// Entries of the GPU's page table are for what mappings show, of what is valid.
void check_entries(Hmmptr &hmmptr)
{
	for (u32 mapping = 0; mapping < kMappings; mapping++) {
		for (u32 i = hmmptr.first(); i <= hmmptr.last(); i++) {
			if (!Gpu::current().entry(hmmptr.region[mapping] + i).valid)
				continue;
			const HmmptrPiece *const piece = first_piece(hmmptr, i, i);

			if (hmmptr.linked[mapping][i] == GpuAccess::kNone || piece == nullptr ||
			    !is_valid(piece->core))
				scheduler().fail("the GPU has an entry for what is not valid",
						 "page %u, mapping %u", i, mapping);
		}
	}
}

} // namespace

void check_hmmptr(Hmmptr &hmmptr)
{
	usize populated = 0;
	const HmmptrPiece *before = nullptr;

	if (is_changing(hmmptr))
		return;
	HmmptrPiece *piece = first_piece(hmmptr, hmmptr.first(), hmmptr.last());
	for (; piece != nullptr; piece = next_piece(*piece, hmmptr.last())) {
		if (before != nullptr &&
		    piece->core.range.node.first <= before->core.range.node.last)
			fail(piece->core, "pieces overlap", "%#x", piece->core.state);
		check_piece(hmmptr, piece->core);
		populated += bytes_of(piece->core);
		before = piece;
	}
	if (populated != hmmptr.core.populated)
		scheduler().fail("a hmmptr counts its pieces wrongly", "%lu bytes, and %lu",
				 hmmptr.core.populated, populated);
	check_place(hmmptr);
	check_walk(hmmptr);
	check_entries(hmmptr);
}

void check_set(HmmptrSet &set)
{
	for (Hmmptr *hmmptr = set.all; hmmptr != nullptr; hmmptr = hmmptr->next) {
		if (hmmptr->lock.writer == kNobody)
			check_hmmptr(*hmmptr);
	}
}

u32 check_quiet(HmmptrSet &set)
{
	u32 runs = 0, pieces = 0;

	check_set(set);
	for (Hmmptr *hmmptr = set.all; hmmptr != nullptr; hmmptr = hmmptr->next) {
		HmmptrPiece *piece = first_piece(*hmmptr, hmmptr->first(), hmmptr->last());

		for (; piece != nullptr; piece = next_piece(*piece, hmmptr->last())) {
			if ((piece->core.pages.flags & (DSVM_PAGES_UNMAPPED | DSVM_PAGES_STALE)) !=
			    0)
				fail(piece->core, "a piece is left between two states", "%#x",
				     piece->core.pages.flags);
			runs += count_runs(piece->core.pages, bytes_of(piece->core) >> kPageShift);
			pieces++;
		}
		if (hmmptr->core.window.users != 1 || hmmptr->core.window.unfinished != 0 ||
		    hmmptr->num_started != 0)
			scheduler().fail("an invalidation is never finished", "%u of them",
					 hmmptr->num_started);
	}
	if (pieces != set.pieces)
		scheduler().fail("a piece is kept that is of no hmmptr", "%u, and %u", set.pieces,
				 pieces);
	return runs;
}

u32 check_bound(HmmptrSet &set)
{
	const Gpu &gpu = Gpu::current();
	u32 lost = kNoPage;

	for (Hmmptr *hmmptr = set.all; hmmptr != nullptr; hmmptr = hmmptr->next) {
		for (u32 i = 0; i < kMappings * machine().geometry().va_pages; i++) {
			const u32 mapping = i % kMappings, page = i / kMappings;
			const GpuAccess linked = hmmptr->linked[mapping][page];

			if (linked == GpuAccess::kNone ||
			    gpu.allows(hmmptr->region[mapping] + page, linked == GpuAccess::kWrite))
				continue;
			if (hmmptr->mm == &machine().mm(0))
				lost = page;
			// What has been given up, or for writing alone.
			const HmmptrPiece *const piece = first_piece(*hmmptr, page, page);
			if (piece == nullptr || !piece->core.wanted)
				continue;
			const bool write = linked == GpuAccess::kWrite && piece->core.wanted_write;
			if (!gpu.allows(hmmptr->region[mapping] + page, write))
				scheduler().fail("a page is bound, all is valid, and the GPU "
						 "cannot use it",
						 "page %u, mapping %u", page, mapping);
		}
	}
	return lost;
}

// Marks -------------------------------------------------------------------------------

// Mapped for the access, as of what was populated last.
static bool is_enough(const dsvm_piece &piece, dsvm_access access)
{
	return is_valid(piece) &&
	       (access != DSVM_ACCESS_WRITE || (piece.pages.flags & DSVM_PAGES_WRITABLE) != 0);
}

static Population population_of(const dsvm_piece &piece)
{
	return {piece.entries, piece.seq, piece.range.node.last};
}

void note_populations(Hmmptr &hmmptr, bool maps)
{
	HmmptrPiece *piece = first_piece(hmmptr, hmmptr.first(), hmmptr.last());

	for (; piece != nullptr; piece = next_piece(*piece, hmmptr.last())) {
		const Population population = population_of(piece->core);

		if (population != piece->population)
			piece->told = Told::kNo;
		piece->population = population;
		// Otherwise it may have been mapped, and have gone again.
		if (maps && is_enough(piece->core, piece->core.access))
			piece->told = Told::kYes;
		else if (maps && piece->told == Told::kNo)
			piece->told = Told::kUnknown;
	}
}

// Of what was populated, if that is true and enough; or of what is mapped well enough.
Told MarkCheck::told_before(const HmmptrPiece &piece) const
{
	const dsvm_piece &core = piece.core;
	const bool enough = access_ != DSVM_ACCESS_WRITE || core.access == DSVM_ACCESS_WRITE;
	const bool stays = (core.state & DSVM_PIECE_POPULATED) != 0 &&
			   core.seq == piece.stand_in.seq && (enough || !populates_);

	if (is_enough(core, access_) && is_enough(core, core.access))
		return Told::kYes;
	return stays ? piece.told : Told::kNo;
}

MarkCheck::MarkCheck(Hmmptr &hmmptr, u32 first, u32 last, bool populates, dsvm_access access)
	: hmmptr_(hmmptr), first_(first), last_(last), disturbances_(hmmptr.disturbances),
	  injected_(hmmptr.set->core.injected), populates_(populates), access_(access)
{
	HmmptrPiece *piece = first_piece(hmmptr, first, last);

	for (; piece != nullptr; piece = next_piece(*piece, last)) {
		const Told told = told_before(*piece);

		told_[machine().index_of(piece->core.range.node.first)] = told == Told::kYes;
		if (told == Told::kUnknown)
			disturbances_ = ~0u;
	}
	if (is_changing(hmmptr))
		disturbances_ = ~0u;
	machine().asked().marks = Marks{};
}

// Only if nothing has happened but what the call itself does.
void MarkCheck::judge(int ret)
{
	const Marks told = machine().asked().marks;
	Marks expected = {};

	if (ret != 0 || is_changing(hmmptr_) || hmmptr_.disturbances != disturbances_ ||
	    hmmptr_.set->core.injected != injected_)
		return;
	HmmptrPiece *piece = first_piece(hmmptr_, first_, last_);
	for (; piece != nullptr; piece = next_piece(*piece, last_)) {
		const dsvm_dma_addr *addr = piece->core.pages.dma_addr;
		const usize npages = bytes_of(piece->core) >> kPageShift;

		// Taken away since.
		if (!is_mapped(piece->core))
			return;
		if (told_[machine().index_of(piece->core.range.node.first)])
			continue;
		for (usize done = 0; done < npages; done += usize{1} << addr->order, addr++) {
			const bool is_ram = addr->proto == DSVM_PROTO_SYSTEM;

			expected.accessed += is_ram;
			expected.dirty += is_ram && addr->dir == DSVM_DMA_BIDIRECTIONAL;
		}
	}
	// What is dirty need not be told that it is; gpu.cc finds what should have been.
	if (told.accessed != expected.accessed || told.dirty > expected.dirty)
		scheduler().fail("the kernel is not told once of what a device uses",
				 "pages %u-%u: %u dirty, %u accessed, not %u and %u", first_, last_,
				 told.dirty, told.accessed, expected.dirty, expected.accessed);
	driver().tally.hmmptr_marks += told.accessed;
}

} // namespace dsvm::sim
