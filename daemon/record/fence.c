// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Gathers stale reports until the gate is free. Bounded: a flood of them tells nothing new. */
#include "daemon/record/fence.h"

#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/runs.h"
#include "daemon/store/store.h"

#include "base/banned.h"

#define FENCED_MAX 200

void
fence_add(struct engine *e, const char *unit, int64_t epoch)
{
	struct uuid run;
	int attempt, no;

	if (!unit_id_parse(unit, &run, &attempt, &no))
		return;
	log_warn(LOG_RECORD, "unit %s of epoch %lld is fenced", unit, (long long)epoch);
	if (!e->fenced)
		e->fenced = json_array();
	if (json_array_size(e->fenced) < FENCED_MAX)
		json_array_append_new(e->fenced, json_pack("{s:s,s:s,s:I}", "run_id", run.s, "unit",
						     unit, "epoch", (json_int_t)epoch));
	engine_want(e, JOB_FENCED);
}

void
fence_drop(struct engine *e)
{
	json_decref(e->fenced);
	e->fenced = NULL;
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	(void)res;
	engine_done(arg, JOB_FENCED, err);
}

bool
fence_start(struct engine *e)
{
	if (!e->fenced)
		return false;
	_cleanup_free_ char *text = json_text(e->fenced);
	fence_drop(e);
	store_send(e->store, SQL_ENGINE_RECORD_FENCED,
	    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT(text)}, 2, NULL, NULL);
	store_send(e->store, SQL_ENGINE_FEED_NOTIFY, NULL, 0, NULL, NULL);
	store_sync(e->store, on_committed, e);
	return true;
}
