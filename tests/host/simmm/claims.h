// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What can be said of a program's operations whatever the schedule is. Claimed is only what
// leaves no doubt: a page is steady if no thread unmaps it, moves it or changes its protection,
// and an error is explained if the program does something that it may come from.
#ifndef DSVM_SIMMM_CLAIMS_H
#define DSVM_SIMMM_CLAIMS_H

#include "tests/host/simmm/program.h"

namespace dsvm::sim {

class Claims {
public:
	explicit Claims(const Program &program);

	// Memory that anybody may use at any time, of the first mm and of its children.
	bool is_steady(u32 page) const { return steady_[page] != 0; }
	// Complains unless there is a reason: the program's, or one of `errors` (positive).
	template <class... Errors> void judge(const Op &op, int ret, Errors... errors) const
	{
		if (!is_explained(ret) && !((ret == -errors) || ...))
			scheduler().fail("an operation returns an error that nothing explains",
					 "%s returned %d", name_of(op.verb), ret);
	}

	bool fails = false;	   // failures are injected
	bool kills = false;	   // threads are killed
	bool lacks_memory = false; // there may be too little
	bool lacks_huge = false;   // huge pages of RAM, so that what moved as one may stay so
	bool has_to_split =
		false;		  // the same, but a huge page that nobody holds is split, and moves
	bool rearranges = false;  // what is mapped may not be where it was made for any more
	bool owner_exits = false; // the first mm's process may end
	bool vm_goes = false;	  // and so may the VM, or the device
	bool hmmptrs_are_strange = false; // some are for reading only, or not of the first mm

private:
	void survey(const Op &op);
	bool is_explained(int ret) const;

	u8 steady_[kMaxVaPages] = {};
};

} // namespace dsvm::sim

#endif // DSVM_SIMMM_CLAIMS_H
