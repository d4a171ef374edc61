// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See tzrule.h. A year has two boundaries; looking at three years covers every offset and extended
 * hour. */
#include "when/tzrule.h"

#include <ctype.h>
#include <string.h>

#include "when/civil.h"

#include "base/banned.h"

struct text {
	const char *p, *end;
};

struct boundary {
	int64_t at;
	bool to_dst;
};

#define BOUNDARIES 6

static bool
take(struct text *t, char c)
{
	if (t->p == t->end || *t->p != c)
		return false;
	t->p++;
	return true;
}

static bool
take_number(struct text *t, int lo, int hi, int *out)
{
	const char *start = t->p;
	int v = 0;

	while (t->p < t->end && isdigit((unsigned char)*t->p) && t->p - start < 4)
		v = v * 10 + (*t->p++ - '0');
	*out = v;
	return t->p > start && v >= lo && v <= hi;
}

/* Letters, or anything sensible between angle brackets. */
static bool
take_abbrev(struct text *t, char out[TZRULE_ABBREV_MAX + 1])
{
	bool quoted = take(t, '<');
	size_t n = 0;

	for (; t->p < t->end; t->p++, n++) {
		unsigned char c = (unsigned char)*t->p;
		bool ok = quoted ? isalnum(c) || c == '+' || c == '-' : isalpha(c);

		if (!ok)
			break;
		if (n == TZRULE_ABBREV_MAX)
			return false;
		out[n] = (char)c;
	}
	out[n] = 0;
	return n >= 3 && (!quoted || take(t, '>'));
}

/* [+-]hh[:mm[:ss]] */
static bool
take_time(struct text *t, int max_h, int32_t *out)
{
	int h, m = 0, s = 0, sign = 1;

	if (take(t, '-'))
		sign = -1;
	else
		take(t, '+');
	if (!take_number(t, 0, max_h, &h))
		return false;
	if (take(t, ':')) {
		if (!take_number(t, 0, 59, &m))
			return false;
		if (take(t, ':') && !take_number(t, 0, 59, &s))
			return false;
	}
	*out = sign * (h * 3600 + m * 60 + s);
	return true;
}

static bool
take_date(struct text *t, struct tzrule_date *d)
{
	bool ok;

	*d = (struct tzrule_date){.kind = 'N', .time_s = 2 * 3600};
	if (take(t, 'M')) {
		d->kind = 'M';
		ok = take_number(t, 1, 12, &d->month) && take(t, '.') &&
		     take_number(t, 1, 5, &d->week) && take(t, '.') &&
		     take_number(t, 0, 6, &d->day);
	} else if (take(t, 'J')) {
		d->kind = 'J';
		ok = take_number(t, 1, 365, &d->day);
	} else {
		ok = take_number(t, 0, 365, &d->day);
	}
	return ok && (!take(t, '/') || take_time(t, 167, &d->time_s));
}

static bool
parse(struct text *t, struct tzrule *r)
{
	int32_t west;

	if (!take_abbrev(t, r->std) || !take_time(t, 24, &west))
		return false;
	r->std_off = -west;
	if (t->p == t->end)
		return true;
	r->has_dst = true;
	r->dst_off = r->std_off + 3600;
	if (!take_abbrev(t, r->dst))
		return false;
	if (t->p < t->end && *t->p != ',') {
		if (!take_time(t, 24, &west))
			return false;
		r->dst_off = -west;
	}
	return take(t, ',') && take_date(t, &r->start) && take(t, ',') && take_date(t, &r->end) &&
	       t->p == t->end;
}

/* Midnight that begins the date d of the year, in days. */
static int64_t
date_days(const struct tzrule_date *d, int64_t year)
{
	int64_t first;
	int ahead;

	if (d->kind != 'M') {
		bool after_leap_day = d->kind == 'J' && d->day >= 60 && civil_is_leap(year);

		return civil_days(year, 1, 1) + d->day - (d->kind == 'J') + after_leap_day;
	}
	first = civil_days(year, d->month, 1);
	ahead = (d->day - civil_weekday(first) + 7) % 7 + (d->week - 1) * 7;
	if (ahead >= civil_month_days(year, d->month))
		ahead -= 7;
	return first + ahead;
}

/*
 * All boundaries of the years around t, in an order in which a later entry wins when two coincide:
 * DST all year is written as an end that falls on the next year's start.
 */
static void
boundaries(const struct tzrule *r, int64_t t, struct boundary out[BOUNDARIES])
{
	int64_t year = civil_from_days(floor_div(t + r->std_off, DAY_S)).year;

	for (int i = 0; i < BOUNDARIES; i += 2) {
		int64_t y = year - 1 + i / 2;
		struct boundary on = {
		    date_days(&r->start, y) * DAY_S + r->start.time_s - r->std_off, true};
		struct boundary off = {
		    date_days(&r->end, y) * DAY_S + r->end.time_s - r->dst_off, false};

		out[i] = on.at <= off.at ? on : off;
		out[i + 1] = on.at <= off.at ? off : on;
	}
}

bool
tzrule_is_dst(const struct tzrule *r, int64_t t)
{
	struct boundary b[BOUNDARIES], *last = NULL;

	if (!r->has_dst)
		return false;
	boundaries(r, t, b);
	for (int i = 0; i < BOUNDARIES; i++)
		if (b[i].at <= t && (!last || b[i].at >= last->at))
			last = &b[i];
	return last && last->to_dst;
}

int64_t
tzrule_after(const struct tzrule *r, int64_t t)
{
	struct boundary b[BOUNDARIES];
	int64_t best = INT64_MAX;

	boundaries(r, t, b);
	for (int i = 0; i < BOUNDARIES; i++)
		if (b[i].at > t && b[i].at < best)
			best = b[i].at;
	return best;
}

int64_t
tzrule_before(const struct tzrule *r, int64_t t)
{
	struct boundary b[BOUNDARIES];
	int64_t best = INT64_MIN;

	boundaries(r, t, b);
	for (int i = 0; i < BOUNDARIES; i++)
		if (b[i].at <= t && b[i].at > best)
			best = b[i].at;
	return best;
}

/* One solar cycle of 28 years shows whether the clock ever changes. */
static bool
never_changes(const struct tzrule *r)
{
	int64_t t = civil_days(2000, 1, 15) * DAY_S, end = civil_days(2028, 1, 15) * DAY_S;
	bool dst = tzrule_is_dst(r, t);

	if (!r->has_dst || r->std_off == r->dst_off)
		return true;
	for (t = tzrule_after(r, t); t < end; t = tzrule_after(r, t))
		if (tzrule_is_dst(r, t) != dst)
			return false;
	return true;
}

int
tzrule_parse(const char *s, size_t n, struct tzrule *out, struct err *e)
{
	struct text t = {s, s + n};
	struct tzrule r = {.has_dst = false};

	if (!parse(&t, &r))
		return err_set(e, ERR_INVALID, "bad POSIX TZ string '%.*s' at character %d",
		    (int)(n > 80 ? 80 : n), s, (int)(t.p - s) + 1);
	r.is_fixed = never_changes(&r);
	*out = r;
	return 0;
}
