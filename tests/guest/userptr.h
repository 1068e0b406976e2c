/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Memory of the process in the bind window, and what has to be seen there. */
#ifndef TESTS_GUEST_USERPTR_H
#define TESTS_GUEST_USERPTR_H

#include "bind.h"

/*
 * Many cases run twice: in a VM whose GPU faults for what the CPU has changed, and in one
 * whose programs are stopped until that is put right. The argument of such a case points
 * to one of these.
 */
extern const bool faults, stops;

#define IN_BOTH(title, function)                       \
	{ "faults: " title, function, &faults },       \
	{ "stops: " title, function, &stops }

/* A window in a VM of the variant's kind; @flags are more of VM_CREATE. */
void open_userptr_window(struct window *w, const void *variant, __u32 flags);

/* Memory from the address @memory on; @more is further flags of the op. */
#define USERPTR_OP(w, page, pages, memory, more)                            \
	((struct drm_svm_stub_bind_op){                                     \
		.op = DRM_SVM_STUB_BIND_MAP, .addr = AT(w, page),           \
		.range = (pages) * PAGE, .bo_offset = (uintptr_t)(memory),  \
		.flags = DRM_SVM_STUB_BIND_USERPTR | (more) })

/* A page of the window as what programs take. */
static inline __u32 *at(const struct window *w, size_t page)
{
	return gpu_at(AT(w, page));
}

/*
 * What is taken away again and again, for as long as that may take, is -EBUSY, and nothing has
 * changed: then once more. So is what comes back from VRAM too slowly.
 */
#define EXPECT_DONE(call)						\
	do {								\
		int err__, busy__ = 0;					\
									\
		while ((err__ = (call)) == -EBUSY && busy__++ < 100)	\
			;						\
		ktap_check_err(__FILE__, __LINE__, #call, err__, 0);	\
	} while (0)

/* Binds @size bytes of @memory at @page of the window. */
void bind_userptr(struct window *w, size_t page, const void *memory, size_t size, __u32 more);

/*
 * What either side writes the other one reads, in all of the span that is bound at @page:
 * @memory has any data before, and other data behind.
 */
#define expect_both_ways(...) check_both_ways(__FILE__, __LINE__, __VA_ARGS__)
void check_both_ways(const char *file, int line, struct window *w, size_t page, __u32 *memory,
		     size_t size);

/* The GPU finds no memory, or may not write. */
#define expect_no_memory(w, page) expect_no_access(__FILE__, __LINE__, w, page, -EFAULT)
#define expect_no_write(w, page, err) check_no_write(__FILE__, __LINE__, w, page, err)
void expect_no_access(const char *file, int line, struct window *w, size_t page, int err);
void check_no_write(const char *file, int line, struct window *w, size_t page, int err);

/* debugfs: into each @every-th mapping of pages comes an invalidation. Skips without it. */
void inject_invalidations(unsigned int every);
/* For the end of a program, whatever has become of its cases. */
void stop_injecting(void);

#endif /* TESTS_GUEST_USERPTR_H */
