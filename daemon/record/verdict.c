// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * From what the units of a run reported to the run's row of the batch: its moves, the verdict when
 * all units have ended, and the events that say so. Built when the batch is, never earlier: only
 * then is the memory of the run's state what the database holds.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "base/jtext.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/runs.h"
#include "daemon/record/record_priv.h"
#include "task/retry.h"

#include "base/banned.h"

static const char *const end_events[TASK_STATE_COUNT][2] = {
    [TASK_completed] = {"task_completed", "info"},
    [TASK_failed] = {"task_failed", "error"},
    [TASK_timed_out] = {"task_timed_out", "error"},
    [TASK_cancelled] = {"task_cancelled", "warning"},
};

static void
move(struct run *r, enum task_state to)
{
	if (!task_move_is_legal(r->state, to))
		log_bug(LOG_RECORD, "run %s: %s -> %s is not a legal move", r->id,
		    task_state_name(r->state), task_state_name(to));
	log_info(
	    LOG_RECORD, "run %s: %s -> %s", r->id, task_state_name(r->state), task_state_name(to));
	r->state = to;
}

/* How long ago the attempt's first unit started, of those that this host saw start. */
static int64_t
attempt_age_us(const struct run *r)
{
	int64_t age = 0;

	for (unsigned i = 0; i < r->units_n; i++)
		if (unit_age_us(&r->units[i]) > age)
			age = unit_age_us(&r->units[i]);
	return age;
}

static void
task_start(struct run *r)
{
	struct buf *item = event_open(r, "task_started", "info");

	jtext_open(item, "retry", '{');
	jtext_str(item, "policy", "fixed");
	jtext_int(item, "max_retries", r->retry.max_retries);
	jtext_int(item, "delay_s", r->retry.delay_s);
	jtext_close(item, '}');
	if (r->state == TASK_dispatched) {
		move(r, TASK_running);
		jtext_str(item, "state", "running");
	}
	event_close(r);
}

/* The attempt's first unit has started. These events go before all others of the batch. */
static void
attempt_start(struct run *r)
{
	struct items after = r->items;

	r->items = (struct items){0};
	r->is_attempt_started = true;
	if (r->attempt == 1)
		task_start(r);
	struct buf *item = event_open(r, "attempt_started", "info");
	jtext_int(item, "attempt", r->attempt);
	jtext_int(item, "epoch", r->epoch);
	jtext_int(item, "timeout_s", r->timeout_s);
	if (r->state == TASK_dispatched) {
		move(r, TASK_running);
		jtext_str(item, "state", "running");
	}
	event_close(r);
	if (after.n > 0)
		jtext_raw(item, NULL, after.text.p + 1);
	r->items.n += after.n;
	buf_fini(&after.text);
	if (!r->started_ms)
		r->started_ms = clock_monotonic_ms() - attempt_age_us(r) / 1000;
}

static struct retry_tally
tally_of(const struct run *r, const struct unit **worst)
{
	struct retry_tally t = {
	    .passed_before = r->passed_before, .failed_before = r->failed_before};

	*worst = NULL;
	for (unsigned i = 0; i < r->units_n; i++) {
		const struct unit *u = &r->units[i];
		if (rc_is_success(u->outcome.class)) {
			t.passed++;
			continue;
		}
		t.failed++;
		t.retryable += u->outcome.is_retryable;
		t.timed_out += u->outcome.class == RC_timeout;
		if (!*worst || u->outcome.is_lost)
			*worst = u;
	}
	return t;
}

static bool
is_attempt_over(const struct run *r)
{
	for (unsigned i = 0; i < r->units_n; i++)
		if (r->units[i].step != UNIT_DONE || r->units[i].is_dirty)
			return false;
	return r->units_n > 0 || r->empty_message;
}

static const char *
attempt_state(const struct run *r, const struct retry_tally *t, const struct unit *worst)
{
	if (r->empty_message)
		return "failed";
	if (t->failed == 0)
		return "passed";
	if (worst->outcome.is_lost)
		return "lost";
	if (r->state == TASK_cancelling)
		return "cancelled";
	return t->timed_out == t->failed ? "timed_out" : "failed";
}

/* What the run says of itself at its end: "1 of 4 failed". */
static void
say(const struct run *r, const struct retry_tally *t, const struct unit *worst, enum task_state end,
    char *out, size_t n)
{
	unsigned failed = t->failed + t->failed_before;
	unsigned all = failed + t->passed + t->passed_before;
	bool has_target = !json_is_null(json_object_get(r->policy, "target")) &&
			  json_object_get(r->policy, "target");

	if (r->empty_message)
		snprintf(out, n, "%s", r->empty_message);
	else if (end == TASK_cancelled)
		snprintf(
		    out, n, "cancelled, %u of %u had passed", t->passed + t->passed_before, all);
	else if (failed == 0)
		snprintf(out, n, has_target ? "%u of %u passed" : "passed", all, all);
	else if (has_target || !worst || !worst->outcome.message[0])
		snprintf(out, n, "%u of %u failed", failed, all);
	else
		snprintf(out, n, "%s", worst->outcome.message);
}

static const char *
message_of(const struct run *r, const struct unit *worst)
{
	return r->empty_message ? r->empty_message : worst ? worst->outcome.message : NULL;
}

