// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Cron's times of day; its days are days.c's, the zone's rules local.c's. */
#include "when/cron.h"

#include "when/local.h"

#include "base/banned.h"

bool
cron_follows_clock(const struct cron *c)
{
	return c->minute_star || c->hour_star;
}

/* The values of a set from v on. */
static uint64_t
from_on(uint64_t set, int v)
{
	return set >> v << v;
}

/* The first matching second of a day from `from` on (0 to 86399), or -1. */
static int
next_second(const void *times, int from)
{
	const struct cron *c = times;
	int hour = from / 3600, minute = from / 60 % 60, second = from % 60;
	uint64_t later;

	if (c->hour >> hour & 1) {
		later = from_on(c->second, second);
		if ((c->minute >> minute & 1) && later)
			return from - second + __builtin_ctzll(later);
		later = from_on(c->minute, minute + 1);
		if (later)
			return hour * 3600 + __builtin_ctzll(later) * 60 +
			       __builtin_ctzll(c->second);
	}
	later = from_on(c->hour, hour + 1);
	return later ? __builtin_ctzll(later) * 3600 + __builtin_ctzll(c->minute) * 60 +
			   __builtin_ctzll(c->second)
		     : -1;
}

int64_t
cron_next_local(const struct cron *c, int64_t from, int64_t end)
{
	return day_rule_next_local(&c->days, next_second, c, from, end);
}

static bool
source_next(const void *arg, int64_t from, int64_t end, struct local_time *out)
{
	int64_t s = cron_next_local(arg, from, end);

	*out = (struct local_time){.s = s};
	return s != INT64_MAX;
}

bool
cron_next_occurrence(const struct cron *c, const struct zone *z, const struct cron_policy *policy,
    int64_t after, struct cron_occurrence *out)
{
	const struct local_source s = {source_next, c, z, *policy, cron_follows_clock(c)};
	struct local_hit hit;

	if (!local_next(&s, after, INT64_MAX, &hit))
		return false;
	*out = (struct cron_occurrence){hit.utc, hit.is_moved, hit.is_repeat};
	return true;
}

bool
cron_next(const struct cron *c, const struct zone *z, const struct cron_policy *policy,
    int64_t after, int64_t *out)
{
	struct cron_occurrence o;

	if (!cron_next_occurrence(c, z, policy, after, &o))
		return false;
	*out = o.utc;
	return true;
}
