// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Runs a fuzz target without libFuzzer.
//
//	fuzz_va FILE...           the inputs in these files, as a crash leaves one
//	fuzz_va --runs N [SEED]   N inputs of random bytes
//
// A failure ends the program; given its seed, it fails again.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

namespace {

using Bytes = std::vector<unsigned char>;

bool read_file(const char *name, Bytes &bytes)
{
	std::FILE *const file = std::fopen(name, "rb");

	if (file == nullptr)
		return false;
	bytes.clear();
	for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file))
		bytes.push_back(static_cast<unsigned char>(c));
	std::fclose(file);
	return true;
}

int run_random(unsigned long runs, unsigned long long seed)
{
	std::printf("# seed %#llx\n", seed);
	std::fflush(stdout);

	std::mt19937_64 random(seed);
	Bytes bytes;
	for (unsigned long run = 0; run < runs; run++) {
		bytes.resize(random() % 2048);
		for (unsigned char &byte : bytes)
			byte = static_cast<unsigned char>(random());
		LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
	}
	std::printf("# %lu inputs\n", runs);
	return 0;
}

} // namespace

int main(int argc, char **argv)
{
	if (argc >= 3 && std::strcmp(argv[1], "--runs") == 0)
		return run_random(std::strtoul(argv[2], nullptr, 0),
				  argc > 3 ? std::strtoull(argv[3], nullptr, 0)
					   : std::random_device()());
	if (argc < 2) {
		std::fprintf(stderr, "usage: %s FILE... | --runs N [SEED]\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		Bytes bytes;

		if (!read_file(argv[i], bytes)) {
			std::fprintf(stderr, "%s: cannot be read\n", argv[i]);
			return 2;
		}
		LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
	}
	return 0;
}
