// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * When a batch is built and what follows from its commit. Built from the dirty runs when the gate is
 * ours, so that memory is what the database holds, and sent as one transaction. The executor hears
 * an ACK only in the commit's callback. Whatever goes wrong, the memory is dropped and read again;
 * the journals still have everything not acknowledged.
 */
#include "daemon/record/record.h"

#include <string.h>

#include "base/jsonx.h"
#include "base/jtext.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/link.h"
#include "daemon/engine/runs.h"
#include "daemon/record/batch.h"
#include "daemon/record/fence.h"
#include "daemon/record/record_priv.h"
#include "daemon/record/refusal.h"
#include "daemon/store/store.h"
#include "frame/frame.h"

#include "base/banned.h"

#define FLUSH_S 0.010 /* between the begins of two batches, unless there is much */
#define FLUSH_FRAMES 200

static void
on_flush(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct record *r = w->data;

	(void)loop;
	(void)revents;
	engine_want(r->engine, JOB_RECORD);
}

void
record_touch(struct engine *e, struct run *run)
{
	struct record *r = e->record;

	if (!run->is_dirty) {
		run->is_dirty = true;
		run->dirty_next = r->dirty;
		r->dirty = run;
	}
	/* What comes after a quiet time goes at once, and with it all that this turn of the loop reads. */
	double left = r->flushed_at + FLUSH_S - ev_now(e->loop);
	if (++r->frames >= FLUSH_FRAMES || left <= 0 || left > FLUSH_S) {
		engine_want(e, JOB_RECORD);
	} else if (!ev_is_active(&r->flush)) {
		ev_timer_set(&r->flush, left, 0);
		ev_timer_start(e->loop, &r->flush);
	}
}

void
record_touch_unit(struct engine *e, struct unit *u)
{
	u->is_dirty = true;
	record_touch(e, u->run);
}

static void
acknowledge(struct engine *e, const struct ack *a)
{
	bool is_dropped = a->is_final && a->is_refused;
	struct buf *j = link_json(e->link);

	jtext_open(j, NULL, '{');
	jtext_str(j, "unit", a->unit);
	jtext_int(j, "epoch", a->epoch);
	if (!a->is_final)
		jtext_int(j, "off", a->off);
	else if (!is_dropped)
		jtext_bool(j, "final", true);
	jtext_close(j, '}');
	link_send_text(e->link, is_dropped ? FRAME_DROP : FRAME_ACK, NULL, 0, -1);
}

/* A run that leaves memory must not stay on the list of dirty ones. */
static void
run_forget(struct engine *e, struct run *r)
{
	struct run **p = &e->record->dirty;

	while (r->is_dirty && *p && *p != r)
		p = &(*p)->dirty_next;
	if (r->is_dirty && *p)
		*p = r->dirty_next;
	runs_remove(e->runs, r);
}

void
record_run_leave(struct engine *e, struct run *r)
{
	run_forget(e, r);
}

/* Zero rows: another engine has taken the run over. What its units still do here is none of ours. */
static void
run_fenced(struct engine *e, struct run *r)
{
	log_warn(LOG_RECORD, "run %s: epoch %lld is stale, its report changed nothing", r->id,
	    (long long)r->epoch);
	for (unsigned i = 0; i < r->units_n; i++) {
		fence_add(e, r->units[i].id, r->epoch);
		link_send(e->link, FRAME_DROP, json_pack("{s:s}", "unit", r->units[i].id), -1);
	}
	run_forget(e, r);
}

/* Ended, or waiting for its next attempt, which without a delay is due now. */
static void
run_left(struct engine *e, struct run *r)
{
	if (r->state == TASK_retry_wait)
		engine_want(e, JOB_RETRY);
	run_forget(e, r);
}

static void
batch_committed(struct batch *b)
{
	struct engine *e = b->engine;

	for (size_t i = 0; i < b->acks_n; i++)
		if (b->rows[b->acks[i].row].is_moved)
			acknowledge(e, &b->acks[i]);
	for (size_t i = 0; i < b->rows_n; i++) {
		struct run *r = runs_find(e->runs, b->rows[i].run_id);
		if (!r)
			continue;
		if (!b->rows[i].is_moved)
			run_fenced(e, r);
		else if (task_state_is_terminal(r->state) || r->state == TASK_retry_wait)
			run_left(e, r);
	}
	e->on_units_done(e);
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	struct batch *b = arg;
	struct engine *e = b->engine;
	bool is_current = b->generation == e->generation;

	(void)res;
	if (!err && is_current) {
		refusal_forget(e, b->only_unit);
		batch_committed(b);
		if (e->record->dirty && *b->only_run)
			engine_want(e, JOB_RECORD);
		if (b->moved_n == b->rows_n && b->units_written != b->units_n)
			engine_resync(e, "a unit's row was not as remembered");
	}
	engine_done(e, JOB_RECORD, err);
	if (err && is_current && refusal_is_for_good(err))
		refusal_note(
		    e, *b->only_unit ? b->only_unit : NULL, *b->only_run ? b->only_run : NULL, err);
	if (err && is_current)
		engine_resync(e, "a batch of reports could not be committed");
	batch_free(b);
}

bool
record_start(struct engine *e)
{
	const struct record *r = e->record;

	if (!e->is_recovered || (!r->dirty && r->chunks_n == 0))
		return false;
	struct batch *b = batch_build(e);

	batch_send(b);
	store_sync(e->store, on_committed, b);
	return true;
}

struct record *
record_new(struct engine *e)
{
	struct record *r = xcalloc(1, sizeof(*r));

	r->engine = e;
	r->refusals = json_object();
	ev_init(&r->flush, on_flush);
	r->flush.data = r;
	return r;
}

void
record_drop(struct engine *e)
{
	struct record *r = e->record;

	for (size_t i = 0; i < r->chunks_n; i++)
		buf_fini(&r->chunks[i].data);
	r->chunks_n = r->bytes = 0;
	json_decref(r->host_keys);
	r->host_keys = NULL;
	r->dirty = NULL;
	r->frames = 0;
	ev_timer_stop(e->loop, &r->flush);
}

bool
record_is_clean(const struct engine *e)
{
	return !e->record->dirty && e->record->chunks_n == 0;
}

void
record_free(struct record *r)
{
	if (!r)
		return;
	record_drop(r->engine);
	json_decref(r->refusals);
	free(r->chunks);
	free(r);
}
