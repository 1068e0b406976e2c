// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Memory moved between RAM and VRAM on request: what stub_migrate.c does, on pieces that are
// part of one VMA and of one naturally aligned block.

#include "tests/host/simmm/driver_impl.h"

#include <new>

namespace dsvm::sim {

namespace {

constexpr u32 kPieceTries = 3;

// A look has nothing to take back; it only has to hear of the event.
bool look_invalidate(Notifier &notifier, const EventRange &, usize seq)
{
	machine().notifier_set_seq(notifier, seq);
	return true;
}

int look_at_piece(Vm &vm, Piece &piece)
{
	for (u32 i = 0; i < piece.npages(); i++)
		piece.page[i] = dsvm_residency{};
	return look(*vm.mm, piece.first, piece.last, kPageSize, piece.page);
}

// Finds the first piece in [first, last] and has a look at it. 0: none left. Memory that its
// own process may not read stays where it is.
int next_piece(Vm &vm, Piece &piece, usize first, usize last)
{
	const usize block = usize{driver().config.piece_pages} << kPageShift;
	Mm &mm = *vm.mm;

	scheduler().read_lock(mm.lock);
	const Vma *vma = first <= last ? machine().first_vma(mm, first, last) : nullptr;
	while (vma != nullptr && !vma->read)
		vma = vma->last < last ? machine().first_vma(mm, vma->last + 1, last) : nullptr;
	if (vma != nullptr) {
		piece.first = first > vma->first ? first : vma->first;
		piece.last = (piece.first & ~(block - 1)) + (block - 1);
		piece.last = piece.last < last ? piece.last : last;
		piece.last = piece.last < vma->last ? piece.last : vma->last;
		piece.anonymous = vma->kind == VmaKind::kAnonymous;
	}
	scheduler().read_unlock(mm.lock);
	if (vma == nullptr)
		return 0;
	const int err = look_at_piece(vm, piece);
	return err != 0 ? err : 1;
}

// Moves a run of pages, as a whole or not at all; where it does not move, `split` looks for the
// page that is to blame, so that the others do.
int run_to_vram(Vm &vm, usize first, u32 npages, bool split)
{
	const u32 half = npages / 2;
	const usize middle = first + (usize{half} << kPageShift);
	const usize last = first + ((usize{npages} << kPageShift) - 1);
	const int err = driver().populate_mm(*vm.mm, first, last);

	if (err != -DSVM_EBUSY || half == 0 || !split)
		return err;
	const int low = run_to_vram(vm, first, half, split);
	const int high = run_to_vram(vm, middle, npages - half, split);
	return low != 0 ? low : high;
}

// Moves what is not in VRAM yet, in runs: an allocation has a page for each.
int piece_to_vram(Vm &vm, const Piece &piece, bool split)
{
	int err = 0;
	u32 run;

	for (u32 i = 0; i < piece.npages(); i += run) {
		run = 1;
		if (piece.page[i].device != 0)
			continue;
		while (i + run < piece.npages() && piece.page[i + run].device == 0)
			run++;
		const int ret = run_to_vram(vm, piece.first + (usize{i} << kPageShift), run, split);
		err = err != 0 ? err : ret;
	}
	return err;
}

// Until it is all there, or has been tried a few times.
int whole_piece_to_vram(Vm &vm, Piece &piece)
{
	for (u32 tries = 0; tries < kPieceTries; tries++) {
		if (tries != 0)
			scheduler().relax();
		if (piece_to_vram(vm, piece, true) == -DSVM_ENOMEM)
			return -DSVM_ENOMEM;
		if (const int err = look_at_piece(vm, piece))
			return err;
		if (piece.in_vram() == piece.npages())
			return 0;
	}
	return -DSVM_EBUSY;
}

// What a read by the CPU does. -ENOMEM; anything else shows in where it is then.
int touch_piece(Vm &vm, const Piece &piece)
{
	Mm &mm = *vm.mm;

	for (u32 i = 0; i < piece.npages(); i++) {
		if (!piece.is_in_vram(i))
			continue;
		scheduler().read_lock(mm.lock);
		const Access result =
			machine().fault(mm, piece.first + (usize{i} << kPageShift), false);
		scheduler().read_unlock(mm.lock);
		if (result == Access::kOom)
			return -DSVM_ENOMEM;
	}
	return 0;
}

} // namespace

Piece *Piece::create(u32 max_pages)
{
	void *const memory = dsvm_os_alloc(sizeof(Piece) + max_pages * sizeof(dsvm_residency));

	if (memory == nullptr)
		return nullptr;
	Piece *const piece = new (memory) Piece{};
	piece->page = reinterpret_cast<dsvm_residency *>(piece + 1);
	return piece;
}

// As drm_gpusvm_scan_mm().
dsvm_scan Driver::scan(usize first, usize last, bool from_device)
{
	static const char other_device = 0;
	Mm &mm = *impl_->mm;
	Notifier notifier;
	dsvm_scan result = DSVM_SCAN_UNPOPULATED;

	if (!dsvm_os_mm_get(to_os(mm)))
		return result;
	notifier.invalidate = look_invalidate;
	if (machine().notifier_insert(notifier, mm, first, last) == 0) {
		result = dsvm_svm_scan(
			to_os(mm), to_os(notifier), machine().device_owners[0], first, last,
			from_device ? machine().pagemap_of(impl_->vrams[0].first_page)
				    : &other_device);
		machine().notifier_remove(notifier);
	}
	dsvm_os_mm_put_async(to_os(mm));
	return result;
}

// As drm_svm_residency().
int look(Mm &mm, usize first, usize last, usize block, dsvm_residency *out)
{
	Notifier notifier;
	int ret;

	if (!dsvm_os_mm_get(to_os(mm)))
		return -DSVM_EFAULT;
	notifier.invalidate = look_invalidate;
	ret = machine().notifier_insert(notifier, mm, first, last);
	if (ret == 0) {
		ret = expect("dsvm_svm_residency",
			     dsvm_svm_residency(to_os(mm), to_os(notifier),
						machine().device_owners[0],
						machine().pagemap_of(driver().vrams[0].first_page),
						first, last, block, out),
			     DSVM_EFAULT, DSVM_EBUSY, DSVM_ENOMEM);
		machine().notifier_remove(notifier);
	}
	dsvm_os_mm_put_async(to_os(mm));
	return ret;
}

// As stub_migrate_piece().
int migrate_piece(Vm &vm, usize first, usize last)
{
	if (driver().config.workers != 0)
		return driver().run_job(*vm.mm, driver().vrams[0], first, last);
	Piece *const piece = Piece::create(static_cast<u32>((last - first + 1) >> kPageShift));
	int err = -DSVM_EFAULT;

	if (piece == nullptr)
		return -DSVM_ENOMEM;
	if (dsvm_os_mm_get(to_os(*vm.mm))) {
		piece->first = first;
		piece->last = last;
		err = look_at_piece(vm, *piece);
		if (err == 0)
			err = piece_to_vram(vm, *piece, false);
		dsvm_os_mm_put_async(to_os(*vm.mm));
	}
	dsvm_os_free(piece);
	return err;
}

// As stub_span_to_vram().
int span_to_vram(Vm &vm, Piece &piece, usize first, usize last)
{
	const u32 have = driver().free_pages();
	bool any = false, busy = false;
	u32 need = 0;
	int ret;

	// First look, so that too little VRAM is known before anything moves.
	for (usize at = first; (ret = next_piece(vm, piece, at, last)) > 0; at = piece.last + 1) {
		any = true;
		need += piece.npages() - piece.in_vram();
		if (need > have)
			return -DSVM_ENOSPC;
	}
	if (ret != 0)
		return ret;
	if (!any)
		return -DSVM_ENOENT;
	for (usize at = first; (ret = next_piece(vm, piece, at, last)) > 0; at = piece.last + 1) {
		ret = piece.anonymous ? whole_piece_to_vram(vm, piece) : -DSVM_EBUSY;
		if (ret != 0 && ret != -DSVM_EBUSY)
			return ret;
		busy = busy || ret == -DSVM_EBUSY;
	}
	if (ret != 0)
		return ret;
	return busy ? -DSVM_EBUSY : 0;
}

// As stub_span_to_ram().
int span_to_ram(Vm &vm, Piece &piece, usize first, usize last)
{
	bool any = false, busy = false;
	int ret = driver().evict_ranges(vm, first, last);

	if (ret != 0)
		return ret;
	// What the GPU has no range for, page by page.
	for (usize at = first; (ret = next_piece(vm, piece, at, last)) > 0; at = piece.last + 1) {
		any = true;
		if (piece.in_any_vram() == 0)
			continue;
		ret = touch_piece(vm, piece);
		ret = ret != 0 ? ret : look_at_piece(vm, piece);
		if (ret != 0)
			return ret;
		busy = busy || piece.in_any_vram() != 0;
	}
	if (ret != 0)
		return ret;
	if (!any)
		return -DSVM_ENOENT;
	return busy ? -DSVM_EBUSY : 0;
}

} // namespace dsvm::sim
