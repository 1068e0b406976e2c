/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Scenarios: what CPU and GPU do to the memory of a process, and what must be seen
 * then. The same files run on a real kernel with the stub device (tests/guest/) and on
 * the simulation of both on the host, and have to come to the same end; so they say
 * what holds on either, and this header says what they mean.
 *
 * A file NAME.scn is lines of words; '#' begins a comment. First a comment that says
 * what the scenario is about and why; then the areas; then steps, one on a line, one
 * after the other. A step that comes out otherwise than it says fails the scenario. So
 * does VRAM that is not free again when all processes have ended.
 *
 * Areas
 *
 *	area A 16		16 pages at an address that is a multiple of 2 MiB, with
 *				at least 2 MiB of nothing before and after them: private
 *				anonymous memory that nobody has touched, in small pages
 *	area A 512 huge		the same in huge pages, where they are aligned and whole
 *	area A 16 shared	shared anonymous memory
 *	area A 16 file		a private mapping of a file whose page N is full of 1000 + N
 *	area A 16 empty		the addresses alone; `mmap` and `move` put memory there
 *
 * SPAN is an area and a part of it: "A 3" is a page, "A 0-7" are eight, "A" is all.
 *
 * Actors
 *
 * `main` is the process that the areas are in. `main2`, `main3` are further threads of
 * it, `gpu`, `gpu2` are threads that run programs on the GPU in its VM. Any other name
 * is a process that `fork` has made; it has no VM.
 *
 *	gpu			main gets a VM; GPU faults leave memory where it is
 *	gpu migrate		the same; GPU faults move memory to VRAM if that is possible
 *	gpu end			the VM goes
 *
 * What the CPU's actors do (ACTOR is main, main2, or the name of a child)
 *
 *	ACTOR: write SPAN VALUE	each word of each page gets the value
 *	ACTOR: read SPAN VALUE	each word of each page has it
 *	ACTOR: munmap SPAN
 *	ACTOR: mmap SPAN	new private anonymous memory instead of what was there
 *	ACTOR: protect SPAN none|r|rw
 *	ACTOR: dontneed SPAN	madvise(MADV_DONTNEED)
 *	ACTOR: free SPAN	madvise(MADV_FREE)
 *	ACTOR: pageout SPAN	madvise(MADV_PAGEOUT), on a machine without swap
 *	ACTOR: collapse SPAN	madvise(MADV_COLLAPSE)
 *	ACTOR: move SPAN to AREA [PAGE]
 *				mremap() to the addresses from that page of the area on
 *	ACTOR: pin AREA PAGE	holds a reference to the page, as DMA does, having read it
 *	ACTOR: unpin AREA PAGE	lets go of it, wherever the page is mapped now
 *	ACTOR: fork NAME	a child process; it inherits no pins
 *	ACTOR: wait NAME	until the child has ended; only in `together`
 *	ACTOR: exec		another program: the memory goes, the process stays
 *	ACTOR: exit		the process ends; the last of its steps
 *	main: to_vram SPAN	MIGRATE
 *	main: to_ram SPAN	MIGRATE with TO_RAM
 *
 * and the GPU's
 *
 *	gpu: write SPAN VALUE	as above, from the first page on, as far as it goes
 *	gpu: read SPAN VALUE
 *	gpu: to_vram SPAN, gpu: to_ram SPAN
 *
 * VALUE is "100": in every page; "100+": 100 in the first page, 101 in the second, and
 * so on; "any": of a read, whatever it is; "0|100+": of a read, each word one of them.
 * A number that stands alone behind an area is a value.
 *
 * At the end of such a line may be what becomes of it instead of success:
 *
 *	... fails EPERM		that error; "EPERM|EFAULT": one of them
 *	... may fail EBUSY	that error, or success
 *
 * with an errno, or SIGSEGV or SIGBUS for accesses of the CPU. What was done before it
 * failed stays done. Of a read that failed, nothing is compared.
 *
 * What is expected; the process `main` must be there and have a VM
 *
 *	expect SPAN PLACE	each page is there. PLACE: none (nothing present, nor
 *				readable by the process), ram, vram, or "ram|vram"
 *	expect SPAN gpu RIGHT	what the GPU's page table allows for each page: none, r,
 *				rw, or "none|r"
 *	expect events KIND...	the kinds of mmu notifier events that met a range since the
 *				last such line, or else since the VM was made; all of them
 *				and no other. KIND: unmap, clear, protection_vma,
 *				protection_page, soft_dirty, release, migrate, exclusive, other;
 *				"none"; "clear?": this one or not. A range is what a GPU
 *				fault maps: 2 MiB, 64 KiB or 4 KiB, the largest that is aligned
 *				and within one mapping. When a part of it is unmapped, what is
 *				left of it is a range, or two, and stays mapped, but for huge
 *				pages, which have to be split; it is there until nothing is left.
 *
 * At the same time
 *
 *	together		The lines up to `end` run at the same time: each actor its own,
 *	    gpu: loop 50	in their order, and from `loop` on 50 times. No expectation can
 *	    gpu: write A 1	stand here. A child that is forked here runs its lines of the
 *	    main: read A any	block, of which `exit` is the last, each time it is forked;
 *	end			its parent has to `wait` for it.
 *
 * Kernels that differ
 *
 *	[<6.12] expect A ram	The line is for these kernels only: "6.1" (this one), "<6.12",
 *				">=6.12". The comment beside it says why. Not before `area`,
 *				`gpu`, `fork`, `exit`, `exec`, `together` and `end`.
 */
