// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* RFC 3339 stamps to and from seconds since the epoch. Years 0001 to 9999. */
#pragma once

#include <stdint.h>

#include "base/err.h"

#define WHEN_STAMP_MAX 64

/*
 * "2026-11-22T02:00:00Z", "2026-11-22T03:00:00.5+01:00". An offset is required, `t`, `z` and a
 * space for the T are taken (RFC 3339 section 5.6), a leap second (23:59:60Z) counts as the second
 * after it. us may be NULL; otherwise it gets the fraction in microseconds, further digits cut.
 */
int when_parse_rfc3339(const char *s, int64_t *utc_s, int32_t *us, struct err *e);

/* "2026-11-22T02:00:00Z". Instants outside of the years 1 to 9999 are shown as their nearest end.
 * Returns buf. */
const char *when_format_rfc3339(int64_t utc_s, char buf[32]);
