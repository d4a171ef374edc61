// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * This engine's view of the other nodes, read about once a second with the poll: who is dead
 * (sighting.h) and still has runs. Asks for JOB_RESCUE; rescue.c takes it from there. Also learns
 * here whether this node is draining.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"

#include "daemon/engine/sighting.h"

struct engine;

struct watched {
	char id[UUID_LEN + 1], name[128];
	struct sighting sighting;
	bool is_dead, is_draining, has_runs;
	bool was_rescued; /* a rescue has left nothing that it could have taken */
};

/* Part of the poll's transaction; asks nothing when the last question is young. */
void watch_send(struct engine *);
/* Ask with the next poll in any case: a node's row was changed by an administrator. */
void watch_soon(void);
/* The connection has gone: what was seen is void. */
void watch_reset(struct engine *);
/* A dead node whose runs this node should take, or NULL. Valid until the next answer. */
struct watched *watch_next(struct engine *);
/* The node of that id, or NULL. */
struct watched *watch_find(const char *id);
void watch_fini(struct engine *);
