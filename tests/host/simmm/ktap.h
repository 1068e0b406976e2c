// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Prints results as the kernel's Test Anything Protocol (scripts/ktap.py reads it).
#ifndef DSVM_SIMMM_KTAP_H
#define DSVM_SIMMM_KTAP_H

#include <cstdio>
#include <string>

namespace dsvm::sim {

class Ktap {
public:
	explicit Ktap(size_t plan) { std::printf("KTAP version 1\n1..%zu\n", plan); }

	// Lines about the next result.
	void say(const std::string &text)
	{
		for (size_t at = 0; at < text.size();) {
			const size_t end = text.find('\n', at);
			std::printf("# %s\n", text.substr(at, end - at).c_str());
			at = end == std::string::npos ? text.size() : end + 1;
		}
	}
	void result(bool ok, const std::string &name)
	{
		std::printf("%s %u %s\n", ok ? "ok" : "not ok", ++number_, name.c_str());
		std::fflush(stdout);
		passed_ = passed_ && ok;
	}
	// The exit status. Nothing at all is a failure.
	int status() const { return passed_ && number_ != 0 ? 0 : 1; }

private:
	unsigned number_ = 0;
	bool passed_ = true;
};

} // namespace dsvm::sim

#endif // DSVM_SIMMM_KTAP_H
