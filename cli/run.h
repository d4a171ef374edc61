// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Runs, as other commands need them. */
#pragma once

#include "cli/cli.h"

/* Follow the run to its end, then print its final state. CLI_OK if completed, CLI_NO if not. */
int run_to_end(struct cli *c, const char *run_id, bool is_quiet);
