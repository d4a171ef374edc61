// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* lib/when/when: what calendars do to occurrences, and the marks that say so. By hand. */
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

#define DAYS_MAX 8

static int64_t
at(const char *stamp)
{
	int64_t t;

	assert_int_equal(when_parse_rfc3339(stamp, &t, NULL, NULL), 0);
	return t;
}

/* "2026-12-25 2026-12-28" */
static struct calendar *
calendar_of(const char *days)
{
	int64_t list[DAYS_MAX];
	const char *reasons[DAYS_MAX];
	char stamp[32];
	size_t n = 0;

	if (!days)
		return NULL;
	for (const char *p = days; *p; p += 10 + (p[10] == ' ')) {
		snprintf(stamp, sizeof(stamp), "%.10sT00:00:00Z", p);
		reasons[n] = n ? "" : "Christmas Day";
		list[n++] = at(stamp) / DAY_S;
	}
	return calendar_new("test", n, list, reasons);
}

struct row {
	enum when_kind kind;
	const char *expr, *zone, *include, *exclude;
	enum when_hit hit;
	const char *from;
	const char *expected; /* * moved, ^ shifted; marks: see test_marks() */
	struct cron_policy policy;
};

#define SKIP WHEN_HIT_SKIP
#define NEXT WHEN_HIT_NEXT_BUSINESS_DAY
#define PREV WHEN_HIT_PREVIOUS_BUSINESS_DAY
#define NY "America/New_York"
/* 25 December 2026 is a Friday. */
#define XMAS "2026-12-25 2026-12-28"

static struct when *
when_of(const struct row *r, const struct calendar *include, const struct calendar *exclude)
{
	struct when_setting set = {WHEN_ALWAYS, .zone = zone_get(r->zone, NULL), .hit = r->hit};
	struct err e = ERR_INIT;
	struct when *w;

	set.anchor = at("2026-11-20T10:00:00Z");
	set.policy = r->policy;
	set.include = include;
	set.exclude = exclude;
	w = when_new(r->kind, r->expr, &set, &e);
	if (!w)
		fail_msg("%s: %s", r->expr, e.message);
	return w;
}

