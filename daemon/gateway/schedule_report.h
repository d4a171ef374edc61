// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What a compiled schedule will do, as JSON for people: its next times, what is passed over between
 * them, what clock changes do to it, what should make one wonder. Used by the previews and checks
 * of hooks_task.c and hooks_schedule.c. Pure, and bounded however dense the schedule is.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct schedule_plan;
struct zone;

#define REPORT_SKIPPED_MAX 200
#define REPORT_CHANGES_MAX 200

/* An instant on a zone's clock: "2026-11-23T02:00:00+01:00 CET". */
json_t *report_local(const struct zone *z, int64_t utc);

/* The next n: [{"utc", "local", "viewer" (unless NULL), "marks": ["moved", "repeat", "shifted"]}];
 * *last is the last one's instant, from_utc if there is none. */
json_t *report_times(const struct schedule_plan *p, int64_t from_utc, unsigned n,
    const struct zone *viewer, int64_t *last);

/* Nominal times in (from, until] that do not run: [{"utc", "local", "what": "calendar" | "gap" |
 * "fold", "calendar", "reason"}]; *is_more if there are others. */
json_t *report_skipped(
    const struct schedule_plan *p, int64_t from_utc, int64_t until_utc, bool *is_more);

/* Every time in (from, until] that meets a clock change, and what will happen; *more of them are
 * not told. */
json_t *report_clock_changes(
    const struct schedule_plan *p, int64_t from_utc, int64_t until_utc, int *more);

/* {"utc": [...], "local": [...]}: texts only, of report_times(). */
void report_texts(const json_t *times, json_t **utc, json_t **local);
