// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The parser of scenarios refuses what is wrong, and says where and what. Needs no device.
 * What is right it shows on the scenarios themselves.
 */
#include <string.h>

#include "ktap.h"
#include "scenario.h"
#include "stub.h"

struct bad {
	const char *text;
	const char *error; /* behind "bad.scn:" */
};

static struct scn scn;

static void run_bad(const void *arg)
{
	const struct bad *bad = arg;
	const char *error = scn.error + strlen("bad.scn:");

	EXPECT(!scn_parse(&scn, "bad.scn", bad->text, strlen(bad->text)), "it was accepted");
	EXPECT(!strncmp(scn.error, "bad.scn:", strlen("bad.scn:")) && !strcmp(error, bad->error),
	       "the error is '%s'", scn.error);
}

static const struct scn_step *parse_step(const char *text)
{
	EXPECT(scn_parse(&scn, "good.scn", text, strlen(text)), "%s", scn.error);
	return &scn.steps[scn.num_steps - 1];
}

/* What the steps come to that the scenarios' success says little of. */
static void run_steps(const void *arg)
{
	const struct scn_step *step;

	(void)arg;
	step = parse_step("area A 16\nmain: write A 5\n");
	EXPECT(step->line == 2 && step->verb == SCN_WRITE && !step->first && step->count == 16 &&
	       step->num_values == 1 && step->values[0].base == 5 && !step->values[0].counts,
	       "a value without a page");
	step = parse_step("area A 16\nmain: read A 5 7+|9");
	EXPECT(step->first == 5 && step->count == 1 && step->num_values == 2, "a page and values");
	EXPECT(scn_expects(step, 3, 10) && scn_expects(step, 3, 9) && !scn_expects(step, 3, 7) &&
	       !scn_expects(step, 3, 8), "values that are expected");
	step = parse_step("area A 16\nmain: read A any");
	EXPECT(scn_expects(step, 0, 12345), "any value");
	EXPECT_EQ(step->outcomes, SCN_OUTCOME(SCN_OK));
	EXPECT(!scn.needs_vram, "a CPU that needs VRAM");
	step = parse_step("area A 16\ngpu\ngpu: write A 0-3 1 may fail EBUSY|EPERM");
	EXPECT_EQ(step->outcomes, SCN_OUTCOME(SCN_OK) | SCN_OUTCOME(SCN_EBUSY) |
				  SCN_OUTCOME(SCN_EPERM));
	step = parse_step("area A 4\narea B 9\nmain: move A 1-2 to B 7");
	EXPECT(step->first == 1 && step->count == 2 && step->to_area == 1 && step->to_first == 7,
	       "a move");
	step = parse_step("area A 4\ngpu\nexpect events unmap clear?");
	EXPECT(step->set == SCN_EVENT(SCN_EVENT_UNMAP) && step->maybe == SCN_EVENT(SCN_EVENT_CLEAR),
	       "events");
	step = parse_step("area A 4\ngpu\nexpect A vram");
	EXPECT(scn.needs_vram && step->set == SCN_VRAM, "a place");
}

static void run_kernels(const void *arg)
{
	const unsigned int before = SCN_KERNEL(6, 1), this = SCN_KERNEL(6, 12);
	const unsigned int after = SCN_KERNEL(7, 3);
	const struct scn_step *step;

	(void)arg;
	step = parse_step("area A 4\nmain: write A 1");
	EXPECT(scn_step_applies(step, before) && scn_step_applies(step, after), "any kernel");
	step = parse_step("area A 4\n[6.12] main: write A 1");
	EXPECT(!scn_step_applies(step, before) && scn_step_applies(step, this) &&
	       !scn_step_applies(step, after), "this kernel");
	step = parse_step("area A 4\n[<6.12] main: write A 1");
	EXPECT(scn_step_applies(step, before) && !scn_step_applies(step, this), "before");
	step = parse_step("area A 4\n[>=6.12] main: write A 1");
	EXPECT(!scn_step_applies(step, before) && scn_step_applies(step, this) &&
	       scn_step_applies(step, after), "since");
}

