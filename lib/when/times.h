// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Times of day and weekdays: kind times ("09:00,14:00 1111100"), and what window and ordinal share
 * with it.
 */
#pragma once

#include <stdint.h>

#include "when/days.h"
#include "when/scan.h"

#define TIMES_MAX 64

struct buf;

struct time_list {
	int n;
	int32_t at[TIMES_MAX]; /* seconds of the day, rising */
};

struct times {
	struct time_list list;
	uint32_t of_week; /* bits 0 to 6, Sunday first */
};

int times_parse(const char *text, struct times *out, struct err *e);
void times_print(const struct times *t, struct buf *out);
int64_t times_next_local(const struct times *t, int64_t from, int64_t end);

/* "09:00,14:00:30", also "(09:00, 14:00)" or in brackets: sorted, each once. */
int time_list_scan(struct scan *s, struct time_list *out);
void time_list_print(const struct time_list *l, struct buf *out);
int64_t time_list_next_local(
    const struct time_list *l, const struct day_rule *days, int64_t from, int64_t end);

/* "HH:MM", with_seconds also "HH:MM:SS". field is for the error. */
int time_scan(struct scan *s, const char *field, bool with_seconds, int32_t *out);
void time_print(int32_t second, struct buf *out);
/* What is left of the text: blanks and a mask of seven digits 0 or 1, Monday first; none: every
 * day. */
int mask_scan(struct scan *s, uint32_t *of_week);
void mask_print(uint32_t of_week, struct buf *out);
