// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Notifications are hints and can be lost; the poll is the net under them, and the only timer of
 * schedules and retries. By the database's clock: nothing fires early.
 */
#include "daemon/engine/poll.h"

#include "base/clock.h"
#include "base/log.h"

#include "daemon/dispatch/dispatch.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/watch.h"
#include "daemon/schedule/tzdata.h"
#include "daemon/store/store.h"

#include "base/banned.h"

#define POLL_S 1.0

static struct ev_timer timer;
static bool is_asked, is_again;

static const struct {
	const char *column;
	enum engine_job job;
} questions[] = {
    {"schedule_ms", JOB_SCHEDULE},
    {"replan_ms", JOB_REPLAN},
    {"retry_ms", JOB_RETRY},
    {"expire_ms", JOB_EXPIRE},
    {"queued_ms", JOB_CLAIM},
};

static double sleep_s;

/*
 * A statement is planned at its first use and whenever autovacuum has been at its tables: some ten
 * milliseconds, which nothing that is due should wait for. So before it is, the firing is run for
 * nothing. Only that one: its plan is the same whatever the planner knows of the tables. Claims and
 * records planned while nothing is live get plans that read all of it.
 */
#define REHEARSE_EVERY_MS 10000
#define REHEARSE_PARAMS 24

static bool is_due_soon;
static int64_t rehearsed_ms;

static void
on_rehearsed(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	(void)res;
	if (err)
		log_warn(LOG_MAIN, "a rehearsal failed: %s", err->message);
}

static void
rehearse(struct engine *e)
{
	if (!is_due_soon || clock_monotonic_ms() < rehearsed_ms + REHEARSE_EVERY_MS)
		return;
	rehearsed_ms = clock_monotonic_ms();
	const struct store_param none[REHEARSE_PARAMS] = {{0}};
	store_send(e->store, SQL_ENGINE_SCHEDULE_FIRE, none,
	    sql_statements[SQL_ENGINE_SCHEDULE_FIRE].n_params, NULL, NULL);
	STORE_POINT_ONCE(e->store, "poll");
	store_sync(e->store, on_rehearsed, NULL);
}

static void
on_answer(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	sleep_s = POLL_S;
	is_due_soon = false;
	if (err)
		return;
	int64_t schedule_ms = store_int(res, 0, "schedule_ms", INT64_MAX);
	is_due_soon = schedule_ms > 0 && schedule_ms <= (int64_t)(POLL_S * 1000);
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		int64_t ms = store_int(res, 0, questions[i].column, INT64_MAX);
		if (ms <= 0)
			engine_want(e, questions[i].job);
		else if (ms != INT64_MAX && (double)ms / 1000 < sleep_s)
			sleep_s = (double)ms / 1000;
	}
	if (tzdata_look())
		engine_want(e, JOB_REPLAN);
	if (store_bool(res, 0, "has_commands"))
		engine_want(e, JOB_COMMAND);
}

static void
on_polled(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	is_asked = false;
	if (!err)
		rehearse(e);
	if (is_again) {
		is_again = false;
		poll_now(e);
		return;
	}
	ev_timer_set(&timer, sleep_s, 0);
	ev_timer_start(e->loop, &timer);
}

void
poll_now(struct engine *e)
{
	if (is_asked) {
		is_again = true;
		return;
	}
	ev_timer_stop(e->loop, &timer);
	if (!e->is_node_up || e->is_stopping) {
		ev_timer_set(&timer, POLL_S, 0);
		ev_timer_start(e->loop, &timer);
		return;
	}
	is_asked = true;
	watch_send(e);
	store_send(e->store, SQL_ENGINE_POLL, (struct store_param[]){STORE_TEXT(e->node_id.s)}, 1,
	    on_answer, e);
	STORE_POINT_ONCE(e->store, "poll");
	store_sync(e->store, on_polled, e);
}

static void
on_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine *e = w->data;

	(void)loop;
	(void)revents;
	/* Units that wait for a slot may have run out of time. */
	dispatch_start(e);
	poll_now(e);
}

void
poll_init(struct engine *e)
{
	ev_timer_init(&timer, on_timer, POLL_S, 0);
	timer.data = e;
	ev_timer_start(e->loop, &timer);
}

void
poll_fini(struct engine *e)
{
	ev_timer_stop(e->loop, &timer);
}
