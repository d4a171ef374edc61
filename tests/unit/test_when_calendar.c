// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* lib/when: calendars and the import of iCalendar files; tests/oracle checks the shipped ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

#include "when/calendar.h"
#include "when/civil.h"
#include "when/ical.h"
#include "when/zone.h"

#include "base/banned.h"

#define HEAD "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"
#define TAIL "END:VCALENDAR\r\n"
#define EVENT(lines) HEAD "BEGIN:VEVENT\r\n" lines "END:VEVENT\r\n" TAIL

static struct ical_report report;

static int
read_zone(const char *text, const char *zone, struct calendar_days *days, struct err *e)
{
	return ical_read(text, strlen(text), ICAL_FIRST_DAY, ICAL_LAST_DAY,
	    zone ? zone_get(zone, NULL) : NULL, days, &report, e);
}

/* The days as "20261225=Christmas 20261226=". */
static void
check_in(const char *text, const char *zone, const char *expected)
{
	__attribute__((cleanup(calendar_days_fini))) struct calendar_days days = {0};
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;
	char shown[800];

	if (read_zone(text, zone, &days, &e) < 0)
		fail_msg("%s: %s", text, err_text(&e, shown, sizeof(shown)));
	buf_adds(&b, "");
	for (size_t i = 0; i < days.n; i++) {
		struct civil c = civil_from_days(days.days[i]);

		buf_addf(&b, "%s%04d%02d%02d=%s", i ? " " : "", (int)c.year, c.month, c.day,
		    days.reasons[i]);
	}
	assert_string_equal(b.p, expected);
	assert_int_equal(report.days, days.n);
}

static void
check(const char *text, const char *expected)
{
	check_in(text, NULL, expected);
}

static void
refused(const char *text, const char *part)
{
	struct calendar_days days = {0};
	struct err e = ERR_INIT;
	char shown[800];

	if (read_zone(text, NULL, &days, &e) == 0)
		fail_msg("taken: %s", text);
	assert_int_equal(days.n, 0);
	assert_null(days.days);
	if (!strstr(err_text(&e, shown, sizeof(shown)), part))
		fail_msg("%s: %s", text, shown);
	if (!*e.field || !*e.hint)
		fail_msg("%s: %s names no field or no remedy", text, shown);
}

static void
test_calendar(void **state)
{
	static const int64_t days[] = {30, 10, 20, 10, -5, 30};
	static const char *const reasons[] = {"thirty", "", NULL, "ten", "before", "again"};
	const char *reason = NULL;
	_cleanup_calendar_ struct calendar *c = calendar_new("x", 6, days, reasons);
	_cleanup_calendar_ struct calendar *empty = calendar_new("empty", 0, NULL, NULL);

	(void)state;
	assert_string_equal(calendar_name(c), "x");
	assert_int_equal(calendar_count(c), 4);
	assert_true(calendar_has(c, 10, &reason));
	assert_string_equal(reason, "ten");
	assert_true(calendar_has(c, 30, &reason));
	assert_string_equal(reason, "thirty");
	assert_true(calendar_has(c, 20, &reason));
	assert_string_equal(reason, "");
	assert_true(calendar_has(c, -5, NULL));
	for (int64_t d = -10; d < 40; d++)
		assert_int_equal(
		    calendar_has(c, d, NULL), d == -5 || d == 10 || d == 20 || d == 30);
	assert_int_equal(calendar_before(c, 11), 2);
	assert_int_equal(calendar_day(c, 3, &reason), 30);
	assert_int_equal(calendar_count(empty), 0);
	assert_false(calendar_has(empty, 0, NULL));
}

