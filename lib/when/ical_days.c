// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Second pass of the import: each event to its occurrences, each occurrence to the days that it
 * touches. An event's times are kept in its own base: the zone of its DTSTART, UTC, or floating.
 */
#include <ctype.h>
#include <string.h>

#include "base/buf.h"

#include "when/calendar.h"
#include "when/civil.h"
#include "when/dates.h"
#include "when/ical_priv.h"
#include "when/zone.h"

#include "base/banned.h"

struct import {
	const struct ical_events *events;
	bool has_overrides;
	int overrides; /* how often one was held against an event */
	int64_t spent; /* steps of all rules so far (recur.h) */
	int64_t first_day, last_day;
	const struct zone *zone; /* NULL: as written */
	struct ical_report *report;
	struct entry {
		int64_t day;
		size_t event; /* index: file order decides the order of reasons */
	} * entries;
	size_t n, cap;
	struct err *e;
};

/* What an event's lines come to. */
struct timing {
	bool is_date;
	const struct zone *base; /* NULL: floating, or a date */
	int64_t start, length;
	struct dates dates;
};

static void
import_fini(struct import *m)
{
	free(m->entries);
}

static void
timing_fini(struct timing *t)
{
	dates_fini(&t->dates);
}

static int
refuse(struct import *m, const struct ical_line *l, struct span value, const char *legal)
{
	char name[ICAL_PARAM_MAX + 1], shown[ICAL_PARAM_MAX + 1];

	err_set(m->e, ERR_INVALID, "line %d: %s '%s' is not taken", l->number,
	    span_shown(l->name, name), span_shown(value, shown));
	err_field(m->e, "%s", name);
	return err_hint(m->e, "Write %s.", legal);
}

static int
too_many(struct import *m, const char *field)
{
	err_field(m->e, "%s", field);
	return err_hint(m->e, "Cut the file down to the years that are needed, or split it.");
}

/* --- stamps --- */

/* The zone that a line names; NULL for a date or a floating time. */
static int
line_zone(struct import *m, const struct ical_line *l, const struct ical_stamp *s,
    const struct zone **out)
{
	char name[ZONE_NAME_MAX + 1];
	struct span id;

	*out = s->kind == ICAL_UTC ? zone_utc() : NULL;
	if (s->kind != ICAL_FLOATING || !ical_param(l, "TZID", &id))
		return 0;
	if (id.n > ZONE_NAME_MAX)
		return refuse(m, l, id, "a time zone");
	memcpy(name, id.p, id.n);
	name[id.n] = 0;
	*out = zone_get(name, m->e);
	if (*out)
		return 0;
	err_push(m->e, "line %d", l->number);
	err_field(m->e, "TZID");
	return err_hint(m->e, "A TZID is a name of the IANA list, such as Europe/Berlin.");
}

/* In a gap the offset before it counts, in a fold the first time. */
static int64_t
to_utc(const struct zone *z, int64_t local)
{
	return zone_from_local(z, local).first;
}

static int64_t
from_utc(const struct zone *z, int64_t utc)
{
	int32_t off;

	zone_offset_at(z, utc, &off, NULL, NULL);
	return utc + off;
}

/* A value of a line (DTEND, EXDATE …) in the base of the event. */
static int
stamp_in_base(struct import *m, const struct timing *t, const struct ical_line *l,
    struct span value, struct ical_stamp *out)
{
	const struct zone *z;
	int rc;

	if (!ical_stamp_parse(value, out))
		return refuse(m, l, value, "a date or a time such as 20261225 or 20261225T090000Z");
	rc = line_zone(m, l, out, &z);
	if (rc < 0)
		return rc;
	if (z && t->base && z != t->base)
		out->s = from_utc(t->base, to_utc(z, out->s));
	return 0;
}

static int
read_start(struct import *m, const struct ical_event *v, struct timing *t)
{
	struct ical_stamp s;
	int rc;

	if (!ical_stamp_parse(v->start.value, &s))
		return refuse(m, &v->start, v->start.value,
		    "a date or a time such as 20261225 or 20261225T090000Z");
	rc = line_zone(m, &v->start, &s, &t->base);
	if (rc < 0)
		return rc;
	t->is_date = s.kind == ICAL_DATE;
	t->start = s.s;
	return 0;
}

