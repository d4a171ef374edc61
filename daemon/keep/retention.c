// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See retention.h. The connection lives for one turn: opened by the timer, closed when there is
 * nothing to do any more. takt.drop_before() waits 500 ms for its locks at most and names who was in
 * the way; then the turn ends and the next one comes after AGAIN_S.
 */
#include "daemon/keep/retention.h"

#include <stdio.h>

#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/main/conf.h"
#include "daemon/store/store.h"

#include "base/banned.h"

#define FIRST_S 3.0
#define EVERY_S 3600.0
#define AGAIN_S 60.0
#define RELOADED_S 0.1

static const enum sql_id statements[] = {SQL_ENGINE_PARTITIONS_AHEAD, SQL_ENGINE_PARTITIONS_MISSING,
    SQL_ENGINE_DROP_BEFORE, SQL_ENGINE_REMOVE_DROPPED, SQL_NONE};

static struct ev_timer timer;
static struct store *own;
static bool is_wanted_again;                        /* asked for while a turn was on */
static enum { NOTHING_OLD, DROPPED, IN_USE } found; /* by the last drop_before */
static bool has_more_files;

static void
end_turn(struct engine *e, double next_s)
{
	if (own) {
		struct store *s = own;

		own = NULL; /* callbacks from store_close() find the turn ended */
		store_close(s);
	}
	ev_timer_stop(e->loop, &timer);
	ev_timer_set(&timer, is_wanted_again ? RELOADED_S : next_s, 0);
	ev_timer_start(e->loop, &timer);
	is_wanted_again = false;
}

static void
on_drop_row(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	found = NOTHING_OLD;
	if (err || PQntuples(res) == 0)
		return;
	found = store_bool(res, 0, "is_dropped") ? DROPPED : IN_USE;
	if (found == DROPPED)
		log_info(LOG_MAIN, "history of %s is dropped: %s", store_str(res, 0, "month"),
		    store_str(res, 0, "detail"));
	else
		log_warn(LOG_MAIN, "history of %s cannot be dropped yet, trying again: %s",
		    store_str(res, 0, "month"), store_str(res, 0, "detail"));
}

static void drop_one(struct engine *e);
static void remove_one(struct engine *e);

static void
on_removed_row(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	has_more_files = !err && store_str(res, 0, "name");
}

static void
on_removed(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	if (!own)
		return;
	if (err)
		log_error(LOG_MAIN, "room of dropped history was not freed: %s", err->message);
	if (!err && has_more_files)
		remove_one(e);
	else
		end_turn(e, err || found == IN_USE ? AGAIN_S : EVERY_S);
}

/* One table a transaction, after the months: nobody sees them any more. */
static void
remove_one(struct engine *e)
{
	store_send(own, SQL_ENGINE_REMOVE_DROPPED, NULL, 0, on_removed_row, e);
	store_sync(own, on_removed, e);
}

static void
on_drop_committed(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	if (!own)
		return;
	if (err)
		log_error(LOG_MAIN, "history was not dropped: %s", err->message);
	if (err)
		end_turn(e, AGAIN_S);
	else if (found == DROPPED)
		drop_one(e);
	else
		remove_one(e);
}

static void
drop_one(struct engine *e)
{
	char months[12];

	snprintf(months, sizeof(months), "%u", e->conf->retain_months);
	store_send(own, SQL_ENGINE_DROP_BEFORE, (struct store_param[]){STORE_TEXT(months)}, 1,
	    on_drop_row, e);
	store_sync(own, on_drop_committed, e);
}

static void
on_missing(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	for (int i = 0; !err && i < PQntuples(res); i++)
		log_error(LOG_MAIN,
		    "there is no partition %s: what belongs into it cannot be written",
		    store_str(res, i, "name"));
}

static void
on_partitions_checked(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	if (!own)
		return;
	if (err)
		log_error(LOG_MAIN, "partitions cannot be looked at: %s", err->message);
	found = NOTHING_OLD;
	if (err)
		end_turn(e, AGAIN_S);
	else if (e->conf->retain_months > 0)
		drop_one(e);
	else
		remove_one(e);
}

static void
on_partitions_made(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	if (!own)
		return;
	if (err)
		log_error(LOG_MAIN, "partitions cannot be made ahead: %s", err->message);
	store_send(own, SQL_ENGINE_PARTITIONS_MISSING, NULL, 0, on_missing, e);
	store_sync(own, on_partitions_checked, e);
}

static void
on_up(struct store *s, void *arg)
{
	store_send(s, SQL_ENGINE_PARTITIONS_AHEAD, NULL, 0, NULL, NULL);
	store_sync(s, on_partitions_made, arg);
}

static void
on_down(struct store *s, void *arg)
{
	(void)s;
	if (own)
		end_turn(arg, AGAIN_S);
}

static void
on_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine *e = w->data;
	const struct store_hooks hooks = {on_up, on_down, NULL, e};
	const struct store_conf conf = {
	    .conninfo = e->conf->db, .role = "takt_engine", .statements = statements};

	(void)revents;
	if (!e->is_node_up || e->is_stopping) {
		ev_timer_set(w, FIRST_S, 0);
		ev_timer_start(loop, w);
	} else if (!own) {
		own = store_open(loop, &conf, &hooks);
	}
}

void
retention_now(struct engine *e)
{
	if (own)
		is_wanted_again = true;
	else
		end_turn(e, RELOADED_S);
}

void
retention_init(struct engine *e)
{
	ev_timer_init(&timer, on_timer, FIRST_S, 0);
	timer.data = e;
	ev_timer_start(e->loop, &timer);
}

void
retention_fini(struct engine *e)
{
	struct store *s = own;

	own = NULL;
	store_close(s);
	ev_timer_stop(e->loop, &timer);
}
