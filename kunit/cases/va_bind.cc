// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Bind transactions: what a request sees of those before it, what is undone when one
// fails, and that a commit is what the requests would have come to one by one.

#include "kunit/case.h"
#include "kunit/cases/va_binding.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr u64 kBindBase = 1ull << 20;
constexpr VaPlace kBindPlace = {kBindBase, 64, 0, 0};

// Units of a line through an object: offset follows address.
dsvm_va_map bound_map(VaGround &ground, u64 unit, u64 count, u32 obj, u32 flags = 0)
{
	dsvm_va_map map = {};

	map.addr = ground.model().base() + unit;
	map.range = count;
	map.obj = &ground.scene.objs[obj];
	map.offset = unit;
	map.flags = flags;
	return map;
}

// Some mappings to be in the way.
bool furnish(VaGround &ground)
{
	return ground.insert(bound_map(ground, 0, 8, 0)) &&
	       ground.insert(bound_map(ground, 8, 8, 0)) &&
	       ground.insert(bound_map(ground, 20, 4, 1)) &&
	       ground.insert(bound_map(ground, 40, 20, 0));
}

// Five requests, of which the later ones take away and cut what the earlier ones make.
bool queue_some(VaBinding &binding, VaGround &ground)
{
	return binding.map(bound_map(ground, 4, 20, 1)) && binding.unmap(kBindBase + 6, 2) &&
	       binding.map(bound_map(ground, 10, 40, 2)) && binding.prefetch(kBindBase, 60) &&
	       binding.driver(1, 2) && binding.unmap(kBindBase + 12, 1);
}

bool keeps_entries(const dsvm_bind_op &step)
{
	return step.base.type == DSVM_VA_OP_UNMAP ? step.base.unmap.keep
						  : step.base.remap.unmap->keep;
}

} // namespace

DSVM_CASE(va_bind, empty_transaction)
{
	VaGround ground(kBindPlace);
	VaBinding binding(ground);

	DSVM_REQUIRE(furnish(ground));
	DSVM_REQUIRE(binding.begin());
	DSVM_EXPECT(binding.end());
	DSVM_REQUIRE(binding.begin());
	DSVM_REQUIRE(binding.prepare());
	DSVM_REQUIRE(binding.commit());
	DSVM_EXPECT(binding.end());
	// Once more than there is something to end.
	DSVM_EXPECT(binding.end());
}

DSVM_CASE(va_bind, later_requests_see_earlier_ones)
{
	VaGround ground(kBindPlace);
	VaBinding binding(ground);

	DSVM_REQUIRE(furnish(ground));
	DSVM_REQUIRE(binding.begin(16, 2));
	DSVM_REQUIRE(queue_some(binding, ground));
	// What is planned may be taken away whole, and planned again.
	DSVM_REQUIRE(binding.unmap(kBindBase, 64));
	DSVM_REQUIRE(binding.prefetch(kBindBase, 64));
	DSVM_REQUIRE(binding.map(bound_map(ground, 0, 64, 3)));
	DSVM_REQUIRE(binding.map(bound_map(ground, 0, 64, 3)));
	DSVM_REQUIRE(binding.unmap(kBindBase + 31, 2));
	DSVM_REQUIRE(binding.prepare());
	DSVM_REQUIRE(binding.commit());
	DSVM_EXPECT(binding.end());
}

