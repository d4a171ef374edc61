// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The engine's memory of the runs that have an open attempt on this node, as the database holds
 * them, plus what their units reported since. Filled by load (queue/load.c) after a claim and at
 * recovery, written by dispatch and record, dropped as a whole when in doubt.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/id.h"

#include "task/rc.h"
#include "task/retry.h"
#include "task/states.h"

#define UNIT_ID_MAX 61

struct engine;
struct artifacts;

enum unit_step {
	UNIT_PENDING, /* not handed to the executor */
	UNIT_SENT,    /* handed over or attached to; J_STARTED not seen */
	UNIT_RUNNING,
	UNIT_DONE /* its outcome is known; committed once is_dirty is false */
};

/* How a unit ended. */
struct outcome {
	enum rc_class class;
	bool is_lost;
	bool is_retryable;
	bool
	    is_refused; /* the database does not take its reports: its unit is dropped, not settled */
	char *code, *message, *hint;
	char *result; /* JSON text or NULL */
	char *snapshot_id;
	int64_t duration_ms;
};

struct unit {
	struct run *run;
	char id[UNIT_ID_MAX]; /* "<run>.<attempt>.<no>" */
	int no;
	enum unit_step step;
	int64_t started_us; /* REALTIME of this host, as the keeper says; 0: not yet */
	bool was_started;   /* the database has it as running, or will at the next commit */
	bool is_dirty;
	bool is_held;         /* its result waits for a snapshot to be stored */
	int64_t journal_next; /* read from the executor up to here */
	int64_t journal_off;  /* taken into account up to here; committed when not dirty */
	int64_t output_b, output_cut_b;
	int64_t output_told; /* output_b of the last output event */
	int64_t retry_at_ms; /* MONOTONIC; the executor had no room, try again then */
	struct outcome outcome;
	struct artifacts *artifacts; /* record's, while being put together */
	json_t *last_result;

	char *device_id; /* NULL: no target */
	char *device_name, *address, *platform, *host_key;
	int port;
	json_t *known; /* array or NULL */
	char *credential_id, *username, *sealed_hex;
	int64_t credential_version;
};

/* Events since the last commit: the text of a JSON array whose end is missing. Empty: none. */
struct items {
	struct buf text;
	unsigned n;
};

struct run {
	struct run *hash_next;
	struct run *dirty_next;
	bool is_dirty;
	bool is_whole; /* all of it is read; nothing starts before */
	char id[UUID_LEN + 1], org_id[UUID_LEN + 1], task_id[UUID_LEN + 1];
	char *task_type, *cancel_reason;
	char *policy_key; /* what e->policies has it under */
	json_t *policy;   /* shared, never changed */
	enum task_state state;
	int64_t epoch;
	int attempt, timeout_s;
	bool is_attempt_started; /* the attempt's row is running */
	bool is_rescued;         /* taken from a dead node and not settled (recover.c) */
	int64_t deadline_ms;     /* MONOTONIC, of the attempt */
	int64_t started_ms;      /* MONOTONIC, of the run; 0: not yet */
	struct retry_policy retry;
	unsigned units_total; /* of the first attempt; one: it is in the rows of run and attempt */
	unsigned passed_before, failed_before;
	struct unit *units; /* ordered by no */
	unsigned units_n;
	struct items items;
	size_t batch_row;    /* record's, while a batch is in flight */
	bool has_start;      /* a unit started since the last commit */
	char *empty_message; /* no unit could be made: why */
};

struct runs;

struct runs *runs_new(void);
void runs_free(struct runs *);
void runs_clear(struct runs *);
/* A run of that id is replaced. r is the table's from here. */
void runs_add(struct runs *, struct run *take_r);
struct run *runs_find(const struct runs *, const char *id);
void runs_remove(struct runs *, struct run *);
/* Calls fn for every run; fn may remove the run it was given. */
void runs_each(struct runs *, void (*fn)(struct engine *, struct run *), struct engine *);
/* Units that hold one of the node's slots, and those that wait for one. */
void runs_count(const struct runs *, unsigned *busy, unsigned *pending);

void run_free(struct run *);
struct unit *run_unit(struct run *, int no);

/* Gives the unit its id, once run and no are known. */
void unit_name(struct unit *);
/* False if s is not a unit id; run gets the canonical uuid. */
bool unit_id_parse(const char *s, struct uuid *run, int *attempt, int *no);
/* The unit of that id in a run whose open attempt it belongs to, or NULL. */
struct unit *runs_find_unit(const struct runs *, const char *unit);
void unit_forget_secret(struct unit *);
