// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The days of an iCalendar file (RFC 5545): RRULE, RDATE, EXDATE, RECURRENCE-ID, events of several
 * days, all day or timed. Used by `takt calendar check` and by the gateway's import, which stores
 * the days as rows; nothing else in Takt reads iCalendar.
 *
 * A file is taken whole or refused whole: one that is cut off, too large, too deep or not a
 * calendar gives an error that names the line, never some of its days.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ICAL_TEXT_MAX (1024 * 1024)
#define ICAL_COMPONENTS_MAX 5000
#define ICAL_RULES_MAX 1000
#define ICAL_DEPTH_MAX 8
#define ICAL_DAYS_MAX 20000
#define ICAL_OCCURRENCES_MAX 100000
#define ICAL_STEPS_MAX 6000000 /* of all its rules (recur.h): half a second */
#define ICAL_NOTES_MAX 20
/* 1970-01-01 to 2100-12-31: what first_day and last_day are cut to. */
#define ICAL_FIRST_DAY 0
#define ICAL_LAST_DAY 47846

struct zone;

/* Sorted, each day once; a day of several events has their reasons joined by "; ". */
struct calendar_days {
	size_t n;
	int64_t *days;
	char **reasons;
};

/* What the import did, for people. */
struct ical_report {
	char name[128]; /* X-WR-CALNAME, "" if none */
	int components; /* of every kind */
	int events;     /* VEVENT that gave days, or changed those of another */
	int occurrences;
	int days;
	int outside; /* events without a day between first_day and last_day */
	int ignored; /* components that gave nothing: cancelled, no events */
	int notes_n; /* what people should know, the first of it */
	struct ical_note {
		int line;
		char text[96];
	} notes[ICAL_NOTES_MAX];
};

/*
 * Days from first_day to last_day (civil.h). A timed event counts on each day that it touches as
 * the clock in `zone` shows it; zone NULL, or a floating time: as it is written. Times with a TZID
 * that is no IANA name are refused. On failure *out and *report are untouched. Bounded: below a
 * second for the worst file found.
 */
int ical_read(const char *text, size_t n, int64_t first_day, int64_t last_day,
    const struct zone *zone, struct calendar_days *out, struct ical_report *report, struct err *e);
void calendar_days_fini(struct calendar_days *d);
