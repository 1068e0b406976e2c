// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Bad input to every ioctl gets the errno that the header names, and changes
 * nothing.
 *
 * The cases are a table of arguments. Each runs on a device that has work
 * behind it: a VM, memory that the GPU has mapped and partly moved. What the
 * device tells about itself, where every page is, and the data have to be the
 * same before and after.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktap.h"
#include "stub.h"

/* The memory that arguments of the table refer to, and the unmapped hole behind it. */
#define BASE 0x200000000000ull
#define SIZE MIB(4)
#define HOLE (BASE + SIZE)
#define PAGE 4096ull
#define BLOCK KIB(64)

/* Placeholders in the table for what is known only when it runs. */
#define VM 0xfff00001u /* the VM of the fixture */
#define CLOSED_VM 0xfff00002u /* one that was destroyed */
#define FOREIGN_VM 0xfff00003u /* one of another open file */
#define UNKNOWN_VM 0xfff00004u
#define BLOCKS 0xb10c0000ull /* memory for the answer of RESIDENCY */
#define MIRROR_END (1ull << 62) /* first address behind the mirror */
#define GPU_END (1ull << 63) /* first address that the GPU cannot use */

/* Addresses that no program can use, and that are multiples of a page. */
#define TOP (~0ull - PAGE + 1)
#define KERNEL 0xffff888000000000ull

struct fixture {
	struct gpu gpu;
	struct gpu other;
	__u32 closed;
	__u32 *memory;
	struct drm_svm_stub_block blocks[SIZE / BLOCK];
};

/* What must not change. */
struct state {
	struct drm_svm_stub_info info;
	struct drm_svm_stub_vm_stats stats;
	struct drm_svm_stub_block blocks[SIZE / BLOCK];
};

