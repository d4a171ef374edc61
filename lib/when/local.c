// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See local.h. Inside a span of constant offset local time runs evenly, so the search goes span by
 * span: first what the clock change at the span's start makes due, then the first matching local
 * second before the span's end. The source looks ahead over spans and its answer is kept, so a
 * search asks it once or twice however many spans it crosses.
 */
#include "when/local.h"

#include "when/civil.h"
#include "when/zone.h"

#include "base/banned.h"

/* A jump this long is a new clock, not a daylight saving change. */
#define NEW_CLOCK_S (3 * 3600)

#define HORIZON_S ((int64_t)(CIVIL_CYCLE_DAYS + 2) * DAY_S)
#define OFFSET_MAX_S (26 * 3600)

/* A search: the source with its last answer, which holds for every start in [from, local.s]. */
struct walk {
	const struct local_source *s;
	int64_t end; /* local: beyond it nothing is looked for */
	int64_t from;
	struct local_time local; /* .s is INT64_MAX: none from `from` on */
	bool is_known;
};

/* The first local time >= from; .s is INT64_MAX if none. */
static const struct local_time *
next_from(struct walk *w, int64_t from)
{
	if (!w->is_known || from < w->from || from > w->local.s) {
		w->from = from;
		w->is_known = true;
		if (!w->s->next(w->s->arg, from, w->end, &w->local))
			w->local.s = INT64_MAX;
	}
	return &w->local;
}

static bool
is_clock_change(int64_t jump)
{
	return jump > -NEW_CLOCK_S && jump < NEW_CLOCK_S;
}

static bool
makes_up(const struct local_source *s, int32_t jump)
{
	return is_clock_change(jump) && !s->follows_clock && s->policy.gap == CRON_GAP_RUN_AT_END;
}

/* A local time inside the gap that ends where span starts and is to be made up there; NULL if
 * none. */
static const struct local_time *
due_at_gap_end(struct walk *w, const struct zone_span *span)
{
	int32_t jump = span->off - span->off_before;
	const struct local_time *t;

	if (jump <= 0 || !makes_up(w->s, jump))
		return NULL;
	t = next_from(w, span->start + span->off_before);
	return t->s < span->start + span->off ? t : NULL;
}

/* Does the clock show the local time of u (inside span) for the second time? */
static bool
is_second(const struct zone_span *span, int64_t u)
{
	int32_t back = span->off_before - span->off;

	return back > 0 && is_clock_change(back) && u < span->start + back;
}

/* Will it show it again after the change that ends the span? */
static bool
is_first(const struct zone *z, const struct zone_span *span, int64_t u)
{
	int32_t off, back;

	if (span->end == INT64_MAX)
		return false;
	zone_offset_at(z, span->end, &off, NULL, NULL);
	back = span->off - off;
	return back > 0 && is_clock_change(back) && u >= span->end - back;
}

/* The first instant in the span from u on that the fold policy lets run; its end if there is
 * none. */
static int64_t
fold_resumes(const struct local_source *s, const struct zone_span *span, int64_t u)
{
	if (s->follows_clock || s->policy.fold == CRON_FOLD_BOTH)
		return u;
	if (s->policy.fold == CRON_FOLD_FIRST)
		return is_second(span, u) ? span->start + span->off_before - span->off : u;
	return is_first(s->zone, span, u) ? span->end : u;
}

/* The first regular instant in the span from u on; INT64_MAX if none. Its local time is
 * w->local. */
static int64_t
next_in_span(struct walk *w, const struct zone_span *span, int64_t u)
{
	while (u < span->end) {
		int64_t local = next_from(w, u + span->off)->s, found;

		if (local == INT64_MAX || local - span->off >= span->end)
			return INT64_MAX;
		found = local - span->off;
		u = fold_resumes(w->s, span, found);
		if (u == found)
			return u;
	}
	return INT64_MAX;
}

/* After the table one full cycle of the calendar: what has not come then never does. */
static int64_t
search_end(const struct zone *z, int64_t from, int64_t until)
{
	int64_t end = zone_table_end(z) > from ? zone_table_end(z) : from;

	end = end + HORIZON_S > CIVIL_MAX_S + 1 ? CIVIL_MAX_S + 1 : end + HORIZON_S;
	return until < end ? until : end;
}

