// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See ical.h. First pass: the structure of the file, and which lines of its events matter. */
#include "when/ical.h"

#include <string.h>

#include "base/buf.h"

#include "when/ical_priv.h"

#include "base/banned.h"

struct file {
	struct ical_events events;
	struct ical_report *report;
	struct ical_event *event; /* the one whose lines are being read */
	struct open {
		struct span name;
		int line;
	} stack[ICAL_DEPTH_MAX];
	int depth;
	int calendars;
	int rules;
	struct err *e;
};

static void
file_fini(struct file *f)
{
	for (size_t i = 0; i < f->events.n; i++)
		free(f->events.at[i].lists);
	free(f->events.at);
}

static int
refuse(struct file *f, const struct ical_line *l, const char *why)
{
	char shown[ICAL_PARAM_MAX + 1];

	err_set(f->e, ERR_INVALID, "line %d: %s %s", l->number, span_shown(l->name, shown), why);
	return err_field(f->e, "%s", shown);
}

void
ical_note(struct ical_report *r, int line, const char *text)
{
	struct ical_note *n = &r->notes[r->notes_n];

	if (r->notes_n == ICAL_NOTES_MAX)
		return;
	n->line = line;
	snprintf(n->text, sizeof(n->text), "%s", text);
	r->notes_n++;
}

static struct ical_event *
add_event(struct file *f, int line)
{
	struct ical_events *v = &f->events;

	if (v->n == v->cap) {
		struct ical_event *old = v->at;

		v->cap = v->cap ? v->cap * 2 : 64;
		v->at = xcalloc(v->cap, sizeof(*v->at));
		if (v->n)
			memcpy(v->at, old, v->n * sizeof(*v->at));
		free(old);
	}
	v->at[v->n].line = line;
	return &v->at[v->n++];
}

/* --- components --- */

static int
begin(struct file *f, const struct ical_line *l)
{
	char text[96], shown[ICAL_PARAM_MAX + 1];
	bool is_top = f->depth == 0;

	if (is_top != span_is(l->value, "VCALENDAR"))
		return refuse(f, l,
		    is_top ? "outside of BEGIN:VCALENDAR: this is not a calendar"
			   : "VCALENDAR inside of another");
	if (f->depth == ICAL_DEPTH_MAX)
		return err_set(f->e, ERR_TOO_BIG, "line %d: components are nested deeper than %d",
		    l->number, ICAL_DEPTH_MAX);
	if (++f->report->components > ICAL_COMPONENTS_MAX)
		return err_set(f->e, ERR_TOO_BIG, "line %d: the file has more than %d components",
		    l->number, ICAL_COMPONENTS_MAX);
	f->stack[f->depth++] = (struct open){l->value, l->number};
	f->calendars += is_top;
	if (f->depth != 2)
		return 0;
	if (span_is(l->value, "VEVENT")) {
		f->event = add_event(f, l->number);
	} else if (!span_is(l->value, "VTIMEZONE")) {
		f->report->ignored++;
		snprintf(text, sizeof(text), "%s is not an event", span_shown(l->value, shown));
		ical_note(f->report, l->number, text);
	}
	return 0;
}

static int
end(struct file *f, const struct ical_line *l)
{
	char shown[ICAL_PARAM_MAX + 1];
	struct open *o = f->depth ? &f->stack[f->depth - 1] : NULL;

	if (!o)
		return refuse(f, l, "without a BEGIN");
	if (o->name.n != l->value.n || !span_is(l->value, span_shown(o->name, shown)))
		return err_set(f->e, ERR_INVALID, "line %d: END does not match BEGIN:%s of line %d",
		    l->number, span_shown(o->name, shown), o->line);
	if (--f->depth == 1 && f->event) {
		if (!f->event->start.name.p)
			return err_set(f->e, ERR_INVALID,
			    "line %d: the event that begins here has no DTSTART", f->event->line);
		f->event = NULL;
	}
	return 0;
}

/* --- properties --- */

static void
set_cancelled(struct ical_event *v, const struct ical_line *l)
{
	v->is_cancelled = span_is(l->value, "CANCELLED");
}

static void
add_list(struct ical_event *v, const struct ical_line *l)
{
	if (v->lists_n == v->lists_cap) {
		struct ical_line *old = v->lists;

		v->lists_cap = v->lists_cap ? v->lists_cap * 2 : 4;
		v->lists = xcalloc(v->lists_cap, sizeof(*v->lists));
		if (v->lists_n)
			memcpy(v->lists, old, v->lists_n * sizeof(*v->lists));
		free(old);
	}
	v->lists[v->lists_n++] = *l;
}

static void
set_uid(struct ical_event *v, const struct ical_line *l)
{
	v->uid = l->value;
}

static void
set_summary(struct ical_event *v, const struct ical_line *l)
{
	v->summary = l->value;
}

#define AT(field) offsetof(struct ical_event, field)

