// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Two steps: read what is due by the database's clock, compute the next times here, then decide in
 * one statement that moves only schedules whose row is still as it was read. The runs are claimed in
 * the same transaction.
 */
#include "daemon/schedule/schedule.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/queue/claim.h"
#include "daemon/schedule/calendars.h"
#include "daemon/schedule/catch_up.h"
#include "daemon/schedule/plan.h"
#include "daemon/schedule/zones.h"
#include "daemon/store/pgarray.h"
#include "daemon/store/store.h"
#include "when/calendar.h"
#include "when/stamp.h"

#include "base/banned.h"

#define DUE_MAX 200
/* The occurrences' partitions reach a month back; make older ones when they are needed. */
#define PARTITIONS_BACK_S (25 * 86400)
/* Instead of a due time: none of those that were due fires. */
#define NO_DUE (-1)

/* What schedule_fire.sql is asked: an array each, an element a schedule; then an element a row of what was passed
 * over. */
enum list {
	PLACE,
	ID,
	WAS,
	ROW_VERSION,
	DUE,
	NEXT,
	RULE,
	RUN,
	CODE,
	LATE,
	PASSED,
	PASSED_DECISION,
	PASSED_RULE,
	PASSED_DUE,
	PASSED_UNTIL,
	PASSED_N,
	PASSED_DETAIL,
	LIST_COUNT
};

struct round {
	struct engine *engine;
	struct pgarray lists[LIST_COUNT];
	json_t *months; /* object: the months of decided times that may have no partition */
	int64_t now_s, now_ms;
	bool is_full; /* there may be more, ask again */
	bool has_claim;
};

/* The last decision failed: if its claim is why, due times must not wait for it. */
static bool is_alone;

static void
round_free(struct round *r)
{
	pgarray_end(r->lists, LIST_COUNT);
	json_decref(r->months);
	free(r);
}

static void
put_time(struct pgarray *a, bool is_set, int64_t utc)
{
	if (is_set)
		pgarray_int8(a, utc);
	else
		pgarray_int8_null(a);
}

/* One without a partition would make the whole round fail, at every try. */
static void
note_month(struct round *r, int64_t due)
{
	char day[32];

	if (due >= r->now_s - PARTITIONS_BACK_S)
		return;
	when_format_rfc3339(due, day);
	memcpy(day + 7, "-01", sizeof("-01"));
	json_object_set_new(r->months, day, json_true());
}

/* "NAME: reason" is what a day of an exclude calendar says. */
static json_t *
detail_of(const struct passed *p, const struct plan *plan, const struct catch_up_policy *policy)
{
	const char *colon;

	if (strcmp(p->rule, "catchup.limit") == 0)
		return json_pack("{si}", "limit", (int)policy->limit);
	if (strcmp(p->rule, "catchup.deadline") == 0)
		return json_pack("{sI}", "deadline_seconds", (json_int_t)policy->deadline_s);
	if (strcmp(p->rule, "calendar.include") == 0)
		return json_pack(
		    "{ssss}", "calendar", calendar_name(plan_include(plan)), "reason", p->reason);
	if (strcmp(p->rule, "calendar.exclude") == 0 && (colon = strstr(p->reason, ": ")))
		return json_pack("{ss%ss}", "calendar", p->reason, (size_t)(colon - p->reason),
		    "reason", colon + 2);
	return p->reason ? json_pack("{ss}", "reason", p->reason) : NULL;
}

static void
put_passed(struct round *r, const char *id, const struct passed *p, json_t *detail)
{
	_cleanup_free_ char *text = detail ? json_text(detail) : NULL;

	note_month(r, p->due);
	pgarray_uuid(&r->lists[PASSED], id);
	pgarray_text(&r->lists[PASSED_DECISION], p->decision);
	pgarray_text(&r->lists[PASSED_RULE], p->rule);
	pgarray_int8(&r->lists[PASSED_DUE], p->due);
	put_time(&r->lists[PASSED_UNTIL], p->until > p->due, p->until);
	pgarray_int4(&r->lists[PASSED_N], (int32_t)p->n);
	pgarray_text(&r->lists[PASSED_DETAIL], text);
}

static void
put_decision(struct round *r, int64_t was, const struct catch_up *c, int64_t late_s)
{
	note_month(r, c->due);
	put_time(&r->lists[DUE], !c->has_due || c->due != was, c->has_due ? c->due : NO_DUE);
	put_time(&r->lists[NEXT], c->has_next, c->next);
	if (c->has_due && late_s > CATCH_UP_LATE_S)
		pgarray_int4(&r->lists[LATE], (int32_t)late_s);
	else
		pgarray_int4_null(&r->lists[LATE]);
}

