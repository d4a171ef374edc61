// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The completeness rules. The case they are made for: a banner in the configuration has a line
 * `end`, and the transmission breaks off right there. So a line counts only outside of banners,
 * the text must not end inside a banner or an open block, and its last line must be the one that
 * the platform names.
 */
#include "sdk/device/complete.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/banned.h"

#define MAX_CONTAINS 64

struct line {
	const char *p;
	size_t n;
};

struct check {
	const struct platform *p;
	size_t line_no;
	char delimiter[3]; /* of the banner that is open; "" if none */
	size_t banner_line;
	const struct platform_block *block; /* that is open, or NULL */
	size_t block_line;
	bool seen[MAX_CONTAINS];              /* by index of complete.contains */
	struct line first, last, before_last; /* non-blank */
	size_t lines;
	size_t cut_line; /* a line that says that it broke off; 0: none */
};

static bool
say(char *why, size_t n, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, n, fmt, ap);
	va_end(ap);
	return false;
}

static bool
find_text(const char *p, size_t n, const char *what)
{
	return memmem(p, n, what, strlen(what)) != NULL;
}

/* A banner's delimiter is the last sign of what the pattern matched; Cisco writes ^C as two. */
static void
banner_begin(struct check *c, const char *p, size_t end, size_t n)
{
	size_t len = end >= 2 && p[end - 2] == '^' ? 2 : 1;
	memcpy(c->delimiter, p + end - len, len);
	c->delimiter[len] = 0;
	c->banner_line = c->line_no;
	if (find_text(p + end, n - end, c->delimiter))
		c->delimiter[0] = 0;
}

static void
block_step(struct check *c, const char *p, size_t n)
{
	if (c->block && pattern_list_find(&c->block->end, p, n, NULL, NULL)) {
		c->block = NULL;
		return;
	}
	for (size_t i = 0; i < c->p->block_n; i++)
		if (pattern_list_find(&c->p->block[i].begin, p, n, NULL, NULL)) {
			if (!c->block)
				c->block_line = c->line_no;
			c->block = &c->p->block[i];
			return;
		}
}

static void
line_step(struct check *c, const char *p, size_t n)
{
	size_t end;
	c->line_no++;
	while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
		n--;
	if (!n)
		return;
	c->lines++;
	c->before_last = c->last;
	c->last = (struct line){p, n};
	if (!c->first.p)
		c->first = c->last;
	if (*c->delimiter) {
		if (find_text(p, n, c->delimiter))
			c->delimiter[0] = 0;
		return;
	}
	if (pattern_list_find(&c->p->complete.banner, p, n, NULL, &end) && end) {
		banner_begin(c, p, end, n);
		return;
	}
	block_step(c, p, n);
	for (size_t i = 0; i < c->p->complete.contains.n && i < MAX_CONTAINS; i++)
		if (!c->seen[i] && pattern_find(c->p->complete.contains.v[i], p, n, NULL, NULL))
			c->seen[i] = true;
	if (!c->cut_line && pattern_list_find(&c->p->complete.cut_off, p, n, NULL, NULL))
		c->cut_line = c->line_no;
}

/* An empty list asks for nothing. */
static bool
fits(const struct pattern_list *l, const struct line *line)
{
	return l->n == 0 || (line->p && pattern_list_find(l, line->p, line->n, NULL, NULL));
}

static bool
judge(const struct check *c, size_t n, char *why, size_t why_n)
{
	const struct platform *p = c->p;
	if (c->lines < (size_t)p->complete.min_lines)
		return say(why, why_n, "it has %zu lines, and %d are the least", c->lines,
		    p->complete.min_lines);
	if (n < (size_t)p->complete.min_size_b)
		return say(why, why_n, "it has %zu bytes, and %d are the least", n,
		    p->complete.min_size_b);
	if (*c->delimiter)
		return say(why, why_n, "it ends inside the banner that begins in line %zu",
		    c->banner_line);
	if (c->block)
		return say(why, why_n, "it ends inside the block '%s' that begins in line %zu",
		    c->block->title, c->block_line);
	if (c->cut_line)
		return say(why, why_n, "line %zu says that it broke off", c->cut_line);
	if (!fits(&p->complete.first_line, &c->first))
		return say(
		    why, why_n, "its first line is not one that a configuration begins with");
	if (!fits(&p->complete.last_line, &c->last))
		return say(why, why_n, "its last line is not '%s'",
		    pattern_text(p->complete.last_line.v[0]));
	if (!fits(&p->complete.before_last, &c->before_last))
		return say(why, why_n, "the line before the last is not '%s'",
		    pattern_text(p->complete.before_last.v[0]));
	for (size_t i = 0; i < p->complete.contains.n && i < MAX_CONTAINS; i++)
		if (!c->seen[i])
			return say(why, why_n, "no line is like '%s'",
			    pattern_text(p->complete.contains.v[i]));
	return true;
}

bool
complete_check(const struct platform *p, const char *text, size_t n, char *why, size_t why_n)
{
	struct check c = {.p = p};
	for (size_t at = 0; at < n;) {
		const char *nl = memchr(text + at, '\n', n - at);
		size_t end = nl ? (size_t)(nl - text) : n;
		line_step(&c, text + at, end - at);
		at = end + 1;
	}
	return judge(&c, n, why, why_n);
}
