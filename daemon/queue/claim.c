// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * One statement claims (state, epoch, attempt, units, event); what was claimed is then read like
 * at recovery. A crash between the two is a recovery.
 */
#include "daemon/queue/claim.h"

#include <stdio.h>

#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/runs.h"
#include "daemon/queue/load.h"
#include "daemon/store/store.h"
#include "task/rc.h"

#include "base/banned.h"

#define CLAIM_MAX 200u

static json_t *claimed; /* run ids of the claim in flight */
static unsigned asked;

char *
claim_types(const struct engine *e)
{
	_cleanup_json_ json_t *ids = json_array();
	const char *id;
	json_t *type;

	json_object_foreach(e->types, id, type) json_array_append_new(ids, json_string(id));
	return json_text(ids);
}

static char *
retryable_classes(void)
{
	_cleanup_json_ json_t *names = json_array();

	for (int c = 0; c < RC_CLASS_COUNT; c++)
		if (rc_is_retryable((enum rc_class)c))
			json_array_append_new(names, json_string(rc_class_name((enum rc_class)c)));
	return json_text(names);
}

static void
on_claimed(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	json_decref(claimed);
	claimed = json_array();
	for (int i = 0; !err && i < PQntuples(res); i++)
		json_array_append_new(claimed, json_string(store_str(res, i, "run_id")));
}

static void
on_loaded(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	if (err) {
		engine_done(e, err);
		engine_resync(e, "claimed runs could not be read");
		return;
	}
	log_info(LOG_QUEUE, "claimed %zu runs", json_array_size(claimed));
	if (json_array_size(claimed) == asked)
		engine_want(e, JOB_CLAIM);
	e->on_units_done(e);
	engine_done(e, NULL);
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	if (err || json_array_size(claimed) == 0) {
		engine_done(e, err);
		return;
	}
	if (!e->is_recovered) {
		/* The executor went away meanwhile; recovery reads these runs with the others. */
		engine_done(e, NULL);
		return;
	}
	load_send(e, claimed);
	store_sync(e->store, on_loaded, e);
}

bool
claim_start(struct engine *e)
{
	unsigned busy, pending;
	char epoch[24], limit[16];

	if (!e->is_recovered || e->is_draining || !engine_may_claim(e) ||
	    json_object_size(e->types) == 0)
		return false;
	runs_count(e->runs, &busy, &pending);
	if (busy + pending >= e->max_units)
		return false;
	asked = e->max_units - busy - pending;
	if (asked > CLAIM_MAX)
		asked = CLAIM_MAX;
	_cleanup_free_ char *types = claim_types(e), *classes = retryable_classes();
	snprintf(epoch, sizeof(epoch), "%lld", (long long)e->node_epoch);
	snprintf(limit, sizeof(limit), "%u", asked);
	const struct store_param p[] = {STORE_TEXT(e->node_id.s), STORE_TEXT(epoch),
	    STORE_TEXT(limit), STORE_TEXT(types), STORE_TEXT(classes)};
	store_send(e->store, SQL_ENGINE_CLAIM, p, ARRAY_LEN(p), on_claimed, e);
	store_send(e->store, SQL_ENGINE_FEED_NOTIFY, NULL, 0, NULL, NULL);
	store_sync(e->store, on_committed, e);
	return true;
}
