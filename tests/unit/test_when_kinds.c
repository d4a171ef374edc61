// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * lib/when/when: every kind by hand, each accepted spelling, each refused text. Cron's own
 * grammar is
 * test_when_cron.c's, calendars test_when_calendars.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

#include "when/stamp.h"
#include "when/when.h"
#include "when/zone.h"

#include "base/banned.h"

#define NY "America/New_York"
#define BERLIN "Europe/Berlin"
#define ANCHOR "2026-11-20T10:00:30Z"

static int64_t
at(const char *stamp)
{
	int64_t t;

	assert_int_equal(when_parse_rfc3339(stamp, &t, NULL, NULL), 0);
	return t;
}

static struct when_setting
setting(const char *zone)
{
	struct when_setting set = {WHEN_ALWAYS, .zone = zone_get(zone, NULL), .anchor = at(ANCHOR)};

	assert_non_null(set.zone);
	return set;
}

struct row {
	enum when_kind kind;
	const char *expr, *zone, *from;
	const char *expected; /* the first few, joined by spaces: * moved, + repeated */
	struct cron_policy policy;
};

static void
assert_row(const struct row *r)
{
	_cleanup_buf_ struct buf b = {0};
	_cleanup_when_ struct when *w = NULL;
	struct when_setting set = setting(r->zone);
	struct when_occurrence o;
	struct err e = ERR_INIT;
	int64_t t = at(r->from);
	char stamp[32];

	set.policy = r->policy;
	w = when_new(r->kind, r->expr, &set, &e);
	if (!w)
		fail_msg("%s: %s", r->expr, e.message);
	buf_adds(&b, "");
	for (; b.n < strlen(r->expected) && when_next(w, t, &o); t = o.utc)
		buf_addf(&b, "%s%s%s", b.n ? " " : "", when_format_rfc3339(o.utc, stamp),
		    o.is_moved    ? "*"
		    : o.is_repeat ? "+"
				  : "");
	if (strcmp(b.p, r->expected) != 0)
		fail_msg("%s in %s after %s:\n got %s\nwant %s", r->expr, r->zone, r->from, b.p,
		    r->expected);
}

#define SKIP_GAP                     \
	{                            \
		.gap = CRON_GAP_SKIP \
	}
#define BOTH                           \
	{                              \
		.fold = CRON_FOLD_BOTH \
	}
#define SECOND                           \
	{                                \
		.fold = CRON_FOLD_SECOND \
	}

