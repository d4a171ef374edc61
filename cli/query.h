// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The query of a path, flag by flag. */
#pragma once

#include "base/buf.h"

#include "cli/cli.h"

/* Adds "?name=value" or "&name=value"; nothing if value is NULL. */
void query_add(struct buf *path, const char *name, const char *value);
/* The time that --flag says, as the API takes it; local ones are on the clock of --zone. Nothing if
 * the flag was not given. CLI_OK or CLI_REFUSED after telling why. */
int query_add_time(struct buf *path, const struct args *a, const char *flag, const char *name);
