// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A fuzz target: bytes become a game with the GPU VA manager (kunit/cases/va_play.h), in
// which each step and each state is compared with a model. scripts/fuzz.sh runs it under
// libFuzzer; with tests/host/fuzz_main.cc it is a program of its own.

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "kunit/cases/va_play.h"
#include "kunit/env.h"

namespace {

using dsvm::u32;
using dsvm::u64;

// The numbers that a game draws, each from as few bytes as it needs, so that a byte that
// changes changes little else.
class VaBytes {
public:
	VaBytes(const unsigned char *bytes, size_t size) : at_(bytes), end_(bytes + size) {}

	[[nodiscard]] bool is_over() const { return at_ == end_; }
	[[nodiscard]] u64 below(u64 n)
	{
		u64 value = 0;

		for (u64 rest = n - 1; rest > 0; rest >>= 8)
			value = value << 8 | next();
		return value % n;
	}
	[[nodiscard]] u64 between(u64 first, u64 last) { return first + below(last - first + 1); }
	[[nodiscard]] bool chance(u32 percent) { return below(100) < percent; }

private:
	unsigned next() { return is_over() ? 0 : *at_++; }

	const unsigned char *at_;
	const unsigned char *const end_;
};

} // namespace

extern "C" {

void dsvm_backend_print(const char *line)
{
	std::fprintf(stderr, "# %s\n", line);
}

dsvm_u32 dsvm_backend_effort(void)
{
	return 100;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
	using Player = dsvm::cases::VaPlayer<VaBytes>;

	dsvm_env_begin("fuzz", "va", 0);
	{
		VaBytes source(bytes, size);
		const dsvm::cases::VaPlace place = Player::draw_place(source);
		Player player(source, place);

		DSVM_EXPECT(player.play(Player::kMaxMoves));
	}
	if (!dsvm_env_end())
		std::abort();
	return 0;
}

} // extern "C"
