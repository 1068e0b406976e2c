// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The parser of scenarios: lines, actors and blocks. A line is split into words, and words
 * are taken one by one; what a verb takes is in a table. What is wrong is said once, where
 * it is found, and everything returns false from there on.
 */
#include "scenario.h"

#include <string.h>

#include "words.h"

#define ALL_KERNELS (~0u)

/* Where an actor is in its life. */
enum life {
	ABSENT,
	ALIVE,
	BORN_HERE, /* in this block, which is to see its end */
	ENDED_HERE, /* has had its last line */
	EXECED, /* only to exit */
	GONE,
};

struct parser {
	struct scn *scn;
	struct scn_words *w;
	bool has_vm;
	unsigned int num_blocks;
	unsigned int block; /* 0: outside */
	unsigned int block_first; /* its first step */
	bool main_ends; /* in this block */
	enum life life[SCN_MAX_ACTORS];
	unsigned int loops[SCN_MAX_ACTORS];
	unsigned int parent[SCN_MAX_ACTORS];
	unsigned int forks[SCN_MAX_ACTORS]; /* how often it is forked in the block */
	bool waited[SCN_MAX_ACTORS];
};

/* --- Areas ------------------------------------------------------------------- */

static bool take_kind(struct parser *p, enum scn_kind *kind)
{
	*kind = SCN_SMALL;
	if (scn_take(p->w, "huge"))
		*kind = SCN_HUGE;
	else if (scn_take(p->w, "shared"))
		*kind = SCN_SHARED;
	else if (scn_take(p->w, "file"))
		*kind = SCN_FILE;
	else if (scn_take(p->w, "empty"))
		*kind = SCN_EMPTY;
	else if (p->w->at < p->w->num)
		return scn_expected(p->w, "huge, shared, file or empty");
	return true;
}

static bool parse_area(struct parser *p)
{
	struct scn_area area = { .kind = SCN_SMALL };

	if (p->scn->num_steps || p->block)
		return scn_fail(p->w, "areas come before steps");
	if (p->scn->num_areas == SCN_MAX_AREAS)
		return scn_fail(p->w, "more than %d areas", SCN_MAX_AREAS);
	if (!scn_is_name(scn_peek(p->w), 'A', 'Z'))
		return scn_expected(p->w, "a name that begins with a capital letter");
	for (unsigned int i = 0; i < p->scn->num_areas; i++)
		if (!strcmp(p->scn->areas[i].name, scn_peek(p->w)))
			return scn_fail(p->w, "there is an area %s already", scn_peek(p->w));
	strcpy(area.name, p->w->words[p->w->at++]);
	if (!scn_take_number(p->w, "a number of pages", 1, SCN_MAX_PAGES, &area.pages) ||
	    !take_kind(p, &area.kind))
		return false;
	p->scn->areas[p->scn->num_areas++] = area;
	return true;
}

/* --- Actors ------------------------------------------------------------------ */

/* Whether @name is @base, or that and a number. */
static bool is_numbered(const char *name, const char *base)
{
	size_t length = strlen(base);

	if (strncmp(name, base, length))
		return false;
	for (name += length; *name; name++)
		if (!scn_is_digit(*name))
			return false;
	return true;
}

static int find_actor(const struct parser *p, const char *name)
{
	for (unsigned int i = 0; i < p->scn->num_actors; i++)
		if (!strcmp(p->scn->actors[i].name, name))
			return i;
	return -1;
}

static int add_actor(struct parser *p, const char *name, enum scn_role role)
{
	struct scn_actor *actor = &p->scn->actors[p->scn->num_actors];

	if (!scn_is_name(name, 'a', 'z')) {
		scn_fail(p->w, "an actor's name is expected, not '%s'", name);
		return -1;
	}
	if (p->scn->num_actors == SCN_MAX_ACTORS) {
		scn_fail(p->w, "more than %d actors", SCN_MAX_ACTORS);
		return -1;
	}
	strcpy(actor->name, name);
	actor->role = role;
	p->loops[p->scn->num_actors] = 1;
	p->life[p->scn->num_actors] = role == SCN_CHILD ? ABSENT : p->life[0];
	return p->scn->num_actors++;
}

