// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* `takt dev`: a private PostgreSQL, taktd and takt-executor for development and demonstration. */
#pragma once

#include "cli/cli.h"

/* Runs until SIGINT or SIGTERM; returns the exit code. */
int cmd_dev(struct cli *c, const struct args *a);