static char *
error_of(const struct run *r, const struct unit *worst)
{
	struct buf error = {0};

	jtext_open(&error, NULL, '{');
	if (r->empty_message)
		jtext_str(&error, "code", "target.unresolved");
	else if (worst)
		jtext_str_if(&error, "code", worst->outcome.code);
	jtext_str_if(&error, "message", message_of(r, worst));
	if (!r->empty_message && worst)
		jtext_str_if(&error, "hint", worst->outcome.hint);
	jtext_close(&error, '}');
	return buf_take(&error);
}

static const char *
class_of(const struct run *r, const struct unit *worst)
{
	if (r->empty_message)
		return rc_class_name(RC_parameters);
	return worst ? rc_class_name(worst->outcome.class) : NULL;
}

static void
attempt_end(
    struct run *r, struct run_row *row, const struct retry_tally *t, const struct unit *worst)
{
	const char *state = attempt_state(r, t, worst);
	bool is_passed = strcmp(state, "passed") == 0;
	struct buf *item = event_open(r,
	    is_passed                    ? "attempt_success"
	    : strcmp(state, "lost") == 0 ? "attempt_lost"
					 : "attempt_failed",
	    is_passed ? "info" : "warning");

	jtext_int(item, "attempt", r->attempt);
	jtext_int(item, "passed", t->passed);
	jtext_int(item, "failed", t->failed);
	row->attempt_state = state;
	if (!is_passed) {
		jtext_str_if(item, "class", class_of(r, worst));
		jtext_str_if(item, "message", message_of(r, worst));
		row->error_class = class_of(r, worst);
		row->error = error_of(r, worst);
	}
	event_close(r);
}

static void
run_retry(struct run *r, struct run_row *row)
{
	/* next_at is filled in by record.sql, by the database's clock; this stays the last item. */
	struct buf *item = event_open(r, "task_retried", "warning");

	jtext_str(item, "state", "retry_wait");
	jtext_int(item, "attempt", r->attempt + 1);
	jtext_int(item, "delay_s", r->retry.delay_s);
	event_close(r);
	row->delay_s = (int)r->retry.delay_s;
	move(r, TASK_retry_wait);
	row->state = "retry_wait";
}

/* What the run's row keeps of its end, and its last event tells. */
static void
add_summary(struct buf *b, const struct run *r, const struct retry_tally *t,
    const struct unit *worst, enum task_state end)
{
	char message[400];
	unsigned failed = t->failed + t->failed_before, passed = t->passed + t->passed_before;

	say(r, t, worst, end, message, sizeof(message));
	jtext_str_if(b, "message", message);
	jtext_int(b, "units", passed + failed);
	jtext_int(b, "passed", passed);
	jtext_int(b, "failed", failed);
	jtext_int(b, "attempts", r->attempt);
	jtext_int(b, "duration_ms", r->started_ms ? clock_monotonic_ms() - r->started_ms : 0);
	if (end == TASK_cancelled)
		jtext_str_if(b, "reason", r->cancel_reason);
	if (failed == 0 && !r->empty_message)
		return;
	_cleanup_free_ char *error = error_of(r, worst);
	jtext_str_if(b, "class", class_of(r, worst));
	jtext_raw(b, "error", error);
}

static void
run_end(struct run *r, struct run_row *row, const struct retry_tally *t, const struct unit *worst,
    enum task_state end)
{
	struct buf summary = {0};
	struct buf *item = event_open(r, end_events[end][0], end_events[end][1]);

	jtext_open(&summary, NULL, '{');
	add_summary(&summary, r, t, worst, end);
	jtext_raw(item, NULL, summary.p + 1); /* its members, after the comma */
	jtext_str(item, "state", task_state_name(end));
	event_close(r);
	jtext_close(&summary, '}');
	row->summary = buf_take(&summary);
	row->end = task_state_name(end);
	move(r, end);
}

void
verdict_row(struct run *r, struct run_row *row)
{
	const struct unit *worst = NULL;

	memcpy(row->run_id, r->id, sizeof(row->run_id));
	row->epoch = r->epoch;
	row->attempt = r->attempt;
	row->was = task_state_name(r->state);
	row->age_us = -1;
	bool is_over = is_attempt_over(r);
	struct retry_tally t = {0};
	enum task_state to = TASK_running;
	if (is_over) {
		t = tally_of(r, &worst);
		to =
		    retry_verdict(&t, &r->retry, (unsigned)r->attempt, r->state == TASK_cancelling);
	}
	/* A run that completes has run, also if the start's report was lost with an unreadable journal. */
	if ((r->has_start || (is_over && to == TASK_completed)) && !r->is_attempt_started) {
		attempt_start(r);
		row->age_us = attempt_age_us(r);
	}
	r->has_start = false;
	row->state = task_state_name(r->state);
	if (is_over) {
		attempt_end(r, row, &t, worst);
		if (to == TASK_retry_wait)
			run_retry(r, row);
		else
			run_end(r, row, &t, worst, to);
	}
	if (r->items.n == 0)
		jtext_open(&r->items.text, NULL, '[');
	jtext_close(&r->items.text, ']');
	row->n = r->items.n;
	row->items = buf_take(&r->items.text);
	r->items.n = 0;
}