#ifndef TESTS_SCENARIOS_SCENARIO_H
#define TESTS_SCENARIOS_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bounds: of a file that is larger the parser says so. */
#define SCN_MAX_STEPS 128
#define SCN_MAX_AREAS 6
#define SCN_MAX_ACTORS 8
#define SCN_MAX_PAGES 2048
#define SCN_MAX_VALUES 4
#define SCN_MAX_LOOPS 1000
#define SCN_MAX_NAME 16
#define SCN_MAX_ERROR 160

/* The value of page 0 of an area's file. */
#define SCN_FILE_VALUE 1000u

enum scn_kind {
	SCN_SMALL,
	SCN_HUGE,
	SCN_SHARED,
	SCN_FILE,
	SCN_EMPTY,
};

struct scn_area {
	char name[SCN_MAX_NAME];
	enum scn_kind kind;
	unsigned int pages;
};

/* The first actor is always main. */
enum scn_role {
	SCN_THREAD, /* of main; main itself among them */
	SCN_GPU,
	SCN_CHILD,
};

struct scn_actor {
	char name[SCN_MAX_NAME];
	enum scn_role role;
};

enum scn_verb {
	/* of nobody; main's process carries them out */
	SCN_VM_CREATE, /* set: SCN_VM_MIGRATE or 0 */
	SCN_VM_DESTROY,
	SCN_EXPECT_PLACE,  /* set: SCN_NONE, ... */
	SCN_EXPECT_GPU,	   /* set: SCN_GPU_NONE, ... */
	SCN_EXPECT_EVENTS, /* set, maybe: SCN_EVENT(...) */
	/* of an actor */
	SCN_READ,
	SCN_WRITE,
	SCN_MUNMAP,
	SCN_MMAP,
	SCN_PROTECT, /* set: SCN_PROT_READ, ... */
	SCN_DONTNEED,
	SCN_MADV_FREE,
	SCN_PAGEOUT,
	SCN_COLLAPSE,
	SCN_MOVE, /* to_area, to_first */
	SCN_PIN,
	SCN_UNPIN,
	SCN_FORK, /* child */
	SCN_WAIT, /* child */
	SCN_EXEC,
	SCN_EXIT,
	SCN_TO_VRAM,
	SCN_TO_RAM,
};

#define SCN_VM_MIGRATE 1u

#define SCN_PROT_READ 1u
#define SCN_PROT_WRITE 2u

/* Where a page is; a set of them is one of several. */
#define SCN_NONE 1u
#define SCN_RAM 2u
#define SCN_VRAM 4u

