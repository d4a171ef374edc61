// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The one way back: at the start, after the executor's and after the database's connection was
 * lost, the engine's memory of runs is read from the database and compared with what the executor
 * says it holds. Needs the executor's full listing.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct engine;

/* Runs that were just taken from a dead node and read: this executor holds none of their units. */
void recover_rescued(struct engine *, const json_t *ids);
/* JOB_RECOVER */
bool recover_start(struct engine *);