static int
read_length(struct import *m, const struct ical_event *v, struct timing *t)
{
	struct ical_stamp s;
	int rc;

	t->length = t->is_date ? DAY_S : 0;
	if (v->duration.name.p && !ical_duration_parse(v->duration.value, &t->length))
		return refuse(
		    m, &v->duration, v->duration.value, "a duration such as P1D or PT2H30M");
	if (v->end.name.p) {
		if (v->duration.name.p)
			return refuse(m, &v->end, v->end.value, "either DTEND or DURATION");
		rc = stamp_in_base(m, t, &v->end, v->end.value, &s);
		if (rc < 0)
			return rc;
		if ((s.kind == ICAL_DATE) != t->is_date)
			return refuse(m, &v->end, v->end.value,
			    "a value of the same kind as DTSTART: both dates, or both times");
		if (s.s < t->start)
			return refuse(
			    m, &v->end, v->end.value, "an end that is not before DTSTART");
		t->length = s.s - t->start;
	}
	if (t->is_date && t->length < DAY_S)
		t->length = DAY_S;
	return 0;
}

static int
read_list(struct import *m, const struct ical_line *l, struct timing *t)
{
	bool is_less = span_is(l->name, "EXDATE");
	struct dates *d = &t->dates;
	struct span rest = l->value, item, kind;
	struct ical_stamp s;
	int rc;

	if (ical_param(l, "VALUE", &kind) && span_is(kind, "PERIOD"))
		return refuse(m, l, kind, "dates or times: periods are not taken");
	while (span_cut(&rest, ',', &item)) {
		rc = stamp_in_base(m, t, l, item, &s);
		if (rc < 0)
			return rc;
		if (is_less && (s.kind == ICAL_DATE || t->is_date))
			moments_add(&d->less_day, floor_div(s.s, DAY_S));
		else
			moments_add(is_less ? &d->less : &d->more, s.s);
	}
	return 0;
}

/* Occurrences that another component of the same UID describes are not the rule's. */
static int
except_overrides(struct import *m, const struct ical_event *v, struct timing *t)
{
	struct ical_stamp s;
	int rc;

	for (size_t i = 0; i < m->events->n; i++) {
		const struct ical_event *o = &m->events->at[i];

		if (!v->uid.n || !o->recurrence.name.p || o->uid.n != v->uid.n ||
		    memcmp(o->uid.p, v->uid.p, v->uid.n) != 0)
			continue;
		if (++m->overrides > ICAL_OCCURRENCES_MAX) {
			err_set(m->e, ERR_TOO_BIG,
			    "line %d: too many events share the UID of this one", v->line);
			return too_many(m, "UID");
		}
		rc = stamp_in_base(m, t, &o->recurrence, o->recurrence.value, &s);
		if (rc < 0)
			return rc;
		if (s.kind == ICAL_DATE || t->is_date)
			moments_add(&t->dates.less_day, floor_div(s.s, DAY_S));
		else
			moments_add(&t->dates.less, s.s);
	}
	return 0;
}

/* Some programs write a DTSTART that their own rule does not match: people should know. */
static void
check_start(struct import *m, const struct ical_event *v, const struct recur *r)
{
	struct recur only = *r;
	struct recur_walk walk = {0};
	int64_t at;

	only.until = only.start;
	if (!recur_next(&only, &walk, only.start - 1, &at))
		ical_note(m->report, v->line, "DTSTART does not match RRULE and does not count");
}

static int
read_rule(struct import *m, const struct ical_event *v, struct timing *t)
{
	struct recur *r = &t->dates.rule;
	int64_t end = (m->last_day + 2) * DAY_S;
	int rc = recur_parse(v->rule.value.p, v->rule.value.n, t->start, t->is_date,
	    t->base ? t->base : zone_utc(), r, m->e);

	if (rc < 0)
		return err_push(m->e, "line %d", v->rule.number);
	check_start(m, v, r);
	if (r->until > end)
		r->until = end;
	t->dates.has_rule = true;
	return 0;
}