/* What the GPU's page table allows. */
#define SCN_GPU_NONE 1u
#define SCN_GPU_R 2u
#define SCN_GPU_RW 4u

/* Kinds of mmu notifier events, in the order of enum drm_svm_stub_event. */
enum scn_event {
	SCN_EVENT_UNMAP,
	SCN_EVENT_CLEAR,
	SCN_EVENT_PROTECTION_VMA,
	SCN_EVENT_PROTECTION_PAGE,
	SCN_EVENT_SOFT_DIRTY,
	SCN_EVENT_RELEASE,
	SCN_EVENT_MIGRATE,
	SCN_EVENT_EXCLUSIVE,
	SCN_EVENT_OTHER,
	SCN_EVENTS,
};

#define SCN_EVENT(kind) (1u << (kind))

/* What can become of a step; a set is SCN_OUTCOME(...) of each. */
enum scn_outcome {
	SCN_OK,
	SCN_EACCES,
	SCN_EAGAIN,
	SCN_EBUSY,
	SCN_EFAULT,
	SCN_EINVAL,
	SCN_ENOENT,
	SCN_ENOMEM,
	SCN_ENOSPC,
	SCN_EPERM,
	SCN_SIGBUS,
	SCN_SIGSEGV,
	SCN_OUTCOMES,
};

#define SCN_OUTCOME(outcome) (1u << (outcome))

/* The word that pages are full of. */
struct scn_value {
	uint32_t base;
	bool counts; /* one more in each page */
};

struct scn_step {
	unsigned int line; /* in the file */
	enum scn_verb verb;
	unsigned int actor; /* 0, main, for those of nobody */
	unsigned int child; /* the actor that is forked or waited for */
	unsigned int area;
	unsigned int first; /* page of the area */
	unsigned int count; /* of pages */
	unsigned int to_area;
	unsigned int to_first;
	unsigned int set; /* what the verb says */
	unsigned int maybe; /* events that may be there or not */
	struct scn_value values[SCN_MAX_VALUES];
	unsigned int num_values; /* 0: any */
	unsigned int outcomes; /* those that are right */
	unsigned int block; /* number of the `together`; 0: outside */
	unsigned int loops; /* how often it is done */
	/* Kernels that it is for, as SCN_KERNEL(6, 12); from @since on, and before @before. */
	unsigned int since;
	unsigned int before;
};

#define SCN_KERNEL(major, minor) ((major) * 1000u + (minor))

struct scn {
	struct scn_area areas[SCN_MAX_AREAS];
	unsigned int num_areas;
	struct scn_actor actors[SCN_MAX_ACTORS];
	unsigned int num_actors;
	struct scn_step steps[SCN_MAX_STEPS];
	unsigned int num_steps;
	bool needs_vram; /* it cannot run on a device without */
	char error[SCN_MAX_ERROR]; /* "NAME.scn:LINE: what is wrong", if parsing failed */
};

/*
 * Parses @text of @size bytes, which is file @name. Fails if a step cannot be done, too:
 * an actor that is not there, a span beyond its area. Returns false, and @scn->error
 * says why.
 */
bool scn_parse(struct scn *scn, const char *name, const char *text, size_t size);

static inline bool scn_step_applies(const struct scn_step *step, unsigned int kernel)
{
	return step->since <= kernel && kernel < step->before;
}

/* The value in page @page (from 0) of a step's span. */
static inline uint32_t scn_value_at(const struct scn_value *value, unsigned int page)
{
	return value->base + (value->counts ? page : 0);
}

/* Whether a step that reads expects @word in page @page of its span. */
bool scn_expects(const struct scn_step *step, unsigned int page, uint32_t word);

/* What sets are of. */
enum scn_names {
	SCN_PLACES,
	SCN_RIGHTS,
	SCN_EVENT_KINDS,
	SCN_OUTCOME_NAMES,
};

/* Writes a set as it stands in the files, "none|ram", and returns @buffer. */
const char *scn_set_text(char *buffer, size_t size, enum scn_names names, unsigned int set);

#ifdef __cplusplus
}
#endif

#endif /* TESTS_SCENARIOS_SCENARIO_H */