// Each pair of requests on each of some layouts, against the model.
DSVM_CASE(va_bind, every_pair_of_small_requests)
{
	constexpr u32 kUnits = 4;
	constexpr u32 kRequests = kUnits * kUnits * 3;
	constexpr u32 kLayouts = 5;
	const u32 stride = max(1u, kRequests * kRequests / rounds(kRequests * kRequests));

	for (u32 pair = 0; pair < kRequests * kRequests * kLayouts; pair += stride) {
		const u32 layout = pair / (kRequests * kRequests);
		const u32 requests[] = {pair % kRequests, pair / kRequests % kRequests};
		VaGround ground({kBindBase, kUnits, 0, 0});
		VaBinding binding(ground);

		// Nothing; all of one; two halves; the middle; each for itself.
		if (layout == 1)
			DSVM_REQUIRE(ground.insert(bound_map(ground, 0, 4, 0)));
		for (u64 unit = 0; layout == 2 && unit < 4; unit += 2)
			DSVM_REQUIRE(ground.insert(bound_map(ground, unit, 2, 0)));
		if (layout == 3)
			DSVM_REQUIRE(ground.insert(bound_map(ground, 1, 2, 1)));
		for (u64 unit = 0; layout == 4 && unit < 4; unit++)
			DSVM_REQUIRE(ground.insert(bound_map(ground, unit, 1, unit % 2)));
		DSVM_REQUIRE(binding.begin());
		for (const u32 request : requests) {
			const u64 first = request % kUnits;
			const u64 last = request / kUnits % kUnits;
			const u32 what = request / (kUnits * kUnits);

			if (first > last)
				continue;
			if (what == 0)
				DSVM_REQUIRE(binding.unmap(kBindBase + first, last - first + 1));
			else
				DSVM_REQUIRE(
					binding.map(bound_map(ground, first, last - first + 1, 0),
						    what == 2 ? DSVM_BIND_COALESCE : 0));
		}
		DSVM_REQUIRE(binding.prepare());
		DSVM_REQUIRE(binding.commit());
		DSVM_REQUIRE(binding.end());
	}
}

DSVM_CASE(va_bind, abort_at_each_stage)
{
	for (u32 stage = 0; stage < 4; stage++) {
		VaGround ground(kBindPlace);
		VaBinding binding(ground);

		DSVM_REQUIRE(furnish(ground));
		DSVM_REQUIRE(binding.begin(8, stage));
		if (stage > 0)
			DSVM_REQUIRE(queue_some(binding, ground));
		if (stage > 1)
			DSVM_REQUIRE(binding.prepare());
		if (stage > 2) {
			// One that was prepared can be prepared once.
			DSVM_EXPECT_EQ(dsvm_bind_prepare(binding.get()), -DSVM_EINVAL);
			DSVM_EXPECT_EQ(dsvm_bind_unmap(binding.get(), kBindBase, 1, nullptr),
				       -DSVM_EINVAL);
		}
		DSVM_REQUIRE(binding.end());
		// It is as if nothing had been.
		DSVM_REQUIRE(binding.begin());
		DSVM_REQUIRE(queue_some(binding, ground));
		DSVM_REQUIRE(binding.prepare());
		DSVM_REQUIRE(binding.commit());
		DSVM_EXPECT(binding.end());
	}
}

// A request that fails leaves those before it, and those after it find what they would
// have found without it.
DSVM_CASE(va_bind, each_allocation_fails)
{
	for (u32 inline_steps = 0; inline_steps <= VaBinding::kMaxInline; inline_steps++) {
		for (u32 n = 1; n <= 8; n++) {
			VaGround ground(kBindPlace);
			VaBinding binding(ground);

			DSVM_REQUIRE(furnish(ground));
			DSVM_REQUIRE(binding.begin(24, inline_steps));
			DSVM_REQUIRE(binding.map(bound_map(ground, 4, 60, 1), 0, 0, n));
			DSVM_REQUIRE(binding.unmap(kBindBase + 2, 50, n));
			DSVM_REQUIRE(binding.prefetch(kBindBase, 64, n));
			DSVM_REQUIRE(binding.driver(0, 0, n));
			DSVM_REQUIRE(binding.map(bound_map(ground, 9, 30, 0), DSVM_BIND_COALESCE,
						 ~0u, n));
			DSVM_REQUIRE(binding.unmap(kBindBase + 8, 50, n));
			// The mappings, and what joins them to their objects.
			for (u32 m = 1; binding.get()->stage == DSVM_BIND_OPEN; m++)
				DSVM_REQUIRE(binding.prepare(VaCallback::kNone, m));
			DSVM_REQUIRE(binding.commit());
			DSVM_EXPECT(binding.end());
		}
	}
}

