// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The grammar: five fields, or six with seconds first; a field is a list of parts joined by commas; a part is `*`, a value or
 * a range, the first and the last with an optional /step. Every error says which field, which
 * characters and where (counted from 1), and what would be legal.
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
    {"second", 0, 59, NULL,
	"Seconds are 0 to 59: one (5), a range (0-30), a list (0,15,30), * or steps (*/5, "
	"0-30/5)."},
    {"minute", 0, 59, NULL,
	"Minutes are 0 to 59: one (5), a range (0-30), a list (0,15,30), * or steps (*/5, "
	"0-30/5)."},
    {"hour", 0, 23, NULL,
	"Hours are 0 to 23: one (2), a range (8-17), a list (2,14), * or steps (*/2, 8-17/3)."},
    {"day of month", 1, 31, NULL,
	"Days of the month are 1 to 31: one (1), a range (1-7), a list (1,15), * or steps (*/2, "
	"1-15/7)."},
    {"month", 1, 12, month_names,
	"Months are 1 to 12 or JAN to DEC: one (3), a range (JUN-AUG), a list (1,7), * or steps "
	"(*/3)."},
    {"day of week", 0, 7, weekday_names,
	"Days of the week are 0 to 7 (0 and 7 are Sunday) or SUN to SAT: one (1), a range "
	"(MON-FRI), a list (1,3), * or steps (*/2)."},
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

/* One field's text inside the whole expression. */
struct span {
	const char *p, *end;
};

struct parser {
	const char *text; /* the whole expression, for positions */
	const struct cron_field_info *field;
	struct err *e;
};

/* What a part says before its step is applied. */
struct range {
	int lo, hi;
	bool takes_step;
};

/* Printable copy of a few characters for a message. */
static const char *
shown(const char *p, const char *end, char buf[64])
{
	size_t n = 0;

	for (; p < end && n < 36; p++)
		n += (size_t)snprintf(buf + n, 64 - n,
		    isprint((unsigned char)*p) ? "%c" : "\\x%02x", (unsigned char)*p);
	if (p < end)
		n += (size_t)snprintf(buf + n, 64 - n, "...");
	buf[n] = 0;
	return buf;
}

static int
bad(const struct parser *ps, const char *p, const char *end, const char *why)
{
	char buf[64];

	err_set(ps->e, ERR_INVALID, "'%s' at position %d (%s) %s", shown(p, end, buf),
	    (int)(p - ps->text) + 1, ps->field->name, why);
	err_field(ps->e, "%s", ps->field->name);
	err_hint(ps->e, "%s", ps->field->legal);
	return -ERR_INVALID;
}

