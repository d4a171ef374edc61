// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A schedule of any kind: its text read, its next occurrence, what becomes of each of its times,
 * and every accepted spelling to the one that is stored. The kinds and the rules are in README.md.
 * Used by the engine, the gateway's checks and previews, and `takt cron`.
 *
 * Pure: no clock is read. A struct when never changes; one with an RRULE belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#include "when/cron.h"
#include "when/local.h"

#define WHEN_TEXT_MAX 256
#define WHEN_TIMES_TEXT_MAX \
	768 /* TIMES_MAX times of day as anybody may write them, and their days */
#define WHEN_RRULE_TEXT_MAX 4096
/* A calendar moves an occurrence by this many days at most; with no business day so near it is
 * skipped. */
#define WHEN_SHIFT_DAYS_MAX 366

struct buf;
struct calendar;
struct zone;

enum when_kind {
	WHEN_CRON,
	WHEN_EVERY,
	WHEN_TIMES,
	WHEN_WINDOW,
	WHEN_ORDINAL,
	WHEN_RRULE,
	WHEN_ONCE,
	WHEN_ON_DEMAND
};

/* What becomes of an occurrence on a day that the calendars rule out. */
enum when_hit { WHEN_HIT_SKIP, WHEN_HIT_NEXT_BUSINESS_DAY, WHEN_HIT_PREVIOUS_BUSINESS_DAY };

/* What the expression needs besides its text. Zone and calendars are borrowed. */
struct when_setting {
	const struct zone *zone;
	struct cron_policy policy;
	int64_t anchor;       /* of every: effective from, else creation; what +90m counts from */
	int64_t from, until;  /* effective: from inclusive, until exclusive */
	const char *hash_key; /* of H: the task's id; NULL refuses H */
	const struct calendar *include, *exclude; /* NULL: none */
	enum when_hit hit;
};

/* For an initialiser: effective always. */
#define WHEN_ALWAYS .from = INT64_MIN, .until = INT64_MAX

struct when;

struct when_occurrence {
	int64_t utc;
	bool is_moved;   /* stands at the end of a gap */
	bool is_repeat;  /* its local time was on the clock before */
	bool is_shifted; /* a calendar moved it to another day */
	int64_t day;     /* the civil day it was meant for (civil.h) */
};

/* "cron", "every", "times", "window", "ordinal", "rrule", "once", "on_demand". */
int when_kind_parse(const char *s, enum when_kind *out, struct err *e);
const char *when_kind_name(enum when_kind kind);
/* How long a text of it may be. */
size_t when_text_max(enum when_kind kind);
/* "skip", "next_business_day", "previous_business_day". */
int when_hit_parse(const char *s, enum when_hit *out, struct err *e);

/* NULL and *e if the text is refused; the error's field is the part that is wrong, such as "hour",
 * "time" or "weekdays", "expression" for the text as a whole, or the setting ("hit",
 * "effective_until"). */
struct when *when_new(
    enum when_kind kind, const char *expr, const struct when_setting *set, struct err *e);
void when_free(struct when *w);

/*
 * The first occurrence strictly after after_utc; false: never again. Strictly rising; bounded: at
 * most 400 years of days are searched. Two occurrences that fall on one instant are one, of the day
 * that was not shifted, else of the earlier day.
 */
bool when_next(const struct when *w, int64_t after_utc, struct when_occurrence *out);

enum when_what { WHEN_FIRES, WHEN_SKIPPED_CALENDAR, WHEN_SKIPPED_GAP, WHEN_SKIPPED_FOLD };

/* A nominal time and what becomes of it. */
struct when_mark {
	int64_t utc;     /* the nominal instant; of a time inside a gap the gap's end */
	int64_t local_s; /* the nominal local time, as if it were UTC */
	enum when_what what;
	struct when_occurrence o; /* WHEN_FIRES: what comes of it, on another day if is_shifted */
	const char *reason;       /* else: why; as long as the schedule and its calendars live */
};

/* Where a listing stands: set after and until, the rest zero. */
struct when_cursor {
	int64_t after, until; /* marks in (after, until] */
	struct local_cursor local;
	bool is_begun;
};

/* The next mark; false at the end. Marks come in order of their nominal instant and local time.
 * What falls outside of effective from and until has none. */
bool when_next_mark(const struct when *w, struct when_cursor *c, struct when_mark *out);

/*
 * Any accepted spelling of an expression to the text that is stored, shown and parsed; *canonical
 * is added to. Refuses what when_new() refuses.
 */
int when_text(enum when_kind kind, const struct when_setting *set, const char *given,
    struct buf *canonical, struct err *e);

static inline void
cleanup_when(struct when **w)
{
	when_free(*w);
}

#define _cleanup_when_ _cleanup_(cleanup_when)
