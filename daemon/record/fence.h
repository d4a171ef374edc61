// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Reports of stale epochs: they change nothing, and the timeline of a live run says so. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct engine;

/* unit: a unit id; anything else is ignored. */
void fence_add(struct engine *, const char *unit, int64_t epoch);
void fence_drop(struct engine *);
/* JOB_FENCED */
bool fence_start(struct engine *);
