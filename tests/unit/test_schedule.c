// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * daemon/schedule: what becomes of the due times that an engine finds. Laws on random schedules,
 * policies and pauses, against a plain listing: every due time is decided once, none early, limits
 * hold, and rows about other times lie between them. TAKT_SEED varies them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

#include "daemon/schedule/catch_up.h"
#include "when/calendar.h"
#include "when/civil.h"
#include "when/stamp.h"
#include "when/when.h"
#include "when/zone.h"

#include "base/banned.h"

#define CASES 4000
#define DUE_MAX 4000
#define CALENDAR_DAYS 40

static uint64_t rng_state;

static uint64_t
rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	return rng_state ^= rng_state << 17;
}

static int
pick(int lo, int hi)
{
	return lo + (int)(rng() % (unsigned)(hi - lo + 1));
}

#define PICK(table) (table)[pick(0, (int)ARRAY_LEN(table) - 1)]

static const struct {
	enum when_kind kind;
	const char *expr;
	int64_t span; /* pauses of up to so long */
} exprs[] = {
    {WHEN_CRON, "* * * * *", 200000},
    {WHEN_CRON, "*/15 * * * *", 3000000},
    {WHEN_CRON, "0,30 1-3 * * *", 40000000},
    {WHEN_CRON, "*/7 2 * * *", 20000000},
    {WHEN_CRON, "30 2 * * MON-FRI", 90000000},
    {WHEN_CRON, "*/20 * * * * *", 60000},
    {WHEN_CRON, "0 0 1 * *", 300000000},
    {WHEN_CRON, "H H * * *", 90000000},
    {WHEN_EVERY, "90s", 300000},
    {WHEN_EVERY, "7h", 30000000},
    {WHEN_TIMES, "02:15,09:00,23:59 1111100", 60000000},
    {WHEN_WINDOW, "00:00-03:00-10 1111111", 10000000},
    {WHEN_ORDINAL, "last friday 02:30,18:00", 300000000},
    {WHEN_RRULE, "DTSTART:20150101T023000\nRRULE:FREQ=DAILY;INTERVAL=2", 90000000},
    {WHEN_ONCE, "2026-03-29T01:30:00Z", 1000},
};

static const char *const zones[] = {"UTC", "America/New_York", "Europe/Berlin",
    "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"};

/* A case: a schedule, its policy, and what a plain listing says. */
struct scene {
	struct calendar *include, *exclude;
	struct when *w;
	struct catch_up_policy policy;
	int64_t from, was, upto;
	size_t n, old; /* pending due times; so many of them are past the deadline */
	int64_t due[DUE_MAX];
	bool has_next;
	int64_t next; /* after them */
	char text[300];
};

static struct calendar *
some_calendar(const char *name, int64_t around)
{
	int64_t days[CALENDAR_DAYS];
	const char *reasons[CALENDAR_DAYS];
	static const char *const why[] = {"a: x", "a: y", "b: z"};
	int n = pick(0, CALENDAR_DAYS);

	for (int i = 0; i < n; i++) {
		days[i] = floor_div(around, DAY_S) + pick(-5, 120);
		reasons[i] = PICK(why);
	}
	return calendar_new(name, (size_t)n, days, reasons);
}

static bool
make_schedule(struct scene *s, int i, int64_t at)
{
	struct err e = ERR_INIT;
	struct when_setting set = {.zone = zone_get(PICK(zones), NULL),
	    .policy = {(enum cron_gap)pick(0, 1), (enum cron_fold)pick(0, 2)},
	    .anchor = at - pick(0, 1000000),
	    WHEN_ALWAYS,
	    .hash_key = "0190a5e0-0000-7000-8000-000000000001"};

	if (pick(0, 2) == 0)
		set.exclude = s->exclude = some_calendar("out", at);
	if (pick(0, 5) == 0)
		set.include = s->include = some_calendar("in", at);
	if (exprs[i].kind != WHEN_EVERY)
		set.hit = (enum when_hit)pick(0, 2);
	if (pick(0, 9) == 0)
		set.until = at + exprs[i].span / 2;
	s->w = when_new(exprs[i].kind, exprs[i].expr, &set, &e);
	if (!s->w)
		fail_msg("%s: %s", exprs[i].expr, e.message);
	snprintf(s->text, sizeof(s->text), "%s %s, hit %d, rule %d limit %u deadline %lld",
	    exprs[i].expr, zone_name(set.zone), set.hit, s->policy.rule, s->policy.limit,
	    (long long)s->policy.deadline_s);
	return true;
}

