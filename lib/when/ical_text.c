// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See ical_text.h. */
#include "when/ical_text.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "when/civil.h"

#include "base/banned.h"

bool
span_is(struct span s, const char *text)
{
	return s.n == strlen(text) && strncasecmp(s.p, text, s.n) == 0;
}

const char *
span_shown(struct span s, char buf[ICAL_PARAM_MAX + 1])
{
	size_t n = s.n < ICAL_PARAM_MAX ? s.n : ICAL_PARAM_MAX;

	for (size_t i = 0; i < n; i++)
		buf[i] = isprint((unsigned char)s.p[i]) ? s.p[i] : '?';
	buf[n] = 0;
	return buf;
}

bool
span_cut(struct span *rest, char at, struct span *item)
{
	const char *end;

	if (!rest->p)
		return false;
	end = rest->n ? memchr(rest->p, at, rest->n) : NULL;
	*item = (struct span){rest->p, end ? (size_t)(end - rest->p) : rest->n};
	*rest = end ? (struct span){end + 1, rest->n - item->n - 1} : (struct span){NULL, 0};
	return true;
}

bool
span_int(struct span s, int64_t min, int64_t max, int64_t *out)
{
	bool is_negative = s.n && *s.p == '-';
	int64_t v = 0;

	if (s.n && (*s.p == '-' || *s.p == '+'))
		s = (struct span){s.p + 1, s.n - 1};
	if (!s.n || s.n > 9)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!isdigit((unsigned char)s.p[i]))
			return false;
		v = v * 10 + s.p[i] - '0';
	}
	if (is_negative)
		v = -v;
	if (v < min || v > max)
		return false;
	*out = v;
	return true;
}

/* Digits at an offset; the caller has checked the length. */
static bool
digits(struct span s, size_t at, size_t n, int64_t min, int64_t max, int64_t *out)
{
	return isdigit((unsigned char)s.p[at]) &&
	       span_int((struct span){s.p + at, n}, min, max, out);
}

bool
ical_stamp_parse(struct span s, struct ical_stamp *out)
{
	int64_t y, m, d, h = 0, min = 0, sec = 0;
	bool is_utc = s.n == 16 && (s.p[15] == 'Z' || s.p[15] == 'z');

	if (s.n != 8 && s.n != 15 && !is_utc)
		return false;
	if (!digits(s, 0, 4, 1, 9999, &y) || !digits(s, 4, 2, 1, 12, &m) ||
	    !digits(s, 6, 2, 1, civil_month_days(y, (int)m), &d))
		return false;
	if (s.n > 8 && ((s.p[8] != 'T' && s.p[8] != 't') || !digits(s, 9, 2, 0, 23, &h) ||
			   !digits(s, 11, 2, 0, 59, &min) || !digits(s, 13, 2, 0, 59, &sec)))
		return false;
	out->kind = s.n == 8 ? ICAL_DATE : is_utc ? ICAL_UTC : ICAL_FLOATING;
	out->s = civil_days(y, (int)m, (int)d) * DAY_S + h * 3600 + min * 60 + sec;
	return true;
}

bool
ical_duration_parse(struct span s, int64_t *out)
{
	static const struct {
		char unit;
		bool is_time;
		int64_t s;
	} units[] = {{'W', false, 7 * DAY_S}, {'D', false, DAY_S}, {'H', true, 3600},
	    {'M', true, 60}, {'S', true, 1}};
	size_t i = s.n && *s.p == '+', unit = 0, from;
	int64_t sum = 0, v;
	bool is_time = false, is_any = false;

	if (i >= s.n || toupper((unsigned char)s.p[i++]) != 'P')
		return false;
	while (i < s.n) {
		if (!is_time && toupper((unsigned char)s.p[i]) == 'T') {
			is_time = true;
			is_any = false;
			i++;
			continue;
		}
		for (from = i; i < s.n && isdigit((unsigned char)s.p[i]);)
			i++;
		if (i == s.n || !span_int((struct span){s.p + from, i - from}, 0, 10000000, &v))
			return false;
		while (unit < ARRAY_LEN(units) &&
		       (units[unit].is_time != is_time ||
			   units[unit].unit != toupper((unsigned char)s.p[i])))
			unit++;
		if (unit == ARRAY_LEN(units))
			return false;
		sum += v * units[unit++].s;
		is_any = true;
		i++;
	}
	if (!is_any)
		return false;
	*out = sum;
	return true;
}

/* --- lines --- */

/* Joins the folded lines that follow and leaves r->at behind them. */
static struct span
unfold(struct ical_reader *r)
{
	char *to = r->p + r->at;
	struct span line = {to, 0};

	for (;;) {
		char *from = r->p + r->at;
		char *end = memchr(from, '\n', r->n - r->at);
		size_t n = end ? (size_t)(end - from) : r->n - r->at;

		r->at += n + (end != NULL);
		r->number++;
		if (n && from[n - 1] == '\r')
			n--;
		memmove(to, from, n);
		to += n;
		line.n = (size_t)(to - line.p);
		if (!line.n || r->at >= r->n || (r->p[r->at] != ' ' && r->p[r->at] != '\t'))
			return line;
		r->at++;
	}
}

/* The colon that ends the parameters: not one in quotes. */
static const char *
find_colon(struct span s)
{
	bool is_quoted = false;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"')
			is_quoted = !is_quoted;
		else if (s.p[i] == ':' && !is_quoted)
			return s.p + i;
	}
	return NULL;
}

static int
split(struct span s, struct ical_line *out, struct err *e)
{
	char shown[ICAL_PARAM_MAX + 1];
	const char *colon = find_colon(s);
	const char *semicolon = colon ? memchr(s.p, ';', (size_t)(colon - s.p)) : NULL;
	const char *name_end = semicolon ? semicolon : colon;

	if (!colon || colon == s.p)
		return err_set(e, ERR_INVALID, "line %d: \"%s\" is not NAME:VALUE", out->number,
		    span_shown(s, shown));
	out->name = (struct span){s.p, (size_t)(name_end - s.p)};
	out->params = (struct span){NULL, 0};
	if (semicolon)
		out->params = (struct span){semicolon + 1, (size_t)(colon - semicolon - 1)};
	out->value = (struct span){colon + 1, s.n - (size_t)(colon + 1 - s.p)};
	for (size_t i = 0; i < out->name.n; i++)
		if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '-')
			return err_set(e, ERR_INVALID, "line %d: \"%s\" is not a name of iCalendar",
			    out->number, span_shown(out->name, shown));
	return 1;
}

int
ical_line_next(struct ical_reader *r, struct ical_line *out, struct err *e)
{
	while (r->at < r->n) {
		out->number = r->number + 1;
		struct span s = unfold(r);

		if (s.n)
			return split(s, out, e);
	}
	return 0;
}

bool
ical_param(const struct ical_line *l, const char *name, struct span *out)
{
	struct span rest = l->params;

	while (rest.p) {
		bool is_quoted = false;
		size_t n = 0;

		while (n < rest.n && (is_quoted || rest.p[n] != ';'))
			is_quoted ^= rest.p[n++] == '"';

		struct span item = {rest.p, n}, key;

		rest = n < rest.n ? (struct span){rest.p + n + 1, rest.n - n - 1}
				  : (struct span){NULL, 0};
		if (!span_cut(&item, '=', &key) || !item.p || !span_is(key, name))
			continue;
		if (item.n >= 2 && item.p[0] == '"' && item.p[item.n - 1] == '"')
			item = (struct span){item.p + 1, item.n - 2};
		*out = item;
		return true;
	}
	return false;
}
