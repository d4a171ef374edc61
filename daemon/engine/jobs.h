// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The gate's side of the engine: which job runs next. Used by the files of this directory only. */
#pragma once

#include "daemon/engine/engine.h"

void jobs_init(struct engine *);
void jobs_fini(struct engine *);
/* The database connection has gone, and with it the job in flight. */
void jobs_abandon(struct engine *);
