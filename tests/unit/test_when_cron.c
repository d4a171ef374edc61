// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * lib/when/cron: cases whose truth is known by hand, and what malformed expressions get. The broad
 * comparison is tests/oracle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

#include "when/cron.h"
#include "when/stamp.h"
#include "when/zone.h"

#include "base/banned.h"

struct row {
	const char *expr, *zone, *gap, *fold, *from;
	const char *expected; /* the first few, joined by spaces: * moved, + repeated */
};

static void
assert_row(const struct row *r)
{
	_cleanup_buf_ struct buf b = {0};
	struct cron_policy policy = {0};
	struct err e = ERR_INIT;
	const struct zone *z = zone_get(r->zone, &e);
	struct cron_occurrence o;
	struct cron c;
	int64_t at;
	char stamp[32];

	assert_non_null(z);
	if (cron_parse(r->expr, &c, &e) < 0)
		fail_msg("%s: %s", r->expr, e.message);
	assert_int_equal(cron_gap_parse(r->gap, &policy.gap, &e), 0);
	assert_int_equal(cron_fold_parse(r->fold, &policy.fold, &e), 0);
	assert_int_equal(when_parse_rfc3339(r->from, &at, NULL, &e), 0);
	buf_adds(&b, "");
	while (b.n < strlen(r->expected) && cron_next_occurrence(&c, z, &policy, at, &o)) {
		buf_addf(&b, "%s%s%s", b.n ? " " : "", when_format_rfc3339(o.utc, stamp),
		    o.is_moved    ? "*"
		    : o.is_repeat ? "+"
				  : "");
		at = o.utc;
	}
	if (strcmp(b.p, r->expected) != 0)
		fail_msg("%s in %s (%s, %s) after %s:\n got %s\nwant %s", r->expr, r->zone, r->gap,
		    r->fold, r->from, b.p, r->expected);
}

#define NY "America/New_York"
#define GAP "run_at_gap_end"

