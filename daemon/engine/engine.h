// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What the engine's modules share: one loop, one database connection, and the gate.
 *
 * The gate: what writes events is a job, and one job is in flight at a time, but for a record and
 * a claim: they touch different runs, and the server executes them one after the other. So a
 * job may take the engine's memory for what the database holds, and feed numbers are in commit
 * order. A job that fails has changed nothing; the engine's memory of runs is never repaired, it
 * is dropped and read again (recovery).
 */
#pragma once

#include <ev.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"

#include "daemon/store/store.h"

struct conf;
struct link;
struct record;
struct runs;
struct seal_key;

/* In order of precedence when several want to run. */
enum engine_job {
	JOB_RECOVER,  /* read own runs, compare with the executor's units */
	JOB_RECORD,   /* commit what units reported */
	JOB_FENCED,   /* tell timelines of stale reports */
	JOB_COMMAND,  /* decide commands */
	JOB_RETRY,    /* queue retries whose time has come */
	JOB_EXPIRE,   /* end runs that were not started in time */
	JOB_SCHEDULE, /* decide about due times */
	JOB_REPLAN,   /* compute next times anew */
	JOB_RESCUE,   /* take over the runs of a dead node */
	JOB_CLAIM,    /* take queued runs */
	JOB_COUNT
};

struct engine {
	struct ev_loop *loop;
	const struct conf *conf;
	struct store *store;
	struct link *link;     /* to the executor */
	struct runs *runs;     /* runs with an open attempt on this node */
	struct record *record; /* what units reported and is not committed */
	struct seal_key *seal;
	json_t *fenced;   /* record's: stale reports to tell of, or NULL */
	json_t *plugins;  /* dispatch's: the executor's PLUGIN frames by file */
	json_t *types;    /* task type id -> its descriptor, of loaded plugins only */
	json_t *policies; /* queue's: definitions of runs by run.policy_key */
	json_t *listed;   /* the executor's UNIT frames since its HELLO */
	/* Upward calls, set by engine_main.c: units wait to be started; slots may be free; a run of ours went to
	 * cancelling. */
	void (*on_units_new)(struct engine *);
	void (*on_units_done)(struct engine *);
	void (*on_run_cancelling)(struct engine *, const char *run_id, const char *reason);

	struct uuid node_id;
	int64_t node_epoch; /* 0 until the node row is ours */
	unsigned max_units;

	bool is_node_up;       /* this connection holds the node's lock and incarnation */
	bool is_listed;        /* the executor has said all it holds */
	bool takes_input_text; /* the executor takes a START whose input is its blob */
	bool is_recovered;     /* runs holds every own run with an open attempt */
	bool is_draining;      /* claims nothing, as its row says */
	bool is_stopping;
	bool has_new_events; /* commits since the last link of their chain */
	unsigned generation; /* +1 whenever the memory of runs is dropped */

	unsigned in_flight, wanted;                 /* bit sets of jobs */
	int64_t lease_sent_ms, lease_acked_sent_ms; /* BOOTTIME */
	bool is_lease_asked;                        /* a renewal is on its way */

	struct conf *own_conf; /* from a reload; NULL before the first */
	struct ev_signal term, intr, hup;
	struct ev_timer stop_check;
	int64_t stop_at_ms; /* MONOTONIC */
};

/* Ask for a job; it starts as soon as the gate is free. Safe to call from anywhere. */
void engine_want(struct engine *, enum engine_job);
/* The job is over. When it failed it is asked for again after a pause. */
void engine_done(struct engine *, enum engine_job, const struct err *err);
/* What the database holds of our runs is unknown: drop the memory, connect to the executor anew. */
void engine_resync(struct engine *, const char *why);
/* May something new be begun? True while the lease is held for certain: 20 s since the sending of the
 * last renewal that was acked. */
bool engine_may_claim(const struct engine *);
