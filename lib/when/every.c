// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See every.h. */
#include "when/every.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"

#include "when/civil.h"

#include "base/banned.h"

#define DURATION_MAX_S (366 * DAY_S)
#define DIGITS_MAX 8

static const struct {
	char letter;
	int32_t seconds;
} units[] = {{'d', DAY_S}, {'h', 3600}, {'m', 60}, {'s', 1}, {'w', 7 * DAY_S}};

static const char legal[] =
    "Write a number and a unit, s, m, h or d: 90s, 5m, 2h, 1d; one second to 366 days.";

static int32_t
unit_seconds(char letter)
{
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (units[i].letter == tolower((unsigned char)letter))
			return units[i].seconds;
	return 0;
}

int
duration_scan(struct scan *s, int64_t *seconds)
{
	const char *start = s->p, *end = start + strcspn(start, " \t");
	int n = scan_number(s, DIGITS_MAX);
	int64_t unit;

	if (start == end)
		return scan_unexpected(s, "interval", "a number", legal);
	if (n < 0)
		return scan_bad(s, start, end, "interval", "is not a number and a unit", legal);
	unit = *s->p ? unit_seconds(*s->p) : 0;
	if (!unit)
		return scan_bad(s, start, end, "interval", "lacks a unit", legal);
	s->p++;
	if (s->p != end || s->p[strspn(s->p, " \t")])
		return scan_bad(s, s->p, s->p + strlen(s->p), "interval",
		    "is not understood after the unit", legal);
	if (n < 1 || n * unit > DURATION_MAX_S)
		return scan_bad(s, start, end, "interval", "is out of range", legal);
	*seconds = n * unit;
	return 0;
}

int
every_parse(const char *text, struct every *out, struct err *e)
{
	struct scan s = {text, text, e};

	scan_blanks(&s);
	if (scan_word(&s, "@every") || scan_word(&s, "every"))
		scan_blanks(&s);
	return duration_scan(&s, &out->step_s);
}

/* In the largest unit that leaves no rest; weeks are days. */
void
every_print(const struct every *v, struct buf *out)
{
	size_t i = 0;

	while (v->step_s % units[i].seconds)
		i++;
	buf_addi(out, v->step_s / units[i].seconds);
	buf_addc(out, units[i].letter);
}

bool
every_next(const struct every *v, int64_t anchor, int64_t from, int64_t *utc)
{
	int64_t steps = from > anchor ? (from - anchor + v->step_s - 1) / v->step_s : 0;

	if (from > CIVIL_MAX_S)
		return false;
	*utc = anchor + steps * v->step_s;
	return *utc <= CIVIL_MAX_S;
}
