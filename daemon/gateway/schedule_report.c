// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See schedule_report.h. */
#include "daemon/gateway/schedule_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonx.h"

#include "daemon/gateway/schedule_def.h"
#include "when/civil.h"
#include "when/stamp.h"
#include "when/when.h"
#include "when/zone.h"

#include "base/banned.h"

#define MARKS_MAX 20000 /* looked at for one answer */

static json_t *
stamp(int64_t utc)
{
	char buf[32];

	return json_string(when_format_rfc3339(utc, buf));
}

/* A local time, written as if it were UTC, without an offset. */
static const char *
local_text(int64_t local_s, char buf[32])
{
	when_format_rfc3339(local_s, buf);
	buf[strcspn(buf, "Z")] = '\0';
	return buf;
}

json_t *
report_local(const struct zone *z, int64_t utc)
{
	char buf[32], text[48];
	const char *abbrev = "";
	int32_t off;

	zone_offset_at(z, utc, &off, NULL, &abbrev);
	snprintf(text, sizeof(text), "%s%c%02d:%02d %s", local_text(utc + off, buf),
	    off < 0 ? '-' : '+', abs(off) / 3600, abs(off) / 60 % 60, abbrev);
	return json_string(text);
}

static json_t *
marks_of(const struct when_occurrence *o)
{
	json_t *marks = json_array();

	if (o->is_moved)
		json_array_append_new(marks, json_string("moved"));
	if (o->is_repeat)
		json_array_append_new(marks, json_string("repeat"));
	if (o->is_shifted)
		json_array_append_new(marks, json_string("shifted"));
	return marks;
}

json_t *
report_times(const struct schedule_plan *p, int64_t from_utc, unsigned n, const struct zone *viewer,
    int64_t *last)
{
	const struct when *w = schedule_plan_when(p);
	struct when_occurrence o = {.utc = from_utc};
	json_t *out = json_array();

	for (unsigned i = 0; i < n && when_next(w, o.utc, &o); i++) {
		json_t *one = json_pack("{s:o, s:o, s:o}", "utc", stamp(o.utc), "local",
		    report_local(schedule_plan_zone(p), o.utc), "marks", marks_of(&o));

		if (viewer)
			json_object_set_new(one, "viewer", report_local(viewer, o.utc));
		json_array_append_new(out, one);
		*last = o.utc;
	}
	if (!json_array_size(out))
		*last = from_utc;
	return out;
}

void
report_texts(const json_t *times, json_t **utc, json_t **local)
{
	size_t i;
	json_t *one;

	*utc = json_array();
	*local = json_array();
	json_array_foreach((json_t *)times, i, one)
	{
		json_array_append(*utc, json_object_get(one, "utc"));
		json_array_append(*local, json_object_get(one, "local"));
	}
}

static json_t *
skipped_one(const struct schedule_plan *p, const struct when_mark *m)
{
	static const char *const what[] = {[WHEN_SKIPPED_CALENDAR] = "calendar",
	    [WHEN_SKIPPED_GAP] = "gap",
	    [WHEN_SKIPPED_FOLD] = "fold"};
	char local[32];
	json_t *one = json_pack("{s:o, s:s, s:s, s:s}", "utc", stamp(m->utc), "local",
	    local_text(m->local_s, local), "what", what[m->what], "reason",
	    m->reason ? m->reason : "");

	if (m->what == WHEN_SKIPPED_CALENDAR) {
		const char *calendar = schedule_plan_hit(p, floor_div(m->local_s, DAY_S), NULL);

		json_object_set_new(one, "calendar", json_string(calendar ? calendar : ""));
	}
	return one;
}

json_t *
report_skipped(const struct schedule_plan *p, int64_t from_utc, int64_t until_utc, bool *is_more)
{
	struct when_cursor c = {.after = from_utc, .until = until_utc};
	json_t *out = json_array();
	struct when_mark m;

	*is_more = false;
	for (int looked = 0; when_next_mark(schedule_plan_when(p), &c, &m); looked++) {
		if (looked == MARKS_MAX ||
		    (m.what != WHEN_FIRES && json_array_size(out) == REPORT_SKIPPED_MAX)) {
			*is_more = true;
			break;
		}
		if (m.what != WHEN_FIRES)
			json_array_append_new(out, skipped_one(p, &m));
	}
	return out;
}

/* --- clock changes --- */

/* A local time that a clock change skips or shows twice, and when it runs after all. */
struct met {
	int64_t local_s;
	bool is_gap, is_shifted;
	int runs; /* 0 to 2 */
	int64_t at[2];
	bool is_second; /* the one that runs is the second of two */
};

struct change {
	const struct schedule_plan *plan;
	int64_t at;
	int32_t before, after;
	json_t *out;
	int looked, *more;
};

static const char *
what_happens(const struct met *m)
{
	if (m->is_gap)
		return m->runs ? "moved" : "skipped_gap";
	return m->runs == 2 ? "both" : m->is_second ? "second_of_two" : "first_of_two";
}

