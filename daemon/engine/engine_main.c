// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * `taktd -x engine`: start-up, the ways down and up again, reload, the end.
 *
 * Up: database connected -> node entered (lock, incarnation) -> executor connected -> its listing
 * -> recovery -> everything. Commands, schedules and retries need only the first two steps. Down,
 * whichever connection goes: the memory of runs is dropped and the way up is taken again from
 * there. Units live on meanwhile.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#include "daemon/dispatch/dispatch.h"
#include "daemon/engine/calendars.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/jobs.h"
#include "daemon/engine/link.h"
#include "daemon/engine/node.h"
#include "daemon/engine/poll.h"
#include "daemon/engine/runs.h"
#include "daemon/keep/event_link.h"
#include "daemon/keep/retention.h"
#include "daemon/engine/watch.h"
#include "daemon/main/roles.h"
#include "daemon/queue/command.h"
#include "daemon/record/fence.h"
#include "daemon/record/record.h"
#include "daemon/store/store.h"
#include "seal/seal.h"
#include "when/zone.h"

#include "base/banned.h"

#define FLUSH_LIMIT_S 5.0
#define RESYNC_PAUSE_S 0.3 /* what failed once may fail again at once */

static const char *const channels[] = {"takt_command", "takt_schedule", "takt_node", NULL};

static const enum sql_id statements[] = {SQL_ENGINE_NODE_END_OLD, SQL_ENGINE_NODE_LOCK,
    SQL_ENGINE_NODE_UP, SQL_ENGINE_NODE_LEASE, SQL_ENGINE_NODE_LEAVE, SQL_ENGINE_SEAL_KEY_PUT,
    SQL_ENGINE_PLATFORMS_PUT, SQL_ENGINE_CALENDARS_LOCK, SQL_ENGINE_CALENDARS_PUT,
    SQL_ENGINE_DOWNTIME, SQL_ENGINE_PLUGINS_PUT, SQL_ENGINE_PLUGINS_KEEP, SQL_ENGINE_PARTITIONS,
    SQL_ENGINE_PARTITIONS_AHEAD, SQL_ENGINE_POLL, SQL_ENGINE_SCHEDULE_DUE, SQL_ENGINE_SCHEDULE_FIRE,
    SQL_ENGINE_CALENDAR_LOAD, SQL_ENGINE_REPLAN_DUE, SQL_ENGINE_REPLAN, SQL_ENGINE_ZONE_LIST,
    SQL_ENGINE_ZONE_REPLAN, SQL_ENGINE_ZONE_CHANGED, SQL_ENGINE_COMMAND_OPEN,
    SQL_ENGINE_COMMAND_CREATE, SQL_ENGINE_COMMAND_CANCEL, SQL_ENGINE_RETRY_DUE, SQL_ENGINE_EXPIRE,
    SQL_ENGINE_CLAIM, SQL_ENGINE_LOAD_RUNS, SQL_ENGINE_LOAD_UNITS, SQL_ENGINE_LOAD_POLICIES,
    SQL_ENGINE_LOAD_LISTED, SQL_ENGINE_RECORD_LOCK, SQL_ENGINE_RECORD_OUTPUT,
    SQL_ENGINE_RECORD_HOST_KEYS, SQL_ENGINE_RECORD_UNITS, SQL_ENGINE_RECORD,
    SQL_ENGINE_RECORD_FENCED, SQL_ENGINE_SNAPSHOT_PUT, SQL_ENGINE_FEED_NOTIFY,
    SQL_ENGINE_NODES_WATCH, SQL_ENGINE_RESCUE, SQL_ENGINE_RESCUE_END_BACKEND,
    SQL_ENGINE_ANSWER_NOTIFY, SQL_ENGINE_EVENT_LINK, SQL_NONE};

/* What the executor said and what we remember of runs; both are heard and read again. */
static void
forget(struct engine *e)
{
	e->generation++;
	e->is_listed = e->is_recovered = false;
	record_drop(e);
	fence_drop(e);
	runs_clear(e->runs);
	json_object_clear(e->plugins);
	json_object_clear(e->types);
	json_array_clear(e->listed);
}

void
engine_resync(struct engine *e, const char *why)
{
	log_warn(LOG_MAIN, "reading everything again: %s", why);
	link_stop(e->link);
	forget(e);
	if (e->is_node_up)
		link_start(e->link, RESYNC_PAUSE_S);
}

static void
on_node_entered(struct engine *e)
{
	e->has_new_events = true;
	calendars_publish(e);
	link_start(e->link, 0);
	poll_now(e);
}

static void
on_store_up(struct store *s, void *arg)
{
	(void)s;
	node_enter(arg, on_node_entered);
}

static void
on_store_down(struct store *s, void *arg)
{
	struct engine *e = arg;

	(void)s;
	log_warn(LOG_MAIN, "the database is gone; units go on, their reports wait");
	e->is_node_up = false;
	watch_reset(e);
	jobs_abandon(e);
	link_stop(e->link);
	forget(e);
}

