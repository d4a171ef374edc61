// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Runs of a dead node become ours, under a new epoch, and go the way of runs found at recovery:
 * what had started is lost, what had not starts here.
 */
#pragma once

#include <stdbool.h>

struct engine;

/* JOB_RESCUE */
bool rescue_start(struct engine *);
