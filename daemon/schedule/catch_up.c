// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Catch-up. Pending due times are walked once, oldest first, and only the last few are kept: those
 * that may fire. After CATCH_UP_STEPS the walk begins anew near its end.
 */
#include "daemon/schedule/catch_up.h"

#include "when/when.h"

#include "base/banned.h"

static const char missed[] = "missed";

static const char *const missed_by[] = {
    [CATCH_UP_LATEST] = "catchup.latest",
    [CATCH_UP_NONE] = "catchup.none",
    [CATCH_UP_ALL] = "catchup.limit",
};

/* The last `room` of n times. */
struct tail {
	unsigned room, n;
	int64_t times[CATCH_UP_LIMIT_MAX + 1];
	bool is_more; /* there were more than n before */
	bool has_next;
	int64_t next; /* the first that is not among them */
};

static void
add(struct tail *t, int64_t utc)
{
	t->times[t->n++ % t->room] = utc;
}

/* back: 0 is the last one. */
static int64_t
get(const struct tail *t, unsigned back)
{
	return t->times[(t->n - 1 - back) % t->room];
}

/* Add what is due after `after` and before end; false if that would be too many. */
static bool
walk(const struct when *w, int64_t after, int64_t end, struct tail *t)
{
	struct when_occurrence o;

	while ((t->has_next = when_next(w, after, &o)) && o.utc < end) {
		if (t->n == CATCH_UP_STEPS)
			return false;
		after = o.utc;
		add(t, after);
	}
	if (t->has_next)
		t->next = o.utc;
	return true;
}

/* There are too many from `many` on: begin where there are enough and not too many. Instants that
 * are a second apart differ by one due time at most, so the search ends. */
static void
walk_back(const struct when *w, int64_t many, int64_t end, struct tail *t)
{
	int64_t few = end, step = 64;
	bool is_between = false; /* look in the middle of many and few */

	for (;; step *= 2) {
		int64_t from = end - step;

		is_between |= from <= many;
		if (is_between)
			from = many + (few - many) / 2;
		t->n = 0;
		if (!walk(w, from, end, t)) {
			many = from;
			is_between = true;
		} else if (t->n < t->room)
			few = from;
		else
			break;
	}
	t->is_more = true;
}

/* The last `room` due times from `first`, itself one, to before end. */
static void
collect(const struct when *w, int64_t first, int64_t end, unsigned room, struct tail *t)
{
	t->room = room;
	t->n = 0;
	t->next = 0;
	t->is_more = false;
	add(t, first);
	if (!walk(w, first, end, t))
		walk_back(w, first, end, t);
}

static void
miss(struct catch_up *c, const char *rule, int64_t due, int64_t until, unsigned n)
{
	c->rows[c->row_count++] = (struct passed){missed, rule, NULL, due, until, n};
}

/* Move *first to the first due time that is not older; false if there is none up to upto. */
static bool
leave_old(const struct when *w, int64_t oldest, int64_t upto, int64_t *first, struct catch_up *out)
{
	struct tail t;

	if (*first >= oldest)
		return true;
	collect(w, *first, oldest, 2, &t);
	miss(out, "catchup.deadline", *first, get(&t, 0), t.is_more ? CATCH_UP_STEPS : t.n);
	out->has_next = t.has_next;
	*first = out->next = t.next;
	return t.has_next && t.next <= upto;
}

static void
decide(const struct when *w, const struct catch_up_policy *p, int64_t first, int64_t upto,
    struct catch_up *out)
{
	unsigned kept = p->rule == CATCH_UP_ALL ? p->limit : 1;
	struct tail t;

	collect(w, first, upto + 1, kept + 1, &t);
	out->has_next = t.has_next;
	out->next = t.next;
	if (p->rule == CATCH_UP_NONE && get(&t, 0) < upto - CATCH_UP_LATE_S)
		kept = 0;
	else if (kept > t.n)
		kept = t.n;
	if (t.n > kept)
		miss(out, missed_by[p->rule], first, get(&t, kept),
		    t.is_more ? CATCH_UP_STEPS : t.n - kept);
	if (kept == 0)
		return;
	out->has_due = true;
	out->due = get(&t, kept - 1);
	if (kept > 1) {
		out->has_next = true;
		out->next = get(&t, kept - 2);
	}
}

void
catch_up(const struct when *w, const struct catch_up_policy *p, int64_t was, int64_t upto,
    struct catch_up *out)
{
	out->has_due = out->has_next = false;
	out->due = out->next = 0;
	out->row_count = 0;
	if (p->deadline_s == 0 || leave_old(w, upto - p->deadline_s, upto, &was, out))
		decide(w, p, was, upto, out);
}