static void run_blocks(const void *arg)
{
	const struct scn_step *step;

	(void)arg;
	step = parse_step("area A 4\ngpu\n"
			  "together\nmain: write A 1\nmain: loop 5\nmain: fork kid\n"
			  "kid: read A 1\nkid: exit\nmain: wait kid\ngpu: read A 1\nend\n"
			  "main: fork kid\nkid: exit\nmain: exit");
	EXPECT_EQ(step->block, 0);
	EXPECT_EQ(scn.num_steps, 10);
	EXPECT_EQ(scn.num_actors, 3);
	step = &scn.steps[1];
	EXPECT(step->block == 1 && step->loops == 1, "the first step of the block");
	EXPECT(step[1].verb == SCN_FORK && step[1].loops == 5 && step[1].child == 1, "the loop");
	EXPECT(step[2].actor == 1 && step[2].loops == 1, "the child");
	EXPECT(step[5].actor == 2 && step[5].block == 1 && step[5].loops == 1, "the GPU");
	EXPECT(!step[6].block, "the step behind the block");
}

static void run_set_text(const void *arg)
{
	char text[64], small[8];

	(void)arg;
	scn_set_text(text, sizeof(text), SCN_PLACES, SCN_NONE | SCN_VRAM);
	EXPECT(!strcmp(text, "none|vram"), "'%s'", text);
	scn_set_text(text, sizeof(text), SCN_EVENT_KINDS, SCN_EVENT(SCN_EVENT_OTHER));
	EXPECT(!strcmp(text, "other"), "'%s'", text);
	scn_set_text(text, sizeof(text), SCN_OUTCOME_NAMES, SCN_OUTCOME(SCN_SIGSEGV));
	EXPECT(!strcmp(text, "SIGSEGV"), "'%s'", text);
	scn_set_text(small, sizeof(small), SCN_PLACES, SCN_NONE | SCN_RAM | SCN_VRAM);
	EXPECT(strlen(small) < sizeof(small), "it is longer than its buffer");
}

/* No text makes the parser do anything but accept or refuse; sanitizers would say more. */
static void run_noise(const void *arg)
{
	static const char *const words[] = {
		"area", "A", "16", "huge", "\n", "\n", "\n", "gpu", "migrate", "end", "main:",
		"gpu:", "kid:", "write", "read", "0-3", "5", "100+", "any", "fork", "kid", "wait",
		"exit",
		"exec", "together", "loop", "expect", "vram", "events", "unmap?", "fails", "EBUSY",
		"[6.1]", "[", "4294967296", "-", "|", "#", ":", "move", "to", "protect", "r", "pin",
	};

	(void)arg;
	for (int round = 0; round < 2000; round++) {
		char text[512] = "area A 16\ngpu\n";

		while (strlen(text) < sizeof(text) - 16) {
			strcat(text, words[ktap_random() % ARRAY_SIZE(words)]);
			strcat(text, " ");
		}
		/* Cut off anywhere. */
		scn_parse(&scn, "noise.scn", text, ktap_random() % strlen(text));
	}
}

#define BAD(title, text, error) \
	{ "refuses " title, run_bad, &(const struct bad){ text, error } }

#define A "area A 16\n"
#define VM A "gpu\n"
#define TOGETHER VM "together\n"

