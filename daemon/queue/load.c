// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* From rows to struct run and struct unit; used after a claim and at recovery, so both are one path. */
#include "daemon/queue/load.h"

#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/runs.h"
#include "daemon/store/store.h"
#include "task/rc.h"

#include "base/banned.h"

static char *
dup_or_null(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static json_t *
parse(const char *text)
{
	return text ? json_parse(text, strlen(text), &json_limits_frame, NULL) : NULL;
}

static void
load_run(struct engine *e, const PGresult *res, int row)
{
	struct run *r = xcalloc(1, sizeof(*r));
	int64_t now = clock_monotonic_ms(), running = store_int(res, row, "running_ms", -1);

	snprintf(r->id, sizeof(r->id), "%s", store_str(res, row, "run_id"));
	snprintf(r->org_id, sizeof(r->org_id), "%s", store_str(res, row, "org_id"));
	snprintf(r->task_id, sizeof(r->task_id), "%s", store_str(res, row, "task_id"));
	r->task_type = xstrdup(store_str(res, row, "task_type"));
	r->cancel_reason = xstrdup(store_str(res, row, "cancel_reason"));
	r->policy = parse(store_str(res, row, "policy"));
	if (!r->policy)
		r->policy = json_object();
	r->state = (enum task_state)task_state_parse(store_str(res, row, "state"));
	r->epoch = store_int(res, row, "epoch", 0);
	r->attempt = (int)store_int(res, row, "attempt", 0);
	r->timeout_s = (int)store_int(res, row, "timeout_s", 0);
	r->is_attempt_started = strcmp(store_str(res, row, "attempt_state"), "running") == 0;
	r->is_rescued = store_bool(res, row, "is_rescued");
	r->deadline_ms = now + store_int(res, row, "remaining_ms", 0);
	r->started_ms = running >= 0 ? now - running : 0;
	r->retry.max_retries = (unsigned)json_get_int(r->policy, "max_retries", 0);
	r->retry.delay_s = (unsigned)json_get_int(r->policy, "retry_delay_seconds", 0);
	r->units_total = (unsigned)store_int(res, row, "units_total", 0);
	r->passed_before = (unsigned)store_int(res, row, "passed_before", 0);
	runs_add(e->runs, r);
}

static void
on_runs(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	for (int i = 0; !err && i < PQntuples(res); i++)
		load_run(e, res, i);
}

static void
load_outcome(struct unit *u, const char *state, const PGresult *res, int row)
{
	struct outcome *o = &u->outcome;
	const char *class = store_str(res, row, "error_class");
	int known = rc_class_parse(class ? class : state);

	o->class = known < 0 ? RC_internal : (enum rc_class)known;
	o->is_retryable = rc_is_retryable(o->class);
	o->code = dup_or_null(store_str(res, row, "code"));
	o->message = xstrdup(store_str(res, row, "message") ? store_str(res, row, "message") : "");
	o->hint = dup_or_null(store_str(res, row, "hint"));
	u->step = UNIT_DONE;
}

static void
load_unit(struct unit *u, const PGresult *res, int row)
{
	const char *state = store_str(res, row, "state");

	u->no = (int)store_int(res, row, "no", 0);
	u->journal_off = u->journal_next = store_int(res, row, "journal_off", 0);
	u->output_b = u->output_told = store_int(res, row, "output_b", 0);
	u->device_id = dup_or_null(store_str(res, row, "device_id"));
	u->device_name = xstrdup(store_str(res, row, "device_name"));
	u->address = xstrdup(store_str(res, row, "address"));
	u->platform = dup_or_null(store_str(res, row, "platform"));
	u->host_key = dup_or_null(store_str(res, row, "host_key"));
	u->port = (int)store_int(res, row, "port", 0);
	u->known = parse(store_str(res, row, "known"));
	u->credential_id = dup_or_null(store_str(res, row, "credential_id"));
	u->credential_version = store_int(res, row, "credential_version", 0);
	u->username = dup_or_null(store_str(res, row, "username"));
	u->sealed_hex = dup_or_null(store_str(res, row, "sealed"));
	if (strcmp(state, "running") == 0)
		u->was_started = true;
	else if (strcmp(state, "pending") != 0)
		load_outcome(u, state, res, row);
}

/* Rows come ordered by run and number: count a run's rows, then take them. */
static int
load_units_of(struct run *r, const PGresult *res, int first)
{
	int n = 0;

	while (
	    first + n < PQntuples(res) && strcmp(store_str(res, first + n, "run_id"), r->id) == 0)
		n++;
	r->units = xcalloc((size_t)n, sizeof(*r->units));
	r->units_n = (unsigned)n;
	for (int i = 0; i < n; i++) {
		r->units[i].run = r;
		load_unit(&r->units[i], res, first + i);
	}
	unsigned settled = r->passed_before + r->units_n;
	r->failed_before = r->units_total > settled ? r->units_total - settled : 0;
	return first + n;
}

static void
on_units(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	for (int i = 0; !err && i < PQntuples(res);) {
		struct run *r = runs_find(e->runs, store_str(res, i, "run_id"));
		/* None: the memory was dropped between the two answers; recovery reads it all again. */
		i = r ? load_units_of(r, res, i) : i + 1;
	}
}

void
load_send(struct engine *e, const json_t *ids)
{
	_cleanup_free_ char *text = ids ? json_text(ids) : NULL;
	const struct store_param p[] = {STORE_TEXT(e->node_id.s), STORE_TEXT(text)};

	store_send(e->store, SQL_ENGINE_LOAD_RUNS, p, 2, on_runs, e);
	store_send(e->store, SQL_ENGINE_LOAD_UNITS, p, 2, on_units, e);
}
