// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A rule with its exceptions: what DTSTART, RRULE, RDATE and EXDATE of one event or schedule come
 * to, on local time. Shared by rrule.c and ical.c.
 */
#pragma once

#include "when/recur.h"

struct moments {
	int64_t *at; /* sorted by dates_ready() */
	size_t n, cap;
};

struct dates {
	bool has_rule;
	struct recur rule;
	struct recur_walk walk;
	int64_t spent_max; /* past exceptions dates_next() goes on while walk.spent is not above */
	struct moments more;           /* RDATE, and the start of an event without a rule */
	struct moments less, less_day; /* EXDATE: moments, and days (civil.h) */
};

void dates_fini(struct dates *d);
void moments_add(struct moments *m, int64_t at);
/* Sort; before the first question. */
void dates_ready(struct dates *d);
bool dates_next(struct dates *d, int64_t after, int64_t *out);
