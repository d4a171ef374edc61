// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* `takt cron next` and `takt cron check`: need no daemon and no database. */
#pragma once

/* argv[0] is "cron". Returns the exit code: 0, or 2 with the error on stderr for bad arguments. */
int cli_cron(int argc, char **argv);
