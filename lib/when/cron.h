// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Cron expressions of five fields, or six with seconds first, and their next occurrence in a time
 * zone. The grammar and the rules, cronie's made exact, are in README.md. Used by the engine
 * (schedules), the gateway's checks, `takt cron` and when.c.
 *
 * A struct cron is a plain value: copy it, keep it, nothing to free. No clock is read here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#include "when/days.h"

#define CRON_TEXT_MAX 256

struct zone;

/* One bit a legal value. *_star: the field's text starts with `*`. Of a five field expression
 * second is second 0. */
struct cron {
	uint64_t second, minute;
	uint32_t hour;
	bool minute_star, hour_star;
	struct day_rule days;
};

/* What to do with local times that a clock change skips or repeats; zero is the default. */
enum cron_gap { CRON_GAP_RUN_AT_END, CRON_GAP_SKIP };
enum cron_fold { CRON_FOLD_FIRST, CRON_FOLD_SECOND, CRON_FOLD_BOTH };

struct cron_policy {
	enum cron_gap gap;
	enum cron_fold fold;
};

struct cron_occurrence {
	int64_t utc;
	bool is_moved;  /* its local times did not exist: it stands at the end of the gap */
	bool is_repeat; /* its local time was on the clock before, and a change turned it back */
};

/* Parse; *out is untouched on failure. The error's field is one of "second", "minute", "hour", "day
 * of month", "month", "day of week" or "expression" (as a whole). */
int cron_parse(const char *text, struct cron *out, struct err *e);
/* The same with the key that H hashes, such as a task's id; NULL (as in cron_parse()): H is
 * refused. */
int cron_parse_keyed(const char *text, const char *hash_key, struct cron *out, struct err *e);

/* "run_at_gap_end" | "skip", "first" | "second" | "both". */
int cron_gap_parse(const char *s, enum cron_gap *out, struct err *e);
int cron_fold_parse(const char *s, enum cron_fold *out, struct err *e);

/* True if the expression follows the wall clock through clock changes, whatever the policy says. */
bool cron_follows_clock(const struct cron *c);

/* The first local second in [from, end) that matches, local time written as if it were UTC;
 * INT64_MAX if none. */
int64_t cron_next_local(const struct cron *c, int64_t from, int64_t end);

/* The first occurrence strictly after after_utc; false if there never is one (within the years that
 * RFC 3339 can write). Bounded: at most one calendar cycle of 400 years is searched. */
bool cron_next(const struct cron *c, const struct zone *z, const struct cron_policy *policy,
    int64_t after_utc, int64_t *out_utc);
bool cron_next_occurrence(const struct cron *c, const struct zone *z,
    const struct cron_policy *policy, int64_t after_utc, struct cron_occurrence *out);

struct buf;
/* What the expression means, one line a field, for `takt cron check` and previews. */
void cron_describe(const struct cron *c, struct buf *out);
