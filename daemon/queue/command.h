// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Decides the durable commands of the gateways: run.create and run.cancel. */
#pragma once

#include <stdbool.h>

struct engine;

/* JOB_COMMAND */
bool command_start(struct engine *);
/* A notification: somebody wants a run (the command's id) or something else (not an id). */
void command_hint(struct engine *, const char *id);