static void set_up(struct fixture *f)
{
	__u32 doomed;
	__u64 sum;

	memset(f, 0, sizeof(*f));
	EXPECT_OK(gpu_open(&f->gpu, 0));
	/* What the case before leaves behind would change vram_free under us. */
	gpu_wait_free(&f->gpu, 1);
	EXPECT_OK(gpu_open(&f->other, 0));
	/* Its identity must be one that the first file does not know. */
	for (int i = 0; i < 4; i++)
		EXPECT_OK(gpu_create(&f->other, 0));
	doomed = f->gpu.vm;
	if (gpu_can_migrate(&f->gpu))
		EXPECT_OK(gpu_create(&f->gpu, DRM_SVM_STUB_VM_MIGRATE_ON_FAULT));
	else
		EXPECT_OK(gpu_create(&f->gpu, 0));
	EXPECT_OK(gpu_destroy(&f->gpu, doomed));
	f->closed = doomed;

	f->memory = mmap((void *)BASE, SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	EXPECT(f->memory == (void *)BASE, "mmap at %#llx: %s", BASE, strerror(errno));
	for (size_t i = 0; i < SIZE / 4; i++)
		f->memory[i] = pattern(7, i);
	/* A part that the GPU has mapped, and one that it has not. */
	EXPECT_OK(gpu_checksum(&f->gpu, f->memory, SIZE / 2, &sum));
}

static void read_state(struct fixture *f, struct state *state)
{
	memset(state, 0, sizeof(*state));
	EXPECT_OK(gpu_info(&f->gpu, &state->info));
	EXPECT_OK(gpu_stats(&f->gpu, &state->stats));
	EXPECT_OK(gpu_residency(&f->gpu, f->memory, SIZE, BLOCK, state->blocks));
}

static void expect_same_state(struct fixture *f, const struct state *before)
{
	struct state after;

	read_state(f, &after);
	EXPECT(!memcmp(&before->info, &after.info, sizeof(after.info)), "INFO is not as it was");
	EXPECT(!memcmp(&before->stats, &after.stats, sizeof(after.stats)),
	       "VM_STATS is not as it was");
	EXPECT(!memcmp(before->blocks, after.blocks, sizeof(after.blocks)),
	       "RESIDENCY is not as it was");
	/* Last, because reading moves pages. */
	for (size_t i = 0; i < SIZE / 4; i++)
		EXPECT(f->memory[i] == pattern(7, i), "word %zu has changed", i);
}

struct bad {
	unsigned long request;
	int err;
	union {
		struct drm_svm_stub_info info;
		struct drm_svm_stub_vm_create create;
		struct drm_svm_stub_vm_destroy destroy;
		struct drm_svm_stub_exec exec;
		struct drm_svm_stub_migrate migrate;
		struct drm_svm_stub_residency residency;
		struct drm_svm_stub_vm_stats stats;
		struct drm_svm_stub_bo_create bo_create;
		struct drm_svm_stub_bo_mmap_offset bo_mmap;
		struct drm_svm_stub_vm_bind bind;
		struct drm_svm_stub_hold hold;
		struct drm_svm_stub_device_stats device_stats;
		__u64 words[64];
	};
};

/* Puts what the placeholders stand for into an argument. */
static void fill_in(struct fixture *f, struct bad *bad)
{
	/* The first member of all that have one. */
	__u32 *vm = &bad->destroy.vm_id;

	if (*vm == VM)
		*vm = f->gpu.vm;
	else if (*vm == CLOSED_VM)
		*vm = f->closed;
	else if (*vm == FOREIGN_VM)
		*vm = f->other.vm;

	for (size_t i = 1; i < sizeof(bad->words) / 8; i++) {
		__u64 *word = &bad->words[i];

		if (*word == BLOCKS)
			*word = (uintptr_t)f->blocks;
		else if (*word >= MIRROR_END - SIZE && *word <= MIRROR_END)
			*word += f->gpu.info.va_end - MIRROR_END;
		else if (*word >= GPU_END - SIZE && *word <= GPU_END)
			*word += f->gpu.info.bind_end - GPU_END;
	}
}

/* Its errno is that of a device with CAP_MIGRATE. */
static bool needs_vram(unsigned long request)
{
	return request == DRM_IOCTL_SVM_STUB_MIGRATE || request == DRM_IOCTL_SVM_STUB_DEVICE_STATS;
}

static void run_bad(const void *arg)
{
	struct bad bad = *(const struct bad *)arg;
	struct fixture f;
	struct state before;

	set_up(&f);
	if (needs_vram(bad.request) && !gpu_can_migrate(&f.gpu))
		ktap_skip("the device cannot migrate");
	fill_in(&f, &bad);
	read_state(&f, &before);
	EXPECT_ERR(stub_ioctl(f.gpu.fd, bad.request, bad.words), -bad.err);
	expect_same_state(&f, &before);
}

/* The defaults are good arguments; a case says what it makes worse. */
#pragma GCC diagnostic ignored "-Woverride-init"

#define BAD(ioc, title, number, member, ...)                                          \
	{                                                                             \
		.name = #ioc ": " title, .run = run_bad,                              \
		.arg = &(const struct bad){ .request = DRM_IOCTL_SVM_STUB_##ioc,      \
					    .err = number,                            \
					    .member = { __VA_ARGS__ } }               \
	}

#define INFO(title, err, ...) BAD(INFO, title, err, info, __VA_ARGS__)
#define CREATE(title, err, ...) BAD(VM_CREATE, title, err, create, __VA_ARGS__)
#define DESTROY(title, err, ...) BAD(VM_DESTROY, title, err, destroy, .vm_id = VM, __VA_ARGS__)
#define EXEC(title, err, ...) BAD(EXEC, title, err, exec, __VA_ARGS__)
#define MIGRATE(title, err, ...) BAD(MIGRATE, title, err, migrate, GOOD_MIGRATE, __VA_ARGS__)
#define RESIDENCY(title, err, ...) \
	BAD(RESIDENCY, title, err, residency, GOOD_RESIDENCY, __VA_ARGS__)
#define BO_CREATE(title, err, ...) BAD(BO_CREATE, title, err, bo_create, __VA_ARGS__)
#define BO_MMAP(title, err, ...) BAD(BO_MMAP_OFFSET, title, err, bo_mmap, __VA_ARGS__)
#define BIND(title, err, ...) BAD(VM_BIND, title, err, bind, .vm_id = VM, __VA_ARGS__)
#define HOLD(title, err, ...) BAD(HOLD, title, err, hold, GOOD_HOLD, __VA_ARGS__)
#define STATS(title, err, ...) BAD(VM_STATS, title, err, stats, .vm_id = VM, __VA_ARGS__)

#define DEVICE_STATS(title, err, ...) BAD(DEVICE_STATS, title, err, device_stats, __VA_ARGS__)

#define GOOD_FILL .vm_id = VM, .op = DRM_SVM_STUB_OP_FILL, .dst = BASE, .size = PAGE
#define GOOD_COPY \
	.vm_id = VM, .op = DRM_SVM_STUB_OP_COPY, .dst = BASE, .src0 = BASE + PAGE, .size = PAGE
#define GOOD_ADD                                                              \
	.vm_id = VM, .op = DRM_SVM_STUB_OP_ADD, .dst = BASE, .src0 = BASE + PAGE, \
	.src1 = BASE + 2 * PAGE, .size = PAGE
#define GOOD_CHECKSUM .vm_id = VM, .op = DRM_SVM_STUB_OP_CHECKSUM, .src0 = BASE, .size = PAGE
#define GOOD_MIGRATE .vm_id = VM, .start = BASE, .size = SIZE
#define GOOD_RESIDENCY \
	.vm_id = VM, .start = BASE, .size = SIZE, .block_size = BLOCK, .blocks = BLOCKS, \
	.num_blocks = SIZE / BLOCK
#define GOOD_HOLD .vm_id = VM, .hold = DRM_SVM_STUB_HOLD_SET, .addr = BASE

/* Without this the table would pass on a device that refuses everything. */
static void run_good(const void *arg)
{
	struct bad good[] = {
		{ .request = DRM_IOCTL_SVM_STUB_INFO },
		{ .request = DRM_IOCTL_SVM_STUB_VM_CREATE },
		{ .request = DRM_IOCTL_SVM_STUB_EXEC, .exec = { GOOD_FILL } },
		{ .request = DRM_IOCTL_SVM_STUB_EXEC, .exec = { GOOD_COPY } },
		{ .request = DRM_IOCTL_SVM_STUB_EXEC, .exec = { GOOD_ADD } },
		{ .request = DRM_IOCTL_SVM_STUB_EXEC, .exec = { GOOD_CHECKSUM } },
		{ .request = DRM_IOCTL_SVM_STUB_MIGRATE, .migrate = { GOOD_MIGRATE } },
		{ .request = DRM_IOCTL_SVM_STUB_RESIDENCY, .residency = { GOOD_RESIDENCY } },
		{ .request = DRM_IOCTL_SVM_STUB_RESIDENCY,
		  .residency = { GOOD_RESIDENCY, .flags = DRM_SVM_STUB_RESIDENCY_GPU_WRITE } },
		{ .request = DRM_IOCTL_SVM_STUB_VM_STATS, .stats = { .vm_id = VM } },
		{ .request = DRM_IOCTL_SVM_STUB_BO_CREATE, .bo_create = { .size = PAGE } },
		{ .request = DRM_IOCTL_SVM_STUB_BO_MMAP_OFFSET, .bo_mmap = { .handle = 1 } },
		{ .request = DRM_IOCTL_SVM_STUB_VM_BIND, .bind = { .vm_id = VM } },
		{ .request = DRM_IOCTL_SVM_STUB_HOLD, .hold = { GOOD_HOLD } },
		{ .request = DRM_IOCTL_SVM_STUB_DEVICE_STATS },
		{ .request = DRM_IOCTL_SVM_STUB_VM_DESTROY, .destroy = { .vm_id = VM } },
	};
	struct fixture f;

	(void)arg;
	set_up(&f);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		int err;

		if (needs_vram(good[i].request) && !gpu_can_migrate(&f.gpu))
			continue;
		fill_in(&f, &good[i]);
		err = stub_ioctl(f.gpu.fd, good[i].request, good[i].words);
		EXPECT(!err, "argument set %zu: %s", i, strerror(-err));
	}
}

