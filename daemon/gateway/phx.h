// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Phoenix Channels' frames: 2.0.0 is `[join_ref, ref, topic, event, payload]`, 1.x an object without
 * join_ref. Pure; used by socket.c and channel_join.c.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

#define PHX_FRAME_MAX_B (64 * 1024)

struct phx {
	const char *join_ref, *ref; /* NULL if null */
	const char *topic, *event;
	const json_t *payload;
	json_t *root; /* owns all of the above */
};

/* phx_fini() when done, also after a failure. */
int phx_parse(const char *p, size_t n, bool is_v1, struct phx *out, struct err *e);
void phx_fini(struct phx *);

/* Append one frame. topic, event and refs are JSON texts already (phx_quote); refs may be NULL. */
void phx_write(struct buf *out, bool is_v1, const char *join_ref, const char *ref,
    const char *topic, const char *event, const char *payload);
/* A string as JSON text, malloc'ed; NULL gives NULL. */
char *phx_quote(const char *s);
