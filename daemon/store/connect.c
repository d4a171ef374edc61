// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Making and losing the connection: back-off, PQconnectPoll, session set-up (prepare, listen), and
 * the one way down, store_lost(). Called by store.c and the loop.
 *
 * PQstatus stays OK on a dead socket, so three clocks watch it: the kernel's (keepalives,
 * tcp_user_timeout), the server's (statement_timeout) and ours (SILENCE_S) for a server that
 * holds the socket and says nothing. The server watches its end in the same way: a session that is
 * cut off holds locks, and the node's own one, which the next connection waits for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

#include "daemon/store/store_priv.h"

#include "base/banned.h"

#define BACKOFF_MIN_S 0.1
/* A cut link is used again within BACKOFF_MAX_S of its healing, or at the next SYN of an attempt. */
#define BACKOFF_MAX_S 2.0
#define CONNECT_S 8.0
/* As long as an engine goes on without a renewed lease (NODE_FENCE_MS), and longer than one statement may take. */
#define SILENCE_S 20.0

#define SESSION_OPTIONS                                                                            \
	"-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=15s " \
	"-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2 "         \
	"-c tcp_user_timeout=15000 "                                                               \
	"-c jit=off -c search_path=takt -c timezone=UTC -c datestyle=ISO "                         \
	"-c default_transaction_isolation=read\\ committed -c "                                    \
	"client_min_messages=warning"
/* Few rows by keys; but a plan for any number of rows may prefer to read whole tables. */
#define GENERIC_PLANS " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off"
#define CUSTOM_PLANS " -c plan_cache_mode=force_custom_plan"

static void
on_notice(void *arg, const char *message)
{
	char line[300];

	(void)arg;
	store_first_line(message, line, sizeof(line));
	log_debug(LOG_STORE, "%s", line);
}

static void
schedule_retry(struct store *s)
{
	double jitter = 0.5 + 0.5 * (double)random() / (double)RAND_MAX;

	ev_timer_stop(s->loop, &s->retry);
	ev_timer_set(&s->retry, s->backoff_s * jitter, 0.);
	ev_timer_start(s->loop, &s->retry);
	s->backoff_s = s->backoff_s * 2 > BACKOFF_MAX_S ? BACKOFF_MAX_S : s->backoff_s * 2;
}

static void
drop_connection(struct store *s)
{
	ev_io_stop(s->loop, &s->io);
	ev_timer_stop(s->loop, &s->deadline);
	if (s->conn)
		PQfinish(take_ptr(&s->conn));
	s->state = STORE_DOWN;
}

void
store_lost(struct store *s, const char *what)
{
	bool was_up = s->state == STORE_UP;
	struct err e = ERR_INIT;
	char line[240];

	store_first_line(what && *what ? what : "closed by the server", line, sizeof(line));
	log_warn(
	    LOG_STORE, "%s: database connection %s: %s", s->role, was_up ? "lost" : "failed", line);
	drop_connection(s);
	schedule_retry(s);
	err_set(&e, ERR_TRANSIENT, "database connection lost: %s", line);
	store_fail_all(s, &e);
	if (was_up && !s->is_closed && s->hooks.on_down)
		s->hooks.on_down(s, s->hooks.arg);
}

