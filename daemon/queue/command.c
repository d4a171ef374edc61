// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Reads the open commands, then decides them in one transaction under their row locks: decided_at
 * is set with the effect, so a command has its effect once, whoever crashes when.
 */
#include "daemon/queue/command.h"

#include <string.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/store/store.h"

#include "base/banned.h"

#define COMMAND_MAX 100

struct decision {
	struct engine *engine;
	json_t *creates; /* [{"id","code"}] */
	json_t *cancels; /* [command id] */
	json_t *stopped; /* [{"run_id","reason"}] that went to cancelling */
};

static void
decision_free(struct decision *d)
{
	json_decref(d->creates);
	json_decref(d->cancels);
	json_decref(d->stopped);
	free(d);
}

static void
on_open(void *arg, const PGresult *res, const struct err *err)
{
	struct decision *d = arg;

	for (int i = 0; !err && i < PQntuples(res); i++) {
		const char *id = store_str(res, i, "id");
		if (strcmp(store_str(res, i, "kind"), "run.create") == 0) {
			char code[9];
			id_run_code(code);
			json_array_append_new(
			    d->creates, json_pack("{s:s,s:s}", "id", id, "code", code));
		} else {
			json_array_append_new(d->cancels, json_string(id));
		}
	}
	if (!err && PQntuples(res) == COMMAND_MAX)
		engine_want(d->engine, JOB_COMMAND);
}

static void
on_cancelled(void *arg, const PGresult *res, const struct err *err)
{
	struct decision *d = arg;

	for (int i = 0; !err && i < PQntuples(res); i++) {
		const char *was = store_str(res, i, "was");
		if (strcmp(was, "dispatched") == 0 || strcmp(was, "running") == 0)
			json_array_append_new(d->stopped,
			    json_pack("{s:s,s:s}", "run_id", store_str(res, i, "run_id"), "reason",
				store_str(res, i, "reason")));
	}
}

static void
on_decided(void *arg, const PGresult *res, const struct err *err)
{
	struct decision *d = arg;
	struct engine *e = d->engine;
	size_t i;
	json_t *stop;

	(void)res;
	if (!err) {
		json_array_foreach(d->stopped, i, stop) e->on_run_cancelling(
		    e, json_get_str(stop, "run_id", ""), json_get_str(stop, "reason", ""));
		engine_want(e, JOB_CLAIM);
	}
	engine_done(e, err);
	decision_free(d);
}

static void
decide(struct decision *d)
{
	struct engine *e = d->engine;
	_cleanup_free_ char *creates = json_text(d->creates), *cancels = json_text(d->cancels);

	if (json_array_size(d->creates) > 0)
		store_send(e->store, SQL_ENGINE_COMMAND_CREATE,
		    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT(creates)}, 2, NULL,
		    NULL);
	if (json_array_size(d->cancels) > 0)
		store_send(e->store, SQL_ENGINE_COMMAND_CANCEL,
		    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT(cancels)}, 2,
		    on_cancelled, d);
	store_send(e->store, SQL_ENGINE_ANSWER_NOTIFY, NULL, 0, NULL, NULL);
	store_sync(e->store, on_decided, d);
}

static void
on_read(void *arg, const PGresult *res, const struct err *err)
{
	struct decision *d = arg;

	(void)res;
	if (!err && json_array_size(d->creates) + json_array_size(d->cancels) > 0) {
		decide(d);
		return;
	}
	engine_done(d->engine, err);
	decision_free(d);
}

bool
command_start(struct engine *e)
{
	struct decision *d = xcalloc(1, sizeof(*d));

	d->engine = e;
	d->creates = json_array();
	d->cancels = json_array();
	d->stopped = json_array();
	store_send(e->store, SQL_ENGINE_COMMAND_OPEN,
	    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT("100")}, 2, on_open, d);
	store_sync(e->store, on_read, d);
	return true;
}
