// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The parent of taktd: migrates, starts each role in a fresh address space, starts it again when
 * it ends, hands SIGHUP on and stops all at SIGTERM. It talks to nobody, so nothing can crash it.
 */
#pragma once

#include "daemon/main/conf.h"

/* Runs until SIGTERM or SIGINT; the exit status. conf is taken. trace (-T's domains, or NULL) and
 * is_debug are handed on to the roles. */
int parent_run(struct conf *take_conf, const char *trace, bool is_debug);
