// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* What people see: tables, stamps in UTC and the task's zone, device text for terminals. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/cli.h"

enum column_kind {
	COL_TEXT,
	COL_TIME,     /* RFC 3339 -> "2026-11-22 07:00:00Z" */
	COL_DURATION, /* milliseconds -> "1.2 s" */
	COL_YES,      /* true, false -> yes, no */
	COL_LIST,     /* strings, or objects by their name */
	COL_COUNT,    /* how many elements */
	COL_BYTES,
};

struct column {
	const char *head;
	const char *path; /* member, or member.member */
	enum column_kind kind;
};

/* items: an array of objects. Columns end by a NULL head. With -o json the array is printed. */
void print_table(struct cli *c, const json_t *items, const struct column *cols);
/* One object, a line a column. With -o json the object is printed. */
void print_object(struct cli *c, const json_t *o, const struct column *cols);
/* JSON for programs, and no harm to the terminal that somebody looks at it with. */
void print_json(const json_t *j);
void print_json_text(const char *text);

/* Text from a device or a stranger: control characters but \n and \t, DEL, C1 and broken UTF-8 as
 * \xNN. Never passes an escape sequence on. */
void print_escaped(FILE *to, const char *p, size_t n);
/* To standard output: as it is, escaped if that is a terminal. */
void print_device_text(struct cli *c, const char *p, size_t n);
/* The same for what belongs into one line: its line ends cannot begin another one. */
void print_line(struct cli *c, const char *text);

/* "2026-11-22 02:00:00 EST" of an RFC 3339 stamp in a zone; "" if either is not understood. */
const char *print_zone_time(const char *rfc3339, const char *zone, char out[64]);
const char *print_utc_time(const char *rfc3339, char out[64]);
const char *print_duration(int64_t ms, char out[32]);

/* SGR colours when wanted: "" otherwise. state: a run's state. */
const char *color_of_state(const struct cli *c, const char *state);
const char *color_off(const struct cli *c);
