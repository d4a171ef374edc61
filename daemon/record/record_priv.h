// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Shared by the files of this directory: what waits to be committed, and the making of events. */
#pragma once

#include <ev.h>
#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/id.h"

#include "daemon/engine/runs.h"

struct engine;

struct chunk {
	char run_id[UUID_LEN + 1];
	int attempt, no, raw_b;
	int64_t epoch, off;
	struct buf data;
};

/* A run's element in the arrays of sql/engine/record.sql. */
struct run_row {
	char run_id[UUID_LEN + 1];
	int64_t epoch;
	int attempt, delay_s;
	int64_t age_us;                /* since the attempt's start; -1: it did not start now */
	const char *was, *state, *end; /* end NULL: it goes on */
	const char *attempt_state, *error_class; /* NULL: the attempt goes on; no error */
	char *error, *summary, *items;           /* JSON */
	unsigned n;                              /* items */
	bool is_moved;                           /* it passed the compare-and-set */
	bool has_unit;                           /* the run's only unit has something to tell */
	const char *unit_state;                  /* NULL: it goes on */
	char *result, *snapshot_id;
	int64_t journal_off, output_b, output_cut_b;
};

struct record {
	struct engine *engine;
	struct run *dirty;
	struct chunk *chunks;
	size_t chunks_n, chunks_cap, bytes;
	json_t *host_keys; /* array or NULL */
	unsigned frames;
	json_t *refusals; /* object: unit or run id -> times it was refused (refusal.h) */
	int64_t narrow_until_ms;
	char refused_by[6]; /* SQLSTATE */
	struct ev_timer flush;
	double flushed_at; /* by the loop's clock */
};

/* Append an event to the run; members are added to the text that is returned, then it is closed. */
struct buf *event_open(struct run *, const char *type, const char *severity);
/* event_open with the unit's number and device. */
struct buf *event_open_unit(struct unit *, const char *type, const char *severity);
void event_close(struct run *);
/* set_str leaves empty values out. */
void set_str(json_t *obj, const char *key, const char *value);
void set_int(json_t *obj, const char *key, int64_t value);

void record_touch_unit(struct engine *, struct unit *);
/* The event `output`: there is more of it now. */
void output_tell(struct unit *);
/* The outcome is in u->outcome: make its event. */
void unit_finish(struct engine *, struct unit *);
/* Since its start by this host's clock, for the stored start times; 0: unknown, or the clock was set. */
int64_t unit_age_us(const struct unit *);
/* True if the unit's result has to wait for its snapshot, which is on its way. */
bool snapshot_put(struct engine *, struct unit *, int64_t at_us);
/* The run's row of the batch but for its unit: its moves, verdict and events. Changes the run's
 * memory to what the database holds once the batch is committed. */
void verdict_row(struct run *, struct run_row *);
/* "passed", "failed", …: what a unit's row says. */
const char *unit_state_name(const struct unit *);
