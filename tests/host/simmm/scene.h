// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What the machine's own tests are written with: a scene is a machine with some memory, up to
// a few threads, and what has to hold afterwards. It is played under many schedules.
//
//	return Scene()
//		.prepare([] { ... })		outside of fibers, before each
//		.thread([] { ... })
//		.thread([] { ... })
//		.holds([] { return ...; });	in all of them
//
// There is no driver and no GPU. A test that needs device pages moves them by the phases of
// os.h (to_device()), and a CPU fault brings them back the same way.
#ifndef DSVM_SIMMM_SCENE_H
#define DSVM_SIMMM_SCENE_H

#include <functional>

#include "tests/host/simmm/os.h"

namespace dsvm::sim {

// Fails the scene that is being played, and says why; returns whether it holds.
[[gnu::format(printf, 2, 3)]] bool check(bool holds, const char *format, ...);

class Scene {
public:
	explicit Scene(const Kernel &kernel = kKernel7_3);

	Scene &prepare(std::function<void()> body);
	Scene &thread(std::function<void()> body);
	// Under no schedule is a rule broken, and in the end this is true.
	bool holds(std::function<bool()> end = nullptr);
	// The same, and under some schedule (not all) it is noticed that `happened`.
	bool may(const bool &happened, std::function<bool()> end = nullptr);
	// This rule is broken, whatever the schedule.
	bool breaks(const char *rule);
	// ... under some schedule.
	bool may_break(const char *rule);

private:
	void play(u64 seed);

	const Kernel &kernel_;
	std::function<void()> prepare_;
	std::vector<std::function<void()>> threads_;
};

// Plays it on every kernel.
bool on_each_kernel(bool (*play)(const Kernel &kernel));

// The first address space and addresses in it.
Mm &process();
usize at(u32 page);	// its first byte
usize end_of(u32 page); // its last byte

// mmap() of pages [first, last] of the process; written: a value of its own in each.
void map(u32 first, u32 last, VmaKind kind = VmaKind::kAnonymous);
void map_written(u32 first, u32 last);
// The pages are one folio, mapped in one go.
void map_huge(u32 first);
u64 value_of(u32 page); // that map_written() has written
const Pte &pte(u32 page);
Page &page_at(u32 page);

// Loads and stores of the process that have to work.
void read(u32 page);
void write(u32 page, u64 value);

// A notifier with a log, on the whole of the process.
struct Listener {
	Notifier notifier;
	Rwsem lock{"notifier lock", LockRank::kNotifier};
	EventRange last = {};
	u32 events[static_cast<u32>(Event::kCount)] = {};
	bool refuses = false;

	void insert();
	void remove();
	u32 count(Event event) const { return events[static_cast<u32>(event)]; }
};
Listener &listener();

// A device with its memory.
Device &device();
Provider &provider();
Zdd &allocation();
void *owner();

// Page frames of the device, one after the other.
struct Frames {
	u32 first;
	u32 count;
};

// A span of the process, or frames of the device, on their way; with arrays of its own.
struct Moving {
	dsvm_migrate_span span = {};
	usize src[32];
	usize dst[32];

	Moving(u32 first, u32 last, u32 select = DSVM_MIGRATE_SYSTEM, Mm &mm = process());
	explicit Moving(Frames frames);

	bool moves(u32 i) const;
	dsvm_os_page *page(u32 i) const;
	u32 order(u32 i) const;
	// A fresh folio of the device, or of RAM, as destination; with the data.
	void give_device(u32 i, u32 frame, u32 order = 0);
	void give_ram(u32 i, u32 order = 0);
};

// The phases in one go; how many have moved.
u32 to_device(u32 first, u32 last, u32 frame);
// Under the mm's lock.
u32 to_ram(Mm &mm, u32 first, u32 last, Page *fault_page = nullptr);
u32 evict(Frames frames);

// hmm_range_fault() of the process.
struct Collection {
	dsvm_hmm_request request = {};
	usize entries[32] = {};
	usize tag = 0; // what they hold beforehand

	Collection(u32 first, u32 last);
	Collection &fault(bool write);
	Collection &as_owner();
	// Once more as long as it has been invalidated meanwhile.
	int run();
	dsvm_page_desc at(u32 i);
	dsvm_page_kind kind(u32 i) const { return dsvm_os_hmm_kind(entries[i]); }
};

} // namespace dsvm::sim

#endif // DSVM_SIMMM_SCENE_H