static void
test_next(void **state)
{
	static const struct row rows[] = {
	    {WHEN_CRON, "0 2 * * 1-5", BERLIN, "2026-11-20T12:00:00Z",
		"2026-11-23T01:00:00Z 2026-11-24T01:00:00Z", {0}},
	    /* Elapsed time from the anchor on, which is the first; nothing before it. */
	    {WHEN_EVERY, "90s", NY, "2026-01-01T00:00:00Z",
		"2026-11-20T10:00:30Z 2026-11-20T10:02:00Z", {0}},
	    {WHEN_EVERY, "90s", NY, "2026-11-20T10:02:00Z", "2026-11-20T10:03:30Z", {0}},
	    {WHEN_EVERY, "1d", NY, "2027-03-13T12:00:00Z",
		"2027-03-14T10:00:30Z 2027-03-15T10:00:30Z", {0}},
	    {WHEN_CRON, "@every 90s", NY, "2026-11-20T10:00:30Z", "2026-11-20T10:02:00Z", {0}},
	    {WHEN_EVERY, "366d", "UTC", "9999-06-01T00:00:00Z", "", {0}},
	    /* Monday to Friday; 20 November 2026 is a Friday. */
	    {WHEN_TIMES, "09:00,14:00 1111100", "UTC", "2026-11-20T09:00:00Z",
		"2026-11-20T14:00:00Z 2026-11-23T09:00:00Z 2026-11-23T14:00:00Z", {0}},
	    {WHEN_TIMES, "23:59:59 0000001", "UTC", "2026-11-20T00:00:00Z",
		"2026-11-22T23:59:59Z 2026-11-29T23:59:59Z", {0}},
	    /* Times keep the clock's policies. */
	    {WHEN_TIMES, "02:10,02:50 1111111", NY, "2026-03-07T12:00:00Z",
		"2026-03-08T07:00:00Z* 2026-03-09T06:10:00Z", {0}},
	    {WHEN_TIMES, "02:10,02:50 1111111", NY, "2026-03-07T12:00:00Z", "2026-03-09T06:10:00Z",
		SKIP_GAP},
	    {WHEN_TIMES, "01:30 1111111", NY, "2026-11-01T00:00:00Z",
		"2026-11-01T05:30:00Z 2026-11-02T06:30:00Z", {0}},
	    {WHEN_TIMES, "01:30 1111111", NY, "2026-11-01T00:00:00Z",
		"2026-11-01T05:30:00Z 2026-11-01T06:30:00Z+ 2026-11-02T06:30:00Z", BOTH},
	    /* A window's end is in it if a step reaches it. */
	    {WHEN_WINDOW, "09:00-11:00-60 1111111", "UTC", "2026-11-20T00:00:00Z",
		"2026-11-20T09:00:00Z 2026-11-20T10:00:00Z 2026-11-20T11:00:00Z "
		"2026-11-21T09:00:00Z",
		{0}},
	    {WHEN_WINDOW, "09:00-10:59-60 1111111", "UTC", "2026-11-20T09:30:00Z",
		"2026-11-20T10:00:00Z 2026-11-21T09:00:00Z", {0}},
	    {WHEN_WINDOW, "02:00-02:00-1440 1111111", "UTC", "2026-11-20T00:00:00Z",
		"2026-11-20T02:00:00Z 2026-11-21T02:00:00Z", {0}},
	    {WHEN_WINDOW, "00:00-23:59-5 1000000", "UTC", "2026-11-23T23:50:00Z",
		"2026-11-23T23:55:00Z 2026-11-30T00:00:00Z", {0}},
	    /* Not the wall clock's: the hour that is repeated is not run again. */
	    {WHEN_WINDOW, "00:30-02:30-30 1111111", NY, "2026-11-01T04:30:00Z",
		"2026-11-01T05:00:00Z 2026-11-01T05:30:00Z 2026-11-01T07:00:00Z "
		"2026-11-01T07:30:00Z",
		{0}},
	    {WHEN_WINDOW, "01:00-01:30-30 1111111", NY, "2026-11-01T04:30:00Z",
		"2026-11-01T06:00:00Z+ 2026-11-01T06:30:00Z+ 2026-11-02T06:00:00Z", SECOND},
	    {WHEN_ORDINAL, "first monday 06:00", "UTC", "2026-11-01T00:00:00Z",
		"2026-11-02T06:00:00Z 2026-12-07T06:00:00Z", {0}},
	    {WHEN_ORDINAL, "fourth thursday 06:00,18:00", "UTC", "2026-11-26T06:00:00Z",
		"2026-11-26T18:00:00Z 2026-12-24T06:00:00Z", {0}},
	    {WHEN_ORDINAL, "fifth friday 06:00", "UTC", "2026-11-01T00:00:00Z",
		"2027-01-29T06:00:00Z 2027-04-30T06:00:00Z", {0}},
	    {WHEN_ORDINAL, "last sunday 02:30", BERLIN, "2026-03-01T00:00:00Z",
		"2026-03-29T01:00:00Z* 2026-04-26T00:30:00Z", {0}},
	    {WHEN_RRULE, "DTSTART:20261120T020000\nRRULE:FREQ=DAILY;INTERVAL=2;COUNT=3", BERLIN,
		"2026-11-20T00:00:00Z",
		"2026-11-20T01:00:00Z 2026-11-22T01:00:00Z 2026-11-24T01:00:00Z", {0}},
	    {WHEN_RRULE, "DTSTART;TZID=Europe/Berlin:20260327T023000\nRRULE:FREQ=DAILY", BERLIN,
		"2026-03-28T00:00:00Z",
		"2026-03-28T01:30:00Z 2026-03-29T01:00:00Z* 2026-03-30T00:30:00Z", {0}},
	    {WHEN_RRULE, "DTSTART:20260101T000000\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
		"UTC", "2026-01-01T00:00:00Z", "", {0}},
	    {WHEN_ONCE, "2026-12-01T02:00:00Z", NY, "2026-11-20T00:00:00Z", "2026-12-01T02:00:00Z",
		{0}},
	    {WHEN_ONCE, "2026-12-01T02:00:00Z", NY, "2026-12-01T02:00:00Z", "", {0}},
	    {WHEN_ONCE, "2026-11-01T06:30:00Z", NY, "2026-11-01T00:00:00Z", "2026-11-01T06:30:00Z+",
		{0}},
	    {WHEN_ON_DEMAND, "", "UTC", "2026-11-20T00:00:00Z", "", {0}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_row(&rows[i]);
}

/* from is in, until is out. */
static void
test_effective(void **state)
{
	static const enum when_kind kinds[] = {
	    WHEN_CRON, WHEN_EVERY, WHEN_TIMES, WHEN_WINDOW, WHEN_ONCE};
	static const char *const exprs[] = {"0 * * * *", "1h", "00:00,01:00,02:00,03:00,04:00",
	    "00:00-23:00-60", "2026-11-20T01:00:00Z"};
	struct when_setting set = setting("UTC");
	struct when_occurrence o;
	struct err e = ERR_INIT;

	(void)state;
	set.from = set.anchor = at("2026-11-20T01:00:00Z");
	set.until = at("2026-11-20T03:00:00Z");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		_cleanup_when_ struct when *w = when_new(kinds[i], exprs[i], &set, &e);
		struct when_cursor c = {.after = INT64_MIN, .until = INT64_MAX};
		struct when_mark m;
		int count = 0;

		assert_non_null(w);
		assert_true(when_next(w, INT64_MIN, &o));
		assert_int_equal(o.utc, set.from);
		assert_true(when_next(w, set.from - 1, &o));
		assert_int_equal(o.utc, set.from);
		assert_int_equal(when_next(w, set.from, &o), kinds[i] != WHEN_ONCE);
		assert_false(when_next(w, set.until - 3600, &o));
		assert_false(when_next(w, set.until, &o));
		for (c.after = set.from - 7200, c.until = set.until + 7200;
		     when_next_mark(w, &c, &m);)
			count++;
		assert_int_equal(count, kinds[i] == WHEN_ONCE ? 1 : 2);
	}
	set.until = set.from;
	assert_null(when_new(WHEN_CRON, "0 * * * *", &set, &e));
	assert_string_equal(e.field, "effective_until");
}

struct text {
	enum when_kind kind;
	const char *given, *canonical;
};

static void
test_spellings(void **state)
{
	static const struct text texts[] = {
	    {WHEN_CRON, "  0\t2 *  * 1-5 ", "0 2 * * 1-5"},
	    {WHEN_CRON, "@daily", "@daily"},
	    {WHEN_CRON, " @every  120s", "@every 2m"},
	    {WHEN_EVERY, "90s", "90s"},
	    {WHEN_EVERY, "every 5M", "5m"},
	    {WHEN_EVERY, "@every 090m", "90m"},
	    {WHEN_EVERY, "2w", "14d"},
	    {WHEN_EVERY, "48h", "2d"},
	    {WHEN_TIMES, "09:00,14:00 1111100", "09:00,14:00 1111100"},
	    {WHEN_TIMES, "(09:00, 14:00)", "09:00,14:00 1111111"},
	    {WHEN_TIMES, " ( 14:00 ,09:00, 14:00 ) 0000011", "09:00,14:00 0000011"},
	    {WHEN_TIMES, "[14:00:05, 09:00:00]", "09:00,14:00:05 1111111"},
	    {WHEN_TIMES, "14:00, 09:00 1000000", "09:00,14:00 1000000"},
	    {WHEN_WINDOW, "09:00-17:00-60", "09:00-17:00-60 1111111"},
	    {WHEN_WINDOW, "00:00-23:59-5 1111100", "00:00-23:59-5 1111100"},
	    {WHEN_WINDOW, "02:00-02:00-1440", "02:00-02:00-1440 1111111"},
	    {WHEN_ORDINAL, "first monday of every month 06:00", "first monday 06:00"},
	    {WHEN_ORDINAL, "  Last  FRIDAY of every  month (14:00, 06:00)",
		"last friday 06:00,14:00"},
	    {WHEN_ORDINAL, "fifth sunday 23:59", "fifth sunday 23:59"},
	    {WHEN_RRULE, "DTSTART;TZID=America/New_York:20261120T020000\r\nRRULE:FREQ=DAILY\r\n",
		"DTSTART:20261120T020000\nRRULE:FREQ=DAILY"},
	    /* Folded, with a colon in quotes, in small letters, with what looks like a line's end. */
	    {WHEN_RRULE,
		"dtstart;X=\"a:b\";TZ\n "
		"ID=America/New_York:20261120T020000\nRRULE;Y=a\rb:FREQ=\r\n DAILY",
		"DTSTART:20261120T020000\nRRULE:FREQ=DAILY"},
	    {WHEN_ONCE, "2026-12-01T02:00:00Z", "2026-12-01T02:00:00Z"},
	    {WHEN_ONCE, "2026-12-01T02:00:00+05:30", "2026-11-30T20:30:00Z"},
	    {WHEN_ONCE, "90m", "2026-11-20T11:30:30Z"},
	    {WHEN_ONCE, " +90m ", "2026-11-20T11:30:30Z"},
	    {WHEN_ONCE, "2h", "2026-11-20T12:00:30Z"},
	    {WHEN_ONCE, "45s", "2026-11-20T10:01:15Z"},
	    {WHEN_ONCE, "7d", "2026-11-27T10:00:30Z"},
	    {WHEN_ONCE, "2w", "2026-12-04T10:00:30Z"},
	    /* On New York's clock: winter, summer, the gap's end, the fold's first. */
	    {WHEN_ONCE, "2026-12-01 02:00", "2026-12-01T07:00:00Z"},
	    {WHEN_ONCE, "2026-07-01T02:00:10", "2026-07-01T06:00:10Z"},
	    {WHEN_ONCE, "2027-03-14T02:30", "2027-03-14T07:00:00Z"},
	    {WHEN_ONCE, "2027-11-07 01:30:00", "2027-11-07T05:30:00Z"},
	    {WHEN_ON_DEMAND, "  ", ""},
	};
	struct when_setting set = setting(NY);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const struct text *t = &texts[i];
		_cleanup_buf_ struct buf b = {0}, again = {0};
		_cleanup_when_ struct when *w = NULL;
		struct err e = ERR_INIT;

		buf_adds(&b, ">");
		if (when_text(t->kind, &set, t->given, &b, &e) < 0)
			fail_msg("%s: %s", t->given, e.message);
		if (strcmp(b.p + 1, t->canonical) != 0)
			fail_msg("%s: got %s, want %s", t->given, b.p + 1, t->canonical);
		/* The stored text is taken, and is its own canonical text. */
		w = when_new(t->kind, b.p + 1, &set, &e);
		assert_non_null(w);
		assert_int_equal(when_text(t->kind, &set, b.p + 1, &again, &e), 0);
		assert_string_equal(again.p, t->canonical);
	}
}

