// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The next occurrence. Inside a span of constant offset local time runs evenly, so the search goes
 * span by span: first what the clock change at the span's start makes due, then the first matching
 * local second before the span's end. Days are found by masks, so a step costs nanoseconds.
 */
#include "when/cron.h"

#include "base/buf.h"

#include "when/civil.h"
#include "when/cron_fields.h"
#include "when/zone.h"

#include "base/banned.h"

/* A jump this long is a new clock, not a daylight saving change. */
#define NEW_CLOCK_S (3 * 3600)

#define HORIZON_S ((int64_t)(CIVIL_CYCLE_DAYS + 2) * DAY_S)

bool
cron_follows_clock(const struct cron *c)
{
	return c->minute_star || c->hour_star;
}

static bool
days_must_both_match(const struct cron *c)
{
	return c->day_of_month_star || c->day_of_week_star;
}

static bool
day_matches(const struct cron *c, int day_of_month, int weekday)
{
	bool dom = c->day_of_month >> day_of_month & 1;
	bool dow = c->day_of_week >> weekday & 1;

	return days_must_both_match(c) ? dom && dow : dom || dow;
}

/* False for the likes of 31 February. Any date that exists falls on every weekday in some year. */
static bool
has_any_day(const struct cron *c)
{
	if (!days_must_both_match(c))
		return true;
	for (int m = 1; m <= 12; m++) {
		int days = civil_month_days(2000, m);

		/* Bits 1 to days. */
		if ((c->month >> m & 1) &&
		    (c->day_of_month & ((UINT64_C(2) << days) - 1) & ~UINT64_C(1)))
			return true;
	}
	return false;
}

/* The first day from `day` to `last` that matches; INT64_MAX if none does. */
static int64_t
next_day(const struct cron *c, int64_t day, int64_t last)
{
	struct civil d = civil_from_days(day);
	int weekday = civil_weekday(day);
	int month_days = civil_month_days(d.year, d.month);

	while (day <= last) {
		int step = 1;

		if (!(c->month >> d.month & 1))
			step = month_days - d.day + 1;
		else if (day_matches(c, d.day, weekday))
			return day;
		day += step;
		weekday = (weekday + step) % 7;
		d.day += step;
		if (d.day > month_days) {
			d.day = 1;
			d.year += d.month == 12;
			d.month = d.month % 12 + 1;
			month_days = civil_month_days(d.year, d.month);
		}
	}
	return INT64_MAX;
}

/* The values of a set from v on. */
static uint64_t
from_on(uint64_t set, int v)
{
	return set >> v << v;
}

/* The first matching second of a day from `from` on (0 to 86399), or -1. */
static int
next_second(const struct cron *c, int from)
{
	int hour = from / 3600, minute = from / 60 % 60, second = from % 60;
	uint64_t later;

	if (c->hour >> hour & 1) {
		later = from_on(c->second, second);
		if ((c->minute >> minute & 1) && later)
			return from - second + __builtin_ctzll(later);
		later = from_on(c->minute, minute + 1);
		if (later)
			return hour * 3600 + __builtin_ctzll(later) * 60 +
			       __builtin_ctzll(c->second);
	}
	later = from_on(c->hour, hour + 1);
	return later ? __builtin_ctzll(later) * 3600 + __builtin_ctzll(c->minute) * 60 +
			   __builtin_ctzll(c->second)
		     : -1;
}

/* The first matching local second in [from, end); INT64_MAX if none. Local time as if it were UTC.
 */
static int64_t
next_local(const struct cron *c, int64_t from, int64_t end)
{
	int64_t day = floor_div(from, DAY_S);
	int start = (int)(from - day * DAY_S);

	for (;;) {
		int64_t found = next_day(c, day, floor_div(end, DAY_S));
		int s;

		if (found == INT64_MAX)
			return INT64_MAX;
		s = next_second(c, found == day ? start : 0);
		if (s >= 0) {
			int64_t local = found * DAY_S + s;

			return local < end ? local : INT64_MAX;
		}
		day = found + 1;
		start = 0;
	}
}

