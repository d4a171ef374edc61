// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Feed cursors. Pure; called by feed.c, channel.c and channel_join.c. */
#include "daemon/gateway/cursor.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

static int
not_a_cursor(struct err *e)
{
	err_set(e, ERR_INVALID, "since is not a cursor");
	err_field(e, "/since");
	return err_hint(
	    e, "Send the cursor of the last event that was handled, or leave since out.");
}

/* One number of at most 18 digits; *p moves behind it. */
static bool
read_number(const char **p, int64_t *out)
{
	size_t n = strspn(*p, "0123456789");

	if (n == 0 || n > 18)
		return false;
	*out = strtoll(*p, NULL, 10);
	*p += n;
	return true;
}

static bool
read_entry(const char **p, struct cursor_at *at)
{
	int64_t no, part = 0;

	if (!read_number(p, &no) || no > INT_MAX || *(*p)++ != '-' || !read_number(p, &at->inc) ||
	    *(*p)++ != '-' || !read_number(p, &at->seq))
		return false;
	if (**p == '-') {
		++*p;
		if (!read_number(p, &part) || part == 0 || part > INT_MAX)
			return false;
	}
	at->no = (int)no;
	at->part = (int)part;
	return true;
}

int
cursor_parse(const char *text, struct cursor *out, struct err *e)
{
	struct cursor c = {0};
	const char *p = text + 3;

	if (strncmp(text, "v1.", 3) != 0 || strlen(text) > CURSOR_TEXT_MAX)
		return not_a_cursor(e);
	while (*p) {
		struct cursor_at at;

		if (c.n == CURSOR_NODES || (c.n && *p++ != '_') || !read_entry(&p, &at) ||
		    (c.n && at.no <= c.at[c.n - 1].no))
			return not_a_cursor(e);
		c.at[c.n++] = at;
	}
	*out = c;
	return 0;
}

void
cursor_text(const struct cursor *c, int from, int to, struct buf *out)
{
	bool is_first = true;

	for (unsigned i = 0; i < c->n; i++) {
		const struct cursor_at *at = &c->at[i];

		if (at->no < from || at->no > to)
			continue;
		buf_addf(out, "%s%d-%lld-%lld", is_first ? "" : "_", at->no, (long long)at->inc,
		    (long long)at->seq);
		if (at->part)
			buf_addf(out, "-%d", at->part);
		is_first = false;
	}
}

const struct cursor_at *
cursor_find(const struct cursor *c, int no)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->at[i].no == no)
			return &c->at[i];
	return NULL;
}

bool
cursor_covers(const struct cursor *c, int no, int64_t inc, int64_t seq)
{
	const struct cursor_at *at = cursor_find(c, no);

	if (!at || inc > at->inc)
		return false;
	return inc < at->inc || seq < at->seq || (seq == at->seq && at->part == 0);
}

bool
cursor_includes(const struct cursor *c, const struct cursor *other)
{
	for (unsigned i = 0; i < other->n; i++)
		if (!cursor_covers(c, other->at[i].no, other->at[i].inc, other->at[i].seq))
			return false;
	return true;
}

void
cursor_advance(struct cursor *c, int no, int64_t inc, int64_t seq)
{
	unsigned i = 0;

	if (cursor_covers(c, no, inc, seq))
		return;
	while (i < c->n && c->at[i].no < no)
		i++;
	if (i == c->n || c->at[i].no != no) {
		if (c->n == CURSOR_NODES)
			return;
		memmove(&c->at[i + 1], &c->at[i], (c->n - i) * sizeof(c->at[0]));
		c->n++;
	}
	c->at[i] = (struct cursor_at){.no = no, .inc = inc, .seq = seq};
}
