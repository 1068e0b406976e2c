// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The GPU: runs a program in steps that touch one page of each operand. Every
 * step translates its addresses by the page table, as hardware would, and
 * raises a page fault where that fails. In the bind window that is an error, but
 * where memory of the process is behind it.
 *
 * The end of a program is a completion and not a dma_fence: a fence promises
 * to signal soon, whatever happens to memory; a program that faults waits for
 * memory, which may wait for fences.
 */
#include <linux/completion.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_drv.h"
#include "stub_userptr.h"
#include "stub_vm.h"

/*
 * A step that makes no progress for so long fails. It has had so many tries
 * then, too: a machine under load may need the time for a single one.
 */
#define STUB_STEP_PATIENCE	(10 * HZ)
#define STUB_STEP_TRIES		64

enum { STUB_DST, STUB_SRC0, STUB_SRC1, STUB_NUM_OPERANDS };

/**
 * struct stub_program - A program that runs
 * @ref: one of the GPU, one of who waits for the end
 * @work: in the GPU's queue
 * @done: the end
 * @cancel: to be stopped
 * @vm: the VM, referenced
 * @op: DRM_SVM_STUB_OP_*
 * @value: of DRM_SVM_STUB_OP_FILL
 * @operand: addresses, zero if there is none
 * @size: bytes of each operand
 * @result: of DRM_SVM_STUB_OP_CHECKSUM, at @done
 * @faults: faults served, at @done
 * @err: how it went, at @done
 */
struct stub_program {
	struct kref ref;
	struct work_struct work;
	struct completion done;
	bool cancel;
	struct stub_vm *vm;
	u32 op;
	u32 value;
	u64 operand[STUB_NUM_OPERANDS];
	u64 size;
	u64 result;
	u32 faults;
	int err;
};

static void stub_program_free(struct kref *ref)
{
	struct stub_program *program = container_of(ref, struct stub_program, ref);

	stub_vm_put(program->vm);
	kfree(program);
}

static void stub_program_put(struct stub_program *program)
{
	kref_put(&program->ref, stub_program_free);
}

/* Bytes from @offset on that lie in one page of each operand. */
static u32 stub_step_size(const struct stub_program *program, u64 offset)
{
	u64 size = min_t(u64, program->size - offset, PAGE_SIZE);
	unsigned int i;

	for (i = 0; i < STUB_NUM_OPERANDS; i++)
		if (program->operand[i])
			size = min_t(u64, size, PAGE_SIZE -
				     offset_in_page(program->operand[i] + offset));

	return size;
}

/* The VRAM that an entry leads to. The entry keeps it, as long as it is in use. */
static struct stub_vram *stub_step_vram(struct stub_program *program, u64 entry)
{
	if (entry & STUB_PTE_PEER)
		return stub_vram_peer(entry & STUB_PTE_ADDR);

	return &program->vm->stub->vram;
}

static void *stub_step_map(struct stub_program *program, u64 entry, u64 va)
{
	struct stub_device *stub = program->vm->stub;
	u64 addr = entry & STUB_PTE_ADDR;
	void *mem;

	if (entry & STUB_PTE_SPARSE)
		mem = kmap_local_page(ZERO_PAGE(0));
	else if (entry & STUB_PTE_VRAM)
		mem = stub_vram_mem(stub_step_vram(program, entry), addr & STUB_PEER_OFFSET);
	else
		mem = kmap_local_page(stub_dma_to_page(stub->drm.dev, addr));

	return mem + offset_in_page(va);
}

static void stub_step_unmap(u64 entry, void *mem)
{
	if (!(entry & STUB_PTE_VRAM))
		kunmap_local(mem);
}

