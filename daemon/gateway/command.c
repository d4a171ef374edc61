// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Waiting for the engine. A command is durable before anybody waits for it; here the request waits
 * up to two seconds for the answer and else gets the 202 that its statement gave.
 *
 * The row is read at once (the engine may have been faster than our LISTEN), at each notification on
 * takt_answer, and once more at the end of the time.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/request.h"

#include "base/banned.h"

#define WAIT_S 2.0

static void ask(struct request *r, store_cb *on_commit);

void
command_forget(struct request *r)
{
	for (struct request **p = &r->gw->awaiting; *p; p = &(*p)->next)
		if (*p == r) {
			*p = r->next;
			break;
		}
	if (r->timer.data)
		ev_timer_stop(r->gw->loop, &r->timer);
	r->timer.data = NULL;
}

static void
on_row(void *arg, const PGresult *res, const struct err *e)
{
	struct request *r = arg;
	const char *body;

	if (e || PQntuples(res) != 1)
		return;
	body = store_str(res, 0, "body");
	r->sql_status = (int)store_int(res, 0, "status", 500);
	free(r->sql_body);
	r->sql_body = body ? xstrdup(body) : NULL;
	r->await[0] = '\0'; /* decided */
}

/* The request leaves the list; the list's reference goes with it. */
static void
settle(struct request *r)
{
	bool was_waiting = r->timer.data != NULL;

	if (!was_waiting)
		return;
	command_forget(r);
	request_finish(r, r->sql_status, r->sql_body);
	request_put(r);
}

static void
on_asked(void *arg, _unused_ const PGresult *res, _unused_ const struct err *e)
{
	struct request *r = arg;

	r->is_asking = false;
	if (!*r->await || !r->wsi)
		settle(r);
	else if (r->is_asking_again) { /* decided between that answer and its reading, perhaps */
		r->is_asking_again = false;
		r->is_asking = true;
		ask(r, on_asked);
	}
	request_put(r);
}

static void
on_asked_last(void *arg, _unused_ const PGresult *res, _unused_ const struct err *e)
{
	struct request *r = arg;

	settle(r);
	request_put(r);
}

static void
ask(struct request *r, store_cb *on_commit)
{
	request_get(r);
	store_send(r->gw->db, SQL_API_SESSION,
	    (struct store_param[]){STORE_TEXT(r->token), STORE_TEXT("1")}, 2, NULL, NULL);
	store_send(r->gw->db, SQL_API_COMMAND_ANSWER,
	    (struct store_param[]){STORE_TEXT(r->command)}, 1, on_row, r);
	store_sync(r->gw->db, on_commit, r);
}

static void
on_time(_unused_ struct ev_loop *loop, ev_timer *w, _unused_ int events)
{
	ask(w->data, on_asked_last);
}

void
command_await(struct request *r, const char *command_id)
{
	snprintf(r->command, sizeof(r->command), "%s", command_id);
	request_get(r);
	r->next = r->gw->awaiting;
	r->gw->awaiting = r;
	ev_timer_init(&r->timer, on_time, WAIT_S, 0.0);
	r->timer.data = r;
	ev_timer_start(r->gw->loop, &r->timer);
	r->is_asking = true;
	ask(r, on_asked);
}

void
command_answered(struct gateway *gw)
{
	for (struct request *r = gw->awaiting; r; r = r->next)
		if (r->is_asking) {
			r->is_asking_again = true;
		} else {
			r->is_asking = true;
			ask(r, on_asked);
		}
}
