// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The machine's devices: how they see memory, who provides theirs, and what a page of it points
// to. A driver on the machine makes them; their pages are the machine's.
#ifndef DSVM_SIMMM_DEVICE_H
#define DSVM_SIMMM_DEVICE_H

#include <vector>

#include "core/base/va_range.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

namespace dsvm::sim {

constexpr u32 kNoPage = ~0u;
constexpr u32 kMaxDevices = 2;

struct Mm;

// What a device page points to: struct drm_pagemap_zdd. One for each allocation.
struct Zdd {
	u32 refs = 0;
	dsvm_os_provider *provider = nullptr;
	Mm *mm = nullptr; // that the allocation was made for
	// The last reference has gone: the allocation is empty. Any context, may not sleep.
	void (*released)(Zdd &zdd) = nullptr;
	// Frames have been freed, which may be used again at once. Any context, may not sleep.
	void (*freed)(Zdd &zdd, u32 first, u32 npages) = nullptr;
	// Frames have arrived at an address, for good.
	void (*arrived)(Zdd &zdd, u32 index, u32 npages) = nullptr;
	void *allocation = nullptr;
	dsvm_devmem *core = nullptr;
	u64 timeslice_end_ns = 0;
	Zdd *next = nullptr; // of its provider's
};

// struct drm_pagemap.
struct Provider {
	u32 refs = 0;
	Zdd *zdds = nullptr; // in use, the oldest first
	bool reserve_taken = false;
	void *reserve = nullptr; // of DSVM_RESERVE_BYTES
	bool spare_taken = false;
	void *spare = nullptr; // of DSVM_SPARE_BYTES; nullptr: there is none
	dsvm_migrate_counters counters = {};
	// Who cannot write to its memory, although he reads it; nullptr: everybody can.
	const struct Device *barred = nullptr;
};

// A page of a device's window of addresses: what is linked there.
struct IovaPage {
	u32 page = kNoPage; // kNoPage: nothing
	dsvm_dma_dir dir = DSVM_DMA_BIDIRECTIONAL;
	bool begins = false; // a run
	bool ends = false;
	bool visible = false; // to the device: synced
};
struct IovaWindow {
	u64 addr;
	std::vector<IovaPage> pages;
};

// struct device.
struct Device {
	u32 mappings = 0;	   // DMA: runs that are mapped or linked
	u32 max_order = 63;	   // larger mappings are refused
	bool behind_iommu = false; // and lets windows of addresses be filled by hand
	bool direct = false;	   // sees RAM itself: mappings need not be undone
	u64 next_iova = 1ull << 46;
	std::vector<IovaWindow> windows = {};
};

// struct dma_fence, of a copy. One reference: whoever waits for it.
struct Fence {
	bool signalled = false;
	int error = 0;
	// Makes the device go on by itself if nobody else does: there are few virtual CPUs.
	void (*push)() = nullptr;
};

} // namespace dsvm::sim

#endif // DSVM_SIMMM_DEVICE_H