bool
local_next(const struct local_source *s, int64_t after, int64_t until, struct local_hit *out)
{
	int64_t from = (after < CIVIL_MIN_S ? CIVIL_MIN_S : after) + 1, end;
	struct walk w = {.s = s};

	if (after >= CIVIL_MAX_S)
		return false;
	end = search_end(s->zone, from, until);
	w.end = end + OFFSET_MAX_S;
	while (from < end) {
		struct zone_span span = zone_span_at(s->zone, from);
		const struct local_time *made_up = NULL;
		int64_t u;

		if (from == span.start && (made_up = due_at_gap_end(&w, &span)))
			*out = (struct local_hit){.utc = from, .local = *made_up, .is_moved = true};
		u = next_in_span(&w, &span, from);
		if (made_up && u != from)
			return true;
		if (u != INT64_MAX) {
			*out = (struct local_hit){.utc = u, .is_repeat = is_second(&span, u)};
			out->local = w.local;
			return u < end;
		}
		from = span.end;
	}
	return false;
}

static bool
single_next(const void *arg, int64_t from, int64_t end, struct local_time *out)
{
	int64_t s = *(const int64_t *)arg;

	*out = (struct local_time){.s = s, .day = floor_div(s, DAY_S)};
	return from <= s && s < end;
}

bool
local_to_utc(const struct local_source *s, int64_t local_s, struct local_hit *out)
{
	struct local_source one = *s;

	one.next = single_next;
	one.arg = &local_s;
	return local_next(
	    &one, local_s - OFFSET_MAX_S - 1, local_s + OFFSET_MAX_S + NEW_CLOCK_S, out);
}

bool
local_is_repeat(const struct zone *z, int64_t utc)
{
	const struct zone_span span = zone_span_at(z, utc);

	return is_second(&span, utc);
}

/* The next local time that the gap at the span's start swallowed. */
static bool
next_gap_mark(
    struct walk *w, const struct zone_span *span, struct local_cursor *c, struct local_mark *out)
{
	int32_t jump = span->off - span->off_before;
	const struct local_time *t;

	if (jump <= 0)
		return false;
	t = next_from(w, c->is_in_gap ? c->gap_local + 1 : span->start + span->off_before);
	if (t->s >= span->start + span->off)
		return false;
	*out = (struct local_mark){.utc = span->start,
	    .local = *t,
	    .fate = makes_up(w->s, jump) ? LOCAL_RUNS : LOCAL_IN_GAP,
	    .is_moved = makes_up(w->s, jump),
	    .is_new_clock = !is_clock_change(jump)};
	*c = (struct local_cursor){span->start, true, t->s};
	return true;
}

bool
local_next_mark(
    const struct local_source *s, struct local_cursor *c, int64_t until, struct local_mark *out)
{
	int64_t from = c->after < CIVIL_MIN_S ? CIVIL_MIN_S : c->after, end;
	struct walk w = {.s = s};

	if (c->after >= CIVIL_MAX_S || until == INT64_MIN)
		return false;
	from += !c->is_in_gap;
	end = search_end(s->zone, from, until == INT64_MAX ? until : until + 1);
	w.end = end + OFFSET_MAX_S;
	while (from < end) {
		struct zone_span span = zone_span_at(s->zone, from);
		int64_t u;

		if (from == span.start && next_gap_mark(&w, &span, c, out))
			return true;
		u = next_from(&w, from + span.off)->s;
		if (u != INT64_MAX && (u -= span.off) < span.end) {
			*out = (struct local_mark){
			    .utc = u, .local = w.local, .is_repeat = is_second(&span, u)};
			if (fold_resumes(s, &span, u) != u)
				out->fate = LOCAL_NOT_REPEATED;
			*c = (struct local_cursor){.after = u};
			return u < end;
		}
		from = span.end;
		*c = (struct local_cursor){.after = from - 1};
	}
	return false;
}
