// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Two steps, as in schedule.c: read the rows, compute here, then one statement sets what is unchanged. */
#include "daemon/schedule/replan.h"

#include "base/buf.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/schedule/calendars.h"
#include "daemon/schedule/plan.h"
#include "daemon/schedule/tzdata.h"
#include "daemon/schedule/zones.h"
#include "daemon/store/pgarray.h"
#include "daemon/store/store.h"
#include "when/stamp.h"
#include "when/when.h"

#include "base/banned.h"

#define REPLAN_MAX 200
/* So many moved times are logged, of all rounds that follow each other. */
#define SHOWN_MAX 20

enum list { ID, ROW_VERSION, WAS, NEXT, LIST_COUNT };

struct round {
	struct engine *engine;
	struct pgarray lists[LIST_COUNT];
	bool is_full;
};

/* Since there was nothing to do. */
static unsigned planned, moved;

static const char *
shown(bool is_set, int64_t utc, char stamp[32])
{
	return is_set ? when_format_rfc3339(utc, stamp) : "never";
}

static void
tell(const PGresult *res, int i, bool has_next, int64_t next)
{
	int64_t was = store_int(res, i, "next_s", 0);
	char before[32], after[32];

	planned++;
	if (has_next && was == next)
		return;
	/* A change of calendars took it away before. */
	if (moved++ < SHOWN_MAX && was)
		log_info(LOG_SCHEDULE, "schedule %s: %s becomes %s", store_str(res, i, "id"),
		    when_format_rfc3339(was, before), shown(has_next, next, after));
}

static void
ask(struct round *r, const PGresult *res, int i)
{
	struct when_occurrence o = {0};
	struct err e = ERR_INIT;
	struct plan *plan;
	enum plan_state state = plan_get(res, i, &plan, &e);
	bool has_next;

	if (state == PLAN_WAITS)
		return;
	if (state == PLAN_INVALID)
		log_error(LOG_SCHEDULE, "schedule %s cannot be read and stops: %s",
		    store_str(res, i, "id"), e.message);
	has_next = state == PLAN_READY && store_bool(res, i, "enabled") &&
		   when_next(plan_when(plan), store_int(res, i, "after_s", 0), &o);
	tell(res, i, has_next, o.utc);
	pgarray_uuid(&r->lists[ID], store_str(res, i, "id"));
	pgarray_int4(&r->lists[ROW_VERSION], (int32_t)store_int(res, i, "version", 0));
	pgarray_text(&r->lists[WAS], store_str(res, i, "was"));
	if (has_next)
		pgarray_int8(&r->lists[NEXT], o.utc);
	else
		pgarray_int8_null(&r->lists[NEXT]);
}

static void
on_due(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;
	int n = err ? 0 : PQntuples(res);

	r->is_full = n == REPLAN_MAX;
	plan_begin();
	pgarray_begin(r->lists, LIST_COUNT, 0);
	for (int i = 0; i < n; i++)
		ask(r, res, i);
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;

	(void)res;
	if (r->is_full)
		engine_want(r->engine, JOB_REPLAN);
	else if (planned > 0) {
		log_info(LOG_SCHEDULE, "%u next times computed anew, %u moved", planned, moved);
		planned = moved = 0;
	}
	engine_done(r->engine, JOB_REPLAN, err);
	pgarray_end(r->lists, LIST_COUNT);
	free(r);
}

static void
on_read(void *arg, const PGresult *res, const struct err *err)
{
	struct round *r = arg;
	struct store *s = r->engine->store;
	bool is_loading = !err && calendars_are_wanted(),
	     is_asking = !err && r->lists[ID].length > 0;
	struct store_param p[LIST_COUNT];

	r->is_full |= is_loading;
	if (!is_loading && !is_asking) {
		on_committed(r, res, err);
		return;
	}
	if (is_loading)
		calendars_load(s);
	for (size_t i = 0; i < LIST_COUNT; i++)
		p[i] = STORE_BYTES(r->lists[i].bytes.p, r->lists[i].bytes.n);
	if (is_asking)
		store_send(s, SQL_ENGINE_REPLAN, p, LIST_COUNT, NULL, NULL);
	store_sync(s, on_committed, r);
}

bool
replan_start(struct engine *e)
{
	_cleanup_free_ char *zones = NULL;
	struct round *r;

	if (tzdata_start(e))
		return true;
	zones = zones_unreadable();
	r = xcalloc(1, sizeof(*r));
	r->engine = e;
	store_send(e->store, SQL_ENGINE_REPLAN_DUE,
	    (struct store_param[]){STORE_TEXT("200"), STORE_TEXT(zones)}, 2, on_due, r);
	store_sync(e->store, on_read, r);
	return true;
}
