// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Words of scenarios: splitting lines, numbers, and names of sets. */
#include "words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool scn_fail(struct scn_words *w, const char *format, ...)
{
	char *error = w->error;
	size_t size = sizeof(w->error);
	int used = snprintf(error, size, "%s:%u: ", w->name, w->line);
	va_list args;

	if (used < 0 || (size_t)used >= size)
		return false;
	va_start(args, format);
	vsnprintf(error + used, size - used, format, args);
	va_end(args);
	return false;
}

bool scn_split(struct scn_words *w, const char *text, size_t size)
{
	size_t i = 0;

	w->num = 0;
	w->at = 0;
	for (;;) {
		size_t start;

		while (i < size && (text[i] == ' ' || text[i] == '\t'))
			i++;
		if (i == size || text[i] == '#')
			return true;
		start = i;
		while (i < size && text[i] != ' ' && text[i] != '\t' && text[i] != '#')
			i++;
		if (w->num == SCN_MAX_WORDS)
			return scn_fail(w, "more than %d words", SCN_MAX_WORDS);
		if (i - start >= SCN_MAX_WORD)
			return scn_fail(w, "a word of %zu characters", i - start);
		memcpy(w->words[w->num], text + start, i - start);
		w->words[w->num++][i - start] = '\0';
	}
}

const char *scn_peek(const struct scn_words *w)
{
	return w->at < w->num ? w->words[w->at] : "";
}

const char *scn_peek_second(const struct scn_words *w)
{
	return w->at + 1 < w->num ? w->words[w->at + 1] : "";
}

bool scn_take(struct scn_words *w, const char *word)
{
	if (strcmp(scn_peek(w), word))
		return false;
	w->at++;
	return true;
}

bool scn_take_end(struct scn_words *w)
{
	return w->at == w->num ||
	       scn_fail(w, "'%s' is one word too many", scn_peek(w));
}

bool scn_expected(struct scn_words *w, const char *what)
{
	if (w->at == w->num)
		return scn_fail(w, "%s is expected", what);
	return scn_fail(w, "%s is expected, not '%s'", what, scn_peek(w));
}

bool scn_read_number(const char **text, uint32_t max, uint32_t *out)
{
	const char *at = *text;
	uint64_t number = 0;

	if (!scn_is_digit(*at))
		return false;
	for (; scn_is_digit(*at); at++) {
		number = number * 10 + (*at - '0');
		if (number > max)
			return false;
	}
	*text = at;
	*out = number;
	return true;
}

bool scn_take_number(struct scn_words *w, const char *what, uint32_t min, uint32_t max,
		     uint32_t *out)
{
	const char *text = scn_peek(w);

	if (!scn_read_number(&text, max, out) || *text || *out < min)
		return scn_fail(w, "%s from %u to %u is expected, not '%s'", what, min, max,
				scn_peek(w));
	w->at++;
	return true;
}

bool scn_is_name(const char *word, char first, char last)
{
	size_t length = strlen(word);

	if (length >= SCN_MAX_NAME || *word < first || *word > last)
		return false;
	for (; *word; word++)
		if (!scn_is_digit(*word) && *word != '_' && !(*word >= 'a' && *word <= 'z') &&
		    !(*word >= 'A' && *word <= 'Z'))
			return false;
	return true;
}

/* --- Sets ------------------------------------------------------------------- */

#define MAX_NAMES 12

static const struct {
	const char *what;
	const char *names[MAX_NAMES]; /* bit by bit */
} sets[] = {
	[SCN_PLACES] = { "none, ram or vram", { "none", "ram", "vram" } },
	[SCN_RIGHTS] = { "none, r or rw", { "none", "r", "rw" } },
	[SCN_EVENT_KINDS] = { "a kind of event",
			      { "unmap", "clear", "protection_vma", "protection_page", "soft_dirty",
				"release", "migrate", "exclusive", "other" } },
	[SCN_OUTCOME_NAMES] = { "an errno or a signal",
				{ "success", "EACCES", "EAGAIN", "EBUSY", "EFAULT", "EINVAL",
				  "ENOENT", "ENOMEM", "ENOSPC", "EPERM", "SIGBUS", "SIGSEGV" } },
};

_Static_assert(SCN_EVENTS <= MAX_NAMES && SCN_OUTCOMES <= MAX_NAMES, "names for all");

const char *scn_set_text(char *buffer, size_t size, enum scn_names names, unsigned int set)
{
	size_t used = 0;

	buffer[0] = '\0';
	for (unsigned int bit = 0; bit < MAX_NAMES; bit++) {
		int length;

		if (!(set & 1u << bit))
			continue;
		length = snprintf(buffer + used, size - used, "%s%s", used ? "|" : "",
				  sets[names].names[bit]);
		if (length < 0 || (size_t)length >= size - used)
			break;
		used += length;
	}
	return buffer;
}

unsigned int scn_set_bit(enum scn_names names, const char *text, size_t length)
{
	for (unsigned int bit = 0; bit < MAX_NAMES; bit++) {
		const char *name = sets[names].names[bit];

		if (name && strlen(name) == length && !memcmp(name, text, length))
			return 1u << bit;
	}
	return 0;
}

bool scn_take_set(struct scn_words *w, enum scn_names names, unsigned int *out)
{
	const char *text = scn_peek(w);

	*out = 0;
	for (;;) {
		size_t length = strcspn(text, "|");
		unsigned int bit = scn_set_bit(names, text, length);

		if (!bit)
			return scn_expected(w, sets[names].what);
		*out |= bit;
		if (!text[length])
			break;
		text += length + 1;
	}
	w->at++;
	return true;
}
