// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* lib/when: recurrence rules of RFC 5545, by hand; tests/oracle compares thousands with dateutil. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

#include "when/civil.h"
#include "when/rrule.h"
#include "when/stamp.h"

#include "base/banned.h"

static int64_t
at(const char *stamp)
{
	int64_t t;

	assert_int_equal(when_parse_rfc3339(stamp, &t, NULL, NULL), 0);
	return t;
}

/* The first n occurrences after `after`, as text: "01-05 09:00, 01-07 09:00". "!" at the end of a
 * rule. */
static void
check(const char *text, const char *after, int n, const char *expected)
{
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;
	char shown[400];
	_cleanup_rrule_ struct rrule *r = rrule_new(text, &e);
	int64_t t = after ? at(after) : INT64_MIN;

	if (!r)
		fail_msg("%s: %s", text, err_text(&e, shown, sizeof(shown)));
	buf_adds(&b, "");
	while (n--) {
		if (!rrule_next_local(r, t, &t)) {
			buf_adds(&b, b.n ? " !" : "!");
			break;
		}
		struct civil c = civil_from_days(floor_div(t, DAY_S));
		int64_t s = t - floor_div(t, DAY_S) * DAY_S;

		buf_addf(&b, "%s%02d%02d%02dT%02d%02d%02d", b.n ? " " : "", (int)(c.year % 100),
		    c.month, c.day, (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
	}
	assert_string_equal(b.p, expected);
}

static void
check_error(const char *text, const char *field, const char *part)
{
	struct err e = ERR_INIT;
	char shown[800];
	_cleanup_rrule_ struct rrule *r = rrule_new(text, &e);

	if (r)
		fail_msg("%s was taken", text);
	err_text(&e, shown, sizeof(shown));
	if (strcmp(e.field, field) != 0 || !strstr(shown, part))
		fail_msg("%s: %s (field %s)", text, shown, e.field);
}

static void
test_periods(void **state)
{
	(void)state;
	check("DTSTART:20260105T090000\nRRULE:FREQ=DAILY;INTERVAL=3", NULL, 3,
	    "260105T090000 260108T090000 260111T090000");
	check("DTSTART:20260105T090000\r\nRRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE\r\n",
	    "2026-01-05T09:00:00Z", 3, "260107T090000 260119T090000 260121T090000");
	check("DTSTART:20260131T060000\nRRULE:FREQ=MONTHLY", NULL, 3,
	    "260131T060000 260331T060000 260531T060000");
	check("DTSTART:20240229T000000\nRRULE:FREQ=YEARLY", "2096-03-01T00:00:00Z", 2,
	    "040229T000000 080229T000000"); /* 2100 has none */
	check("DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=YEARLY;COUNT=2", NULL, 3,
	    "260101T000000 270101T000000 !");
	check("DTSTART:20260105T093000\nRRULE:FREQ=HOURLY;INTERVAL=7;BYHOUR=9,16", NULL, 4,
	    "260105T093000 260105T163000 260112T093000 260112T163000");
	check("DTSTART:20260105T090000\nRRULE:FREQ=MINUTELY;INTERVAL=90;BYMONTH=2", NULL, 2,
	    "260201T000000 260201T013000");
	check("DTSTART:20260105T090000\nRRULE:FREQ=SECONDLY;BYHOUR=10;BYMINUTE=0;BYSECOND=0,30",
	    NULL, 3, "260105T100000 260105T100030 260106T100000");
}

static void
test_parts(void **state)
{
	(void)state;
	/* Thanksgiving, the last Friday, the last workday, Friday the thirteenth. */
	check("DTSTART:20260101T080000\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", NULL, 2,
	    "261126T080000 271125T080000");
	check("DTSTART:20260101T080000\nRRULE:FREQ=MONTHLY;BYDAY=-1FR", NULL, 2,
	    "260130T080000 260227T080000");
	check("DTSTART:20260101T080000\nRRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", NULL,
	    3, "260130T080000 260227T080000 260331T080000");
	check("DTSTART:20260101T080000\nRRULE:FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", NULL, 3,
	    "260213T080000 260313T080000 261113T080000");
	check("DTSTART:20260101T080000\nRRULE:FREQ=YEARLY;BYDAY=20MO", NULL, 1, "260518T080000");
	check("DTSTART:20260101T080000\nRRULE:FREQ=YEARLY;BYYEARDAY=-1,100", NULL, 3,
	    "260410T080000 261231T080000 270410T080000");
	/* Weeks: 2026 has 53, the weekday is that of DTSTART. */
	check("DTSTART:20260101T080000\nRRULE:FREQ=YEARLY;BYWEEKNO=20", NULL, 2,
	    "260514T080000 270520T080000");
	check("DTSTART:20260101T080000\nRRULE:FREQ=YEARLY;BYWEEKNO=53", NULL, 2,
	    "261231T080000 321230T080000");
	check("DTSTART:20260105T080000\nRRULE:FREQ=YEARLY;BYWEEKNO=-1;BYDAY=MO", NULL, 1,
	    "261228T080000");
	check("DTSTART:20260105T080000\nRRULE:FREQ=DAILY;BYHOUR=8,20;BYMINUTE=0,30;BYSETPOS=1,-1",
	    NULL, 3, "260105T080000 260105T203000 260106T080000");
	/* A plain and a numbered weekday: both count. */
	check("DTSTART:20260101T080000\nRRULE:FREQ=MONTHLY;BYDAY=1MO,SU", NULL, 3,
	    "260104T080000 260105T080000 260111T080000");
	/* RFC 5545: with WKST=SU the Sunday begins the next week. */
	check("DTSTART:19970805T090000\nRRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
	    NULL, 9, "970805T090000 970810T090000 970819T090000 970824T090000 !");
	check("DTSTART:19970805T090000\nRRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
	    NULL, 9, "970805T090000 970817T090000 970819T090000 970831T090000 !");
}

static void
test_ends(void **state)
{
	(void)state;
	check("DTSTART:20260105T090000\nRRULE:FREQ=DAILY;UNTIL=20260106T090000", NULL, 3,
	    "260105T090000 260106T090000 !");
	check("DTSTART:20260105T090000\nRRULE:FREQ=DAILY;UNTIL=20260106", NULL, 3,
	    "260105T090000 260106T090000 !");
	check("DTSTART:20260105T090000\nRRULE:FREQ=DAILY;COUNT=2", "2026-01-05T09:00:00Z", 3,
	    "260106T090000 !");
	/* DTSTART counts only if the rule matches it: this is a Monday. */
	check("DTSTART:20260105T090000\nRRULE:FREQ=WEEKLY;BYDAY=TU;COUNT=2", NULL, 3,
	    "260106T090000 260113T090000 !");
	/* Exceptions win over what is added; a date takes the whole day. */
	check("DTSTART:20260105T090000\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20260106T090000,"
	      "20260110T120000\n"
	      "EXDATE;VALUE=DATE:20260108\nRDATE:20260110T120000,20260110T130000",
	    NULL, 9, "260105T090000 260107T090000 260110T130000 !");
	check("DTSTART:20260105T000000\nRRULE:FREQ=SECONDLY\nEXDATE;VALUE=DATE:20260105", NULL, 1,
	    "260106T000000");
	/* A folded line. */
	check("DTSTART:20260105T090000\nRRULE:FREQ=DA\n ILY;COUNT=1", NULL, 2, "260105T090000 !");
}

/* Rules that never match end at once: libical 3.0.16 takes seconds to minutes for these. */
static void
test_never(void **state)
{
	static const char *const rules[] = {"FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
	    "FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=20", "FREQ=DAILY;INTERVAL=7;BYDAY=TU",
	    "FREQ=MONTHLY;BYMONTHDAY=31;BYSETPOS=5", "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
	    "FREQ=MINUTELY;INTERVAL=2;BYMINUTE=5", "FREQ=SECONDLY;INTERVAL=2;BYSECOND=5",
	    "FREQ=SECONDLY;BYMONTH=4;BYMONTHDAY=31", "FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6;BYDAY=MO",
	    "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30;COUNT=10000",
	    "FREQ=YEARLY;BYYEARDAY=366;BYMONTH=1"};
	char text[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		snprintf(text, sizeof(text), "DTSTART:20260105T090000\nRRULE:%s", rules[i]);
		check(text, NULL, 1, "!");
	}
	/* Seldom is not never. */
	check("DTSTART:20260105T090000\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", NULL,
	    2, "440229T090000 720229T090000");
	check("DTSTART:20260105T000000\nRRULE:FREQ=SECONDLY;INTERVAL=3601;BYHOUR=0;BYMINUTE=0;"
	      "BYSECOND=1",
	    NULL, 1, "350618T000001");
	/* The end of time. */
	check(
	    "DTSTART:99991230T000000\nRRULE:FREQ=DAILY", NULL, 3, "991230T000000 991231T000000 !");
	check("DTSTART:00010101T000000\nRRULE:FREQ=YEARLY", "9998-06-01T00:00:00Z", 2,
	    "990101T000000 !");
}

static void
test_errors(void **state)
{
#define START "DTSTART:20260105T090000\n"
	static const struct {
		const char *text, *field, *part;
	} bad[] = {
	    {"", "DTSTART", "there is no DTSTART"},
	    {START, "RRULE", "there is no RRULE"},
	    {"DTSTART:20260105T090000Z\nRRULE:FREQ=DAILY", "DTSTART", "without the Z"},
	    {"DTSTART:20260231T090000\nRRULE:FREQ=DAILY", "DTSTART", "'20260231T090000' in line 1"},
	    {START START "RRULE:FREQ=DAILY", "DTSTART", "in line 2"},
	    {START "RRULE:FREQ=DAILY\nRRULE:FREQ=DAILY", "RRULE", "once"},
	    {START "RRULE:FREQ=FORTNIGHTLY", "FREQ", "'FORTNIGHTLY' at position 6"},
	    {START "RRULE:INTERVAL=2", "FREQ", "missing"},
	    {START "RRULE:FREQ=DAILY;INTERVAL=0", "INTERVAL", "'0' at position 21"},
	    {START "RRULE:FREQ=DAILY;FREQ=DAILY", "FREQ", "twice"},
	    {START "RRULE:FREQ=DAILY;BYEASTER=1", "RRULE", "'BYEASTER=1'"},
	    {START "RRULE:FREQ=DAILY;COUNT=3;UNTIL=20270101T000000", "COUNT", "exclude each other"},
	    {START "RRULE:FREQ=DAILY;COUNT=10001", "COUNT", "1 to 10000"},
	    {START "RRULE:FREQ=DAILY;UNTIL=20270101T000000Z", "UNTIL", "without the Z"},
	    {START "RRULE:FREQ=DAILY;UNTIL=tomorrow", "UNTIL", "'tomorrow'"},
	    {START "RRULE:FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY", "'0'"},
	    {START "RRULE:FREQ=MONTHLY;BYMONTHDAY=1,32", "BYMONTHDAY", "'32' at position 27"},
	    {START "RRULE:FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY", "FREQ=WEEKLY"},
	    {START "RRULE:FREQ=WEEKLY;BYDAY=2MO", "BYDAY", "has a number"},
	    {START "RRULE:FREQ=WEEKLY;BYDAY=MO,XX", "BYDAY", "'XX' at position 22"},
	    {START "RRULE:FREQ=MONTHLY;BYDAY=0MO", "BYDAY", "'0MO'"},
	    {START "RRULE:FREQ=MONTHLY;BYDAY=", "BYDAY", "''"},
	    {START "RRULE:FREQ=MONTHLY;BYWEEKNO=3", "BYWEEKNO", "FREQ=YEARLY only"},
	    {START "RRULE:FREQ=DAILY;BYYEARDAY=3", "BYYEARDAY", "FREQ=DAILY"},
	    {START "RRULE:FREQ=DAILY;BYHOUR=24", "BYHOUR", "0 to 23"},
	    {START "RRULE:FREQ=DAILY;BYSECOND=60", "BYSECOND", "0 to 59"},
	    {START "RRULE:FREQ=DAILY;BYSETPOS=1", "BYSETPOS", "needs another part"},
	    {START "RRULE:FREQ=DAILY;WKST=1", "WKST", "'1'"},
	    {"DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=HOURLY", "FREQ", "time of day"},
	    {START "RRULE:FREQ=DAILY\nEXDATE:2026", "EXDATE", "'2026' in line 3"},
	    {START "RRULE:FREQ=DAILY\nRDATE:20260105T090000Z", "RDATE", "without the Z"},
	    {START "RRULE:FREQ=DAILY\nEXRULE:FREQ=DAILY", "expression", "'EXRULE' in line 3"},
	    {START "RRULE FREQ=DAILY", "expression", "line 2"},
	    {"DTSTART;TZID=Europe/Berlin:20260105T090000\nRRULE:FREQ=DAILY\n"
	     "EXDATE;TZID=Europe/Paris:20260106T090000",
		"EXDATE", "'Europe/Paris'"},
	    {START "RRULE:FREQ=SECONDLY;INTERVAL=3599;BYMINUTE=0;BYSECOND=0;COUNT=10000", "COUNT",
		"write UNTIL"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		check_error(bad[i].text, bad[i].field, bad[i].part);

	char text[RRULE_TEXT_MAX + 3];

	memset(text, ' ', sizeof(text));
	text[sizeof(text) - 1] = 0;
	check_error(text, "expression", "4098 characters, 4096 are taken");
}

static void
test_tzid(void **state)
{
	struct err e = ERR_INIT;
	_cleanup_rrule_ struct rrule *r =
	    rrule_new("DTSTART;TZID=\"Europe/Berlin\":20260105T090000\nRRULE:FREQ=DAILY", &e);

	int64_t at;

	(void)state;
	assert_non_null(r);
	assert_string_equal(rrule_tzid(r), "Europe/Berlin");
	assert_false(rrule_next_local(r, INT64_MAX, &at));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_periods),
	    cmocka_unit_test(test_parts),
	    cmocka_unit_test(test_ends),
	    cmocka_unit_test(test_never),
	    cmocka_unit_test(test_errors),
	    cmocka_unit_test(test_tzid),
	};

	return cmocka_run_group_tests_name("when_rrule", tests, NULL, NULL);
}