/* Other dialects' signs deserve a plainer word than "not a value". */
static const char *
why_not(const char *p, const char *end, const char *otherwise)
{
	while (p < end && isdigit((unsigned char)*p))
		p++;
	if (p < end && (strchr("#?~", *p) || (end - p <= 2 && strchr("LlWwHh", *p))))
		return "is not supported: L, W, H, #, ? and ~ are other dialects' signs";
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

/* A number or a name; the end of the token is handed back in *p. */
static int
take_value(const struct parser *ps, const char **p, const char *end, int *out)
{
	const char *start = *p, *q = start;
	int v = 0;

	while (q < end && isalnum((unsigned char)*q))
		q++;
	if (q == start && start == end)
		return bad(ps, start - 1, start, "lacks a value after it");
	if (q == start)
		return bad(ps, start, end, why_not(start, end, "is not a value"));
	*p = q;
	*out = name_value(ps->field, start, q);
	if (*out >= 0)
		return 0;
	for (const char *d = start; d < q; d++) {
		if (!isdigit((unsigned char)*d))
			return bad(ps, start, q, why_not(start, q, "is not a value of this field"));
		if (v < 10000)
			v = v * 10 + (*d - '0');
	}
	if (v < ps->field->lo || v > ps->field->hi)
		return bad(ps, start, q, "is out of range");
	*out = v;
	return 0;
}

static int
take_range(const struct parser *ps, const char **p, const char *end, struct range *r)
{
	const char *start = *p, *high;
	int e;

	if (*p < end && **p == '*') {
		(*p)++;
		*r = (struct range){ps->field->lo, ps->field->hi, true};
		return 0;
	}
	if ((e = take_value(ps, p, end, &r->lo)) < 0)
		return e;
	r->hi = r->lo;
	r->takes_step = *p < end && **p == '-';
	if (!r->takes_step)
		return 0;
	high = ++*p;
	if ((e = take_value(ps, p, end, &r->hi)) < 0)
		return e;
	/* "FRI-SUN" can only mean the Sunday that ends the week. */
	if (r->hi == 0 && r->lo > 0 && name_value(ps->field, high, *p) == 0)
		r->hi = 7;
	if (r->hi < r->lo)
		return bad(ps, start, *p, "is a range that runs backwards");
	return 0;
}

static int
take_step(const struct parser *ps, const char **p, const char *end, const struct range *r,
    const char *part, int *out)
{
	const char *start = *p;
	/* Sunday stands twice in the week's range. */
	int count = ps->field->hi - ps->field->lo + (ps->field->hi == 7 ? 0 : 1);
	int v = 0;

	*out = 1;
	if (*p == end || **p != '/')
		return 0;
	if (!r->takes_step)
		return bad(
		    ps, part, end, "puts a step on a single value: write a range such as 5-59/15");
	for ((*p)++; *p < end && isdigit((unsigned char)**p); (*p)++)
		if (v < 10000)
			v = v * 10 + (**p - '0');
	if (v < 1)
		return bad(ps, start, end, "is not a step of 1 or more");
	if (v > count)
		return bad(ps, start, end, "is a step larger than the field has values");
	*out = v;
	return 0;
}

/* One part of a list, from p up to a comma or the field's end. */
static int
parse_part(const struct parser *ps, const char *p, const char *end, uint64_t *bits)
{
	const char *part = p;
	struct range r;
	int e, step;

	if (p == end) {
		const char *comma = p > ps->text && p[-1] == ',' ? p - 1 : p;

		return bad(ps, comma, comma + 1, "leaves a part of the list empty");
	}
	if ((e = take_range(ps, &p, end, &r)) < 0 ||
	    (e = take_step(ps, &p, end, &r, part, &step)) < 0)
		return e;
	if (p < end)
		return bad(ps, p, end, why_not(p, end, "is not understood here"));
	for (int v = r.lo; v <= r.hi; v += step)
		*bits |= UINT64_C(1) << v;
	return 0;
}

static int
parse_field(const struct parser *ps, struct span s, uint64_t *bits)
{
	const char *p = s.p;

	for (;;) {
		const char *comma = memchr(p, ',', (size_t)(s.end - p));
		int e = parse_part(ps, p, comma ? comma : s.end, bits);

		if (e < 0 || !comma)
			return e;
		p = comma + 1;
	}
}

/* Returns how many fields there are; fills the first FIELD_COUNT. */
static int
split(const char *text, struct span spans[FIELD_COUNT])
{
	int n = 0;

	for (const char *p = text;;) {
		p += strspn(p, " \t");
		if (!*p)
			return n;
		if (n < FIELD_COUNT)
			spans[n] = (struct span){p, p + strcspn(p, " \t")};
		p += strcspn(p, " \t");
		n++;
	}
}

static int
bad_count(int n, struct err *e)
{
	err_set(e, ERR_INVALID, "cron expression has %d field%s, 5 or 6 are taken", n,
	    n == 1 ? "" : "s");
	err_hint(e, "Write minute, hour, day of month, month and day of week, such as '0 2 * * *' "
		    "for every day at two, or a macro such as @daily. A field before the minute is "
		    "the second.");
	return -ERR_INVALID;
}

/* A macro's meaning; NULL and *e if text is none. */
static const char *
expand_macro(struct span s, struct err *e)
{
	char buf[64];

	for (size_t i = 0; i < ARRAY_LEN(macros); i++)
		if (strlen(macros[i].name) == (size_t)(s.end - s.p) &&
		    strncasecmp(macros[i].name, s.p, (size_t)(s.end - s.p)) == 0)
			return macros[i].meaning;
	err_set(e, ERR_INVALID, "cron macro '%s' is not known", shown(s.p, s.end, buf));
	err_hint(
	    e, "Macros are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually.");
	return NULL;
}

int
cron_parse(const char *text, struct cron *out, struct err *e)
{
	struct span spans[FIELD_COUNT];
	uint64_t bits[FIELD_COUNT] = {0};
	static const char second_0[] = "0";
	int n;

	if (strnlen(text, CRON_TEXT_MAX + 1) > CRON_TEXT_MAX) {
		err_set(
		    e, ERR_TOO_BIG, "cron expression is longer than %d characters", CRON_TEXT_MAX);
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
		spans[FIELD_SECOND] = (struct span){second_0, second_0 + 1};
	} else if (n != FIELD_COUNT)
		return bad_count(n, e);
	for (int i = 0; i < FIELD_COUNT; i++) {
		struct parser ps = {text, &cron_fields[i], e};
		int r = parse_field(&ps, spans[i], &bits[i]);

		if (r < 0)
			return r;
	}
	*out = (struct cron){
	    .second = bits[FIELD_SECOND],
	    .minute = bits[FIELD_MINUTE],
	    .hour = (uint32_t)bits[FIELD_HOUR],
	    .day_of_month = (uint32_t)bits[FIELD_DAY_OF_MONTH],
	    .month = (uint32_t)bits[FIELD_MONTH],
	    .day_of_week =
		(uint32_t)((bits[FIELD_DAY_OF_WEEK] | bits[FIELD_DAY_OF_WEEK] >> 7) & 0x7f),
	    .minute_star = *spans[FIELD_MINUTE].p == '*',
	    .hour_star = *spans[FIELD_HOUR].p == '*',
	    .day_of_month_star = *spans[FIELD_DAY_OF_MONTH].p == '*',
	    .day_of_week_star = *spans[FIELD_DAY_OF_WEEK].p == '*',
	};
	return 0;
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
