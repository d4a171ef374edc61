// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Kind window: "09:00-17:00-60 1111100", every so many minutes from start to end, both
 * inclusive. */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct buf;

struct window {
	int32_t start, end, step; /* seconds of the day */
	uint32_t of_week;         /* bits 0 to 6, Sunday first */
};

int window_parse(const char *text, struct window *out, struct err *e);
void window_print(const struct window *w, struct buf *out);
int64_t window_next_local(const struct window *w, int64_t from, int64_t end);
