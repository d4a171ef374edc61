// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Catch-up rule `latest`: after a time without an engine the latest due time fires, once. */
#include "daemon/schedule/schedule.h"

#include "when/cron.h"

#include "base/banned.h"

/* Make r->due the latest due time <= now and r->skip_until the one before it, looking back from now by
 * doubling steps until there are two. */
static void
jump_to_latest(struct catch_up *r, const struct cron *c, const struct zone *z,
    const struct cron_policy *p, int64_t now)
{
	int64_t start = r->due;
	unsigned found = 0;

	for (int64_t back = 60; found < 2; back *= 2) {
		int64_t t = now - back > start ? now - back : start;
		bool is_all = t == start;
		r->due = start;
		found = 0;
		while (cron_next(c, z, p, t, &t) && t <= now) {
			r->skip_until = r->due;
			r->due = t;
			found++;
		}
		if (is_all)
			break;
	}
}

struct catch_up
schedule_catch_up(const struct cron *c, const struct zone *z, const struct cron_policy *p,
    int64_t first_due, int64_t now)
{
	struct catch_up r = {.due = first_due};
	int64_t t = first_due;

	while ((r.has_next = cron_next(c, z, p, t, &t)) && t <= now) {
		if (r.skipped == CATCH_UP_STEPS) {
			jump_to_latest(&r, c, z, p, now);
			t = r.due;
			continue;
		}
		r.skipped++;
		r.skip_until = r.due;
		r.due = t;
	}
	r.next = t;
	return r;
}
