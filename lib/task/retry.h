// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What follows when an attempt has ended: pure arithmetic on the units' outcomes, no clock, no
 * database. Used by the engine's record module.
 */
#pragma once

#include <stdbool.h>

#include "task/states.h"

/* Outcomes of one attempt's units, and of the run's units that this attempt did not repeat. */
struct retry_tally {
	unsigned passed, failed; /* units of this attempt; cancelled ones count as failed */
	unsigned retryable;      /* among failed: another attempt may pass */
	unsigned timed_out;      /* among failed: class timeout */
	unsigned passed_before, failed_before; /* settled in earlier attempts */
};

struct retry_policy {
	unsigned max_retries; /* after the first attempt */
	unsigned delay_s;
};

/*
 * The state that the run goes to: completed when every unit has passed in some attempt (also while
 * cancelling: it finished first), cancelled when a cancel was asked for, retry_wait when another
 * attempt is allowed and may help, else timed_out (every failure of this attempt was a timeout) or
 * failed. attempt counts from 1.
 */
enum task_state retry_verdict(const struct retry_tally *t, const struct retry_policy *p,
    unsigned attempt, bool is_cancelling);