static void
test_hits(void **state)
{
	static const struct row rows[] = {
	    {WHEN_TIMES, "09:00", "UTC", NULL, XMAS, SKIP, "2026-12-24T00:00:00Z",
		"2026-12-24T09:00:00Z 2026-12-26T09:00:00Z 2026-12-27T09:00:00Z "
		"2026-12-29T09:00:00Z",
		{0}},
	    /* A weekend is no hit and stays. Friday's and Monday's meet Tuesday's own. */
	    {WHEN_TIMES, "09:00", "UTC", NULL, XMAS, NEXT, "2026-12-24T00:00:00Z",
		"2026-12-24T09:00:00Z 2026-12-26T09:00:00Z 2026-12-27T09:00:00Z "
		"2026-12-29T09:00:00Z 2026-12-30T09:00:00Z",
		{0}},
	    {WHEN_TIMES, "09:00 0000100", "UTC", NULL, XMAS, NEXT, "2026-12-20T00:00:00Z",
		"2026-12-29T09:00:00Z^ 2027-01-01T09:00:00Z", {0}},
	    {WHEN_TIMES, "09:00 0000100", "UTC", NULL, XMAS, PREV, "2026-12-20T00:00:00Z",
		"2026-12-24T09:00:00Z^ 2027-01-01T09:00:00Z", {0}},
	    {WHEN_TIMES, "09:00 1000000", "UTC", NULL, XMAS, PREV, "2026-12-22T00:00:00Z",
		"2026-12-24T09:00:00Z^ 2027-01-04T09:00:00Z", {0}},
	    {WHEN_TIMES, "09:00 0001100", "UTC", NULL, XMAS, PREV, "2026-12-22T00:00:00Z",
		"2026-12-24T09:00:00Z 2026-12-31T09:00:00Z", {0}},
	    /* From the middle of the day they were moved to, and just past it. */
	    {WHEN_TIMES, "08:00,16:00 0000100", "UTC", NULL, XMAS, NEXT, "2026-12-29T08:00:00Z",
		"2026-12-29T16:00:00Z^ 2027-01-01T08:00:00Z", {0}},
	    {WHEN_TIMES, "08:00,16:00 0000100", "UTC", NULL, XMAS, PREV, "2026-12-24T08:00:00Z",
		"2026-12-24T16:00:00Z^ 2027-01-01T08:00:00Z", {0}},
	    /* Other kinds go the same way. */
	    {WHEN_CRON, "0 9 25 12 *", "UTC", NULL, XMAS, NEXT, "2026-01-01T00:00:00Z",
		"2026-12-29T09:00:00Z^ 2027-12-25T09:00:00Z", {0}},
	    {WHEN_CRON, "0 9 25 12 *", "UTC", NULL, XMAS, SKIP, "2026-01-01T00:00:00Z",
		"2027-12-25T09:00:00Z", {0}},
	    {WHEN_WINDOW, "09:00-10:00-60 0000100", "UTC", NULL, XMAS, NEXT, "2026-12-19T00:00:00Z",
		"2026-12-29T09:00:00Z^ 2026-12-29T10:00:00Z^ 2027-01-01T09:00:00Z", {0}},
	    {WHEN_ORDINAL, "last friday 09:00", "UTC", NULL, XMAS, PREV, "2026-12-01T00:00:00Z",
		"2026-12-24T09:00:00Z^ 2027-01-29T09:00:00Z", {0}},
	    {WHEN_RRULE, "DTSTART:20261225T090000\nRRULE:FREQ=WEEKLY;COUNT=2", "UTC", NULL, XMAS,
		NEXT, "2026-12-01T00:00:00Z", "2026-12-29T09:00:00Z^ 2027-01-01T09:00:00Z", {0}},
	    /* Moved over another rule's times: still in order. */
	    {WHEN_RRULE,
		"DTSTART:20261225T170000\nRRULE:FREQ=WEEKLY;COUNT=1\nRDATE:20261229T080000,"
		"20261229T180000",
		"UTC", NULL, XMAS, NEXT, "2026-12-01T00:00:00Z",
		"2026-12-29T08:00:00Z 2026-12-29T17:00:00Z^ 2026-12-29T18:00:00Z", {0}},
	    /* An include calendar: only its days, and those alone are business days. */
	    {WHEN_TIMES, "09:00", "UTC", "2026-11-23 2026-11-25", NULL, SKIP,
		"2026-11-20T00:00:00Z", "2026-11-23T09:00:00Z 2026-11-25T09:00:00Z", {0}},
	    {WHEN_TIMES, "09:00 0110000", "UTC", "2026-11-23 2026-11-26", NULL, NEXT,
		"2026-11-20T00:00:00Z", "2026-11-23T09:00:00Z^ 2026-11-26T09:00:00Z^", {0}},
	    {WHEN_TIMES, "09:00 0110000", "UTC", "2026-11-23 2026-11-26", NULL, PREV,
		"2026-11-20T00:00:00Z", "2026-11-23T09:00:00Z^ 2026-11-26T09:00:00Z^", {0}},
	    /* An included Saturday runs but is nowhere to move to. */
	    {WHEN_TIMES, "09:00 0000110", "UTC", "2026-11-21 2026-11-24", NULL, NEXT,
		"2026-11-19T00:00:00Z", "2026-11-21T09:00:00Z 2026-11-24T09:00:00Z^", {0}},
	    {WHEN_TIMES, "09:00", "UTC", "2026-11-23 2026-11-25", "2026-11-25", SKIP,
		"2026-11-20T00:00:00Z", "2026-11-23T09:00:00Z", {0}},
	    {WHEN_TIMES, "09:00", "UTC", "", NULL, NEXT, "2026-11-20T00:00:00Z", "", {0}},
	    {WHEN_TIMES, "09:00", "UTC", "", NULL, PREV, "2026-11-20T00:00:00Z", "", {0}},
	    {WHEN_CRON, "* * * * * *", "UTC", "", NULL, SKIP, "2026-11-20T00:00:00Z", "", {0}},
	    /* The only business day is farther away than a year and a day. */
	    {WHEN_CRON, "0 9 1 1 *", "UTC", "2028-01-04", NULL, NEXT, "2026-12-01T00:00:00Z",
		"2028-01-04T09:00:00Z^", {0}},
	    /* Days are local days: 25 December begins at 11:00Z the day before in Auckland. */
	    {WHEN_CRON, "0 * * * *", "Pacific/Auckland", NULL, XMAS, SKIP, "2026-12-24T10:00:00Z",
		"2026-12-25T11:00:00Z", {0}},
	    /* The clock of the day it comes to: Amman's gap, Friday 00:00 to 01:00. */
	    {WHEN_TIMES, "00:30 0001000", "Asia/Amman", NULL, "2022-02-24", NEXT,
		"2022-02-20T00:00:00Z", "2022-02-24T22:00:00Z*^ 2022-03-02T21:30:00Z", {0}},
	    {WHEN_TIMES, "00:30 0001000", "Asia/Amman", NULL, "2022-02-24", NEXT,
		"2022-02-20T00:00:00Z", "2022-03-02T21:30:00Z", {.gap = CRON_GAP_SKIP}},
	    {WHEN_EVERY, "6h", "UTC", NULL, "2026-11-21", SKIP, "2026-11-20T11:00:00Z",
		"2026-11-20T16:00:00Z 2026-11-20T22:00:00Z 2026-11-22T04:00:00Z", {0}},
	    {WHEN_EVERY, "6h", "UTC", "2026-11-21", NULL, SKIP, "2026-11-20T11:00:00Z",
		"2026-11-21T04:00:00Z 2026-11-21T10:00:00Z 2026-11-21T16:00:00Z "
		"2026-11-21T22:00:00Z",
		{0}},
	    {WHEN_ONCE, "2026-12-25T02:00:00Z", "UTC", NULL, XMAS, SKIP, "2026-12-01T00:00:00Z", "",
		{0}},
	    {WHEN_ONCE, "2026-12-25T02:00:00Z", "UTC", NULL, XMAS, NEXT, "2026-12-01T00:00:00Z",
		"2026-12-29T02:00:00Z^", {0}},
	    /* Still Thursday in New York. */
	    {WHEN_ONCE, "2026-12-25T02:00:00Z", NY, NULL, XMAS, SKIP, "2026-12-01T00:00:00Z",
		"2026-12-25T02:00:00Z", {0}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		_cleanup_calendar_ struct calendar *include = calendar_of(r->include);
		_cleanup_calendar_ struct calendar *exclude = calendar_of(r->exclude);
		_cleanup_when_ struct when *w = when_of(r, include, exclude);
		_cleanup_buf_ struct buf b = {0};
		struct when_occurrence o;
		int64_t t = at(r->from);
		char stamp[32];

		buf_adds(&b, "");
		for (; b.n <= strlen(r->expected) && when_next(w, t, &o); t = o.utc)
			buf_addf(&b, "%s%s%s%s", b.n ? " " : "", when_format_rfc3339(o.utc, stamp),
			    o.is_moved ? "*" : "", o.is_shifted ? "^" : "");
		if (strncmp(b.p, r->expected, strlen(r->expected)) != 0 || (!*r->expected && b.n))
			fail_msg("%zu %s in %s after %s:\n got %s\nwant %s", i, r->expr, r->zone,
			    r->from, b.p, r->expected);
	}
}

/* The day that an occurrence was meant for; of two that meet, the one of the day itself. */
static void
test_day(void **state)
{
	static const struct row friday = {
	    WHEN_TIMES, "09:00 0000100", "UTC", NULL, NULL, NEXT, NULL, NULL, {0}};
	static const struct row both = {
	    WHEN_TIMES, "09:00 1000100", "UTC", NULL, NULL, NEXT, NULL, NULL, {0}};
	static const struct row daily = {
	    WHEN_TIMES, "09:00", "UTC", NULL, NULL, NEXT, NULL, NULL, {0}};
	_cleanup_calendar_ struct calendar *exclude = calendar_of(XMAS);
	_cleanup_when_ struct when *a = when_of(&friday, NULL, exclude);
	_cleanup_when_ struct when *b = when_of(&both, NULL, exclude);
	_cleanup_when_ struct when *c = when_of(&daily, NULL, exclude);
	int64_t tuesday = at("2026-12-29T09:00:00Z");
	struct when_occurrence o;

	(void)state;
	assert_true(when_next(a, tuesday - 1, &o));
	assert_int_equal(o.utc, tuesday);
	assert_int_equal(o.day, civil_days(2026, 12, 25));
	assert_true(when_next(b, tuesday - 1, &o));
	assert_int_equal(o.day, civil_days(2026, 12, 25));
	assert_true(o.is_shifted);
	assert_true(when_next(c, tuesday - 1, &o));
	assert_int_equal(o.day, civil_days(2026, 12, 29));
	assert_false(o.is_shifted);
}

static void
test_refused(void **state)
{
	_cleanup_calendar_ struct calendar *exclude = calendar_of(XMAS);
	struct when_setting set = {WHEN_ALWAYS, .exclude = exclude, .hit = NEXT};
	struct err e = ERR_INIT;

	(void)state;
	assert_null(when_new(WHEN_EVERY, "90s", &set, &e));
	assert_string_equal(e.field, "hit");
	assert_non_null(strstr(e.message, "'next_business_day' does not go with kind every"));
	assert_null(when_new(WHEN_CRON, "@every 90s", &set, &e));
	/* Without a calendar there is nothing to hit. */
	set.exclude = NULL;
	when_free(when_new(WHEN_EVERY, "90s", &set, &e));
}

/* Expected: nominal instant, what becomes of it: F fires (and where, if elsewhere), C, G, D
 * (fold). */
static void
test_marks(void **state)
{
	static const struct row rows[] = {
	    {WHEN_TIMES, "02:30", NY, NULL, NULL, SKIP, "2026-03-07T12:00:00Z",
		"2026-03-08T07:00:00ZG 2026-03-09T06:30:00ZF", {.gap = CRON_GAP_SKIP}},
	    {WHEN_TIMES, "02:10,02:50", NY, NULL, NULL, SKIP, "2026-03-07T12:00:00Z",
		"2026-03-08T07:00:00ZF 2026-03-08T07:00:00ZF 2026-03-09T06:10:00ZF", {0}},
	    /* Inside the gap and at its end. */
	    {WHEN_TIMES, "02:10,03:00", NY, NULL, NULL, SKIP, "2026-03-07T12:00:00Z",
		"2026-03-08T07:00:00ZF 2026-03-08T07:00:00ZF 2026-03-09T06:10:00ZF", {0}},
	    {WHEN_CRON, "*/30 2 * * *", NY, NULL, NULL, SKIP, "2026-03-07T12:00:00Z",
		"2026-03-08T07:00:00ZG 2026-03-08T07:00:00ZG 2026-03-09T06:00:00ZF", {0}},
	    {WHEN_TIMES, "01:30", NY, NULL, NULL, SKIP, "2026-11-01T00:00:00Z",
		"2026-11-01T05:30:00ZF 2026-11-01T06:30:00ZD 2026-11-02T06:30:00ZF", {0}},
	    {WHEN_TIMES, "01:30", NY, NULL, NULL, SKIP, "2026-11-01T00:00:00Z",
		"2026-11-01T05:30:00ZD 2026-11-01T06:30:00ZF 2026-11-02T06:30:00ZF",
		{.fold = CRON_FOLD_SECOND}},
	    {WHEN_TIMES, "01:30", NY, NULL, NULL, SKIP, "2026-11-01T00:00:00Z",
		"2026-11-01T05:30:00ZF 2026-11-01T06:30:00ZF 2026-11-02T06:30:00ZF",
		{.fold = CRON_FOLD_BOTH}},
	    /* Apia had no 30 December 2011: nothing is made up for it. */
	    {WHEN_TIMES, "12:00", "Pacific/Apia", NULL, NULL, SKIP, "2011-12-29T12:00:00Z",
		"2011-12-29T22:00:00ZF 2011-12-30T10:00:00ZG 2011-12-30T22:00:00ZF", {0}},
	    {WHEN_TIMES, "09:00", "UTC", NULL, XMAS, SKIP, "2026-12-24T00:00:00Z",
		"2026-12-24T09:00:00ZF 2026-12-25T09:00:00ZC 2026-12-26T09:00:00ZF", {0}},
	    {WHEN_TIMES, "09:00 0000100", "UTC", NULL, XMAS, NEXT, "2026-12-24T00:00:00Z",
		"2026-12-25T09:00:00ZF2026-12-29T09:00:00Z 2027-01-01T09:00:00ZF", {0}},
	    {WHEN_EVERY, "12h", "UTC", NULL, "2026-11-21", SKIP, "2026-11-20T12:00:00Z",
		"2026-11-20T22:00:00ZF 2026-11-21T10:00:00ZC 2026-11-21T22:00:00ZC "
		"2026-11-22T10:00:00ZF",
		{0}},
	    {WHEN_ONCE, "2026-12-25T02:00:00Z", "UTC", NULL, XMAS, NEXT, "2026-12-01T00:00:00Z",
		"2026-12-25T02:00:00ZF2026-12-29T02:00:00Z", {0}},
	    {WHEN_ON_DEMAND, "", "UTC", NULL, NULL, SKIP, "2026-12-01T00:00:00Z", "", {0}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		_cleanup_calendar_ struct calendar *exclude = calendar_of(r->exclude);
		_cleanup_when_ struct when *w = when_of(r, NULL, exclude);
		struct when_cursor c = {.after = at(r->from), .until = CIVIL_MAX_S};
		_cleanup_buf_ struct buf b = {0};
		struct when_mark m;
		char stamp[32];

		buf_adds(&b, "");
		while (b.n < strlen(r->expected) && when_next_mark(w, &c, &m)) {
			buf_addf(&b, "%s%s%c", b.n ? " " : "", when_format_rfc3339(m.utc, stamp),
			    "FCGD"[m.what]);
			assert_int_equal(m.what == WHEN_FIRES, m.reason == NULL);
			if (m.what == WHEN_FIRES && m.o.utc != m.utc)
				buf_adds(&b, when_format_rfc3339(m.o.utc, stamp));
		}
		if (strcmp(b.p, r->expected) != 0)
			fail_msg("%zu %s in %s after %s:\n got %s\nwant %s", i, r->expr, r->zone,
			    r->from, b.p, r->expected);
	}
}

/* (after, until], local times and reasons. */
static void
test_mark_range(void **state)
{
	static const struct row daily = {
	    WHEN_TIMES, "09:00", NY, NULL, NULL, SKIP, NULL, NULL, {0}};
	_cleanup_calendar_ struct calendar *exclude = calendar_of(XMAS);
	_cleanup_when_ struct when *w = when_of(&daily, NULL, exclude);
	struct when_cursor c = {at("2026-12-24T14:00:00Z"), at("2026-12-28T14:00:00Z"), {0}, false};
	struct when_mark m;

	(void)state;
	assert_true(when_next_mark(w, &c, &m));
	assert_int_equal(m.utc, at("2026-12-25T14:00:00Z"));
	assert_int_equal(m.local_s, at("2026-12-25T09:00:00Z"));
	assert_string_equal(m.reason, "Christmas Day");
	assert_true(when_next_mark(w, &c, &m));
	assert_true(when_next_mark(w, &c, &m));
	assert_int_equal(m.what, WHEN_FIRES);
	assert_true(when_next_mark(w, &c, &m));
	assert_string_equal(m.reason, "a day of the exclude calendar");
	assert_false(when_next_mark(w, &c, &m));
	assert_false(when_next_mark(w, &c, &m));
}

/* A calendar that rules out every day from 2026 to 2090; the rule below takes a thousand steps to
 * each of its days. */
static void
test_nothing_left_for_long(void **state)
{
	const int64_t first = at("2026-01-01T00:00:00Z"), last = at("2090-12-31T00:00:00Z");
	const size_t n = (size_t)((last - first) / DAY_S) + 1;
	_cleanup_free_ int64_t *days = xcalloc(n, sizeof(*days));
	_cleanup_free_ const char **reasons = xcalloc(n, sizeof(*reasons));
	_cleanup_calendar_ struct calendar *c = NULL;
	struct when_setting set = {WHEN_ALWAYS, .zone = zone_get(NY, NULL)};
	struct when_occurrence o;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		days[i] = first / DAY_S + (int64_t)i;
		reasons[i] = "";
	}
	set.exclude = c = calendar_new("long", n, days, reasons);
	_cleanup_when_ struct when *slow = when_new(WHEN_RRULE,
	    "DTSTART:20200101T000000\n"
	    "RRULE:FREQ=SECONDLY;INTERVAL=31;BYMINUTE=0;BYSECOND=0",
	    &set, &e);
	_cleanup_when_ struct when *quick = when_new(
	    WHEN_RRULE, "DTSTART:20200101T000000\nRRULE:FREQ=HOURLY;INTERVAL=31", &set, &e);

	assert_false(when_next(slow, first + DAY_S, &o));
	assert_true(when_next(slow, at("2090-12-01T00:00:00Z"), &o));
	assert_true(when_next(quick, first + DAY_S, &o));
	assert_true(o.utc > last && o.utc < last + 3 * DAY_S);
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
	    cmocka_unit_test(test_hits),
	    cmocka_unit_test(test_day),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_marks),
	    cmocka_unit_test(test_mark_range),
	    cmocka_unit_test(test_nothing_left_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, fini);
}
