// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The table of the other nodes; a handful of rows, so a plain array that only grows. */
#include "daemon/engine/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/store/store.h"

#include "base/banned.h"

#define WATCH_EVERY_MS 900

static struct watched *nodes;
static size_t nodes_n;
static int64_t asked_ms;
static bool is_soon;

struct watched *
watch_find(const char *id)
{
	for (size_t i = 0; i < nodes_n; i++)
		if (strcmp(nodes[i].id, id) == 0)
			return &nodes[i];
	return NULL;
}

static struct watched *
find_or_add(const char *id)
{
	struct watched *w = watch_find(id);

	if (w)
		return w;
	nodes = realloc(nodes, (nodes_n + 1) * sizeof(*nodes));
	if (!nodes)
		log_fatal(LOG_MAIN, "out of memory");
	w = &nodes[nodes_n++];
	*w = (struct watched){0};
	snprintf(w->id, sizeof(w->id), "%s", id);
	return w;
}

static void
see(struct engine *e, const PGresult *res, int row, int64_t now)
{
	struct watched *w = find_or_add(store_str(res, row, "id"));
	int64_t beat = store_int(res, row, "beat", 0);
	bool was_dead = w->is_dead;

	snprintf(w->name, sizeof(w->name), "%s", store_str(res, row, "name"));
	if (beat != w->sighting.beat)
		w->was_rescued = false;
	w->is_dead = sighting_is_dead(&w->sighting, beat, asked_ms, now);
	w->is_draining = store_bool(res, row, "draining");
	w->has_runs = store_bool(res, row, "has_runs");
	if (w->is_dead && !was_dead)
		log_warn(LOG_MAIN, "node %s (%s) is dead: no renewal of its lease for %d s",
		    w->name, w->id, SIGHTING_DEAD_MS / 1000);
	else if (was_dead && !w->is_dead)
		log_info(LOG_MAIN, "node %s (%s) is back", w->name, w->id);
	if (w->is_dead && w->has_runs)
		engine_want(e, JOB_RESCUE);
}

static void
see_self(struct engine *e, const PGresult *res, int row)
{
	bool is_draining = store_bool(res, row, "draining");

	if (is_draining != e->is_draining)
		log_info(LOG_MAIN,
		    is_draining ? "draining: nothing is claimed any more" : "claiming again");
	e->is_draining = is_draining;
}

static void
on_nodes(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;
	int64_t now = clock_boottime_ms();

	for (int i = 0; !err && i < PQntuples(res); i++) {
		if (store_bool(res, i, "is_me"))
			see_self(e, res, i);
		else
			see(e, res, i, now);
	}
}

void
watch_soon(void)
{
	is_soon = true;
}

void
watch_send(struct engine *e)
{
	int64_t now = clock_boottime_ms();

	if (!is_soon && now - asked_ms < WATCH_EVERY_MS)
		return;
	is_soon = false;
	asked_ms = now;
	store_send(e->store, SQL_ENGINE_NODES_WATCH,
	    (struct store_param[]){STORE_TEXT(e->node_id.s)}, 1, on_nodes, e);
}

void
watch_reset(struct engine *e)
{
	(void)e;
	for (size_t i = 0; i < nodes_n; i++) {
		nodes[i].sighting = (struct sighting){0};
		nodes[i].is_dead = nodes[i].was_rescued = false;
	}
}

/* Pending units start where they are rescued to, so a draining node leaves that to others. */
static bool
is_left_to_others(const struct engine *e)
{
	for (size_t i = 0; e->is_draining && i < nodes_n; i++)
		if (!nodes[i].is_dead && !nodes[i].is_draining)
			return true;
	return false;
}

struct watched *
watch_next(struct engine *e)
{
	if (is_left_to_others(e))
		return NULL;
	for (size_t i = 0; i < nodes_n; i++)
		if (nodes[i].is_dead && nodes[i].has_runs)
			return &nodes[i];
	return NULL;
}

void
watch_fini(struct engine *e)
{
	(void)e;
	free(nodes);
	nodes = NULL;
	nodes_n = 0;
}
