// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The batch. Built from the dirty runs when the gate is ours, so that memory is what the database
 * holds; sent as one transaction: hold the runs, output, host keys, units, runs and events, end
 * what has ended. The executor hears an ACK only in the commit's callback. Whatever goes wrong,
 * the memory is dropped and read again; the journals still have everything not acknowledged.
 */
#include "daemon/record/record.h"

#include <string.h>

#include "base/jsonx.h"
#include "base/jtext.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/link.h"
#include "daemon/engine/runs.h"
#include "daemon/record/fence.h"
#include "daemon/store/pgarray.h"
#include "daemon/record/record_priv.h"
#include "daemon/record/refusal.h"
#include "daemon/store/store.h"
#include "frame/frame.h"

#include "base/banned.h"

#define FLUSH_S 0.010 /* between the begins of two batches, unless there is much */
#define FLUSH_FRAMES 200

struct ack {
	char unit[UNIT_ID_MAX];
	size_t row; /* its run's */
	int64_t epoch, off;
	bool is_final, is_refused;
};

struct batch {
	struct engine *engine;
	unsigned generation;
	struct run_row *rows;
	size_t rows_n;
	struct buf units; /* of runs with several targets: the text of a JSON array */
	size_t units_n;
	struct ack *acks;
	size_t acks_n;
	size_t units_written;
	struct unit *only; /* while it is built: the one unit it may hold */
	char only_unit[UNIT_ID_MAX], only_run[UUID_LEN + 1]; /* "": it holds several */
	size_t moved_n; /* rows that passed the compare-and-set */
};

static void
batch_free(struct batch *b)
{
	for (size_t i = 0; i < b->rows_n; i++) {
		free(b->rows[i].error);
		free(b->rows[i].summary);
		free(b->rows[i].items);
		free(b->rows[i].result);
		free(b->rows[i].snapshot_id);
	}
	free(b->rows);
	buf_fini(&b->units);
	free(b->acks);
	free(b);
}

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
unit_row_end(struct buf *row, const struct outcome *o)
{
	jtext_str_if(row, "snapshot_id", o->snapshot_id);
	if (o->result)
		jtext_raw(row, "result", o->result);
	if (rc_is_success(o->class))
		return;
	jtext_str(row, "error_class", rc_class_name(o->class));
	jtext_open(row, "error", '{');
	jtext_str_if(row, "code", o->code);
	jtext_str_if(row, "message", o->message);
	jtext_str_if(row, "hint", o->hint);
	jtext_close(row, '}');
}

static void
unit_row(struct buf *row, const struct unit *u)
{
	jtext_open(row, NULL, '{');
	jtext_str(row, "run_id", u->run->id);
	jtext_int(row, "attempt", u->run->attempt);
	jtext_int(row, "no", u->no);
	jtext_int(row, "epoch", u->run->epoch);
	jtext_int(row, "journal_off", u->journal_off);
	jtext_int(row, "output_b", u->output_b);
	jtext_int(row, "output_cut_b", u->output_cut_b);
	jtext_str(row, "state", unit_state_name(u));
	jtext_bool(row, "is_started", u->was_started);
	jtext_int(row, "age_us", unit_age_us(u));
	if (u->step == UNIT_DONE)
		unit_row_end(row, &u->outcome);
	jtext_close(row, '}');
}

/* The same of a run's only unit; how it failed is in the attempt. */
static void
row_add_unit(struct run_row *row, const struct unit *u)
{
	row->has_unit = true;
	row->journal_off = u->journal_off;
	row->output_b = u->output_b;
	row->output_cut_b = u->output_cut_b;
	if (u->step != UNIT_DONE)
		return;
	row->unit_state = unit_state_name(u);
	row->result = u->outcome.result ? xstrdup(u->outcome.result) : NULL;
	row->snapshot_id = u->outcome.snapshot_id ? xstrdup(u->outcome.snapshot_id) : NULL;
}

static void
batch_add_unit(struct batch *b, struct run_row *row, struct unit *u)
{
	struct ack *a = &b->acks[b->acks_n++];

	memcpy(a->unit, u->id, sizeof(a->unit));
	a->row = (size_t)(row - b->rows);
	a->epoch = u->run->epoch;
	a->off = u->journal_off;
	a->is_final = u->step == UNIT_DONE;
	a->is_refused = u->outcome.is_refused;
	if (u->step != UNIT_DONE && u->output_b > u->output_told)
		output_tell(u);
	if (u->run->units_total == 1) {
		row_add_unit(row, u);
	} else {
		unit_row(&b->units, u);
		b->units_n++;
	}
	u->is_dirty = false;
}

static struct unit *
dirty_unit(struct run *r)
{
	for (unsigned i = 0; i < r->units_n; i++)
		if (r->units[i].is_dirty)
			return &r->units[i];
	return NULL;
}

