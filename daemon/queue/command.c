// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Reads the open commands, then decides them in one transaction under their row locks: decided_at
 * is set with the effect, so a command has its effect once, whoever crashes when. New runs are
 * claimed in the same transaction.
 *
 * Commands that a notification named are decided without being read first; the reading comes after
 * them, for a notification is a hint like all others.
 */
#include "daemon/queue/command.h"

#include <string.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/queue/claim.h"
#include "daemon/store/store.h"

#include "base/banned.h"

#define COMMAND_MAX 100

struct decision {
	struct engine *engine;
	json_t *creates; /* [{"id","code"}] */
	json_t *cancels; /* [command id] */
	json_t *stopped; /* [{"run_id","reason"}] that went to cancelling */
	bool has_claim;
};

static char hints[COMMAND_MAX][UUID_LEN + 1];
static size_t hints_n;
static bool
    is_alone; /* the last decision failed: if the claim is why, commands must not wait for it */

static void
decision_free(struct decision *d)
{
	json_decref(d->creates);
	json_decref(d->cancels);
	json_decref(d->stopped);
	free(d);
}

static void
add_create(struct decision *d, const char *id)
{
	char code[9];

	id_run_code(code);
	json_array_append_new(d->creates, json_pack("{s:s,s:s}", "id", id, "code", code));
}

static void
on_open(void *arg, const PGresult *res, const struct err *err)
{
	struct decision *d = arg;

	for (int i = 0; !err && i < PQntuples(res); i++) {
		const char *id = store_str(res, i, "id");
		if (strcmp(store_str(res, i, "kind"), "run.create") == 0)
			add_create(d, id);
		else
			json_array_append_new(d->cancels, json_string(id));
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
		if (!d->has_claim)
			engine_want(e, JOB_CLAIM);
	}
	is_alone = err && d->has_claim;
	if (d->has_claim)
		claim_committed(e, err);
	else
		engine_done(e, JOB_COMMAND, err);
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
	d->has_claim = !is_alone && json_array_size(d->creates) > 0 && claim_send(e, JOB_COMMAND);
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
	engine_done(d->engine, JOB_COMMAND, err);
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
	while (hints_n > 0)
		add_create(d, hints[--hints_n]);
	if (json_array_size(d->creates) > 0) {
		decide(d);
		engine_want(e, JOB_COMMAND);
		return true;
	}
	store_send(e->store, SQL_ENGINE_COMMAND_OPEN,
	    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT("100")}, 2, on_open, d);
	store_sync(e->store, on_read, d);
	return true;
}

void
command_hint(struct engine *e, const char *id)
{
	struct uuid uuid;
	size_t i = 0;

	engine_want(e, JOB_COMMAND);
	if (!uuid_parse(id, &uuid))
		return;
	while (i < hints_n && strcmp(hints[i], uuid.s) != 0)
		i++;
	if (i == hints_n && hints_n < COMMAND_MAX)
		memcpy(hints[hints_n++], uuid.s, sizeof(hints[0]));
}