static void stub_step_compute(struct stub_program *program, void *const *mem, u32 size)
{
	u32 *dst = mem[STUB_DST];
	const u32 *src0 = mem[STUB_SRC0], *src1 = mem[STUB_SRC1];
	u32 i, words = size / sizeof(u32);

	switch (program->op) {
	case DRM_SVM_STUB_OP_FILL:
		memset32(dst, program->value, words);
		break;
	case DRM_SVM_STUB_OP_COPY:
		/* Two addresses may be one page. */
		memmove(dst, src0, size);
		break;
	case DRM_SVM_STUB_OP_ADD:
		for (i = 0; i < words; i++)
			dst[i] = src0[i] + src1[i];
		break;
	case DRM_SVM_STUB_OP_CHECKSUM:
		for (i = 0; i < words; i++)
			program->result += src0[i];
		break;
	}
}

/*
 * Looks the operands up. Returns the index of one that faults, or of one that
 * leads to memory that has gone, which sets *@dead; or -1.
 */
static int stub_step_lookup(struct stub_program *program, u64 offset, u64 *entry, bool *dead)
{
	struct stub_pt *pt = &program->vm->pt;
	int i;

	for (i = 0; i < STUB_NUM_OPERANDS; i++) {
		if (!program->operand[i])
			continue;
		entry[i] = stub_pt_entry(pt, program->operand[i] + offset);
		if (!stub_pt_allows(entry[i], i == STUB_DST))
			return i;
		*dead = entry[i] & STUB_PTE_VRAM &&
			READ_ONCE(stub_step_vram(program, entry[i])->dead);
		if (*dead)
			return i;
	}

	return -1;
}

static void stub_step_run(struct stub_program *program, u64 offset, u32 size,
			  const u64 *entry)
{
	void *mem[STUB_NUM_OPERANDS] = {};
	int i;

	for (i = 0; i < STUB_NUM_OPERANDS; i++)
		if (program->operand[i])
			mem[i] = stub_step_map(program, entry[i], program->operand[i] + offset);

	/* What is written to a sparse page vanishes. */
	if (!program->operand[STUB_DST] || !(entry[STUB_DST] & STUB_PTE_SPARSE))
		stub_step_compute(program, mem, size);

	/* Local mappings nest. */
	while (i--)
		if (program->operand[i])
			stub_step_unmap(entry[i], mem[i]);
}

/*
 * One access of the GPU: looks the operands up and works on them. 0: done. 1:
 * nothing is done, and *@fault is the index of an operand that faults. Or a
 * negative errno: memory that has gone with its device, this or another one's.
 */
static int stub_step_try(struct stub_program *program, u64 offset, u32 size, int *fault)
{
	struct stub_device *stub = program->vm->stub;
	struct stub_pt *pt = &program->vm->pt;
	u64 entry[STUB_NUM_OPERANDS] = {};
	bool dead = false;
	int idx;

	if (!drm_dev_enter(&stub->drm, &idx))
		return -ENODEV;

	/* From the lookup to the last word; an invalidation waits for this. */
	down_read(&pt->tlb_lock);
	*fault = stub_step_lookup(program, offset, entry, &dead);
	if (*fault < 0)
		stub_step_run(program, offset, size, entry);
	up_read(&pt->tlb_lock);

	drm_dev_exit(idx);

	if (dead)
		return entry[*fault] & STUB_PTE_PEER ? -EFAULT : -ENODEV;

	return *fault >= 0;
}

/*
 * A page fault. Of a buffer object there is nothing to serve: what VM_BIND has
 * put there is all there is. It may have since, though.
 */
static int stub_step_fault(struct stub_vm *vm, const struct stub_fault *fault)
{
	u64 entry;
	int err;

	if (fault->addr < STUB_BIND_START)
		return stub_fault_serve(vm, fault);

	entry = stub_pt_entry(&vm->pt, fault->addr);
	if (stub_pt_allows(entry, fault->write))
		return -EAGAIN;

	err = stub_userptr_fault(vm, fault);
	if (err == -ENOENT)
		err = entry & STUB_PTE_VALID ? -EPERM : -EFAULT;

	return err;
}