DSVM_CASE(va_bind, each_callback_fails)
{
	constexpr VaCallback callbacks[] = {VaCallback::kVaCreate, VaCallback::kBoObtain,
					    VaCallback::kPrepare};

	for (const VaCallback callback : callbacks) {
		for (u32 more = 0; more < 2; more++) {
			VaGround ground(kBindPlace);
			VaBinding binding(ground);
			u32 failures = 0;

			DSVM_REQUIRE(furnish(ground));
			DSVM_REQUIRE(binding.begin(8, 3));
			DSVM_REQUIRE(queue_some(binding, ground));
			for (u32 n = 1;; n++) {
				DSVM_REQUIRE(binding.prepare(callback, n));
				if (binding.get()->stage == DSVM_BIND_PREPARED)
					break;
				failures++;
				// There may be more to do after a failure.
				if (more != 0 && n == 2)
					DSVM_REQUIRE(binding.map(bound_map(ground, 30, 4, 3)));
			}
			DSVM_EXPECT(failures >= 2);
			DSVM_REQUIRE(binding.commit());
			DSVM_EXPECT(binding.end());
		}
	}
}

DSVM_CASE(va_bind, refused_requests)
{
	VaGround ground({kBindBase, 64, 32, 4});
	VaBinding binding(ground);
	dsvm_va_map bad = bound_map(ground, 0, 4, 0, DSVM_VA_REPEAT);

	DSVM_REQUIRE(ground.insert(bound_map(ground, 8, 8, 0)));
	DSVM_REQUIRE(binding.begin());
	DSVM_EXPECT(binding.map(bad)); // no window
	bad.flags = 0;
	bad.offset = kU64Max - 2;
	DSVM_EXPECT(binding.map(bad));
	DSVM_EXPECT(binding.map(bound_map(ground, 60, 5, 0)));
	DSVM_EXPECT(binding.map(bound_map(ground, 60, 0, 0)));
	DSVM_EXPECT(binding.map(bound_map(ground, 30, 3, 0)));
	DSVM_EXPECT(binding.map(bound_map(ground, 60, kU64Max, 0)));
	DSVM_EXPECT(binding.unmap(kBindBase + 35, 1));
	DSVM_EXPECT(binding.unmap(kBindBase - 1, 2));
	DSVM_EXPECT(binding.prefetch(kBindBase, 65));
	DSVM_EXPECT(binding.prefetch(kBindBase, 0));
	DSVM_EXPECT_EQ(binding.steps(), 0u);
	DSVM_EXPECT(binding.end());
}

DSVM_CASE(va_bind, noreplace)
{
	VaGround ground(kBindPlace);
	VaBinding binding(ground);

	DSVM_REQUIRE(furnish(ground));
	DSVM_REQUIRE(binding.begin());
	DSVM_EXPECT(binding.map(bound_map(ground, 15, 6, 2), DSVM_BIND_NOREPLACE));
	DSVM_EXPECT(binding.map(bound_map(ground, 16, 5, 2), DSVM_BIND_NOREPLACE));
	DSVM_EXPECT_EQ(binding.steps(), 0u);
	DSVM_REQUIRE(binding.map(bound_map(ground, 16, 4, 2), DSVM_BIND_NOREPLACE));
	DSVM_EXPECT_EQ(binding.steps(), 1u);
	// What is planned is in the way, and what is to go is not.
	DSVM_EXPECT(binding.map(bound_map(ground, 18, 1, 2), DSVM_BIND_NOREPLACE));
	DSVM_EXPECT_EQ(binding.steps(), 1u);
	DSVM_REQUIRE(binding.unmap(kBindBase + 16, 8));
	DSVM_REQUIRE(binding.map(bound_map(ground, 17, 7, 2), DSVM_BIND_NOREPLACE));
	DSVM_REQUIRE(binding.prepare());
	DSVM_REQUIRE(binding.commit());
	DSVM_EXPECT(binding.end());
	DSVM_EXPECT(ground.model().mapping_at(17).obj == &ground.scene.objs[2]);
}

