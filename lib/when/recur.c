// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See recur.h. From DAILY on the walk goes from period to period (day, week, month, year) and keeps
 * the days of one; a day belongs to it if every part of the rule allows it. Below DAILY it goes
 * from unit to unit and jumps over days, hours and minutes that the rule does not allow.
 */
#include "when/recur.h"

#include <string.h>

#include "when/civil.h"

#include "base/banned.h"

/* More units than these without a match is never: a unit costs some 20 ns. */
#define UNITS_MAX 100000

static int64_t
ceil_div(int64_t a, int64_t b)
{
	return -floor_div(-a, b);
}

static int64_t
day_of(int64_t s)
{
	return floor_div(s, DAY_S);
}

static int64_t
week_start_of(const struct recur *r, int64_t day)
{
	return day - (civil_weekday(day) - r->week_start + 7) % 7;
}

/* Week 1 is the first with at least four days in the year. */
static int64_t
first_week(const struct recur *r, int64_t year)
{
	int64_t jan4 = civil_days(year, 1, 4);

	return week_start_of(r, jan4);
}

static bool
week_matches(const struct recur *r, int64_t day, int64_t year)
{
	int64_t first = first_week(r, year);
	int64_t next = first_week(r, year + 1);

	if (day < first) {
		next = first;
		first = first_week(r, year - 1);
	} else if (day >= next) {
		first = next;
		next = first_week(r, year + 2);
	}
	return (r->week >> ((day - first) / 7 + 1) & 1) ||
	       (r->week_back >> ((next - 1 - day) / 7 + 1) & 1);
}

static bool
bit_of(const uint64_t *bits, int64_t n)
{
	return bits[n / 64] >> (n % 64) & 1;
}

/* 2MO is the second Monday of the month; of the year if the rule is YEARLY and names no month. */
static bool
nth_matches(const struct recur *r, int64_t day, const struct civil *c, int weekday)
{
	bool in_year = r->freq == RECUR_YEARLY && !r->month;
	int64_t at = in_year ? day - civil_days(c->year, 1, 1) : c->day - 1;
	int64_t len = in_year ? 365 + civil_is_leap(c->year) : civil_month_days(c->year, c->month);
	int64_t n = at / 7 + 1, back = (len - 1 - at) / 7 + 1;

	return bit_of(r->nth, RECUR_NTH_BIT(n, weekday)) ||
	       bit_of(r->nth_back, RECUR_NTH_BIT(back, weekday));
}

static bool
year_day_matches(const struct recur *r, int64_t day, int64_t year)
{
	int64_t at = day - civil_days(year, 1, 1) + 1;

	return bit_of(r->year_day, at) || bit_of(r->year_day_back, 366 + civil_is_leap(year) - at);
}

static bool
day_matches(const struct recur *r, int64_t day, const struct civil *c)
{
	if (r->month && !(r->month >> c->month & 1))
		return false;
	if ((r->month_day || r->month_day_back) && !(r->month_day >> c->day & 1) &&
	    !(r->month_day_back >> (civil_month_days(c->year, c->month) - c->day + 1) & 1))
		return false;
	if (r->weekday || r->has_nth) {
		int weekday = civil_weekday(day);

		if (!(r->weekday >> weekday & 1) &&
		    !(r->has_nth && nth_matches(r, day, c, weekday)))
			return false;
	}
	if ((r->week || r->week_back) && !week_matches(r, day, c->year))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(r->year_day); i++)
		if (r->year_day[i] || r->year_day_back[i])
			return year_day_matches(r, day, c->year);
	return true;
}

/* --- times of a day --- */

/* The first allowed time of day at or after tod; -1: none today. */
static int64_t
time_from(const struct recur *r, int64_t tod)
{
	for (int h = (int)(tod / 3600); h < 24; h++) {
		if (!(r->hour >> h & 1))
			continue;
		for (int m = h == tod / 3600 ? (int)(tod / 60 % 60) : 0; m < 60; m++) {
			int64_t at = h * 3600 + m * 60;
			uint64_t left =
			    at < tod ? r->second >> (tod % 60) << (tod % 60) : r->second;

			if ((r->minute >> m & 1) && left)
				return at + __builtin_ctzll(left);
		}
	}
	return -1;
}

/* Which bit is the i-th that is set. */
static int
nth_bit(uint64_t bits, int64_t i)
{
	while (i--)
		bits &= bits - 1;
	return __builtin_ctzll(bits);
}

/* The set of times that BYSETPOS counts in: those of `hour`, `minute`. */
static int64_t
time_at(uint32_t hour, uint64_t minute, uint64_t second, int64_t i)
{
	int64_t seconds = __builtin_popcountll(second);
	int64_t minutes = __builtin_popcountll(minute);

	return nth_bit(hour, i / seconds / minutes) * 3600 +
	       nth_bit(minute, i / seconds % minutes) * 60 + nth_bit(second, i % seconds);
}

