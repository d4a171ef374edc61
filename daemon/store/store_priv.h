// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Inside of the store: store.c holds the public calls and moves operations from waiting to sent to
 * answered, connect.c makes and loses the connection, sqlstate.c says what an SQLSTATE means.
 *
 * Invariant: an operation is in exactly one of the three lists, and its callback runs exactly once.
 */
#pragma once

#include "daemon/store/store.h"

#define STORE_MAGIC 0x73746f72u

enum store_state {
	STORE_DOWN,       /* waiting for the back-off timer */
	STORE_CONNECTING, /* PQconnectPoll */
	STORE_SETUP,      /* preparing and listening */
	STORE_UP,
};

enum op_kind { OP_QUERY, OP_SYNC, OP_PREPARE, OP_LISTEN, OP_SETUP_END };

/* One message to the server, in one block of memory with its parameters. */
struct op {
	struct op *next;
	enum op_kind kind;
	enum sql_id id;
	bool is_answered; /* its result came; the NULL that ends it has not */
	store_cb *cb;
	void *arg;
	int n;
	const char **values;
	int *lengths;
	int *formats;
	const char *channel; /* OP_LISTEN */
#ifdef HAVE_FAILPOINTS
	const char *point; /* OP_SYNC: whose transaction it ends, or NULL */
	bool is_flushed;
#endif
};

struct op_list {
	struct op *head, **tail;
};

struct store {
	unsigned magic;
	struct ev_loop *loop;
	struct store_hooks hooks;
	char *conninfo, *role;
	char **channels;
	enum sql_id *statements;
	bool use_generic_plans;
	bool is_prepared[SQL_COUNT]; /* those of the conf: what store_send() may name */

	enum store_state state;
	PGconn *conn;
	struct op_list waiting; /* not handed to libpq yet */
	struct op_list sent;    /* answers come in this order */
	struct op_list failed;  /* sent while down: told so from the loop */
	unsigned depth;
	bool is_tx_open;        /* something was sent since the last sync */
	bool is_tx_doomed;      /* ... and part of it is lost: all of it fails */
	struct err first_error; /* of the transaction whose answers are being read */

	ev_io io;
	ev_idle kick;      /* there is something to send or to fail */
	ev_timer retry;    /* the next attempt to connect */
	ev_timer deadline; /* of connecting, and of a silent server */
	double backoff_s;
#ifdef HAVE_FAILPOINTS
	const char *point, *point_once; /* of syncs to come */
#endif
	unsigned busy; /* callbacks running: store_close() waits for them */
	bool is_closed;
};

void op_list_init(struct op_list *);
void op_append(struct op_list *, struct op *);
struct op *op_pop(struct op_list *);

/* store.c, for connect.c */
struct op *store_op_new(enum op_kind, enum sql_id, const struct store_param *, int n);
void store_kick(struct store *);
void store_pump(struct store *);
void store_read(struct store *);
void store_fail_all(struct store *, const struct err *why);
void store_enter(struct store *);
void store_leave(struct store *); /* may free the store */

/* connect.c */
void store_connect_init(struct store *);
void store_connect_stop(struct store *);
void store_lost(struct store *, const char *what);
void store_want(struct store *, int events); /* watch the socket for EV_READ, EV_WRITE */
void store_setup_done(struct store *);
void store_watch_silence(struct store *);

/* sqlstate.c */
void store_error(const PGresult *, struct err *);
/* First line of libpq's text. */
void store_first_line(const char *text, char *out, size_t n);
