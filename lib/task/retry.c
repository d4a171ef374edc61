// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The verdict on an attempt. */
#include "task/retry.h"

#include "base/banned.h"

enum task_state
retry_verdict(
    const struct retry_tally *t, const struct retry_policy *p, unsigned attempt, bool is_cancelling)
{
	bool all_passed =
	    t->failed == 0 && t->failed_before == 0 && t->passed + t->passed_before > 0;

	if (all_passed)
		return TASK_completed;
	if (is_cancelling)
		return TASK_cancelled;
	if (t->retryable > 0 && attempt <= p->max_retries)
		return TASK_retry_wait;
	if (t->failed > 0 && t->timed_out == t->failed && t->failed_before == 0)
		return TASK_timed_out;
	return TASK_failed;
}
