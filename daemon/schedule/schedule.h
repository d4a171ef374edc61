// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Decides about due times: which one fires, which are passed over, when is next. No leader: a
 * decision is a compare-and-set on the schedule's row, and an occurrence's key is its due time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cron;
struct cron_policy;
struct engine;
struct zone;

/* JOB_SCHEDULE */
bool schedule_start(struct engine *);

struct catch_up {
	int64_t due;        /* the latest due time <= now: it fires */
	int64_t next;       /* the first after now */
	bool has_next;      /* false: never again */
	unsigned skipped;   /* due times before `due`, counted up to CATCH_UP_STEPS */
	int64_t skip_until; /* the last of them */
};

#define CATCH_UP_STEPS 10000u

/* first_due <= now is the schedule's stored time. Bounded: after CATCH_UP_STEPS it looks back from now. */
struct catch_up schedule_catch_up(const struct cron *, const struct zone *,
    const struct cron_policy *, int64_t first_due, int64_t now);