static bool
list_due(struct scene *s)
{
	struct when_occurrence o = {.utc = s->was};

	s->n = s->old = 0;
	s->has_next = true;
	for (; s->has_next && o.utc <= s->upto; s->has_next = when_next(s->w, o.utc, &o)) {
		if (s->n == DUE_MAX)
			return false;
		s->old += s->policy.deadline_s && o.utc < s->upto - s->policy.deadline_s;
		s->due[s->n++] = o.utc;
	}
	s->next = o.utc;
	return true;
}

static bool
make(struct scene *s)
{
	int i = pick(0, (int)ARRAY_LEN(exprs) - 1);
	int64_t at =
	    exprs[i].kind == WHEN_ONCE ? 1774742400 : 1700000000 + (int64_t)(rng() % 90000000);
	struct when_occurrence o;

	memset(s, 0, sizeof(*s));
	s->policy.rule = (enum catch_up_rule)pick(0, 2);
	s->policy.limit = (unsigned)(pick(0, 3) ? pick(1, 12) : pick(1, 1000));
	if (pick(0, 2) == 0)
		s->policy.deadline_s = pick(1, 3) == 1 ? pick(1, 200) : pick(1, (int)exprs[i].span);
	make_schedule(s, i, at);
	if (!when_next(s->w, at, &o))
		return false;
	s->from = at;
	s->was = o.utc;
	s->upto = s->was + (pick(0, 3) ? (int64_t)(rng() % (uint64_t)exprs[i].span) : pick(0, 130));
	return list_due(s);
}

static void
unmake(struct scene *s)
{
	when_free(s->w);
	calendar_free(s->include);
	calendar_free(s->exclude);
}

static bool
is_due(const struct scene *s, int64_t utc)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->due[i] == utc)
			return true;
	return false;
}

/* What must be: the first due time that fires, and the number of those before it that are missed. */
static size_t
expected_missed(const struct scene *s)
{
	size_t left = s->n - s->old, kept = s->policy.rule == CATCH_UP_ALL ? s->policy.limit : 1;

	if (s->policy.rule == CATCH_UP_NONE && left > 0 &&
	    s->due[s->n - 1] < s->upto - CATCH_UP_LATE_S)
		kept = 0;
	return s->old + (left > kept ? left - kept : 0);
}

static void
check_rows(const struct scene *s, const struct catch_up *c, size_t missed)
{
	size_t k = 0;

	for (unsigned i = 0; i < c->row_count; i++) {
		const struct passed *p = &c->rows[i];

		if (strcmp(p->decision, "missed") != 0)
			continue;
		assert_true(k < missed);
		assert_int_equal(p->due, s->due[k]);
		assert_string_equal(p->rule, k < s->old ? "catchup.deadline"
					     : s->policy.rule == CATCH_UP_LATEST ? "catchup.latest"
					     : s->policy.rule == CATCH_UP_NONE   ? "catchup.none"
										 : "catchup.limit");
		k += p->n;
		assert_true(k <= missed && k <= s->n);
		assert_int_equal(p->until, s->due[k - 1]);
		if (p->due < s->due[s->old ? s->old - 1 : 0] && s->old)
			assert_true(k <= s->old);
	}
	assert_int_equal(k, missed);
}

