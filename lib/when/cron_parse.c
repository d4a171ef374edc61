// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The grammar: five fields, or six with seconds first; a field is a list of parts joined by commas;
 * a part is `*`, a value or a range, the first and the last with an optional /step, or one of the
 * signs of cron_sign.c. Every error says which field, which characters and where (counted from 1),
 * and what would be legal.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"

#include "when/cron_fields.h"
#include "when/shown.h"

#include "base/banned.h"

static const char *const month_names[] = {
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC", NULL};
static const char *const weekday_names[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", NULL};

const struct cron_field_info cron_fields[FIELD_COUNT] = {
    {"second", 0, 59, 59, NULL,
	"Seconds are 0 to 59: one (5), a range (0-30, 50-10), a list (0,15,30), * or steps (*/5, "
	"0-30/5); H, H(0-29) and H/15 are picked by the task's id."},
    {"minute", 0, 59, 59, NULL,
	"Minutes are 0 to 59: one (5), a range (0-30, 50-10), a list (0,15,30), * or steps (*/5, "
	"0-30/5); H, H(0-29) and H/15 are picked by the task's id."},
    {"hour", 0, 23, 23, NULL,
	"Hours are 0 to 23: one (2), a range (8-17, 22-4), a list (2,14), * or steps (*/2, "
	"8-17/3); H, H(0-7) and H/6 are picked by the task's id."},
    {"day of month", 1, 31, 28, NULL,
	"Days of the month are 1 to 31: one (1), a range (1-7, 28-3), a list (1,15), * or steps "
	"(*/2, 1-15/7); L is the last, L-2 two days before it, 15W the weekday nearest to the "
	"15th, LW the last weekday, ? any; H picks one of 1 to 28."},
    {"month", 1, 12, 12, month_names,
	"Months are 1 to 12 or JAN to DEC: one (3), a range (JUN-AUG, NOV-FEB), a list (1,7), * or "
	"steps (*/3); H is picked by the task's id."},
    {"day of week", 0, 7, 6, weekday_names,
	"Days of the week are 0 to 7 (0 and 7 are Sunday) or SUN to SAT: one (1), a range "
	"(MON-FRI, FRI-MON), a list (1,3), * or steps (*/2); FRI#2 is the second Friday of the "
	"month, 5L or FRIL the last, ? any; H is picked by the task's id."},
};

static const struct {
	const char *name, *meaning;
} macros[] = {
    {"@hourly", "0 * * * *"},
    {"@daily", "0 0 * * *"},
    {"@midnight", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"},
    {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
};

/* What a part says before its step is applied. */
struct range {
	int lo, hi; /* hi < lo: it runs on over the end of the field's values */
	bool takes_step;
};

int
cron_bad(const struct cron_parser *ps, const char *p, const char *end, const char *why)
{
	return scan_bad(ps->at, p, end, ps->field->name, why, ps->field->legal);
}

/* Signs in a wrong place deserve a plainer word than "not a value". */
static const char *
why_not(const char *p, const char *end, const char *otherwise)
{
	while (p < end && isdigit((unsigned char)*p))
		p++;
	if (p < end && *p == '~')
		return "is not supported: a random time is H, which stays the same for a task";
	if (p < end && (strchr("#?", *p) || (end - p <= 2 && strchr("LlWw", *p))))
		return "is not for this place: L and ? are for days of month and week, W for days "
		       "of the month, # for days of the week";
	return otherwise;
}

static int
name_value(const struct cron_field_info *f, const char *p, const char *end)
{
	for (int i = 0; f->names && f->names[i]; i++)
		if (end - p == 3 && strncasecmp(p, f->names[i], 3) == 0)
			return f->lo + i;
	return -1;
}

int
cron_take_value(const struct cron_parser *ps, const char **p, const char *end, int *out)
{
	const char *start = *p, *q = start;
	int v = 0;

	while (q < end && isalnum((unsigned char)*q))
		q++;
	if (q == start && start == end)
		return cron_bad(ps, start - 1, start, "lacks a value after it");
	if (q == start)
		return cron_bad(ps, start, end, why_not(start, end, "is not a value"));
	*p = q;
	*out = name_value(ps->field, start, q);
	if (*out >= 0)
		return 0;
	for (const char *d = start; d < q; d++) {
		if (!isdigit((unsigned char)*d))
			return cron_bad(
			    ps, start, q, why_not(start, q, "is not a value of this field"));
		if (v < 10000)
			v = v * 10 + (*d - '0');
	}
	if (v < ps->field->lo || v > ps->field->hi)
		return cron_bad(ps, start, q, "is out of range");
	*out = v;
	return 0;
}

static int
take_range(const struct cron_parser *ps, const char **p, const char *end, struct range *r)
{
	int e;

	if (*p < end && **p == '*') {
		(*p)++;
		*r = (struct range){ps->field->lo, ps->field->hi, true};
		return 0;
	}
	if ((e = cron_take_value(ps, p, end, &r->lo)) < 0)
		return e;
	r->hi = r->lo;
	r->takes_step = *p < end && **p == '-';
	if (!r->takes_step)
		return 0;
	(*p)++;
	return cron_take_value(ps, p, end, &r->hi);
}

/* How many values the field has; Sunday stands twice in the week's range. */
static int
value_count(const struct cron_field_info *f)
{
	return f->hi - f->lo + (f->hi == 7 ? 0 : 1);
}

int
cron_take_step(const struct cron_parser *ps, const char **p, const char *end, int *out)
{
	const char *start = *p;
	int v = 0;

	*out = 1;
	if (*p == end || **p != '/')
		return 0;
	for ((*p)++; *p < end && isdigit((unsigned char)**p); (*p)++)
		if (v < 10000)
			v = v * 10 + (**p - '0');
	if (v < 1)
		return cron_bad(ps, start, end, "is not a step of 1 or more");
	if (v > value_count(ps->field))
		return cron_bad(ps, start, end, "is a step larger than the field has values");
	*out = v;
	return 0;
}

static void
set_range(const struct cron_field_info *f, struct range r, int step, uint64_t *bits)
{
	int count = value_count(f);

	if (r.lo == 7 && f->hi == 7)
		r = (struct range){0, r.hi % 7, r.takes_step};
	if (r.hi < r.lo)
		r.hi += count;
	for (int v = r.lo; v <= r.hi; v += step)
		*bits |= UINT64_C(1) << (v > f->hi ? v - count : v);
}

/* One part of a list, from p up to a comma or the field's end. */
static int
parse_part(const struct cron_parser *ps, const char *p, const char *end, struct cron_value *v)
{
	const char *part = p;
	struct range r;
	int e, step;

	if (p == end) {
		const char *comma = p > ps->at->text && p[-1] == ',' ? p - 1 : p;

		return cron_bad(ps, comma, comma + 1, "leaves a part of the list empty");
	}
	if ((e = cron_sign(ps, p, end, v)) != 0)
		return e < 0 ? e : 0;
	if ((e = take_range(ps, &p, end, &r)) < 0)
		return e;
	if (p < end && *p == '/' && !r.takes_step)
		return cron_bad(
		    ps, part, end, "puts a step on a single value: write a range such as 5-59/15");
	if ((e = cron_take_step(ps, &p, end, &step)) < 0)
		return e;
	if (p < end)
		return cron_bad(ps, p, end, why_not(p, end, "is not understood here"));
	set_range(ps->field, r, step, &v->bits);
	return 0;
}

static int
parse_field(const struct cron_parser *ps, struct cron_value *v)
{
	const char *p = ps->span.p;

	for (;;) {
		const char *comma = memchr(p, ',', (size_t)(ps->span.end - p));
		int e = parse_part(ps, p, comma ? comma : ps->span.end, v);

		if (e < 0 || !comma)
			return e;
		p = comma + 1;
	}
}

/* Returns how many fields there are; fills the first FIELD_COUNT. */
static int
split(const char *text, struct cron_span spans[FIELD_COUNT])
{
	int n = 0;

	for (const char *p = text;;) {
		p += strspn(p, " \t");
		if (!*p)
			return n;
		if (n < FIELD_COUNT)
			spans[n] = (struct cron_span){p, p + strcspn(p, " \t")};
		p += strcspn(p, " \t");
		n++;
	}
}

static int
bad_count(int n, struct err *e)
{
	err_set(e, ERR_INVALID, "cron expression has %d field%s, 5 or 6 are taken", n,
	    n == 1 ? "" : "s");
	err_field(e, "expression");
	err_hint(e, "Write minute, hour, day of month, month and day of week, such as '0 2 * * *' "
		    "for every day at two, or a macro such as @daily. A field before the minute is "
		    "the second.");
	return -ERR_INVALID;
}

/* A macro's meaning; NULL and *e if text is none. */
static const char *
expand_macro(struct cron_span s, struct err *e)
{
	char buf[64];

	for (size_t i = 0; i < ARRAY_LEN(macros); i++)
		if (strlen(macros[i].name) == (size_t)(s.end - s.p) &&
		    strncasecmp(macros[i].name, s.p, (size_t)(s.end - s.p)) == 0)
			return macros[i].meaning;
	err_set(e, ERR_INVALID, "cron macro '%s' is not known", scan_shown(s.p, s.end, buf));
	err_field(e, "expression");
	err_hint(e, "Macros are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and "
		    "@annually; in a schedule also @every 90s.");
	return NULL;
}

static bool
starts_with(struct cron_span s, const char *any_of)
{
	return strchr(any_of, *s.p) != NULL;
}

static struct cron
assemble(const struct cron_value v[FIELD_COUNT], const struct cron_span spans[FIELD_COUNT])
{
	const struct cron_value *month_day = &v[FIELD_DAY_OF_MONTH], *week = &v[FIELD_DAY_OF_WEEK];

	return (struct cron){
	    .second = v[FIELD_SECOND].bits,
	    .minute = v[FIELD_MINUTE].bits,
	    .hour = (uint32_t)v[FIELD_HOUR].bits,
	    .minute_star = starts_with(spans[FIELD_MINUTE], "*"),
	    .hour_star = starts_with(spans[FIELD_HOUR], "*"),
	    .days = {.month = (uint32_t)v[FIELD_MONTH].bits,
		.of_month = (uint32_t)month_day->bits,
		.from_last = month_day->from_last,
		.nearest = month_day->nearest,
		.of_week = (uint32_t)((week->bits | week->bits >> 7) & 0x7f),
		.nth_of_week = week->nth_of_week,
		.last_of_week = week->last_of_week,
		.of_month_star = starts_with(spans[FIELD_DAY_OF_MONTH], "*?"),
		.of_week_star = starts_with(spans[FIELD_DAY_OF_WEEK], "*?")},
	};
}

int
cron_parse_keyed(const char *text, const char *hash_key, struct cron *out, struct err *e)
{
	static const char second_0[] = "0";
	struct cron_span spans[FIELD_COUNT];
	struct cron_value values[FIELD_COUNT] = {0};
	struct scan at = {.e = e};
	int n;

	if (strnlen(text, CRON_TEXT_MAX + 1) > CRON_TEXT_MAX) {
		err_set(
		    e, ERR_TOO_BIG, "cron expression is longer than %d characters", CRON_TEXT_MAX);
		err_field(e, "expression");
		err_hint(e, "Use ranges and steps, or split it into several schedules.");
		return -ERR_TOO_BIG;
	}
	n = split(text, spans);
	if (n == 1 && spans[0].p[0] == '@') {
		text = expand_macro(spans[0], e);
		if (!text)
			return -ERR_INVALID;
		n = split(text, spans);
	}
	if (n == FIELD_COUNT - 1) {
		memmove(spans + 1, spans, (size_t)n * sizeof(spans[0]));
		spans[FIELD_SECOND] = (struct cron_span){second_0, second_0 + 1};
	} else if (n != FIELD_COUNT)
		return bad_count(n, e);
	at.text = text;
	for (int i = 0; i < FIELD_COUNT; i++) {
		const struct cron_parser ps = {&at, &cron_fields[i], spans[i], hash_key};
		int r = parse_field(&ps, &values[i]);

		if (r < 0)
			return r;
	}
	*out = assemble(values, spans);
	return 0;
}

int
cron_parse(const char *text, struct cron *out, struct err *e)
{
	return cron_parse_keyed(text, NULL, out, e);
}

int
cron_gap_parse(const char *s, enum cron_gap *out, struct err *e)
{
	char text[WHEN_SHOWN_MAX + 1];

	if (strcmp(s, "run_at_gap_end") == 0)
		*out = CRON_GAP_RUN_AT_END;
	else if (strcmp(s, "skip") == 0)
		*out = CRON_GAP_SKIP;
	else {
		err_set(e, ERR_INVALID, "dst_gap '%s' is not known", when_shown(s, text));
		err_field(e, "dst_gap");
		err_hint(e, "Use run_at_gap_end or skip.");
		return -ERR_INVALID;
	}
	return 0;
}

int
cron_fold_parse(const char *s, enum cron_fold *out, struct err *e)
{
	static const char *const names[] = {"first", "second", "both"};
	char text[WHEN_SHOWN_MAX + 1];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(s, names[i]) == 0) {
			*out = (enum cron_fold)i;
			return 0;
		}
	}
	err_set(e, ERR_INVALID, "dst_fold '%s' is not known", when_shown(s, text));
	err_field(e, "dst_fold");
	err_hint(e, "Use first, second or both.");
	return -ERR_INVALID;
}
