// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The one-line terminal; see term.h. Used by shell.c only. */
#include "sdk/device/term.h"

#include <string.h>

#include "base/banned.h"

enum { PLAIN, ESCAPE, CSI, TEXT, TEXT_ESCAPE, CHARSET };

#define ESC 27
#define BEL 7
#define DEL 127

void
term_fini(struct term *t)
{
	buf_fini(&t->text);
}

void
term_clear(struct term *t)
{
	buf_clear(&t->text);
	t->line = t->col = 0;
	t->has_cr = false;
}

void
term_drop_line(struct term *t)
{
	t->text.n = t->line;
	t->col = 0;
	t->has_cr = false;
}

/* A pager wipes its prompt with blanks: a line of blanks that the cursor leaves is no text. */
static void
drop_if_blank(struct term *t)
{
	for (size_t i = t->line; i < t->text.n; i++)
		if (t->text.p[i] != ' ')
			return;
	t->text.n = t->line;
}

static void
erase(struct term *t)
{
	if (t->arg == 2)
		term_drop_line(t);
	else if (t->arg == 0 && t->line + t->col < t->text.n)
		t->text.n = t->line + t->col;
}

static void
put(struct term *t, char c)
{
	while (t->line + t->col > t->text.n)
		buf_addc(&t->text, ' ');
	if (t->line + t->col < t->text.n)
		t->text.p[t->line + t->col] = c;
	else
		buf_addc(&t->text, c);
	t->col++;
}

static void
plain(struct term *t, char c)
{
	if (c == '\n') {
		t->has_cr = false;
		buf_addc(&t->text, '\n');
		t->line = t->text.n;
		t->col = 0;
		return;
	}
	if (c == '\r') {
		t->has_cr = true;
		return;
	}
	if (t->has_cr) {
		t->has_cr = false;
		t->col = 0;
		drop_if_blank(t);
	}
	if (c == '\b') {
		if (t->col > 0 && --t->col == 0)
			drop_if_blank(t);
	} else if (c == ESC) {
		t->state = ESCAPE;
	} else if ((unsigned char)c >= 32 ? c != DEL : c == '\t') {
		put(t, c);
	} else if (c == 3 || c == 4 || c == 12) {
		put(t, c); /* ^C as a banner's delimiter, form feeds: part of the text */
	}
}

static void
escape(struct term *t, char c)
{
	t->state = PLAIN;
	t->arg = 0;
	if (c == '[')
		t->state = CSI;
	else if (strchr("]PX^_", c))
		t->state = TEXT;
	else if (strchr("()*+#% ", c))
		t->state = CHARSET;
}

static void
csi(struct term *t, char c)
{
	if (c >= '0' && c <= '9') {
		t->arg = t->arg < 1000 ? t->arg * 10 + (c - '0') : t->arg;
		return;
	}
	if ((unsigned char)c < 0x40 && c != ESC)
		return;
	t->state = PLAIN;
	if (c == 'K')
		erase(t);
	else if (c == 'G')
		t->col = t->arg > 0 && t->arg <= 1000 ? (size_t)t->arg - 1 : 0;
	else if (c == 'D')
		t->col -= t->col < (size_t)t->arg ? t->col : (size_t)(t->arg ? t->arg : t->col > 0);
}

void
term_feed(struct term *t, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char c = p[i];
		switch (t->state) {
		case PLAIN:
			plain(t, c);
			break;
		case ESCAPE:
			escape(t, c);
			break;
		case CSI:
			csi(t, c);
			break;
		case TEXT: /* a window title: up to BEL or ESC \ */
			t->state = c == BEL ? PLAIN : c == ESC ? TEXT_ESCAPE : TEXT;
			break;
		case TEXT_ESCAPE:
		case CHARSET:
			t->state = PLAIN;
			break;
		}
	}
}
