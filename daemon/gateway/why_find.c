// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What a schedule says about a stretch of time, by the settings that held then. Effective from and
 * until are left out here: a time that only they keep from running is a time all the same, and the
 * answer names them.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"

#include "when/civil.h"
#include "when/stamp.h"

#include "daemon/gateway/schedule_def.h"
#include "daemon/gateway/why.h"

#include "base/banned.h"

const json_t *
why_setting(const json_t *facts, int64_t utc)
{
	const json_t *settings = json_object_get(facts, "settings"), *found = NULL, *s;
	size_t i;

	json_array_foreach((json_t *)settings, i, s)
	{
		if (json_get_int(s, "since", INT64_MAX) > utc)
			break;
		found = s;
	}
	return found;
}

bool
why_changed_after(const json_t *facts, int64_t utc, int64_t *at)
{
	const json_t *settings = json_object_get(facts, "settings"), *s;
	size_t i;

	json_array_foreach((json_t *)settings, i, s)
	{
		*at = json_get_int(s, "since", 0) - 1;
		if (*at >= utc)
			return true;
	}
	return false;
}

static int64_t
instant_of(const json_t *setting, const char *name, int64_t none)
{
	const char *text = json_get_str(json_object_get(setting, "schedule"), name, NULL);
	int64_t utc;

	return text && when_parse_rfc3339(text, &utc, NULL, NULL) == 0 ? utc : none;
}

void
why_effective(const json_t *setting, int64_t *from, int64_t *until)
{
	*from = instant_of(setting, "effective_from", INT64_MIN);
	*until = instant_of(setting, "effective_until", INT64_MAX);
}

static struct schedule_plan *
plan_of(const json_t *facts, const json_t *setting, struct err *e)
{
	_cleanup_json_ json_t *normal = json_copy(json_object_get(setting, "schedule"));
	int64_t anchor = instant_of(setting, "effective_from", json_get_int(facts, "anchor", 0));

	json_object_set_new(normal, "effective_from", json_null());
	json_object_set_new(normal, "effective_until", json_null());
	return schedule_plan_new(
	    normal, json_object_get(facts, "calendars"), json_get_str(facts, "id", ""), anchor, e);
}

/* Is a local time among those that are asked for? Only a time that the clock skips has no other
 * name. */
static bool
is_meant(const struct why_asked *a, const struct when_mark *m)
{
	return !a->is_gap || (m->local_s >= a->local_lo && m->local_s <= a->local_hi);
}

static bool
find_due(const struct when *w, const struct why_asked *a, struct why_span s, struct when_mark *out)
{
	struct when_occurrence o;

	if (a->is_gap || !when_next(w, s.lo - 1, &o) || o.utc > s.hi)
		return false;
	*out = (struct when_mark){.utc = o.utc, .what = WHEN_FIRES, .o = o};
	return true;
}

static bool
find_mark(const struct when *w, const struct why_asked *a, struct why_span s, struct when_mark *out)
{
	struct when_cursor c = {.after = s.lo - 1, .until = s.hi};

	while (when_next_mark(w, &c, out))
		if (is_meant(a, out))
			return true;
	return false;
}

static bool
is_listed(const json_t *names, const char *name)
{
	const json_t *n;
	size_t i;

	json_array_foreach(
	    (json_t *)names, i, n) if (!strcmp(json_string_value(n), name)) return true;
	return false;
}

/* Which calendar it was; of an occurrence that was moved, on the day that it was meant for. */
static void
name_calendar(
    const struct schedule_plan *p, const json_t *setting, int64_t day, struct why_found *out)
{
	const char *reason = "", *name = schedule_plan_hit(p, day, &reason);

	if (!name)
		return;
	snprintf(out->calendar, sizeof(out->calendar), "%s", name);
	snprintf(out->reason, sizeof(out->reason), "%s", reason);
	out->rule =
	    is_listed(json_object_get(json_object_get(setting, "schedule"), "exclude"), name)
		? "calendar.exclude"
		: "calendar.include";
}

static void
judge(const struct schedule_plan *p, const json_t *setting, struct why_found *out)
{
	const struct when_mark *m = &out->mark;
	bool is_moved = m->what == WHEN_FIRES && m->o.is_shifted;

	out->due = m->what == WHEN_FIRES ? m->o.utc : m->utc;
	if (m->what == WHEN_SKIPPED_GAP || m->what == WHEN_SKIPPED_FOLD) {
		out->rule = m->what == WHEN_SKIPPED_GAP ? "dst.gap" : "dst.fold";
		snprintf(out->reason, sizeof(out->reason), "%s", m->reason);
	} else if (m->what == WHEN_SKIPPED_CALENDAR || is_moved)
		name_calendar(p, setting, is_moved ? m->o.day : floor_div(m->local_s, DAY_S), out);
}

/* The last due time before an instant. Looking back by doubling steps finds some, halving then the last
 * of them: a month of every second is not walked through. */
static bool
find_before(const struct when *w, int64_t utc, int64_t floor, int64_t *out)
{
	int64_t hi = utc, lo = utc;
	struct when_occurrence o;

	for (int64_t back = 60; !when_next(w, lo - 1, &o) || o.utc >= utc; back *= 2) {
		if (lo <= floor)
			return false;
		lo = utc - back > floor ? utc - back : floor;
	}
	/* due at lo, never from hi on */
	for (lo = o.utc; hi - lo > 1;) {
		int64_t mid = lo + (hi - lo) / 2;

		if (when_next(w, mid - 1, &o) && o.utc < hi)
			lo = o.utc;
		else
			hi = mid;
	}
	*out = lo;
	return true;
}

static void
find_neighbours(const struct when *w, const json_t *facts, const json_t *setting,
    const struct why_asked *a, unsigned span, struct why_found *out)
{
	int64_t from, until, created = json_get_int(facts, "created", 0);
	struct when_occurrence o;

	why_effective(setting, &from, &until);
	if (from < created)
		from = created;
	out->has_before =
	    find_before(w, a->span[span].lo < until ? a->span[span].lo : until, from, &out->before);
	out->has_after =
	    when_next(w, a->span[span].hi > from - 1 ? a->span[span].hi : from - 1, &o) &&
	    o.utc < until;
	out->after = o.utc;
}

void
why_look(const json_t *facts, const json_t *setting, const struct why_asked *a, unsigned span,
    struct why_found *out)
{
	const char *kind = json_get_str(json_object_get(setting, "schedule"), "kind", "on_demand");
	_cleanup_schedule_plan_ struct schedule_plan *p = NULL;
	const struct when *w;

	*out = (struct why_found){.is_on_demand = !strcmp(kind, "on_demand")};
	if (out->is_on_demand)
		return;
	p = plan_of(facts, setting, &out->error);
	if (!p) {
		out->is_invalid = true;
		return;
	}
	w = schedule_plan_when(p);
	out->is_nominal =
	    find_due(w, a, a->span[span], &out->mark) || find_mark(w, a, a->span[span], &out->mark);
	if (out->is_nominal)
		judge(p, setting, out);
	find_neighbours(w, facts, setting, a, span, out);
}
