// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The proleptic Gregorian calendar on plain integers: days since 1970-01-01, no zone, no libc. Good
 * for any year that fits the arithmetic; callers keep to years of at most five digits.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DAY_S 86400
/* 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what RFC 3339 can write. */
#define CIVIL_MIN_S INT64_C(-62135596800)
#define CIVIL_MAX_S INT64_C(253402300799)
/* The calendar repeats, weekdays included, after this many days. */
#define CIVIL_CYCLE_DAYS 146097

struct civil {
	int64_t year;
	int month; /* 1 to 12 */
	int day;   /* 1 to 31 */
};

static inline int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static inline bool
civil_is_leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static inline int
civil_month_days(int64_t year, int month)
{
	static const signed char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && civil_is_leap(year));
}

/* Days since 1970-01-01. Counts in years that begin in March, so that the leap day comes last. */
static inline int64_t
civil_days(int64_t year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t cycle = floor_div(y, 400);
	int64_t in_cycle = y - cycle * 400;
	int64_t in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return cycle * CIVIL_CYCLE_DAYS + in_cycle * 365 + in_cycle / 4 - in_cycle / 100 + in_year -
	       719468;
}

static inline struct civil
civil_from_days(int64_t days)
{
	int64_t since = days + 719468; /* 0000-03-01 */
	int64_t cycle = floor_div(since, CIVIL_CYCLE_DAYS);
	int64_t d = since - cycle * CIVIL_CYCLE_DAYS;
	int64_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
	int64_t in_year = d - (365 * y + y / 4 - y / 100);
	int m = (int)((5 * in_year + 2) / 153);
	struct civil c = {
	    .day = (int)(in_year - (153 * m + 2) / 5) + 1, .month = m < 10 ? m + 3 : m - 9};

	c.year = y + cycle * 400 + (c.month <= 2);
	return c;
}

/* 0 is Sunday. */
static inline int
civil_weekday(int64_t days)
{
	int64_t n = days + 4;

	return (int)(n - floor_div(n, 7) * 7);
}