static int
read_timing(struct import *m, const struct ical_event *v, struct timing *t)
{
	struct span range;
	int rc = read_start(m, v, t);

	if (rc == 0)
		rc = read_length(m, v, t);
	for (size_t i = 0; rc == 0 && i < v->lists_n; i++)
		rc = read_list(m, &v->lists[i], t);
	if (rc == 0 && v->recurrence.name.p && !v->uid.n)
		rc = refuse(
		    m, &v->recurrence, v->recurrence.value, "the UID of the event that it changes");
	if (rc == 0 && v->recurrence.name.p && ical_param(&v->recurrence, "RANGE", &range))
		rc = refuse(m, &v->recurrence, range, "it without RANGE: one occurrence at a time");
	if (rc == 0 && !v->recurrence.name.p && m->has_overrides)
		rc = except_overrides(m, v, t);
	if (rc < 0)
		return rc;
	if (v->rule.name.p)
		rc = read_rule(m, v, t);
	else
		moments_add(&t->dates.more, t->start);
	dates_ready(&t->dates);
	return rc;
}

/* --- days --- */

static int
add_day(struct import *m, int64_t day, const struct ical_event *v)
{
	if (m->n == m->cap) {
		struct entry *old = m->entries;

		m->cap = m->cap ? m->cap * 2 : 256;
		m->entries = xcalloc(m->cap, sizeof(*m->entries));
		if (m->n)
			memcpy(m->entries, old, m->n * sizeof(*m->entries));
		free(old);
	}
	if (m->n == ICAL_DAYS_MAX) {
		err_set(m->e, ERR_TOO_BIG,
		    "line %d: with this event the file has more than %d days", v->line,
		    ICAL_DAYS_MAX);
		return too_many(m, "VEVENT");
	}
	m->entries[m->n++] = (struct entry){day, (size_t)(v - m->events->at)};
	return 0;
}

/* The days that an occurrence touches, as the asked zone shows them. */
static void
touched(const struct import *m, const struct timing *t, int64_t at, int64_t *first, int64_t *last)
{
	int64_t end = at + t->length;

	if (t->base && m->zone) {
		int64_t utc = to_utc(t->base, at);

		at = from_utc(m->zone, utc);
		end = from_utc(m->zone, utc + t->length);
	}
	*first = floor_div(at, DAY_S);
	*last = end > at ? floor_div(end - 1, DAY_S) : *first;
}

static int
add_occurrences(struct import *m, const struct ical_event *v, struct timing *t)
{
	/* Two days more: no two zones are further apart. */
	int64_t at = (m->first_day - 2) * DAY_S - t->length;
	int64_t first, last, done = m->first_day - 1;
	size_t before = m->n;

	t->dates.spent_max = ICAL_STEPS_MAX - m->spent;
	while (dates_next(&t->dates, at, &at)) {
		if (t->dates.walk.spent > t->dates.spent_max)
			break;
		if (++m->report->occurrences > ICAL_OCCURRENCES_MAX) {
			err_set(m->e, ERR_TOO_BIG,
			    "line %d: with this event the file has more than %d occurrences",
			    v->line, ICAL_OCCURRENCES_MAX);
			return too_many(m, "VEVENT");
		}
		touched(m, t, at, &first, &last);
		if (first > m->last_day)
			break;
		for (int64_t d = first > done ? first : done + 1; d <= last && d <= m->last_day;
		     d++) {
			int rc = add_day(m, d, v);

			if (rc < 0)
				return rc;
		}
		done = last > done ? last : done;
	}
	m->spent += t->dates.walk.spent;
	if (m->spent > ICAL_STEPS_MAX) {
		err_set(m->e, ERR_TOO_BIG,
		    "line %d: with the rule of this event the file takes too long to read",
		    v->line);
		return too_many(m, "RRULE");
	}
	if (m->n == before) {
		m->report->outside++;
		ical_note(m->report, v->line, "has no day in the years asked for");
	}
	return 0;
}

static int
add_event(struct import *m, const struct ical_event *v)
{
	__attribute__((cleanup(timing_fini))) struct timing t = {0};
	int rc = read_timing(m, v, &t);

	if (rc < 0)
		return rc;
	m->spent += t.dates.rule.spent;
	if (v->is_cancelled) {
		m->report->ignored++;
		ical_note(m->report, v->line, "is cancelled");
		return 0;
	}
	m->report->events++;
	return add_occurrences(m, v, &t);
}

/* --- reasons --- */