/* --- DAILY and longer --- */

static void
add_days(const struct recur *r, struct recur_walk *w, int64_t first, int n)
{
	struct civil c = civil_from_days(first);

	for (int i = 0; i < n; i++) {
		if (day_matches(r, first + i, &c))
			w->days[w->n++] = first + i;
		if (++c.day > civil_month_days(c.year, c.month)) {
			c.day = 1;
			c.year += c.month == 12;
			c.month = c.month % 12 + 1;
		}
	}
}

/* First day and length of the period number `period`, counted from that of DTSTART. */
static int64_t
period_first(const struct recur *r, int64_t period, int *n)
{
	int64_t day = day_of(r->start);
	struct civil c = civil_from_days(day);
	int64_t month;

	switch (r->freq) {
	case RECUR_YEARLY:
		c.year += period * r->interval;
		*n = 365 + civil_is_leap(c.year);
		return civil_days(c.year, 1, 1);
	case RECUR_MONTHLY:
		month = c.year * 12 + c.month - 1 + period * r->interval;
		c.year = floor_div(month, 12);
		c.month = (int)(month - c.year * 12) + 1;
		*n = civil_month_days(c.year, c.month);
		return civil_days(c.year, c.month, 1);
	case RECUR_WEEKLY:
		*n = 7;
		return week_start_of(r, day) + period * r->interval * 7;
	default:
		*n = 1;
		return day + period * r->interval;
	}
}

/* The last period that does not begin after this day. */
static int64_t
period_of(const struct recur *r, int64_t day)
{
	int64_t first = day_of(r->start);
	struct civil a = civil_from_days(first);
	struct civil b = civil_from_days(day);

	switch (r->freq) {
	case RECUR_YEARLY:
		return floor_div(b.year - a.year, r->interval);
	case RECUR_MONTHLY:
		return floor_div((b.year - a.year) * 12 + b.month - a.month, r->interval);
	case RECUR_WEEKLY:
		return floor_div(week_start_of(r, day) - week_start_of(r, first), 7 * r->interval);
	default:
		return floor_div(day - first, r->interval);
	}
}

static void
fill(const struct recur *r, struct recur_walk *w, int64_t period)
{
	int n;
	int64_t first = period_first(r, period, &n);

	w->spent += 1 + n / (r->week || r->week_back ? 2 : 8);
	w->n = 0;
	w->period = period;
	w->is_filled = true;
	if (!r->month || n > 31) {
		add_days(r, w, first, n);
		return;
	}
	/* A period of a month or less: most are in no month of the rule at all. */
	struct civil a = civil_from_days(first);
	struct civil b = civil_from_days(first + n - 1);

	if ((r->month >> a.month & 1) || (r->month >> b.month & 1))
		add_days(r, w, first, n);
}

/* The first of the period's set at or after from. */
static bool
first_in_period(const struct recur *r, const struct recur_walk *w, int64_t from, int64_t *out)
{
	for (int i = 0; i < w->n; i++) {
		int64_t at = w->days[i] * DAY_S;
		int64_t tod;

		if (at + DAY_S <= from)
			continue;
		tod = time_from(r, from > at ? from - at : 0);
		if (tod >= 0) {
			*out = at + tod;
			return true;
		}
	}
	return false;
}

/* The i-th of the period's set, -1 the last. */
static bool
position(const struct recur *r, const struct recur_walk *w, int i, int64_t *out)
{
	int64_t times = (int64_t)__builtin_popcount(r->hour) * __builtin_popcountll(r->minute) *
			__builtin_popcountll(r->second);
	int64_t at = i > 0 ? i - 1 : times * w->n + i;

	if (at < 0 || at >= times * w->n)
		return false;
	*out = w->days[at / times] * DAY_S + time_at(r->hour, r->minute, r->second, at % times);
	return true;
}

static bool
position_in_period(const struct recur *r, const struct recur_walk *w, int64_t from, int64_t *out)
{
	int64_t best = INT64_MAX;
	int64_t at;

	for (int i = 0; i < r->set_pos_n; i++)
		if (position(r, w, r->set_pos[i], &at) && at >= from && at < best)
			best = at;
	if (best == INT64_MAX)
		return false;
	*out = best;
	return true;
}

/* Whole months that the rule does not name are passed over at once: DAILY only. */
static int64_t
skip_month(const struct recur *r, int64_t period)
{
	int64_t day = day_of(r->start) + period * r->interval;
	struct civil c = civil_from_days(day);

	if (r->freq != RECUR_DAILY || !r->month || (r->month >> c.month & 1))
		return period;
	day += civil_month_days(c.year, c.month) - c.day + 1;
	return ceil_div(day - day_of(r->start), r->interval);
}

