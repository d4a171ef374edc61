// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The next times of a compiled schedule with what the clock and the calendars make of them, as
 * JSON: of the local commands (cron next, cron check). The server's previews have the same shape.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

struct calendar;
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
 * {"next": [{"utc", "local", "marks": ["moved" | "repeated" | "shifted"…], "text"}…],
 *  "skipped": [{"utc", "local", "rule", "reason", "text", "shifted_to" if it runs on another day}…],
 *  "is_cut": was more skipped than is listed}
 * of the first `count` times after `from`, and of what was meant for a time up to the last of them
 * and does not run then. If there are fewer, what is skipped is listed for five years. Caller owns.
 */
json_t *marks_next(const struct marks_of *m, int64_t from, long count);

/*
 * What the clock changes of the two years after `from` do to local times (not to kinds that count
 * elapsed time):
 * {"clock_changes": [{"due", "what", "runs_at", "change", "text"}…], "more": n}; what: "moved",
 * "skipped_gap", "first_of_two", "second_of_two", "both". Caller owns.
 */
json_t *marks_clock_changes(const struct marks_of *m, int64_t from);
