/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The parser's words. A line is split into words, and words are taken one by one. A
 * function that takes one and finds another returns false; where that is an error it
 * has said so, with scn_fail().
 */
#ifndef TESTS_SCENARIOS_WORDS_H
#define TESTS_SCENARIOS_WORDS_H

#include "scenario.h"

#define SCN_MAX_WORDS 24
#define SCN_MAX_WORD 40

struct scn_words {
	const struct scn *scn; /* what they are the words of, as far as it goes */
	const char *name; /* of the file */
	unsigned int line;
	char words[SCN_MAX_WORDS][SCN_MAX_WORD];
	unsigned int num;
	unsigned int at; /* the next one */
	char error[SCN_MAX_ERROR]; /* what scn_fail() was told last */
};

/* Notes what is wrong in this line. Returns false. */
bool scn_fail(struct scn_words *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Says that @what is expected and not the next word. Returns false. */
bool scn_expected(struct scn_words *w, const char *what);

/* Makes words of a line, without its comment. */
bool scn_split(struct scn_words *w, const char *text, size_t size);
/* The next word, and the one behind it; "" at the end of the line. */
const char *scn_peek(const struct scn_words *w);
const char *scn_peek_second(const struct scn_words *w);
/* Takes the next word if it is @word. That it is not is no error. */
bool scn_take(struct scn_words *w, const char *word);
/* Sees that all words have been taken. */
bool scn_take_end(struct scn_words *w);

/* Takes a word that is a number from @min to @max; @what is it, for the error. */
bool scn_take_number(struct scn_words *w, const char *what, uint32_t min, uint32_t max,
		     uint32_t *out);
/* Reads digits at *@text, up to @max, and moves *@text behind them. No error. */
bool scn_read_number(const char **text, uint32_t max, uint32_t *out);
/* Takes "one" or "one|other". */
bool scn_take_set(struct scn_words *w, enum scn_names names, unsigned int *out);
/* The bit of the @length characters at @text in a set; 0: not in it. */
unsigned int scn_set_bit(enum scn_names names, const char *text, size_t length);

/* Whether @word can be a name that begins with a letter from @first to @last. */
bool scn_is_name(const char *word, char first, char last);

static inline bool scn_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* --- Arguments of a step ------------------------------------------------------ */

/* @value_follows: a number that no value comes after is the value. */
bool scn_take_span(struct scn_words *w, struct scn_step *step, bool value_follows);
bool scn_take_page(struct scn_words *w, struct scn_step *step);
/* "to AREA [PAGE]" */
bool scn_take_destination(struct scn_words *w, struct scn_step *step);
/* "100", "100+", "0|100+", "any" */
bool scn_take_value(struct scn_words *w, struct scn_step *step);
/* "none", "r", "rw" */
bool scn_take_rights(struct scn_words *w, struct scn_step *step);
/* "none", or kinds up to the end of the line */
bool scn_take_events(struct scn_words *w, struct scn_step *step);
/* "fails THIS", "may fail THIS", or nothing */
bool scn_take_outcomes(struct scn_words *w, struct scn_step *step);
/* "[6.1]", "[<6.12]", "[>=6.12]", or nothing */
bool scn_take_kernels(struct scn_words *w, struct scn_step *step);

#endif /* TESTS_SCENARIOS_WORDS_H */
