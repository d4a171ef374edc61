// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A link is a transaction of its own between those of the jobs. LINK_ROWS bounds how long these
 * wait for it (each row has what one commit told, up to some hundred runs); what is left over comes
 * MORE_S later. Nothing is kept in memory: each link is computed from the chain's last row, so that
 * a crash between two links, or two engines that link the same dead node, need no care.
 */
#include "daemon/keep/event_link.h"

#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/store/store.h"

#include "base/banned.h"

#define LINK_ROWS "200"
#define LINK_S 1.0
#define MORE_S 0.02
#define OTHERS_EVERY 10 /* so many turns of LINK_S */

static struct ev_timer timer;
static unsigned turn;
static bool is_asked, has_more, is_more_others, has_warned;

static void
on_linked(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	has_more = !err && store_bool(res, 0, "has_more");
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	is_asked = false;
	if (err && store_is_up(e->store)) {
		e->has_new_events = true;
		if (!has_warned)
			log_warn(LOG_MAIN, "cannot link events, trying again: %s", err->message);
	}
	has_warned = err != NULL;
	ev_timer_stop(e->loop, &timer);
	ev_timer_set(&timer, has_more ? MORE_S : LINK_S, 0);
	ev_timer_start(e->loop, &timer);
}

static void
link_send_off(struct engine *e, bool is_others)
{
	is_asked = true;
	is_more_others = is_others;
	if (!is_others)
		e->has_new_events = false;
	store_send(e->store, SQL_ENGINE_EVENT_LINK,
	    (struct store_param[]){
		STORE_TEXT(e->node_id.s), STORE_TEXT(is_others ? "t" : "f"), STORE_TEXT(LINK_ROWS)},
	    3, on_linked, e);
	STORE_POINT_ONCE(e->store, "event_link");
	store_sync(e->store, on_committed, e);
}

static void
on_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine *e = w->data;
	bool is_again = has_more;

	(void)revents;
	has_more = false;
	if (e->is_node_up && !e->is_stopping && !is_asked && store_is_up(e->store)) {
		if (is_again)
			link_send_off(e, is_more_others);
		else if (++turn % OTHERS_EVERY == 0)
			link_send_off(e, true);
		else if (e->has_new_events)
			link_send_off(e, false);
	}
	if (!is_asked) {
		ev_timer_set(w, LINK_S, 0);
		ev_timer_start(loop, w);
	}
}

void
event_link_init(struct engine *e)
{
	ev_timer_init(&timer, on_timer, LINK_S, 0);
	timer.data = e;
	ev_timer_start(e->loop, &timer);
}

void
event_link_fini(struct engine *e)
{
	ev_timer_stop(e->loop, &timer);
}