static const unsigned long all_requests[] = {
	DRM_IOCTL_SVM_STUB_INFO,	DRM_IOCTL_SVM_STUB_VM_CREATE,
	DRM_IOCTL_SVM_STUB_VM_DESTROY,	DRM_IOCTL_SVM_STUB_EXEC,
	DRM_IOCTL_SVM_STUB_MIGRATE,	DRM_IOCTL_SVM_STUB_RESIDENCY,
	DRM_IOCTL_SVM_STUB_VM_STATS,	DRM_IOCTL_SVM_STUB_BO_CREATE,
	DRM_IOCTL_SVM_STUB_BO_MMAP_OFFSET, DRM_IOCTL_SVM_STUB_VM_BIND,
	DRM_IOCTL_SVM_STUB_HOLD,	DRM_IOCTL_SVM_STUB_DEVICE_STATS,
};

#define NUM_REQUESTS (ARRAY_SIZE(all_requests))

static void run_argument_pointer(const void *arg)
{
	const __u64 address = *(const __u64 *)arg;
	struct fixture f;
	struct state before;

	set_up(&f);
	read_state(&f, &before);
	for (size_t i = 0; i < NUM_REQUESTS; i++)
		EXPECT_ERR(stub_ioctl(f.gpu.fd, all_requests[i], (void *)address), -EFAULT);
	expect_same_state(&f, &before);
}

#define POINTER(title, value)                                           \
	{                                                               \
		.name = "every ioctl: argument " title,                 \
		.run = run_argument_pointer, .arg = &(const __u64){ value } \
	}

