// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See store.h. Sending is put off to the end of the loop's turn, so that what several callbacks
 * add goes out in one write; what the socket does not take stays in our own list, so that libpq's
 * buffer stays bounded.
 */
#include "daemon/store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

#include "daemon/store/store_priv.h"

#include "base/banned.h"

#define FLUSH_EVERY 64 /* statements handed to libpq between two looks at the socket */

void
op_list_init(struct op_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

void
op_append(struct op_list *l, struct op *op)
{
	op->next = NULL;
	*l->tail = op;
	l->tail = &op->next;
}

struct op *
op_pop(struct op_list *l)
{
	struct op *op = l->head;

	if (op && !(l->head = op->next))
		l->tail = &l->head;
	return op;
}

static void
op_concat(struct op_list *to, struct op_list *from)
{
	if (from->head) {
		*to->tail = from->head;
		to->tail = from->tail;
	}
	op_list_init(from);
}

static size_t
param_size(const struct store_param *p)
{
	return !p->p ? 0 : p->is_binary ? (size_t)p->n + 1 : strlen(p->p) + 1;
}

/* The operation, its three arrays and the parameters' bytes are one block. */
struct op *
store_op_new(enum op_kind kind, enum sql_id id, const struct store_param *params, int n)
{
	size_t count = (size_t)n,
	       size = sizeof(struct op) + count * (sizeof(char *) + 2 * sizeof(int));
	struct op *op;
	char *bytes;

	for (int i = 0; i < n; i++)
		size += param_size(&params[i]);
	op = xmalloc(size);
	*op = (struct op){.kind = kind, .id = id, .n = n};
	op->values = (const char **)(op + 1);
	op->lengths = (int *)(op->values + count);
	op->formats = op->lengths + count;
	bytes = (char *)(op->formats + count);
	for (int i = 0; i < n; i++) {
		size_t len = param_size(&params[i]);

		op->values[i] = params[i].p ? bytes : NULL;
		op->formats[i] = params[i].is_binary;
		op->lengths[i] = len ? (int)len - 1 : 0;
		if (!len)
			continue;
		memcpy(bytes, params[i].p, len - 1);
		bytes[len - 1] = 0;
		bytes += len;
	}
	return op;
}

void
store_enter(struct store *s)
{
	s->busy++;
}

static void
store_free(struct store *s)
{
	for (size_t i = 0; s->channels && s->channels[i]; i++)
		free(s->channels[i]);
	free(s->channels);
	free(s->statements);
	free(s->conninfo);
	free(s->role);
	s->magic = 0;
	free(s);
}

void
store_leave(struct store *s)
{
	if (!--s->busy && s->is_closed)
		store_free(s);
}

void
store_kick(struct store *s)
{
	if (!s->is_closed)
		ev_idle_start(s->loop, &s->kick);
}

/* The one place where callbacks of statements run. */
static void
finish(struct store *s, struct op *op, const PGresult *res, const struct err *e)
{
	store_cb *cb = take_ptr(&op->cb); /* a callback may close the store, which frees op */

	s->depth -= op->kind == OP_QUERY || op->kind == OP_SYNC;
	if (cb)
		cb(op->arg, e ? NULL : res, e);
}

static void
fail_list(struct store *s, struct op_list *list, const struct err *why)
{
	struct op_list mine = *list;
	struct op *op;

	if (!list->head)
		return;
	op_list_init(list); /* a callback may send again */
	while ((op = op_pop(&mine))) {
		if (!op->is_answered)
			finish(s, op, NULL, why);
		free(op);
	}
}

void
store_fail_all(struct store *s, const struct err *why)
{
	struct op_list all;

	op_list_init(&all);
	op_concat(&all, &s->failed);
	op_concat(&all, &s->sent);
	op_concat(&all, &s->waiting);
	s->is_tx_doomed = s->is_tx_open;
	s->first_error = (struct err)ERR_INIT;
	fail_list(s, &all, why);
}

static int
send_one(struct store *s, const struct op *op)
{
	const struct sql_statement *sql = &sql_statements[op->id];
	char listen[80];

	switch (op->kind) {
	case OP_QUERY:
		return PQsendQueryPrepared(
		    s->conn, sql->name, op->n, op->values, op->lengths, op->formats, 0);
	case OP_PREPARE:
		return PQsendPrepare(s->conn, sql->name, sql->text, 0, NULL);
	case OP_LISTEN: /* LISTEN takes no parameter; the names are constants of ours */
		snprintf(listen, sizeof(listen), "listen %s", op->channel);
		return PQsendQueryParams(s->conn, listen, 0, NULL, NULL, NULL, NULL, 0);
	case OP_SYNC:
	case OP_SETUP_END:
		return PQpipelineSync(s->conn);
	}
	return 0;
}

#ifdef HAVE_FAILPOINTS
void
store_point(struct store *s, const char *name)
{
	s->point = name;
}

void
store_point_once(struct store *s, const char *name)
{
	s->point_once = name;
}

/* Everything of the transaction is queued and, as sending waits for the turn's end, not sent. */
static void
point_send(struct store *s, struct op *sync)
{
	sync->point = s->point_once ? s->point_once : s->point;
	s->point_once = NULL;
	if (sync->point)
		failpoint_hit2(sync->point, ".send");
}

static void
point_flushed(struct store *s)
{
	for (struct op *op = s->sent.head; op; op = op->next)
		if (op->point && !op->is_flushed) {
			op->is_flushed = true;
			failpoint_hit2(op->point, ".sent");
		}
}

static void
point_answered(const struct op *sync, const struct err *e)
{
	if (sync->point && !e)
		failpoint_hit2(sync->point, ".committed");
}
#else
#define point_send(s, sync) ((void)0)
#define point_flushed(s) ((void)0)
#define point_answered(sync, e) ((void)0)
#endif

/* Hand over what waits until the socket is full; then EV_WRITE calls again. */
void
store_pump(struct store *s)
{
	int unsent = 0;

	for (int i = 0; s->waiting.head && unsent == 0; i++) {
		struct op *op = op_pop(&s->waiting);

		op_append(&s->sent, op);
		if (!send_one(s, op)) {
			store_lost(s, PQerrorMessage(s->conn));
			return;
		}
		if (i % FLUSH_EVERY == FLUSH_EVERY - 1)
			unsent = PQflush(s->conn);
	}
	if (unsent == 0)
		unsent = PQflush(s->conn);
	if (unsent < 0) {
		store_lost(s, PQerrorMessage(s->conn));
		return;
	}
	if (unsent == 0)
		point_flushed(s);
	store_want(s, unsent ? EV_READ | EV_WRITE : EV_READ);
	store_watch_silence(s);
}

static void
on_kick(struct ev_loop *loop, ev_idle *w, int revents)
{
	struct store *s = w->data;
	struct err e = ERR_INIT;

	(void)revents;
	ev_idle_stop(loop, w);
	store_enter(s);
	if (s->failed.head) {
		err_set(&e, ERR_TRANSIENT, "the database is not reachable");
		err_hint(&e, "Takt reconnects by itself; see the log for the reason.");
		fail_list(s, &s->failed, &e);
	}
	if (!s->is_closed && (s->state == STORE_UP || s->state == STORE_SETUP))
		store_pump(s);
	store_leave(s);
}

static void
answer_failed(struct store *s, struct op *op, const PGresult *res)
{
	struct err e = ERR_INIT;

	store_error(res, &e);
	if (op->kind == OP_PREPARE || op->kind == OP_LISTEN)
		log_error(LOG_STORE, "preparing %s as %s: %s %s",
		    op->kind == OP_PREPARE ? sql_statements[op->id].name : op->channel, s->role,
		    e.field, e.message);
	else if (e.code == ERR_BUG)
		log_error(LOG_STORE, "statement %s: %s %s",
		    op->id ? sql_statements[op->id].name : "sync", e.field, e.message);
	if (!s->first_error.code)
		s->first_error = e;
	if (op->kind == OP_SYNC || op->kind == OP_SETUP_END)
		return; /* the commit itself failed: PIPELINE_SYNC follows and is the answer */
	op->is_answered = true;
	finish(s, op, NULL, &e);
}

static void
answer_sync(struct store *s, struct op *op, const PGresult *res)
{
	struct err e = s->first_error;

	op_pop(&s->sent);
	s->first_error = (struct err)ERR_INIT;
	point_answered(op, e.code ? &e : NULL);
	if (op->kind == OP_SYNC)
		finish(s, op, res, e.code ? &e : NULL);
	else if (e.code)
		store_lost(s, "the session could not be set up");
	else
		store_setup_done(s);
	free(op);
}

static void
answer(struct store *s, struct op *op, const PGresult *res)
{
	struct err e = ERR_INIT;

	switch (PQresultStatus(res)) {
	case PGRES_PIPELINE_SYNC:
		answer_sync(s, op, res);
		break;
	case PGRES_PIPELINE_ABORTED:
		err_set(&e, ERR_CONFLICT, "aborted");
		op->is_answered = true;
		finish(s, op, NULL, &e);
		break;
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
	case PGRES_EMPTY_QUERY:
		op->is_answered = true;
		finish(s, op, res, NULL);
		break;
	default:
		answer_failed(s, op, res);
	}
}

/*
 * Each statement is answered by one result and a NULL; a sync by one result alone. Two NULLs in a
 * row: libpq has nothing more to give.
 */
static void
read_answers(struct store *s)
{
	unsigned nulls = 0;

	while (s->conn && s->sent.head && nulls < 2 && !PQisBusy(s->conn)) {
		PGresult *res = PQgetResult(s->conn);

		if (!res) {
			nulls++;
			if (s->sent.head->is_answered)
				free(op_pop(&s->sent));
			continue;
		}
		nulls = 0;
		answer(s, s->sent.head, res);
		PQclear(res);
	}
}

static void
read_notifications(struct store *s)
{
	PGnotify *n;

	while (s->conn && (n = PQnotifies(s->conn))) {
		if (s->hooks.on_notify)
			s->hooks.on_notify(s, s->hooks.arg, n->relname, n->extra);
		PQfreemem(n);
	}
}

void
store_read(struct store *s)
{
	bool is_alive = PQconsumeInput(s->conn);

	read_answers(s); /* of a dead connection too: what came before the end is true */
	read_notifications(s);
	if (!s->conn)
		return;
	if (!is_alive || PQstatus(s->conn) == CONNECTION_BAD) {
		store_lost(s, PQerrorMessage(s->conn));
		return;
	}
	store_watch_silence(s);
}

static void
copy_conf(struct store *s, const struct store_conf *conf)
{
	size_t n = 0;

	s->conninfo = xstrdup(conf->conninfo);
	s->role = xstrdup(conf->role);
	s->use_generic_plans = conf->use_generic_plans;
	while (conf->channels && conf->channels[n])
		n++;
	s->channels = xcalloc(n + 1, sizeof(*s->channels));
	for (size_t i = 0; i < n; i++)
		s->channels[i] = xstrdup(conf->channels[i]);
	for (n = 0; conf->statements && conf->statements[n] != SQL_NONE; n++)
		s->is_prepared[conf->statements[n]] = true;
	s->statements = xcalloc(n + 1, sizeof(*s->statements));
	if (n)
		memcpy(s->statements, conf->statements, n * sizeof(*s->statements));
}

struct store *
store_open(struct ev_loop *loop, const struct store_conf *conf, const struct store_hooks *hooks)
{
	struct store *s = xcalloc(1, sizeof(*s));

	s->magic = STORE_MAGIC;
	s->loop = loop;
	if (hooks)
		s->hooks = *hooks;
	copy_conf(s, conf);
	op_list_init(&s->waiting);
	op_list_init(&s->sent);
	op_list_init(&s->failed);
	ev_idle_init(&s->kick, on_kick);
	ev_set_priority(&s->kick, EV_MAXPRI); /* each turn of the loop, busy or not */
	s->kick.data = s;
	store_connect_init(s);
	return s;
}

void
store_close(struct store *s)
{
	struct err e = ERR_INIT;

	if (!s || s->is_closed)
		return;
	s->is_closed = true;
	store_enter(s);
	store_connect_stop(s);
	ev_idle_stop(s->loop, &s->kick);
	err_set(&e, ERR_TRANSIENT, "the database connection was closed");
	while (s->waiting.head || s->sent.head || s->failed.head)
		store_fail_all(s, &e);
	store_leave(s);
}

bool
store_is_up(const struct store *s)
{
	return s->state == STORE_UP;
}

unsigned
store_depth(const struct store *s)
{
	return s->depth;
}

/*
 * A transaction of which a part was lost fails as a whole: its tail must not be executed alone
 * when the connection comes back in between.
 */
static void
enqueue(struct store *s, struct op *op, store_cb *cb, void *arg)
{
	if (s->magic != STORE_MAGIC)
		log_bug(LOG_STORE, "use of a store that was closed");
	if (s->is_closed) { /* by a callback that store_close() itself runs */
		free(op);
		return;
	}
	op->cb = cb;
	op->arg = arg;
	s->depth++;
	if (s->state != STORE_UP)
		s->is_tx_doomed = true;
	op_append(s->is_tx_doomed ? &s->failed : &s->waiting, op);
	s->is_tx_open = op->kind != OP_SYNC;
	if (!s->is_tx_open)
		s->is_tx_doomed = false;
	store_kick(s);
}

void
store_send(struct store *s, enum sql_id id, const struct store_param *params, int n, store_cb *cb,
    void *arg)
{
	if (id <= SQL_NONE || id >= SQL_COUNT || !s->is_prepared[id])
		log_bug(LOG_STORE, "statement %d is not among those of %s", (int)id, s->role);
	if (n != sql_statements[id].n_params)
		log_bug(LOG_STORE, "statement %s takes %d parameters, got %d",
		    sql_statements[id].name, sql_statements[id].n_params, n);
	enqueue(s, store_op_new(OP_QUERY, id, params, n), cb, arg);
}

void
store_sync(struct store *s, store_cb *cb, void *arg)
{
	struct op *op = store_op_new(OP_SYNC, SQL_NONE, NULL, 0);

	point_send(s, op);
	enqueue(s, op, cb, arg);
}

static const char *
column(const PGresult *res, int row, const char *name)
{
	/* Names are literals, and a result's rows are read one after the other: look where it was last. */
	static int8_t hints[256];
	int8_t *hint = &hints[((uintptr_t)name ^ (uintptr_t)name >> 8) % ARRAY_LEN(hints)];
	bool is_there = *hint < PQnfields(res) && strcmp(PQfname(res, *hint), name) == 0;
	int c = is_there ? *hint : PQfnumber(res, name);

	if (c >= 0 && c <= INT8_MAX)
		*hint = (int8_t)c;
	if (c < 0)
		log_bug(LOG_STORE, "the answer has no column '%s'", name);
	return PQgetisnull(res, row, c) ? NULL : PQgetvalue(res, row, c);
}

const char *
store_str(const PGresult *res, int row, const char *name)
{
	return column(res, row, name);
}

int64_t
store_int(const PGresult *res, int row, const char *name, int64_t dflt)
{
	const char *v = column(res, row, name);

	return v ? strtoll(v, NULL, 10) : dflt;
}

bool
store_bool(const PGresult *res, int row, const char *name)
{
	const char *v = column(res, row, name);

	return v && v[0] == 't';
}