void
store_want(struct store *s, int events)
{
	int fd = PQsocket(s->conn);

	if (ev_is_active(&s->io) && s->io.fd == fd &&
	    (s->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(s->loop, &s->io);
	ev_io_set(&s->io, fd, events);
	ev_io_start(s->loop, &s->io);
}

/* Starts anew at each answer; stands still while nothing is awaited. */
void
store_watch_silence(struct store *s)
{
	if (s->state != STORE_UP)
		return;
	s->deadline.repeat = s->sent.head ? SILENCE_S : 0.;
	ev_timer_again(s->loop, &s->deadline);
}

static void
append_setup(struct store *s, enum op_kind kind, enum sql_id id, const char *channel)
{
	struct op *op = store_op_new(kind, id, NULL, 0);

	op->channel = channel;
	op_append(&s->waiting, op);
}

static void
begin_setup(struct store *s)
{
	if (PQsetnonblocking(s->conn, 1) < 0 || !PQenterPipelineMode(s->conn)) {
		store_lost(s, PQerrorMessage(s->conn));
		return;
	}
	s->state = STORE_SETUP;
	for (size_t i = 0; s->statements[i] != SQL_NONE; i++)
		append_setup(s, OP_PREPARE, s->statements[i], NULL);
	for (size_t i = 0; s->channels[i]; i++)
		append_setup(s, OP_LISTEN, SQL_NONE, s->channels[i]);
	append_setup(s, OP_SETUP_END, SQL_NONE, NULL);
	store_pump(s);
}

void
store_setup_done(struct store *s)
{
	s->state = STORE_UP;
	s->backoff_s = BACKOFF_MIN_S;
	ev_timer_stop(s->loop, &s->deadline);
	log_info(
	    LOG_STORE, "%s: connected to the database, backend %d", s->role, PQbackendPID(s->conn));
	if (s->hooks.on_up)
		s->hooks.on_up(s, s->hooks.arg);
}

static void
poll_connection(struct store *s)
{
	switch (PQconnectPoll(s->conn)) {
	case PGRES_POLLING_READING:
		store_want(s, EV_READ);
		break;
	case PGRES_POLLING_WRITING:
		store_want(s, EV_WRITE);
		break;
	case PGRES_POLLING_OK:
		begin_setup(s);
		break;
	default:
		store_lost(s, PQerrorMessage(s->conn));
	}
}

static void
on_io(struct ev_loop *loop, ev_io *w, int revents)
{
	struct store *s = w->data;

	(void)loop;
	store_enter(s);
	if (s->state == STORE_CONNECTING) {
		/* libpq may close and open sockets in there: the watcher must not outlive its fd. */
		ev_io_stop(s->loop, &s->io);
		poll_connection(s);
	} else {
		if (revents & EV_READ)
			store_read(s);
		if ((revents & EV_WRITE) && s->conn)
			store_pump(s);
	}
	store_leave(s);
}

static void
on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct store *s = w->data;
	const char *keys[] = {"dbname", "user", "application_name", "client_encoding", "options",
	    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
	    "tcp_user_timeout", "target_session_attrs", NULL};
	const char *values[] = {s->conninfo, s->role, s->role, "UTF8",
	    s->use_generic_plans ? SESSION_OPTIONS GENERIC_PLANS : SESSION_OPTIONS CUSTOM_PLANS,
	    "1", "5", "5", "2", "15000", "read-write", NULL};

	(void)revents;
	store_enter(s);
	s->conn = PQconnectStartParams(keys, values, 1);
	if (!s->conn)
		log_fatal(LOG_STORE, "out of memory");
	s->state = STORE_CONNECTING;
	PQsetNoticeProcessor(s->conn, on_notice, NULL);
	ev_timer_set(&s->deadline, CONNECT_S, 0.);
	ev_timer_start(loop, &s->deadline);
	if (PQstatus(s->conn) == CONNECTION_BAD)
		store_lost(s, PQerrorMessage(s->conn));
	else
		store_want(s, EV_WRITE);
	store_leave(s);
}

static void
on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct store *s = w->data;

	(void)loop;
	(void)revents;
	store_enter(s);
	store_lost(
	    s, s->state == STORE_UP ? "the server keeps silent" : "connecting took too long");
	store_leave(s);
}

void
store_connect_init(struct store *s)
{
	s->backoff_s = BACKOFF_MIN_S;
	ev_init(&s->io, on_io);
	ev_timer_init(&s->retry, on_retry, 0., 0.);
	ev_init(&s->deadline, on_deadline);
	s->io.data = s->retry.data = s->deadline.data = s;
	ev_timer_start(s->loop, &s->retry);
}

void
store_connect_stop(struct store *s)
{
	ev_timer_stop(s->loop, &s->retry);
	drop_connection(s);
}
