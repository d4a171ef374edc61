// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The roles of taktd: each runs in a process of its own, started by the parent as
 * `taktd -x NAME -c FILE`, with log, limits and signals already set up by main.c.
 *
 * A role's main runs its loop until SIGTERM or SIGINT (it installs ev_signal watchers itself, for
 * SIGHUP too: conf_load(conf->file) and apply what can change) and returns its exit status. It
 * exits non-zero when it cannot go on; the parent starts it again with back-off. conf stays valid
 * for the life of the process.
 */
#pragma once

#include <ev.h>

#include "daemon/main/conf.h"

int engine_main(const struct conf *, struct ev_loop *);
int gateway_main(const struct conf *, struct ev_loop *);