static void
check_decision(const struct scene *s, const struct catch_up *c)
{
	size_t missed = expected_missed(s);

	check_rows(s, c, missed);
	assert_int_equal(c->has_due, missed < s->n);
	if (c->has_due)
		assert_int_equal(c->due, s->due[missed++]);
	if (missed < s->n) {
		assert_true(c->has_next);
		assert_int_equal(c->next, s->due[missed]);
	} else {
		assert_int_equal(c->has_next, s->has_next);
		if (s->has_next)
			assert_int_equal(c->next, s->next);
	}
}

static const char *
rule_of(const struct scene *s, const struct when_mark *m)
{
	if (m->what != WHEN_SKIPPED_CALENDAR)
		return m->what == WHEN_SKIPPED_GAP ? "dst.gap" : "dst.fold";
	return s->exclude && calendar_has(s->exclude, m->o.day, NULL) ? "calendar.exclude"
								      : "calendar.include";
}

/* The next row that is not of missed due times. */
static const struct passed *
next_skipped(const struct catch_up *c, unsigned *i)
{
	while (*i < c->row_count && strcmp(c->rows[*i].decision, "skipped") != 0)
		++*i;
	return *i < c->row_count ? &c->rows[*i] : NULL;
}

static void
check_marks(const struct scene *s, const struct catch_up *c)
{
	struct when_cursor cursor = {.after = s->from};
	bool is_full = c->row_count >= PASSED_MAX - 3;
	const struct passed *p;
	struct when_mark m;
	unsigned i = 0, of_row = 0;

	cursor.until = c->has_due ? c->due : c->rows[c->row_count - 1].until;
	p = next_skipped(c, &i);
	for (unsigned k = 0; k < CATCH_UP_STEPS && when_next_mark(s->w, &cursor, &m); k++) {
		if (m.what == WHEN_FIRES || is_due(s, m.utc))
			continue;
		if (p && of_row == p->n) {
			i++;
			of_row = 0;
			p = next_skipped(c, &i);
		}
		if (!p && is_full)
			return;
		assert_non_null(p);
		assert_string_equal(p->rule, rule_of(s, &m));
		assert_string_equal(p->reason, m.reason);
		assert_true(of_row ? m.utc >= p->due : m.utc == p->due);
		if (++of_row == p->n)
			assert_int_equal(m.utc, p->until);
	}
	assert_true(!p || of_row == p->n);
	i += p != NULL;
	assert_null(next_skipped(c, &i));
}

static void
check_disjoint(const struct catch_up *c)
{
	for (unsigned i = 0; i < c->row_count; i++) {
		assert_true(c->rows[i].until >= c->rows[i].due && c->rows[i].n > 0);
		if (i > 0)
			assert_true(c->rows[i].due > c->rows[i - 1].until);
		if (c->has_due)
			assert_true(c->rows[i].until < c->due);
	}
}

static void
laws(void **state)
{
	static struct scene s;
	static struct catch_up c;
	unsigned done = 0, fired = 0, missed = 0, marked = 0;

	(void)state;
	for (int i = 0; i < CASES; i++) {
		if (make(&s)) {
			done++;
			catch_up(s.w, &s.policy, s.was, s.upto, &c);
			check_decision(&s, &c);
			fired += c.has_due;
			missed += c.row_count > 0;
			catch_up_marks(s.w, s.exclude, s.from, &c);
			check_rows(&s, &c, expected_missed(&s));
			check_marks(&s, &c);
			check_disjoint(&c);
			for (unsigned k = 0; k < c.row_count; k++)
				marked += c.rows[k].reason != NULL;
		}
		unmake(&s);
	}
	/* The cases are about something. */
	assert_true(done > CASES / 2 && fired > done / 4 && missed > done / 4 && marked > done);
}

