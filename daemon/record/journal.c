// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Journal frames of one unit, in order, without gaps: each becomes output, an event or an outcome
 * in the memory of its run. Frames before journal_off were committed earlier; they come again after
 * a restart only for the artifacts among them.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "base/jtext.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/link.h"
#include "daemon/engine/runs.h"
#include "daemon/record/artifact.h"
#include "daemon/record/record.h"
#include "daemon/record/record_priv.h"
#include "frame/frame.h"

#include "base/banned.h"

#define BYTES_MAX (32u << 20) /* uncommitted output that makes us stop reading */

static const char *
severity_of(int64_t level)
{
	return level <= 3 ? "error" : level == 4 ? "warning" : "info";
}

static void
on_started(struct engine *e, struct unit *u, const struct frame *f)
{
	(void)e;
	u->started_us = frame_int(f, "at_us", 0);
	u->step = UNIT_RUNNING;
	u->was_started = true;
	u->run->has_start = true;
	event_open_unit(u, "unit_started", "info");
	event_close(u->run);
}

static void
on_output(struct engine *e, struct unit *u, const struct frame *f)
{
	struct record *r = e->record;

	if (r->chunks_n == r->chunks_cap) {
		r->chunks_cap = r->chunks_cap ? r->chunks_cap * 2 : 64;
		r->chunks = realloc(r->chunks, r->chunks_cap * sizeof(*r->chunks));
		if (!r->chunks)
			log_fatal(LOG_RECORD, "out of memory");
	}
	struct chunk *c = &r->chunks[r->chunks_n++];
	*c = (struct chunk){.attempt = u->run->attempt, .no = u->no, .epoch = u->run->epoch};
	memcpy(c->run_id, u->run->id, sizeof(c->run_id));
	c->off = frame_int(f, "off", 0);
	c->raw_b = (int)frame_int(f, "raw_b", 0);
	buf_add(&c->data, f->blob, f->blob_n);
	r->bytes += f->blob_n;
	if (r->bytes > BYTES_MAX)
		link_pause(e->link, true);
	if (c->off + c->raw_b > u->output_b)
		u->output_b = c->off + c->raw_b;
}

static void
on_output_cut(struct engine *e, struct unit *u, const struct frame *f)
{
	int64_t cut_b = frame_int(f, "cut_b", 0);

	(void)e;
	u->output_cut_b += cut_b;
	struct buf *item = event_open_unit(u, "output", "warning");
	jtext_int(item, "to", u->output_b);
	jtext_int(item, "cut_b", cut_b);
	event_close(u->run);
	u->output_told = u->output_b;
}

static void
on_progress(struct engine *e, struct unit *u, const struct frame *f)
{
	struct buf *item = event_open_unit(u, "progress", "info");

	(void)e;
	jtext_int(item, "done", frame_int(f, "done", 0));
	jtext_int(item, "total", frame_int(f, "total", 0));
	jtext_str_if(item, "label", frame_str(f, "label", ""));
	event_close(u->run);
}

static void
on_event(struct engine *e, struct unit *u, const struct frame *f)
{
	int64_t level = json_get_int(f->json, "severity", 6);
	const json_t *data = json_object_get(f->json, "data");
	struct buf *item = event_open_unit(u, "plugin_event", severity_of(level));

	(void)e;
	jtext_str_if(item, "name", json_get_str(f->json, "type", ""));
	if (data)
		jtext_json(item, "data", data);
	event_close(u->run);
}

static void
on_host_key(struct engine *e, struct unit *u, const struct frame *f)
{
	static const char *const members[] = {"key_type", "public_key", "fingerprint"};
	struct buf *item = event_open_unit(u, "host_key_learned", "warning");

	jtext_str_if(item, "key_type", json_get_str(f->json, "key_type", ""));
	jtext_str_if(item, "fingerprint", json_get_str(f->json, "fingerprint", ""));
	event_close(u->run);
	if (!u->device_id)
		return;
	if (!e->record->host_keys)
		e->record->host_keys = json_array();
	json_t *key = json_object();
	set_str(key, "run_id", u->run->id);
	set_str(key, "device_id", u->device_id);
	set_int(key, "unit", u->no);
	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		json_object_set_new(
		    key, members[i], json_string(json_get_str(f->json, members[i], "")));
	json_array_append_new(e->record->host_keys, key);
}

/* The keeper stopped it because the node had no lease: as good as lost, so its type decides. One
 * that had not begun may begin elsewhere in any case. */
