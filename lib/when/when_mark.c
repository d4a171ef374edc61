// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Every nominal time and what becomes of it: for previews, reports and `takt why`. */
#include "when/civil.h"
#include "when/when_priv.h"

#include "base/banned.h"

static const char in_gap[] = "the clock skipped this time";
static const char in_new_clock[] = "the zone's clock was set anew over this time";
static const char shown_before[] = "the clock showed this time before";
static const char shown_again[] = "the clock shows this time again";

static bool
is_effective(const struct when *w, int64_t utc)
{
	return utc >= w->set.from && utc < w->set.until;
}

/* Where a time on a day that is a hit runs; false if it is skipped. */
static bool
shifted(const struct when *w, const struct local_time *t, struct when_occurrence *o)
{
	struct local_hit hit;
	int64_t to;

	if (!when_moved_day(&w->set, t->day, &to) ||
	    !local_to_utc(w->set.zone, &w->set.policy, t->s + (to - t->day) * DAY_S, &hit))
		return false;
	*o = (struct when_occurrence){hit.utc, hit.is_moved, hit.is_repeat, true, t->day};
	return true;
}

static void
skip(struct when_mark *m, enum when_what what, const char *reason)
{
	m->what = what;
	m->reason = reason;
}

static void
judge(const struct when *w, const struct local_mark *l, struct when_mark *m)
{
	const char *reason;
	bool is_hit = when_is_hit(&w->set, l->local.day, &reason);

	*m = (struct when_mark){.utc = l->utc, .local_s = l->local.s};
	m->o = (struct when_occurrence){l->utc, l->is_moved, l->is_repeat, false, l->local.day};
	if (is_hit && w->set.hit == WHEN_HIT_SKIP)
		skip(m, WHEN_SKIPPED_CALENDAR, reason);
	else if (l->fate == LOCAL_NOT_REPEATED || (is_hit && l->is_repeat))
		skip(m, WHEN_SKIPPED_FOLD, l->is_repeat ? shown_before : shown_again);
	else if (is_hit && !shifted(w, &l->local, &m->o))
		skip(m, WHEN_SKIPPED_CALENDAR, reason);
	else if (!is_hit && l->fate == LOCAL_IN_GAP)
		skip(m, WHEN_SKIPPED_GAP, l->is_new_clock ? in_new_clock : in_gap);
}

static bool
next_local_mark(const struct when *w, struct when_cursor *c, struct when_mark *out)
{
	const struct local_source s = when_source(w, false);
	struct local_mark l;

	if (!c->is_begun)
		c->local = (struct local_cursor){.after = c->after};
	c->is_begun = true;
	if (!local_next_mark(&s, &c->local, c->until, &l))
		return false;
	judge(w, &l, out);
	return true;
}

static bool
next_instant_mark(const struct when *w, struct when_cursor *c, struct when_mark *out)
{
	const char *reason;
	int64_t utc;

	if (c->after >= c->until || !w->ops->next_instant(w, c->after + 1, &utc) || utc > c->until)
		return false;
	c->after = utc;
	*out = (struct when_mark){.utc = utc, .local_s = when_local_s(w, utc)};
	if (!when_instant(w, utc, &out->o, &reason))
		skip(out, WHEN_SKIPPED_CALENDAR, reason);
	return true;
}

bool
when_next_mark(const struct when *w, struct when_cursor *c, struct when_mark *out)
{
	struct when_mark m;

	if (!w->ops->next_local && !w->ops->next_instant)
		return false;
	while (w->ops->next_local ? next_local_mark(w, c, &m) : next_instant_mark(w, c, &m)) {
		if (!is_effective(w, m.what == WHEN_FIRES ? m.o.utc : m.utc))
			continue;
		*out = m;
		return true;
	}
	return false;
}