/* A reader's answer that has no place to go is an error. */
static void run_read_only_argument(const void *arg)
{
	static const unsigned long requests[] = {
		DRM_IOCTL_SVM_STUB_INFO,
		DRM_IOCTL_SVM_STUB_VM_STATS,
	};
	struct fixture f;
	struct state before;

	(void)arg;
	set_up(&f);
	read_state(&f, &before);
	for (size_t i = 0; i < 2; i++) {
		struct bad *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		EXPECT(page != MAP_FAILED, "mmap: %s", strerror(errno));
		*page = (struct bad){ .request = requests[i], .stats.vm_id = i ? VM : 0 };
		fill_in(&f, page);
		mprotect(page, PAGE, PROT_READ);
		EXPECT_ERR(stub_ioctl(f.gpu.fd, requests[i], page->words), -EFAULT);
	}
	expect_same_state(&f, &before);
}

static void run_residency_pointer(const void *arg)
{
	struct fixture f;
	struct state before;
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	/* The first of the blocks fits, and the rest does not. */
	struct drm_svm_stub_block *cut;

	(void)arg;
	EXPECT(pages != MAP_FAILED, "mmap: %s", strerror(errno));
	cut = (struct drm_svm_stub_block *)(pages + PAGE) - 1;
	munmap(pages + PAGE, PAGE);
	set_up(&f);
	read_state(&f, &before);
	EXPECT_ERR(gpu_residency(&f.gpu, f.memory, SIZE, BLOCK, NULL), -EFAULT);
	EXPECT_ERR(gpu_residency(&f.gpu, f.memory, SIZE, BLOCK, (void *)KERNEL), -EFAULT);
	EXPECT_ERR(gpu_residency(&f.gpu, f.memory, SIZE, BLOCK, (void *)HOLE), -EFAULT);
	EXPECT_ERR(gpu_residency(&f.gpu, f.memory, SIZE, BLOCK, cut), -EFAULT);
	EXPECT_OK(gpu_residency(&f.gpu, f.memory, SIZE, SIZE, cut));
	mprotect(pages, PAGE, PROT_READ);
	EXPECT_ERR(gpu_residency(&f.gpu, f.memory, SIZE, SIZE, cut), -EFAULT);
	expect_same_state(&f, &before);
}

static void run_unknown_number(const void *arg)
{
	struct fixture f;
	struct state before;
	char argument[256] = {};

	(void)arg;
	set_up(&f);
	read_state(&f, &before);
	for (unsigned int nr = DRM_COMMAND_BASE + DRM_SVM_STUB_DEVICE_STATS + 1;
	     nr < DRM_COMMAND_END; nr++) {
		unsigned long request = _IOC(_IOC_READ | _IOC_WRITE, DRM_IOCTL_BASE, nr, 64);

		EXPECT_ERR(stub_ioctl(f.gpu.fd, request, argument), -EINVAL);
	}
	expect_same_state(&f, &before);
}

static void run_render_node(const void *arg)
{
	struct fixture f;
	struct state before;

	(void)arg;
	set_up(&f);
	read_state(&f, &before);
	EXPECT_ERR(stub_ioctl(f.gpu.fd, DRM_IOCTL_SET_MASTER, NULL), -EACCES);
	expect_same_state(&f, &before);
}

/* The primary node of a render driver takes the same ioctls. */
static void run_primary_node(const void *arg)
{
	struct gpu gpu = { .fd = stub_open("card") };
	__u32 word = 5;

	(void)arg;
	if (gpu.fd == -ENODEV)
		ktap_skip("the device has no primary node");
	EXPECT(gpu.fd >= 0, "open: %s", strerror(-gpu.fd));
	EXPECT_OK(gpu_info(&gpu, &gpu.info));
	EXPECT_EQ(gpu.info.uapi_version, DRM_SVM_STUB_UAPI_VERSION);
	EXPECT_OK(gpu_create(&gpu, 0));
	EXPECT_OK(gpu_fill(&gpu, &word, 6, 4));
	EXPECT_EQ(word, 6);
}

/* DRM reads what is missing from a short argument as zero. */
static void run_short_argument(const void *arg)
{
	struct drm_svm_stub_exec exec = { GOOD_FILL };
	struct drm_svm_stub_info info;
	struct fixture f;
	struct state before;

	(void)arg;
	set_up(&f);
	read_state(&f, &before);

	memset(&info, 0xee, sizeof(info));
	info.flags = 0;
	EXPECT_OK(stub_ioctl(f.gpu.fd, _IOC(_IOC_READ | _IOC_WRITE, DRM_IOCTL_BASE,
					    DRM_COMMAND_BASE + DRM_SVM_STUB_INFO, 8), &info));
	EXPECT_EQ(info.uapi_version, DRM_SVM_STUB_UAPI_VERSION);
	EXPECT_EQ(info.capabilities, 0xeeeeeeee);

	/* Without its size a program has none. */
	exec.vm_id = f.gpu.vm;
	EXPECT_ERR(stub_ioctl(f.gpu.fd,
			      _IOC(_IOC_READ | _IOC_WRITE, DRM_IOCTL_BASE,
				   DRM_COMMAND_BASE + DRM_SVM_STUB_EXEC,
				   offsetof(struct drm_svm_stub_exec, size)),
			      &exec), -EINVAL);
	/* Nor has a VM that was not named a name. */
	EXPECT_ERR(stub_ioctl(f.gpu.fd, _IOC(_IOC_NONE, DRM_IOCTL_BASE,
					     DRM_COMMAND_BASE + DRM_SVM_STUB_VM_DESTROY, 0), NULL),
		   -ENOENT);
	expect_same_state(&f, &before);
}

