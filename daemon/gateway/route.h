// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The route table that tools/gen-routes makes from openapi.yaml, and how a request finds its row.
 * Paths are below /api/v1; parameters and bodies are checked against the contract's own schemas
 * before anything else sees them.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

#include "sql/sql.h"

struct request;

/*
 * Code around a route's statement. prepare() runs before it (after `read`, if the route names one)
 * and may fill request.prepared; finish() runs after it and may replace its answer. Each returns 0,
 * or a negative code with *e filled: ERR_INVALID becomes 422, ERR_NOT_FOUND 404, ... A hook of a
 * route without a statement answers in prepare().
 */
struct hook {
	int (*prepare)(struct request *, struct err *e);
	int (*finish)(struct request *, json_t *answer, struct err *e);
};

enum param_kind { PARAM_TEXT, PARAM_INT, PARAM_BOOL };

struct param {
	const char *name; /* NULL ends the list */
	enum param_kind kind;
	bool is_path;
	const char *dflt; /* JSON text, or NULL */
};

struct route {
	const char *method, *path, *name;
	int rank;         /* 0 no token, 1 viewer, 2 operator, 3 admin */
	enum sql_id sql;  /* SQL_NONE: the hook answers */
	enum sql_id read; /* run first, its answer goes into request.before */
	const struct hook *hook;
	const struct param *params;
	const char *path_schema, *query_schema, *body_schema; /* JSON; body_schema NULL: no body */
	bool needs_body, takes_merge_patch, needs_if_match, takes_if_match, takes_idempotency_key;
};

extern const struct route routes[];
extern const unsigned routes_n;
extern const char openapi_yaml[], asyncapi_yaml[];

/* Parse all schemas once; an unusable one is a bug in the contract and ends the process. */
void route_init(void);
void route_fini(void);

/*
 * The row for method and path; path parameters go into *path (an object, owned by the caller).
 * NULL: *allow is "" if there is no such path, else the methods that it has ("GET, POST").
 */
const struct route *route_find(
    const char *method, const char *path, json_t **params, char allow[64]);

/* Turn the texts in obj into what the contract says they are, add defaults, check against the schema. */
int route_check_path(const struct route *, json_t *path, struct err *e);
int route_check_query(const struct route *, json_t *query, struct err *e);
int route_check_body(const struct route *, const json_t *body, struct err *e);
/* Is doc what POST /tasks takes? For documents that are made here. */
int route_check_task(const json_t *doc, struct err *e);