/* Takes "NAME:". Threads are there as soon as they are named. */
static bool take_actor(struct parser *p, unsigned int *out)
{
	char name[SCN_MAX_WORD];
	int actor;

	strcpy(name, scn_peek(p->w));
	if (!*name || name[strlen(name) - 1] != ':')
		return scn_expected(p->w, "an actor and a colon, or what else begins a line,");
	name[strlen(name) - 1] = '\0';
	actor = find_actor(p, name);
	if (actor < 0 && is_numbered(name, "main"))
		actor = add_actor(p, name, SCN_THREAD);
	else if (actor < 0 && is_numbered(name, "gpu"))
		actor = add_actor(p, name, SCN_GPU);
	else if (actor < 0)
		return scn_fail(p->w, "there is no actor '%s'", name);
	if (actor < 0)
		return false;
	p->w->at++;
	*out = actor;
	return true;
}

/* The threads of main go with it. */
static void end_threads(struct parser *p, enum life life)
{
	for (unsigned int i = 0; i < p->scn->num_actors; i++)
		if (p->scn->actors[i].role != SCN_CHILD)
			p->life[i] = GONE;
	p->life[0] = life;
	p->has_vm = false;
}

static bool check_alive(struct parser *p, const struct scn_step *step)
{
	const struct scn_actor *actor = &p->scn->actors[step->actor];
	enum life life = p->life[step->actor];

	if (life == ABSENT || life == GONE || life == ENDED_HERE)
		return scn_fail(p->w, "%s is not there", actor->name);
	if (life == EXECED && step->verb != SCN_EXIT)
		return scn_fail(p->w, "%s is another program, which can only exit", actor->name);
	if (actor->role == SCN_GPU && !p->has_vm)
		return scn_fail(p->w, "there is no VM");
	return true;
}

static bool take_born(struct parser *p, struct scn_step *step)
{
	const char *name = scn_peek(p->w);
	int child = find_actor(p, name);

	if (is_numbered(name, "main") || is_numbered(name, "gpu"))
		return scn_expected(p->w, "a name for a process");
	if (child < 0)
		child = add_actor(p, name, SCN_CHILD);
	if (child < 0)
		return false;
	if (p->life[child] != ABSENT && p->life[child] != GONE)
		return scn_fail(p->w, "there is a %s already", name);
	p->life[child] = p->block ? BORN_HERE : ALIVE;
	p->parent[child] = step->actor;
	p->forks[child] = step->loops;
	p->waited[child] = false;
	step->child = child;
	p->w->at++;
	return true;
}

static bool take_waited(struct parser *p, struct scn_step *step)
{
	int child = find_actor(p, scn_peek(p->w));

	if (child < 0 || (p->life[child] != BORN_HERE && p->life[child] != ENDED_HERE) ||
	    p->parent[child] != step->actor || p->forks[child] != step->loops)
		return scn_expected(p->w, "a child of this actor from this block and loop");
	p->waited[child] = true;
	step->child = child;
	p->w->at++;
	return true;
}

/* exec and exit. */
static bool end_actor(struct parser *p, const struct scn_step *step)
{
	enum life *life = &p->life[step->actor];

	if (p->block && (step->verb == SCN_EXEC || step->loops > 1))
		return scn_fail(p->w, "not here");
	if (p->scn->actors[step->actor].role != SCN_CHILD) {
		if (step->actor)
			return scn_fail(p->w, "main does this for all of its threads");
		end_threads(p, step->verb == SCN_EXEC ? EXECED : GONE);
		p->main_ends = p->block;
	} else if (step->verb == SCN_EXEC) {
		*life = EXECED;
	} else {
		*life = *life == BORN_HERE ? ENDED_HERE : GONE;
	}
	return true;
}

/* --- Steps ------------------------------------------------------------------- */

#define CPU (1u << SCN_THREAD | 1u << SCN_CHILD)
#define GPU (1u << SCN_GPU)
#define OF_MAIN (1u << SCN_THREAD | 1u << SCN_GPU)

enum arguments {
	NOTHING,
	SPAN,
	SPAN_VALUE,
	SPAN_RIGHTS,
	SPAN_TO,
	PAGE,
	CHILD,
};

