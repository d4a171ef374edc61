// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The next times of a schedule with what the clock and the calendars make of them: as JSON of a
 * compiled one (cron next, cron check), in the shape of the server's previews and checks; and
 * printed, of either.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

struct calendar;
struct cli;
struct when;
struct zone;

#define MARKS_COUNT_MAX 10000

/* All borrowed; zone and calendars as they were compiled. */
struct marks_of {
	const struct when *w;
	const struct zone *zone;
	const struct calendar *include, *exclude; /* NULL: none */
};

/*
 * {"next": [{"utc", "local", "marks": ["moved" | "repeat" | "shifted"…]; moved: "gap"; shifted:
 *      "meant_for", "reason"}…],
 *  "skipped": [{"utc", "local", "what": "calendar" | "gap" | "fold" | "shifted", "reason"; shifted:
 *      "shifted_to"}…], "skipped_more": there was more}
 * of the first `count` times after `from`, and of what was meant for a time up to the last of them
 * and does not run then. If there are fewer, what is skipped is listed for five years. Caller owns.
 */
json_t *marks_next(const struct marks_of *m, int64_t from, long count);

/*
 * What the clock changes of the two years after `from` do to local times (not to kinds that count
 * elapsed time):
 * {"clock_changes": [{"due", "what", "runs_at", "change", "text"}…], "clock_changes_more": n};
 * what: "moved", "skipped_gap", "first_of_two", "second_of_two", "both". Caller owns.
 */
json_t *marks_clock_changes(const struct marks_of *m, int64_t from);

/* The table of times and of what is skipped among them, in order; with a column for the viewer's
 * zone if the times have it. */
void marks_print(struct cli *c, const json_t *times, const json_t *skipped, const char *nothing);
/* The report under a heading, if there is anything in it. */
void marks_print_changes(struct cli *c, const json_t *answer);
/* "2026-12-24T09:00:00+01:00 CET" as people read it: a blank for the T. Caller owns. */
json_t *marks_local(const char *local);
