// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/hmm.h"

namespace dsvm {

Status hmm_collect(dsvm_hmm_request &request, usize npages, const Deadline &deadline)
{
	for (;;) {
		// The kernel carries bits of an old entry over into the new one (7.3), so what an
		// earlier attempt has left must not be there.
		for (usize i = 0; i < npages; ++i)
			request.entries[i] = 0;

		request.seq = dsvm_os_notifier_read_begin(request.notifier);
		request.timeout_ns = deadline.remaining_ns();
		const Status status{dsvm_os_hmm_fault(&request)};
		if (status.code() != -DSVM_EBUSY)
			return status;
		DSVM_TRY(deadline.next_attempt());
	}
}

} // namespace dsvm
