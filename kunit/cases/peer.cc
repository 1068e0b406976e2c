// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: from one device to another of its clique, by the source's copy
// engine, in one hop; through RAM where the pair cannot.

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// Sixteen pages in the memory of device 1, in one allocation or two; a job takes them to device 0.
class Pair : public JobScene {
public:
	explicit Pair(const AllocationOptions &made_as = {}, u32 pieces = 1, u32 distance = 64)
		: JobScene(kSpan)
	{
		fill();
		for (u32 i = 0; i < pieces; i++)
			add(made_as, i * distance, i, kSpan / pieces);
	}

	[[nodiscard]] Allocation &source(u32 index = 0) { return pool.at(index); }
	// Pages that are in the memory of a device.
	[[nodiscard]] u32 on(u32 provider)
	{
		u32 sum = 0;

		for (u32 i = 0; i < kSpan; i++)
			sum += pte(i).kind == PteKind::kDevice &&
			       pte(i).page->zdd->provider == world.provider(provider);
		return sum;
	}

	// A fresh allocation, and the request by mainline's call that moves as much to it from page
	// `first` on.
	Allocation &make(AllocationOptions options, u32 first, dsvm_to_device &request)
	{
		options.owner = static_cast<Stage *>(this);
		Allocation &made = pool.add(world, options);

		request = {};
		request.mm = world.os_mm();
		request.first = page_at(first);
		request.last = page_end(first + options.npages - 1);
		request.owner = options.owner;
		request.devmem = &made.devmem();
		return made;
	}

	// The same for all of it, on the first device.
	Allocation &make_first(bool all_or_nothing, dsvm_to_device &request)
	{
		AllocationOptions options = {};

		options.npages = kSpan;
		Allocation &made = make(options, 0, request);
		request.all_or_nothing = all_or_nothing;
		return made;
	}

private:
	void add(AllocationOptions options, u32 frame, u32 index, u32 count)
	{
		options.provider = 1;
		options.first = frame;
		options.npages = count;
		dsvm_to_device request;
		Allocation &made = make(options, index * count, request);
		DSVM_EXPECT_EQ(run(request), 0);
		made.settle();
	}
};

} // namespace

DSVM_CASE(peer, one_hop)
{
	for (u32 variant = 0; variant < 8; variant++) {
		AllocationOptions options = {};
		options.copies_runs = (variant & 1) != 0;
		options.waits_for_fence = (variant & 2) != 0;
		Pair s(options, (variant & 4) != 0 ? 2 : 1);
		const u32 copies = s.world.calls(Call::kCopyToDevice);

		DSVM_REQUIRE_EQ(s.on(1), kSpan);
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], kSpan);
		DSVM_EXPECT_EQ(s.on(0), kSpan);
		DSVM_EXPECT_EQ(s.world.counters().from_device, kSpan);
		// The source copies; the destination does not.
		DSVM_EXPECT_EQ(s.world.calls(Call::kCopyToDevice), copies);
		DSVM_EXPECT(s.world.calls(Call::kCopyToRam) > 0);
		DSVM_EXPECT_EQ(s.world.calls(Call::kPageAlloc), 0u);
		DSVM_EXPECT_EQ(s.world.calls(Call::kProviderMap),
			       s.world.calls(Call::kProviderUnmap));
		DSVM_EXPECT(s.source().is_detached());
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		DSVM_REQUIRE(s.is_intact());
		// And from there to RAM, as any other page.
		DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
		DSVM_REQUIRE(s.is_intact());
	}
}

// The same by mainline's call.
DSVM_CASE(peer, all_or_nothing)
{
	for (const bool all : kBoth) {
		Pair s;
		dsvm_to_device request;
		const Allocation &target = s.make_first(all, request);
		DSVM_EXPECT_EQ(s.run(request), 0);
		DSVM_EXPECT_EQ(request.migrated, kSpan);
		DSVM_EXPECT_EQ(target.pages_in_use(), kSpan);
		DSVM_EXPECT(s.source().is_detached());
		DSVM_REQUIRE(s.is_intact());
	}
}

// All or nothing is nothing if the other device cannot copy.
DSVM_CASE(peer, all_or_nothing_fails)
{
	const Call calls[] = {Call::kCopyToRam, Call::kFenceWait};

	for (const Call call : calls) {
		AllocationOptions options = {};
		options.waits_for_fence = call == Call::kFenceWait;
		Pair s(options, 2);
		dsvm_to_device request;
		s.make_first(true, request);
		s.world.fail(call, 1, -DSVM_EIO);
		DSVM_EXPECT_EQ(s.run(request), -DSVM_EIO);
		DSVM_EXPECT_EQ(request.migrated, 0u);
		DSVM_EXPECT_EQ(s.on(1), kSpan);
		DSVM_REQUIRE(s.is_intact());
	}
}

// What a provider says of the size and the direction of a mapping is its own business.
DSVM_CASE(peer, sloppy_provider)
{
	Pair s;

	s.world.set_sloppy_providers(true);
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.on(0), kSpan);
	DSVM_EXPECT_EQ(s.world.calls(Call::kProviderMap), s.world.calls(Call::kProviderUnmap));
	DSVM_EXPECT(s.is_intact());
}

