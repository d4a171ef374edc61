// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Events of a run, and the end of a unit. Everything here only changes memory; record.c commits it. */
#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "base/jtext.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/runs.h"
#include "daemon/record/artifact.h"
#include "daemon/record/record.h"
#include "daemon/record/record_priv.h"
#include "daemon/record/refusal.h"

#include "base/banned.h"

#define AGE_MAX_US INT64_C(86400000000) /* a day: more is a clock that was set */

void
set_str(json_t *obj, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	json_t *text = json_string(value);
	/* A buffer of fixed size may have cut it inside a character: without that one it is a text again. */
	if (!text) {
		size_t n = strlen(value);
		while (n > 1 && ((unsigned char)value[n - 1] & 0xc0) == 0x80)
			n--;
		text = json_stringn(value, n - 1);
	}
	json_object_set_new(obj, key, text);
}

void
set_int(json_t *obj, const char *key, int64_t value)
{
	json_object_set_new(obj, key, json_integer(value));
}

struct buf *
event_open(struct run *r, const char *type, const char *severity)
{
	char at[32];
	struct buf *items = &r->items.text;

	if (r->items.n++ == 0)
		jtext_open(items, NULL, '[');
	jtext_open(items, NULL, '{');
	jtext_str(items, "type", type);
	jtext_str(items, "severity", severity);
	jtext_str(items, "at", clock_rfc3339_us(clock_realtime_us(), at));
	return items;
}

struct buf *
event_open_unit(struct unit *u, const char *type, const char *severity)
{
	struct buf *item = event_open(u->run, type, severity);

	jtext_int(item, "unit", u->no);
	jtext_str_if(item, "device", u->device_name);
	return item;
}

void
event_close(struct run *r)
{
	jtext_close(&r->items.text, '}');
}

const char *
unit_state_name(const struct unit *u)
{
	if (u->step != UNIT_DONE)
		return u->was_started ? "running" : "pending";
	switch (u->outcome.class) {
	case RC_passed:
	case RC_skipped:
	case RC_cancelled:
		return rc_class_name(u->outcome.class);
	default:
		return "failed";
	}
}

int64_t
unit_age_us(const struct unit *u)
{
	int64_t age = u->started_us ? clock_realtime_us() - u->started_us : 0;

	return age < 0 || age > AGE_MAX_US ? 0 : age;
}

void
output_tell(struct unit *u)
{
	jtext_int(event_open_unit(u, "output", "info"), "to", u->output_b);
	event_close(u->run);
	u->output_told = u->output_b;
}

void
unit_finish(struct engine *e, struct unit *u)
{
	const struct outcome *o = &u->outcome;

	if (u->output_b > u->output_told)
		output_tell(u);
	u->step = UNIT_DONE;
	u->is_held = false;
	unit_forget_secret(u);
	struct buf *item = event_open_unit(u, "unit_finished",
	    rc_is_success(o->class)    ? "info"
	    : o->class == RC_cancelled ? "warning"
				       : "error");
	/* The unit's; only task_* and attempt_started move the run. */
	jtext_str(item, "state", unit_state_name(u));
	jtext_str(item, "class", rc_class_name(o->class));
	jtext_str_if(item, "code", o->code);
	jtext_str_if(item, "message", o->message);
	jtext_str_if(item, "hint", o->hint);
	jtext_str_if(item, "snapshot_id", o->snapshot_id);
	jtext_int(item, "duration_ms", o->duration_ms);
	if (o->result)
		jtext_raw(item, "result", o->result);
	event_close(u->run);
	artifacts_free(u->artifacts);
	u->artifacts = NULL;
	record_touch_unit(e, u);
}

static void
outcome_set(
    struct unit *u, enum rc_class class, const char *code, const char *message, const char *hint)
{
	struct outcome *o = &u->outcome;

	o->class = class;
	o->is_retryable = rc_is_retryable(class);
	o->code = xstrdup(code);
	o->message = xstrdup(message);
	o->hint = xstrdup(hint);
}

void
record_unit_ended(struct engine *e, struct unit *u, enum rc_class class, const char *code,
    const char *message, const char *hint)
{
	if (u->step == UNIT_DONE || u->is_held)
		return;
	outcome_set(u, class, code, message, hint);
	unit_finish(e, u);
}

void
record_unit_lost(struct engine *e, struct unit *u, bool is_rerun, const char *message)
{
	if (u->step == UNIT_DONE || u->is_held)
		return;
	outcome_set(u, is_rerun ? RC_transient : RC_permanent, "takt.lost", message,
	    is_rerun ? ""
		     : "the task type does not allow a second start; look at the device, then run "
		       "it again");
	u->outcome.is_lost = true;
	unit_finish(e, u);
}

void
record_unit_refused(struct engine *e, struct unit *u)
{
	struct outcome *o = &u->outcome;
	char message[100];

	if (u->step == UNIT_DONE)
		return;
	refusal_text(e, message, sizeof(message));
	free(o->code);
	free(o->message);
	free(o->hint);
	free(o->result);
	*o = (struct outcome){.is_refused = true};
	outcome_set(u, RC_internal, "takt.record_refused", message,
	    "see the engine's log; the task type or a check of the database is at fault");
	unit_finish(e, u);
}

void
record_run_empty(struct engine *e, struct run *r, const char *message)
{
	free(r->empty_message);
	r->empty_message = xstrdup(message);
	record_touch(e, r);
}
