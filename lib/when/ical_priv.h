// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Between ical.c, which finds the events of a file, and ical_days.c, which makes days of them. */
#pragma once

#include "when/ical.h"
#include "when/ical_text.h"

/* Lines of a VEVENT that matter; where there is none name.p is NULL. They point into the text. */
struct ical_event {
	int line;
	bool is_cancelled;
	struct ical_line start, end, duration, rule, recurrence;
	struct span uid, summary;
	struct ical_line *lists; /* RDATE and EXDATE */
	size_t lists_n, lists_cap;
};

struct ical_events {
	struct ical_event *at;
	size_t n, cap;
};

/* Appends a line to the report, as long as there is room. */
void ical_note(struct ical_report *r, int line, const char *text);

/* The days of all events; *out must be zeroed and is to be freed on failure too. */
int ical_days(const struct ical_events *events, int64_t first_day, int64_t last_day,
    const struct zone *zone, struct calendar_days *out, struct ical_report *report, struct err *e);