/* The argument of a future header may be longer; what is not known is left. */
static void run_long_argument(const void *arg)
{
	struct {
		struct drm_svm_stub_info info;
		__u64 more;
	} longer = { .more = 0x1122334455667788 };
	struct fixture f;

	(void)arg;
	set_up(&f);
	EXPECT_OK(stub_ioctl(f.gpu.fd, _IOC(_IOC_READ | _IOC_WRITE, DRM_IOCTL_BASE,
					    DRM_COMMAND_BASE + DRM_SVM_STUB_INFO, sizeof(longer)),
			     &longer));
	EXPECT_EQ(longer.info.vram_size, f.gpu.info.vram_size);
	EXPECT_EQ(longer.more, 0x1122334455667788);
}

static void run_info(const void *arg)
{
	struct gpu gpu;

	(void)arg;
	EXPECT_OK(gpu_open(&gpu, 0));
	EXPECT_EQ(gpu.info.uapi_version, DRM_SVM_STUB_UAPI_VERSION);
	EXPECT_EQ(gpu.info.capabilities & ~(DRM_SVM_STUB_CAP_MIGRATE | DRM_SVM_STUB_CAP_PEER |
					    DRM_SVM_STUB_CAP_HUGE), 0);
	EXPECT_EQ(gpu.info.page_size, sysconf(_SC_PAGESIZE));
	EXPECT(gpu.info.vram_free <= gpu.info.vram_size, "more VRAM is free than there is");
	EXPECT(!gpu_can_migrate(&gpu) || gpu.info.vram_size, "there is no VRAM");
	EXPECT(gpu.info.va_start <= BASE && HOLE < gpu.info.va_end,
	       "the GPU's addresses, %#llx to %#llx, are not those of a process",
	       gpu.info.va_start, gpu.info.va_end);
}

static void run_vm_ids(const void *arg)
{
	struct gpu gpu;
	__u32 ids[64];

	(void)arg;
	EXPECT_OK(gpu_open(&gpu, 0));
	for (int i = 0; i < 64; i++) {
		EXPECT_OK(gpu_create(&gpu, 0));
		ids[i] = gpu.vm;
		EXPECT(ids[i], "a VM is called 0");
		for (int j = 0; j < i; j++)
			EXPECT(ids[i] != ids[j], "two VMs are called %u", ids[i]);
	}
	for (int i = 0; i < 64; i++)
		EXPECT_OK(gpu_destroy(&gpu, ids[i]));
	for (int i = 0; i < 64; i++)
		EXPECT_ERR(gpu_destroy(&gpu, ids[i]), -ENOENT);
}

/* The file comes along with fork(), the memory behind its VMs does not. */
static void run_other_process(const void *arg)
{
	struct fixture f;
	struct state before;
	pid_t pid;
	char c = 0;
	int go[2];

	(void)arg;
	set_up(&f);
	EXPECT(!pipe(go), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		struct drm_svm_stub_vm_stats stats;
		struct drm_svm_stub_block block;
		__u64 sum;

		EXPECT(read(go[0], &c, 1) == 1, "read: %s", strerror(errno));
		EXPECT_ERR(gpu_fill(&f.gpu, f.memory, 1, SIZE), -EACCES);
		EXPECT_ERR(gpu_checksum(&f.gpu, f.memory, SIZE, &sum), -EACCES);
		EXPECT_ERR(gpu_migrate(&f.gpu, f.memory, SIZE, 0), -EACCES);
		EXPECT_ERR(gpu_residency(&f.gpu, f.memory, SIZE, SIZE, &block), -EACCES);
		EXPECT_OK(gpu_stats(&f.gpu, &stats));
		ktap_done();
	}
	/* Not before fork(), which is an event and takes the memory from the GPU. */
	read_state(&f, &before);
	EXPECT(write(go[1], &c, 1) == 1, "write: %s", strerror(errno));
	ktap_join(pid);
	expect_same_state(&f, &before);
}

