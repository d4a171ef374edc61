// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See batch.h. */
#include "daemon/record/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/jsonx.h"
#include "base/jtext.h"

#include "daemon/engine/engine.h"
#include "daemon/record/record.h"
#include "daemon/record/refusal.h"

#include "base/banned.h"

void
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

struct batch *
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