static void
on_notify(struct store *s, void *arg, const char *channel, const char *payload)
{
	struct engine *e = arg;

	(void)s;
	if (strcmp(channel, "takt_command") == 0) {
		command_hint(e, payload);
		return;
	}
	if (strcmp(channel, "takt_node") == 0)
		watch_soon();
	poll_now(e);
}

static void
on_link_up(struct engine *e)
{
	forget(e);
	dispatch_hello(e);
}

static void
on_reload(struct ev_loop *loop, struct ev_signal *w, int revents)
{
	struct engine *e = w->data;
	struct err err = ERR_INIT;
	struct conf *conf = conf_load(e->conf->file, &err);
	char text[800];

	(void)loop;
	(void)revents;
	if (!conf) {
		log_error(LOG_MAIN, "the configuration stays as it is: %s",
		    err_text(&err, text, sizeof(text)));
		return;
	}
	log_init("engine", conf->log_level, conf->log_format);
	e->max_units = conf->max_units;
	/* The one from the start is the caller's; one from a reload is ours. */
	conf_free(e->own_conf);
	e->conf = e->own_conf = conf;
	if (e->is_node_up) {
		node_publish_platforms(e);
		calendars_publish(e);
	}
	dispatch_pump(e);
	retention_now(e);
	log_info(LOG_MAIN, "configuration read again");
}

static void
on_left(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	(void)err;
	ev_break(e->loop, EVBREAK_ALL);
}

/* Leaves when what was reported is committed, or when that takes too long: it would come again. */
static void
on_stop_check(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine *e = w->data;
	bool is_late = clock_monotonic_ms() > e->stop_at_ms;

	(void)revents;
	if (!is_late && e->is_node_up && (e->in_flight || !record_is_clean(e)))
		return;
	ev_timer_stop(loop, w);
	if (!is_late && e->is_node_up)
		node_leave(e, on_left);
	else
		ev_break(loop, EVBREAK_ALL);
}

static void
on_stop(struct ev_loop *loop, struct ev_signal *w, int revents)
{
	struct engine *e = w->data;

	(void)revents;
	if (e->is_stopping)
		return;
	log_info(LOG_MAIN, "stopping; units go on without us");
	e->is_stopping = true;
	e->stop_at_ms = clock_monotonic_ms() + (int64_t)(FLUSH_LIMIT_S * 1000);
	engine_want(e, JOB_RECORD);
	ev_timer_init(&e->stop_check, on_stop_check, 0.01, 0.02);
	e->stop_check.data = e;
	ev_timer_start(loop, &e->stop_check);
}

static void
signals_start(struct engine *e)
{
	ev_signal_init(&e->term, on_stop, SIGTERM);
	ev_signal_init(&e->intr, on_stop, SIGINT);
	ev_signal_init(&e->hup, on_reload, SIGHUP);
	e->term.data = e->intr.data = e->hup.data = e;
	ev_signal_start(e->loop, &e->term);
	ev_signal_start(e->loop, &e->intr);
	ev_signal_start(e->loop, &e->hup);
}

static void
open_all(struct engine *e)
{
	const struct link_hooks link = {on_link_up, dispatch_frame, forget};
	const struct store_hooks hooks = {on_store_up, on_store_down, on_notify, e};
	const struct store_conf conf = {.conninfo = e->conf->db,
	    .role = "takt_engine",
	    .channels = channels,
	    .statements = statements,
	    .use_generic_plans = true};
	_cleanup_free_ char *path = *e->conf->executor_socket
					? xstrdup(e->conf->executor_socket)
					: xasprintf("%s/executor.sock", e->conf->state_dir);

	e->plugins = json_object();
	e->types = json_object();
	e->listed = json_array();
	e->policies = json_object();
	e->runs = runs_new();
	e->record = record_new(e);
	e->link = link_new(e, path, &link);
	e->store = store_open(e->loop, &conf, &hooks);
	jobs_init(e);
	poll_init(e);
	event_link_init(e);
	retention_init(e);
	node_timers_start(e);
	signals_start(e);
}

static void
close_all(struct engine *e)
{
	node_timers_stop(e);
	event_link_fini(e);
	retention_fini(e);
	poll_fini(e);
	store_close(e->store); /* answers who waits, and they may still use the link */
	watch_fini(e);
	link_free(e->link);
	jobs_fini(e);
	record_free(e->record);
	fence_drop(e);
	runs_free(e->runs);
	json_decref(e->plugins);
	json_decref(e->types);
	json_decref(e->listed);
	json_decref(e->policies);
	seal_key_free(e->seal);
	conf_free(e->own_conf);
	zone_fini();
}

int
engine_main(const struct conf *conf, struct ev_loop *loop)
{
	struct engine e = {.loop = loop, .conf = conf, .max_units = conf->max_units};
	struct err err = ERR_INIT;
	char text[800];

	e.on_units_new = dispatch_start;
	e.on_units_done = dispatch_pump;
	e.on_run_cancelling = dispatch_cancel;
	if (node_identity(&e, &err) < 0) {
		log_error(LOG_MAIN, "%s", err_text(&err, text, sizeof(text)));
		return 1;
	}
	open_all(&e);
	ev_run(loop, 0);
	close_all(&e);
	return 0;
}
