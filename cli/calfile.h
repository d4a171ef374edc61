// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Calendars as a command line names them: an iCalendar FILE, or the NAME of one that the server
 * knows; without a server, of one that comes with Takt. Each call tells the user why it fails and
 * returns the exit code.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#include "cli/cli.h"

#include "when/ical.h"

struct calendar;
struct zone;

/* Is it a file? "-", what has a slash or ends with .ics, and what can be no name. */
bool calfile_is_file(const char *given);
/* A file whole, or refused whole. zone: the clock that timed events are put on. */
int calfile_read(const char *file, const struct zone *zone, struct calendar_days *out,
    struct ical_report *report);
/* The same file's bytes, if calfile_read() takes them. */
int calfile_text(const char *file, struct buf *out);
/* "/calendars/NAME" of the API; names are lower case there. Caller frees. */
char *calfile_path(const char *name);
/* The file of the shipped calendar; NULL if there is none of that name. Caller frees. */
char *calfile_shipped(const char *name);
/* There is no calendar of that name: says so, and which ones are shipped. */
int calfile_unknown(const char *field, const char *name);

/* FILE-or-NAME from any place. */
int calfile_load(struct cli *c, const char *field, const char *given, const struct zone *zone,
    struct calendar_days *out);
/* Several as one set of days, their reasons followed by the calendar's name. given: array of
 * strings; NULL gives NULL. */
int calfile_merge(struct cli *c, const char *field, const json_t *given, const struct zone *zone,
    struct calendar **out);
