// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A POSIX TZ string ("CET-1CEST,M3.5.0,M10.5.0/3"), which a TZif file has in its footer for all
 * times after its table. Times of -167 to 167 hours as in TZif version 3. Used by zone.c only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TZRULE_ABBREV_MAX 15

struct tzrule_date {
	char kind;      /* 'J': 1 to 365, no leap day; 'N': 0 to 365; 'M': month.week.weekday */
	int month;      /* of M */
	int week;       /* of M; 5 is the last */
	int day;        /* of all three */
	int32_t time_s; /* after midnight by the clock in force before the change */
};

struct tzrule {
	char std[TZRULE_ABBREV_MAX + 1], dst[TZRULE_ABBREV_MAX + 1];
	int32_t std_off, dst_off; /* seconds east of Greenwich */
	bool has_dst;
	bool is_fixed; /* the offset never changes: no DST, or DST all year */
	struct tzrule_date start, end;
};

/* s is not NUL-terminated. Outputs are untouched on failure. */
int tzrule_parse(const char *s, size_t n, struct tzrule *out, struct err *e);
/* True if daylight time is in force at t. */
bool tzrule_is_dst(const struct tzrule *r, int64_t t);
/* The nearest boundary > t, and the nearest <= t. Only for rules that are not fixed. */
int64_t tzrule_after(const struct tzrule *r, int64_t t);
int64_t tzrule_before(const struct tzrule *r, int64_t t);
