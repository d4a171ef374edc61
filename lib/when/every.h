// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Kind every: "90s", so much elapsed time from an anchor on, whatever the clocks on the wall do. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "when/scan.h"

struct buf;

struct every {
	int64_t step_s;
};

/* "90s", "5m", "2h", "1d", "2w", also after "every" or "@every". */
int every_parse(const char *text, struct every *out, struct err *e);
void every_print(const struct every *v, struct buf *out);
/* The first instant >= from of anchor, anchor + step, ...; false beyond the year 9999. */
bool every_next(const struct every *v, int64_t anchor, int64_t from, int64_t *utc);

/* A number and a unit (s, m, h, d, w) that end the text. */
int duration_scan(struct scan *s, int64_t *seconds);
