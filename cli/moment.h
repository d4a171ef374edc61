// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The times, days and zones of a command line. Each call tells the user why it refuses. */
#pragma once

#include <stdint.h>

struct zone;

/* `field` is the flag or argument that the error names. CLI_OK or CLI_REFUSED. */

/* RFC 3339, "2026-12-24 09:00" on the zone's clock, or "+2h" (s, m, h, d, w) from now on. */
int moment_parse(const char *field, const char *text, const struct zone *zone, int64_t *utc);
/* "2026-12-24": days since 1970 (civil.h). */
int moment_day(const char *field, const char *text, int64_t *day);
/* An IANA name; NULL is UTC. */
int moment_zone(const char *field, const char *name, const struct zone **out);

/* "2026-12-24" of a day. Returns out. */
const char *moment_day_text(int64_t day, char out[16]);
/* "2026-12-24T09:00:00+01:00 CET" of an instant on the zone's clock. Returns out. */
const char *moment_local_text(int64_t utc, const struct zone *zone, char out[48]);
/* "2026-12-24T09:00:00" of local seconds. Returns out. */
const char *moment_bare_text(int64_t local_s, char out[32]);
