// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What the comparison decides:
 *
 *   database          executor            then
 *   pending           -                   never started: waits for a slot, START
 *   pending, rescued  -                   another executor may have it: the same, or lost, as its type says
 *   running           -                   lost
 *   pending, running  running, finished   ATTACH from where the journal is committed
 *   pending, running  lost                lost
 *   ended, same epoch finished            its ACK was lost: ACK again
 *   otherwise         anything            DROP; told as fenced if the run is live
 */
#include "daemon/engine/recover.h"

#include <string.h>

#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/dispatch/dispatch.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/link.h"
#include "daemon/engine/node.h"
#include "daemon/engine/runs.h"
#include "daemon/queue/load.h"
#include "daemon/record/fence.h"
#include "daemon/record/record.h"
#include "daemon/record/refusal.h"
#include "daemon/store/store.h"
#include "frame/frame.h"

#include "base/banned.h"

struct recovery {
	struct engine *engine;
	unsigned generation;
	json_t
	    *known; /* unit id -> {"epoch","state"}: rows of the listed units, also of ended runs */
	json_t *held; /* unit ids that were attached to or lost: the executor answers for them */
	unsigned attached, again, dropped, lost;
};

static void
on_listed(void *arg, const PGresult *res, const struct err *err)
{
	struct recovery *r = arg;

	for (int i = 0; !err && i < PQntuples(res); i++)
		json_object_set_new(r->known, store_str(res, i, "unit"),
		    json_pack("{s:I,s:s}", "epoch", (json_int_t)store_int(res, i, "epoch", 0),
			"state", store_str(res, i, "state")));
}

static bool
has_ended(const json_t *row, int64_t epoch)
{
	const char *state = json_get_str(row, "state", "pending");

	return json_get_int(row, "epoch", -1) == epoch && strcmp(state, "pending") != 0 &&
	       strcmp(state, "running") != 0;
}

static void
drop(struct recovery *r, const char *id, int64_t epoch)
{
	link_send(r->engine->link, FRAME_DROP, json_pack("{s:s}", "unit", id), -1);
	fence_add(r->engine, id, epoch);
	r->dropped++;
}

static bool
is_rerun(const struct engine *e, const struct run *run)
{
	const json_t *type = json_object_get(e->types, run->task_type);

	return strcmp(json_get_str(type, "recovery", "fail"), "rerun") == 0;
}

static void
unit_lost(struct recovery *r, struct unit *u, const char *why)
{
	record_unit_lost(r->engine, u, is_rerun(r->engine, u->run), why);
	r->lost++;
}

/* One unit that the executor holds. */
static void
compare(struct recovery *r, const json_t *listed)
{
	struct engine *e = r->engine;
	const char *id = json_get_str(listed, "unit", ""),
		   *phase = json_get_str(listed, "phase", "");
	int64_t epoch = json_get_int(listed, "epoch", -1);
	struct unit *u = runs_find_unit(e->runs, id);

	if (u && u->run->epoch == epoch && u->step != UNIT_DONE) {
		json_object_set_new(r->held, id, json_true());
		/* Of those that cannot be recorded nothing more is wanted; settle_run ends them. */
		if (refusal_is_unit_out(e, id) || refusal_is_run_out(e, u->run->id))
			return;
		if (strcmp(phase, "lost") == 0) {
			unit_lost(r, u, "its process was lost");
		} else {
			dispatch_attach(e, u);
			r->attached++;
		}
	} else if (has_ended(json_object_get(r->known, id), epoch) &&
		   strcmp(phase, "running") != 0) {
		link_send(e->link, FRAME_ACK,
		    json_pack("{s:s,s:I,s:b}", "unit", id, "epoch", (json_int_t)epoch, "final", 1),
		    -1);
		r->again++;
	} else {
		drop(r, id, epoch);
	}
}

static struct recovery *current;

/* The executor may not have heard of it before the connection was lost. */
static void
cancel_again(struct engine *e, const struct run *run)
{
	_cleanup_free_ char *reason = xstrdup(run->cancel_reason);

	dispatch_cancel(e, run->id, reason);
}

/* Units that the executor does not hold; and runs whose last commit ended every unit but not them. */
static void
settle_run(struct engine *e, struct run *run)
{

	if (refusal_is_run_out(e, run->id)) {
		record_run_leave(e, run);
		return;
	}
	for (unsigned i = 0; i < run->units_n; i++) {
		struct unit *u = &run->units[i];
		if (refusal_is_unit_out(e, u->id))
			record_unit_refused(e, u);
		else if (u->step == UNIT_PENDING && !json_object_get(current->held, u->id) &&
			 (u->was_started || (run->is_rescued && !is_rerun(e, run))))
			unit_lost(current, u,
			    run->is_rescued ? "its node died"
					    : "the executor does not know it any more");
	}
	run->is_rescued = false;
	if (run->state == TASK_cancelling)
		cancel_again(e, run);
	record_touch(e, run);
}

static void
compare_all(struct recovery *r)
{
	struct engine *e = r->engine;
	size_t i;
	json_t *listed;

	json_array_foreach(e->listed, i, listed) compare(r, listed);
	current = r;
	runs_each(e->runs, settle_run, e);
	current = NULL;
	json_array_clear(e->listed);
	log_info(LOG_MAIN,
	    "recovered: %u units attached, %u lost, %u acknowledged again, %u dropped", r->attached,
	    r->lost, r->again, r->dropped);
	e->is_recovered = true;
	dispatch_pump(e);
}

void
recover_rescued(struct engine *e, const json_t *ids)
{
	_cleanup_json_ json_t *held = json_object();
	struct recovery r = {.engine = e, .held = held};
	size_t i;
	json_t *id;

	current = &r;
	json_array_foreach(ids, i, id)
	{
		struct run *run = runs_find(e->runs, json_string_value(id));
		if (run)
			settle_run(e, run);
	}
	current = NULL;
	log_info(
	    LOG_MAIN, "%zu runs rescued, %u of their units are lost", json_array_size(ids), r.lost);
	dispatch_pump(e);
}

static void
on_read(void *arg, const PGresult *res, const struct err *err)
{
	struct recovery *r = arg;
	struct engine *e = r->engine;
	bool is_current = r->generation == e->generation;

	(void)res;
	if (!err && is_current)
		compare_all(r);
	engine_done(e, JOB_RECOVER, NULL);
	if (err)
		engine_resync(e, "recovery could not read the runs");
	json_decref(r->known);
	json_decref(r->held);
	free(r);
}

bool
recover_start(struct engine *e)
{
	if (!e->is_listed || e->is_recovered)
		return false;
	node_tell_lease(e);
	struct recovery *r = xcalloc(1, sizeof(*r));
	_cleanup_json_ json_t *ids = json_array();
	size_t i;
	json_t *listed;

	r->engine = e;
	r->generation = e->generation;
	r->known = json_object();
	r->held = json_object();
	json_array_foreach(e->listed, i, listed)
	    json_array_append(ids, json_object_get(listed, "unit"));
	_cleanup_free_ char *text = json_text(ids);
	store_send(e->store, SQL_ENGINE_LOAD_LISTED, (struct store_param[]){STORE_TEXT(text)}, 1,
	    on_listed, r);
	load_send(e, NULL);
	store_sync(e->store, on_read, r);
	return true;
}
