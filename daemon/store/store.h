// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * One asynchronous PostgreSQL connection on a libev loop, in pipeline mode, with named statements
 * and a reconnect routine of its own (PQreset would forget LISTEN and prepared statements).
 * Engine and gateway each own theirs; nothing here blocks after store_open().
 *
 * A transaction is what lies between two store_sync() calls: the server runs it as one implicit
 * transaction and commits it at the Sync. Statements are named files under sql/ (see sql/sql.h,
 * generated); no SQL text is put together at run time.
 *
 * Callbacks run from the loop, in the order sent. When a statement fails, its callback gets the
 * error, the callbacks behind it up to the sync get ERR_CONFLICT "aborted", and the sync callback
 * gets the first error. When the connection is lost every waiting callback gets ERR_TRANSIENT
 * (the transaction's fate is in doubt: callers must be able to redo it by compare-and-set), then
 * on_down is called once; after the reconnect on_up.
 */
#pragma once

#include <ev.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/failpoint.h"

#include "sql/sql.h" /* enum sql_id, generated from the files under sql/ */

struct store;

struct store_hooks {
	void (*on_up)(struct store *, void *arg);   /* connected, prepared, listening */
	void (*on_down)(struct store *, void *arg); /* connection gone; reconnecting by itself */
	void (*on_notify)(struct store *, void *arg, const char *channel, const char *payload);
	void *arg;
};

struct store_conf {
	const char *conninfo;          /* without user */
	const char *role;              /* takt_engine, takt_gateway, takt_feed */
	const char *const *channels;   /* NULL-terminated LISTEN list, or NULL */
	const enum sql_id *statements; /* prepared at each connect; ended by SQL_NONE */
	bool use_generic_plans;        /* engine, feed: true; gateway: false (custom plans) */
};

/* A parameter in text format; p NULL is SQL null. Binary (bytea) when is_binary. */
struct store_param {
	const char *p;
	int n;
	bool is_binary;
};

#define STORE_TEXT(s) ((struct store_param){.p = (s)})
#define STORE_NULL ((struct store_param){.p = NULL})
#define STORE_BYTES(ptr, len) \
	((struct store_param){.p = (const char *)(ptr), .n = (int)(len), .is_binary = true})

/* res is NULL exactly when e is not; res is valid during the call only. Text format columns. */
typedef void store_cb(void *arg, const PGresult *res, const struct err *e);

/* Starts connecting; never fails for an absent server (on_up comes later). Strings are copied. */
struct store *store_open(struct ev_loop *, const struct store_conf *, const struct store_hooks *);
/* Waiting callbacks get ERR_TRANSIENT from inside this call; what they send then is dropped. May be
 * called from a callback. */
void store_close(struct store *);
bool store_is_up(const struct store *);

/* Queue one statement of the current transaction. Parameters are copied. cb may be NULL.
 * When the store is down, cb gets ERR_TRANSIENT from the loop (never from inside this call). */
void store_send(
    struct store *, enum sql_id, const struct store_param *params, int n, store_cb *cb, void *arg);
/* End the transaction; cb (may be NULL) learns of the commit: res is a PGRES_PIPELINE_SYNC result. */
void store_sync(struct store *, store_cb *cb, void *arg);
/*
 * Failpoints (base/failpoint.h): the transactions whose sync is sent from now on are NAME's, until
 * another name or NULL; store_point_once: the next one only. Points are NAME.send, NAME.sent and
 * NAME.committed. Names are borrowed for good.
 */
#ifdef HAVE_FAILPOINTS
void store_point(struct store *, const char *name);
void store_point_once(struct store *, const char *name);
#define STORE_POINT(s, name) store_point(s, name)
#define STORE_POINT_ONCE(s, name) store_point_once(s, name)
#else
#define STORE_POINT(s, name) ((void)0)
#define STORE_POINT_ONCE(s, name) ((void)0)
#endif

/* Statements sent and not answered. */
unsigned store_depth(const struct store *);

/* Column helpers: by name; NULL / dflt when the value is SQL null. A missing column is a bug. */
const char *store_str(const PGresult *, int row, const char *column);
int64_t store_int(const PGresult *, int row, const char *column, int64_t dflt);
bool store_bool(const PGresult *, int row, const char *column);

/* Blocking, for start-up tools (taktd --migrate, takt dev): apply missing migrations as takt_owner. */
int store_migrate(const char *conninfo, struct err *e);
