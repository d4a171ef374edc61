// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Takes queued runs for this node, as many as it has room for, and has their units started. */
#pragma once

#include <stdbool.h>

#include "daemon/engine/engine.h"

struct err;

/* The task types that this node offers, as a JSON text. */
char *claim_types(const struct engine *);
/* JOB_CLAIM */
bool claim_start(struct engine *);
/* As a part of that job's transaction, which is being sent. False: there is no room or no lease. Else its commit is
 * told with claim_committed(), which ends the job. */
bool claim_send(struct engine *, enum engine_job);
void claim_committed(struct engine *, const struct err *);