static void
test_clock_changes(void **state)
{
	static const struct row rows[] = {
	    /* New York: two in the morning, winter and summer. */
	    {"0 2 * * *", NY, GAP, "first", "2026-01-15T00:00:00Z",
		"2026-01-15T07:00:00Z 2026-01-16T07:00:00Z"},
	    {"0 2 * * *", NY, GAP, "first", "2026-07-15T00:00:00Z",
		"2026-07-15T06:00:00Z 2026-07-16T06:00:00Z"},
	    /* Strictly after. */
	    {"0 2 * * *", NY, GAP, "first", "2026-07-15T06:00:00Z", "2026-07-16T06:00:00Z"},
	    {"0 2 * * *", NY, GAP, "first", "2026-07-15T05:59:59Z", "2026-07-15T06:00:00Z"},
	    /* The gap night: 02:30 does not exist. */
	    {"30 2 * * *", NY, GAP, "first", "2026-03-07T12:00:00Z",
		"2026-03-08T07:00:00Z* 2026-03-09T06:30:00Z"},
	    {"30 2 * * *", NY, "skip", "first", "2026-03-07T12:00:00Z", "2026-03-09T06:30:00Z"},
	    /* All times inside one gap make one run, and the regular one at its end is the same. */
	    {"0-59/10 2 * * *", NY, GAP, "first", "2026-03-08T00:00:00Z",
		"2026-03-08T07:00:00Z* 2026-03-09T06:00:00Z"},
	    {"0,30 2,3 * * *", NY, GAP, "first", "2026-03-08T00:00:00Z",
		"2026-03-08T07:00:00Z 2026-03-08T07:30:00Z 2026-03-09T06:00:00Z"},
	    /* The wall clock knows neither. */
	    {"*/30 2 * * *", NY, GAP, "first", "2026-03-08T00:00:00Z", "2026-03-09T06:00:00Z"},
	    {"30 */2 * * *", NY, GAP, "first", "2026-03-08T05:00:00Z",
		"2026-03-08T05:30:00Z 2026-03-08T08:30:00Z"},
	    /* The gap belongs to its day: 8 March is a Sunday. */
	    {"30 2 * * MON", NY, GAP, "first", "2026-03-07T12:00:00Z", "2026-03-09T06:30:00Z"},
	    {"30 2 8 3 *", NY, GAP, "first", "2026-01-01T00:00:00Z",
		"2026-03-08T07:00:00Z* 2027-03-08T07:30:00Z"},
	    /* The fold night: 01:30 comes twice. */
	    {"30 1 * * *", NY, GAP, "first", "2026-11-01T00:00:00Z",
		"2026-11-01T05:30:00Z 2026-11-02T06:30:00Z"},
	    {"30 1 * * *", NY, GAP, "second", "2026-11-01T00:00:00Z",
		"2026-11-01T06:30:00Z+ 2026-11-02T06:30:00Z"},
	    {"30 1 * * *", NY, GAP, "both", "2026-11-01T00:00:00Z",
		"2026-11-01T05:30:00Z 2026-11-01T06:30:00Z+ 2026-11-02T06:30:00Z"},
	    {"*/30 1 * * *", NY, GAP, "first", "2026-11-01T00:00:00Z",
		"2026-11-01T05:00:00Z 2026-11-01T05:30:00Z 2026-11-01T06:00:00Z+ "
		"2026-11-01T06:30:00Z+ "
		"2026-11-02T06:00:00Z"},
	    /* 0-23 does not start with a star. */
	    {"0 0-23 * * *", NY, GAP, "first", "2026-11-01T04:30:00Z",
		"2026-11-01T05:00:00Z 2026-11-01T07:00:00Z"},
	    {"0 * * * *", NY, GAP, "first", "2026-11-01T04:30:00Z",
		"2026-11-01T05:00:00Z 2026-11-01T06:00:00Z+"},
	    /* Half an hour on Lord Howe: 4 October 02:00 to 02:30, back on 5 April. */
	    {"15 2 * * *", "Australia/Lord_Howe", GAP, "first", "2026-10-03T00:00:00Z",
		"2026-10-03T15:30:00Z* 2026-10-04T15:15:00Z"},
	    {"45 1 * * *", "Australia/Lord_Howe", GAP, "both", "2026-04-04T00:00:00Z",
		"2026-04-04T14:45:00Z 2026-04-04T15:15:00Z+ 2026-04-05T15:15:00Z"},
	    /* Never again: the second Sunday of March at two is always skipped. */
	    {"0 2 8-14 3 */7", NY, "skip", "first", "2026-01-01T00:00:00Z", ""},
	    /* A gap over midnight: the day begins at 01:00. */
	    {"30 0 * * *", "America/Havana", GAP, "first", "2026-03-07T12:00:00Z",
		"2026-03-08T05:00:00Z* 2026-03-09T04:30:00Z"},
	    /* A new clock makes nothing up: Apia had no 30 December 2011 ... */
	    {"0 12 * * *", "Pacific/Apia", GAP, "first", "2011-12-29T12:00:00Z",
		"2011-12-29T22:00:00Z 2011-12-30T22:00:00Z"},
	    /* ... three hours forward at Casey (18 October 2009, 02:00 +8) ... */
	    {"30 3 * * *", "Antarctica/Casey", GAP, "first", "2009-10-17T00:00:00Z",
		"2009-10-18T16:30:00Z"},
	    /* ... and three hours back (5 March 2010, 02:00 +11): what is repeated runs again. */
	    {"30 0 * * *", "Antarctica/Casey", GAP, "first", "2010-03-04T00:00:00Z",
		"2010-03-04T13:30:00Z 2010-03-04T16:30:00Z 2010-03-05T16:30:00Z"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_row(&rows[i]);
}

static void
test_calendar(void **state)
{
	static const struct row rows[] = {
	    {"0 0 31 2 *", "UTC", GAP, "first", "2026-01-01T00:00:00Z", ""},
	    {"0 0 30-31 2 *", NY, GAP, "first", "2026-01-01T00:00:00Z", ""},
	    {"0 0 29 2 *", "UTC", GAP, "first", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
	    /* Both must match if one starts with a star: a leap Sunday, 40 years ahead. */
	    {"0 0 29 2 */7", "UTC", GAP, "first", "2088-03-01T00:00:00Z", "2128-02-29T00:00:00Z"},
	    {"0 0 */2 * MON", "UTC", GAP, "first", "2026-11-01T00:00:00Z",
		"2026-11-09T00:00:00Z 2026-11-23T00:00:00Z 2026-12-07T00:00:00Z"},
	    /* Else either. */
	    {"0 0 13 * FRI", "UTC", GAP, "first", "2026-11-07T00:00:00Z",
		"2026-11-13T00:00:00Z 2026-11-20T00:00:00Z 2026-11-27T00:00:00Z"},
	    {"0 0 31 2 MON", "UTC", GAP, "first", "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"},
	    /* Sunday is 0 and 7. */
	    {"0 0 * * 0", "UTC", GAP, "first", "2026-11-16T00:00:00Z", "2026-11-22T00:00:00Z"},
	    {"0 0 * * 7", "UTC", GAP, "first", "2026-11-16T00:00:00Z", "2026-11-22T00:00:00Z"},
	    {"0 0 * * fri-SUN", "UTC", GAP, "first", "2026-11-16T00:00:00Z",
		"2026-11-20T00:00:00Z 2026-11-21T00:00:00Z 2026-11-22T00:00:00Z "
		"2026-11-27T00:00:00Z"},
	    {"\t 5,10-12/2  3 1 Jan,JUN * ", "UTC", GAP, "first", "2026-01-01T03:05:00Z",
		"2026-01-01T03:10:00Z 2026-01-01T03:12:00Z 2026-06-01T03:05:00Z"},
	    {"@weekly", "UTC", GAP, "first", "2026-11-16T00:00:00Z", "2026-11-22T00:00:00Z"},
	    {"@Daily", "UTC", GAP, "first", "2026-11-16T00:00:00Z", "2026-11-17T00:00:00Z"},
	    {"@yearly", "UTC", GAP, "first", "2026-11-16T00:00:00Z", "2027-01-01T00:00:00Z"},
	    {"@hourly", "UTC", GAP, "first", "2026-11-16T00:00:00Z", "2026-11-16T01:00:00Z"},
	    /* The ends of what RFC 3339 can write. */
	    {"0 0 1 1 *", "UTC", GAP, "first", "9998-06-01T00:00:00Z", "9999-01-01T00:00:00Z"},
	    {"0 0 1 1 *", "UTC", GAP, "first", "9999-06-01T00:00:00Z", ""},
	    {"0 0 1 1 *", "UTC", GAP, "first", "0001-01-01T00:00:00Z", "0002-01-01T00:00:00Z"},
	};
	const struct cron_policy policy = {0};
	struct cron c;
	int64_t at;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_row(&rows[i]);
	assert_int_equal(cron_parse("* * * * *", &c, NULL), 0);
	assert_false(cron_next(&c, zone_utc(), &policy, INT64_MAX, &at));
	assert_true(cron_next(&c, zone_utc(), &policy, INT64_MIN, &at));
}

/* L, W, #, ? and wrapping ranges. */
static void
test_signs(void **state)
{
	static const struct row rows[] = {
	    {"0 0 L * *", "UTC", GAP, "first", "2027-12-31T00:00:00Z",
		"2028-01-31T00:00:00Z 2028-02-29T00:00:00Z 2028-03-31T00:00:00Z"},
	    {"0 0 l-1,L-30 * ?", "UTC", GAP, "first", "2026-01-01T00:00:00Z",
		"2026-01-30T00:00:00Z 2026-02-27T00:00:00Z 2026-03-01T00:00:00Z"},
	    /* 15 August 2026 is a Saturday, 15 November a Sunday. */
	    {"0 0 15W * *", "UTC", GAP, "first", "2026-08-01T00:00:00Z",
		"2026-08-14T00:00:00Z 2026-09-15T00:00:00Z 2026-10-15T00:00:00Z "
		"2026-11-16T00:00:00Z"},
	    /* 1 August 2026 is a Saturday, 31 May a Sunday; neither leaves its month. */
	    {"0 0 1W 8 *", "UTC", GAP, "first", "2026-01-01T00:00:00Z",
		"2026-08-03T00:00:00Z 2027-08-02T00:00:00Z"},
	    {"0 0 31W 4-6 *", "UTC", GAP, "first", "2026-01-01T00:00:00Z",
		"2026-05-29T00:00:00Z 2027-05-31T00:00:00Z"},
	    {"0 0 LW * *", "UTC", GAP, "first", "2026-01-01T00:00:00Z",
		"2026-01-30T00:00:00Z 2026-02-27T00:00:00Z 2026-03-31T00:00:00Z "
		"2026-04-30T00:00:00Z 2026-05-29T00:00:00Z"},
	    {"0 0 * * FRI#2,1#5", "UTC", GAP, "first", "2026-11-01T00:00:00Z",
		"2026-11-13T00:00:00Z 2026-11-30T00:00:00Z 2026-12-11T00:00:00Z "
		"2027-01-08T00:00:00Z"},
	    {"0 0 ? * 5L", "UTC", GAP, "first", "2026-11-01T00:00:00Z",
		"2026-11-27T00:00:00Z 2026-12-25T00:00:00Z 2027-01-29T00:00:00Z"},
	    {"0 0 * * SUNL", "UTC", GAP, "first", "2026-11-01T00:00:00Z", "2026-11-29T00:00:00Z"},
	    {"0 0 * * 7#1", "UTC", GAP, "first", "2026-11-02T00:00:00Z", "2026-12-06T00:00:00Z"},
	    /* Both days without a star: either. */
	    {"0 0 L * MON#1", "UTC", GAP, "first", "2026-11-01T00:00:00Z",
		"2026-11-02T00:00:00Z 2026-11-30T00:00:00Z 2026-12-07T00:00:00Z"},
	    /* A fifth Monday in February: leap years that begin it on one. */
	    {"0 0 * 2 MON#5", "UTC", GAP, "first", "2026-01-01T00:00:00Z", "2044-02-29T00:00:00Z"},
	    {"0 0 L-29 2 *", "UTC", GAP, "first", "2026-01-01T00:00:00Z", ""},
	    /* Ranges that run over the end. */
	    {"0 22-4/3 * * *", "UTC", GAP, "first", "2026-01-01T00:00:00Z",
		"2026-01-01T01:00:00Z 2026-01-01T04:00:00Z 2026-01-01T22:00:00Z"},
	    {"0 0 * * FRI-MON", "UTC", GAP, "first", "2026-11-16T00:00:00Z",
		"2026-11-20T00:00:00Z 2026-11-21T00:00:00Z 2026-11-22T00:00:00Z "
		"2026-11-23T00:00:00Z 2026-11-27T00:00:00Z"},
	    {"0 0 * * 7-1", "UTC", GAP, "first", "2026-11-16T00:00:00Z",
		"2026-11-22T00:00:00Z 2026-11-23T00:00:00Z 2026-11-29T00:00:00Z"},
	    {"0 0 30-1 NOV-JAN *", "UTC", GAP, "first", "2026-11-16T00:00:00Z",
		"2026-11-30T00:00:00Z 2026-12-01T00:00:00Z 2026-12-30T00:00:00Z "
		"2026-12-31T00:00:00Z 2027-01-01T00:00:00Z 2027-01-30T00:00:00Z"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_row(&rows[i]);
}

static bool
is_subset(uint64_t a, uint64_t b)
{
	return a && (a & ~b) == 0;
}

/* H: one value, the same for a key, spread over keys; ranges and steps stay inside. */
static void
test_hash(void **state)
{
	uint64_t minutes = 0;
	char key[32];
	struct cron c, again;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "task-%d", i);
		assert_int_equal(cron_parse_keyed("H H H H H", key, &c, NULL), 0);
		assert_int_equal(__builtin_popcountll(c.minute), 1);
		assert_int_equal(__builtin_popcountll(c.days.of_week), 1);
		assert_true(is_subset(c.days.of_month, (UINT64_C(2) << 28) - 2));
		minutes |= c.minute;
		assert_int_equal(cron_parse_keyed("H H H H H", key, &again, NULL), 0);
		assert_memory_equal(&c, &again, sizeof(c));
		assert_int_equal(cron_parse_keyed("H(10-19) h(0-7)/3 * * *", key, &c, NULL), 0);
		assert_true(is_subset(c.minute, UINT64_C(0x3ff) << 10));
		assert_true(c.hour == 0x49 || c.hour == 0x92 || c.hour == 0x24);
		assert_false(cron_follows_clock(&c));
	}
	assert_int_equal(__builtin_popcountll(minutes), 60);
	/* Known by the rule in README.md, worked out apart from this code. */
	assert_int_equal(cron_parse_keyed("H H H H H", "task-1", &c, NULL), 0);
	assert_int_equal(c.minute, UINT64_C(1) << 39);
	assert_int_equal(c.hour, UINT64_C(1) << 13);
}

/* Six fields: seconds first, everything else as with five. */
static void
test_seconds(void **state)
{
	static const struct row rows[] = {
	    {"*/20 * * * * *", "UTC", GAP, "first", "2026-01-01T00:00:00Z",
		"2026-01-01T00:00:20Z 2026-01-01T00:00:40Z 2026-01-01T00:01:00Z"},
	    {"59 59 23 31 12 *", "UTC", GAP, "first", "2026-01-01T00:00:00Z",
		"2026-12-31T23:59:59Z 2027-12-31T23:59:59Z"},
	    {"5,58-59 0,30 2 * * *", "UTC", GAP, "first", "2026-01-01T02:00:05Z",
		"2026-01-01T02:00:58Z 2026-01-01T02:00:59Z 2026-01-01T02:30:05Z"},
	    /* The second before, at and after midnight. */
	    {"0,59 0,59 0,23 * * *", "UTC", GAP, "first", "2026-01-01T23:59:58Z",
		"2026-01-01T23:59:59Z 2026-01-02T00:00:00Z 2026-01-02T00:00:59Z"},
	    /* Second 0 is what five fields mean. */
	    {"0 30 2 * * *", NY, GAP, "first", "2026-03-07T12:00:00Z",
		"2026-03-08T07:00:00Z* 2026-03-09T06:30:00Z"},
	    /* A star for the seconds does not make an expression follow the wall clock. */
	    {"*/30 30 2 * * *", NY, GAP, "first", "2026-03-07T12:00:00Z",
		"2026-03-08T07:00:00Z* 2026-03-09T06:30:00Z 2026-03-09T06:30:30Z"},
	    {"15 * 2 * * *", NY, GAP, "first", "2026-03-08T00:00:00Z", "2026-03-09T06:00:15Z"},
	    /* The fold: the last second of the first pass, the first of the second. */
	    {"59 59 1 * * *", NY, GAP, "first", "2026-11-01T00:00:00Z",
		"2026-11-01T05:59:59Z 2026-11-02T06:59:59Z"},
	    {"0,59 0,59 1 * * *", NY, GAP, "second", "2026-11-01T00:00:00Z",
		"2026-11-01T06:00:00Z+ 2026-11-01T06:00:59Z+ 2026-11-01T06:59:00Z+"},
	    {"* 0-59 1 * * *", NY, GAP, "first", "2026-11-01T05:59:58Z",
		"2026-11-01T05:59:59Z 2026-11-02T06:00:00Z"},
	    {"59 59 23 31 12 *", "UTC", GAP, "first", "9999-12-31T00:00:00Z",
		"9999-12-31T23:59:59Z"},
	};
	_cleanup_buf_ struct buf b = {0};
	struct cron c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_row(&rows[i]);
	assert_int_equal(cron_parse("*/30 0 2 * * *", &c, NULL), 0);
	assert_false(cron_follows_clock(&c));
	cron_describe(&c, &b);
	assert_ptr_equal(strstr(b.p, "second        0,30\nminute        0\n"), b.p);
	buf_clear(&b);
	assert_int_equal(cron_parse("0 2 * * *", &c, NULL), 0);
	assert_int_equal(c.second, 1);
	cron_describe(&c, &b);
	assert_null(strstr(b.p, "second"));
}

struct bad {
	const char *expr, *field, *message, *hint;
};

static void
test_errors(void **state)
{
	static const struct bad bads[] = {
	    {"61 * * * *", "minute", "'61' at position 1 (minute) is out of range",
		"Minutes are 0 to 59"},
	    {"0 24 * * *", "hour", "'24' at position 3 (hour) is out of range",
		"Hours are 0 to 23"},
	    {"0 2 0 * *", "day of month", "'0' at position 5 (day of month) is out of range",
		"1 to 31"},
	    {"0 2 * 13 *", "month", "'13' at position 7 (month) is out of range", "JAN to DEC"},
	    {"0 2 * * 8", "day of week", "'8' at position 9 (day of week) is out of range",
		"0 and 7 are Sunday"},
	    {"0 2 * * MON-FOO", "day of week",
		"'FOO' at position 13 (day of week) is not a value of this field", "SUN to SAT"},
	    {"0 2 * MON *", "month", "'MON' at position 7 (month) is not a value", "JAN to DEC"},
	    {"99999999999999999999 * * * *", "minute", "is out of range", "0 to 59"},
	    {"*/0 * * * *", "minute", "'/0' at position 2 (minute) is not a step of 1 or more",
		"*/5"},
	    {"*/61 * * * *", "minute", "'/61' at position 2 (minute) is a step larger than", "*/5"},
	    {"*/ * * * *", "minute", "'/' at position 2 (minute) is not a step", "*/5"},
	    {"5/15 * * * *", "minute",
		"'5/15' at position 1 (minute) puts a step on a single value", "0-30/5"},
	    {"1,,2 * * * *", "minute", "',' at position 2 (minute) leaves a part of the list empty",
		"0,15,30"},
	    {"1, * * * *", "minute", "',' at position 2 (minute) leaves a part", "0,15,30"},
	    {",1 * * * *", "minute", "',' at position 1 (minute) leaves a part", "0,15,30"},
	    {"1- * * * *", "minute", "'-' at position 2 (minute) lacks a value after it", "0-30"},
	    {"-5 * * * *", "minute", "'-5' at position 1 (minute) is not a value", "0 to 59"},
	    {"*5 * * * *", "minute", "'5' at position 2 (minute) is not understood here",
		"0 to 59"},
	    {"0 L * * *", "hour", "'L' at position 3 (hour) is not for this place: L and ?",
		"Hours are 0 to 23"},
	    {"0 15W * * *", "hour", "'15W' at position 3 (hour) is not for this place",
		"Hours are 0 to 23"},
	    {"0 2 5#3 * *", "day of month", "'#3' at position 6 (day of month) is not for this",
		"15W"},
	    {"0 ? * * *", "hour", "'?' at position 3 (hour) is not for this place", "8-17"},
	    {"~ 2 * * *", "minute", "'~' at position 1 (minute) is not supported: a random", "H"},
	    {"0 2 L-31 * *", "day of month", "'L-31' at position 5 (day of month) counts days back",
		"L-2"},
	    {"0 2 L-0 * *", "day of month", "'L-0' at position 5", "L-2"},
	    {"0 2 L- * *", "day of month", "'L-' at position 5", "L-2"},
	    {"0 2 L5 * *", "day of month", "'L5' at position 5 (day of month) is neither L nor",
		"L-2"},
	    {"0 2 L-3W * *", "day of month", "'L-3W' at position 5", "LW the last weekday"},
	    {"0 2 W * *", "day of month", "'W' at position 5 (day of month) lacks the day before",
		"15W"},
	    {"0 2 1-5W * *", "day of month",
		"'1-5W' at position 5 (day of month) has a W after something else", "15W"},
	    {"0 2 32W * *", "day of month", "'32' at position 5 (day of month) is out of range",
		"15W"},
	    {"0 2 1,? * *", "day of month", "'?' at position 7 (day of month) is not understood: ?",
		"? any"},
	    {"0 2 ?/2 * *", "day of month", "'?/2' at position 5", "? any"},
	    {"0 2 * ? *", "month", "'?' at position 7 (month) is not for this place", "JAN"},
	    {"0 2 * * L", "day of week", "'L' at position 9 (day of week) lacks the weekday",
		"FRIL the last"},
	    {"0 2 * * 1-5L", "day of week", "'1-5L' at position 9 (day of week) has an L after",
		"FRIL"},
	    {"0 2 * * 8L", "day of week", "'8' at position 9 (day of week) is out of range",
		"FRIL"},
	    {"0 2 * * 5#6", "day of week", "'#6' at position 10 (day of week) is not #1 to #5",
		"FRI#2"},
	    {"0 2 * * 5#0", "day of week", "'#0' at position 10", "FRI#2"},
	    {"0 2 * * #2", "day of week", "'#2' at position 9 (day of week) lacks the weekday",
		"FRI#2"},
	    {"0 2 * * 1-5#2", "day of week", "'1-5#2' at position 9 (day of week) has a # after",
		"FRI#2"},
	    {"0 2 * * 15W", "day of week", "'15W' at position 9 (day of week) is not for this",
		"FRI#2"},
	    {"H 2 * * *", "minute", "'H' at position 1 (minute) needs a task whose id it hashes",
		"task's id"},
	    {"H(5 2 * * *", "minute", "'(5' at position 2 (minute) lacks a closing parenthesis",
		"H(0-29)"},
	    {"H(9-5) 2 * * *", "minute", "'(9-5)' at position 2 (minute) is a range that runs back",
		"H(0-29)"},
	    {"H(5) 2 * * *", "minute", "'(5)' at position 2 (minute) is not a range such as",
		"H(0-29)"},
	    {"H(0-60) 2 * * *", "minute", "'60' at position 5 (minute) is out of range", "0 to 59"},
	    {"H/0 2 * * *", "minute", "'/0' at position 2 (minute) is not a step", "H/15"},
	    {"Hx 2 * * *", "minute", "'x' at position 2 (minute) is not understood", "H/15"},
	    {"0 2 * * 5-", "day of week", "'-' at position 10 (day of week) lacks a value",
		"FRI-MON"},
	    {"\xc3\xa4 2 * * *", "minute", "'\\xc3\\xa4' at position 1 (minute) is not a value",
		"0 to 59"},
	    {"60 0 2 * * *", "second", "'60' at position 1 (second) is out of range",
		"Seconds are 0 to 59"},
	    {"*/10 61 2 * * *", "minute", "'61' at position 6 (minute) is out of range",
		"Minutes are 0 to 59"},
	    {"", "expression", "cron expression has 0 fields, 5 or 6 are taken", "'0 2 * * *'"},
	    {"0 2 * *", "expression", "cron expression has 4 fields", "'0 2 * * *'"},
	    {"0 0 2 * * * *", "expression", "cron expression has 7 fields, 5 or 6 are taken",
		"the second"},
	    {"@reboot", "expression", "cron macro '@reboot' is not known", "@hourly"},
	};
	char longer[CRON_TEXT_MAX + 2];
	struct err e = ERR_INIT;
	struct cron c, untouched;

	(void)state;
	memset(&untouched, 0x5a, sizeof(untouched));
	for (size_t i = 0; i < ARRAY_LEN(bads); i++) {
		c = untouched;
		if (cron_parse(bads[i].expr, &c, &e) != -ERR_INVALID)
			fail_msg("taken: %s", bads[i].expr);
		assert_memory_equal(&c, &untouched, sizeof(c));
		assert_string_equal(e.field, bads[i].field);
		if (!strstr(e.message, bads[i].message) || !strstr(e.hint, bads[i].hint))
			fail_msg("%s: %s (%s)", bads[i].expr, e.message, e.hint);
	}
	memset(longer, ' ', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(cron_parse(longer, &c, &e), -ERR_TOO_BIG);
	assert_int_equal(cron_parse_keyed("H(0-5)/7 * * * *", "k", &c, &e), -ERR_INVALID);
	assert_non_null(strstr(e.message, "has a step larger than its range"));
	assert_int_equal(cron_gap_parse("later", &(enum cron_gap){0}, &e), -ERR_INVALID);
	assert_string_equal(e.hint, "Use run_at_gap_end or skip.");
	assert_int_equal(cron_fold_parse("third", &(enum cron_fold){0}, &e), -ERR_INVALID);
	assert_string_equal(e.field, "dst_fold");
}

static void
test_describe(void **state)
{
	_cleanup_buf_ struct buf b = {0};
	struct cron c;

	(void)state;
	assert_int_equal(cron_parse("0,15,16,30-33 2 */2 JUN-AUG 7", &c, NULL), 0);
	assert_false(cron_follows_clock(&c));
	cron_describe(&c, &b);
	assert_non_null(strstr(b.p, "minute        0,15,16,30-33\n"));
	assert_non_null(strstr(b.p, "hour          2\n"));
	assert_non_null(strstr(b.p, "month         JUN-AUG\n"));
	assert_non_null(strstr(b.p, "day of week   SUN\n"));
	assert_non_null(strstr(b.p, "must both match"));
	buf_clear(&b);
	assert_int_equal(cron_parse("0 0 1,L,L-3,15W,LW * MON#1,5L", &c, NULL), 0);
	cron_describe(&c, &b);
	assert_non_null(strstr(b.p, "day of month  1,L,L-3,LW,15W\n"));
	assert_non_null(strstr(b.p, "day of week   MON#1,FRIL\n"));
	buf_clear(&b);
	assert_int_equal(cron_parse("* * * * *", &c, NULL), 0);
	assert_true(cron_follows_clock(&c));
	cron_describe(&c, &b);
	assert_non_null(
	    strstr(b.p, "minute        every\nhour          every\nday of month  every\n"));
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
	    cmocka_unit_test(test_clock_changes),
	    cmocka_unit_test(test_calendar),
	    cmocka_unit_test(test_signs),
	    cmocka_unit_test(test_hash),
	    cmocka_unit_test(test_seconds),
	    cmocka_unit_test(test_errors),
	    cmocka_unit_test(test_describe),
	};

	return cmocka_run_group_tests(tests, NULL, fini);
}
