// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See marks.h; what is printed is in marks_print.c. */
#include "cli/marks.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#include "cli/moment.h"

#include "when/calendar.h"
#include "when/civil.h"
#include "when/stamp.h"
#include "when/when.h"
#include "when/zone.h"

#include "base/banned.h"

#define SKIPPED_MAX 200
#define LOOKED_AT_MAX 10000
#define YEAR_S (366 * INT64_C(86400))
#define CHANGES_MAX 200

static json_t *
utc_json(int64_t utc)
{
	char text[32];

	return json_string(when_format_rfc3339(utc, text));
}

/* "02:30" or "02:30:15" of local seconds. */
static const char *
clock_text(int64_t local_s, char out[16])
{
	int s = (int)(local_s - floor_div(local_s, DAY_S) * DAY_S);

	snprintf(out, 16, s % 60 ? "%02d:%02d:%02d" : "%02d:%02d", s / 3600, s / 60 % 60, s % 60);
	return out;
}

/* --- the next times --- */

static const char *
shift_reason(const struct marks_of *m, int64_t day)
{
	const char *why = "";

	if (!m->exclude || !calendar_has(m->exclude, day, &why))
		return "not a day of the include calendar";
	return *why ? why : "a day of the exclude calendar";
}

static json_t *
next_json(const struct marks_of *m, const struct when_occurrence *o)
{
	struct zone_span span = zone_span_at(m->zone, o->utc);
	json_t *marks = json_array(),
	       *one = json_pack("{s:o, s:o}", "utc", utc_json(o->utc), "marks", marks);
	char local[48], from[16], to[16], day[16];

	json_object_set_new(one, "local", json_string(moment_local_text(o->utc, m->zone, local)));
	if (o->is_moved) {
		json_array_append_new(marks, json_string("moved"));
		json_object_set_new(one, "gap",
		    json_sprintf("%s to %s", clock_text(o->utc + span.off_before, from),
			clock_text(o->utc + span.off, to)));
	}
	if (o->is_repeat)
		json_array_append_new(marks, json_string("repeat"));
	if (o->is_shifted) {
		json_array_append_new(marks, json_string("shifted"));
		json_object_set_new(one, "meant_for", json_string(moment_day_text(o->day, day)));
		json_object_set_new(one, "reason", json_string(shift_reason(m, o->day)));
	}
	return one;
}

/* What does not run when it was meant to: skipped, or at home on another day. */
static json_t *
skipped_json(const struct marks_of *m, const struct when_mark *mark)
{
	static const char *const what[] = {[WHEN_FIRES] = "shifted",
	    [WHEN_SKIPPED_CALENDAR] = "calendar",
	    [WHEN_SKIPPED_GAP] = "gap",
	    [WHEN_SKIPPED_FOLD] = "fold"};
	char local[48];
	json_t *row = json_pack("{s:o, s:s, s:s, s:s}", "utc", utc_json(mark->utc), "local",
	    moment_bare_text(mark->local_s, local), "what", what[mark->what], "reason",
	    mark->what == WHEN_FIRES ? shift_reason(m, mark->o.day) : mark->reason);

	if (mark->what == WHEN_FIRES)
		json_object_set_new(
		    row, "shifted_to", json_string(moment_local_text(mark->o.utc, m->zone, local)));
	return row;
}

/* false: there was more than is listed or was looked at. */
static bool
add_skipped(const struct marks_of *m, int64_t from, int64_t until, json_t *to)
{
	struct when_cursor c = {.after = from, .until = until};
	struct when_mark mark;

	for (int n = 0; when_next_mark(m->w, &c, &mark); n++) {
		if (n == LOOKED_AT_MAX)
			return false;
		if (mark.what == WHEN_FIRES && !mark.o.is_shifted)
			continue;
		if (json_array_size(to) == SKIPPED_MAX)
			return false;
		json_array_append_new(to, skipped_json(m, &mark));
	}
	return true;
}

json_t *
marks_next(const struct marks_of *m, int64_t from, long count)
{
	json_t *next = json_array(), *skipped = json_array();
	struct when_occurrence o = {.utc = from};
	bool is_whole;

	while (count > 0 && when_next(m->w, o.utc, &o)) {
		json_array_append_new(next, next_json(m, &o));
		count--;
	}
	is_whole = add_skipped(m, from, count ? from + 5 * YEAR_S : o.utc, skipped);
	return json_pack(
	    "{s:o, s:o, s:b}", "next", next, "skipped", skipped, "skipped_more", (int)!is_whole);
}

/* --- the report of clock changes --- */

