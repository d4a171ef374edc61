// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* What people call things -> ids. Names are looked up through the lists' filters. */
#pragma once

#include "cli/api.h"

/* Each returns CLI_OK and *id (caller frees), or an exit code after telling why. */
int resolve_named(
    struct cli *c, const char *list_path, const char *what, const char *name, char **id);
/* A task's id by id, name, or by the code of one of its runs. */
int resolve_task(struct cli *c, const char *name, char **id);
int resolve_device(struct cli *c, const char *name, char **id);