static void
lease_lost(const struct engine *e, struct unit *u)
{
	const json_t *type = json_object_get(e->types, u->run->task_type);
	bool is_rerun =
	    !u->was_started || strcmp(json_get_str(type, "recovery", "fail"), "rerun") == 0;

	u->outcome.class = is_rerun ? RC_transient : RC_permanent;
	u->outcome.is_lost = true;
}

static char *
result_text(const struct frame *f)
{
	const json_t *result = json_object_get(f->json, "result");

	if (!f->json)
		return jflat_is_object(&f->flat, "result") ? xstrdup("{}") : NULL;
	return json_is_object(result) ? json_text(result) : NULL;
}

static void
on_result(struct engine *e, struct unit *u, const struct frame *f)
{
	struct outcome *o = &u->outcome;
	int class = rc_class_parse(frame_str(f, "class", ""));

	if (class < 0)
		class = (int)rc_class_of((int32_t)frame_int(f, "rc", -400));
	o->class = (enum rc_class) class;
	if (strcmp(frame_str(f, "killed", ""), "lease") == 0)
		lease_lost(e, u);
	o->is_retryable = rc_is_retryable(o->class);
	o->code = xstrdup(frame_str(f, "code", ""));
	o->message = xstrdup(frame_str(f, "message", ""));
	o->hint = xstrdup(frame_str(f, "hint", ""));
	o->duration_ms = frame_int(f, "duration_us", 0) / 1000;
	o->result = result_text(f);
	if (u->output_b < frame_int(f, "output_b", 0))
		u->output_b = frame_int(f, "output_b", 0);
	u->is_held = rc_is_success(o->class) && snapshot_put(e, u, frame_int(f, "at_us", 0));
	if (!u->is_held)
		unit_finish(e, u);
}

static const struct {
	enum frame_type type;
	void (*handle)(struct engine *, struct unit *, const struct frame *);
} handlers[] = {
    {FRAME_J_STARTED, on_started},
    {FRAME_J_OUTPUT, on_output},
    {FRAME_J_OUTPUT_CUT, on_output_cut},
    {FRAME_J_PROGRESS, on_progress},
    {FRAME_J_EVENT, on_event},
    {FRAME_J_HOST_KEY, on_host_key},
    {FRAME_J_RESULT, on_result},
};

static void
attach_again(struct engine *e, const struct unit *u)
{
	log_warn(LOG_RECORD, "unit %s: a gap in the journal, asking again from %lld", u->id,
	    (long long)u->journal_next);
	link_send(e->link, FRAME_ATTACH,
	    json_pack("{s:s,s:I,s:I}", "unit", u->id, "epoch", (json_int_t)u->run->epoch, "from",
		(json_int_t)u->journal_next),
	    -1);
}

static void
handle(struct engine *e, struct unit *u, const struct frame *inner, bool is_replay)
{
	struct err err = ERR_INIT;

	if (inner->type == FRAME_J_ARTIFACT && artifacts_add(&u->artifacts, inner, &err) < 0)
		log_error(LOG_RECORD, "run %s unit %d: %s", u->run->id, u->no, err.message);
	for (size_t i = 0; i < ARRAY_LEN(handlers) && !is_replay; i++)
		if (handlers[i].type == inner->type)
			handlers[i].handle(e, u, inner);
}

/* Passed over, so that what follows is not asked for again and again; a result must end its unit. */
static void
unreadable(struct engine *e, struct unit *u, const struct frame *outer, const char *why)
{
	log_error(LOG_RECORD, "run %s unit %d: a malformed journal frame at %llu: %s", u->run->id,
	    u->no, (unsigned long long)outer->off, why);
	u->journal_next = frame_int(outer, "next", u->journal_next);
	if (outer->type == FRAME_RESULT)
		record_unit_ended(e, u, RC_internal, "takt.result_unreadable", why, "");
}

void
record_frame(struct engine *e, struct unit *u, const struct frame *outer)
{
	bool is_result = outer->type == FRAME_RESULT;
	int64_t off = (int64_t)outer->off;
	int64_t next = frame_int(outer, "next", off);
	struct frame inner;
	struct err err = ERR_INIT;

	if (u->step == UNIT_DONE || u->is_held)
		return;
	if (!is_result && off < u->journal_next)
		return;
	if (off > u->journal_next) {
		attach_again(e, u);
		return;
	}
	if (frame_unwrap_flat(outer, &inner, &err) < 0) {
		unreadable(e, u, outer, err.message);
		return;
	}
	bool is_replay = !is_result && off < u->journal_off;
	handle(e, u, &inner, is_replay);
	frame_fini(&inner);
	if (!is_result)
		u->journal_next = next;
	if (u->journal_next > u->journal_off)
		u->journal_off = u->journal_next;
	if (!is_replay)
		record_touch_unit(e, u);
}
