// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Next times computed anew, because a calendar, a shared schedule or a zone's rules changed: rows say
 * from when (replan_from). Like a due time's decision it is a compare-and-set on the row.
 */
#pragma once

#include <stdbool.h>

struct engine;

/* JOB_REPLAN */
bool replan_start(struct engine *);