DSVM_CASE(va_bind, prefetch_finds_what_is_planned)
{
	VaGround ground(kBindPlace);
	VaBinding binding(ground);

	DSVM_REQUIRE(ground.insert(bound_map(ground, 0, 8, 0)));
	DSVM_REQUIRE(binding.begin());
	DSVM_EXPECT(binding.prefetch(kBindBase + 8, 8));
	DSVM_EXPECT_EQ(binding.steps(), 0u);
	DSVM_REQUIRE(binding.map(bound_map(ground, 10, 4, 1)));
	DSVM_EXPECT(binding.prefetch(kBindBase + 8, 8));
	DSVM_EXPECT_EQ(binding.steps(), 2u);
	dsvm_bind_op &prefetch = *binding.last_step();
	DSVM_REQUIRE(binding.unmap(kBindBase, 64));
	DSVM_EXPECT(binding.prefetch(kBindBase, 64));
	DSVM_EXPECT_EQ(binding.steps(), 4u);
	DSVM_REQUIRE(binding.prepare());
	// It names the mapping that the driver made for the step before it.
	DSVM_EXPECT(prefetch.base.prefetch.va == binding.first_step()->va);
	DSVM_REQUIRE(binding.commit());
	DSVM_EXPECT(binding.end());
}

DSVM_CASE(va_bind, steps_in_the_buffer_are_not_allocated)
{
	VaGround ground(kBindPlace);
	VaBinding binding(ground);

	DSVM_REQUIRE(ground.insert(bound_map(ground, 0, 8, 0)));
	for (u32 inline_steps = 0; inline_steps <= VaBinding::kMaxInline; inline_steps++) {
		DSVM_REQUIRE(binding.begin(13, inline_steps));
		const u64 before = dsvm_env_outstanding();
		for (u32 i = 0; i < 6; i++)
			DSVM_REQUIRE(binding.unmap(kBindBase + i, 1));
		DSVM_EXPECT_EQ(binding.steps(), 6u);
		DSVM_EXPECT_EQ(dsvm_env_outstanding() - before, 6 - inline_steps);
		DSVM_REQUIRE(binding.end());
		// What a failed request gave back is there for the next one.
		DSVM_REQUIRE(binding.begin(13, inline_steps));
		const u32 allocations = 2 - min(2u, inline_steps);
		if (allocations > 0)
			DSVM_REQUIRE(binding.map(bound_map(ground, 1, 1, 1), 0, 0, allocations));
		DSVM_EXPECT_EQ(binding.steps(), 0u);
		DSVM_REQUIRE(binding.map(bound_map(ground, 1, 1, 1)));
		DSVM_EXPECT_EQ(binding.steps(), 2u);
		DSVM_EXPECT_EQ(dsvm_env_outstanding() - before, allocations);
		DSVM_REQUIRE(binding.end());
	}
}

DSVM_CASE(va_bind, space_is_closed_meanwhile)
{
	VaGround ground(kBindPlace);
	VaBinding binding(ground);
	VaBinding other(ground);

	DSVM_REQUIRE(furnish(ground));
	dsvm_va *const va = dsvm_va_find(&ground.scene.space, kBindBase, 8);
	DSVM_REQUIRE(va != nullptr);
	DSVM_REQUIRE(binding.begin());
	DSVM_REQUIRE(binding.unmap(kBindBase + 8, 8));
	for (u32 stage = 0; stage < 2; stage++) {
		DSVM_EXPECT_EQ(ground.scene.insert(bound_map(ground, 30, 1, 0)), -DSVM_EBUSY);
		dsvm_env_expect_begin();
		DSVM_EXPECT(!dsvm_va_remove(&ground.scene.space, va));
		DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
		DSVM_EXPECT(other.is_refused());
		DSVM_EXPECT(binding.is_refused());
		DSVM_EXPECT(binding.check_open());
		if (stage == 0)
			DSVM_REQUIRE(binding.prepare());
	}
	DSVM_EXPECT_EQ(other.get()->stage, DSVM_BIND_IDLE);
	DSVM_REQUIRE(binding.commit());
	// Before the transaction's end already.
	DSVM_EXPECT(ground.insert(bound_map(ground, 30, 1, 0)));
	DSVM_EXPECT(ground.remove(30));
	DSVM_REQUIRE(other.begin());
	DSVM_EXPECT(other.end());
	DSVM_EXPECT(ground.scene.objs[0].refs > 0);
	DSVM_EXPECT(binding.end());
	DSVM_EXPECT_EQ(ground.scene.objs[0].refs, 0u);
}

