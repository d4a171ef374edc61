// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Bounded JSON on top of jansson. Every document from outside goes through json_parse(): jansson's
 * own nesting limit is 2048 and cannot be set, so size, depth and token count are checked first.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct json_limits {
	size_t size_b;
	unsigned depth;
	unsigned tokens;
};

extern const struct json_limits json_limits_request; /* 1 MiB, 32 deep, 20,000 tokens */
extern const struct json_limits
    json_limits_frame; /* 16 MiB, 32 deep, 200,000 tokens: from our own processes */

/* Parse; duplicate names, U+0000 and trailing text are errors. NULL and *e on failure. Caller owns. */
json_t *json_parse(const char *p, size_t n, const struct json_limits *limits, struct err *e);

/* Compact text, malloc'ed; never NULL. */
char *json_text(const json_t *j);

/* Members with a default; wrong types count as absent. Results borrowed from obj. */
const char *json_get_str(const json_t *obj, const char *key, const char *dflt);
int64_t json_get_int(const json_t *obj, const char *key, int64_t dflt);
int json_get_bool(const json_t *obj, const char *key, int dflt);

static inline void
cleanup_json(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ _cleanup_(cleanup_json)
