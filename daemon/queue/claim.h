// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Takes queued runs for this node, as many as it has room for, and has their units started. */
#pragma once

#include <stdbool.h>

struct engine;

/* The task types that this node offers, as a JSON text. */
char *claim_types(const struct engine *);
/* JOB_CLAIM */
bool claim_start(struct engine *);
