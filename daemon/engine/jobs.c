// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The gate. Jobs run one at a time, in turn: the search for the next one starts behind the last
 * one, so that a busy job cannot starve the others; recovery comes first because everything else
 * builds on it.
 */
#include "daemon/engine/jobs.h"

#include "base/log.h"

#include "daemon/engine/recover.h"
#include "daemon/engine/rescue.h"
#include "daemon/queue/claim.h"
#include "daemon/queue/command.h"
#include "daemon/queue/retry_due.h"
#include "daemon/record/fence.h"
#include "daemon/record/record.h"
#include "daemon/schedule/schedule.h"

#include "base/banned.h"

#define PAUSE_S 0.5

static const struct {
	const char *name;
	bool (*start)(struct engine *); /* false: nothing to do now */
	bool is_new;                    /* begins something: only while the lease is held */
	bool while_stopping;
} jobs[JOB_COUNT] = {
    [JOB_RECOVER] = {"recover", recover_start, false, false},
    [JOB_RECORD] = {"record", record_start, false, true},
    [JOB_FENCED] = {"fenced", fence_start, false, true},
    [JOB_COMMAND] = {"command", command_start, true, false},
    [JOB_RETRY] = {"retry", retry_due_start, true, false},
    [JOB_SCHEDULE] = {"schedule", schedule_start, true, false},
    [JOB_RESCUE] = {"rescue", rescue_start, true, false},
    [JOB_CLAIM] = {"claim", claim_start, true, false},
};

static struct ev_prepare before_sleep;
static struct ev_timer pause_over;
static unsigned failed;
static enum engine_job last;

static bool
job_try(struct engine *e, enum engine_job job)
{
	if (!(e->wanted & 1u << job) || (e->is_stopping && !jobs[job].while_stopping))
		return false;
	if (jobs[job].is_new && !engine_may_claim(e))
		return false; /* still wanted: the renewal that is acknowledged wakes the loop */
	e->wanted &= ~(1u << job);
	e->gate = job;
	STORE_POINT(e->store, jobs[job].name);
	if (jobs[job].start(e)) {
		last = job;
		return true;
	}
	e->gate = JOB_COUNT;
	STORE_POINT(e->store, NULL);
	return false;
}

static void
on_before_sleep(struct ev_loop *loop, struct ev_prepare *w, int revents)
{
	struct engine *e = w->data;

	(void)loop;
	(void)revents;
	if (e->gate != JOB_COUNT || !e->is_node_up || !store_is_up(e->store))
		return;
	if (job_try(e, JOB_RECOVER))
		return;
	for (unsigned i = 1; i <= JOB_COUNT; i++)
		if (job_try(e, (last + i) % JOB_COUNT))
			return;
}

static void
on_pause_over(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine *e = w->data;

	(void)loop;
	(void)revents;
	e->wanted |= failed;
	failed = 0;
}

void
engine_want(struct engine *e, enum engine_job job)
{
	e->wanted |= 1u << job;
}

void
engine_done(struct engine *e, const struct err *err)
{
	if (err && store_is_up(e->store)) {
		log_error(LOG_MAIN, "job %s failed, nothing was changed: %s", jobs[e->gate].name,
		    err->message);
		failed |= 1u << e->gate;
		if (!ev_is_active(&pause_over)) {
			ev_timer_set(&pause_over, PAUSE_S, 0);
			ev_timer_start(e->loop, &pause_over);
		}
	}
	e->has_new_events |= !err;
	e->gate = JOB_COUNT;
	STORE_POINT(e->store, NULL);
}

void
jobs_abandon(struct engine *e)
{
	e->gate = JOB_COUNT;
	STORE_POINT(e->store, NULL);
	e->wanted = failed = 0;
}

void
jobs_init(struct engine *e)
{
	e->gate = JOB_COUNT;
	ev_prepare_init(&before_sleep, on_before_sleep);
	ev_init(&pause_over, on_pause_over);
	before_sleep.data = pause_over.data = e;
	ev_prepare_start(e->loop, &before_sleep);
}

void
jobs_fini(struct engine *e)
{
	ev_prepare_stop(e->loop, &before_sleep);
	ev_timer_stop(e->loop, &pause_over);
}
