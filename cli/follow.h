// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* A run, live: the WebSocket (Phoenix Channels 2.0.0) client behind `task run --follow`. */
#pragma once

#include "cli/cli.h"

/*
 * Wait until the run has ended, over the socket: joins run:{id} from its first event, reconnects
 * with the last number seen. Prints events and output unless is_quiet. CLI_OK when the run has
 * ended (ask the API how), CLI_SERVER when the daemon stayed away for a minute.
 */
int follow_run(struct cli *c, const char *run_id, bool is_quiet);
