// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Inside of the gateway: what its files share. One process, one thread, one loop; libwebsockets,
 * both database connections and all timers are its clients, and nothing blocks.
 *
 * Invariant: strangers' bytes reach SQL only as parameters, and always behind takt.session() in the
 * same transaction, so the database decides what the caller may see and do.
 */
#pragma once

#include <ev.h>
#include <jansson.h>
#include <libwebsockets.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#include "daemon/main/conf.h"
#include "daemon/store/store.h"

#define BODY_MAX_B (1024 * 1024)
#define TOKEN_MAX 72
#define CONNS_MAX 8192     /* or fewer, if the system allows us fewer descriptors */
#define DB_DEPTH_MAX 3000u /* statements waiting in the database before requests are refused */

struct request;
struct sock;
struct feed;

struct gateway {
	struct ev_loop *loop;
	const struct conf *conf;
	struct lws_context *lws;
	struct store *db; /* as takt_gateway, under each caller's token */
	struct feed *feed;
	struct request *awaiting; /* commands that the engine has not answered */
	struct sock *socks;
	unsigned conns, conns_max;
	bool is_stopping;
	unsigned drains;
	ev_signal term, intr, hup;
	ev_timer drain, socks_check;
};

/* What libwebsockets keeps for each connection. */
struct session {
	struct request *req;
	struct sock *sock;
};

/* http.c: the server side of HTTP/1.1. */
int http_event(struct gateway *, struct lws *, enum lws_callback_reasons, struct session *,
    const char *in, size_t n);
/* A header as a malloc'ed string, NULL if absent or longer than max. */
char *http_header(struct lws *, enum lws_token_indexes, size_t max);
/* The value of a query parameter, NULL if absent. */
char *http_query_value(struct lws *, const char *name, size_t max);
/* UTF-8, and not empty: what neither JSON nor the database takes is refused before it gets there. */
bool http_is_text(const char *s);
/* The text behind "Bearer ", NULL if the header is absent or something else. */
char *http_bearer(struct lws *);

/* socket.c: WebSocket connections. */
int socket_event(struct gateway *, struct lws *, enum lws_callback_reasons, struct session *,
    const char *in, size_t n);
/* May this upgrade go on? Answers and returns -1 if not. */
int socket_filter(struct gateway *, struct lws *);
void socket_check_tokens(struct gateway *);
/* Ask all sockets to close with 1012. */
void socket_drain(struct gateway *);

/* command.c: answers of the engine. */
void command_await(struct request *, const char *command_id);
/* A notification on takt_answer; payload may name a command. */
void command_answered(struct gateway *);
void command_forget(struct request *);

/* catalog.c: what loaded plugins offer. */
void catalog_refresh(struct gateway *);
/* The descriptor of a task type, borrowed until the next turn of the loop; NULL if no loaded plugin offers it. */
const json_t *catalog_type(const char *id);
/* Names of all types with commas between, for hints. */
void catalog_names(struct buf *out);
void catalog_fini(void);

/* db_clock.c: seconds since 1970 by the database's clock; this host's until the database has answered once. */
int64_t db_clock_s(void);
void db_clock_refresh(struct gateway *);
void db_clock_start(struct gateway *);
void db_clock_stop(struct gateway *);
