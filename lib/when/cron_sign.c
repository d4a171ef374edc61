// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Cron's signs: L, W, # and ? for days, H in every field. Each is a whole part of a list. What
 * looks like none of them is left to the plain grammar.
 */
#include <ctype.h>
#include <string.h>

#include "when/cron_fields.h"

#include "base/banned.h"

#define FROM_LAST_MAX 30

/* FNV-1a over key and field, then murmur3's last step: both are simple to write in any language. */
static uint64_t
hash(const char *key, unsigned char field)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (const unsigned char *p = (const unsigned char *)key; *p; p++)
		h = (h ^ *p) * UINT64_C(0x100000001b3);
	h = (h ^ field) * UINT64_C(0x100000001b3);
	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
	h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

static bool
is_letter(const char *p, const char *end, char upper)
{
	return p < end && toupper((unsigned char)*p) == upper;
}

/* "(a-b)" at *p, if there is one. */
static int
take_hash_range(const struct cron_parser *ps, const char **p, const char *end, int *lo, int *hi)
{
	const char *start = *p, *close;
	int e;

	if (*p == end || **p != '(')
		return 0;
	close = memchr(*p, ')', (size_t)(end - *p));
	if (!close)
		return cron_bad(ps, start, end, "lacks a closing parenthesis");
	(*p)++;
	if ((e = cron_take_value(ps, p, close, lo)) < 0)
		return e;
	if (*p == close || **p != '-')
		return cron_bad(ps, start, close + 1, "is not a range such as H(0-29)");
	(*p)++;
	if ((e = cron_take_value(ps, p, close, hi)) < 0)
		return e;
	if (*p != close)
		return cron_bad(ps, *p, close, "is not understood here");
	if (*hi < *lo)
		return cron_bad(ps, start, close + 1, "is a range that runs backwards");
	*p = close + 1;
	return 0;
}

static int
take_hash(const struct cron_parser *ps, const char *p, const char *end, struct cron_value *v)
{
	const char *start = p++;
	int lo = ps->field->lo, hi = ps->field->hash_hi, step, e;
	bool is_stepped;
	uint64_t h;

	if ((e = take_hash_range(ps, &p, end, &lo, &hi)) < 0)
		return e;
	is_stepped = p < end && *p == '/';
	if ((e = cron_take_step(ps, &p, end, &step)) < 0)
		return e;
	if (p < end)
		return cron_bad(ps, p, end, "is not understood here");
	if (!ps->hash_key)
		return cron_bad(ps, start, end, "needs a task whose id it hashes, there is none");
	if (step > hi - lo + 1)
		return cron_bad(ps, start, end, "has a step larger than its range");
	h = hash(ps->hash_key, (unsigned char)(ps->field - cron_fields));
	lo += (int)(h % (unsigned)(is_stepped ? step : hi - lo + 1));
	for (int i = lo; i <= (is_stepped ? hi : lo); i += step)
		v->bits |= UINT64_C(1) << i;
	return 1;
}

/* L, L-n, LW. */
static int
take_last_of_month(
    const struct cron_parser *ps, const char *p, const char *end, struct cron_value *v)
{
	const char *start = p++;
	int n = 0;

	if (p == end) {
		v->from_last |= 1;
		return 1;
	}
	if (is_letter(p, end, 'W') && p + 1 == end) {
		v->nearest |= 1;
		return 1;
	}
	if (*p != '-')
		return cron_bad(ps, start, end, "is neither L nor L-n nor LW");
	for (p++; p < end && isdigit((unsigned char)*p); p++)
		if (n < 1000)
			n = n * 10 + (*p - '0');
	if (p < end || n < 1 || n > FROM_LAST_MAX)
		return cron_bad(ps, start, end, "counts days back from the last one: L-1 to L-30");
	v->from_last |= UINT32_C(1) << n;
	return 1;
}

static int
take_nearest(const struct cron_parser *ps, const char *p, const char *end, struct cron_value *v)
{
	const char *start = p;
	int day, e;

	for (const char *q = p; q < end - 1; q++)
		if (!isdigit((unsigned char)*q))
			return cron_bad(
			    ps, start, end, "has a W after something else than one day");
	if (p == end - 1)
		return cron_bad(ps, start, end, "lacks the day before it, as in 15W");
	if ((e = cron_take_value(ps, &p, end - 1, &day)) < 0)
		return e;
	v->nearest |= UINT32_C(1) << day;
	return 1;
}

static int
sign_of_month(const struct cron_parser *ps, const char *p, const char *end, struct cron_value *v)
{
	if (is_letter(p, end, 'L'))
		return take_last_of_month(ps, p, end, v);
	if (is_letter(end - 1, end, 'W'))
		return take_nearest(ps, p, end, v);
	return 0;
}

/* d#n */
static int
take_nth(const struct cron_parser *ps, const char *p, const char *sharp, const char *end,
    struct cron_value *v)
{
	const char *start = p;
	int day, e;

	if (p == sharp)
		return cron_bad(ps, start, end, "lacks the weekday before it, as in FRI#3");
	if ((e = cron_take_value(ps, &p, sharp, &day)) < 0)
		return e;
	if (p != sharp)
		return cron_bad(ps, start, end, "has a # after something else than one weekday");
	if (end - sharp != 2 || sharp[1] < '1' || sharp[1] > '0' + DAY_NTH_MAX)
		return cron_bad(ps, sharp, end, "is not #1 to #5");
	v->nth_of_week |= UINT64_C(1) << DAY_NTH_BIT(day % 7, sharp[1] - '0');
	return 1;
}

static int
sign_of_week(const struct cron_parser *ps, const char *p, const char *end, struct cron_value *v)
{
	const char *sharp = memchr(p, '#', (size_t)(end - p)), *q = p;
	int day, e;

	if (sharp)
		return take_nth(ps, p, sharp, end, v);
	if (!is_letter(end - 1, end, 'L'))
		return 0;
	if (p == end - 1)
		return cron_bad(ps, p, end, "lacks the weekday before it: 5L is the last Friday");
	if ((e = cron_take_value(ps, &q, end - 1, &day)) < 0)
		return e;
	if (q != end - 1)
		return cron_bad(ps, p, end, "has an L after something else than one weekday");
	v->last_of_week |= UINT32_C(1) << day % 7;
	return 1;
}

static int
take_any(const struct cron_parser *ps, const char *p, const char *end, struct cron_value *v)
{
	if (p != ps->span.p || end != ps->span.end || p + 1 != end)
		return cron_bad(ps, p, end, "is not understood: ? stands alone in its field");
	for (int i = ps->field->lo; i <= ps->field->hi; i++)
		v->bits |= UINT64_C(1) << i;
	return 1;
}

int
cron_sign(const struct cron_parser *ps, const char *p, const char *end, struct cron_value *v)
{
	bool is_month_day = ps->field == &cron_fields[FIELD_DAY_OF_MONTH];
	bool is_week_day = ps->field == &cron_fields[FIELD_DAY_OF_WEEK];

	if (p == end)
		return 0;
	if (is_letter(p, end, 'H'))
		return take_hash(ps, p, end, v);
	if (*p == '?' && (is_month_day || is_week_day))
		return take_any(ps, p, end, v);
	if (is_month_day)
		return sign_of_month(ps, p, end, v);
	return is_week_day ? sign_of_week(ps, p, end, v) : 0;
}