/* Takes the events of all other units out of the run. */
static struct items
others_take(struct run *r, const struct unit *only)
{
	struct items split[2] = {0}; /* others, mine */
	size_t i;
	json_t *item;

	if (r->items.n == 0)
		return split[0];
	jtext_close(&r->items.text, ']');
	_cleanup_json_ json_t *all = json_loadb(r->items.text.p, r->items.text.n, 0, NULL);
	json_array_foreach(all, i, item)
	{
		bool is_mine = json_get_int(item, "unit", only->no) == only->no;
		if (split[is_mine].n++ == 0)
			jtext_open(&split[is_mine].text, NULL, '[');
		jtext_json(&split[is_mine].text, NULL, item);
	}
	buf_fini(&r->items.text);
	r->items = split[1];
	return split[0];
}

static void
batch_narrow(struct batch *b, struct run *r)
{
	b->only = dirty_unit(r);
	memcpy(b->only_run, r->id, sizeof(b->only_run));
	if (b->only)
		memcpy(b->only_unit, b->only->id, sizeof(b->only_unit));
}

static void
batch_add_run(struct batch *b, struct run *r)
{
	struct items others = {0};
	struct run_row *row = &b->rows[b->rows_n];

	r->batch_row = b->rows_n++;
	for (unsigned i = 0; i < r->units_n; i++)
		if (r->units[i].is_dirty && (!b->only || b->only == &r->units[i]))
			batch_add_unit(b, row, &r->units[i]);
	if (b->only)
		others = others_take(r, b->only);
	verdict_row(r, row);
	r->items = others;
}

static struct batch *
batch_build(struct engine *e)
{
	struct batch *b = xcalloc(1, sizeof(*b));
	size_t units = 0, runs = 0;

	b->engine = e;
	b->generation = e->generation;
	jtext_open(&b->units, NULL, '[');
	for (const struct run *r = e->record->dirty; r; r = r->dirty_next, runs++)
		units += r->units_n;
	b->rows = xcalloc(runs + 1, sizeof(*b->rows));
	b->acks = xcalloc(units + 1, sizeof(*b->acks));
	e->record->frames = 0;
	e->record->flushed_at = ev_now(e->loop);
	ev_timer_stop(e->loop, &e->record->flush);
	bool is_narrow = refusal_is_narrow(e);
	while (e->record->dirty && !*b->only_run) {
		struct run *r = e->record->dirty;
		e->record->dirty = r->dirty_next;
		r->is_dirty = false;
		if (is_narrow)
			batch_narrow(b, r);
		batch_add_run(b, r);
		if (dirty_unit(r))
			record_touch(e, r);
	}
	jtext_close(&b->units, ']');
	return b;
}

static void
send_text(struct engine *e, enum sql_id sql, const char *text, store_cb *cb, void *arg)
{
	store_send(e->store, sql, (struct store_param[]){STORE_TEXT(text)}, 1, cb, arg);
}

/* A narrow batch holds what its one unit reports; that of a run without such a unit holds no report. */
static bool
is_in(const struct batch *b, const char *run_id, int64_t no)
{
	if (!*b->only_run)
		return true;
	return b->only && no == b->only->no && strcmp(run_id, b->only_run) == 0;
}

static void
send_output(struct engine *e, const struct batch *b)
{
	struct record *r = e->record;
	struct pgarray a[7];
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < r->chunks_n; i++)
		n += is_in(b, r->chunks[i].run_id, r->chunks[i].no);
	if (n == 0)
		return;
	pgarray_begin(a, ARRAY_LEN(a), n);
	for (size_t i = 0; i < r->chunks_n; i++) {
		struct chunk *c = &r->chunks[i];
		if (!is_in(b, c->run_id, c->no)) {
			r->chunks[kept++] = *c;
			continue;
		}
		pgarray_uuid(&a[0], c->run_id);
		pgarray_int4(&a[1], c->attempt);
		pgarray_int4(&a[2], c->no);
		pgarray_int8(&a[3], c->epoch);
		pgarray_int8(&a[4], c->off);
		pgarray_int4(&a[5], c->raw_b);
		pgarray_bytea(&a[6], c->data.p, c->data.n);
		r->bytes -= c->data.n;
		buf_fini(&c->data);
	}
	struct store_param p[ARRAY_LEN(a)];
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		p[i] = STORE_BYTES(a[i].bytes.p, a[i].bytes.n);
	store_send(e->store, SQL_ENGINE_RECORD_OUTPUT, p, ARRAY_LEN(a), NULL, NULL);
	pgarray_end(a, ARRAY_LEN(a));
	r->chunks_n = kept;
	link_pause(e->link, false);
}