struct report {
	const struct marks_of *m;
	json_t *list;
	json_int_t more;
};

/* A local time that a clock change meets, and when it runs: 0 to 2 instants. */
struct met {
	int64_t local_s, change;
	int n;
	int64_t runs[2];
	const char *what;
};

static void
describe(const struct report *r, const struct met *t, struct buf *out)
{
	static const char *const sentences[][2] = {
	    {"moved", "the clock skips it; it runs at the end of the gap"},
	    {"skipped_gap", "the clock skips it; it does not run"},
	    {"first_of_two", "the clock shows it twice; it runs the first time"},
	    {"second_of_two", "the clock shows it twice; it runs the second time"},
	    {"both", "the clock shows it twice; it runs both times"},
	};
	const char *abbrev;
	char clock[16];
	int32_t off;

	for (size_t i = 0; i < ARRAY_LEN(sentences); i++)
		if (strcmp(sentences[i][0], t->what) == 0)
			buf_adds(out, sentences[i][1]);
	for (int i = 0; i < t->n; i++) {
		zone_offset_at(r->m->zone, t->runs[i], &off, NULL, &abbrev);
		buf_addf(out, "%s%s %s", i ? " and " : ": ", clock_text(t->runs[i] + off, clock),
		    abbrev);
	}
}

static void
add_met(struct report *r, const struct met *t)
{
	_cleanup_buf_ struct buf text = {0};
	json_t *runs = json_array();
	char due[32];

	for (int i = 0; i < t->n; i++)
		json_array_append_new(runs, utc_json(t->runs[i]));
	describe(r, t, &text);
	json_array_append_new(r->list,
	    json_pack("{s:s, s:s, s:o, s:o, s:s}", "due", moment_bare_text(t->local_s, due), "what",
		t->what, "runs_at", runs, "change", utc_json(t->change), "text", text.p));
}

/* Set forward: the marks at the change itself whose local time is inside the gap. */
static void
report_gap(struct report *r, int64_t change, const struct zone_span *span)
{
	struct when_cursor c = {.after = change - 1, .until = change};
	struct when_mark mark;

	while (when_next_mark(r->m->w, &c, &mark)) {
		struct met t = {mark.local_s, change, 0, {0}, "skipped_gap"};

		if (mark.local_s >= change + span->off || mark.what == WHEN_SKIPPED_CALENDAR ||
		    mark.o.is_shifted)
			continue;
		if (mark.what == WHEN_FIRES)
			t = (struct met){mark.local_s, change, 1, {mark.o.utc}, "moved"};
		if (json_array_size(r->list) < CHANGES_MAX)
			add_met(r, &t);
		else
			r->more++;
	}
}

/* Set back: the first showing of a local time comes before the change, the second one after. */
static void
report_fold(struct report *r, int64_t change, const struct zone_span *span)
{
	int64_t twice = span->off_before - span->off;
	struct when_cursor c = {.after = change - twice - 1, .until = change + twice - 1};
	struct met met[CHANGES_MAX];
	struct when_mark mark;
	size_t n = 0, k = 0;

	while (when_next_mark(r->m->w, &c, &mark)) {
		bool is_second = mark.utc >= change, runs = mark.what == WHEN_FIRES;

		if (mark.what == WHEN_SKIPPED_CALENDAR || mark.o.is_shifted)
			continue;
		if (!is_second && json_array_size(r->list) + n < CHANGES_MAX)
			met[n++] =
			    (struct met){mark.local_s, change, runs, {mark.o.utc}, "first_of_two"};
		else if (!is_second)
			r->more++;
		while (is_second && k < n && met[k].local_s < mark.local_s)
			k++;
		if (is_second && runs && k < n && met[k].local_s == mark.local_s) {
			met[k].what = met[k].n ? "both" : "second_of_two";
			met[k].runs[met[k].n++] = mark.o.utc;
		}
	}
	for (size_t i = 0; i < n; i++)
		if (met[i].n)
			add_met(r, &met[i]);
}

json_t *
marks_clock_changes(const struct marks_of *m, int64_t from)
{
	struct report r = {.m = m, .list = json_array()};
	int64_t change = from;

	while (zone_next_change(m->zone, change, &change) && change <= from + 2 * YEAR_S) {
		struct zone_span span = zone_span_at(m->zone, change);

		if (span.off > span.off_before)
			report_gap(&r, change, &span);
		else
			report_fold(&r, change, &span);
	}
	return json_pack("{s:o, s:I}", "clock_changes", r.list, "clock_changes_more", r.more);
}