static const struct ktap_case cases[] = {
	{ "steps", run_steps, NULL },
	{ "kernels", run_kernels, NULL },
	{ "blocks", run_blocks, NULL },
	{ "names of sets", run_set_text, NULL },
	{ "noise", run_noise, NULL },

	BAD("nothing", "# nothing\n", "1: there are no steps"),
	BAD("an unknown line", A "foo",
	    "2: an actor and a colon, or what else begins a line, is expected, not 'foo'"),
	BAD("a word of 40 characters", A "main: 0123456789012345678901234567890123456789",
	    "2: a word of 40 characters"),
	BAD("25 words", "a a a a a a a a a a a a a a a a a a a a a a a a a",
	    "1: more than 24 words"),

	BAD("a small name of an area", "area a 16",
	    "1: a name that begins with a capital letter is expected, not 'a'"),
	BAD("an area twice", A "area A 16", "2: there is an area A already"),
	BAD("an area of no page", "area A 0",
	    "1: a number of pages from 1 to 2048 is expected, not '0'"),
	BAD("an area too large", "area A 2049",
	    "1: a number of pages from 1 to 2048 is expected, not '2049'"),
	BAD("an unknown kind of area", "area A 1 big",
	    "1: huge, shared, file or empty is expected, not 'big'"),
	BAD("an area after a step", A "gpu\narea B 1", "3: areas come before steps"),
	BAD("an unknown area", A "main: write B 1", "2: an area is expected, not 'B'"),

	BAD("a page beyond its area", A "main: write A 16 1",
	    "2: a page or a span of A, as 0-15, is expected, not '16'"),
	BAD("a span beyond its area", A "main: munmap A 8-16",
	    "2: a page or a span of A, as 0-15, is expected, not '8-16'"),
	BAD("a span backwards", A "main: munmap A 8-7",
	    "2: a page or a span of A, as 0-15, is expected, not '8-7'"),
	BAD("a span to pin", A "main: pin A 0-1", "2: one page is expected"),
	BAD("a move beyond the area", A "area F 4\nmain: move A 0-3 to F 1",
	    "3: that is beyond F, which has 4 pages"),
	BAD("a move without 'to'", A "main: move A 0-3", "2: 'to' is expected"),

	BAD("no value", A "main: write A", "2: a value is expected"),
	BAD("a value that is a word", A "main: write A x", "2: a value is expected, not 'x'"),
	BAD("a value of 33 bits", A "main: write A 4294967296",
	    "2: a value is expected, not '4294967296'"),
	BAD("two values to write", A "main: write A 1|2", "2: a value is expected, not '1|2'"),
	BAD("any value to write", A "main: write A any", "2: a value is expected, not 'any'"),
	BAD("five values", A "main: read A 1|2|3|4|5", "2: more than 4 values"),
	BAD("a word too many", A "main: write A 1 2 3", "2: '3' is one word too many"),
	BAD("unknown rights", A "main: protect A w", "2: none, r or rw is expected, not 'w'"),

	BAD("an unknown actor", A "kid: read A 1", "2: there is no actor 'kid'"),
	BAD("an unknown verb", A "main: jump A", "2: main cannot 'jump'"),
	BAD("a verb of the CPU", VM "gpu: munmap A", "3: gpu cannot 'munmap'"),
	BAD("a verb of main", VM "main: fork kid\nkid: to_vram A", "4: kid cannot 'to_vram'"),
	BAD("a GPU without a VM", A "gpu: read A 1", "2: there is no VM"),
	BAD("a second VM", VM "gpu", "3: there is a VM already"),
	BAD("the end of no VM", A "gpu end", "2: there is no VM"),
	BAD("a migration without a VM", A "main: to_vram A", "2: there is no VM"),
	BAD("an actor that has gone", A "main: fork kid\nkid: exit\nkid: read A 1",
	    "4: kid is not there"),
	BAD("threads of main that has gone", A "main: fork kid\nmain: exit\nmain2: read A 1",
	    "4: main2 is not there"),
	BAD("a VM of main that has gone", VM "main: fork kid\nmain: exit\nexpect A ram",
	    "5: there is no VM"),
	BAD("another program that reads", A "main: exec\nmain: read A 1",
	    "3: main is another program, which can only exit"),
	BAD("a thread that ends main", A "main2: exit", "2: main does this for all of its threads"),
	BAD("a child twice", A "main: fork kid\nmain: fork kid", "3: there is a kid already"),
	BAD("a child called main2", A "main: fork main2",
	    "2: a name for a process is expected, not 'main2'"),
	BAD("a child called Kid", A "main: fork Kid",
	    "2: an actor's name is expected, not 'Kid'"),
	BAD("nine actors",
	    A "main: fork a\nmain: fork b\nmain: fork c\nmain: fork d\n"
	      "main: fork e\nmain: fork f\nmain: fork g\nmain: fork h",
	    "9: more than 8 actors"),

	BAD("no errno", A "main: munmap A fails", "2: an errno or a signal is expected"),
	BAD("an unknown errno", A "main: munmap A fails EPIPE",
	    "2: an errno or a signal is expected, not 'EPIPE'"),
	BAD("failing with success", A "main: munmap A fails success",
	    "2: this fails with an errno"),
	BAD("a signal to a system call", A "main: munmap A fails SIGSEGV",
	    "2: this fails with an errno"),
	BAD("an errno to an access", A "main: read A any fails EFAULT",
	    "2: this fails with a signal"),
	BAD("a fork that fails", A "main: fork kid fails EAGAIN",
	    "2: 'fails' is one word too many"),
	BAD("'may' alone", A "main: munmap A may", "2: 'fail' is expected"),

	BAD("an expectation without a VM", A "expect A ram", "2: there is no VM"),
	BAD("an unknown place", VM "expect A disk", "3: none, ram or vram is expected, not 'disk'"),
	BAD("an unknown right", VM "expect A gpu x", "3: none, r or rw is expected, not 'x'"),
	BAD("no event", VM "expect events", "3: a kind of event is expected"),
	BAD("an unknown event", VM "expect events unmap foo",
	    "3: a kind of event is expected, not 'foo'"),
	BAD("an unknown kernel", A "[linux] main: write A 1",
	    "2: [6.1], [<6.1] or [>=6.1] is expected, not '[linux]'"),
	BAD("a fork for some kernels", A "[6.1] main: fork kid", "2: 'fork' is for all kernels"),
	BAD("a VM for some kernels", A "[6.1] gpu",
	    "2: an actor and a colon, or what else begins a line, is expected, not 'gpu'"),

	BAD("a block in a block", TOGETHER "together", "4: a `together` has no other in it"),
	BAD("a block without an end", TOGETHER "main: write A 1", "4: a `together` has no `end`"),
	BAD("an end of no block", VM "end", "3: there is no `together`"),
	BAD("an expectation in a block", TOGETHER "expect A ram",
	    "4: nothing can be expected before `end`"),
	BAD("a VM in a block", TOGETHER "gpu end", "4: not in a `together`"),
	BAD("a loop outside", VM "main: loop 5",
	    "3: one `loop` of an actor in a `together`, and not here"),
	BAD("a loop in a loop", TOGETHER "main: loop 5\nmain: loop 5",
	    "5: one `loop` of an actor in a `together`, and not here"),
	BAD("a loop of one", TOGETHER "main: loop 1",
	    "4: a number of rounds from 2 to 1000 is expected, not '1'"),
	BAD("an exit in a loop", TOGETHER "main: loop 5\nmain: exit", "5: not here"),
	BAD("an exec in a block", TOGETHER "main: exec", "4: not here"),
	BAD("main's end while its threads run", TOGETHER "gpu: read A 0\nmain: exit\nend",
	    "6: main ends at any time, and its threads with it"),
	BAD("a child that stays", TOGETHER "main: fork kid\nmain: wait kid\nend",
	    "6: kid has to `exit`, and its parent to `wait` for it"),
	BAD("a child that nobody waits for", TOGETHER "main: fork kid\nkid: exit\nend",
	    "6: kid has to `exit`, and its parent to `wait` for it"),
	BAD("a wait for another's child",
	    TOGETHER "main: fork kid\nkid: exit\nmain2: wait kid\nend",
	    "6: a child of this actor from this block and loop is expected, not 'kid'"),
	BAD("a wait outside of the loop of the fork",
	    TOGETHER "main: fork kid\nkid: exit\nmain: loop 5\nmain: wait kid\nend",
	    "7: a child of this actor from this block and loop is expected, not 'kid'"),
	BAD("a wait for a child of before", VM "main: fork kid\ntogether\nmain: wait kid\nend",
	    "5: a child of this actor from this block and loop is expected, not 'kid'"),
	BAD("a loop of a child that is forked here", TOGETHER "main: fork kid\nkid: loop 5",
	    "5: a child that is forked here cannot loop"),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
