// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What steps of scenarios take: spans, values, and so on. */
#include <string.h>

#include "words.h"

static bool take_area(struct scn_words *w, unsigned int *out)
{
	for (unsigned int i = 0; i < w->scn->num_areas; i++) {
		if (scn_take(w, w->scn->areas[i].name)) {
			*out = i;
			return true;
		}
	}
	return scn_expected(w, "an area");
}

static bool is_value(const char *word)
{
	return scn_is_digit(*word) || !strcmp(word, "any");
}

bool scn_take_span(struct scn_words *w, struct scn_step *step, bool value_follows)
{
	const struct scn_area *area;
	const char *text;
	uint32_t last;
	bool within;

	if (!take_area(w, &step->area))
		return false;
	area = &w->scn->areas[step->area];
	step->first = 0;
	step->count = area->pages;
	text = scn_peek(w);
	if (!scn_is_digit(*text) || (value_follows && !is_value(scn_peek_second(w))))
		return true;

	within = scn_read_number(&text, area->pages - 1, &step->first);
	last = step->first;
	if (within && *text == '-') {
		text++;
		within = scn_read_number(&text, area->pages - 1, &last);
	}
	if (!within || *text || last < step->first)
		return scn_fail(w, "a page or a span of %s, as 0-%u, is expected, not '%s'",
				area->name, area->pages - 1, scn_peek(w));
	step->count = last - step->first + 1;
	w->at++;
	return true;
}

bool scn_take_page(struct scn_words *w, struct scn_step *step)
{
	if (!scn_take_span(w, step, false))
		return false;
	if (step->count != 1)
		return scn_fail(w, "one page is expected");
	return true;
}

bool scn_take_value(struct scn_words *w, struct scn_step *step)
{
	const char *text = scn_peek(w);

	if (step->verb == SCN_READ && scn_take(w, "any"))
		return true;
	for (;;) {
		struct scn_value *value = &step->values[step->num_values];

		if (step->num_values == SCN_MAX_VALUES)
			return scn_fail(w, "more than %d values", SCN_MAX_VALUES);
		if (!scn_read_number(&text, UINT32_MAX, &value->base))
			return scn_expected(w, "a value");
		value->counts = *text == '+';
		text += value->counts;
		step->num_values++;
		if (!*text)
			break;
		if (*text++ != '|' || step->verb != SCN_READ)
			return scn_expected(w, "a value");
	}
	w->at++;
	return true;
}

bool scn_expects(const struct scn_step *step, unsigned int page, uint32_t word)
{
	for (unsigned int i = 0; i < step->num_values; i++)
		if (scn_value_at(&step->values[i], page) == word)
			return true;
	return !step->num_values;
}

bool scn_take_outcomes(struct scn_words *w, struct scn_step *step)
{
	const unsigned int signals = SCN_OUTCOME(SCN_SIGBUS) | SCN_OUTCOME(SCN_SIGSEGV);
	bool may = false, cpu;

	if (scn_take(w, "may")) {
		may = true;
		if (!scn_take(w, "fail"))
			return scn_expected(w, "'fail'");
	} else if (!scn_take(w, "fails")) {
		return true;
	}
	if (!scn_take_set(w, SCN_OUTCOME_NAMES, &step->outcomes))
		return false;
	cpu = w->scn->actors[step->actor].role != SCN_GPU &&
	      (step->verb == SCN_READ || step->verb == SCN_WRITE);
	if (step->outcomes & SCN_OUTCOME(SCN_OK) || (cpu && step->outcomes & ~signals) ||
	    (!cpu && step->outcomes & signals))
		return scn_fail(w, "this fails with %s", cpu ? "a signal" : "an errno");
	if (may)
		step->outcomes |= SCN_OUTCOME(SCN_OK);
	return true;
}

bool scn_take_rights(struct scn_words *w, struct scn_step *step)
{
	if (scn_take(w, "none"))
		step->set = 0;
	else if (scn_take(w, "r"))
		step->set = SCN_PROT_READ;
	else if (scn_take(w, "rw"))
		step->set = SCN_PROT_READ | SCN_PROT_WRITE;
	else
		return scn_expected(w, "none, r or rw");
	return true;
}

bool scn_take_destination(struct scn_words *w, struct scn_step *step)
{
	const struct scn_area *area;

	if (!scn_take(w, "to"))
		return scn_expected(w, "'to'");
	if (!take_area(w, &step->to_area))
		return false;
	area = &w->scn->areas[step->to_area];
	if (scn_is_digit(*scn_peek(w)) &&
	    !scn_take_number(w, "a page", 0, area->pages - 1, &step->to_first))
		return false;
	if (step->to_first + step->count > area->pages)
		return scn_fail(w, "that is beyond %s, which has %u pages", area->name,
				area->pages);
	return true;
}

bool scn_take_events(struct scn_words *w, struct scn_step *step)
{
	if (scn_take(w, "none"))
		return true;
	do {
		const char *word = scn_peek(w);
		size_t length = strcspn(word, "?");
		unsigned int bit = scn_set_bit(SCN_EVENT_KINDS, word, length);

		if (!bit || (word[length] && word[length + 1]))
			return scn_expected(w, "a kind of event");
		if (word[length])
			step->maybe |= bit;
		else
			step->set |= bit;
		w->at++;
	} while (w->at < w->num);
	return true;
}

bool scn_take_kernels(struct scn_words *w, struct scn_step *step)
{
	const char *text = scn_peek(w);
	uint32_t major, minor = 0;
	bool before, since;

	if (*text != '[')
		return true;
	text++;
	before = *text == '<';
	since = !strncmp(text, ">=", 2);
	text += before ? 1 : since ? 2 : 0;
	if (!scn_read_number(&text, 999, &major) || *text++ != '.' ||
	    !scn_read_number(&text, 999, &minor) || strcmp(text, "]"))
		return scn_expected(w, "[6.1], [<6.1] or [>=6.1]");
	w->at++;
	if (!before)
		step->since = SCN_KERNEL(major, minor);
	if (!since)
		step->before = SCN_KERNEL(major, minor) + !before;
	return true;
}