/* Length of the UTF-8 sequence at p, 0 if it is none. */
static size_t
utf8_len(const char *p, size_t left)
{
	unsigned char c = (unsigned char)*p;
	size_t n = c < 0x80                ? 1
		   : c >= 0xc2 && c < 0xe0 ? 2
		   : c >= 0xe0 && c < 0xf0 ? 3
		   : c >= 0xf0 && c < 0xf5 ? 4
					   : 0;
	unsigned char second = n > 1 && left > 1 ? (unsigned char)p[1] : 0;

	if (!n || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)p[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ||
	    (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f))
		return 0;
	return n;
}

/* The text of SUMMARY in one line of clean UTF-8, cut to fit behind what is there. */
static void
add_reason(struct buf *b, struct span s)
{
	for (size_t i = 0; i < s.n;) {
		size_t n = utf8_len(s.p + i, s.n - i);
		char c = s.p[i];

		if (n == 1 && c == '\\' && i + 1 < s.n) {
			c = s.p[++i];
			c = c == 'n' || c == 'N' ? ' ' : c;
			n = utf8_len(s.p + i, s.n - i);
		}
		if (!n) { /* what is no UTF-8 is shown as one character */
			n = 1;
			c = '?';
		}
		if (b->n + n > CALENDAR_REASON_MAX)
			return;
		if (n > 1)
			buf_add(b, s.p + i, n);
		else
			buf_addc(b, iscntrl((unsigned char)c) ? ' ' : c);
		i += n;
	}
}

static int
entry_order(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->day != y->day)
		return x->day < y->day ? -1 : 1;
	return (x->event > y->event) - (x->event < y->event);
}

/* The reasons of one day, from entry i to before j, without repeats of the one before. */
static char *
reason_of(const struct import *m, size_t i, size_t j)
{
	struct buf b = {0};
	struct span last = {NULL, 0};

	buf_adds(&b, "");
	for (; i < j; i++) {
		struct span s = m->events->at[m->entries[i].event].summary;

		if (!s.n || (last.p && last.n == s.n && memcmp(last.p, s.p, s.n) == 0))
			continue;
		if (b.n && b.n + 2 < CALENDAR_REASON_MAX)
			buf_adds(&b, "; ");
		add_reason(&b, s);
		last = s;
	}
	return buf_take(&b);
}

/* The day before has the same single event, as in most of a rule's days. */
static bool
is_same_reason(const struct import *m, size_t i, size_t j)
{
	return j == i + 1 && i > 0 && m->entries[i - 1].event == m->entries[i].event &&
	       (i == 1 || m->entries[i - 2].day != m->entries[i - 1].day);
}

static void
collect(struct import *m, struct calendar_days *out)
{
	size_t j;

	if (m->n)
		qsort(m->entries, m->n, sizeof(*m->entries), entry_order);
	out->days = xcalloc(m->n + 1, sizeof(*out->days));
	out->reasons = xcalloc(m->n + 1, sizeof(*out->reasons));
	for (size_t i = 0; i < m->n; i = j) {
		for (j = i + 1; j < m->n && m->entries[j].day == m->entries[i].day;)
			j++;
		out->days[out->n] = m->entries[i].day;
		out->reasons[out->n] = is_same_reason(m, i, j) ? xstrdup(out->reasons[out->n - 1])
							       : reason_of(m, i, j);
		out->n++;
	}
	m->report->days = (int)out->n;
}

int
ical_days(const struct ical_events *events, int64_t first_day, int64_t last_day,
    const struct zone *zone, struct calendar_days *out, struct ical_report *report, struct err *e)
{
	__attribute__((cleanup(import_fini))) struct import m = {.events = events,
	    .first_day = first_day,
	    .last_day = last_day,
	    .zone = zone,
	    .report = report,
	    .e = e};

	for (size_t i = 0; i < events->n; i++)
		m.has_overrides |= events->at[i].recurrence.name.p != NULL;
	for (size_t i = 0; i < events->n; i++) {
		int rc = add_event(&m, &events->at[i]);

		if (rc < 0)
			return rc;
	}
	collect(&m, out);
	return 0;
}

void
calendar_days_fini(struct calendar_days *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->reasons[i]);
	free(d->reasons);
	free(d->days);
	*d = (struct calendar_days){0};
}
