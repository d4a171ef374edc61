// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The REST client. A call that fails has already told the user why (field, value, remedy out of
 * problem+json), so commands just return its exit code.
 */
#pragma once

#include "base/buf.h"

#include "cli/cli.h"

struct reply {
	long status;
	struct buf body;
	json_t *json; /* parsed body when it is JSON, else NULL */
	char etag[128];
};

void reply_fini(struct reply *r);
#define _cleanup_reply_ _cleanup_(reply_fini)

/* Headers of a call; all optional. */
struct call {
	const char *if_match;
	const char *idempotency_key;
	const char *content_type; /* default application/json when there is a body */
	bool is_quiet;            /* do not print the error */
};

/*
 * path begins with "/" and is below /api/v1 (a path that begins with "/healthz" or "/api" is taken
 * as it is). body NULL: none. Returns CLI_OK for 2xx; the reply is filled whenever there was one.
 */
int api_send(struct cli *c, const char *method, const char *path, const void *body, size_t n,
    const struct call *call, struct reply *out);
int api_get(struct cli *c, const char *path, struct reply *out);
/* body may be NULL. */
int api_json(
    struct cli *c, const char *method, const char *path, const json_t *body, struct reply *out);

/* All items of a list, page by page, at most max (0: all). *out is an array, the caller's. */
int api_list(struct cli *c, const char *path, size_t max, json_t **out);

/* s as a path or query component; caller frees. */
char *api_escape(const char *s);