DSVM_CASE(va_bind, calls_out_of_turn)
{
	VaGround ground(kBindPlace);
	VaBinding binding(ground);
	dsvm_bind *const bind = binding.get();
	const dsvm_va_map map = bound_map(ground, 0, 4, 0);

	for (u32 stage = 0; stage < 3; stage++) {
		// Not begun, or prepared, or committed.
		DSVM_EXPECT_EQ(dsvm_bind_prepare(bind), -DSVM_EINVAL);
		DSVM_EXPECT_EQ(dsvm_bind_map(bind, &map, 0, nullptr), -DSVM_EINVAL);
		DSVM_EXPECT_EQ(dsvm_bind_unmap(bind, map.addr, 4, nullptr), -DSVM_EINVAL);
		DSVM_EXPECT_EQ(dsvm_bind_prefetch(bind, map.addr, 4, nullptr), -DSVM_EINVAL);
		DSVM_EXPECT(dsvm_bind_driver(bind, 0, 0, nullptr) == nullptr);
		if (stage != 1) {
			dsvm_env_expect_begin();
			dsvm_bind_commit(bind);
			DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
		}
		if (stage == 0) {
			DSVM_REQUIRE(binding.begin());
			dsvm_env_expect_begin();
			dsvm_bind_commit(bind);
			DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
			DSVM_REQUIRE(binding.map(map));
			DSVM_REQUIRE(binding.prepare());
		}
		if (stage == 1)
			DSVM_REQUIRE(binding.commit());
	}
	DSVM_EXPECT(binding.is_refused());
	DSVM_EXPECT(binding.end());
	DSVM_EXPECT(ground.model().is_mapped(0));
}

// A mapping may be evicted, or come back, after the request that cuts it. What remains of
// it, and what remains of that, has to say so.
DSVM_CASE(va_bind, evicted_before_the_commit)
{
	// Before it is prepared, or after; evicted, or back.
	for (u32 variant = 0; variant < 4; variant++) {
		const bool late = (variant & 1) != 0;
		const u32 flags = (variant & 2) != 0 ? DSVM_VA_INVALIDATED : 0;
		const u32 units[] = {0, 4, 7};
		VaGround ground(kBindPlace);
		VaBinding binding(ground);

		DSVM_REQUIRE(furnish(ground));
		DSVM_REQUIRE(ground.set_flags(0, flags ^ DSVM_VA_INVALIDATED));
		DSVM_REQUIRE(binding.begin());
		DSVM_REQUIRE(binding.unmap(kBindBase + 3, 1));
		DSVM_REQUIRE(binding.unmap(kBindBase + 6, 1));
		DSVM_REQUIRE(late || ground.set_flags_meanwhile(0, flags));
		DSVM_REQUIRE(binding.prepare());
		DSVM_REQUIRE(!late || ground.set_flags_meanwhile(0, flags));
		for (const u32 unit : units)
			binding.planned().set_flags(unit, flags);
		DSVM_REQUIRE(binding.commit());
		DSVM_EXPECT(binding.end());
	}
}

// Entries that were there when the request was made may be gone later: of a whole mapping,
// of one that is cut, of what an earlier step leaves of one.
DSVM_CASE(va_bind, evicted_entries_are_not_kept)
{
	for (u32 late = 0; late < 2; late++) {
		VaGround ground(kBindPlace);
		VaBinding binding(ground);

		DSVM_REQUIRE(furnish(ground));
		DSVM_REQUIRE(binding.begin());
		DSVM_REQUIRE(binding.map(bound_map(ground, 0, 8, 0)));
		dsvm_bind_op &whole = *binding.first_step();
		DSVM_REQUIRE(binding.map(bound_map(ground, 50, 2, 0)));
		dsvm_bind_op &cut = *binding.step_after(*binding.step_after(whole));
		DSVM_REQUIRE(binding.map(bound_map(ground, 40, 10, 0)));
		dsvm_bind_op &front = *binding.step_after(*binding.step_after(cut));
		DSVM_REQUIRE(binding.map(bound_map(ground, 52, 10, 0)));
		dsvm_bind_op &back = *binding.step_after(*binding.step_after(front));
		dsvm_bind_op *const steps[] = {&whole, &cut, &front, &back};
		for (const dsvm_bind_op *const step : steps)
			DSVM_REQUIRE(keeps_entries(*step));
		if (late != 0)
			DSVM_REQUIRE(binding.prepare());
		DSVM_REQUIRE(ground.set_flags_meanwhile(0, DSVM_VA_INVALIDATED));
		DSVM_REQUIRE(ground.set_flags_meanwhile(40, DSVM_VA_INVALIDATED));
		if (late == 0)
			DSVM_REQUIRE(binding.prepare());
		// So that the driver may prepare for all that it will have to write.
		for (const dsvm_bind_op *const step : steps)
			DSVM_EXPECT(keeps_entries(*step) == (late != 0));
		DSVM_REQUIRE(binding.commit());
		for (const dsvm_bind_op *const step : steps)
			DSVM_EXPECT(!keeps_entries(*step));
		DSVM_EXPECT(binding.end());
	}
}