static json_t *
sentence(const struct change *c, const struct met *m)
{
	char due[32], runs[32] = "";
	const char *zone = zone_name(schedule_plan_zone(c->plan));

	local_text(m->local_s, due);
	if (m->is_gap && m->runs)
		local_text(m->at[0] + c->after, runs);
	if (m->is_gap && m->is_shifted)
		return json_sprintf("a calendar moves it to a time that the clock of %s skips: "
				    "runs at the change, %s",
		    zone, runs);
	if (m->is_gap && m->runs)
		return json_sprintf(
		    "the clock of %s skips %s: runs at the change, %s", zone, due, runs);
	if (m->is_gap)
		return json_sprintf("the clock of %s skips %s: does not run", zone, due);
	return json_sprintf("the clock of %s shows %s twice: runs %s", zone, due,
	    m->runs == 2   ? "both times"
	    : m->is_second ? "the second time only"
			   : "the first time only");
}

static void
tell(struct change *c, const struct met *m)
{
	char due[32];
	json_t *runs;

	if (!m->is_gap && !m->runs)
		return; /* a calendar rules the day out */
	if (json_array_size(c->out) == REPORT_CHANGES_MAX) {
		++*c->more;
		return;
	}
	runs = json_array();
	for (int i = 0; i < m->runs; i++)
		json_array_append_new(runs, stamp(m->at[i]));
	json_array_append_new(
	    c->out, json_pack("{s:s, s:s, s:o, s:o, s:b, s:o}", "due", local_text(m->local_s, due),
			"what", what_happens(m), "runs_at", runs, "change", stamp(c->at), "shifted",
			m->is_shifted, "text", sentence(c, m)));
}

/* What stands in the gap. A shifted one has its own time of day, on the day it was moved to. */
static void
tell_gap(struct change *c, const struct when_mark *mark)
{
	bool runs = mark->what == WHEN_FIRES && !mark->o.is_shifted;
	struct met m = {mark->local_s, true, false, runs, {mark->o.utc}, false};

	if (mark->what != WHEN_SKIPPED_CALENDAR && !(mark->what == WHEN_FIRES && !runs))
		tell(c, &m);
}

/* Both passes of a fold, side by side: the second comes an offset later. */
static void
walk_fold(struct change *c)
{
	int64_t length = c->before - c->after;
	const struct when *w = schedule_plan_when(c->plan);
	struct when_cursor first = {.after = c->at - length - 1, .until = c->at - 1},
			   second = {.after = c->at - 1, .until = c->at + length - 1};
	struct when_mark a, b;
	bool has_a = when_next_mark(w, &first, &a), has_b = when_next_mark(w, &second, &b);

	for (; (has_a || has_b) && c->looked < MARKS_MAX; c->looked++) {
		bool is_a = has_a && (!has_b || a.local_s <= b.local_s),
		     is_b = has_b && (!has_a || b.local_s <= a.local_s);
		bool runs_a = is_a && a.what == WHEN_FIRES && !a.o.is_shifted,
		     runs_b = is_b && b.what == WHEN_FIRES && !b.o.is_shifted;
		struct met m = {is_a ? a.local_s : b.local_s, false, false, runs_a + runs_b,
		    {runs_a ? a.o.utc : b.o.utc, runs_b ? b.o.utc : 0}, runs_b && !runs_a};

		tell(c, &m);
		if (is_a)
			has_a = when_next_mark(w, &first, &a);
		if (is_b)
			has_b = when_next_mark(w, &second, &b);
	}
}

static void
walk_gap(struct change *c)
{
	struct when_cursor cursor = {.after = c->at - 1, .until = c->at};
	struct when_mark m;

	for (; c->looked < MARKS_MAX && when_next_mark(schedule_plan_when(c->plan), &cursor, &m);
	     c->looked++)
		if (m.local_s >= c->at + c->before && m.local_s < c->at + c->after)
			tell_gap(c, &m);
}

/* What a calendar moved to the day of the change has its nominal time on another day. */
static void
walk_shifted(struct change *c)
{
	int64_t length = abs(c->after - c->before);
	struct when_occurrence o = {.utc = c->at - length - 1};

	for (; c->looked < MARKS_MAX && when_next(schedule_plan_when(c->plan), o.utc, &o) &&
	       o.utc < c->at + length;
	     c->looked++) {
		bool is_first = o.utc < c->at;
		struct met m = {
		    o.utc + (is_first ? c->before : c->after), false, true, 1, {o.utc}, !is_first};

		if (!o.is_shifted || (c->after > c->before && !o.is_moved))
			continue;
		m.is_gap = o.is_moved;
		tell(c, &m);
	}
}

json_t *
report_clock_changes(const struct schedule_plan *p, int64_t from_utc, int64_t until_utc, int *more)
{
	const struct zone *z = schedule_plan_zone(p);
	struct change c = {.plan = p, .at = from_utc, .out = json_array(), .more = more};

	*more = 0;
	while (zone_next_change(z, c.at, &c.at) && c.at <= until_utc) {
		struct zone_span span = zone_span_at(z, c.at);

		c.before = span.off_before;
		c.after = span.off;
		c.looked = 0;
		if (c.after > c.before)
			walk_gap(&c);
		else
			walk_fold(&c);
		walk_shifted(&c);
	}
	return c.out;
}