static const struct verb {
	const char *name;
	enum scn_verb verb;
	unsigned int roles;
	enum arguments takes;
	bool may_fail;
} verbs[] = {
	{ "read", SCN_READ, CPU | GPU, SPAN_VALUE, true },
	{ "write", SCN_WRITE, CPU | GPU, SPAN_VALUE, true },
	{ "munmap", SCN_MUNMAP, CPU, SPAN, true },
	{ "mmap", SCN_MMAP, CPU, SPAN, true },
	{ "protect", SCN_PROTECT, CPU, SPAN_RIGHTS, true },
	{ "dontneed", SCN_DONTNEED, CPU, SPAN, true },
	{ "free", SCN_MADV_FREE, CPU, SPAN, true },
	{ "pageout", SCN_PAGEOUT, CPU, SPAN, true },
	{ "collapse", SCN_COLLAPSE, CPU, SPAN, true },
	{ "move", SCN_MOVE, CPU, SPAN_TO, true },
	{ "pin", SCN_PIN, CPU, PAGE, true },
	{ "unpin", SCN_UNPIN, CPU, PAGE, false },
	{ "fork", SCN_FORK, CPU, CHILD, false },
	{ "wait", SCN_WAIT, CPU, CHILD, false },
	{ "exec", SCN_EXEC, CPU, NOTHING, false },
	{ "exit", SCN_EXIT, CPU, NOTHING, false },
	{ "to_vram", SCN_TO_VRAM, OF_MAIN, SPAN, true },
	{ "to_ram", SCN_TO_RAM, OF_MAIN, SPAN, true },
};

static bool add_step(struct parser *p, const struct scn_step *step)
{
	if (!scn_take_end(p->w))
		return false;
	if (p->scn->num_steps == SCN_MAX_STEPS)
		return scn_fail(p->w, "more than %d steps", SCN_MAX_STEPS);
	p->scn->steps[p->scn->num_steps++] = *step;
	return true;
}

static bool take_arguments(struct parser *p, enum arguments takes, struct scn_step *step)
{
	switch (takes) {
	case NOTHING:
		return true;
	case SPAN:
		return scn_take_span(p->w, step, false);
	case SPAN_VALUE:
		return scn_take_span(p->w, step, true) && scn_take_value(p->w, step);
	case SPAN_RIGHTS:
		return scn_take_span(p->w, step, false) && scn_take_rights(p->w, step);
	case SPAN_TO:
		return scn_take_span(p->w, step, false) && scn_take_destination(p->w, step);
	case PAGE:
		return scn_take_page(p->w, step);
	case CHILD:
		return step->verb == SCN_FORK ? take_born(p, step) : take_waited(p, step);
	}
	return false;
}

static bool parse_loop(struct parser *p, const struct scn_step *step)
{
	if (!p->block || p->loops[step->actor] != 1)
		return scn_fail(p->w, "one `loop` of an actor in a `together`, and not here");
	if (p->life[step->actor] == BORN_HERE)
		return scn_fail(p->w, "a child that is forked here cannot loop");
	if (!scn_take_number(p->w, "a number of rounds", 2, SCN_MAX_LOOPS, &p->loops[step->actor]))
		return false;
	return scn_take_end(p->w);
}

static bool parse_actor_line(struct parser *p, struct scn_step *step, bool conditional)
{
	const struct verb *verb = NULL;

	if (!take_actor(p, &step->actor))
		return false;
	if (scn_take(p->w, "loop"))
		return parse_loop(p, step);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]) && !verb; i++)
		if (verbs[i].roles & 1u << p->scn->actors[step->actor].role &&
		    scn_take(p->w, verbs[i].name))
			verb = &verbs[i];
	if (!verb)
		return scn_fail(p->w, "%s cannot '%s'", p->scn->actors[step->actor].name,
				scn_peek(p->w));
	if (conditional && !verb->may_fail)
		return scn_fail(p->w, "'%s' is for all kernels", verb->name);

	step->verb = verb->verb;
	step->loops = p->loops[step->actor];
	if (verb->verb == SCN_TO_VRAM || verb->verb == SCN_TO_RAM) {
		p->scn->needs_vram = true;
		if (!p->has_vm)
			return scn_fail(p->w, "there is no VM");
	}
	if (!check_alive(p, step) || !take_arguments(p, verb->takes, step))
		return false;
	if (verb->may_fail && !scn_take_outcomes(p->w, step))
		return false;
	if ((verb->verb == SCN_EXEC || verb->verb == SCN_EXIT) && !end_actor(p, step))
		return false;
	return add_step(p, step);
}

/* "gpu", "gpu migrate", "gpu end" */
static bool parse_gpu(struct parser *p, struct scn_step *step)
{
	if (p->block)
		return scn_fail(p->w, "not in a `together`");
	if (p->life[0] != ALIVE)
		return scn_fail(p->w, "main is not there");
	if (scn_take(p->w, "end")) {
		if (!p->has_vm)
			return scn_fail(p->w, "there is no VM");
		step->verb = SCN_VM_DESTROY;
	} else {
		if (p->has_vm)
			return scn_fail(p->w, "there is a VM already");
		step->verb = SCN_VM_CREATE;
		if (scn_take(p->w, "migrate"))
			step->set = SCN_VM_MIGRATE;
	}
	p->scn->needs_vram |= step->set == SCN_VM_MIGRATE;
	p->has_vm = step->verb == SCN_VM_CREATE;
	return add_step(p, step);
}

