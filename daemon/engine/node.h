// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * This node: its identity in the state directory, its row, its lease, and what it publishes (seal
 * key, platforms). Entering the node is what a new database connection begins with.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#include "daemon/store/store.h"

#define NODE_FENCE_MS 20000

struct engine;

/* Read or make node-id and engine.key in the state directory. */
int node_identity(struct engine *, struct err *err);
/* The store is connected: take the node's lock and a new incarnation; then done is called. */
void node_enter(struct engine *, void (*done)(struct engine *));
/* Publish the platform files; a bad one is logged and the old ones stay. */
void node_publish_platforms(struct engine *);
/* The lease, every 5 s. */
void node_timers_start(struct engine *);
void node_timers_stop(struct engine *);
/* Tell the executor how long the lease is held for certain: until_ms is BOOTTIME, which it shares; a
 * frame that was read late grants nothing. */
void node_tell_lease(struct engine *);
/* At an orderly end: the lease is over. done is called when it is committed or cannot be. */
void node_leave(struct engine *, store_cb *done);
/* Self-fencing, by BOOTTIME: the lease's 30 s began at the database no earlier than the renewal that
 * was acknowledged was sent; 10 s before its end nothing new is begun, also after a suspend. */
static inline bool
node_lease_holds(int64_t acked_sent_ms, int64_t now_ms)
{
	return now_ms - acked_sent_ms < NODE_FENCE_MS;
}