// RAM, holes and the other device's pages in one batch.
DSVM_CASE(peer, mixed_batch)
{
	Pair s;

	DSVM_REQUIRE_EQ(s.touch(3), DSVM_FAULT_DONE);
	AllocationOptions options = {};
	options.provider = 1;
	options.first = 200;
	options.npages = 5;
	options.owner = static_cast<Stage *>(&s);
	Allocation &made = s.pool.add(s.world, options);
	dsvm_to_device request = {};
	request.mm = s.world.os_mm();
	request.first = page_at(4);
	request.last = page_end(8);
	request.owner = options.owner;
	request.devmem = &made.devmem();
	DSVM_REQUIRE_EQ(s.run(request), 0);
	s.world.clear_pte(s.pte(12));
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], kSpan);
	DSVM_EXPECT_EQ(s.world.counters().from_device, 5u);
	for (u32 i = 0; i < kSpan; i++)
		DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(i)), i == 12 ? 0 : page_at(i));
	DSVM_EXPECT_EQ(s.on(0), kSpan);
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
}

// More allocations in a batch than there can be copies in flight.
DSVM_CASE(peer, many_sources)
{
	for (u32 variant = 0; variant < 4; variant++) {
		AllocationOptions options = {};
		options.waits_for_fence = (variant & 1) != 0;
		// Side by side, and yet not one.
		Pair s(options, kSpan, (variant & 2) != 0 ? 1 : 64);

		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.on(0), kSpan);
		DSVM_EXPECT_EQ(s.world.counters().from_device, kSpan);
		DSVM_REQUIRE(s.is_intact());
	}
}

// Devices that do not reach each other.
DSVM_CASE(peer, no_connection)
{
	for (const bool fault_in : kBoth) {
		Pair s;

		s.world.fail(Call::kProviderMap, World::kEvery, -DSVM_EFAULT);
		s.last = s.job();
		s.last.fault_in = fault_in;
		DSVM_EXPECT_EQ(s.run(s.last), 0);
		DSVM_EXPECT_EQ(s.last.result[fault_in ? DSVM_MOVED : DSVM_STAY_FOREIGN], kSpan);
		DSVM_EXPECT_EQ(s.on(fault_in ? 0 : 1), kSpan);
		DSVM_EXPECT_EQ(s.world.counters().from_device, 0u);
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		DSVM_REQUIRE(s.is_intact());
	}
}

// Mainline's call has no way through RAM of its own: the driver evicts, and tries again.
DSVM_CASE(peer, no_connection_by_mainlines_call)
{
	for (const bool all : kBoth) {
		Pair s;
		dsvm_to_device request;
		s.make_first(all, request);
		s.world.fail(Call::kProviderMap, World::kEvery, -DSVM_EFAULT);
		DSVM_EXPECT_EQ(s.run(request), all ? -DSVM_EFAULT : -DSVM_EBUSY);
		DSVM_EXPECT_EQ(request.migrated, 0u);
		DSVM_EXPECT_EQ(s.on(1), kSpan);
		DSVM_REQUIRE(s.is_intact());
	}
}

// One page of all that cannot be mapped: by single pages, it is the only one that stays.
DSVM_CASE(peer, one_page_cannot)
{
	Pair s;

	s.world.at(Call::kProviderMap, 1,
		   [](World &world, void *) { world.fail(Call::kProviderMap, 1, -DSVM_EFAULT); });
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED] + s.last.result[DSVM_STAY_FOREIGN], kSpan);
	DSVM_EXPECT(s.last.result[DSVM_MOVED] >= kSpan / 2);
	DSVM_EXPECT_EQ(s.on(0) + s.on(1), kSpan);
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
	DSVM_REQUIRE(s.is_intact());
}

DSVM_CASE(peer, each_step_fails)
{
	struct Step {
		Call call;
		int error;
		int result;
	};
	const Step steps[] = {
		// Another device's troubles are not the job's.
		{Call::kCopyToRam, -DSVM_EIO, 0},
		{Call::kFenceWait, -DSVM_EIO, 0},
		{Call::kMigrateSetup, -DSVM_ENOMEM, -DSVM_ENOMEM},
		{Call::kMigratePages, -1, 0},
	};

	for (const Step &step : steps) {
		AllocationOptions options = {};
		options.waits_for_fence = step.call == Call::kFenceWait;
		Pair s(options);

		s.world.fail(step.call, World::kEvery, step.error);
		DSVM_EXPECT_EQ(s.out(), step.result);
		DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 0u);
		DSVM_EXPECT_EQ(s.on(1), kSpan);
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		DSVM_REQUIRE(s.is_intact());
		s.world.fail(step.call, 0, 0);
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.on(0), kSpan);
		DSVM_REQUIRE(s.is_intact());
	}
}

// What has moved away must not be moved once more by who still finds it.
DSVM_CASE(peer, sources_are_retired)
{
	for (const bool by_mainlines_call : kBoth) {
		Pair s;
		dsvm_to_device request;

		if (by_mainlines_call) {
			s.make_first(true, request);
			DSVM_EXPECT_EQ(s.run(request), 0);
		} else {
			DSVM_EXPECT_EQ(s.out(), 0);
		}
		DSVM_EXPECT_EQ(s.world.calls(Call::kPageRetire), kSpan);
		DSVM_EXPECT_EQ(s.world.counters().from_device, kSpan);
	}
}

// A page that the other device's eviction is about to move: one of the two has it.
DSVM_CASE(peer, evicted_meanwhile)
{
	Pair s;

	s.world.at(
		Call::kJobAlloc, 1,
		[](World &, void *arg) {
			Pair &pair = *static_cast<Pair *>(arg);

			DSVM_EXPECT_EQ(pair.evict(pair.source(), 4, 4), 0);
		},
		&s);
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], kSpan);
	DSVM_EXPECT_EQ(s.world.counters().from_device, kSpan - 4);
	DSVM_REQUIRE(s.is_intact());
}
