// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * One statement claims (state, epoch, attempt, units, event) and answers with the runs. A crash
 * after its commit is a recovery. Decisions about commands and due times have it in their own
 * transaction: a run starts one commit sooner.
 */
#include "daemon/queue/claim.h"

#include <stdio.h>

#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/runs.h"
#include "daemon/queue/load.h"
#include "daemon/store/pgarray.h"
#include "daemon/store/store.h"
#include "task/rc.h"

#include "base/banned.h"

#define CLAIM_MAX 200u

static struct load claimed; /* of the claim in flight */
static unsigned asked;
static enum engine_job owner; /* whose transaction it is in: only one such job is in flight */

char *
claim_types(const struct engine *e)
{
	_cleanup_json_ json_t *ids = json_array();
	const char *id;
	json_t *type;

	json_object_foreach(e->types, id, type) json_array_append_new(ids, json_string(id));
	return json_text(ids);
}

static void
add_types(const struct engine *e, struct pgarray *a)
{
	const char *id;
	json_t *type;

	pgarray_begin(a, 1, json_object_size(e->types));
	json_object_foreach(e->types, id, type) pgarray_text(a, id);
}

static void
add_retryable(struct pgarray *a)
{
	size_t n = 0;

	for (int c = 0; c < RC_CLASS_COUNT; c++)
		n += rc_is_retryable((enum rc_class)c);
	pgarray_begin(a, 1, n);
	for (int c = 0; c < RC_CLASS_COUNT; c++)
		if (rc_is_retryable((enum rc_class)c))
			pgarray_text(a, rc_class_name((enum rc_class)c));
}

static void
on_claimed(void *arg, const PGresult *res, const struct err *err)
{
	load_drop(&claimed);
	if (!err)
		load_rows(arg, res, &claimed);
}

static void
finish(struct engine *e)
{
	log_info(LOG_QUEUE, "claimed %zu runs", claimed.n);
	if (claimed.n == asked)
		engine_want(e, JOB_CLAIM);
	e->on_units_new(e);
	engine_done(e, owner, NULL);
}

static void
on_loaded(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	if (err) {
		engine_done(e, owner, err);
		engine_resync(e, "claimed runs could not be read");
		return;
	}
	finish(e);
}

void
claim_committed(struct engine *e, const struct err *err)
{
	/* If the executor went away meanwhile, recovery reads these runs with the others. */
	if (err || claimed.n == 0 || !e->is_recovered) {
		load_drop(&claimed);
		engine_done(e, owner, err);
		return;
	}
	if (!load_accept(e, &claimed)) {
		finish(e);
		return;
	}
	if (owner == JOB_CLAIM) /* a record may have been sent meanwhile */
		STORE_POINT_ONCE(e->store, "claim");
	store_sync(e->store, on_loaded, e);
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	(void)res;
	claim_committed(arg, err);
}

bool
claim_send(struct engine *e, enum engine_job job)
{
	unsigned busy, pending;
	char epoch[24], limit[16];

	if (!e->is_recovered || e->is_draining || !engine_may_claim(e) ||
	    json_object_size(e->types) == 0)
		return false;
	runs_count(e->runs, &busy, &pending);
	if (busy + pending >= e->max_units)
		return false;
	owner = job;
	asked = e->max_units - busy - pending;
	if (asked > CLAIM_MAX)
		asked = CLAIM_MAX;
	struct pgarray lists[2];
	add_types(e, &lists[0]);
	add_retryable(&lists[1]);
	snprintf(epoch, sizeof(epoch), "%lld", (long long)e->node_epoch);
	snprintf(limit, sizeof(limit), "%u", asked);
	const struct store_param p[] = {STORE_TEXT(e->node_id.s), STORE_TEXT(epoch),
	    STORE_TEXT(limit), STORE_BYTES(lists[0].bytes.p, lists[0].bytes.n),
	    STORE_BYTES(lists[1].bytes.p, lists[1].bytes.n)};
	store_send(e->store, SQL_ENGINE_CLAIM, p, ARRAY_LEN(p), on_claimed, e);
	pgarray_end(&lists[0], 1);
	pgarray_end(&lists[1], 1);
	return true;
}

bool
claim_start(struct engine *e)
{
	if (!claim_send(e, JOB_CLAIM))
		return false;
	store_send(e->store, SQL_ENGINE_FEED_NOTIFY, NULL, 0, NULL, NULL);
	store_sync(e->store, on_committed, e);
	return true;
}
