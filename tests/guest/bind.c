// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "bind.h"

#include <errno.h>
#include <string.h>

/* Behind the pages of the tests, for what they must not see. */
#define SCRATCH_PAGE (2 * WINDOW_PAGES)

void open_window(struct window *w)
{
	EXPECT_OK(gpu_open(&w->gpu, 0));
	/* What the case before leaves behind would change vram_free under us. */
	gpu_wait_free(&w->gpu, 5);
	w->base = w->gpu.info.bind_start + MIB(64);
	w->seen = map(WINDOW_PAGES * PAGE);
}

void open_second_window(struct window *w, const struct window *first)
{
	*w = *first;
	EXPECT_OK(gpu_create(&w->gpu, 0));
	w->seen = map(WINDOW_PAGES * PAGE);
}

__u32 bo_flags(const struct window *w, const void *variant)
{
	const bool *in_vram = variant;

	if (!*in_vram)
		return 0;
	if (!gpu_can_migrate(&w->gpu))
		ktap_skip("the device has no VRAM");
	return DRM_SVM_STUB_BO_VRAM;
}

void make_bo(struct window *w, struct bo *bo, size_t pages, __u32 flags, __u32 seed)
{
	__u32 *data;

	EXPECT_OK(bo_create(&w->gpu, bo, pages * PAGE, flags));
	if (bo->memory) {
		write_pattern(bo->memory, bo->size, seed);
		return;
	}
	data = map(bo->size);
	write_pattern(data, bo->size, seed);
	EXPECT_OK(BIND(w, MAP_OP(w, SCRATCH_PAGE, pages, bo, 0)));
	EXPECT_OK(gpu_copy(&w->gpu, gpu_at(AT(w, SCRATCH_PAGE)), data, bo->size));
	EXPECT_OK(BIND(w, UNMAP_OP(w, SCRATCH_PAGE, pages)));
}

static void see(const char *file, int line, struct window *w, size_t page, size_t pages)
{
	/* What was there before must not pass for what is to be seen. */
	memset(w->seen, 0xee, pages * PAGE);
	ktap_check_err(file, line, "COPY",
		       gpu_copy(&w->gpu, w->seen, gpu_at(AT(w, page)), pages * PAGE), 0);
}

void check_shows(const char *file, int line, struct window *w, size_t page, size_t pages,
		 __u32 seed, size_t bo_page)
{
	see(file, line, w, page, pages);
	check_pattern(file, line, w->seen - bo_page * WORDS_PER_PAGE, bo_page * WORDS_PER_PAGE,
		      pages * PAGE, seed);
}

void check_zeros(const char *file, int line, struct window *w, size_t page, size_t pages)
{
	see(file, line, w, page, pages);
	check_words(file, line, w->seen, pages * PAGE, 0);
}

void check_nothing(const char *file, int line, struct window *w, size_t page, size_t pages)
{
	for (size_t i = page; i < page + pages; i++) {
		__u64 sum;

		ktap_check_err(file, line, "CHECKSUM",
			       gpu_checksum(&w->gpu, gpu_at(AT(w, i)), PAGE, &sum), -EFAULT);
		ktap_check_err(file, line, "FILL",
			       gpu_fill(&w->gpu, gpu_at(AT(w, i)), 1, PAGE), -EFAULT);
	}
}

struct drm_svm_stub_vm_stats window_stats(struct window *w)
{
	struct drm_svm_stub_vm_stats stats;

	EXPECT_OK(gpu_stats(&w->gpu, &stats));
	return stats;
}

int bind_async(struct gpu *gpu, __u32 in, __u32 out, const struct drm_svm_stub_bind_op *ops,
	       size_t count)
{
	struct drm_svm_stub_vm_bind bind = {
		.flags = DRM_SVM_STUB_VM_BIND_ASYNC,
		.num_ops = count,
		.ops = (uintptr_t)ops,
		.num_in_syncs = in != 0,
		.in_syncs = (uintptr_t)&in,
		.num_out_syncs = out != 0,
		.out_syncs = (uintptr_t)&out,
	};

	return gpu_vm_bind(gpu, &bind);
}

/* One page over and over, and the next op does it with another one. */
void close_gate(struct gate *gate, const struct window *w)
{
	static struct drm_svm_stub_bind_op ops[512];
	struct window other;
	struct bo bo;

	open_second_window(&other, w);
	EXPECT_OK(bo_create(&other.gpu, &bo, 2 * PAGE, 0));
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		ops[i] = REPEAT_OP(&other, 0, MIB(1024) / PAGE, &bo, i % 2, 1);
	gate->gpu = other.gpu;
	EXPECT_OK(sync_create(&gate->gpu, &gate->sync, false));
	EXPECT_OK(bind_async(&gate->gpu, 0, gate->sync, ops, ARRAY_SIZE(ops)));
	EXPECT_OK(bo_close(&gate->gpu, &bo));
	EXPECT_EQ(sync_status(&gate->gpu, gate->sync), 0);
}

void open_gate(struct gate *gate)
{
	EXPECT_EQ(sync_status(&gate->gpu, gate->sync), 0);
	EXPECT_OK(gpu_destroy(&gate->gpu, gate->gpu.vm));
	EXPECT_EQ(sync_status(&gate->gpu, gate->sync), -ECANCELED);
}
