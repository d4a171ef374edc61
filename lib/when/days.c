// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See days.h. Days are tested one after the other, months that cannot match are jumped over. */
#include "when/days.h"

#include "when/civil.h"

#include "base/banned.h"

enum { MONDAY = 1, FRIDAY = 5 };

/* One day with what the tests ask about it. */
struct day {
	struct civil c;
	int weekday;
	int month_days;
};

struct day_rule
day_rule_weekdays(uint32_t of_week)
{
	return (struct day_rule){.month = ~UINT32_C(0),
	    .of_month = ~UINT32_C(0),
	    .of_week = of_week,
	    .of_month_star = true};
}

/* nW: a Saturday's is the day before, a Sunday's the day after, but never in another month. */
static bool
is_nearest(uint32_t set, const struct day *d)
{
	int n = d->c.day, last = d->month_days;
	bool is_friday = d->weekday == FRIDAY, is_monday = d->weekday == MONDAY;

	if (!set || d->weekday < MONDAY || d->weekday > FRIDAY)
		return false;
	if (set >> n & 1)
		return true;
	if (is_friday && n < last && (set >> (n + 1) & 1))
		return true;
	if (is_friday && n + 2 == last && (set >> last & 1))
		return true;
	if (is_monday && n > 1 && (set >> (n - 1) & 1))
		return true;
	if (is_monday && n == 3 && (set >> 1 & 1))
		return true;
	return (set & 1) && (n == last || (is_friday && n + 2 >= last));
}

static bool
is_of_month(const struct day_rule *r, const struct day *d)
{
	return (r->of_month >> d->c.day & 1) || (r->from_last >> (d->month_days - d->c.day) & 1) ||
	       is_nearest(r->nearest, d);
}

static bool
is_of_week(const struct day_rule *r, const struct day *d)
{
	int nth = (d->c.day - 1) / 7 + 1;

	return (r->of_week >> d->weekday & 1) ||
	       (r->nth_of_week >> DAY_NTH_BIT(d->weekday, nth) & 1) ||
	       ((r->last_of_week >> d->weekday & 1) && d->c.day + 7 > d->month_days);
}

static bool
matches(const struct day_rule *r, const struct day *d)
{
	if (r->of_month_star || r->of_week_star)
		return is_of_month(r, d) && is_of_week(r, d);
	return is_of_month(r, d) || is_of_week(r, d);
}

int64_t
day_rule_next(const struct day_rule *r, int64_t day, int64_t last)
{
	struct day d = {.c = civil_from_days(day), .weekday = civil_weekday(day)};

	d.month_days = civil_month_days(d.c.year, d.c.month);
	while (day <= last) {
		int step = 1;

		if (!(r->month >> d.c.month & 1))
			step = d.month_days - d.c.day + 1;
		else if (matches(r, &d))
			return day;
		day += step;
		d.weekday = (d.weekday + step) % 7;
		d.c.day += step;
		if (d.c.day > d.month_days) {
			d.c.day = 1;
			d.c.year += d.c.month == 12;
			d.c.month = d.c.month % 12 + 1;
			d.month_days = civil_month_days(d.c.year, d.c.month);
		}
	}
	return INT64_MAX;
}

int64_t
day_rule_next_local(const struct day_rule *r, int (*next_second)(const void *times, int from),
    const void *times, int64_t from, int64_t end)
{
	int64_t day = floor_div(from, DAY_S);
	int start = (int)(from - day * DAY_S);

	for (;;) {
		int64_t found = day_rule_next(r, day, floor_div(end, DAY_S));
		int s;

		if (found == INT64_MAX)
			return INT64_MAX;
		s = next_second(times, found == day ? start : 0);
		if (s >= 0) {
			int64_t local = found * DAY_S + s;

			return local < end ? local : INT64_MAX;
		}
		day = found + 1;
		start = 0;
	}
}
