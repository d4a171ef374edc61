// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Kind ordinal: "first monday 06:00", also "last friday of every month (06:00, 14:00)". */
#pragma once

#include <stdint.h>

#include "when/times.h"

struct ordinal {
	int nth;     /* 1 to 5, 0 is the last */
	int weekday; /* Sunday is 0 */
	struct time_list list;
};

int ordinal_parse(const char *text, struct ordinal *out, struct err *e);
void ordinal_print(const struct ordinal *o, struct buf *out);
int64_t ordinal_next_local(const struct ordinal *o, int64_t from, int64_t end);
