// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * One dead node at a time, RESCUE_MAX runs a transaction. A crash after the commit is a recovery:
 * the live row says that it was taken over.
 *
 * An engine that was stopped (not killed) may have half a transaction in its backend, whose locks
 * would stay for ever; no timeout of the server's ends it, because it waits for the client in the
 * middle of a pipeline. So when a rescue has left runs behind, the backend of the dead is ended.
 */
#include "daemon/engine/rescue.h"

#include <stdio.h>

#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/recover.h"
#include "daemon/engine/watch.h"
#include "daemon/queue/claim.h"
#include "daemon/queue/load.h"
#include "daemon/store/store.h"

#include "base/banned.h"

#define RESCUE_MAX 200

static json_t *taken; /* run ids of the rescue in flight */
static char from[UUID_LEN + 1];

static void
on_ended(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	for (int i = 0; !err && i < PQntuples(res); i++)
		log_warn(LOG_MAIN, "backend %s of dead node %s holds locks, ended: %s",
		    store_str(res, i, "pid"), from, store_str(res, i, "is_ended"));
}

static void
on_taken(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	json_decref(taken);
	taken = json_array();
	for (int i = 0; !err && i < PQntuples(res); i++)
		json_array_append_new(taken, json_string(store_str(res, i, "run_id")));
}

static void
on_loaded(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	if (!err && e->is_recovered)
		recover_rescued(e, taken);
	engine_done(e, JOB_RESCUE, err);
	if (err)
		engine_resync(e, "rescued runs could not be read");
}

/* Others may be dead too, or have more runs than one transaction takes. */
static void
note_done(struct engine *e)
{
	struct watched *w = watch_find(from);

	if (w && json_array_size(taken) < RESCUE_MAX) {
		w->has_runs = false;
		w->was_rescued = true;
	}
	if (watch_next(e))
		engine_want(e, JOB_RESCUE);
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	if (!err)
		note_done(e);
	if (err || json_array_size(taken) == 0) {
		engine_done(e, JOB_RESCUE, err);
		return;
	}
	log_warn(LOG_MAIN, "took over %zu runs of dead node %s", json_array_size(taken), from);
	engine_want(e, JOB_COMMAND);
	if (!e->is_recovered) {
		/* The executor went away meanwhile; recovery reads these runs with the others. */
		engine_done(e, JOB_RESCUE, NULL);
		return;
	}
	load_send(e, taken);
	store_sync(e->store, on_loaded, e);
}

bool
rescue_start(struct engine *e)
{
	struct watched *w = e->is_recovered ? watch_next(e) : NULL;
	char beat[24], limit[16];

	if (!w)
		return false;
	_cleanup_free_ char *types = claim_types(e);
	snprintf(from, sizeof(from), "%s", w->id);
	snprintf(beat, sizeof(beat), "%lld", (long long)w->sighting.beat);
	snprintf(limit, sizeof(limit), "%d", RESCUE_MAX);
	const struct store_param p[] = {STORE_TEXT(e->node_id.s), STORE_TEXT(from),
	    STORE_TEXT(beat), STORE_TEXT(limit), STORE_TEXT(types)};
	if (w->was_rescued) {
		store_send(e->store, SQL_ENGINE_RESCUE_END_BACKEND, p + 1, 2, on_ended, e);
		store_sync(e->store, NULL, NULL);
	}
	store_send(e->store, SQL_ENGINE_RESCUE, p, ARRAY_LEN(p), on_taken, e);
	store_send(e->store, SQL_ENGINE_FEED_NOTIFY, NULL, 0, NULL, NULL);
	store_sync(e->store, on_committed, e);
	return true;
}
