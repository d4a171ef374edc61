// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What is due in a range, of a page of tasks: rows in order, and the load an hour. Pure: the hook
 * in forecast.c reads the request. Bounded: FORECAST_RANGE_S long, FORECAST_STEPS due times a task,
 * a row for each of a task's due times only if they are few, and the caller's deadline, which is
 * looked at between tasks.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#include "when/calendar.h"
#include "when/when.h"

#define FORECAST_RANGE_S (31 * 86400)
#define FORECAST_PAGE 1000    /* tasks a request; sql/api/getForecast.sql reads one more */
#define FORECAST_STEPS 50000  /* a due time a minute of the longest range */
#define FORECAST_ROWS_TASK 48 /* more due times of a task are one row */

/* Due times that are one row: one, or those from due on until last. */
struct forecast_row {
	const json_t *task; /* borrowed */
	int64_t due, last;
	unsigned count;
	bool is_more;        /* count is what was counted until FORECAST_STEPS */
	const char *skipped; /* "calendar", "gap", "fold"; NULL: it fires */
	char reason[CALENDAR_REASON_MAX + 1];
	bool is_moved, is_repeat, is_shifted;
};

struct forecast {
	int64_t from, to;
	const json_t *calendars;
	struct forecast_row *rows;
	unsigned n, cap;
	unsigned *minutes; /* fire times in each minute from from's hour on */
	unsigned minutes_n;
	uint64_t total;
};

void forecast_init(struct forecast *f, int64_t from, int64_t to, const json_t *calendars);
void forecast_fini(struct forecast *f);
/* One task of the statement's answer; one that cannot be read has a row that says so. */
void forecast_add(struct forecast *f, const json_t *task);
/* The answer's members, at most limit rows. Caller owns. */
json_t *forecast_tell(struct forecast *f, unsigned limit);
