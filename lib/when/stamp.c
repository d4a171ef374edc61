// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See stamp.h. */
#include "when/stamp.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "when/civil.h"
#include "when/shown.h"

#include "base/banned.h"

/* Exactly n digits at *s with a value of lo to hi; moves *s. */
static bool
take_digits(const char **s, int n, int lo, int hi, int *out)
{
	int v = 0;

	for (int i = 0; i < n; i++, (*s)++) {
		if (!isdigit((unsigned char)**s))
			return false;
		v = v * 10 + (**s - '0');
	}
	*out = v;
	return v >= lo && v <= hi;
}

static bool
take_char(const char **s, const char *any_of)
{
	if (!**s || !strchr(any_of, **s))
		return false;
	(*s)++;
	return true;
}

static bool
take_fraction(const char **s, int32_t *us)
{
	int32_t unit = 100000;

	*us = 0;
	if (!take_char(s, "."))
		return true;
	if (!isdigit((unsigned char)**s))
		return false;
	for (; isdigit((unsigned char)**s); (*s)++, unit /= 10)
		*us += (**s - '0') * unit;
	return true;
}

static bool
take_offset(const char **s, int *offset_s)
{
	int h, m, sign = **s == '-' ? -1 : 1;

	*offset_s = 0;
	if (take_char(s, "Zz"))
		return true;
	if (!take_char(s, "+-") || !take_digits(s, 2, 0, 23, &h) || !take_char(s, ":") ||
	    !take_digits(s, 2, 0, 59, &m))
		return false;
	*offset_s = sign * (h * 3600 + m * 60);
	return true;
}

static bool
parse(const char *s, int64_t *utc_s, int32_t *us)
{
	int y, mo, d, h, mi, sec, off;
	int64_t t;

	if (!take_digits(&s, 4, 1, 9999, &y) || !take_char(&s, "-") ||
	    !take_digits(&s, 2, 1, 12, &mo) || !take_char(&s, "-") ||
	    !take_digits(&s, 2, 1, civil_month_days(y, mo), &d))
		return false;
	if (!take_char(&s, "Tt ") || !take_digits(&s, 2, 0, 23, &h) || !take_char(&s, ":") ||
	    !take_digits(&s, 2, 0, 59, &mi) || !take_char(&s, ":") ||
	    !take_digits(&s, 2, 0, 60, &sec))
		return false;
	if (!take_fraction(&s, us) || !take_offset(&s, &off) || *s)
		return false;
	t = civil_days(y, mo, d) * DAY_S + h * 3600 + mi * 60 + sec - off;
	if (sec == 60 && t % DAY_S != 0)
		return false;
	*utc_s = t;
	return true;
}

int
when_parse_rfc3339(const char *s, int64_t *utc_s, int32_t *us, struct err *e)
{
	int64_t t;
	char shown[WHEN_SHOWN_MAX + 1];
	int32_t frac;

	if (strnlen(s, WHEN_STAMP_MAX + 1) > WHEN_STAMP_MAX || !parse(s, &t, &frac)) {
		err_set(
		    e, ERR_INVALID, "'%s' is not an RFC 3339 date and time", when_shown(s, shown));
		err_hint(e, "Write it like 2026-11-22T02:00:00Z or 2026-11-22T03:00:00+01:00.");
		return -ERR_INVALID;
	}
	*utc_s = t;
	if (us)
		*us = frac;
	return 0;
}

const char *
when_format_rfc3339(int64_t utc_s, char buf[32])
{
	int64_t t = utc_s < CIVIL_MIN_S ? CIVIL_MIN_S : utc_s > CIVIL_MAX_S ? CIVIL_MAX_S : utc_s;
	int64_t days = floor_div(t, DAY_S);
	struct civil c = civil_from_days(days);
	unsigned s = (unsigned)(t - days * DAY_S);

	/* The remainders change nothing; they show the compiler that it fits. */
	snprintf(buf, 32, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)c.year % 10000,
	    (unsigned)c.month % 100, (unsigned)c.day % 100, s / 3600 % 24, s / 60 % 60, s % 60);
	return buf;
}
