// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The text level of RFC 5545: content lines, parameters, dates, durations. Shared by rrule.c,
 * recur_parse.c and ical.c. Nothing here allocates.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ICAL_PARAM_MAX 64

/* Text that is not ended by a NUL. */
struct span {
	const char *p;
	size_t n;
};

/* NAME;PARAMS:VALUE; the spans point into the text that was read. */
struct ical_line {
	int number; /* in the file as it was, from 1 */
	struct span name, params, value;
};

struct ical_reader {
	char *p; /* the text, changed in place: folded lines are joined */
	size_t n, at;
	int number;
};

/* What a date is relative to. */
enum ical_stamp_kind { ICAL_DATE, ICAL_FLOATING, ICAL_UTC };
struct ical_stamp {
	enum ical_stamp_kind kind;
	int64_t s; /* seconds as written, whatever the zone; a date is midnight */
};

/* The next line that is not empty. 1: there is one, 0: the end, negative: *e says why not. */
int ical_line_next(struct ical_reader *r, struct ical_line *out, struct err *e);
/* The value of a parameter, without its quotes; false: it is not there. */
bool ical_param(const struct ical_line *l, const char *name, struct span *out);

bool span_is(struct span s, const char *text); /* ignoring case */
/* Fit for a message: printable, cut. */
const char *span_shown(struct span s, char buf[ICAL_PARAM_MAX + 1]);
/* The next item of a list; *rest moves on. false: there is none left. */
bool span_cut(struct span *rest, char at, struct span *item);
bool span_int(struct span s, int64_t min, int64_t max, int64_t *out);

/* 19970714, 19970714T133000, 19970714T173000Z. */
bool ical_stamp_parse(struct span s, struct ical_stamp *out);
/* P1W, P15DT5H0M20S; negative ones are refused. */
bool ical_duration_parse(struct span s, int64_t *out);
