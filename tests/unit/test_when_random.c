// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * lib/when/when: laws that hold for every schedule, tried on random ones of all kinds, zones,
 * policies
 * and calendars: next rises, is the same from any instant in between, agrees with the marks, and
 * survives its canonical text. TAKT_SEED varies them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

#include "when/calendar.h"
#include "when/civil.h"
#include "when/stamp.h"
#include "when/when.h"
#include "when/zone.h"

#include "base/banned.h"

#define SCHEDULES 6000
#define STEPS 25
#define CALENDAR_DAYS 60
#define MARKS_MAX 4000
#define SEEN_MAX 50000

static uint64_t rng_state;

static uint64_t
rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	return rng_state ^= rng_state << 17;
}

/* lo to hi, both included. */
static int
pick(int lo, int hi)
{
	return lo + (int)(rng() % (unsigned)(hi - lo + 1));
}

#define PICK(table) (table)[pick(0, (int)ARRAY_LEN(table) - 1)]

static const char *const zones[] = {"UTC", "America/New_York", "Europe/Berlin",
    "Australia/Lord_Howe", "Asia/Amman", "America/Havana", "Pacific/Apia", "Antarctica/Casey",
    "Antarctica/Troll", "Asia/Tehran", "America/St_Johns", "Africa/Casablanca"};

static void
add_times(struct buf *b, bool with_seconds)
{
	for (int n = pick(1, 4); n > 0; n--) {
		buf_addf(b, "%02d:%02d", pick(0, 3) ? pick(0, 3) : pick(0, 23), pick(0, 59));
		if (with_seconds && !pick(0, 2))
			buf_addf(b, ":%02d", pick(0, 59));
		if (n > 1)
			buf_addc(b, ',');
	}
}

static void
add_mask(struct buf *b)
{
	int mask = pick(1, 127);

	buf_addc(b, ' ');
	for (int i = 0; i < 7; i++)
		buf_addc(b, mask >> i & 1 ? '1' : '0');
}

static void
add_cron(struct buf *b)
{
	static const char *const minutes[] = {
	    "*", "0", "30", "*/15", "H", "H/20", "5,35", "50-10/5", "0-59", "H(10-20)"};
	static const char *const hours[] = {
	    "*", "2", "1", "0-3", "22-4", "*/2", "H", "0,23", "1-2", "23-1/2"};
	static const char *const month_days[] = {"*", "?", "*", "L", "L-3", "15W", "1W", "31W",
	    "LW", "1,15", "28-3", "*/2", "29", "L,1", "H"};
	static const char *const months[] = {"*", "*", "*", "*", "2", "NOV-MAR", "3,10-11", "H"};
	static const char *const week_days[] = {
	    "*", "?", "*", "FRI-MON", "5L", "MON#1", "SUN#5", "1-5", "7", "*/3", "SATL,2#2", "H"};

	if (!pick(0, 9))
		buf_addf(b, "%s ", PICK(minutes));
	buf_addf(b, "%s %s %s %s %s", PICK(minutes), PICK(hours), PICK(month_days), PICK(months),
	    PICK(week_days));
}

static void
add_rrule(struct buf *b)
{
	static const char *const rules[] = {"FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,FR", "FREQ=MONTHLY",
	    "FREQ=MONTHLY;BYDAY=-1SU", "FREQ=DAILY;INTERVAL=3;COUNT=40", "FREQ=YEARLY;BYMONTH=3,11",
	    "FREQ=HOURLY;INTERVAL=5"};

	buf_addf(b, "DTSTART:%d%02d%02dT%02d%02d00\nRRULE:%s", pick(1995, 2030), pick(1, 12),
	    pick(1, 28), pick(0, 3), pick(0, 59), PICK(rules));
}

