// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Slots: a run may have more units than this node has slots, so its units wait in memory (and as
 * `pending` rows) and start as others end. The deadline is the attempt's: a unit gets what is left.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "base/jtext.h"
#include "base/log.h"

#include "daemon/dispatch/dispatch.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/link.h"
#include "daemon/engine/runs.h"
#include "daemon/record/record.h"
#include "frame/frame.h"
#include "seal/seal.h"

#include <sodium.h>

#include "base/banned.h"

#define GRACE_MS 5000
#define OUTPUT_LIMIT_B (8 << 20)

static unsigned slots;

static bool
has_cap(const json_t *type, const char *name)
{
	const json_t *caps = json_object_get(type, "caps"), *cap;
	size_t i;

	json_array_foreach(caps, i, cap)
	{
		if (strcmp(json_string_value(cap), name) == 0)
			return true;
	}
	return false;
}

static void
send_start(struct engine *e, struct unit *u, const struct start_input *input, int64_t left_ms)
{
	char key[sodium_base64_ENCODED_LEN(SEAL_PUBLIC_B, sodium_base64_VARIANT_ORIGINAL)];
	struct buf *j = link_json(e->link);

	sodium_bin2base64(key, sizeof(key), seal_key_public(e->seal), SEAL_PUBLIC_B,
	    sodium_base64_VARIANT_ORIGINAL);
	/* Another node may start it again when our lease is lost: what changes devices must be dead by then. */
	bool is_killed = has_cap(json_object_get(e->types, u->run->task_type), "changes");
	jtext_open(j, NULL, '{');
	jtext_str(j, "unit", u->id);
	jtext_int(j, "epoch", u->run->epoch);
	jtext_str(j, "type", u->run->task_type);
	jtext_int(j, "timeout_ms", left_ms);
	jtext_int(j, "grace_ms", GRACE_MS);
	jtext_int(j, "output_limit_b", OUTPUT_LIMIT_B);
	jtext_str(j, "seal_pk", key);
	jtext_str(j, "on_lease_loss", is_killed ? "kill" : "continue");
	jtext_close(j, '}');
	link_send_text(e->link, FRAME_START, input->text.p, input->text.n, input->fd);
	u->step = UNIT_SENT;
	log_debug(LOG_DISPATCH, "unit %s started", u->id);
}

static void
start_unit(struct engine *e, struct unit *u, int64_t left_ms)
{
	struct err err = ERR_INIT;

	if (u->device_id && !u->platform) {
		record_unit_ended(
		    e, u, RC_parameters, "target.removed", "the device was removed", "");
		return;
	}
	_cleanup_(start_input_fini) struct start_input input = START_INPUT_INIT;
	if (start_input(e, u, &input, &err) < 0) {
		record_unit_ended(e, u, RC_permanent, "credential.unreadable", err.message,
		    "enter the credential again");
		return;
	}
	send_start(e, u, &input, left_ms);
	slots--;
}

static void
pump_run(struct engine *e, struct run *r)
{
	int64_t now = clock_monotonic_ms();

	if (!r->is_whole || r->is_rescued)
		return; /* recovery has not said yet which of its units may be started */
	for (unsigned i = 0; i < r->units_n; i++) {
		struct unit *u = &r->units[i];
		if (u->step != UNIT_PENDING)
			continue;
		if (r->state == TASK_cancelling)
			record_unit_ended(e, u, RC_cancelled, "takt.cancelled",
			    "cancelled before it was started", "");
		else if (now >= r->deadline_ms)
			record_unit_ended(e, u, RC_timeout, "takt.deadline",
			    "the attempt's time was over before a slot was free", "");
		else if (slots > 0 && now >= u->retry_at_ms && engine_may_claim(e) &&
			 !e->is_stopping)
			start_unit(e, u, r->deadline_ms - now);
	}
	if (r->units_n > 0 || r->empty_message)
		return;
	char message[160];
	const json_t *target = json_object_get(r->policy, "target");
	snprintf(message, sizeof(message), "target %s %s does not exist or is empty",
	    json_get_str(target, "type", "?"), json_get_str(target, "id", "?"));
	record_run_empty(e, r, message);
}

void
dispatch_start(struct engine *e)
{
	unsigned busy, pending;

	if (!e->is_recovered)
		return;
	runs_count(e->runs, &busy, &pending);
	slots = e->max_units > busy ? e->max_units - busy : 0;
	runs_each(e->runs, pump_run, e);
}

void
dispatch_pump(struct engine *e)
{
	dispatch_start(e);
	engine_want(e, JOB_CLAIM);
}

void
dispatch_cancel(struct engine *e, const char *run_id, const char *reason)
{
	struct run *r = runs_find(e->runs, run_id);

	if (!r)
		return; /* recovery will read it as cancelling */
	r->state = TASK_cancelling;
	free(r->cancel_reason);
	r->cancel_reason = xstrdup(reason);
	for (unsigned i = 0; i < r->units_n; i++) {
		struct unit *u = &r->units[i];
		if (u->step == UNIT_SENT || u->step == UNIT_RUNNING)
			link_send(e->link, FRAME_CANCEL,
			    json_pack("{s:s,s:I,s:s,s:i}", "unit", u->id, "epoch",
				(json_int_t)r->epoch, "reason", reason, "grace_ms", GRACE_MS),
			    -1);
	}
	dispatch_pump(e);
}

void
dispatch_attach(struct engine *e, struct unit *u)
{
	const json_t *type = json_object_get(e->types, u->run->task_type);

	/* Artifacts are stored with the result, so their parts are read again. Also when the type is not
	 * offered any more. */
	bool has_artifacts = !type || has_cap(type, "artifacts");

	u->journal_next = has_artifacts ? 0 : u->journal_off;
	u->step = u->was_started ? UNIT_RUNNING : UNIT_SENT;
	link_send(e->link, FRAME_ATTACH,
	    json_pack("{s:s,s:I,s:I}", "unit", u->id, "epoch", (json_int_t)u->run->epoch, "from",
		(json_int_t)u->journal_next),
	    -1);
}
