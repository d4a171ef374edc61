// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* What the hooks of tasks and of shared schedules share: previews and warnings. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

struct request;
struct schedule_plan;
struct when_occurrence;

/* `next` and `local` (texts), `times` and `skipped` for the query's count and zone into out. */
int preview_add(struct request *r, const struct schedule_plan *plan, json_t *out, struct err *e);

/*
 * [{pointer, detail, hint}]: a schedule that never runs again, calendars that end soon. known and
 * doc as in schedule_known.h; next NULL: never.
 */
json_t *schedule_warnings(const json_t *known, const json_t *doc, const json_t *normal,
    int64_t now_utc, const struct when_occurrence *next);
