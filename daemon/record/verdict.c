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

/* The attempt's first unit has started. These events go before all others of the batch. */
static void
attempt_start(struct run *r)
{
	json_t *after = r->items ? r->items : json_array();
	json_t *item;

	r->items = NULL;
	r->is_attempt_started = true;
	if (r->attempt == 1) {
		item = event_add(r, "task_started", "info");
		json_object_set_new(item, "retry",
		    json_pack("{s:s,s:I,s:I}", "policy", "fixed", "max_retries",
			(json_int_t)r->retry.max_retries, "delay_s", (json_int_t)r->retry.delay_s));
		if (r->state == TASK_dispatched) {
			move(r, TASK_running);
			set_str(item, "state", "running");
		}
	}
	item = event_add(r, "attempt_started", "info");
	set_int(item, "attempt", r->attempt);
	set_int(item, "epoch", r->epoch);
	set_int(item, "timeout_s", r->timeout_s);
	if (r->state == TASK_dispatched) {
		move(r, TASK_running);
		set_str(item, "state", "running");
	}
	json_array_extend(r->items, after);
	json_decref(after);
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

static json_t *
error_of(const struct run *r, const struct unit *worst)
{
	json_t *error = json_object();

	if (r->empty_message) {
		set_str(error, "code", "target.unresolved");
		set_str(error, "message", r->empty_message);
	} else if (worst) {
		set_str(error, "code", worst->outcome.code);
		set_str(error, "message", worst->outcome.message);
		set_str(error, "hint", worst->outcome.hint);
	}
	return error;
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
	json_t *item = event_add(r,
	    is_passed                    ? "attempt_success"
	    : strcmp(state, "lost") == 0 ? "attempt_lost"
					 : "attempt_failed",
	    is_passed ? "info" : "warning");

	set_int(item, "attempt", r->attempt);
	set_int(item, "passed", t->passed);
	set_int(item, "failed", t->failed);
	row->attempt_state = state;
	if (is_passed)
		return;
	_cleanup_json_ json_t *error = error_of(r, worst);
	set_str(item, "class", class_of(r, worst));
	set_str(item, "message", json_get_str(error, "message", ""));
	row->error_class = class_of(r, worst);
	row->error = json_text(error);
}

static void
run_retry(struct run *r, struct run_row *row)
{
	/* next_at is filled in by record.sql, by the database's clock; this stays the last item. */
	json_t *item = event_add(r, "task_retried", "warning");

	set_str(item, "state", "retry_wait");
	set_int(item, "attempt", r->attempt + 1);
	set_int(item, "delay_s", r->retry.delay_s);
	row->delay_s = (int)r->retry.delay_s;
	move(r, TASK_retry_wait);
	row->state = "retry_wait";
}

static void
run_end(struct run *r, struct run_row *row, const struct retry_tally *t, const struct unit *worst,
    enum task_state end)
{
	char message[400];
	unsigned failed = t->failed + t->failed_before, passed = t->passed + t->passed_before;
	_cleanup_json_ json_t *error = error_of(r, worst);
	json_t *item = event_add(r, end_events[end][0], end_events[end][1]);
	json_t *summary = json_object();

	say(r, t, worst, end, message, sizeof(message));
	set_str(summary, "message", message);
	set_int(summary, "units", passed + failed);
	set_int(summary, "passed", passed);
	set_int(summary, "failed", failed);
	set_int(summary, "attempts", r->attempt);
	set_int(summary, "duration_ms", r->started_ms ? clock_monotonic_ms() - r->started_ms : 0);
	if (end == TASK_cancelled)
		set_str(summary, "reason", r->cancel_reason);
	if (failed > 0 || r->empty_message) {
		set_str(summary, "class", class_of(r, worst));
		json_object_set(summary, "error", error);
	}
	json_object_update_missing(item, summary);
	set_str(item, "state", task_state_name(end));
	row->summary = json_text(summary);
	json_decref(summary);
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
	row->n = (unsigned)json_array_size(r->items);
	row->items = r->items ? json_text(r->items) : xstrdup("[]");
	json_decref(r->items);
	r->items = NULL;
}
