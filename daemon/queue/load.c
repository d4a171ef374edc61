// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See load.h. Definitions are the larger part of what runs carry and mostly the same: each is read
 * and parsed once and shared by its runs, by task, revision and a hash of its content.
 */
#include "daemon/queue/load.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/runs.h"
#include "daemon/store/pgarray.h"
#include "daemon/store/store.h"
#include "task/rc.h"

#include "base/banned.h"

#define POLICIES_MAX 5000

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
policy_attach(struct engine *e, struct run *r)
{
	if (r->policy)
		return;
	r->policy = json_incref(json_object_get(e->policies, r->policy_key));
	r->retry.max_retries = (unsigned)json_get_int(r->policy, "max_retries", 0);
	r->retry.delay_s = (unsigned)json_get_int(r->policy, "retry_delay_seconds", 0);
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
	const char *state = store_str(res, row, "unit_state");

	u->no = (int)store_int(res, row, "no", 0);
	unit_name(u);
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

static void
units_alloc(struct run *r, unsigned n)
{
	r->units = xcalloc(n, sizeof(*r->units));
	r->units_n = n;
	for (unsigned i = 0; i < n; i++)
		r->units[i].run = r;
}

static struct run *
load_run(struct engine *e, const PGresult *res, int row)
{
	struct run *r = xcalloc(1, sizeof(*r));
	int64_t now = clock_monotonic_ms(), running = store_int(res, row, "running_ms", -1);

	snprintf(r->id, sizeof(r->id), "%s", store_str(res, row, "run_id"));
	snprintf(r->org_id, sizeof(r->org_id), "%s", store_str(res, row, "org_id"));
	snprintf(r->task_id, sizeof(r->task_id), "%s", store_str(res, row, "task_id"));
	r->task_type = xstrdup(store_str(res, row, "task_type"));
	r->cancel_reason = xstrdup(store_str(res, row, "cancel_reason"));
	r->policy_key = xasprintf("%s.%s", r->task_id, store_str(res, row, "policy_key"));
	r->state = (enum task_state)task_state_parse(store_str(res, row, "state"));
	r->epoch = store_int(res, row, "epoch", 0);
	r->attempt = (int)store_int(res, row, "attempt", 0);
	r->timeout_s = (int)store_int(res, row, "timeout_s", 0);
	r->is_attempt_started = store_bool(res, row, "is_attempt_started");
	r->is_rescued = store_bool(res, row, "is_rescued");
	r->deadline_ms = now + store_int(res, row, "remaining_ms", 0);
	r->started_ms = running >= 0 ? now - running : 0;
	r->units_total = (unsigned)store_int(res, row, "units_total", 0);
	r->passed_before = (unsigned)store_int(res, row, "passed_before", 0);
	policy_attach(e, r);
	if (r->units_total == 1) {
		units_alloc(r, 1);
		load_unit(r->units, res, row);
	}
	return r;
}

/* Rows come ordered by run and number: count a run's rows, then take them. */
static int
load_units_of(struct run *r, const PGresult *res, int first)
{
	int n = 0;

	while (
	    first + n < PQntuples(res) && strcmp(store_str(res, first + n, "run_id"), r->id) == 0)
		n++;
	units_alloc(r, (unsigned)n);
	for (int i = 0; i < n; i++)
		load_unit(&r->units[i], res, first + i);
	unsigned settled = r->passed_before + r->units_n;
	r->failed_before = r->units_total > settled ? r->units_total - settled : 0;
	return first + n;
}

static void
on_runs(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	for (int i = 0; !err && i < PQntuples(res); i++)
		runs_add(e->runs, load_run(e, res, i));
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

static void
attach_one(struct engine *e, struct run *r)
{
	policy_attach(e, r);
	if (!r->policy)
		r->policy = json_object();
	r->is_whole = true;
}

static void
on_policies(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	if (err)
		return;
	if (json_object_size(e->policies) > POLICIES_MAX)
		json_object_clear(e->policies);
	for (int i = 0; i < PQntuples(res); i++) {
		_cleanup_free_ char *key = xasprintf(
		    "%s.%s", store_str(res, i, "task_id"), store_str(res, i, "policy_key"));
		json_t *policy = parse(store_str(res, i, "policy"));
		json_object_set_new(e->policies, key, policy ? policy : json_object());
	}
	runs_each(e->runs, attach_one, e);
}

/* ids: a uuid array, or NULL: all of this node. */
static struct store_param
ids_param(const struct pgarray *ids)
{
	return ids ? STORE_BYTES(ids->bytes.p, ids->bytes.n) : STORE_TEXT(NULL);
}

static void
rest_send(struct engine *e, const struct pgarray *ids)
{
	const struct store_param p[] = {STORE_TEXT(e->node_id.s), ids_param(ids)};

	store_send(e->store, SQL_ENGINE_LOAD_UNITS, p, 2, on_units, e);
	store_send(e->store, SQL_ENGINE_LOAD_POLICIES, p, 2, on_policies, e);
}

void
load_rows(struct engine *e, const PGresult *res, struct load *l)
{
	for (int i = 0; i < PQntuples(res); i++) {
		struct run *r = load_run(e, res, i);
		r->is_whole = r->policy && r->units_total < 2;
		r->hash_next = l->runs;
		l->runs = r;
		l->n++;
		l->rest_n += !r->is_whole;
	}
}

bool
load_accept(struct engine *e, struct load *l)
{
	struct pgarray ids;

	pgarray_begin(&ids, 1, l->rest_n);
	while (l->runs) {
		struct run *r = l->runs;
		l->runs = r->hash_next;
		if (!r->is_whole)
			pgarray_uuid(&ids, r->id);
		runs_add(e->runs, r);
	}
	if (l->rest_n > 0)
		rest_send(e, &ids);
	pgarray_end(&ids, 1);
	return l->rest_n > 0;
}

void
load_drop(struct load *l)
{
	while (l->runs) {
		struct run *r = l->runs;
		l->runs = r->hash_next;
		run_free(r);
	}
	*l = (struct load){0};
}

void
load_send(struct engine *e, const json_t *ids)
{
	struct pgarray list;
	size_t i;
	json_t *id;

	pgarray_begin(&list, 1, json_array_size(ids));
	json_array_foreach(ids, i, id) pgarray_uuid(&list, json_string_value(id));
	const struct pgarray *some = ids ? &list : NULL;
	store_send(e->store, SQL_ENGINE_LOAD_RUNS,
	    (struct store_param[]){STORE_TEXT(e->node_id.s), ids_param(some)}, 2, on_runs, e);
	rest_send(e, some);
	pgarray_end(&list, 1);
}
