// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See dates.h. */
#include "when/dates.h"

#include <string.h>

#include "base/buf.h"

#include "when/civil.h"

#include "base/banned.h"

void
dates_fini(struct dates *d)
{
	free(d->more.at);
	free(d->less.at);
	free(d->less_day.at);
	memset(d, 0, sizeof(*d));
}

void
moments_add(struct moments *m, int64_t at)
{
	if (m->n == m->cap) {
		int64_t *old = m->at;

		m->cap = m->cap ? m->cap * 2 : 8;
		m->at = xcalloc(m->cap, sizeof(*m->at));
		if (m->n)
			memcpy(m->at, old, m->n * sizeof(*m->at));
		free(old);
	}
	m->at[m->n++] = at;
}

static int
order(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void
sort(struct moments *m)
{
	if (m->n)
		qsort(m->at, m->n, sizeof(*m->at), order);
}

void
dates_ready(struct dates *d)
{
	sort(&d->more);
	sort(&d->less);
	sort(&d->less_day);
}

/* The index of the first that is not before at. */
static size_t
lower(const struct moments *m, int64_t at)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->at[mid] < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool
has(const struct moments *m, int64_t at)
{
	size_t i = lower(m, at);

	return i < m->n && m->at[i] == at;
}

static bool
next_any(struct dates *d, int64_t after, int64_t *out)
{
	int64_t ruled;
	bool is_ruled = d->has_rule && recur_next(&d->rule, &d->walk, after, &ruled);
	size_t i = after < INT64_MAX ? lower(&d->more, after + 1) : d->more.n;

	if (!is_ruled && i == d->more.n)
		return false;
	*out = is_ruled && (i == d->more.n || ruled < d->more.at[i]) ? ruled : d->more.at[i];
	return true;
}

/* Each turn uses up an exception, so there are no more turns than exceptions, and one. But there
 * may be many, and the rule may take long from one to the next. */
bool
dates_next(struct dates *d, int64_t after, int64_t *out)
{
	int64_t at = after;

	while (next_any(d, at, &at)) {
		int64_t day = floor_div(at, DAY_S);

		if (has(&d->less_day, day)) {
			at = (day + 1) * DAY_S - 1;
		} else if (!has(&d->less, at)) {
			*out = at;
			return true;
		}
		if (d->walk.spent > d->spent_max)
			return false;
	}
	return false;
}