static const struct property {
	const char *name;
	void (*take)(struct ical_event *, const struct ical_line *);
	size_t at; /* else where the line goes, once */
} properties[] = {
    {"DTSTART", NULL, AT(start)},
    {"DTEND", NULL, AT(end)},
    {"DURATION", NULL, AT(duration)},
    {"RRULE", NULL, AT(rule)},
    {"RECURRENCE-ID", NULL, AT(recurrence)},
    {"RDATE", add_list},
    {"EXDATE", add_list},
    {"UID", set_uid},
    {"SUMMARY", set_summary},
    {"STATUS", set_cancelled},
};

static int
event_line(struct file *f, const struct ical_line *l)
{
	for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
		const struct property *p = &properties[i];
		struct ical_line *once = (struct ical_line *)((char *)f->event + p->at);

		if (!span_is(l->name, p->name))
			continue;
		if (p->take) {
			p->take(f->event, l);
			return 0;
		}
		if (once->name.p)
			return refuse(f, l, "is there twice in one event");
		*once = *l;
		if (span_is(l->name, "RRULE") && ++f->rules > ICAL_RULES_MAX)
			return err_set(f->e, ERR_TOO_BIG,
			    "line %d: the file has more than %d rules", l->number, ICAL_RULES_MAX);
		return 0;
	}
	if (span_is(l->name, "EXRULE"))
		return refuse(f, l, "is no longer iCalendar (RFC 5545): use EXDATE");
	return 0;
}

static int
calendar_line(struct file *f, const struct ical_line *l)
{
	char shown[ICAL_PARAM_MAX + 1];

	if (span_is(l->name, "VERSION") && !span_is(l->value, "2.0"))
		return refuse(f, l, "is not 2.0: this is another format than iCalendar");
	if (span_is(l->name, "X-WR-CALNAME"))
		snprintf(
		    f->report->name, sizeof(f->report->name), "%s", span_shown(l->value, shown));
	return 0;
}

static int
take(struct file *f, const struct ical_line *l)
{
	if (span_is(l->name, "BEGIN"))
		return begin(f, l);
	if (!f->depth)
		return refuse(f, l, "outside of BEGIN:VCALENDAR: this is not a calendar");
	if (span_is(l->name, "END"))
		return end(f, l);
	if (f->depth == 2 && f->event)
		return event_line(f, l);
	return f->depth == 1 ? calendar_line(f, l) : 0;
}

static int
read_file(struct file *f, char *text, size_t n)
{
	struct ical_reader reader = {.p = text, .n = n};
	struct ical_line line;
	char shown[ICAL_PARAM_MAX + 1];
	int rc;

	while ((rc = ical_line_next(&reader, &line, f->e)) > 0) {
		rc = take(f, &line);
		if (rc < 0)
			return rc;
	}
	if (rc < 0) /* where nothing was read yet, it is another kind of file */
		return f->calendars ? rc : err_push(f->e, "not a calendar");
	if (!f->calendars)
		return err_set(f->e, ERR_INVALID, "the file is empty: it has no BEGIN:VCALENDAR");
	if (f->depth)
		return err_set(f->e, ERR_INVALID,
		    "the file is cut off: %s of line %d has no END, the last line is %d",
		    span_shown(f->stack[f->depth - 1].name, shown), f->stack[f->depth - 1].line,
		    reader.number);
	return 0;
}

/* What is wrong with the structure of the file has the file as its field, and one remedy. */
static int
explain(struct err *e)
{
	if (e && !*e->field)
		err_field(e, "file");
	if (e && !*e->hint)
		err_hint(e,
		    "Take a calendar file (.ics, RFC 5545) as its program exported it: whole, "
		    "from BEGIN:VCALENDAR to END:VCALENDAR, at most 1 MiB.");
	return e ? -(int)e->code : -ERR_INVALID;
}

int
ical_read(const char *text, size_t n, int64_t first_day, int64_t last_day, const struct zone *zone,
    struct calendar_days *out, struct ical_report *report, struct err *e)
{
	struct ical_report done = {0};
	__attribute__((cleanup(file_fini))) struct file f = {.report = &done, .e = e};
	__attribute__((cleanup(calendar_days_fini))) struct calendar_days days = {0};
	_cleanup_free_ char *copy = NULL;
	bool has_bom = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
	int rc;

	if (n > ICAL_TEXT_MAX) {
		err_set(e, ERR_TOO_BIG, "the file has %zu bytes, %d are taken", n, ICAL_TEXT_MAX);
		return explain(e);
	}
	if (n && memchr(text, 0, n)) {
		err_set(e, ERR_INVALID, "the file has a NUL byte: it is not a calendar");
		return explain(e);
	}
	n -= has_bom ? 3 : 0;
	copy = xmalloc(n + 1);
	memcpy(copy, text + (has_bom ? 3 : 0), n);
	copy[n] = 0;
	rc = read_file(&f, copy, n);
	if (rc == 0)
		rc = ical_days(&f.events, first_day > ICAL_FIRST_DAY ? first_day : ICAL_FIRST_DAY,
		    last_day < ICAL_LAST_DAY ? last_day : ICAL_LAST_DAY, zone, &days, &done, e);
	if (rc < 0)
		return explain(e);
	*out = days;
	days = (struct calendar_days){0};
	*report = done;
	return 0;
}
