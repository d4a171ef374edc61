// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A fact is an element of a row of takt.event_batch: the events that one commit added to one run,
 * with the text that clients get of each already made. Made once, shared by every channel that waits
 * to send it.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/jsonx.h"

#include "daemon/gateway/cursor.h"

/* For the events of a commit, as the database gives them: what plugins said may be large and deep. */
extern const struct json_limits fact_limits;

struct fact {
	unsigned refs;
	char run[40], task[40];
	int no;
	int64_t inc, seq; /* its place in the feed */
	int64_t first;    /* number of its first event in the run */
	char *before,
	    *after; /* cursor entries of nodes with lower and higher numbers when it was read */
	size_t size_b;
	unsigned n; /* 0: they could not be read */
	struct {
		char *type;
		char *head; /* the payload's JSON up to its cursor */
	} items[];
};

struct fact *fact_new(const char *run, const char *task, int no, int64_t inc, int64_t seq,
    int64_t first, const json_t *items);
struct fact *fact_get(struct fact *);
void fact_put(struct fact *);
/* Remember what else has been seen when this fact is. */
void fact_set_place(struct fact *, const struct cursor *others);
/* The cursor after the fact's first k items, appended. before and after as in struct fact, or NULL for the fact's own. */
void fact_cursor(
    const struct fact *, unsigned k, const char *before, const char *after, struct buf *out);

/*
 * Put facts, given in the order (no, inc, seq), into an order that keeps each node's stream and in
 * which a run's events go by their numbers. Such an order exists: it is that of the commits.
 */
void facts_order(struct fact **facts, unsigned n);
