// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* One event of a run as a line for people; timeline and follow share it. */
#pragma once

#include "cli/cli.h"

/* "12:00:01  unit_finished  unit 2 core-1 failed: auth: permission denied". o: the event. */
void event_print(struct cli *c, const char *type, const json_t *o);
