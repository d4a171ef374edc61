// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A terminal of one line: what a device sends becomes plain text with \n line ends. Escape
 * sequences are dropped, carriage return and backspace move the cursor and what follows
 * overwrites, as a person would have seen it. Fed in pieces of any size.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct term {
	struct buf text;
	size_t line; /* where the last line begins in text */
	size_t col;  /* cursor in it */
	int state;
	int arg;     /* first number of an escape sequence */
	bool has_cr; /* a \r that may turn out to be half of a line end */
};

void term_fini(struct term *t);
/* Forget the text (not a half-read escape sequence). */
void term_clear(struct term *t);
void term_feed(struct term *t, const char *p, size_t n);
/* Drop the last line, as a pager does when it goes on. */
void term_drop_line(struct term *t);
