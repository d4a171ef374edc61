// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The gate. Jobs run in turn: the search for the next one starts behind the last one, so that a
 * busy job cannot starve the others; recovery comes first because everything else builds on it.
 *
 * A record and a claim may be in flight together, in either order, so that the server has the next
 * one when it is done with the first. A record is about runs in memory, a claim about runs that are
 * not, so neither is built on what the other will have done; if one fails, the other stands. All
 * other jobs have the gate for themselves.
 */
#include "daemon/engine/jobs.h"

#include "base/log.h"

#include "daemon/engine/recover.h"
#include "daemon/engine/rescue.h"
#include "daemon/queue/claim.h"
#include "daemon/queue/command.h"
#include "daemon/queue/expire.h"
#include "daemon/queue/retry_due.h"
#include "daemon/record/fence.h"
#include "daemon/record/record.h"
#include "daemon/schedule/replan.h"
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
    [JOB_EXPIRE] = {"expire", expire_start, true, false},
    [JOB_SCHEDULE] = {"schedule", schedule_start, true, false},
    [JOB_REPLAN] = {"replan", replan_start, true, false},
    [JOB_RESCUE] = {"rescue", rescue_start, true, false},
    [JOB_CLAIM] = {"claim", claim_start, true, false},
};

static struct ev_prepare before_sleep;
static struct ev_timer pause_over;
static unsigned failed;
static enum engine_job last;

/* What may be in flight beside it. */
static unsigned
beside(enum engine_job job)
{
	return job == JOB_RECORD ? 1u << JOB_CLAIM : job == JOB_CLAIM ? 1u << JOB_RECORD : 0;
}

/* Wanted, and nothing but other jobs may hold it up. */
static bool
is_ready(const struct engine *e, enum engine_job job)
{
	if (!(e->wanted & ~e->in_flight & 1u << job) ||
	    (e->is_stopping && !jobs[job].while_stopping))
		return false;
	/* Without the lease still wanted: the renewal that is acknowledged wakes the loop. */
	return !jobs[job].is_new || engine_may_claim(e);
}

static bool
job_try(struct engine *e, enum engine_job job)
{
	e->wanted &= ~(1u << job);
	STORE_POINT(e->store, jobs[job].name);
	if (!jobs[job].start(e)) {
		STORE_POINT(e->store, NULL);
		return false;
	}
	e->in_flight |= 1u << job;
	last = job;
	return true;
}

/* False: nothing more can be started now. One that has to wait for the gate is not overtaken for
 * long: those behind it in turn wait with it. */
static bool
job_next(struct engine *e)
{
	for (unsigned i = 0; i <= JOB_COUNT; i++) {
		enum engine_job job = i == 0 ? JOB_RECOVER : (last + i) % JOB_COUNT;
		if (!is_ready(e, job))
			continue;
		if (e->in_flight & ~beside(job))
			return false;
		if (job_try(e, job))
			return true;
	}
	return false;
}

static void
on_before_sleep(struct ev_loop *loop, struct ev_prepare *w, int revents)
{
	struct engine *e = w->data;

	(void)loop;
	(void)revents;
	while (e->is_node_up && store_is_up(e->store) && job_next(e))
		;
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
engine_done(struct engine *e, enum engine_job job, const struct err *err)
{
	if (err && store_is_up(e->store)) {
		log_error(LOG_MAIN, "job %s failed, nothing was changed: %s", jobs[job].name,
		    err->message);
		failed |= 1u << job;
		if (!ev_is_active(&pause_over)) {
			ev_timer_set(&pause_over, PAUSE_S, 0);
			ev_timer_start(e->loop, &pause_over);
		}
	}
	e->has_new_events |= !err;
	e->in_flight &= ~(1u << job);
	STORE_POINT(e->store, NULL);
}

void
jobs_abandon(struct engine *e)
{
	e->in_flight = 0;
	STORE_POINT(e->store, NULL);
	e->wanted = failed = 0;
}

void
jobs_init(struct engine *e)
{
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
