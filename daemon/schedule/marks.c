// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What was no due time because of a calendar or a clock change becomes rows beside those of missed
 * due times, which are cut where such a time lies within: no row covers what another is about.
 */
#include <string.h>

#include "daemon/schedule/catch_up.h"

#include "when/calendar.h"
#include "when/when.h"

#include "base/banned.h"

/* For what is missed behind the last one that there was room for. */
#define ROOM_FOR_MISSED 3

static const char skipped[] = "skipped";

struct rows {
	const struct when *w;
	struct catch_up *c;
	unsigned missed_count;   /* rows of missed due times that are not written yet ... */
	struct passed missed[2]; /* ... beginning here, in order */
	unsigned steps;          /* taken through missed due times */
};

static void
put(struct rows *r, const struct passed *p)
{
	r->c->rows[r->c->row_count++] = *p;
}

static void
drop_first_missed(struct rows *r)
{
	r->missed[0] = r->missed[1];
	r->missed_count--;
}

/* Write of the first missed row what is before utc, which is within it. False: too far. */
static bool
cut(struct rows *r, int64_t utc)
{
	struct passed *m = &r->missed[0], before = *m;
	struct when_occurrence o;

	before.n = 0;
	for (o.utc = m->due; o.utc < utc; before.n++) {
		before.until = o.utc;
		if (r->steps++ == CATCH_UP_STEPS || !when_next(r->w, o.utc, &o))
			return false;
	}
	put(r, &before);
	m->due = o.utc;
	m->n = m->n > before.n ? m->n - before.n : 1;
	return true;
}

static bool
put_missed_before(struct rows *r, int64_t utc)
{
	for (; r->missed_count > 0 && r->missed[0].due < utc; drop_first_missed(r)) {
		if (r->missed[0].until > utc)
			return cut(r, utc);
		put(r, &r->missed[0]);
	}
	return true;
}

static const char *
rule_of(const struct when_mark *m, const struct calendar *exclude)
{
	if (m->what == WHEN_SKIPPED_GAP)
		return "dst.gap";
	if (m->what == WHEN_SKIPPED_FOLD)
		return "dst.fold";
	return exclude && calendar_has(exclude, m->o.day, NULL) ? "calendar.exclude"
								: "calendar.include";
}

static bool
is_more_of(const struct passed *p, const struct passed *next)
{
	return p->decision == next->decision && strcmp(p->rule, next->rule) == 0 &&
	       strcmp(p->reason, next->reason) == 0;
}

static bool
put_skipped(struct rows *r, const struct passed *p)
{
	struct passed *last;

	if (!put_missed_before(r, p->due))
		return false;
	last = r->c->row_count > 0 ? &r->c->rows[r->c->row_count - 1] : NULL;
	if (last && is_more_of(last, p)) {
		last->until = p->until;
		last->n++;
		return true;
	}
	if (r->c->row_count >= PASSED_MAX - ROOM_FOR_MISSED)
		return false;
	put(r, p);
	return true;
}

/* A time that the clock skipped stands at the end of the gap, where there may be a due time. */
static bool
is_due_time(const struct when *w, int64_t utc)
{
	struct when_occurrence o;

	return when_next(w, utc - 1, &o) && o.utc == utc;
}

void
catch_up_marks(
    const struct when *w, const struct calendar *exclude, int64_t from, struct catch_up *c)
{
	struct rows r = {.w = w, .c = c, .missed_count = c->row_count};
	struct when_cursor cursor = {.after = from, .until = c->due};
	struct when_mark m;

	if (!c->has_due) {
		if (c->row_count == 0)
			return;
		cursor.until = c->rows[c->row_count - 1].until;
	}
	memcpy(r.missed, c->rows, c->row_count * sizeof(*c->rows));
	c->row_count = 0;
	for (unsigned i = 0; i < CATCH_UP_STEPS && when_next_mark(w, &cursor, &m); i++) {
		if (m.what == WHEN_FIRES || is_due_time(w, m.utc))
			continue;
		struct passed p = {skipped, rule_of(&m, exclude), m.reason, m.utc, m.utc, 1};
		if (!put_skipped(&r, &p))
			break;
	}
	for (; r.missed_count > 0; drop_first_missed(&r))
		put(&r, &r.missed[0]);
}