static bool
period_next(const struct recur *r, struct recur_walk *w, int64_t from, int64_t *out)
{
	int64_t last_day = day_of(from) + CIVIL_CYCLE_DAYS;
	int64_t end = r->until < last_day * DAY_S ? r->until : last_day * DAY_S;
	int64_t period = period_of(r, day_of(from));
	int64_t next;
	int n;

	for (;; period++) {
		while ((next = skip_month(r, period)) != period &&
		       day_of(r->start) + next * r->interval <= last_day)
			period = next;
		if (period_first(r, period, &n) * DAY_S > end)
			return false;
		if (!w->is_filled || w->period != period)
			fill(r, w, period);
		if (w->n && (r->set_pos_n ? position_in_period(r, w, from, out)
					  : first_in_period(r, w, from, out)))
			return true;
	}
}

/* --- HOURLY and shorter --- */

static int64_t
unit_of(const struct recur *r)
{
	return r->freq == RECUR_HOURLY ? 3600 : r->freq == RECUR_MINUTELY ? 60 : 1;
}

/* The first unit of the rule that begins at or after s. */
static int64_t
unit_from(const struct recur *r, int64_t s)
{
	int64_t unit = unit_of(r);
	int64_t base = floor_div(r->start, unit) * unit;
	int64_t step = unit * r->interval;

	return base + ceil_div(s - base, step) * step;
}

/* Where to look next if the unit at t is of no use: the end of the day, hour or minute that is not
 * allowed. 0: it is allowed. */
static int64_t
unit_skip(const struct recur *r, int64_t t)
{
	int64_t day = day_of(t);
	int64_t tod = t - day * DAY_S;
	struct civil c = civil_from_days(day);
	int64_t hours;

	if (!day_matches(r, day, &c))
		return DAY_S - tod;
	hours = r->hour >> (tod / 3600);
	if (!hours)
		return DAY_S - tod;
	if (!(hours & 1))
		return (tod / 3600 + __builtin_ctzll((uint64_t)hours)) * 3600 - tod;
	if (r->freq <= RECUR_MINUTELY && !(r->minute >> (tod / 60 % 60) & 1))
		return 60 - tod % 60;
	if (r->freq == RECUR_SECONDLY && !(r->second >> (tod % 60) & 1))
		return 1;
	return 0;
}

/* The i-th time within a unit that begins at t. */
static bool
unit_position(const struct recur *r, int64_t t, int i, int64_t *out)
{
	uint64_t minute = r->freq == RECUR_HOURLY ? r->minute : 1;
	uint64_t second = r->freq == RECUR_SECONDLY ? 1 : r->second;
	int64_t n = (int64_t)__builtin_popcountll(minute) * __builtin_popcountll(second);
	int64_t at = i > 0 ? i - 1 : n + i;

	if (at < 0 || at >= n)
		return false;
	*out = t + time_at(1, minute, second, at);
	return true;
}

static bool
in_unit(const struct recur *r, int64_t t, int64_t from, int64_t *out)
{
	int64_t best = INT64_MAX;
	int64_t at;

	for (int i = 0; i < r->set_pos_n; i++)
		if (unit_position(r, t, r->set_pos[i], &at) && at >= from && at < best)
			best = at;
	for (int i = 1; !r->set_pos_n && best == INT64_MAX && unit_position(r, t, i, &at); i++)
		if (at >= from)
			best = at;
	if (best == INT64_MAX)
		return false;
	*out = best;
	return true;
}

static bool
unit_next(const struct recur *r, struct recur_walk *w, int64_t from, int64_t *out)
{
	int64_t end = (day_of(from) + CIVIL_CYCLE_DAYS) * DAY_S;
	int64_t t = unit_from(r, floor_div(from, unit_of(r)) * unit_of(r));

	if (r->until < end)
		end = r->until;
	for (int days = CIVIL_CYCLE_DAYS, units = UNITS_MAX; t <= end && days && units;) {
		int64_t skip = unit_skip(r, t);

		w->spent++;
		if (!skip && in_unit(r, t, from, out))
			return true;
		days -= skip > 3600;
		units -= skip <= 3600;
		t = unit_from(r, t + (skip ? skip : 1));
	}
	return false;
}

bool
recur_next(const struct recur *r, struct recur_walk *walk, int64_t after, int64_t *out)
{
	int64_t from, at;

	if (r->is_never || after >= r->until || after >= CIVIL_MAX_S)
		return false;
	from = after < r->start ? r->start : after + 1;
	if (!(r->freq < RECUR_DAILY ? unit_next(r, walk, from, &at)
				    : period_next(r, walk, from, &at)))
		return false;
	if (at > r->until || at > CIVIL_MAX_S)
		return false;
	*out = at;
	return true;
}
