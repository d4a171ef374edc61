// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* What a unit came to, as the document that its keeper leaves: asked for once, when all is over. */
#include "executor/keeper_priv.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "task/rc.h"

#include "base/banned.h"

static void
say(json_t *j, enum rc_class c, const char *code, const char *message)
{
	json_object_set_new(j, "rc", json_integer(rc_number(c)));
	json_object_set_new(j, "class", json_string(rc_class_name(c)));
	json_object_set_new(j, "code", json_string(code));
	json_object_set_new(j, "message", json_string(message));
}

static void
say_crash(const struct keeper *k, json_t *j)
{
	char text[200];

	if (WIFSIGNALED(k->status))
		snprintf(text, sizeof(text),
		    "plugin process was ended by signal %d (%s) before run() returned",
		    WTERMSIG(k->status), strsignal(WTERMSIG(k->status)));
	else
		snprintf(text, sizeof(text),
		    "plugin process exited with status %d before run() returned",
		    WEXITSTATUS(k->status));
	say(j, RC_internal, "plugin.crashed", text);
	json_object_set_new(j, "hint",
	    json_string("The plugin has a defect; its last output lines may tell where."));
}

/* run() has returned: its own words, if it left any. */
static void
say_returned(const struct keeper *k, json_t *j)
{
	enum rc_class c = rc_class_of(k->rc);
	char text[120];

	snprintf(text, sizeof(text), "run() returned %d without saying why", k->rc);
	say(j, c, "", rc_is_success(c) ? "" : text);
	if (!rc_is_success(c) && k->fail)
		json_object_update(j, k->fail);
	json_object_set_new(j, "rc", json_integer(k->rc));
}

/* Who decided the outcome, in order: finished work, the ladder, broken rules, the plugin itself. */
static const char *
say_outcome(const struct keeper *k, json_t *j)
{
	bool is_done = k->has_end && rc_is_success(rc_class_of(k->rc)) && !k->is_bad;
	char text[400];

	if (k->stop == STOP_LEASE && !is_done) {
		say(j, RC_transient, "takt.lease_lost",
		    "stopped: its node could not renew its lease in time");
		return "lease";
	}
	if (k->stop != STOP_NONE && !is_done) {
		bool is_deadline = k->stop == STOP_DEADLINE;

		snprintf(text, sizeof(text), is_deadline ? "stopped at its %s" : "cancelled: %s",
		    k->stop_reason);
		say(j, is_deadline ? RC_timeout : RC_cancelled,
		    is_deadline ? "unit.deadline" : "unit.cancelled", text);
		return is_deadline ? "deadline" : "cancel";
	}
	if (k->is_bad) {
		snprintf(
		    text, sizeof(text), "plugin process broke the frame rules: %s", k->bad_reason);
		say(j, RC_internal, "plugin.protocol", text);
	} else if (k->has_end)
		say_returned(k, j);
	else
		say_crash(k, j);
	return NULL;
}

json_t *
result_json(const struct keeper *k)
{
	json_t *j =
	    json_pack("{s:s, s:s, s:i}", "hint", "", "breaker_key", "", "retry_after_ms", 0);
	const char *killed = say_outcome(k, j);
	int64_t at_us = clock_realtime_us();
	struct rusage ru = {0};

	getrusage(RUSAGE_CHILDREN, &ru);
	json_object_set_new(j, "killed", killed ? json_string(killed) : json_null());
	json_object_set_new(j, "result", k->result ? json_incref(k->result) : json_object());
	json_object_set_new(j, "at_us", json_integer(at_us));
	json_object_set_new(j, "started_us", json_integer(k->started_us));
	json_object_set_new(
	    j, "duration_us", json_integer((clock_monotonic_ms() - k->started_ms) * 1000));
	json_object_set_new(j, "cpu_us",
	    json_integer((ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000LL +
			 ru.ru_utime.tv_usec + ru.ru_stime.tv_usec));
	json_object_set_new(j, "maxrss_kb", json_integer(ru.ru_maxrss));
	json_object_set_new(j, "output_b", json_integer((json_int_t)k->out.total));
	json_object_set_new(j, "output_cut_b", json_integer((json_int_t)k->out.cut_b));
	json_object_set_new(j, "exit",
	    WIFSIGNALED(k->status) ? json_pack("{s:i}", "signal", WTERMSIG(k->status))
				   : json_pack("{s:i}", "status", WEXITSTATUS(k->status)));
	return j;
}
