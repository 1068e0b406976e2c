// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Buffer objects: how long they live, who sees them, and how many there can be. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bind.h"

static void test_bo_life(const void *arg)
{
	struct drm_svm_stub_info info;
	struct window w;
	struct bo bo;

	open_window(&w);
	EXPECT_OK(bo_create(&w.gpu, &bo, 16 * PAGE, bo_flags(&w, arg)));
	EXPECT(bo.handle, "the handle is 0");
	EXPECT_OK(gpu_info(&w.gpu, &info));
	EXPECT_EQ(w.gpu.info.vram_free - info.vram_free, bo.memory ? 0 : bo.size);

	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 16, &bo, 0)));
	expect_zeros(&w, 0, 16);
	EXPECT_OK(gpu_fill(&w.gpu, gpu_at(w.base), 3, bo.size));
	expect_gpu_sum(&w.gpu, gpu_at(w.base), bo.size, 3 * bo.size / 4);

	/* The mapping keeps the memory, and nothing else does. */
	EXPECT_OK(bo_close(&w.gpu, &bo));
	EXPECT_ERR(bo_close(&w.gpu, &bo), -EINVAL);
	expect_gpu_sum(&w.gpu, gpu_at(w.base), bo.size, 3 * bo.size / 4);
	EXPECT_ERR(BIND(&w, MAP_OP(&w, 16, 1, &bo, 0)), -ENOENT);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, 16)));
	EXPECT_OK(gpu_info(&w.gpu, &info));
	EXPECT_EQ(info.vram_free, w.gpu.info.vram_free);
}

static void test_bo_mmap(const void *arg)
{
	struct window w;
	struct bo bo;
	__u32 *again, *part;
	__u64 offset;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 8, 0, 5);
	EXPECT_OK(bo_offset(&w.gpu, &bo, &offset));
	again = mmap(NULL, bo.size, PROT_READ, MAP_SHARED, w.gpu.fd, offset);
	EXPECT(again != MAP_FAILED, "mmap: %s", strerror(errno));
	/* Split by the kernel, it must not forget which page is which. */
	EXPECT(!munmap(again, 3 * PAGE), "munmap: %s", strerror(errno));
	part = again + 3 * WORDS_PER_PAGE;
	expect_pattern_from(again, part - again, 5 * PAGE, 5);

	EXPECT(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, w.gpu.fd, offset) == MAP_FAILED,
	       "a private mapping is possible");
	EXPECT(mmap(NULL, bo.size + PAGE, PROT_READ, MAP_SHARED, w.gpu.fd, offset) == MAP_FAILED,
	       "a mapping may be larger than the object");
	EXPECT(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, w.gpu.fd, 0) == MAP_FAILED,
	       "there is something at offset 0");

	/* The CPU's mapping keeps the memory, too. */
	EXPECT_OK(bo_close(&w.gpu, &bo));
	expect_pattern(bo.memory, bo.size, 5);
	bo.memory[0] = 6;
	expect_pattern_from(again, part - again, 5 * PAGE, 5);
	EXPECT(close(w.gpu.fd) == 0, "close: %s", strerror(errno));
	EXPECT_EQ(bo.memory[0], 6);
}

/* Both see what the other one writes. */
static void test_cpu_and_gpu(const void *arg)
{
	__u32 *memory = map(8 * PAGE);
	struct window w;
	struct bo bo;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 8, 0, 1);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 8, &bo, 0)));
	expect_gpu_reads(&w.gpu, gpu_at(w.base), bo.size, 1);
	EXPECT_OK(gpu_fill(&w.gpu, gpu_at(AT(&w, 2)), 9, PAGE));
	expect_words(bo.memory + 2 * WORDS_PER_PAGE, PAGE, 9);
	write_pattern(bo.memory, bo.size, 2);

	/* The mirror and the window, in one program. */
	write_pattern(memory, 8 * PAGE, 3);
	EXPECT_OK(gpu_add(&w.gpu, gpu_at(w.base), memory, gpu_at(w.base), 8 * PAGE));
	for (size_t i = 0; i < bo.size / 4; i++)
		EXPECT_EQ(bo.memory[i], pattern(2, i) + pattern(3, i));
	EXPECT_OK(gpu_copy(&w.gpu, memory, gpu_at(AT(&w, 1)), PAGE));
	EXPECT(!memcmp(memory, bo.memory + WORDS_PER_PAGE, PAGE), "the copy is not the same");
	/* Programs stop where the window ends. */
	EXPECT_ERR(gpu_fill(&w.gpu, gpu_at(AT(&w, 7)), 4, 2 * PAGE), -EFAULT);
	expect_words(bo.memory + 7 * WORDS_PER_PAGE, PAGE, 4);
}

