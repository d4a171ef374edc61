// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Calendars: which days they rule out, and where the occurrences of such a day go. Shifting works
 * on local times, before the zone's rules: an expression's days are mapped to other days, so what
 * comes out is again a source of local times and the clock's rules hold for it as for any other.
 */
#include "when/when_priv.h"

#include "when/calendar.h"
#include "when/civil.h"
#include "when/recur.h"
#include "when/rrule.h"
#include "when/zone.h"

#include "base/banned.h"

enum { SUNDAY = 0, SATURDAY = 6 };

bool
when_has_calendar(const struct when_setting *set)
{
	return set->include || set->exclude;
}

bool
when_is_hit(const struct when_setting *set, int64_t day, const char **reason)
{
	const char *why = "";
	bool is_excluded = set->exclude && calendar_has(set->exclude, day, &why);
	bool is_left_out = !is_excluded && set->include && !calendar_has(set->include, day, &why);

	if (reason)
		*reason = is_excluded   ? (*why ? why : "a day of the exclude calendar")
			  : is_left_out ? "not a day of the include calendar"
					: NULL;
	return is_excluded || is_left_out;
}

static bool
is_business_day(const struct when_setting *set, int64_t day)
{
	int weekday = civil_weekday(day);

	return weekday != SUNDAY && weekday != SATURDAY && !when_is_hit(set, day, NULL);
}

int64_t
when_last_day(const struct when_setting *set)
{
	size_t n;

	if (!set->include)
		return CIVIL_MAX_S / DAY_S + 2;
	n = calendar_count(set->include);
	return n ? calendar_day(set->include, n - 1, NULL) : CIVIL_MIN_S / DAY_S - 2;
}

/* Days [lo, hi] known to have no business day among them, so that a search that goes on from day to
 * day looks at each of them once. */
struct idle_days {
	int64_t lo, hi;
};

#define NO_IDLE_DAYS \
	{            \
		1, 0 \
	}

/* The nearest business day in one direction (step is 1 or -1). */
static bool
business_day(
    const struct when_setting *set, int64_t day, int step, struct idle_days *idle, int64_t *to)
{
	bool is_found = false;
	int64_t d;

	for (d = day + step; !is_found && (d - day) * step <= WHEN_SHIFT_DAYS_MAX;) {
		if (d >= idle->lo && d <= idle->hi)
			d = (step > 0 ? idle->hi : idle->lo) + step;
		else if (!(is_found = is_business_day(set, d)))
			d += step;
	}
	*idle = step > 0 ? (struct idle_days){day + 1, d - 1} : (struct idle_days){d + 1, day - 1};
	*to = is_found ? d : *to;
	return is_found;
}

static bool
moved_day(const struct when_setting *set, int64_t day, struct idle_days *idle, int64_t *to)
{
	static const signed char steps[] = {[WHEN_HIT_SKIP] = 0,
	    [WHEN_HIT_NEXT_BUSINESS_DAY] = 1,
	    [WHEN_HIT_PREVIOUS_BUSINESS_DAY] = -1};
	int step = steps[set->hit];

	return step && business_day(set, day, step, idle, to);
}

bool
when_moved_day(const struct when_setting *set, int64_t day, int64_t *to)
{
	struct idle_days idle = NO_IDLE_DAYS;

	return moved_day(set, day, &idle, to);
}

/* The first day whose occurrences could be moved to this day or a later one. */
static int64_t
first_donor(const struct when_setting *set, int64_t day)
{
	int64_t d = day;

	if (set->hit != WHEN_HIT_NEXT_BUSINESS_DAY)
		return day;
	while (d > day - WHEN_SHIFT_DAYS_MAX && !is_business_day(set, d - 1))
		d--;
	return d;
}

/* No occurrence meant for this day or a later one runs before the day returned. */
static int64_t
earliest_day(const struct when_setting *set, int64_t day, struct idle_days *idle)
{
	int64_t to;

	return set->hit == WHEN_HIT_PREVIOUS_BUSINESS_DAY && moved_day(set, day, idle, &to) ? to
											    : day;
}

/* The first time of day >= from that the expression has on a day. */
static bool
first_on_day(const struct when *w, int64_t day, int from, int *second)
{
	int64_t s = w->ops->next_local(w, day * DAY_S + from, (day + 1) * DAY_S);

	if (s == INT64_MAX)
		return false;
	*second = (int)(s - day * DAY_S);
	return true;
}

/* Takes a candidate if it is earlier, or as early and on its own day. */
static void
keep_first(struct local_time *best, int64_t s, int64_t day, bool is_shifted)
{
	if (s < best->s || (s == best->s && best->is_shifted && !is_shifted))
		*best = (struct local_time){s, day, is_shifted};
}

/* Nominal times from here on are no concern of a search that ends at `end`. */
static int64_t
nominal_end(const struct when_setting *set, int64_t end)
{
	int64_t last = (when_last_day(set) + 1) * DAY_S;

	end = end < last ? end : last;
	return set->hit == WHEN_HIT_PREVIOUS_BUSINESS_DAY ? end + WHEN_SHIFT_DAYS_MAX * DAY_S : end;
}

/* A rule may take long from one time to the next, and calendars may rule out those of many years. */
static int64_t
spent(const struct when *w)
{
	return w->kind == WHEN_RRULE ? rrule_spent(w->rrule) : 0;
}

bool
when_after_calendars(const void *arg, int64_t from, int64_t end, struct local_time *out)
{
	const struct when *w = arg;
	const struct when_setting *set = &w->set;
	int64_t from_day = floor_div(from, DAY_S), last = nominal_end(set, end), start, s;
	struct idle_days idle = NO_IDLE_DAYS;
	struct local_time best = {.s = INT64_MAX};
	int64_t spent_max = spent(w) + RECUR_STEPS_MAX;

	/* What is only skipped, nothing else takes its place. */
	start = set->hit == WHEN_HIT_SKIP ? from : first_donor(set, from_day) * DAY_S;
	while (start < last && (s = w->ops->next_local(w, start, last)) != INT64_MAX) {
		int64_t day = floor_div(s, DAY_S), to = day;
		int second = (int)(s - day * DAY_S);
		bool is_hit, runs;

		if (best.s != INT64_MAX && earliest_day(set, day, &idle) > floor_div(best.s, DAY_S))
			break;
		is_hit = when_is_hit(set, day, NULL);
		runs = !is_hit || moved_day(set, day, &idle, &to);
		if (runs && to == from_day && from_day * DAY_S + second < from)
			runs = first_on_day(w, day, (int)(from - from_day * DAY_S), &second);
		if (runs && to >= from_day)
			keep_first(&best, to * DAY_S + second, day, is_hit);
		/* Nothing comes to an earlier day than its own, unless it goes back. */
		if (best.s < last && set->hit != WHEN_HIT_PREVIOUS_BUSINESS_DAY)
			last = (floor_div(best.s, DAY_S) + 1) * DAY_S;
		start = (day + 1) * DAY_S;
		if (best.s == INT64_MAX && spent(w) > spent_max)
			break;
	}
	*out = best;
	return best.s < end;
}