static void
test_all_day(void **state)
{
	(void)state;
	check(EVENT("DTSTART;VALUE=DATE:20261225\r\nSUMMARY:Christmas\\, at last\r\n"),
	    "20261225=Christmas, at last");
	/* The end is not a day of it; without an end it is one day; a duration does as well. */
	check(EVENT("DTSTART;VALUE=DATE:20261230\r\nDTEND;VALUE=DATE:20270102\r\nSUMMARY:x\r\n"),
	    "20261230=x 20261231=x 20270101=x");
	check(EVENT("DTSTART;VALUE=DATE:20261230\r\nDTEND;VALUE=DATE:20261230\r\n"), "20261230=");
	check(EVENT("DTSTART;VALUE=DATE:20261230\r\nDURATION:P2D\r\n"), "20261230= 20261231=");
	check(EVENT("DTSTART:20261230\r\nDURATION:P1W\r\nRRULE:FREQ=YEARLY;COUNT=1\r\n"),
	    "20261230= 20261231= 20270101= 20270102= 20270103= 20270104= 20270105=");
	check(
	    "\xef\xbb\xbf" EVENT("DTSTART;VALUE=DATE:20261225\r\nSUMMARY:F\xc3\xa9rie\\n\xff\r\n"),
	    "20261225=F\xc3\xa9rie ?");
	assert_int_equal(report.events, 1);
	assert_int_equal(report.components, 2);
}

static void
test_rules(void **state)
{
	(void)state;
	check(EVENT("DTSTART;VALUE=DATE:20240101\r\nRRULE:FREQ=YEARLY;UNTIL=20270101\r\n"
		    "EXDATE;VALUE=DATE:20250101\r\nRDATE;VALUE=DATE:20260704,20260705\r\nSUMMARY:"
		    "y\r\n"),
	    "20240101=y 20260101=y 20260704=y 20260705=y 20270101=y");
	/* UNTIL in UTC counts in the zone of the event. */
	check(EVENT("DTSTART;TZID=America/New_York:20260105T220000\r\nDTEND;TZID=America/"
		    "New_York:20260105T"
		    "230000\r\nRRULE:FREQ=DAILY;UNTIL=20260107T030000Z\r\n"),
	    "20260105= 20260106=");
	/* Two days of the same event overlap: each once. */
	check(EVENT("DTSTART;VALUE=DATE:20260105\r\nDURATION:P3D\r\nRRULE:FREQ=DAILY;COUNT=2\r\n"),
	    "20260105= 20260106= 20260107= 20260108=");
	check(EVENT("DTSTART;VALUE=DATE:20260105\r\nRRULE:FREQ=WEEKLY;BYDAY=TU;COUNT=1\r\n"),
	    "20260106=");
	assert_int_equal(report.notes_n, 1);
	assert_string_equal(
	    report.notes[0].text, "DTSTART does not match RRULE and does not count");
}

static void
test_timed(void **state)
{
	(void)state;
	check(EVENT("DTSTART:20261225T230000\r\nDTEND:20261226T010000\r\n"), "20261225= 20261226=");
	check(EVENT("DTSTART:20261225T230000\r\nDTEND:20261226T000000\r\n"), "20261225=");
	check(EVENT("DTSTART:20261225T230000\r\n"), "20261225=");
	/* The same instant on other clocks. */
	check_in(
	    EVENT("DTSTART:20261225T230000Z\r\nDURATION:PT30M\r\n"), "Europe/Berlin", "20261226=");
	check_in(EVENT("DTSTART:20261225T230000Z\r\nDURATION:PT30M\r\n"), NULL, "20261225=");
	check_in(EVENT("DTSTART;TZID=Asia/Tokyo:20261225T080000\r\nDURATION:PT2H\r\n"),
	    "America/New_York", "20261224=");
	check_in(EVENT("DTSTART:20261225T230000\r\n"), "Asia/Tokyo", "20261225="); /* floating */
}