static int stub_program_step(struct stub_program *program, u64 offset, u32 size)
{
	unsigned long deadline = jiffies + STUB_STEP_PATIENCE;
	unsigned int tried[STUB_NUM_OPERANDS] = {};
	struct stub_fault fault = { .cancel = &program->cancel };
	unsigned int tries = 0;
	int operand, err;

	for (;;) {
		if (READ_ONCE(program->cancel))
			return -EINTR;
		cond_resched();

		err = stub_step_try(program, offset, size, &operand);
		if (err <= 0)
			return err;
		if (++tries > STUB_STEP_TRIES && time_after(jiffies, deadline))
			return -EBUSY;

		fault.addr = program->operand[operand] + offset;
		fault.write = operand == STUB_DST;
		/* Moving the memory once has to do, or operands chase each other. */
		fault.migrate = !tried[operand]++;
		err = stub_step_fault(program->vm, &fault);
		if (!err)
			program->faults++;
		else if (err != -EAGAIN)
			return err;
	}
}

/*
 * A GPU that cannot fault finds all there, or as much as there was in one moment: it is
 * stopped where more has gone.
 */
static int stub_program_begin(struct stub_program *program)
{
	struct stub_vm *vm = program->vm;
	int err;

	if (!vm->bind.no_faults)
		return 0;
	err = stub_verdict(vm, 0, stub_userptr_make_good(vm));

	return err == -EAGAIN ? 0 : err;
}

static void stub_program_work(struct work_struct *work)
{
	struct stub_program *program = container_of(work, struct stub_program, work);
	struct mem_cgroup *memcg = set_active_memcg(program->vm->memcg);
	u64 offset;
	u32 size;

	/* Whatever a fault allocates is charged to who made the VM. */
	program->err = stub_program_begin(program);
	for (offset = 0; offset < program->size && !program->err; offset += size) {
		size = stub_step_size(program, offset);
		program->err = stub_program_step(program, offset, size);
	}

	set_active_memcg(memcg);
	complete(&program->done);
	stub_vm_end_program(program->vm);
	stub_program_put(program);
}

/**
 * stub_engine_exec() - Runs a program and waits for its end
 * @vm: the VM
 * @args: the program, checked; receives the results
 *
 * When the caller is killed the program is stopped and left behind: it may be
 * waiting for memory, which in turn may be waiting for the caller to be gone.
 * It has references to all that it uses.
 *
 * Context: may sleep.
 * Return: 0, -ENOENT if the VM has been closed, -ENODEV if the device has gone,
 * or another errno as the ioctl says.
 */
int stub_engine_exec(struct stub_vm *vm, struct drm_svm_stub_exec *args)
{
	struct stub_program *program;
	int err;

	program = kzalloc(sizeof(*program), GFP_KERNEL_ACCOUNT);
	if (!program)
		return -ENOMEM;
	/* Of a device that has gone, too: all of its VMs have been closed. */
	if (!stub_vm_begin_program(vm)) {
		kfree(program);
		return stub_vm_closed_error(vm);
	}

	kref_init(&program->ref);
	kref_get(&program->ref);	/* the GPU's */
	INIT_WORK(&program->work, stub_program_work);
	init_completion(&program->done);
	kref_get(&vm->ref);
	program->vm = vm;
	program->op = args->op;
	program->value = args->value;
	program->operand[STUB_DST] = args->dst;
	program->operand[STUB_SRC0] = args->src0;
	program->operand[STUB_SRC1] = args->src1;
	program->size = args->size;
	queue_work(stub_queues.gpu, &program->work);

	err = wait_for_completion_killable(&program->done);
	if (err) {
		WRITE_ONCE(program->cancel, true);
		wake_up_all(&vm->wait);
		err = -EINTR;
	} else {
		err = program->err;
	}
	if (!err) {
		args->result = program->result;
		args->faults = program->faults;
	}
	stub_program_put(program);

	return err;
}
