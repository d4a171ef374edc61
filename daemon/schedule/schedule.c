// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Two steps: read what is due by the database's clock, compute the next times here, then decide in
 * one statement that moves only schedules whose row is still as it was read. The runs are claimed in
 * the same transaction.
 */
#include "daemon/schedule/schedule.h"

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/queue/claim.h"
#include "daemon/store/pgarray.h"
#include "daemon/store/store.h"
#include "when/cron.h"
#include "when/stamp.h"
#include "when/zone.h"

#include "base/banned.h"

#define DUE_MAX 200
/* The occurrences' partitions reach a month back; make older ones when they are needed. */
#define PARTITIONS_BACK_S (25 * 86400)

/* Zones whose files cannot be read, maybe because tzdata is just being replaced: their schedules
 * stay as they are and do not stand in front of the others. */
#define UNREADABLE_MS 60000
static json_t *unreadable;
static int64_t unreadable_until_ms;

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
/* Later than this after its time a firing says so. */
#define LATE_S 60

struct round {
	struct engine *engine;
	struct pgarray lists[LIST_COUNT];
	json_t *months; /* object: the months of decided times that may have no partition */
	int64_t now_s, now_ms;
	bool is_full, has_claim;
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

static int
plan(const PGresult *res, int i, const struct zone *zone, int64_t due, int64_t now,
    struct catch_up *out, struct err *e)
{
	struct cron cron;
	struct cron_policy policy = {0};

	if (cron_parse(store_str(res, i, "expr"), &cron, e) < 0 ||
	    cron_gap_parse(store_str(res, i, "dst_gap"), &policy.gap, e) < 0 ||
	    cron_fold_parse(store_str(res, i, "dst_fold"), &policy.fold, e) < 0)
		return -(int)e->code;
	*out = schedule_catch_up(&cron, zone, &policy, due, now);
	return 0;
}

static const struct zone *
readable_zone(const char *name)
{
	struct err e = ERR_INIT;
	const struct zone *zone = zone_get(name, &e);

	if (!zone && !json_object_get(unreadable, name)) {
		log_error(LOG_SCHEDULE, "schedules in zone %s wait: %s", name, e.message);
		json_object_set_new(unreadable, name, json_true());
	}
	return zone;
}

/* Of the round before, for a minute. */
static char *
unreadable_zones(void)
{
	_cleanup_json_ json_t *names = json_array();
	const char *name;
	json_t *value;

	if (clock_monotonic_ms() > unreadable_until_ms) {
		json_object_clear(unreadable);
		unreadable_until_ms = clock_monotonic_ms() + UNREADABLE_MS;
	}
	json_object_foreach(unreadable, name, value)
	    json_array_append_new(names, json_string(name));
	return json_text(names);
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

static void
put_passed(struct round *r, const char *id, int64_t from, const struct catch_up *c)
{
	pgarray_uuid(&r->lists[PASSED], id);
	pgarray_text(&r->lists[PASSED_DECISION], "missed");
	pgarray_text(&r->lists[PASSED_RULE], "catchup.latest");
	pgarray_int8(&r->lists[PASSED_DUE], from);
	pgarray_int8(&r->lists[PASSED_UNTIL], c->skip_until);
	pgarray_int4(&r->lists[PASSED_N], (int32_t)c->skipped);
	pgarray_text(&r->lists[PASSED_DETAIL], NULL);
}

static void
decide(struct round *r, const PGresult *res, int i, const struct zone *zone)
{
	int64_t due = store_int(res, i, "due_s", 0);
	struct catch_up c = {.due = due};
	const char *rule = NULL;
	struct err e = ERR_INIT;

	note_month(r, due);
	if (plan(res, i, zone, due, r->now_s, &c, &e) < 0) {
		log_error(LOG_SCHEDULE, "schedule %s cannot be read and stops: %s",
		    store_str(res, i, "id"), e.message);
		rule = "schedule.invalid";
	}
	note_month(r, c.due);
	put_time(&r->lists[DUE], c.skipped > 0, c.due);
	put_time(&r->lists[NEXT], c.has_next, c.next);
	pgarray_text(&r->lists[RULE], rule);
	if (r->now_s - c.due > LATE_S)
		pgarray_int4(&r->lists[LATE], (int32_t)(r->now_s - c.due));
	else
		pgarray_int4_null(&r->lists[LATE]);
	if (c.skipped > 0)
		put_passed(r, store_str(res, i, "id"), due, &c);
}

static void
ask(struct round *r, const PGresult *res, int i, const struct zone *zone)
{
	struct uuid run;
	char code[9];

	pgarray_text(&r->lists[PLACE], store_str(res, i, "place"));
	pgarray_uuid(&r->lists[ID], store_str(res, i, "id"));
	pgarray_text(&r->lists[WAS], store_str(res, i, "was"));
	pgarray_int4(&r->lists[ROW_VERSION], (int32_t)store_int(res, i, "version", 0));
	decide(r, res, i, zone);
	uuid_v7(r->now_ms, &run);
	id_run_code(code);
	pgarray_uuid(&r->lists[RUN], run.s);
	pgarray_text(&r->lists[CODE], code);
}

static void
on_due(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;
	const struct zone *zones[DUE_MAX];
	size_t readable = 0;
	int n = err ? 0 : PQntuples(res);

	r->is_full = n == DUE_MAX;
	for (int i = 0; i < n; i++) {
		zones[i] = readable_zone(store_str(res, i, "zone"));
		readable += zones[i] != NULL;
	}
	if (readable == 0)
		return;
	r->now_s = store_int(res, 0, "now_s", 0);
	r->now_ms = store_int(res, 0, "now_ms", 0);
	pgarray_begin(r->lists, LIST_COUNT, 0);
	for (int i = 0; i < n; i++)
		if (zones[i])
			ask(r, res, i, zones[i]);
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
	struct store_param p[1 + LIST_COUNT] = {STORE_TEXT(r->engine->node_id.s)};
	const char *month;
	json_t *is_there;

	json_object_foreach(r->months, month, is_there) store_send(s, SQL_ENGINE_PARTITIONS,
	    (struct store_param[]){STORE_TEXT(month), STORE_TEXT("1")}, 2, NULL, NULL);
	for (size_t i = 0; i < LIST_COUNT; i++)
		p[1 + i] = STORE_BYTES(r->lists[i].bytes.p, r->lists[i].bytes.n);
	store_send(s, SQL_ENGINE_SCHEDULE_FIRE, p, ARRAY_LEN(p), on_fired, r);
	r->has_claim = !is_alone && claim_send(r->engine, JOB_SCHEDULE);
	store_send(s, SQL_ENGINE_FEED_NOTIFY, NULL, 0, NULL, NULL);
	store_sync(s, on_committed, r);
}

static void
on_read(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;
	struct engine *e = r->engine;

	(void)res;
	if (!err && r->lists[ID].length > 0) {
		send_fire(r);
		return;
	}
	if (r->is_full)
		engine_want(e, JOB_SCHEDULE);
	engine_done(e, JOB_SCHEDULE, err);
	round_free(r);
}

bool
schedule_start(struct engine *e)
{
	struct round *r = xcalloc(1, sizeof(*r));

	r->engine = e;
	r->months = json_object();
	zone_refresh();
	if (!unreadable)
		unreadable = json_object();
	_cleanup_free_ char *zones = unreadable_zones();
	store_send(e->store, SQL_ENGINE_SCHEDULE_DUE,
	    (struct store_param[]){STORE_TEXT("200"), STORE_TEXT(zones)}, 2, on_due, r);
	store_sync(e->store, on_read, r);
	return true;
}