static void
test_overrides(void **state)
{
	(void)state;
	check(HEAD
	    "BEGIN:VEVENT\r\nUID:a\r\nDTSTART;VALUE=DATE:20260501\r\nRRULE:FREQ=YEARLY;COUNT=3\r\n"
	    "SUMMARY:May\r\nEND:VEVENT\r\n"
	    "BEGIN:VEVENT\r\nUID:a\r\nRECURRENCE-ID;VALUE=DATE:20270501\r\nDTSTART;VALUE=DATE:"
	    "20270503\r\nSUMMARY:May, moved\r\nEND:VEVENT\r\n"
	    "BEGIN:VEVENT\r\nUID:a\r\nRECURRENCE-ID;VALUE=DATE:20280501\r\nDTSTART;VALUE=DATE:"
	    "20280501\r\nSTATUS:CANCELLED\r\nEND:VEVENT\r\n"
	    "BEGIN:VEVENT\r\nUID:b\r\nDTSTART;VALUE=DATE:20260501\r\nSUMMARY:Labour Day\r\nEND:"
	    "VEVENT\r\n" TAIL,
	    "20260501=May; Labour Day 20270503=May, moved");
	assert_int_equal(report.ignored, 1);
	assert_string_equal(report.notes[0].text, "is cancelled");
	check(HEAD
	    "X-WR-CALNAME:Ours\r\nBEGIN:VTODO\r\nEND:VTODO\r\nBEGIN:VEVENT\r\nDTSTART:18991231\r\n"
	    "BEGIN:VALARM\r\nDTSTART:x\r\nEND:VALARM\r\nEND:VEVENT\r\n" TAIL,
	    "");
	assert_string_equal(report.name, "Ours");
	assert_int_equal(report.ignored, 1);
	assert_int_equal(report.outside, 1);
}

static void
test_refused(void **state)
{
	(void)state;
	refused("", "empty");
	refused("hello\n", "not a calendar");
	refused("<html>\n", "not a calendar");
	refused("a: b\n", "not a calendar");
	refused("BEGIN:VCARD\nEND:VCARD\n", "not a calendar");
	refused("BEGIN:VCALENDAR\nVERSION:1.0\nEND:VCALENDAR\n", "not 2.0");
	refused(HEAD, "cut off: VCALENDAR of line 1");
	refused(HEAD "BEGIN:VEVENT\r\nDTSTART:20260101\r\n", "cut off: VEVENT of line 3");
	refused(HEAD "BEGIN:VEVENT\r\nDTSTART:20260101\r\n" TAIL,
	    "line 5: END does not match BEGIN:VEVENT");
	refused(HEAD "BEGIN:VEVENT\r\nEND:VEVENT\r\n" TAIL, "no DTSTART");
	refused(EVENT("DTSTART:2026-01-01\r\n"), "line 4: DTSTART '2026-01-01'");
	refused(EVENT("DTSTART:20260101\r\nDTSTART:20260101\r\n"), "twice");
	refused(EVENT("DTSTART:20260101\r\nRRULE:FREQ=NEVER\r\n"), "line 5: 'NEVER'");
	refused(EVENT("DTSTART:20260101\r\nDTEND:20251231\r\n"), "not before DTSTART");
	refused(EVENT("DTSTART:20260101\r\nDTEND:20260101T120000\r\n"), "same kind");
	refused(EVENT("DTSTART:20260101\r\nDURATION:-P1D\r\n"), "duration");
	refused(EVENT("DTSTART:20260101\r\nDURATION:P\r\n"), "duration");
	refused(EVENT("DTSTART:20260101\r\nEXDATE:x\r\n"), "line 5: EXDATE 'x'");
	refused(EVENT("DTSTART;TZID=Mars/Base:20260101T000000\r\n"), "line 4");
	refused(EVENT("DTSTART:20260101\r\nRECURRENCE-ID:20260101\r\n"), "the UID of the event");
	refused(EVENT("DTSTART:20260101\r\nEXRULE:FREQ=DAILY\r\n"), "RFC 5545");
	refused(EVENT("nonsense\r\n"), "line 4: \"nonsense\" is not NAME:VALUE");
	refused(HEAD TAIL "rest:\r\n", "line 4");
	refused(HEAD "BEGIN:VEVENT\r\n", "cut off");
	/* Endless: more occurrences or days than are taken. */
	refused(EVENT("DTSTART:20260101T000000\r\nRRULE:FREQ=SECONDLY\r\n"), "100000 occurrences");
	refused(EVENT("DTSTART:19700101\r\nRRULE:FREQ=DAILY\r\n"), "20000 days");
	refused(EVENT("DTSTART:19700101\r\nDURATION:P9000000W\r\n"), "20000 days");
	/* Few occurrences, each of them a long way from the last. */
	refused(EVENT("DTSTART:20200101T000000\r\n"
		      "RRULE:FREQ=SECONDLY;INTERVAL=31;BYMINUTE=0;BYSECOND=0\r\n"),
	    "line 3: with the rule of this event the file takes too long");
}

