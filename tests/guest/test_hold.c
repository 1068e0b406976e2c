// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * HOLD does what other tests rely on: it stops the faults of one page, and nothing else, until it
 * is told to let go. And what version 4 of the ioctls has added leaves older callers alone.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"
#include "program.h"

#define SIZE MIB(2)

static unsigned int held(struct gpu *gpu, const void *address)
{
	unsigned int faults;

	EXPECT_OK(gpu_held(gpu, address, &faults));
	return faults;
}

static void test_one_page(const void *arg)
{
	__u32 *memory = map_small(SIZE), *page = memory + 7 * WORDS_PER_PAGE;
	struct program program;
	struct gpu gpu;

	(void)arg;
	open_vm(&gpu, &ram);
	EXPECT_OK(gpu_hold(&gpu, page));
	EXPECT_EQ(held(&gpu, page), 0);
	/* It is the page of the access that counts, not that of the range. */
	start_fill(&program, &gpu, memory, 1, PAGE);
	EXPECT_OK(finish(&program));
	EXPECT_EQ(pages_mapped(&gpu, memory, SIZE), SIZE / PAGE);
	/* What is mapped takes no fault, so there is none to hold. */
	EXPECT_OK(gpu_fill(&gpu, page, 2, PAGE));
	EXPECT_EQ(gpu.faults, 0);

	madvise(memory, SIZE, MADV_DONTNEED);
	start_fill(&program, &gpu, page + 3, 3, 4);
	EXPECT_OK(gpu_wait_held(&gpu, page, 1));
	EXPECT_EQ(pages_mapped(&gpu, memory, SIZE), 0);
	EXPECT_OK(gpu_let_go(&gpu, page));
	EXPECT_OK(finish(&program));
	EXPECT_EQ(held(&gpu, page), 0);
	EXPECT_EQ(page[3], 3);
	/* It is over: the next fault is not held. */
	madvise(memory, SIZE, MADV_DONTNEED);
	EXPECT_OK(gpu_fill(&gpu, page, 4, PAGE));
}

static void test_one_at_a_time(const void *arg)
{
	char *memory = (char *)map_small(SIZE);
	struct gpu gpu, other;

	(void)arg;
	open_vm(&gpu, &ram);
	open_vm(&other, &ram);
	EXPECT_OK(gpu_let_go(&gpu, memory));
	EXPECT_OK(gpu_hold(&gpu, memory));
	EXPECT_ERR(gpu_hold(&gpu, memory), -EBUSY);
	EXPECT_ERR(gpu_hold(&gpu, memory + PAGE), -EBUSY);
	EXPECT_OK(gpu_hold(&other, memory));
	EXPECT_OK(gpu_let_go(&gpu, memory));
	EXPECT_OK(gpu_let_go(&gpu, memory));
	EXPECT_OK(gpu_hold(&gpu, memory + PAGE));
	EXPECT_OK(gpu_fill(&gpu, memory, 1, PAGE));
}

/* A hold that everybody has forgotten ends by itself. */
static void test_ends_by_itself(const void *arg)
{
	double start = now_ms(), took;
	__u32 *memory = map_small(SIZE);
	struct gpu gpu;

	(void)arg;
	open_vm(&gpu, &ram);
	EXPECT_OK(gpu_hold(&gpu, memory));
	EXPECT_OK(gpu_fill(&gpu, memory, 1, PAGE));
	took = now_ms() - start;
	EXPECT(took > 9e3 && took < 60e3, "it was held for %.0f ms", took);
	EXPECT_OK(gpu_hold(&gpu, memory));
}

/* The struct of version 3 ends where version 4 begins. */
#define STATS_SIZE_3 offsetof(struct drm_svm_stub_vm_stats, ranges_made)

_Static_assert(STATS_SIZE_3 == offsetof(struct drm_svm_stub_vm_stats, events) +
			       DRM_SVM_STUB_EVENTS * sizeof(__u64), "something has moved");
_Static_assert(offsetof(struct drm_svm_stub_vm_stats, userptrs) ==
	       STATS_SIZE_3 + 6 * sizeof(__u64), "version 4 has other counters");
_Static_assert(sizeof(struct drm_svm_stub_vm_stats) ==
	       offsetof(struct drm_svm_stub_vm_stats, userptrs) + 10 * sizeof(__u64),
	       "version 6 has other counters");
_Static_assert(sizeof(struct drm_svm_stub_hold) == 24 &&
	       offsetof(struct drm_svm_stub_hold, addr) == 8 &&
	       offsetof(struct drm_svm_stub_hold, waiting) == 16, "HOLD has another layout");

static void test_old_caller(const void *arg)
{
	const unsigned long request = _IOC(_IOC_READ | _IOC_WRITE, DRM_IOCTL_BASE,
					   DRM_COMMAND_BASE + DRM_SVM_STUB_VM_STATS, STATS_SIZE_3);
	struct drm_svm_stub_vm_stats stats, now;
	__u32 *memory = map_small(SIZE);
	struct gpu gpu;

	(void)arg;
	open_vm(&gpu, &ram);
	EXPECT_OK(gpu_fill(&gpu, memory, 1, SIZE));
	memset(&stats, 0xee, sizeof(stats));
	stats.vm_id = gpu.vm;
	stats.flags = 0;
	EXPECT_OK(stub_ioctl(gpu.fd, request, &stats));
	now = stats_of(&gpu);
	EXPECT_EQ(stats.gpu_faults, now.gpu_faults);
	EXPECT_EQ(stats.ranges, 1);
	EXPECT(stats.ranges_made == 0xeeeeeeeeeeeeeeee &&
	       stats.collection_retries == 0xeeeeeeeeeeeeeeee, "an old caller's memory has changed");
	EXPECT_EQ(now.ranges_made, 1);
	EXPECT_EQ(now.collections, 1);
	EXPECT_EQ(now.ranges_removed, 0);
}

static const struct ktap_case cases[] = {
	{ "one page", test_one_page, NULL },
	{ "one at a time", test_one_at_a_time, NULL },
	{ "ends by itself", test_ends_by_itself, NULL },
	{ "VM_STATS of an old caller", test_old_caller, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
