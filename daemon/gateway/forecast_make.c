// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Due times of many tasks, put in order and counted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "when/civil.h"

#include "daemon/gateway/forecast.h"
#include "daemon/gateway/schedule_def.h"
#include "daemon/gateway/why.h"

#include "base/banned.h"

#define HOUR_S 3600

static int64_t
first_hour(const struct forecast *f)
{
	return f->from - f->from % HOUR_S;
}

void
forecast_init(struct forecast *f, int64_t from, int64_t to, const json_t *calendars)
{
	*f = (struct forecast){.from = from, .to = to, .calendars = calendars};
	f->minutes_n = (unsigned)((to - first_hour(f)) / HOUR_S + 1) * 60;
	f->minutes = xcalloc(f->minutes_n, sizeof(*f->minutes));
}

void
forecast_fini(struct forecast *f)
{
	free(f->rows);
	free(f->minutes);
}

static struct forecast_row *
add_row(struct forecast *f, const json_t *task, int64_t due)
{
	if (f->n == f->cap) {
		struct forecast_row *rows = xcalloc(f->cap ? f->cap * 2 : 64, sizeof(*rows));

		if (f->n)
			memcpy(rows, f->rows, f->n * sizeof(*rows));
		free(f->rows);
		f->rows = rows;
		f->cap = f->cap ? f->cap * 2 : 64;
	}
	f->rows[f->n] = (struct forecast_row){.task = task, .due = due, .last = due, .count = 1};
	return &f->rows[f->n++];
}

static void
count(struct forecast *f, int64_t fires)
{
	int64_t minute = (fires - first_hour(f)) / 60;

	f->total++;
	if (minute >= 0 && minute < f->minutes_n)
		f->minutes[minute]++;
}

/* Due times in [from, to). From next_due on: what is before it, the engine has decided. */
static void
add_due(struct forecast *f, const json_t *task, const struct when *w)
{
	int64_t jitter = json_get_int(task, "jitter", 0), at = f->from - 1,
		next = json_get_int(task, "next_due", INT64_MIN);
	unsigned first = f->n, n = 0;
	struct when_occurrence o;
	struct forecast_row *r;

	if (next > f->from)
		at = next - 1;
	while (n < FORECAST_STEPS && when_next(w, at, &o) && o.utc < f->to) {
		at = o.utc;
		count(f, o.utc + jitter);
		if (n++ < FORECAST_ROWS_TASK) {
			r = add_row(f, task, o.utc);
			r->is_moved = o.is_moved;
			r->is_repeat = o.is_repeat;
			r->is_shifted = o.is_shifted;
		}
	}
	if (n <= FORECAST_ROWS_TASK)
		return;
	f->n = first + 1;
	r = &f->rows[first];
	r->is_moved = r->is_repeat = r->is_shifted = false;
	r->last = at;
	r->count = n;
	r->is_more = n == FORECAST_STEPS;
}

/* Times that will not fire; neighbours of one reason are one row. */
static void
add_skipped(struct forecast *f, const json_t *task, const struct when *w)
{
	static const char *const names[] = {NULL, "calendar", "gap", "fold"};
	struct when_cursor c = {.after = f->from - 1, .until = f->to - 1};
	int64_t next = json_get_int(task, "next_due", INT64_MIN);
	struct forecast_row *r = NULL;
	unsigned rows = 0;
	struct when_mark m;

	if (next > f->from)
		c.after = next - 1;
	for (unsigned n = 0; n < FORECAST_STEPS && when_next_mark(w, &c, &m); n++) {
		if (m.what == WHEN_FIRES)
			continue;
		if (r && r->skipped == names[m.what] && !strcmp(r->reason, m.reason)) {
			r->last = m.utc;
			r->count++;
			continue;
		}
		if (rows++ == FORECAST_ROWS_TASK)
			return;
		r = add_row(f, task, m.utc);
		r->skipped = names[m.what];
		snprintf(r->reason, sizeof(r->reason), "%s", m.reason);
	}
}

static bool
may_skip(const struct forecast *f, const json_t *schedule, const struct zone *z)
{
	int64_t change;

	return json_array_size(json_object_get(schedule, "include")) ||
	       json_array_size(json_object_get(schedule, "exclude")) ||
	       (zone_next_change(z, f->from - DAY_S, &change) && change <= f->to + DAY_S);
}

