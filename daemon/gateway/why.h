// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * `takt why`: what became of a due time, what will become of it, or why there is none. An asked
 * time is a stretch of seconds (why_ask.c); the settings that held then say what is due in it
 * (why_find.c); an occurrence row, if there is one, has the last word (why.c); why_tell.c makes the
 * answer. Pure but for the hook in why.c.
 *
 * "Facts" are what sql/api/readWhy.sql answers.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#include "when/calendar.h"
#include "when/when.h"
#include "when/zone.h"

struct why_span {
	int64_t lo, hi; /* both in */
};

struct why_asked {
	struct why_span span[2]; /* two, if the clock shows the time twice */
	unsigned n;
	bool
	    is_gap; /* the clock skips the time: it stands for its local seconds, at the gap's end */
	int64_t local_lo, local_hi;
};

/*
 * The seconds that a text means: RFC 3339, or a time on the zone's clock; without seconds its
 * minute, without a time its day. *e has no field.
 */
int why_ask(const char *text, const struct zone *z, struct why_asked *out, struct err *e);
struct why_asked why_ask_second(int64_t utc);

/* What the expression, its calendars and the clock say about a span. */
struct why_found {
	bool is_nominal;   /* a time of the schedule falls on it */
	bool is_invalid;   /* the schedule cannot be read; error says why */
	bool is_on_demand; /* it has no times at all */
	struct when_mark mark;
	char reason[CALENDAR_REASON_MAX + 1]; /* why it does not fire, or is moved */
	char calendar[64];                    /* that decided */
	const char *rule; /* of a time that does not fire, or of a moved one; else NULL */
	int64_t due;      /* when it runs; of a time that does not: its nominal instant */
	bool has_before, has_after;
	int64_t before, after; /* due times on both sides, by the same settings */
	struct err error;
};

/* The settings that held at an instant; NULL: there were none yet. */
const json_t *why_setting(const json_t *facts, int64_t utc);
/* When settings changed the first time after an instant; false: not since. */
bool why_changed_after(const json_t *facts, int64_t utc, int64_t *at);
void why_look(const json_t *facts, const json_t *setting, const struct why_asked *, unsigned span,
    struct why_found *out);
/* Effective from and until of settings (INT64_MIN, INT64_MAX: none). */
void why_effective(const json_t *setting, int64_t *from, int64_t *until);

/* Everything that the answer is made of. */
struct why_case {
	const json_t *facts, *setting;
	const char *text; /* as asked; NULL */
	const struct zone *zone;
	struct why_asked asked;
	unsigned span;
	struct why_found found;
	const json_t *state; /* what sql/api/whyTask.sql answers */
	const json_t *row;   /* the decision; NULL: none was made */
};

/* The whole answer. Caller owns. */
json_t *why_tell(const struct why_case *);
/* "2026-11-22T03:00:00+01:00 CET" */
json_t *why_local(const struct zone *z, int64_t utc);
json_t *why_utc(int64_t utc);