/* How many lines of the kernel's log have the text in them. */
static int count_log_lines(const char *text)
{
	int count = 0, fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	char line[8192];
	ssize_t size;

	EXPECT(fd >= 0, "/dev/kmsg: %s", strerror(errno));
	/* One record a read; -EPIPE: some were overwritten meanwhile. */
	while ((size = read(fd, line, sizeof(line) - 1)) > 0 || (size < 0 && errno == EPIPE)) {
		if (size < 0)
			continue;
		line[size] = '\0';
		count += strstr(line, text) != NULL;
	}
	close(fd);
	return count;
}

static void run_no_migration(const void *arg)
{
	struct fixture f;
	struct state before;
	struct drm_svm_stub_vm_create create = { .flags = DRM_SVM_STUB_VM_MIGRATE_ON_FAULT };
	struct bo bo;

	(void)arg;
	set_up(&f);
	if (gpu_can_migrate(&f.gpu))
		ktap_skip("the device can migrate");
	read_state(&f, &before);
	EXPECT_ERR(stub_ioctl(f.gpu.fd, DRM_IOCTL_SVM_STUB_VM_CREATE, &create), -EOPNOTSUPP);
	EXPECT_ERR(gpu_migrate(&f.gpu, f.memory, SIZE, 0), -EOPNOTSUPP);
	EXPECT_ERR(gpu_migrate(&f.gpu, f.memory, SIZE, DRM_SVM_STUB_MIGRATE_TO_RAM), -EOPNOTSUPP);
	EXPECT_ERR(bo_create(&f.gpu, &bo, PAGE, DRM_SVM_STUB_BO_VRAM), -EOPNOTSUPP);
	EXPECT_EQ(f.gpu.info.vram_free, f.gpu.info.vram_size);
	expect_same_state(&f, &before);
	/* If it is for the kernel: the library says so once, whatever is asked of it. */
	EXPECT_EQ(count_log_lines("drm_svm: this kernel has no CONFIG_DEVICE_PRIVATE"),
		  count_log_lines("this kernel cannot migrate to VRAM") ? 1 : 0);
}

#define HIGH_BIT (1u << 31)

