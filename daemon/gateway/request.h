// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * One HTTP request from its head to its answer:
 *
 *   request_new      the head was accepted by http.c
 *   request_body     bytes of the body
 *   request_start    all is here: route, checks, [read], hook.prepare, statement, hook.finish, answer
 *   request_gone     the connection closed; what is in flight finishes unseen
 *
 * A request is freed when its connection has let go of it and nothing of it is in the database.
 */
#pragma once

#include <ev.h>
#include <jansson.h>
#include <libwebsockets.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

#include "daemon/gateway/route.h"

struct gateway;

struct request {
	unsigned magic;
	unsigned refs;
	struct gateway *gw;
	struct lws *wsi; /* NULL when the connection is gone */
	const struct route *route;
	char id[17];
	char *method, *url; /* the path below /api/v1; never the query */
	char *token, *if_match, *idempotency_key, *content_type;
	json_t *path, *query, *body; /* checked */
	json_t *before;              /* answer of route->read */
	json_t *prepared;            /* by the hook, for the statement */
	struct buf raw;              /* the body's bytes */
	size_t body_b;               /* Content-Length */
	bool is_started, is_closing; /* is_closing: the connection ends with the answer */
	bool has_failed;             /* the answer is a problem already */
	bool is_unproven; /* the token was not looked at: what is wrong with the request waits */

	int sql_status; /* what the statement answered */
	char *sql_body, *etag;
	char await[40];

	struct request *next; /* in gateway.awaiting */
	ev_timer timer;
	char command[40];
	bool is_asking, is_asking_again;

	struct buf out; /* LWS_PRE, head, body */
	size_t out_off;
	bool is_answered;
	int status;
};

struct request *request_new(struct gateway *, struct lws *, const char *method, const char *url);
void request_start(struct request *);
void request_gone(struct request *);
void request_get(struct request *);
void request_put(struct request *);
/* Run the route's statement: hooks that had to wait for something call it. */
void request_execute(struct request *);
/* The statement's (or the engine's) answer is complete: finish and send it. body: JSON text or NULL. */
void request_finish(struct request *, int status, const char *body);

/* Answers, once for each request. */
void answer(struct request *, int status, const char *type, const void *body, size_t n);
void answer_json(struct request *, int status, const json_t *body);
void answer_problem(struct request *, int status, const char *code, const struct err *e);
/* With nothing but a sentence. */
void answer_refusal(struct request *, int status, const char *code, const char *fmt, ...)
    _printf_(4, 5);
/* Forget an answer that was held back because the caller is unproven. */
void answer_take_back(struct request *);
const char *status_title(int status);