static void
test_bounds(void **state)
{
	struct calendar_days days = {0};
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;

	(void)state;
	buf_adds(&b, HEAD "BEGIN:VEVENT\r\n");
	for (int i = 0; i < 7; i++)
		buf_adds(&b, "BEGIN:X\r\n");
	refused(b.p, "deeper than 8");
	buf_clear(&b);
	buf_adds(&b, HEAD);
	for (int i = 0; i < ICAL_COMPONENTS_MAX; i++)
		buf_adds(&b, "BEGIN:VTODO\r\nEND:VTODO\r\n");
	buf_adds(&b, TAIL);
	refused(b.p, "more than 5000 components");
	buf_reserve(&b, ICAL_TEXT_MAX + 1);
	memset(b.p, '\n', ICAL_TEXT_MAX + 1);
	assert_int_equal(
	    ical_read(b.p, ICAL_TEXT_MAX + 1, 0, 1, NULL, &days, &report, &e), -ERR_TOO_BIG);
	assert_int_equal(ical_read("BEGIN:\0", 7, 0, 1, NULL, &days, &report, &e), -ERR_INVALID);
	assert_non_null(strstr(e.message, "NUL"));
}

/* What is no UTF-8 counts as a character for each of its bytes. */
static void
test_reason_is_cut(void **state)
{
	struct calendar_days days = {0};
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;

	(void)state;
	buf_adds(&b, HEAD "BEGIN:VEVENT\r\nDTSTART:20260101\r\nSUMMARY:");
	for (int i = 0; i < 2 * CALENDAR_REASON_MAX; i++)
		buf_addc(&b, (char)0xff);
	buf_adds(&b, "\r\nEND:VEVENT\r\n" TAIL);
	assert_int_equal(read_zone(b.p, NULL, &days, &e), 0);
	assert_int_equal(strlen(days.reasons[0]), CALENDAR_REASON_MAX);
	calendar_days_fini(&days);
}

/* Every shorter part of a calendar is refused, whatever byte it ends with. */
static void
test_cut_off(void **state)
{
	static const char text[] = HEAD "BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20260101\r\nRRULE:FREQ="
					"YEARLY\r\nEND:VEVENT\r\nEND:VCALENDAR";
	struct calendar_days days = {0};
	struct err e = ERR_INIT;

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		char *part = xmalloc(n + 1); /* a sanitizer sees a read behind its end */

		memcpy(part, text, n);
		part[n] = 0;
		assert_int_not_equal(
		    ical_read(part, n, 0, ICAL_LAST_DAY, NULL, &days, &report, &e), 0);
		free(part);
	}
	assert_int_equal(
	    ical_read(text, sizeof(text) - 1, 0, ICAL_LAST_DAY, NULL, &days, &report, &e), 0);
	assert_int_equal(days.n, 2100 - 2026 + 1);
	calendar_days_fini(&days);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_calendar),
	    cmocka_unit_test(test_all_day),
	    cmocka_unit_test(test_rules),
	    cmocka_unit_test(test_timed),
	    cmocka_unit_test(test_overrides),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_cut_off),
	    cmocka_unit_test(test_reason_is_cut),
	};
	int rc = cmocka_run_group_tests_name("when_calendar", tests, NULL, NULL);

	zone_fini();
	return rc;
}
