// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Decides about due times: which one fires, which are passed over, when is next. No leader: a
 * decision is a compare-and-set on the schedule's row, and an occurrence's key is its due time.
 */
#pragma once

#include <stdbool.h>

struct engine;

/* JOB_SCHEDULE */
bool schedule_start(struct engine *);
