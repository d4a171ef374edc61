// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Which days: the date half of cron, times, window and ordinal schedules. A rule is a plain value
 * of bit sets. Knows no zone and no calendar of holidays.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct day_rule {
	uint32_t month;     /* bits 1 to 12 */
	uint32_t of_month;  /* bits 1 to 31 */
	uint32_t from_last; /* bit n: n days before the month's last (L-n); bit 0: the last */
	uint32_t nearest; /* bit n: Monday to Friday nearest to day n (nW); bit 0: the last (LW) */
	uint32_t of_week; /* bits 0 to 6, Sunday first */
	uint64_t nth_of_week; /* bit DAY_NTH_BIT(weekday, n): the n-th such day of the month */
	uint32_t last_of_week;
	bool of_month_star, of_week_star; /* either: both halves must match; else one of them */
};

#define DAY_NTH_MAX 5
#define DAY_NTH_BIT(weekday, n) (((n)-1) * 7 + (weekday))

/* Every day of the weekdays given (bits 0 to 6, Sunday first). */
struct day_rule day_rule_weekdays(uint32_t of_week);

/* The first day from `day` to `last` that matches; INT64_MAX if none does. */
int64_t day_rule_next(const struct day_rule *r, int64_t day, int64_t last);

/*
 * Days times times of day: the first matching local second in [from, end), local time written as if
 * it were UTC; INT64_MAX if none. next_second(times, from): the first second of a day from `from`
 * (0 to 86399) on, or -1.
 */
int64_t day_rule_next_local(const struct day_rule *r,
    int (*next_second)(const void *times, int from), const void *times, int64_t from, int64_t end);