static const struct ktap_case cases[] = {
	{ "good arguments are good", run_good, NULL },
	{ "INFO: answers", run_info, NULL },
	{ "VM_CREATE: identities are unique", run_vm_ids, NULL },
	{ "another process's VM", run_other_process, NULL },
	{ "no migration on a device that cannot", run_no_migration, NULL },

	POINTER("NULL", 0),
	POINTER("in the kernel", KERNEL),
	POINTER("unmapped", HOLE),
	POINTER("cut off", HOLE - 4),
	{ "INFO, VM_STATS: argument read-only", run_read_only_argument, NULL },
	{ "RESIDENCY: bad pointers to the blocks", run_residency_pointer, NULL },
	{ "unknown ioctl numbers", run_unknown_number, NULL },
	{ "render node refuses ioctls of a display", run_render_node, NULL },
	{ "primary node", run_primary_node, NULL },
	{ "short argument", run_short_argument, NULL },
	{ "long argument", run_long_argument, NULL },

	INFO("unknown flag", EINVAL, .flags = 1),
	INFO("unknown high flag", EINVAL, .flags = HIGH_BIT),

	CREATE("unknown flag", EINVAL, .flags = 4),
	CREATE("unknown high flag", EINVAL, .flags = HIGH_BIT),

	DESTROY("pad", EINVAL, .pad = 1),
	DESTROY("VM 0", ENOENT, .vm_id = 0),
	DESTROY("unknown VM", ENOENT, .vm_id = UNKNOWN_VM),
	DESTROY("closed VM", ENOENT, .vm_id = CLOSED_VM),
	DESTROY("VM of another file", ENOENT, .vm_id = FOREIGN_VM),

	EXEC("VM 0", ENOENT, GOOD_FILL, .vm_id = 0),
	EXEC("unknown VM", ENOENT, GOOD_FILL, .vm_id = UNKNOWN_VM),
	EXEC("closed VM", ENOENT, GOOD_FILL, .vm_id = CLOSED_VM),
	EXEC("VM of another file", ENOENT, GOOD_FILL, .vm_id = FOREIGN_VM),
	EXEC("unknown op", EINVAL, GOOD_ADD, .op = 4),
	EXEC("op with a high bit", EINVAL, GOOD_FILL, .op = HIGH_BIT),
	EXEC("unknown flag", EINVAL, GOOD_FILL, .flags = 1),
	EXEC("unknown high flag", EINVAL, GOOD_FILL, .flags = HIGH_BIT),
	EXEC("pad", EINVAL, GOOD_FILL, .pad = 1),
	EXEC("FILL of size 0", EINVAL, GOOD_FILL, .size = 0),
	EXEC("CHECKSUM of size 0", EINVAL, GOOD_CHECKSUM, .size = 0),
	EXEC("size not of words", EINVAL, GOOD_FILL, .size = 6),
	EXEC("dst not a word", EINVAL, GOOD_FILL, .dst = BASE + 2),
	EXEC("src0 not a word", EINVAL, GOOD_COPY, .src0 = BASE + PAGE + 1),
	EXEC("src1 not a word", EINVAL, GOOD_ADD, .src1 = BASE + 2 * PAGE + 3),
	EXEC("FILL with src0", EINVAL, GOOD_FILL, .src0 = BASE + PAGE),
	EXEC("FILL with src1", EINVAL, GOOD_FILL, .src1 = BASE + PAGE),
	EXEC("COPY with src1", EINVAL, GOOD_COPY, .src1 = BASE + 2 * PAGE),
	EXEC("COPY with value", EINVAL, GOOD_COPY, .value = 1),
	EXEC("ADD with value", EINVAL, GOOD_ADD, .value = 1),
	EXEC("CHECKSUM with dst", EINVAL, GOOD_CHECKSUM, .dst = BASE + PAGE),
	EXEC("CHECKSUM with src1", EINVAL, GOOD_CHECKSUM, .src1 = BASE + PAGE),
	EXEC("CHECKSUM with value", EINVAL, GOOD_CHECKSUM, .value = 1),
	EXEC("dst overlaps the end of src0", EINVAL, GOOD_COPY, .dst = BASE + 2 * PAGE - 4),
	EXEC("dst overlaps the start of src0", EINVAL, GOOD_COPY, .dst = BASE + 4),
	EXEC("dst overlaps the end of src1", EINVAL, GOOD_ADD, .dst = BASE + 3 * PAGE - 4),
	EXEC("dst overlaps the start of src1", EINVAL, GOOD_ADD, .src1 = BASE + PAGE - 4),
	EXEC("dst overflows", ERANGE, GOOD_FILL, .dst = TOP, .size = 2 * PAGE),
	EXEC("src0 overflows", ERANGE, GOOD_COPY, .src0 = TOP, .size = 2 * PAGE),
	EXEC("src1 overflows", ERANGE, GOOD_ADD, .src1 = TOP, .size = 2 * PAGE),
	EXEC("size overflows", ERANGE, GOOD_FILL, .size = ~3ull),
	EXEC("dst ends beyond the GPU's addresses", ERANGE, GOOD_FILL, .dst = GPU_END - PAGE + 4),
	EXEC("src0 ends beyond the GPU's addresses", ERANGE, GOOD_COPY, .src0 = GPU_END - PAGE + 4),
	EXEC("src1 ends beyond the GPU's addresses", ERANGE, GOOD_ADD, .src1 = GPU_END - PAGE + 4),
	EXEC("dst beyond the GPU's addresses", ERANGE, GOOD_FILL, .dst = GPU_END),
	EXEC("dst half in the mirror", ERANGE, GOOD_FILL, .dst = MIRROR_END - PAGE + 4),
	EXEC("src0 half in the mirror", ERANGE, GOOD_COPY, .src0 = MIRROR_END - 4),
	EXEC("dst in the empty bind window", EFAULT, GOOD_FILL, .dst = MIRROR_END),
	EXEC("src0 in the empty bind window", EFAULT, GOOD_CHECKSUM, .src0 = GPU_END - PAGE),
	EXEC("dst in the kernel", ERANGE, GOOD_FILL, .dst = KERNEL),
	EXEC("dst unmapped", EFAULT, GOOD_FILL, .dst = HOLE),

	MIGRATE("VM 0", ENOENT, .vm_id = 0),
	MIGRATE("unknown VM", ENOENT, .vm_id = UNKNOWN_VM),
	MIGRATE("closed VM", ENOENT, .vm_id = CLOSED_VM),
	MIGRATE("VM of another file", ENOENT, .vm_id = FOREIGN_VM),
	MIGRATE("unknown flag", EINVAL, .flags = 4),
	MIGRATE("unknown high flag", EINVAL, .flags = HIGH_BIT),
	MIGRATE("start not aligned", EINVAL, .start = BASE + 4),
	MIGRATE("size not aligned", EINVAL, .size = SIZE - 4),
	MIGRATE("size 0", EINVAL, .size = 0),
	MIGRATE("overflows", ERANGE, .start = TOP, .size = 2 * PAGE),
	MIGRATE("size overflows", ERANGE, .size = TOP),
	MIGRATE("ends beyond the mirror", ERANGE, .start = MIRROR_END - PAGE,
		.size = 2 * PAGE),
	MIGRATE("to RAM beyond the mirror", ERANGE, .start = MIRROR_END, .size = PAGE,
		.flags = DRM_SVM_STUB_MIGRATE_TO_RAM),
	MIGRATE("no memory", ENOENT, .start = HOLE),
	MIGRATE("no memory, to RAM", ENOENT, .start = HOLE, .flags = DRM_SVM_STUB_MIGRATE_TO_RAM),

	RESIDENCY("VM 0", ENOENT, .vm_id = 0),
	RESIDENCY("unknown VM", ENOENT, .vm_id = UNKNOWN_VM),
	RESIDENCY("closed VM", ENOENT, .vm_id = CLOSED_VM),
	RESIDENCY("VM of another file", ENOENT, .vm_id = FOREIGN_VM),
	RESIDENCY("unknown flag", EINVAL, .flags = 4),
	RESIDENCY("unknown high flag", EINVAL, .flags = HIGH_BIT),
	RESIDENCY("pad", EINVAL, .pad = 1),
	RESIDENCY("start not aligned", EINVAL, .start = BASE + 4),
	RESIDENCY("size not aligned", EINVAL, .size = SIZE - 4),
	RESIDENCY("size 0", EINVAL, .size = 0, .num_blocks = 0),
	RESIDENCY("block size 0", EINVAL, .block_size = 0),
	RESIDENCY("block size not aligned", EINVAL, .block_size = BLOCK - 4),
	RESIDENCY("block size of 2^32 pages", EINVAL, .start = 0, .size = PAGE << 32,
		  .block_size = PAGE << 32, .num_blocks = 1),
	RESIDENCY("one block too few", EINVAL, .num_blocks = SIZE / BLOCK - 1),
	RESIDENCY("one block too many", EINVAL, .num_blocks = SIZE / BLOCK + 1),
	RESIDENCY("not rounded up", EINVAL, .size = SIZE - PAGE, .num_blocks = SIZE / BLOCK - 1),
	RESIDENCY("65537 blocks", EINVAL, .size = 65537ull * PAGE, .block_size = PAGE,
		  .num_blocks = 65537),
	RESIDENCY("overflows", ERANGE, .start = TOP, .size = 2 * PAGE, .block_size = 2 * PAGE,
		  .num_blocks = 1),
	RESIDENCY("ends beyond the mirror", ERANGE, .start = MIRROR_END - PAGE,
		  .size = 2 * PAGE, .block_size = 2 * PAGE, .num_blocks = 1),

	STATS("VM 0", ENOENT, .vm_id = 0),
	STATS("unknown VM", ENOENT, .vm_id = UNKNOWN_VM),
	STATS("closed VM", ENOENT, .vm_id = CLOSED_VM),
	STATS("VM of another file", ENOENT, .vm_id = FOREIGN_VM),
	STATS("unknown flag", EINVAL, .flags = 1),
	STATS("unknown high flag", EINVAL, .flags = HIGH_BIT),

	DEVICE_STATS("unknown flag", EINVAL, .flags = 1),
	DEVICE_STATS("padding", EINVAL, .pad = 1),
	BO_CREATE("unknown flag", EINVAL, .size = PAGE, .flags = 2),
	BO_CREATE("unknown high flag", EINVAL, .size = PAGE, .flags = HIGH_BIT),
	BO_CREATE("size 0", EINVAL, .size = 0),
	BO_CREATE("size not aligned", EINVAL, .size = PAGE + 4),

	BO_MMAP("pad", EINVAL, .pad = 1),
	BO_MMAP("handle 0", ENOENT, .handle = 0),
	BO_MMAP("unknown handle", ENOENT, .handle = 7),

	BIND("VM 0", ENOENT, .vm_id = 0),
	BIND("unknown VM", ENOENT, .vm_id = UNKNOWN_VM),
	BIND("closed VM", ENOENT, .vm_id = CLOSED_VM),
	BIND("VM of another file", ENOENT, .vm_id = FOREIGN_VM),

	HOLD("VM 0", ENOENT, .vm_id = 0),
	HOLD("unknown VM", ENOENT, .vm_id = UNKNOWN_VM),
	HOLD("closed VM", ENOENT, .vm_id = CLOSED_VM),
	HOLD("VM of another file", ENOENT, .vm_id = FOREIGN_VM),
	HOLD("unknown action", EINVAL, .hold = 3),
	HOLD("pad", EINVAL, .pad = 1),
	HOLD("addr not aligned", EINVAL, .addr = BASE + 4),
	HOLD("addr beyond the mirror", ERANGE, .addr = MIRROR_END),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