static bool
is_clock_change(int32_t jump)
{
	return jump > -NEW_CLOCK_S && jump < NEW_CLOCK_S;
}

/* True if a gap ends where s starts and the expression has a time in it that is to be made up
 * there. */
static bool
is_due_at_gap_end(const struct cron *c, const struct zone_span *s, const struct cron_policy *policy)
{
	int32_t jump = s->off - s->off_before;

	return jump > 0 && is_clock_change(jump) && !cron_follows_clock(c) &&
	       policy->gap == CRON_GAP_RUN_AT_END &&
	       next_local(c, s->start + s->off_before, s->start + s->off) != INT64_MAX;
}

/* Does the clock show the local time of u (inside s) for the second time? */
static bool
is_second(const struct zone_span *s, int64_t u)
{
	int32_t back = s->off_before - s->off;

	return back > 0 && is_clock_change(back) && u < s->start + back;
}

/* Will it show it again after the change that ends s? */
static bool
is_first(const struct zone *z, const struct zone_span *s, int64_t u)
{
	int32_t off, back;

	if (s->end == INT64_MAX)
		return false;
	zone_offset_at(z, s->end, &off, NULL, NULL);
	back = s->off - off;
	return back > 0 && is_clock_change(back) && u >= s->end - back;
}

/* The first instant in s from u on that the fold policy lets run; s->end if there is none. */
static int64_t
fold_resumes(const struct cron *c, const struct zone *z, const struct zone_span *s,
    const struct cron_policy *policy, int64_t u)
{
	if (cron_follows_clock(c) || policy->fold == CRON_FOLD_BOTH)
		return u;
	if (policy->fold == CRON_FOLD_FIRST)
		return is_second(s, u) ? s->start + s->off_before - s->off : u;
	return is_first(z, s, u) ? s->end : u;
}

/* The first regular occurrence in s from `from` on and before `limit`; INT64_MAX if none. */
static int64_t
next_in_span(const struct cron *c, const struct zone *z, const struct zone_span *s,
    const struct cron_policy *policy, int64_t from, int64_t limit)
{
	int64_t end = s->end < limit ? s->end : limit;

	for (int64_t u = from;;) {
		int64_t local = next_local(c, u + s->off, end + s->off);
		int64_t found;

		if (local == INT64_MAX)
			return INT64_MAX;
		found = local - s->off;
		u = fold_resumes(c, z, s, policy, found);
		if (u == found)
			return u;
	}
}

bool
cron_next_occurrence(const struct cron *c, const struct zone *z, const struct cron_policy *policy,
    int64_t after, struct cron_occurrence *out)
{
	int64_t from = after < CIVIL_MIN_S ? CIVIL_MIN_S : after, limit;

	if (after >= CIVIL_MAX_S || !has_any_day(c))
		return false;
	from++;
	limit = zone_table_end(z) > from ? zone_table_end(z) : from;
	/* After the table one full cycle of the calendar: what has not come then never does. */
	limit = limit + HORIZON_S > CIVIL_MAX_S + 1 ? CIVIL_MAX_S + 1 : limit + HORIZON_S;
	while (from < limit) {
		struct zone_span s = zone_span_at(z, from);
		int64_t u = next_in_span(c, z, &s, policy, from, limit);

		if (u != from && from == s.start && is_due_at_gap_end(c, &s, policy)) {
			*out = (struct cron_occurrence){.utc = from, .is_moved = true};
			return true;
		}
		if (u != INT64_MAX) {
			*out = (struct cron_occurrence){.utc = u, .is_repeat = is_second(&s, u)};
			return true;
		}
		from = s.end;
	}
	return false;
}

bool
cron_next(const struct cron *c, const struct zone *z, const struct cron_policy *policy,
    int64_t after, int64_t *out)
{
	struct cron_occurrence o;

	if (!cron_next_occurrence(c, z, policy, after, &o))
		return false;
	*out = o.utc;
	return true;
}
