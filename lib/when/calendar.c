// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See calendar.h: a sorted array, searched by halves. */
#include "when/calendar.h"

#include <string.h>

#include "base/buf.h"

#include "base/banned.h"

#define MAGIC 0x63616c31

struct entry {
	int64_t day;
	size_t given; /* where it stood: keeps the sort stable */
	char *reason;
};

struct calendar {
	unsigned magic;
	char *name;
	size_t n;
	struct entry *entries;
};

static int
order(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->day != y->day)
		return x->day < y->day ? -1 : 1;
	return (x->given > y->given) - (x->given < y->given);
}

/* Days that are there twice become one; the strings of the others go. */
static void
merge(struct calendar *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->n; i++) {
		struct entry *last = kept ? &c->entries[kept - 1] : NULL;

		if (!last || last->day != c->entries[i].day) {
			c->entries[kept++] = c->entries[i];
			continue;
		}
		if (!*last->reason) {
			char *t = last->reason;

			last->reason = c->entries[i].reason;
			c->entries[i].reason = t;
		}
		free(c->entries[i].reason);
	}
	c->n = kept;
}

struct calendar *
calendar_new(const char *name, size_t n, const int64_t *days, const char *const *reasons)
{
	struct calendar *c = xcalloc(1, sizeof(*c));

	c->magic = MAGIC;
	c->name = xstrdup(name);
	c->n = n;
	c->entries = xcalloc(n ? n : 1, sizeof(*c->entries));
	for (size_t i = 0; i < n; i++)
		c->entries[i] =
		    (struct entry){days[i], i, xstrdup(reasons && reasons[i] ? reasons[i] : "")};
	qsort(c->entries, n, sizeof(*c->entries), order);
	merge(c);
	return c;
}

void
calendar_free(struct calendar *c)
{
	if (!c || c->magic != MAGIC)
		return;
	for (size_t i = 0; i < c->n; i++)
		free(c->entries[i].reason);
	c->magic = 0;
	free(c->entries);
	free(c->name);
	free(c);
}

const char *
calendar_name(const struct calendar *c)
{
	return c->name;
}

size_t
calendar_count(const struct calendar *c)
{
	return c->n;
}

size_t
calendar_before(const struct calendar *c, int64_t day)
{
	size_t lo = 0, hi = c->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->entries[mid].day < day)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int64_t
calendar_day(const struct calendar *c, size_t i, const char **reason)
{
	if (reason)
		*reason = c->entries[i].reason;
	return c->entries[i].day;
}

bool
calendar_has(const struct calendar *c, int64_t day, const char **reason)
{
	size_t i = calendar_before(c, day);

	if (i == c->n || c->entries[i].day != day)
		return false;
	if (reason)
		*reason = c->entries[i].reason;
	return true;
}
