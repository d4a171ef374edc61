// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * One recurrence rule of RFC 5545 (the value of RRULE) on floating local time: seconds since
 * 1970-01-01T00:00:00 as the clock on the wall shows them, no zone. Used by rrule.c (schedules) and
 * ical.c (calendars).
 *
 * A struct recur is a plain value. Every search is bounded: 400 years of days, and a rule with
 * COUNT ends 400 years after DTSTART at the latest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define RECUR_NTH_BIT(n, weekday) (((n)-1) * 7 + (weekday))
#define RECUR_SETPOS_MAX 64
#define RECUR_COUNT_MAX 10000
#define RECUR_INTERVAL_MAX 100000
/* When what comes is ruled out again and again, by EXDATE or a calendar, the search is given up after
 * so many steps (struct recur_walk). */
#define RECUR_STEPS_MAX 200000

struct zone;

enum recur_freq {
	RECUR_SECONDLY,
	RECUR_MINUTELY,
	RECUR_HOURLY,
	RECUR_DAILY,
	RECUR_WEEKLY,
	RECUR_MONTHLY,
	RECUR_YEARLY,
};

/* Bit n is the value n (0 is Sunday); no bit of a date part: any. The parser has put in what
 * DTSTART says where the rule is silent, so second, minute and hour are never empty. */
struct recur {
	enum recur_freq freq;
	int64_t interval;
	int64_t start; /* DTSTART */
	int64_t until; /* inclusive; INT64_MAX: no end. COUNT ends up here too */
	int week_start;
	uint64_t second, minute;
	uint32_t hour, month;
	uint32_t month_day, month_day_back; /* _back: counted from the end, bit 1 is the last */
	uint64_t year_day[6], year_day_back[6];
	uint64_t week, week_back;
	uint8_t weekday;
	uint64_t nth[6], nth_back[6]; /* 2MO, -1FR: bit RECUR_NTH_BIT */
	bool has_nth;
	int16_t set_pos[RECUR_SETPOS_MAX];
	int set_pos_n; /* only positions that a set can have */
	bool is_never; /* no time of day, or no position, can ever match */
	int64_t spent; /* steps that it took to count off COUNT */
};

/* Where a walk is: the days of the period that was looked at last. Zeroed is empty. */
struct recur_walk {
	bool is_filled;
	int64_t spent; /* steps taken so far, of 100 ns or less most of them */
	int64_t period;
	int n;
	int64_t days[366];
};

/*
 * Parse the value of RRULE for a DTSTART at start (is_date: a DATE without a time). until_zone: the
 * zone that turns an UNTIL in UTC into local time; NULL refuses it. The error's field is the part
 * ("BYDAY"). *out is untouched on failure.
 */
int recur_parse(const char *text, size_t n, int64_t start, bool is_date,
    const struct zone *until_zone, struct recur *out, struct err *e);

/* The first occurrence strictly after `after`; false: never again. *walk belongs to this rule. */
bool recur_next(const struct recur *r, struct recur_walk *walk, int64_t after, int64_t *out);
