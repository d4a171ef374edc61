// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Retries whose stored time has come go back to the queue. */
#pragma once

#include <stdbool.h>

struct engine;

/* JOB_RETRY */
bool retry_due_start(struct engine *);
