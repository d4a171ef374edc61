// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Which of the due times that an engine finds fires, which are missed, and which is next; and what
 * was no due time because of a calendar or a clock change. Pure. Used by schedule.c.
 *
 * Every due time is in one of: a row, `due`, or `next` and what comes after.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct calendar;
struct when;

/* How many due times are counted, and how many other times are looked at, a decision. */
#define CATCH_UP_STEPS 10000u
#define CATCH_UP_LIMIT_MAX 1000u
/* Fired later than this after its time, a run is late. */
#define CATCH_UP_LATE_S 60

enum catch_up_rule { CATCH_UP_LATEST, CATCH_UP_NONE, CATCH_UP_ALL };

struct catch_up_policy {
	enum catch_up_rule rule;
	unsigned limit;     /* of all: from 1 to CATCH_UP_LIMIT_MAX, the oldest are missed */
	int64_t deadline_s; /* what is older is missed; 0: however old */
};

/* What did not fire: one row of table occurrence. */
struct passed {
	const char *decision, *rule;
	const char *reason; /* of lib/when, NULL: none */
	int64_t due, until; /* the first and the last */
	unsigned n;         /* at least; counted up to CATCH_UP_STEPS */
};

/* Two of missed due times, and as many as there is room for of others. */
#define PASSED_MAX 100u

struct catch_up {
	bool has_due, has_next;
	int64_t due;  /* fires */
	int64_t next; /* is decided about next; it may be due already (all) */
	unsigned row_count;
	struct passed rows[PASSED_MAX]; /* in order, none covers what another one is about */
};

/* Decide about `was`, the schedule's stored due time, and those after it up to `upto`, which is now, or earlier
 * by the schedule's jitter. was <= upto. Bounded. */
void catch_up(const struct when *w, const struct catch_up_policy *p, int64_t was, int64_t upto,
    struct catch_up *out);

/* Add what is after `from` and passed over by a calendar or by the clock, up to the last time
 * decided about. exclude is the schedule's, or NULL. */
void catch_up_marks(
    const struct when *w, const struct calendar *exclude, int64_t from, struct catch_up *c);