// A space that somebody is about to change has not come to its end.
DSVM_CASE(va_bind, space_is_not_empty_meanwhile)
{
	dsvm_va_space space;
	dsvm_bind bind = {};
	const dsvm_bind_env none = {};

	DSVM_REQUIRE_EQ(dsvm_va_space_init(&space, 0, 64, nullptr), 0);
	DSVM_REQUIRE_EQ(dsvm_bind_begin(&bind, &space, &none, 0, nullptr, 0), 0);
	DSVM_EXPECT(!dsvm_va_space_fini(&space));
	dsvm_bind_end(&bind);
	DSVM_EXPECT(dsvm_va_space_fini(&space));
}

// A run of mappings that are to go is passed over in a few steps however often one looks
// there, and all looks together cost about what the run is long.
DSVM_CASE(va_bind, claimed_run_is_passed_over)
{
	const u32 count = dsvm_backend_effort() >= 100 ? 4096 : 512;
	VaScene scene(0, 2 * u64{count} + 1);
	VaDriver driver(scene);
	Random random;
	dsvm_va_map map = {};
	dsvm_va *first = nullptr;

	map.range = 1;
	for (u32 i = 0; i < count; i++) {
		map.addr = 2 * u64{i};
		DSVM_REQUIRE_EQ(scene.insert(map, i == 0 ? &first : nullptr), 0);
	}
	// The one where the run ends.
	dsvm_va *end = nullptr;
	map.addr = 2 * u64{count};
	DSVM_REQUIRE_EQ(scene.insert(map, &end), 0);
	DSVM_REQUIRE_EQ(driver.begin(0, nullptr, 0), 0);
	for (u32 i = 0; i < count; i++)
		DSVM_REQUIRE_EQ(dsvm_bind_unmap(&driver.bind, 2 * u64{i}, 1, nullptr), 0);

	u64 steps = 0;
	for (u32 look = 0; look < 1000; look++) {
		// Where the core is going to look, as it does.
		const u64 from = look % 2 == 0 ? 0 : random.below(count);
		const dsvm_va *at = dsvm_va_find(&scene.space, 2 * from, 1);

		// Nobody has looked there yet.
		if (at->skip == nullptr)
			steps += count - from;
		for (const dsvm_va *next = at->skip; next != nullptr && next != end; steps++)
			next = next->skip;
		DSVM_REQUIRE_EQ(
			dsvm_bind_unmap(&driver.bind, 2 * from, 2 * (count - from), nullptr), 0);
	}
	DSVM_EXPECT(steps < 4 * count + 1000 * 16);
	DSVM_EXPECT(first->skip == end);
	// Nor does a request that comes to nothing make the next ones begin anew.
	DSVM_EXPECT_EQ(dsvm_bind_prefetch(&driver.bind, 0, 2 * u64{count}, nullptr), -DSVM_ENOENT);
	DSVM_EXPECT(first->skip == end);
	// And the checker sees a mark that leads nowhere.
	DSVM_EXPECT(scene.complaint(&driver.bind) == nullptr);
	first->skip = first;
	DSVM_EXPECT(scene.complaint(&driver.bind) != nullptr);
	first->skip = end;
	driver.end();
	DSVM_EXPECT(expect_sound(scene));
}
