// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Two steps: read what is due by the database's clock, compute the next times here, then decide in
 * one statement that moves only schedules whose row is still as it was read.
 */
#include "daemon/schedule/schedule.h"

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
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

struct round {
	struct engine *engine;
	json_t *rows;
	json_t *months; /* object: the months of decided times that may have no partition */
	bool is_full;
};

static void
round_free(struct round *r)
{
	json_decref(r->rows);
	json_decref(r->months);
	free(r);
}

static void
put_time(json_t *row, const char *key, int64_t utc)
{
	char text[32];

	json_object_set_new(row, key, json_string(when_format_rfc3339(utc, text)));
}

static void
put_catch_up(json_t *row, const struct catch_up *c, const char *was)
{
	if (c->skipped > 0) {
		put_time(row, "due", c->due);
		json_object_set_new(row, "skip_from", json_string(was));
		put_time(row, "skip_until", c->skip_until);
		json_object_set_new(row, "skip_n", json_integer(c->skipped));
	}
	if (c->has_next)
		put_time(row, "next", c->next);
}

static int
plan(json_t *row, const PGresult *res, int i, const struct zone *zone, int64_t *due, struct err *e)
{
	struct cron cron;
	struct cron_policy policy = {0};

	if (cron_parse(store_str(res, i, "expr"), &cron, e) < 0 ||
	    cron_gap_parse(store_str(res, i, "dst_gap"), &policy.gap, e) < 0 ||
	    cron_fold_parse(store_str(res, i, "dst_fold"), &policy.fold, e) < 0)
		return -(int)e->code;
	struct catch_up c = schedule_catch_up(
	    &cron, zone, &policy, store_int(res, i, "due_s", 0), store_int(res, i, "now_s", 0));
	put_catch_up(row, &c, store_str(res, i, "was"));
	*due = c.due;
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

/* *due: the time that is decided, if it is not the row's. */
static json_t *
decide(const PGresult *res, int i, const struct zone *zone, int64_t *due)
{
	static const char *const same[] = {"id", "was", "expr", "zone"};
	json_t *row = json_object();
	struct err e = ERR_INIT;
	struct uuid run;
	char code[9];

	for (size_t n = 0; n < ARRAY_LEN(same); n++)
		json_object_set_new(row, same[n], json_string(store_str(res, i, same[n])));
	json_object_set_new(row, "due", json_string(store_str(res, i, "was")));
	if (plan(row, res, i, zone, due, &e) < 0) {
		log_error(LOG_SCHEDULE, "schedule %s cannot be read and stops: %s",
		    store_str(res, i, "id"), e.message);
		json_object_set_new(row, "rule", json_string("schedule.invalid"));
	}
	uuid_v7(store_int(res, i, "now_ms", 0), &run);
	id_run_code(code);
	json_object_set_new(row, "run_id", json_string(run.s));
	json_object_set_new(row, "code", json_string(code));
	return row;
}

/* One without a partition would make the whole round fail, at every try. */
static void
note_month(struct round *r, int64_t due)
{
	char day[32];

	when_format_rfc3339(due, day);
	memcpy(day + 7, "-01", sizeof("-01"));
	json_object_set_new(r->months, day, json_true());
}

static void
on_due(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;

	for (int i = 0; !err && i < PQntuples(res); i++) {
		int64_t old = store_int(res, i, "now_s", 0) - PARTITIONS_BACK_S;
		int64_t due = store_int(res, i, "due_s", 0);
		const struct zone *zone = readable_zone(store_str(res, i, "zone"));
		if (!zone)
			continue;
		json_t *row = decide(res, i, zone, &due);
		if (store_int(res, i, "due_s", 0) < old)
			note_month(r, store_int(res, i, "due_s", 0));
		if (due < old)
			note_month(r, due);
		json_array_append_new(r->rows, row);
	}
	r->is_full = !err && PQntuples(res) == DUE_MAX;
}

static void
on_fired(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;

	if (!err)
		log_info(LOG_SCHEDULE, "%lld schedules were due, %lld runs made",
		    (long long)store_int(res, 0, "moved", 0),
		    (long long)store_int(res, 0, "fired", 0));
	if (!err && store_int(res, 0, "fired", 0) > 0)
		engine_want(r->engine, JOB_CLAIM);
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;

	(void)res;
	if (r->is_full)
		engine_want(r->engine, JOB_SCHEDULE);
	engine_done(r->engine, err);
	round_free(r);
}

static void
on_read(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;
	struct engine *e = r->engine;

	(void)res;
	if (err || json_array_size(r->rows) == 0) {
		if (r->is_full)
			engine_want(e, JOB_SCHEDULE);
		engine_done(e, err);
		round_free(r);
		return;
	}
	_cleanup_free_ char *rows = json_text(r->rows);
	const char *month;
	json_t *is_there;
	json_object_foreach(r->months, month, is_there) store_send(e->store, SQL_ENGINE_PARTITIONS,
	    (struct store_param[]){STORE_TEXT(month), STORE_TEXT("1")}, 2, NULL, NULL);
	store_send(e->store, SQL_ENGINE_SCHEDULE_FIRE,
	    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT(rows)}, 2, on_fired, r);
	store_send(e->store, SQL_ENGINE_FEED_NOTIFY, NULL, 0, NULL, NULL);
	store_sync(e->store, on_committed, r);
}

bool
schedule_start(struct engine *e)
{
	struct round *r = xcalloc(1, sizeof(*r));

	r->engine = e;
	r->rows = json_array();
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
