// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Notices that a zone's file has other rules than those by which next times were computed (table
 * zone), also when they changed while no engine ran, and asks for new ones. Engines with different
 * tzdata do not fight: one acts at its start and when its own files change.
 */
#pragma once

#include <stdbool.h>

struct engine;

/* Each second or so: is JOB_REPLAN wanted for this? */
bool tzdata_look(void);
/* A round of JOB_REPLAN for this; false: nothing to do. */
bool tzdata_start(struct engine *);
