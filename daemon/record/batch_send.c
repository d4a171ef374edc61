// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See batch.h: hold the runs, output, host keys, units, runs and events, end what has ended. */
#include <string.h>

#include "base/jsonx.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/link.h"
#include "daemon/record/batch.h"
#include "daemon/store/pgarray.h"
#include "daemon/store/store.h"

#include "base/banned.h"

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

void
batch_send(struct batch *b)
{
	struct engine *e = b->engine;

	if (b->rows_n > 0 && (e->record->chunks_n > 0 || e->record->host_keys || b->units_n > 0))
		send_lock(e, b);
	send_output(e, b);
	send_host_keys(e, b);
	b->only = NULL;
	if (b->units_n > 0)
		send_text(e, SQL_ENGINE_RECORD_UNITS, b->units.p, on_units, b);
	if (b->rows_n > 0)
		send_rows(e, b);
	store_send(e->store, SQL_ENGINE_FEED_NOTIFY, NULL, 0, NULL, NULL);
}
