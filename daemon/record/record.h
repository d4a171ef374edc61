// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What units report becomes rows and events here. Reports gather in the memory of runs (journal.c)
 * and are committed in batches (record.c): output chunks, units, runs and events in one
 * transaction, acknowledged to the executor only when it is committed. Called by dispatch and
 * recovery; the batch runs as JOB_RECORD.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "task/rc.h"

struct engine;
struct frame;
struct outcome;
struct run;
struct unit;

struct record *record_new(struct engine *);
void record_free(struct record *);
/* Forget everything not committed: it will be reported again. */
void record_drop(struct engine *);
/* Nothing waits to be committed. */
bool record_is_clean(const struct engine *);

/* A JOURNAL or RESULT frame of a unit. */
void record_frame(struct engine *, struct unit *, const struct frame *outer);
/* A unit that ends without a result of its own: refused, lost, out of time, cancelled before it
 * was started. hint may be "". */
void record_unit_ended(struct engine *, struct unit *, enum rc_class, const char *code,
    const char *message, const char *hint);
/* Its keeper is gone; what that means is the task type's recovery class. */
void record_unit_lost(struct engine *, struct unit *, bool is_rerun, const char *message);
/* The database refuses what it reports; see refusal.h. */
void record_unit_refused(struct engine *, struct unit *);
/* The attempt has no units: its target could not be resolved. */
void record_run_empty(struct engine *, struct run *, const char *message);
/* No report about the run can be committed: out of memory with it, the others go on. */
void record_run_leave(struct engine *, struct run *);
/* Look at the run at the next commit, although no unit reported. */
void record_touch(struct engine *, struct run *);

/* JOB_RECORD */
bool record_start(struct engine *);