static void test_two_vms(const void *arg)
{
	struct window one, two;
	struct bo bo;

	open_window(&one);
	open_second_window(&two, &one);
	make_bo(&one, &bo, 8, bo_flags(&one, arg), 1);
	EXPECT_OK(BIND(&one, MAP_OP(&one, 0, 8, &bo, 0)));
	/* Twice in one, and not where the other one has it. */
	EXPECT_OK(BIND(&two, MAP_OP(&two, 4, 8, &bo, 0), MAP_OP(&two, 12, 4, &bo, 4)));
	expect_shows(&two, 4, 8, 1, 0);
	EXPECT_OK(gpu_fill(&one.gpu, gpu_at(AT(&one, 5)), 8, PAGE));
	expect_gpu_sum(&two.gpu, gpu_at(AT(&two, 9)), PAGE, 8 * WORDS_PER_PAGE);
	expect_gpu_sum(&two.gpu, gpu_at(AT(&two, 13)), PAGE, 8 * WORDS_PER_PAGE);
	EXPECT_OK(bo_close(&one.gpu, &bo));
	EXPECT_OK(gpu_destroy(&one.gpu, one.gpu.vm));
	expect_shows(&two, 4, 5, 1, 0);
	EXPECT_OK(BIND(&two, UNMAP_OP(&two, 4, 8)));
	expect_shows(&two, 12, 1, 1, 4);
	EXPECT_OK(gpu_destroy(&two.gpu, two.gpu.vm));
	EXPECT_OK(gpu_wait_free(&one.gpu, 10));
}

static void test_vram_exhausted(const void *arg)
{
	struct drm_svm_stub_info info;
	const size_t size = MIB(16);
	struct bo bos[64], more;
	size_t count = 0;
	struct window w;
	int err;

	open_window(&w);
	bo_flags(&w, arg);
	while (!(err = bo_create(&w.gpu, &bos[count], size, DRM_SVM_STUB_BO_VRAM)) && ++count < 64)
		;
	EXPECT_ERR(err, -ENOSPC);
	EXPECT_OK(gpu_info(&w.gpu, &info));
	EXPECT(info.vram_free < size, "%llu bytes are free", info.vram_free);
	EXPECT_ERR(bo_create(&w.gpu, &more, info.vram_size + PAGE, DRM_SVM_STUB_BO_VRAM), -ENOSPC);
	/* Not a page more, and not a page less. */
	EXPECT_ERR(bo_create(&w.gpu, &more, info.vram_free + PAGE, DRM_SVM_STUB_BO_VRAM), -ENOSPC);
	EXPECT_OK(bo_close(&w.gpu, &bos[1]));
	EXPECT_OK(bo_create(&w.gpu, &bos[1], size, DRM_SVM_STUB_BO_VRAM));
	/* What was in it is not there any more, and it is where it was: in a row. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 512, &bos[1], 0)));
	expect_zeros(&w, 0, 512);
	for (size_t i = 0; i < count; i++)
		EXPECT_OK(bo_close(&w.gpu, &bos[i]));
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, 512)));
	EXPECT_OK(gpu_wait_free(&w.gpu, 0));
}

static void test_too_large(const void *arg)
{
	static const __u64 sizes[] = {
		-PAGE, 1ull << 62, 1ull << 52, 1ull << 46, 1ull << 44, 1ull << 43, 1ull << 40,
	};
	struct window w;
	struct bo bo;

	(void)arg;
	open_window(&w);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT_ERR(bo_create(&w.gpu, &bo, sizes[i], 0), -ENOMEM);
		if (gpu_can_migrate(&w.gpu))
			EXPECT_ERR(bo_create(&w.gpu, &bo, sizes[i], DRM_SVM_STUB_BO_VRAM), -ENOSPC);
	}
}

static const struct ktap_case cases[] = {
	IN_RAM("an object's life", test_bo_life),
	IN_VRAM("an object's life", test_bo_life),
	{ "the CPU's mappings of an object", test_bo_mmap, NULL },
	{ "CPU and GPU share an object", test_cpu_and_gpu, NULL },
	IN_RAM("two VMs share an object", test_two_vms),
	IN_VRAM("two VMs share an object", test_two_vms),
	IN_VRAM("no more than there is", test_vram_exhausted),
	{ "too large for the machine", test_too_large, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
