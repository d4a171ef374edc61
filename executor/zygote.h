// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The zygote of one plugin file: a warm process that keepers are forked from. See zygote.c. */
#pragma once

#include <stdbool.h>

#include "base/log.h"

/* Where the socket to the executor stands after exec. */
#define ZYGOTE_FD 3

/*
 * argv after `--zygote`: FILE DIGEST warm|cold LEVEL FORMAT [PLATFORM_DIR…]. Frames: it says
 * Z_READY {error?} once, then takes Z_SPAWN {unit,epoch,type,tag,nonce,…} with three descriptors
 * (unit's file, control socket, input memfd) and forks a keeper for each. The executor's end
 * of the control socket closing without a claim tells that no keeper came of it.
 */
int zygote_main(int argc, char **argv);