static void
send_host_keys(struct engine *e, const struct batch *b)
{
	struct record *r = e->record;
	_cleanup_json_ json_t *all = r->host_keys, *mine = json_array();
	size_t i;
	json_t *key;

	if (!all)
		return;
	r->host_keys = json_array();
	json_array_foreach(all, i, key) json_array_append(
	    is_in(b, json_get_str(key, "run_id", ""), json_get_int(key, "unit", 0)) ? mine
										    : r->host_keys,
	    key);
	if (json_array_size(mine) == 0)
		return;
	_cleanup_free_ char *text = json_text(mine);
	send_text(e, SQL_ENGINE_RECORD_HOST_KEYS, text, NULL, NULL);
}

static void
on_units(void *arg, const PGresult *res, const struct err *err)
{
	struct batch *b = arg;

	if (!err)
		b->units_written = (size_t)PQntuples(res);
}

static void
on_runs(void *arg, const PGresult *res, const struct err *err)
{
	struct batch *b = arg;

	if (err || b->generation != b->engine->generation)
		return;
	for (int i = 0; i < PQntuples(res); i++) {
		const struct run *r = runs_find(b->engine->runs, store_str(res, i, "run_id"));
		if (r)
			b->rows[r->batch_row].is_moved = true;
	}
	b->moved_n = (size_t)PQntuples(res);
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

/* With more than one statement in the transaction, all must see the same rows. */
static void
send_lock(struct engine *e, const struct batch *b)
{
	struct pgarray ids;

	pgarray_begin(&ids, 1, b->rows_n);
	for (size_t i = 0; i < b->rows_n; i++)
		pgarray_uuid(&ids, b->rows[i].run_id);
	store_send(e->store, SQL_ENGINE_RECORD_LOCK,
	    (struct store_param[]){STORE_BYTES(ids.bytes.p, ids.bytes.n)}, 1, NULL, NULL);
	pgarray_end(&ids, 1);
}

static void
add_int8_or_null(struct pgarray *a, bool has_value, int64_t value)
{
	if (has_value)
		pgarray_int8(a, value);
	else
		pgarray_int8_null(a);
}

/* In the order of record.sql's parameters $2 to $21. */
static void
add_row(struct pgarray a[20], const struct run_row *row)
{
	pgarray_uuid(&a[0], row->run_id);
	pgarray_int8(&a[1], row->epoch);
	pgarray_int4(&a[2], row->attempt);
	pgarray_text(&a[3], row->was);
	pgarray_text(&a[4], row->state);
	pgarray_text(&a[5], row->end);
	add_int8_or_null(&a[6], row->age_us >= 0, row->age_us);
	pgarray_int4(&a[7], row->delay_s);
	pgarray_text(&a[8], row->attempt_state);
	pgarray_text(&a[9], row->error_class);
	pgarray_text(&a[10], row->error);
	pgarray_text(&a[11], row->summary);
	pgarray_text(&a[12], row->items);
	pgarray_int4(&a[13], (int32_t)row->n);
	pgarray_text(&a[14], row->unit_state);
	pgarray_text(&a[15], row->result);
	pgarray_text(&a[16], row->snapshot_id);
	add_int8_or_null(&a[17], row->has_unit, row->journal_off);
	add_int8_or_null(&a[18], row->has_unit, row->output_b);
	add_int8_or_null(&a[19], row->has_unit, row->output_cut_b);
}

static void
send_rows(struct engine *e, struct batch *b)
{
	struct pgarray a[20];
	struct store_param p[1 + ARRAY_LEN(a)] = {STORE_TEXT(e->node_id.s)};

	pgarray_begin(a, ARRAY_LEN(a), b->rows_n);
	for (size_t i = 0; i < b->rows_n; i++)
		add_row(a, &b->rows[i]);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		p[1 + i] = STORE_BYTES(a[i].bytes.p, a[i].bytes.n);
	store_send(e->store, SQL_ENGINE_RECORD, p, ARRAY_LEN(p), on_runs, b);
	pgarray_end(a, ARRAY_LEN(a));
}

bool
record_start(struct engine *e)
{
	struct record *r = e->record;

	if (!e->is_recovered || (!r->dirty && r->chunks_n == 0))
		return false;
	struct batch *b = batch_build(e);

	if (b->rows_n > 0 && (r->chunks_n > 0 || r->host_keys || b->units_n > 0))
		send_lock(e, b);
	send_output(e, b);
	send_host_keys(e, b);
	b->only = NULL;
	if (b->units_n > 0)
		send_text(e, SQL_ENGINE_RECORD_UNITS, b->units.p, on_units, b);
	if (b->rows_n > 0)
		send_rows(e, b);
	store_send(e->store, SQL_ENGINE_FEED_NOTIFY, NULL, 0, NULL, NULL);
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
