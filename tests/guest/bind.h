/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the tests of VM_BIND share: a part of the bind window, counted in pages,
 * and what has to be seen there.
 */
#ifndef TESTS_GUEST_BIND_H
#define TESTS_GUEST_BIND_H

#include "memory.h"

/* As many pages as the tests of one window use. */
#define WINDOW_PAGES 512

struct window {
	struct gpu gpu;
	__u64 base; /* address of page 0 */
	__u32 *seen; /* memory of the process, where programs copy what they see */
};

/* A window in a VM of its own file, or another one in the same file. */
void open_window(struct window *w);
void open_second_window(struct window *w, const struct window *first);

/* Ends the case if the variant is VRAM and the device has none; else its flags. */
__u32 bo_flags(const struct window *w, const void *variant);
/* An object of @pages, of which @seed makes the data. */
void make_bo(struct window *w, struct bo *bo, size_t pages, __u32 flags, __u32 seed);

#define AT(w, page) ((w)->base + (page) * PAGE)

/* Ops. What follows the named arguments initialises further members. */
#define MAP_OP(w, page, pages, bo, bo_page, ...)                            \
	((struct drm_svm_stub_bind_op){                                     \
		.op = DRM_SVM_STUB_BIND_MAP, .addr = AT(w, page),           \
		.range = (pages) * PAGE, .handle = (bo)->handle,            \
		.bo_offset = (bo_page) * PAGE, __VA_ARGS__ })
#define REPEAT_OP(w, page, pages, bo, bo_page, repeat, ...)                 \
	MAP_OP(w, page, pages, bo, bo_page, .flags = DRM_SVM_STUB_BIND_REPEAT, \
	       .repeat_range = (repeat) * PAGE, __VA_ARGS__)
#define SPARSE_OP(w, page, pages, more)                                     \
	((struct drm_svm_stub_bind_op){                                     \
		.op = DRM_SVM_STUB_BIND_MAP, .addr = AT(w, page),           \
		.range = (pages) * PAGE,                                    \
		.flags = DRM_SVM_STUB_BIND_SPARSE | (more) })
#define UNMAP_OP(w, page, pages)                                            \
	((struct drm_svm_stub_bind_op){                                     \
		.op = DRM_SVM_STUB_BIND_UNMAP, .addr = AT(w, page),         \
		.range = (pages) * PAGE })
#define PREFETCH_OP(w, page, pages)                                         \
	((struct drm_svm_stub_bind_op){                                     \
		.op = DRM_SVM_STUB_BIND_PREFETCH, .addr = AT(w, page),      \
		.range = (pages) * PAGE })

/* VM_BIND of the ops that follow. */
#define BIND(w, ...)                                                        \
	gpu_bind_ops(&(w)->gpu, (const struct drm_svm_stub_bind_op[]){ __VA_ARGS__ }, \
		     sizeof((const struct drm_svm_stub_bind_op[]){ __VA_ARGS__ }) / \
			     sizeof(struct drm_svm_stub_bind_op))

/* What the GPU sees: pages of an object from @bo_page on, zeros, or no memory. */
#define expect_shows(...) check_shows(__FILE__, __LINE__, __VA_ARGS__)
#define expect_zeros(...) check_zeros(__FILE__, __LINE__, __VA_ARGS__)
#define expect_nothing(...) check_nothing(__FILE__, __LINE__, __VA_ARGS__)
void check_shows(const char *file, int line, struct window *w, size_t page, size_t pages,
		 __u32 seed, size_t bo_page);
void check_zeros(const char *file, int line, struct window *w, size_t page, size_t pages);
void check_nothing(const char *file, int line, struct window *w, size_t page, size_t pages);

#define expect_mappings(w, count) EXPECT_EQ(window_stats(w).mappings, count)
struct drm_svm_stub_vm_stats window_stats(struct window *w);

/*
 * A fence that does not signal before open_gate(): of a VM_BIND of another VM
 * that takes many seconds, and ends with the VM.
 */
struct gate {
	struct gpu gpu;
	__u32 sync;
};

void close_gate(struct gate *gate, const struct window *w);
void open_gate(struct gate *gate);

/* VM_BIND with syncobjs, of which 0 is none. */
#define BIND_ASYNC(w, in, out, ...)                                         \
	bind_async(&(w)->gpu, in, out,                                      \
		   (const struct drm_svm_stub_bind_op[]){ __VA_ARGS__ },    \
		   sizeof((const struct drm_svm_stub_bind_op[]){ __VA_ARGS__ }) / \
			   sizeof(struct drm_svm_stub_bind_op))
int bind_async(struct gpu *gpu, __u32 in, __u32 out, const struct drm_svm_stub_bind_op *ops,
	       size_t count);

#endif /* TESTS_GUEST_BIND_H */