static bool parse_expect(struct parser *p, struct scn_step *step)
{
	if (p->block)
		return scn_fail(p->w, "nothing can be expected before `end`");
	if (!p->has_vm)
		return scn_fail(p->w, "there is no VM");
	if (scn_take(p->w, "events")) {
		step->verb = SCN_EXPECT_EVENTS;
		return scn_take_events(p->w, step) && add_step(p, step);
	}
	if (!scn_take_span(p->w, step, false))
		return false;
	if (scn_take(p->w, "gpu")) {
		step->verb = SCN_EXPECT_GPU;
		return scn_take_set(p->w, SCN_RIGHTS, &step->set) && add_step(p, step);
	}
	step->verb = SCN_EXPECT_PLACE;
	if (!scn_take_set(p->w, SCN_PLACES, &step->set))
		return false;
	p->scn->needs_vram |= step->set == SCN_VRAM;
	return add_step(p, step);
}

static bool parse_together(struct parser *p)
{
	if (p->block)
		return scn_fail(p->w, "a `together` has no other in it");
	if (!scn_take_end(p->w))
		return false;
	p->block = ++p->num_blocks;
	p->block_first = p->scn->num_steps;
	p->main_ends = false;
	return true;
}

static bool parse_end(struct parser *p)
{
	const struct scn *scn = p->scn;

	if (!p->block)
		return scn_fail(p->w, "there is no `together`");
	if (!scn_take_end(p->w))
		return false;
	for (unsigned int i = p->block_first; i < scn->num_steps && p->main_ends; i++)
		if (scn->steps[i].actor && scn->actors[scn->steps[i].actor].role != SCN_CHILD)
			return scn_fail(p->w, "main ends at any time, and its threads with it");
	for (unsigned int i = 0; i < scn->num_actors; i++) {
		p->loops[i] = 1;
		if (p->life[i] != BORN_HERE && p->life[i] != ENDED_HERE)
			continue;
		if (p->life[i] == BORN_HERE || !p->waited[i])
			return scn_fail(p->w, "%s has to `exit`, and its parent to `wait` for it",
					scn->actors[i].name);
		p->life[i] = GONE;
	}
	p->block = 0;
	return true;
}

static bool parse_line(struct parser *p)
{
	struct scn_step step = { .line = p->w->line, .block = p->block, .loops = 1,
				 .outcomes = SCN_OUTCOME(SCN_OK), .before = ALL_KERNELS };
	bool conditional;

	if (!scn_take_kernels(p->w, &step))
		return false;
	conditional = p->w->at;
	if (scn_take(p->w, "expect"))
		return parse_expect(p, &step);
	if (!conditional) {
		if (scn_take(p->w, "area"))
			return parse_area(p);
		if (scn_take(p->w, "gpu"))
			return parse_gpu(p, &step);
		if (scn_take(p->w, "together"))
			return parse_together(p);
		if (scn_take(p->w, "end"))
			return parse_end(p);
	}
	return parse_actor_line(p, &step, conditional);
}

static bool parse_all(struct parser *p, const char *text, size_t size)
{
	const char *end = text + size;

	if (add_actor(p, "main", SCN_THREAD) < 0)
		return false;
	while (text < end) {
		const char *newline = memchr(text, '\n', end - text);
		const char *line_end = newline ? newline : end;

		p->w->line++;
		if (!scn_split(p->w, text, line_end - text))
			return false;
		if (p->w->num && !parse_line(p))
			return false;
		text = line_end + 1;
	}
	if (p->block)
		return scn_fail(p->w, "a `together` has no `end`");
	return p->scn->num_steps || scn_fail(p->w, "there are no steps");
}

bool scn_parse(struct scn *scn, const char *name, const char *text, size_t size)
{
	struct scn_words words = { .scn = scn, .name = name };
	struct parser p = { .scn = scn, .w = &words, .life = { ALIVE } };
	bool ok;

	memset(scn, 0, sizeof(*scn));
	ok = parse_all(&p, text, size);
	if (!ok)
		memcpy(scn->error, words.error, sizeof(scn->error));
	return ok;
}
