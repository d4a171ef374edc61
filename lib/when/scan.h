// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Reading a schedule's text with errors that say which field, which characters and where (counted
 * from 1), and what would be legal. Used by every parser of lib/when but stamp.c.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct scan {
	const char *text; /* the whole expression, for positions */
	const char *p;
	struct err *e;
};

/* Printable copy of the characters [p, end) for a message, cut to fit. Returns buf. */
const char *scan_shown(const char *p, const char *end, char buf[64]);

/* "'61' at position 1 (minute) is out of range"; legal, a sentence, is the hint. Returns
 * -ERR_INVALID. */
int scan_bad(const struct scan *s, const char *p, const char *end, const char *field,
    const char *why, const char *legal);
/* The same about all that is left up to a blank or comma, at least one character; at the text's end
 * it says what is missing there. */
int scan_unexpected(
    const struct scan *s, const char *field, const char *expected, const char *legal);

void scan_blanks(struct scan *s);
bool scan_char(struct scan *s, char c); /* takes it if it is there */
bool scan_at_end(const struct scan *s);
/* Takes the word if it is there, in any case, and no letter or digit follows. */
bool scan_word(struct scan *s, const char *word);
/* The index of the word of a NULL-ended table that is taken; -1 if none is there. */
int scan_word_of(struct scan *s, const char *const *words);
/* Takes 1 to max_digits digits as a number; -1 (nothing taken) if there are none or more of
 * them. */
int scan_number(struct scan *s, int max_digits);
