// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Kind once: the spellings of one instant. */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct zone;

/*
 * RFC 3339; "2026-12-01 02:00" or with T and seconds, on the zone's clock (in a gap its end, in a
 * fold the first); "90m", "+90m" (s, m, h, d, w) from now on, elapsed time.
 */
int once_parse(const char *text, const struct zone *zone, int64_t now, int64_t *utc, struct err *e);
