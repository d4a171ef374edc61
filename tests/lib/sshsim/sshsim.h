// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* A scripted SSH device; see sshsim.c for the script. One process per connection. */
#pragma once

#include <libssh/libssh.h>
#include <stdbool.h>

#include "base/jsonx.h"

struct sim {
	json_t *script;
	ssh_session ssh;
	ssh_channel ch;
	json_t *calls; /* command -> how often it was given in this session */
};

/* play.c: the command line, after login; returns when the session is over. */
void sim_play(struct sim *s);
