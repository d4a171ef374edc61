// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Local times to instants: the one place where rules 2 to 7 of README.md (gap, fold, new clock) are
 * applied. What the local times are, a source says: cron, a list of times, an RRULE, any of them
 * after calendars. Used by cron.c and when.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "when/cron.h"

struct zone;

struct local_time {
	int64_t s;   /* local seconds, written as if they were UTC */
	int64_t day; /* the day that it was meant for: another one if a calendar moved it */
	bool is_shifted;
};

struct local_source {
	/* The first local time >= from and < end; false if there is none. */
	bool (*next)(const void *arg, int64_t from, int64_t end, struct local_time *out);
	const void *arg;
	const struct zone *zone;
	struct cron_policy policy;
	bool follows_clock;
};

struct local_hit {
	int64_t utc;
	struct local_time local; /* of a moved one: the first time inside the gap */
	bool is_moved, is_repeat;
};

/* The first instant strictly after `after`. Searches one calendar cycle (400 years) beyond the
 * zone's table, to `until` (exclusive) at most. */
bool local_next(const struct local_source *s, int64_t after, int64_t until, struct local_hit *out);

/* The first instant of one local time by the rules that hold for s, whose own times are not asked;
 * false if the clock skips it for good. */
bool local_to_utc(const struct local_source *s, int64_t local_s, struct local_hit *out);
/* Was the local time of this instant on the clock before? */
bool local_is_repeat(const struct zone *z, int64_t utc);

enum local_fate { LOCAL_RUNS, LOCAL_IN_GAP, LOCAL_NOT_REPEATED };

/* Every local time that a clock showed or skipped, with what becomes of it, in order of instants. A
 * skipped one has the instant of the change. */
struct local_mark {
	int64_t utc;
	struct local_time local;
	enum local_fate fate;
	bool is_moved, is_repeat;
	bool is_new_clock; /* of LOCAL_IN_GAP: the clock was set by three hours or more */
};

struct local_cursor {
	int64_t after;     /* marks at instants > after are to come ... */
	bool is_in_gap;    /* ... but at `after` itself those of a gap that ... */
	int64_t gap_local; /* ... come after this local time, and the regular one at its end */
};

/* The next mark at or before `until`; moves *c. */
bool local_next_mark(
    const struct local_source *s, struct local_cursor *c, int64_t until, struct local_mark *out);