void
forecast_add(struct forecast *f, const json_t *task)
{
	const json_t *schedule = json_object_get(task, "schedule");
	struct err e = ERR_INIT;
	_cleanup_schedule_plan_ struct schedule_plan *p = schedule_plan_new(schedule, f->calendars,
	    json_get_str(task, "id", ""), json_get_int(task, "anchor", 0), &e);
	struct forecast_row *r;

	if (!p) {
		r = add_row(f, task, f->from);
		r->skipped = "invalid";
		snprintf(r->reason, sizeof(r->reason), "%.*s", CALENDAR_REASON_MAX, e.message);
		return;
	}
	add_due(f, task, schedule_plan_when(p));
	if (may_skip(f, schedule, schedule_plan_zone(p)))
		add_skipped(f, task, schedule_plan_when(p));
}

/* --- the answer --- */

static int
compare(const void *a, const void *b)
{
	const struct forecast_row *x = a, *y = b;

	if (x->due != y->due)
		return x->due < y->due ? -1 : 1;
	return strcmp(json_get_str(x->task, "id", ""), json_get_str(y->task, "id", ""));
}

static json_t *
marks_of(const struct forecast_row *r)
{
	json_t *marks = json_array();

	if (r->is_moved)
		json_array_append_new(marks, json_string("moved"));
	if (r->is_repeat)
		json_array_append_new(marks, json_string("repeat"));
	if (r->is_shifted)
		json_array_append_new(marks, json_string("shifted"));
	return marks;
}

static json_t *
tell_row(const struct forecast_row *r)
{
	const struct zone *z =
	    zone_get(json_get_str(json_object_get(r->task, "schedule"), "timezone", "UTC"), NULL);
	int64_t jitter = json_get_int(r->task, "jitter", 0);
	json_t *row = json_pack("{s:O, s:O, s:o, s:o, s:o, s:I, s:o, s:s?}", "task_id",
	    json_object_get(r->task, "id"), "task_name", json_object_get(r->task, "name"), "due_at",
	    why_utc(r->due), "local", why_local(z ? z : zone_utc(), r->due), "marks", marks_of(r),
	    "count", (json_int_t)r->count, "last_at", r->count > 1 ? why_utc(r->last) : json_null(),
	    "skipped", r->skipped);

	if (r->skipped)
		json_object_set_new(row, "reason", json_string(r->reason));
	else if (jitter)
		json_object_set_new(row, "fires_at", why_utc(r->due + jitter));
	if (r->is_more)
		json_object_set_new(row, "is_more", json_true());
	return row;
}

static json_t *
tell_load(const struct forecast *f)
{
	json_t *load = json_array();

	for (unsigned hour = 0; hour < f->minutes_n / 60; hour++) {
		uint64_t sum = 0;
		unsigned busiest = 0;
		int64_t at = first_hour(f) + hour * INT64_C(3600);
		const unsigned *m = f->minutes + (size_t)hour * 60;

		for (unsigned i = 0; i < 60; i++) {
			sum += m[i];
			busiest = m[i] > m[busiest] ? i : busiest;
		}
		if (sum)
			json_array_append_new(
			    load, json_pack("{s:o, s:I, s:o, s:I}", "hour", why_utc(at), "count",
				      (json_int_t)sum, "busiest_minute",
				      why_utc(at + busiest * INT64_C(60)), "busiest_count",
				      (json_int_t)m[busiest]));
	}
	return load;
}

json_t *
forecast_tell(struct forecast *f, unsigned limit)
{
	unsigned n = f->n < limit ? f->n : limit;
	json_t *items = json_array();

	if (f->n)
		qsort(f->rows, f->n, sizeof(*f->rows), compare);
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(items, tell_row(&f->rows[i]));
	return json_pack("{s:o, s:o, s:o, s:o, s:I, s:b, s:o}", "from", why_utc(f->from), "to",
	    why_utc(f->to), "items", items, "load", tell_load(f), "total", (json_int_t)f->total,
	    "is_complete", n == f->n, "complete_until",
	    why_utc(n == f->n ? f->to : f->rows[n].due));
}