struct bad {
	enum when_kind kind;
	const char *expr, *field, *message, *hint;
};

static void
test_errors(void **state)
{
	static const struct bad bads[] = {
	    {WHEN_CRON, "0 25 * * *", "hour", "'25' at position 3 (hour) is out of range",
		"Hours are 0 to 23"},
	    {WHEN_CRON, "@every", "interval", "a number is missing at position 7", "90s"},
	    {WHEN_CRON, "@every 0s", "interval", "'0s' at position 8 (interval) is out of range",
		"one second to 366 days"},
	    {WHEN_EVERY, "", "interval", "a number is missing at position 1 (interval)", "90s"},
	    {WHEN_EVERY, "90", "interval", "'90' at position 1 (interval) lacks a unit", "90s"},
	    {WHEN_EVERY, "90x", "interval", "'90x' at position 1 (interval) lacks a unit", "90s"},
	    {WHEN_EVERY, "-5m", "interval", "'-5m' at position 1 (interval) is not a number", "5m"},
	    {WHEN_EVERY, "m", "interval", "'m' at position 1 (interval) is not a number", "5m"},
	    {WHEN_EVERY, "367d", "interval", "'367d' at position 1 (interval) is out of range",
		"366 days"},
	    {WHEN_EVERY, "53w", "interval", "'53w' at position 1 (interval) is out of range",
		"366 days"},
	    {WHEN_EVERY, "999999999s", "interval", "'999999999s' at position 1 (interval) is not",
		"366 days"},
	    {WHEN_EVERY, "1h30m", "interval", "'30m' at position 3 (interval) is not understood",
		"2h"},
	    {WHEN_EVERY, "1h or so", "interval", "' or so' at position 3 (interval)", "2h"},
	    {WHEN_TIMES, "", "time", "a time of day is missing at position 1 (time)", "HH:MM"},
	    {WHEN_TIMES, "25:00 1111100", "time", "'25:00' at position 1 (time) is not a time of",
		"00:00 to 23:59:59"},
	    {WHEN_TIMES, "24:00", "time", "'24:00' at position 1", "00:00 to 23:59:59"},
	    {WHEN_TIMES, "9:00", "time", "'9:00' at position 1", "HH:MM"},
	    {WHEN_TIMES, "09:60", "time", "'09:60' at position 1", "HH:MM"},
	    {WHEN_TIMES, "09:00:60", "time", "'09:00:60' at position 1", "HH:MM"},
	    {WHEN_TIMES, "09:00:", "time", "'09:00:' at position 1", "HH:MM"},
	    {WHEN_TIMES, "0900", "time", "'0900' at position 1", "HH:MM"},
	    {WHEN_TIMES, "09:00,", "time", "a time of day is missing at position 7", "HH:MM"},
	    {WHEN_TIMES, "09:00,,10:00", "time", "',' at position 7 (time) is not a time", "HH:MM"},
	    {WHEN_TIMES, "noon", "time", "'noon' at position 1 (time) is not a time of day",
		"HH:MM"},
	    {WHEN_TIMES, "(09:00", "time",
		"a comma or a closing parenthesis is missing at position", "HH:MM"},
	    {WHEN_TIMES, "(09:00]", "time", "']' at position 7 (time) is not a comma or", "HH:MM"},
	    {WHEN_TIMES, "09:00 0000000", "weekdays",
		"'0000000' at position 7 (weekdays) names no weekday", "disable it"},
	    {WHEN_TIMES, "09:00 111110", "weekdays",
		"'111110' at position 7 (weekdays) is not a mask of seven", "Monday first"},
	    {WHEN_TIMES, "09:00 11111112", "weekdays", "'11111112' at position 7", "Monday first"},
	    {WHEN_TIMES, "09:00 mon-fri", "weekdays", "'mon-fri' at position 7", "Monday first"},
	    {WHEN_TIMES, "09:00;10:00", "weekdays", "';10:00' at position 6 (weekdays) is not und",
		"joined by commas"},
	    {WHEN_WINDOW, "", "start", "a time of day is missing at position 1", "HH:MM"},
	    {WHEN_WINDOW, "09:00", "start", "a dash is missing at position 6 (start)", "09:00-17"},
	    {WHEN_WINDOW, "09:00-17:00", "end", "a dash is missing at position 12 (end)", "1440"},
	    {WHEN_WINDOW, "09:00-17:00-", "minutes",
		"a number of minutes is missing at position 13", "1 to 1440"},
	    {WHEN_WINDOW, "09:00-25:00-60", "end", "'25:00' at position 7 (end) is not a time",
		"HH:MM"},
	    {WHEN_WINDOW, "09:00:30-10:00-5", "start", "'09:00:30' at position 1 (start) is not a",
		"HH:MM"},
	    {WHEN_WINDOW, "17:00-09:00-60", "end",
		"'17:00-09:00' at position 1 (end) is a window that ends before it starts",
		"two schedules"},
	    {WHEN_WINDOW, "09:00-17:00-0", "minutes", "'0' at position 13 (minutes) is not 1 to",
		"1 to 1440"},
	    {WHEN_WINDOW, "09:00-17:00-1441", "minutes", "'1441' at position 13", "1 to 1440"},
	    {WHEN_WINDOW, "09:00-17:00-6x", "minutes", "'6x' at position 13", "1 to 1440"},
	    {WHEN_WINDOW, "09:00-17:00-60 0000000", "weekdays", "names no weekday", "disable it"},
	    {WHEN_ORDINAL, "", "ordinal", "first to fifth or last is missing at position 1",
		"first monday 06:00"},
	    {WHEN_ORDINAL, "sixth monday 06:00", "ordinal",
		"'sixth' at position 1 (ordinal) is not", "fifth or last"},
	    {WHEN_ORDINAL, "1st monday 06:00", "ordinal", "'1st' at position 1", "first"},
	    {WHEN_ORDINAL, "first 06:00", "weekday", "'06:00' at position 7 (weekday) is not a",
		"first monday"},
	    {WHEN_ORDINAL, "first mon 06:00", "weekday", "'mon' at position 7 (weekday)",
		"first monday"},
	    {WHEN_ORDINAL, "first monday of each month 06:00", "month",
		"'each' at position 17 (month) is not \"of every month\"", "of every month"},
	    {WHEN_ORDINAL, "first monday of every month", "time", "a time of day is missing at",
		"HH:MM"},
	    {WHEN_ORDINAL, "first monday 06:00 1111100", "time", "'1111100' at position 20 (time)",
		"first monday 06:00"},
	    {WHEN_RRULE, "RRULE:FREQ=DAILY", "DTSTART", "", ""},
	    {WHEN_RRULE, "DTSTART:20261120T020000Z\nRRULE:FREQ=DAILY", "DTSTART", "", ""},
	    {WHEN_RRULE, "DTSTART;TZID=Europe/Berlin:20261120T020000\nRRULE:FREQ=DAILY", "DTSTART",
		"TZID Europe/Berlin is not the schedule's zone, America/New_York",
		"Leave TZID out"},
	    {WHEN_ONCE, "", "instant", "'' is not an RFC 3339 date and time", "+90m"},
	    {WHEN_ONCE, "tomorrow", "instant", "'tomorrow' is not an RFC 3339", "+90m"},
	    {WHEN_ONCE, "2026-13-01 02:00", "instant", "'2026-13-01 02:00' is not a local date",
		"2026-12-01 02:00"},
	    {WHEN_ONCE, "2026-12-01", "instant", "'2026-12-01' is not an RFC 3339", "2026-12-01"},
	    {WHEN_ONCE, "90", "instant", "'90' at position 1 (interval) lacks a unit", "+90m"},
	    {WHEN_ONCE, "+90y", "instant", "'90y' at position 2 (interval) lacks a unit", "+90m"},
	    {WHEN_ON_DEMAND, "now", "expression", "'now' at position 1 (expression) is not empty",
		"leave it empty"},
	};
	struct when_setting set = setting(NY);
	char longer[WHEN_RRULE_TEXT_MAX + 2];
	struct err e = ERR_INIT;
	enum when_kind kind;
	enum when_hit hit;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bads); i++) {
		const struct bad *b = &bads[i];
		_cleanup_buf_ struct buf text = {0};

		e = (struct err)ERR_INIT;
		if (when_text(b->kind, &set, b->expr, &text, &e) >= 0)
			fail_msg("taken: %s", b->expr);
		assert_int_equal(text.n, 0);
		if (strcmp(e.field, b->field) != 0 || !strstr(e.message, b->message) ||
		    !strstr(e.hint, b->hint) || !*e.message || !*e.hint)
			fail_msg("%s: %s: %s (%s)", b->expr, e.field, e.message, e.hint);
		assert_null(when_new(b->kind, b->expr, &set, &e));
	}
	/* Only when_text() takes a spelling that hangs on the present. */
	assert_null(when_new(WHEN_ONCE, "+90m", &set, &e));
	assert_null(when_new(WHEN_ONCE, "2026-12-01 02:00", &set, &e));
	for (kind = WHEN_CRON; kind <= WHEN_ON_DEMAND; kind++) {
		size_t n = when_text_max(kind);

		memset(longer, ' ', sizeof(longer));
		longer[n + 1] = 0;
		e = (struct err)ERR_INIT;
		assert_null(when_new(kind, longer, &set, &e));
		assert_int_equal(e.code, ERR_TOO_BIG);
	}
	assert_int_equal(when_kind_parse("hourly", &kind, &e), -ERR_INVALID);
	assert_string_equal(e.field, "kind");
	assert_int_equal(when_kind_parse("on_demand", &kind, &e), 0);
	assert_int_equal(kind, WHEN_ON_DEMAND);
	assert_string_equal(when_kind_name(kind), "on_demand");
	assert_int_equal(when_hit_parse("monday", &hit, &e), -ERR_INVALID);
	assert_string_equal(e.field, "hit");
	assert_int_equal(when_hit_parse("previous_business_day", &hit, &e), 0);
	assert_int_equal(hit, WHEN_HIT_PREVIOUS_BUSINESS_DAY);
	/* A refused text of H; with a key it is taken. */
	assert_null(when_new(WHEN_CRON, "H * * * *", &set, &e));
	assert_string_equal(e.field, "minute");
	set.hash_key = "task";
	when_free(when_new(WHEN_CRON, "H * * * *", &set, &e));
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
	    cmocka_unit_test(test_next),
	    cmocka_unit_test(test_effective),
	    cmocka_unit_test(test_spellings),
	    cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, fini);
}