/* Round after round until nothing is due: no time is decided twice, `all` fires up to its limit. */
static void
rounds(void **state)
{
	static struct scene s;
	static struct catch_up c;

	(void)state;
	for (int i = 0; i < CASES / 10; i++) {
		size_t decided = 0, fired = 0;

		if (make(&s)) {
			int64_t was = s.was;

			do {
				catch_up(s.w, &s.policy, was, s.upto, &c);
				for (unsigned k = 0; k < c.row_count; k++)
					decided += c.rows[k].n;
				assert_true(
				    !c.has_due || (c.due <= s.upto && c.due == s.due[decided]));
				decided += c.has_due;
				fired += c.has_due;
				was = c.next;
			} while (c.has_next && c.next <= s.upto);
			assert_int_equal(decided, s.n);
			assert_int_equal(fired, s.n - expected_missed(&s));
		}
		unmake(&s);
	}
}

static int64_t
utc(const char *s)
{
	int64_t t = 0;

	assert_int_equal(when_parse_rfc3339(s, &t, NULL, NULL), 0);
	return t;
}

static const struct {
	const char *expr, *was, *upto;
	struct catch_up_policy policy;
	const char *due, *until, *next; /* until: of the last row */
} longs[] = {
    {"* * * * * *", "2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z", {CATCH_UP_LATEST, 1, 0},
	"2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", "2026-01-01T00:00:01Z"},
    {"* * * * * *", "2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z", {CATCH_UP_ALL, 1000, 0},
	"2025-12-31T23:43:21Z", "2025-12-31T23:43:20Z", "2025-12-31T23:43:22Z"},
    {"* * * * * *", "2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z", {CATCH_UP_ALL, 1000, 60},
	"2025-12-31T23:59:00Z", "2025-12-31T23:58:59Z", "2025-12-31T23:59:01Z"},
    /* All of January's seconds lie 11 months back. */
    {"* * * 1 *", "2020-01-01T00:00:00Z", "2025-12-01T00:00:00Z", {CATCH_UP_ALL, 3, 0},
	"2025-01-31T23:57:00Z", "2025-01-31T23:56:00Z", "2025-01-31T23:58:00Z"},
    {"* * * 1 *", "2020-01-01T00:00:00Z", "2025-12-01T00:00:00Z", {CATCH_UP_LATEST, 1, 0},
	"2025-01-31T23:59:00Z", "2025-01-31T23:58:00Z", "2026-01-01T00:00:00Z"},
    {"* * * * 1 *", "2020-01-01T00:00:00Z", "2025-12-01T00:00:00Z", {CATCH_UP_LATEST, 1, 0},
	"2025-01-31T23:59:59Z", "2025-01-31T23:59:58Z", "2026-01-01T00:00:00Z"},
    {"* * * 1 *", "2020-01-01T00:00:00Z", "2025-12-01T00:00:00Z", {CATCH_UP_NONE, 1, 0}, NULL,
	"2025-01-31T23:59:00Z", "2026-01-01T00:00:00Z"},
};

static void
long_pauses(void **state)
{
	static struct catch_up c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(longs); i++) {
		const struct when_setting set = {.zone = zone_utc(), WHEN_ALWAYS};
		_cleanup_when_ struct when *w = when_new(WHEN_CRON, longs[i].expr, &set, NULL);

		assert_non_null(w);
		catch_up(w, &longs[i].policy, utc(longs[i].was), utc(longs[i].upto), &c);
		assert_int_equal(c.has_due, longs[i].due != NULL);
		if (longs[i].due)
			assert_int_equal(c.due, utc(longs[i].due));
		assert_true(c.row_count > 0 && c.rows[0].n == CATCH_UP_STEPS);
		assert_int_equal(c.rows[0].due, utc(longs[i].was));
		assert_int_equal(c.rows[c.row_count - 1].until, utc(longs[i].until));
		assert_int_equal(c.next, utc(longs[i].next));
	}
}

int
main(void)
{
	const char *seed = getenv("TAKT_SEED");
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(laws), cmocka_unit_test(rounds), cmocka_unit_test(long_pauses)};

	rng_state = seed ? strtoull(seed, NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) | 1
			 : UINT64_C(0x2545f4914f6cdd1d);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
