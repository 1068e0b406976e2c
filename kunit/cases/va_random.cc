// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Random games with the GPU VA manager (kunit/cases/va_play.h). At full effort they make a
// hundred thousand moves; an effort of 10000 per cent makes ten million.

#include "kunit/case.h"
#include "kunit/cases/va_play.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// cases::Random never ends.
class VaDice : public Random {
public:
	using Random::Random;
	[[nodiscard]] static bool is_over() { return false; }
};

} // namespace

DSVM_CASE(va_random, against_the_model)
{
	Random random;
	u64 moves = 0;
	const u32 wanted = rounds(100 * 1000);

	while (moves < wanted) {
		const u64 seed = random.next();
		VaDice dice(seed);
		const VaPlace place = VaPlayer<VaDice>::draw_place(dice);
		VaPlayer<VaDice> player(dice, place);

		if (!DSVM_CASE_CHECK_(player.play(64))) {
			DSVM_CASE_LOG("the game's own seed: %#llx", seed);
			return;
		}
		moves += player.count();
	}
	DSVM_CASE_LOG("%llu moves", moves);
}
