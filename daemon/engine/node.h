// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * This node: its identity in the state directory, its row, its lease, and what it publishes (seal
 * key, platforms). Entering the node is what a new database connection begins with.
 */
#pragma once

#include "base/err.h"

#include "daemon/store/store.h"

struct engine;

/* Read or make node-id and engine.key in the state directory. */
int node_identity(struct engine *, struct err *err);
/* The store is connected: take the node's lock and a new incarnation; then e->on_node_up. */
void node_enter(struct engine *, void (*done)(struct engine *));
/* Publish the platform files; a bad one is logged and the old ones stay. */
void node_publish_platforms(struct engine *);
/* The lease, every 5 s, and the partitions, once a day. */
void node_timers_start(struct engine *);
void node_timers_stop(struct engine *);
/* At an orderly end: the lease is over. done is called when it is committed or cannot be. */
void node_leave(struct engine *, store_cb *done);
