// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A calendar is a set of days, each with its reason: holidays to leave out, or the only days to run
 * on. Immutable and shared by whoever has it; made from rows or from an iCalendar file (ical.h).
 * Used by when.c, the engine and `takt calendar`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define CALENDAR_REASON_MAX 200

struct calendar;

/* Days of civil.h in any order, copied with their reasons (reasons, or one of them, may be NULL).
 * Of a day that is there twice the first reason counts that is not empty. */
struct calendar *calendar_new(
    const char *name, size_t n, const int64_t *days, const char *const *reasons);
void calendar_free(struct calendar *c);

const char *calendar_name(const struct calendar *c);
size_t calendar_count(const struct calendar *c);
/* *reason (may be NULL) is "" if none was given; it lives as long as the calendar. */
bool calendar_has(const struct calendar *c, int64_t day, const char **reason);
/* The i-th day in order, i below calendar_count(). */
int64_t calendar_day(const struct calendar *c, size_t i, const char **reason);
/* How many of its days are before this one: where to begin a list. */
size_t calendar_before(const struct calendar *c, int64_t day);

static inline void
cleanup_calendar(struct calendar **c)
{
	calendar_free(*c);
}

#define _cleanup_calendar_ _cleanup_(cleanup_calendar)