static void
decide(struct round *r, const PGresult *res, int i, struct plan *plan)
{
	const struct catch_up_policy policy = plan_policy(res, i);
	int64_t was = store_int(res, i, "due_s", 0), seen = store_int(res, i, "seen_s", 0);
	int64_t upto = r->now_s - store_int(res, i, "jitter_off_s", 0);
	struct catch_up c;

	/* Somebody set the row by hand. */
	if (upto < was)
		upto = was;
	if (seen >= was)
		seen = was - 1;
	catch_up(plan_when(plan), &policy, was, upto, &c);
	if (plan_has_marks(plan, seen, upto))
		catch_up_marks(plan_when(plan), plan_exclude(plan), seen, &c);
	for (unsigned k = 0; k < c.row_count; k++) {
		_cleanup_json_ json_t *detail = detail_of(&c.rows[k], plan, &policy);
		put_passed(r, store_str(res, i, "id"), &c.rows[k], detail);
	}
	put_decision(r, was, &c, upto - c.due);
	pgarray_text(&r->lists[RULE], NULL);
}

/* It does not fire and is not asked about again before it is changed. */
static void
stop(struct round *r, const PGresult *res, int i, const struct err *e)
{
	int64_t was = store_int(res, i, "due_s", 0);
	struct catch_up c = {.has_due = true, .due = was};

	log_error(LOG_SCHEDULE, "schedule %s cannot be read and stops: %s", store_str(res, i, "id"),
	    e->message);
	put_decision(r, was, &c, 0);
	pgarray_text(&r->lists[RULE], "schedule.invalid");
}

static void
ask(struct round *r, const PGresult *res, int i)
{
	struct err e = ERR_INIT;
	struct plan *plan;
	enum plan_state state = plan_get(res, i, &plan, &e);
	struct uuid run;
	char code[9];

	if (state == PLAN_WAITS)
		return;
	pgarray_text(&r->lists[PLACE], store_str(res, i, "place"));
	pgarray_uuid(&r->lists[ID], store_str(res, i, "id"));
	pgarray_text(&r->lists[WAS], store_str(res, i, "was"));
	pgarray_int4(&r->lists[ROW_VERSION], (int32_t)store_int(res, i, "version", 0));
	uuid_v7(r->now_ms, &run);
	id_run_code(code);
	pgarray_uuid(&r->lists[RUN], run.s);
	pgarray_text(&r->lists[CODE], code);
	if (state == PLAN_READY)
		decide(r, res, i, plan);
	else
		stop(r, res, i, &e);
}

static void
on_due(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;
	int n = err ? 0 : PQntuples(res);

	r->is_full = n == DUE_MAX;
	if (n == 0)
		return;
	r->now_s = store_int(res, 0, "now_s", 0);
	r->now_ms = store_int(res, 0, "now_ms", 0);
	plan_begin();
	pgarray_begin(r->lists, LIST_COUNT, 0);
	for (int i = 0; i < n; i++)
		ask(r, res, i);
}

static void
on_fired(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;

	if (!err)
		log_info(LOG_SCHEDULE, "%lld schedules were due, %lld runs made",
		    (long long)store_int(res, 0, "moved", 0),
		    (long long)store_int(res, 0, "fired", 0));
	if (!err && !r->has_claim && store_int(res, 0, "fired", 0) > 0)
		engine_want(r->engine, JOB_CLAIM);
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;

	(void)res;
	if (r->is_full)
		engine_want(r->engine, JOB_SCHEDULE);
	is_alone = err && r->has_claim;
	if (r->has_claim)
		claim_committed(r->engine, err);
	else
		engine_done(r->engine, JOB_SCHEDULE, err);
	round_free(r);
}

static void
send_fire(struct round *r)
{
	struct store *s = r->engine->store;
	struct store_param p[2 + LIST_COUNT] = {STORE_TEXT(r->engine->node_id.s)};
	const char *month;
	char read_at[24];
	json_t *is_there;

	json_object_foreach(r->months, month, is_there) store_send(s, SQL_ENGINE_PARTITIONS,
	    (struct store_param[]){STORE_TEXT(month), STORE_TEXT("1")}, 2, NULL, NULL);
	for (size_t i = 0; i < LIST_COUNT; i++)
		p[1 + i] = STORE_BYTES(r->lists[i].bytes.p, r->lists[i].bytes.n);
	snprintf(read_at, sizeof(read_at), "%" PRId64, r->now_s);
	p[1 + LIST_COUNT] = STORE_TEXT(read_at);
	store_send(s, SQL_ENGINE_SCHEDULE_FIRE, p, ARRAY_LEN(p), on_fired, r);
	r->has_claim = !is_alone && claim_send(r->engine, JOB_SCHEDULE);
	store_send(s, SQL_ENGINE_FEED_NOTIFY, NULL, 0, NULL, NULL);
}

static void
on_read(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;
	struct engine *e = r->engine;
	bool is_loading = !err && calendars_are_wanted();

	(void)res;
	r->is_full |= is_loading;
	if (is_loading)
		calendars_load(e->store);
	if (!err && r->lists[ID].length > 0)
		send_fire(r);
	else if (!is_loading) {
		on_committed(r, res, err);
		return;
	}
	store_sync(e->store, on_committed, r);
}

bool
schedule_start(struct engine *e)
{
	struct round *r = xcalloc(1, sizeof(*r));
	_cleanup_free_ char *zones = zones_unreadable();

	r->engine = e;
	r->months = json_object();
	store_send(e->store, SQL_ENGINE_SCHEDULE_DUE,
	    (struct store_param[]){STORE_TEXT("200"), STORE_TEXT(zones)}, 2, on_due, r);
	store_sync(e->store, on_read, r);
	return true;
}
