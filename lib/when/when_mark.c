// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Every nominal time and what becomes of it: for previews, reports and `takt why`. */
#include "when/civil.h"
#include "when/when_priv.h"

#include "base/banned.h"

#define REACH_S ((WHEN_SHIFT_DAYS_MAX + 2) * INT64_C(86400))

static const char in_gap[] = "the clock skipped this time";
static const char in_new_clock[] = "the zone's clock was set anew over this time";
static const char shown_before[] = "the clock showed this time before";
static const char shown_again[] = "the clock shows this time again";

static bool
is_effective(const struct when *w, int64_t utc)
{
	return utc >= w->set.from && utc < w->set.until;
}

static void
skip(struct when_mark *m, enum when_what what, const char *reason)
{
	m->what = what;
	m->reason = reason;
}

/* A time on a day that is ruled out; the clock of that day does not matter. */
static void
judge_hit(const struct when *w, const struct local_source *s, const struct local_mark *l,
    const char *reason, struct when_mark *m)
{
	struct local_hit hit;
	int64_t to;

	if (!when_moved_day(&w->set, l->local.day, &to))
		skip(m, WHEN_SKIPPED_CALENDAR, reason);
	else if (!local_to_utc(s, l->local.s + (to - l->local.day) * DAY_S, &hit))
		skip(m, WHEN_SKIPPED_GAP, in_gap);
	else
		m->o = (struct when_occurrence){
		    hit.utc, hit.is_moved, hit.is_repeat, true, l->local.day};
}

static void
judge(const struct when *w, const struct local_source *s, const struct local_mark *l,
    struct when_mark *m)
{
	bool is_first_run =
	    !l->is_repeat || (s->policy.fold == CRON_FOLD_SECOND && !s->follows_clock);
	const char *reason;
	bool is_hit = when_is_hit(&w->set, l->local.day, &reason);

	*m = (struct when_mark){.utc = l->utc, .local_s = l->local.s};
	m->o = (struct when_occurrence){l->utc, l->is_moved, l->is_repeat, false, l->local.day};
	/* What is moved to another day is moved once. */
	if (l->fate == LOCAL_NOT_REPEATED ||
	    (is_hit && w->set.hit != WHEN_HIT_SKIP && !is_first_run))
		skip(m, WHEN_SKIPPED_FOLD, l->is_repeat ? shown_before : shown_again);
	else if (is_hit)
		judge_hit(w, s, l, reason, m);
	else if (l->fate == LOCAL_IN_GAP)
		skip(m, WHEN_SKIPPED_GAP, l->is_new_clock ? in_new_clock : in_gap);
}

static bool
next_local_mark(const struct when *w, struct when_cursor *c, struct when_mark *out)
{
	const struct local_source s = when_source(w, false);
	struct local_mark l;

	if (!local_next_mark(&s, &c->local, c->until, &l))
		return false;
	judge(w, &s, &l, out);
	return true;
}

static bool
next_instant_mark(const struct when *w, struct when_cursor *c, struct when_mark *out)
{
	int64_t after = c->local.after, utc;
	const char *reason;

	if (after >= c->until || !w->ops->next_instant(w, after + 1, &utc) || utc > c->until)
		return false;
	c->local.after = utc;
	*out = (struct when_mark){.utc = utc, .local_s = when_local_s(w, utc)};
	if (!when_instant(w, utc, &out->o, &reason))
		skip(out, WHEN_SKIPPED_CALENDAR, reason);
	return true;
}

/* What is nominal farther away than a calendar moves it cannot come into the effective time. */
static void
begin(const struct when *w, struct when_cursor *c)
{
	c->is_begun = true;
	c->local = (struct local_cursor){.after = c->after};
	if (w->set.from > CIVIL_MIN_S && c->after < w->set.from - REACH_S)
		c->local.after = w->set.from - REACH_S;
	if (w->set.until < CIVIL_MAX_S && c->until > w->set.until + REACH_S)
		c->until = w->set.until + REACH_S;
}

bool
when_next_mark(const struct when *w, struct when_cursor *c, struct when_mark *out)
{
	struct when_mark m;

	if (!w->ops->next_local && !w->ops->next_instant)
		return false;
	if (!c->is_begun)
		begin(w, c);
	while (w->ops->next_local ? next_local_mark(w, c, &m) : next_instant_mark(w, c, &m)) {
		if (!is_effective(w, m.what == WHEN_FIRES ? m.o.utc : m.utc))
			continue;
		*out = m;
		return true;
	}
	return false;
}