static void
add_expression(struct buf *b, enum when_kind kind)
{
	static const char *const nths[] = {"first", "second", "third", "fourth", "fifth", "last"};
	static const char *const days[] = {
	    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"};
	char stamp[32];
	int start;

	switch (kind) {
	case WHEN_CRON:
		add_cron(b);
		break;
	case WHEN_EVERY:
		buf_addf(b, "%d%c", pick(1, 90), "smhd"[pick(0, 3)]);
		break;
	case WHEN_TIMES:
		add_times(b, true);
		add_mask(b);
		break;
	case WHEN_WINDOW:
		start = pick(0, 1439);
		buf_addf(b, "%02d:%02d-", start / 60, start % 60);
		start = pick(start, 1439);
		buf_addf(b, "%02d:%02d-%d", start / 60, start % 60, pick(1, 200));
		add_mask(b);
		break;
	case WHEN_ORDINAL:
		buf_addf(b, "%s %s ", PICK(nths), PICK(days));
		add_times(b, false);
		break;
	case WHEN_RRULE:
		add_rrule(b);
		break;
	case WHEN_ONCE:
		buf_adds(b, when_format_rfc3339(
				(int64_t)(rng() % UINT64_C(2000000000)) + 500000000, stamp));
		break;
	case WHEN_ON_DEMAND:
		buf_adds(b, "");
		break;
	}
}

static struct calendar *
random_calendar(int64_t near)
{
	int64_t days[CALENDAR_DAYS];
	size_t n = (size_t)pick(1, CALENDAR_DAYS);

	for (size_t i = 0; i < n; i++)
		days[i] = near + pick(-5, (int)n * 2);
	return calendar_new("random", n, days, NULL);
}

/* A schedule with all that it borrows. */
struct sample {
	struct buf expr;
	enum when_kind kind;
	struct when_setting set;
	struct calendar *include, *exclude;
	struct when *w;
	int64_t start;
};

static void
sample_fini(struct sample *s)
{
	when_free(s->w);
	calendar_free(s->include);
	calendar_free(s->exclude);
	buf_fini(&s->expr);
}

/* A day or so before a clock change, or anywhere. */
static int64_t
random_start(const struct zone *z)
{
	int64_t t = (int64_t)(rng() % UINT64_C(2300000000)) + 300000000, change;

	return pick(0, 1) && zone_next_change(z, t, &change) ? change - pick(0, 3 * DAY_S) : t;
}

static void
sample_init(struct sample *s)
{
	struct err e = ERR_INIT;

	*s = (struct sample){.kind = (enum when_kind)pick(WHEN_CRON, WHEN_ONCE)};
	s->set = (struct when_setting){WHEN_ALWAYS, .zone = zone_get(PICK(zones), NULL)};
	assert_non_null(s->set.zone);
	s->start = random_start(s->set.zone);
	s->set.policy = (struct cron_policy){(enum cron_gap)pick(0, 1), (enum cron_fold)pick(0, 2)};
	s->set.anchor = s->start - pick(0, 100000);
	s->set.hash_key = "0198a1b2";
	s->set.hit = s->kind == WHEN_EVERY ? WHEN_HIT_SKIP : (enum when_hit)pick(0, 2);
	if (!pick(0, 3))
		s->set.from = s->start + pick(-DAY_S, DAY_S);
	if (!pick(0, 3))
		s->set.until = s->start + pick(2 * DAY_S, 90 * DAY_S);
	if (pick(0, 1))
		s->exclude = random_calendar(s->start / DAY_S);
	if (!pick(0, 4))
		s->include = random_calendar(s->start / DAY_S);
	s->set.include = s->include;
	s->set.exclude = s->exclude;
	add_expression(&s->expr, s->kind);
	s->w = when_new(s->kind, s->expr.p, &s->set, &e);
	if (!s->w)
		fail_msg("%s: %s", s->expr.p, e.message);
}

static void
fail_sample(const struct sample *s, const char *law, int64_t a, int64_t b)
{
	char from[32], to[32], start[32];

	fail_msg(
	    "%s: %s '%s' in %s, gap %d, fold %d, hit %d, include %d, exclude %d, start %s: %s, %s",
	    law, when_kind_name(s->kind), s->expr.p, zone_name(s->set.zone), s->set.policy.gap,
	    s->set.policy.fold, s->set.hit, s->include != NULL, s->exclude != NULL,
	    when_format_rfc3339(s->start, start), when_format_rfc3339(a, from),
	    when_format_rfc3339(b, to));
}

static void
check_from_between(const struct sample *s, int64_t a, int64_t b)
{
	struct when_occurrence o;
	const int64_t from[] = {b - 1, a + (int64_t)(rng() % (uint64_t)(b - a)),
	    a + (int64_t)(rng() % (uint64_t)(b - a))};

	for (size_t i = 0; i < ARRAY_LEN(from); i++)
		if (!when_next(s->w, from[i], &o) || o.utc != b)
			fail_sample(s, "not the same from in between", from[i], b);
}

static size_t
check_rises(const struct sample *s)
{
	struct when_occurrence o = {.utc = s->start}, last = o;
	size_t n = 0;

	for (; n < STEPS && when_next(s->w, last.utc, &o); n++, last = o) {
		if (o.utc <= last.utc)
			fail_sample(s, "does not rise", last.utc, o.utc);
		if (o.utc < s->set.from || o.utc >= s->set.until)
			fail_sample(s, "outside of effective", o.utc, s->set.until);
		check_from_between(s, last.utc, o.utc);
	}
	return n;
}

static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* All instants that marks from well before `start` to well after `end` say something fires at:
 * sorted. */
static size_t
fires_by_marks(const struct sample *s, int64_t start, int64_t end, int64_t at[MARKS_MAX])
{
	struct when_cursor c = {.after = start - 370 * DAY_S, .until = end + 370 * DAY_S};
	int64_t last_utc = INT64_MIN, last_local = INT64_MIN;
	struct when_mark m;
	size_t n = 0, seen = 0;

	if (s->exclude == NULL && s->include == NULL)
		c = (struct when_cursor){.after = start - DAY_S, .until = end};
	while (when_next_mark(s->w, &c, &m)) {
		if (m.utc < last_utc || (m.utc == last_utc && m.local_s <= last_local))
			fail_sample(s, "marks are out of order", last_utc, m.utc);
		if (++seen > SEEN_MAX)
			return MARKS_MAX;
		last_utc = m.utc;
		last_local = m.local_s;
		if (m.what == WHEN_FIRES && m.o.utc > start && m.o.utc <= end && n < MARKS_MAX)
			at[n++] = m.o.utc;
	}
	qsort(at, n, sizeof(at[0]), by_value);
	return n;
}

static void
check_marks(const struct sample *s)
{
	static int64_t at[MARKS_MAX];
	int64_t end = s->start + 6 * DAY_S;
	struct when_occurrence o = {.utc = s->start};
	size_t n = fires_by_marks(s, s->start, end, at), i = 0;

	if (n == MARKS_MAX)
		return;
	while (when_next(s->w, o.utc, &o) && o.utc <= end) {
		/* Of one that is moved into a fold and runs twice the mark tells the first. */
		if ((i == n || at[i] != o.utc) && !(o.is_shifted && o.is_repeat))
			fail_sample(s, "no mark says that it fires", o.utc, i < n ? at[i] : 0);
		while (i < n && at[i] == o.utc)
			i++;
	}
	if (i < n)
		fail_sample(s, "a mark says that it fires", at[i], end);
}

static void
check_text(const struct sample *s)
{
	_cleanup_buf_ struct buf text = {0};
	_cleanup_when_ struct when *again = NULL;
	struct when_occurrence a, b;
	bool has_a, has_b;

	assert_int_equal(when_text(s->kind, &s->set, s->expr.p, &text, NULL), 0);
	again = when_new(s->kind, text.p, &s->set, NULL);
	assert_non_null(again);
	has_a = when_next(s->w, s->start, &a);
	has_b = when_next(again, s->start, &b);
	if (has_a != has_b || (has_a && a.utc != b.utc))
		fail_sample(s, "another meaning of the canonical text", s->start, s->start);
}

static void
test_laws(void **state)
{
	const char *seed = getenv("TAKT_SEED");
	size_t kinds[WHEN_ON_DEMAND + 1] = {0}, fired = 0;

	(void)state;
	rng_state = (seed ? strtoull(seed, NULL, 10) : 0) * 2 + UINT64_C(0x9e3779b97f4a7c15);
	for (int i = 0; i < SCHEDULES; i++) {
		struct sample s;
		size_t n;

		sample_init(&s);
		n = check_rises(&s);
		kinds[s.kind] += n > 0;
		fired += n;
		/* Dense ones have more marks than one cares to read. */
		if (i % 4 == 0 && (s.kind != WHEN_EVERY || !strchr(s.expr.p, 's')))
			check_marks(&s);
		check_text(&s);
		sample_fini(&s);
	}
	/* The samples are worth something: every kind fires often. */
	for (int k = WHEN_CRON; k <= WHEN_ONCE; k++)
		assert_true(kinds[k] > SCHEDULES / 100);
	assert_true(fired > SCHEDULES);
}

/* Schedules that make a search look everywhere: each ends, most with "never again". */
static void
test_bounded(void **state)
{
	static const struct {
		enum when_kind kind;
		const char *expr;
		bool is_never;
	} rows[] = {
	    {WHEN_CRON, "0 2 8-14 3 */7", true},
	    {WHEN_CRON, "30 2 31 2,4,6,9,11 ?", true},
	    {WHEN_CRON, "0 0 L-30 2,4,6,9,11 *", true},
	    {WHEN_CRON, "0 0 30W 2 *", true},
	    {WHEN_CRON, "0 0 * 2 MON#5", false},
	    {WHEN_CRON, "59 59 23 29 2 ?", false},
	    {WHEN_RRULE, "DTSTART:20000101T000000\nRRULE:FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=2",
		true},
	};
	struct when_setting set = {WHEN_ALWAYS, .policy = {.gap = CRON_GAP_SKIP}};
	struct when_occurrence o;

	(void)state;
	set.zone = zone_get("America/New_York", NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_when_ struct when *w = when_new(rows[i].kind, rows[i].expr, &set, NULL);

		assert_non_null(w);
		assert_int_equal(when_next(w, 1700000000, &o), !rows[i].is_never);
	}
}

/* A calendar as large as they get, every day of it in the way. */
static void
test_bounded_calendars(void **state)
{
	enum { FIRST = 18262, COUNT = 20000 }; /* from 2020-01-01 on */
	_cleanup_free_ int64_t *days = xcalloc(COUNT, sizeof(*days));
	_cleanup_calendar_ struct calendar *all = NULL;
	struct when_setting set = {WHEN_ALWAYS};
	struct when_occurrence o;

	(void)state;
	for (int64_t i = 0; i < COUNT; i++)
		days[i] = FIRST + i;
	all = calendar_new("all", COUNT, days, NULL);
	set.exclude = all;
	set.zone = zone_get("America/New_York", NULL);
	for (int hit = WHEN_HIT_SKIP; hit <= WHEN_HIT_PREVIOUS_BUSINESS_DAY; hit++) {
		_cleanup_when_ struct when *w = NULL;

		set.hit = (enum when_hit)hit;
		w = when_new(WHEN_CRON, "* * * * * *", &set, NULL);
		assert_non_null(w);
		assert_true(when_next(w, (FIRST + 10) * INT64_C(86400), &o));
		assert_true(o.day >= FIRST + COUNT - WHEN_SHIFT_DAYS_MAX);
	}
	set.hit = WHEN_HIT_SKIP;
	when_free(when_new(WHEN_EVERY, "1s", &set, NULL));
}

static int
fini(void **state)
{
	(void)state;
	zone_fini();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_laws),
	    cmocka_unit_test(test_bounded),
	    cmocka_unit_test(test_bounded_calendars),
	};

	return cmocka_run_group_tests(tests, NULL, fini);
}
