// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A schedule of kind rrule: DTSTART, one RRULE and any number of EXDATE and RDATE, one a line, as
 * in RFC 5545, on floating local time. Used by when.c, which lays the rules for clock changes over
 * it.
 *
 * DTSTART counts only if the rule matches it. RDATE adds, EXDATE takes away and wins; an EXDATE
 * that is a date takes the whole day away.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define RRULE_TEXT_MAX 4096

struct buf;
struct rrule;

/*
 * Times in UTC are refused. ERR_INVALID or ERR_TOO_BIG; the error's field is the part that is
 * wrong: "DTSTART", "BYDAY", "EXDATE", or "expression" for the text as a whole.
 */
struct rrule *rrule_new(const char *text, struct err *e);
void rrule_free(struct rrule *r);
/* The TZID that the lines name, "" if none: the caller refuses one that is not its own. Lines that
 * name different ones were refused. */
const char *rrule_tzid(const struct rrule *r);
/* The lines as they are stored: unfolded, NAME:VALUE without parameters, a \n between two. text is
 * one that rrule_new() took. */
void rrule_print(const char *text, struct buf *out);
/*
 * The first occurrence strictly after after_local_s, in seconds of local time; false: never again.
 * At most 400 years are searched. Not from two threads at once: it keeps its place.
 */
bool rrule_next_local(struct rrule *r, int64_t after_local_s, int64_t *local_s);
/* Steps (recur.h) that all searches took so far. */
int64_t rrule_spent(const struct rrule *r);

static inline void
cleanup_rrule(struct rrule **r)
{
	rrule_free(*r);
}

#define _cleanup_rrule_ _cleanup_(cleanup_rrule)
