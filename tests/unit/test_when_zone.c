// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* lib/when: calendar, RFC 3339, POSIX TZ strings, TZif files by hand and the system's own. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/io.h"

#include "when/civil.h"
#include "when/stamp.h"
#include "when/tzrule.h"
#include "when/zone.h"

#include "base/banned.h"

static int64_t
at(const char *stamp)
{
	int64_t t;

	assert_int_equal(when_parse_rfc3339(stamp, &t, NULL, NULL), 0);
	return t;
}

static const struct zone *
zone(const char *name)
{
	struct err e = ERR_INIT;
	const struct zone *z = zone_get(name, &e);

	if (!z)
		fail_msg("%s: %s", name, e.message);
	return z;
}

static void
test_calendar(void **state)
{
	(void)state;
	assert_int_equal(civil_days(1970, 1, 1), 0);
	assert_int_equal(civil_days(2000, 3, 1), 11017);
	assert_int_equal(civil_weekday(civil_days(2026, 11, 22)), 0);
	for (int64_t d = civil_days(1599, 12, 25); d < civil_days(2001, 1, 5); d++) {
		struct civil c = civil_from_days(d);

		assert_int_equal(civil_days(c.year, c.month, c.day), d);
		assert_true(c.day >= 1 && c.day <= civil_month_days(c.year, c.month));
	}
	assert_int_equal(civil_month_days(1900, 2), 28);
	assert_int_equal(civil_month_days(2000, 2), 29);
}

static void
test_stamps(void **state)
{
	static const char *const bad[] = {"", "2026", "2026-11-22", "2026-11-22T02:00:00",
	    "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-22T24:00:00Z",
	    "2026-11-22T02:60:00Z", "2026-11-22T02:00:60Z", "2026-11-22T02:00:00+1:00",
	    "2026-11-22T02:00:00+24:00", "2026-11-22T02:00:00Z ", "2026-11-22T02:00:00.Z",
	    "0000-01-01T00:00:00Z", "+026-11-22T02:00:00Z"};
	char s[32];
	int64_t t = 7;
	int32_t us;

	(void)state;
	assert_string_equal(
	    when_format_rfc3339(at("2026-11-22T03:00:00+01:00"), s), "2026-11-22T02:00:00Z");
	assert_string_equal(
	    when_format_rfc3339(at("2026-11-21t20:30:00-05:30"), s), "2026-11-22T02:00:00Z");
	assert_string_equal(
	    when_format_rfc3339(at("1998-12-31T23:59:60Z"), s), "1999-01-01T00:00:00Z");
	assert_string_equal(
	    when_format_rfc3339(at("0001-01-01 00:00:00z"), s), "0001-01-01T00:00:00Z");
	assert_string_equal(when_format_rfc3339(INT64_MAX, s), "9999-12-31T23:59:59Z");
	assert_int_equal(when_parse_rfc3339("1969-12-31T23:59:59.1234567Z", &t, &us, NULL), 0);
	assert_int_equal(t, -1);
	assert_int_equal(us, 123456);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;

		t = 7;
		if (when_parse_rfc3339(bad[i], &t, NULL, &e) != -ERR_INVALID || t != 7)
			fail_msg("taken: %s", bad[i]);
		assert_true(strstr(e.hint, "2026-11-22T02:00:00Z"));
	}
}

static void
assert_offset(const struct zone *z, const char *stamp, int off, bool dst, const char *abbrev)
{
	const char *name;
	int32_t have;
	bool is_dst;

	zone_offset_at(z, at(stamp), &have, &is_dst, &name);
	assert_int_equal(have, off);
	assert_int_equal(is_dst, dst);
	assert_string_equal(name, abbrev);
}

static void
test_offsets(void **state)
{
	int64_t t;

	(void)state;
	assert_offset(zone("America/New_York"), "2026-01-15T12:00:00Z", -18000, false, "EST");
	assert_offset(zone("America/New_York"), "2026-03-08T06:59:59Z", -18000, false, "EST");
	assert_offset(zone("America/New_York"), "2026-03-08T07:00:00Z", -14400, true, "EDT");
	assert_offset(zone("US/Eastern"), "2026-07-15T12:00:00Z", -14400, true, "EDT");
	/* By the footer, beyond the table. */
	assert_offset(zone("Europe/Berlin"), "2091-07-01T00:00:00Z", 7200, true, "CEST");
	assert_offset(zone("Europe/Dublin"), "2050-01-01T00:00:00Z", 0, true, "GMT");
	assert_offset(zone("Australia/Lord_Howe"), "2050-01-01T00:00:00Z", 39600, true, "+11");
	assert_offset(zone("UTC"), "1850-01-01T00:00:00Z", 0, false, "UTC");
	assert_offset(zone_utc(), "2500-01-01T00:00:00Z", 0, false, "UTC");
	assert_true(zone_next_change(zone("America/New_York"), at("2026-01-01T00:00:00Z"), &t));
	assert_int_equal(t, at("2026-03-08T07:00:00Z"));
	assert_true(zone_next_change(zone("America/New_York"), t, &t));
	assert_int_equal(t, at("2026-11-01T06:00:00Z"));
	assert_true(zone_next_change(zone("America/New_York"), at("2345-01-01T00:00:00Z"), &t));
	assert_false(zone_next_change(zone("Asia/Tokyo"), at("2026-01-01T00:00:00Z"), &t));
}

static void
test_local_times(void **state)
{
	const struct zone *ny = zone("America/New_York"), *apia = zone("Pacific/Apia");
	struct zone_local l;

	(void)state;
	l = zone_from_local(ny, at("2026-06-01T02:00:00Z"));
	assert_int_equal(l.kind, ZONE_NORMAL);
	assert_int_equal(l.first, at("2026-06-01T06:00:00Z"));
	assert_int_equal(l.second, l.first);
	l = zone_from_local(ny, at("2026-03-08T02:30:00Z"));
	assert_int_equal(l.kind, ZONE_GAP);
	assert_int_equal(l.first, at("2026-03-08T07:30:00Z"));
	assert_int_equal(l.second, at("2026-03-08T06:30:00Z"));
	assert_int_equal(l.change, at("2026-03-08T07:00:00Z"));
	l = zone_from_local(ny, at("2026-11-01T01:30:00Z"));
	assert_int_equal(l.kind, ZONE_FOLD);
	assert_int_equal(l.first, at("2026-11-01T05:30:00Z"));
	assert_int_equal(l.second, at("2026-11-01T06:30:00Z"));
	assert_int_equal(l.change, at("2026-11-01T06:00:00Z"));
	/* The edges: 02:00 is a gap's first, 03:00 the first that exists again. */
	assert_int_equal(zone_from_local(ny, at("2026-03-08T02:00:00Z")).kind, ZONE_GAP);
	assert_int_equal(zone_from_local(ny, at("2026-03-08T03:00:00Z")).kind, ZONE_NORMAL);
	assert_int_equal(zone_from_local(ny, at("2026-11-01T02:00:00Z")).kind, ZONE_NORMAL);
	/* A day that never was. */
	assert_int_equal(zone_from_local(apia, at("2011-12-30T12:00:00Z")).kind, ZONE_GAP);
	assert_int_equal(zone_from_local(apia, at("2011-12-31T00:00:00Z")).kind, ZONE_NORMAL);
}

static void
test_names(void **state)
{
	static const char *const bad[] = {"", "/etc/passwd", "../../etc/passwd",
	    "Europe/../../etc/passwd", "Europe/", "Europe//Berlin", ".", "a.b", "Europe/Ber lin",
	    "Europe\nBerlin", "-x", "zone.tab", "+VERSION"};
	char longer[ZONE_NAME_MAX + 2];
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (zone_get(bad[i], &e) || e.code != ERR_INVALID)
			fail_msg("taken: '%s'", bad[i]);
		assert_null(strchr(e.message, '\n'));
	}
	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	assert_null(zone_get(longer, &e));
	assert_int_equal(e.code, ERR_INVALID);
	assert_null(zone_get("Europe/Atlantis", &e));
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_string_equal(e.message, "time zone 'Europe/Atlantis' is not known");
	assert_null(zone_get("Europe", &e));
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void
test_rules(void **state)
{
	static const char *const bad[] = {"", "E5", "EST", "EST5EDT", "EST5EDT,M3.2.0",
	    "EST5EDT,M13.2.0,M11.1.0", "EST5EDT,M3.6.0,M11.1.0", "EST5EDT,J0,J365",
	    "EST5EDT,M3.2.0/168,M11.1.0", "EST25", "<EST5", "EST5:60", "EST5EDT,M3.2.0,M11.1.0x",
	    "ABCDEFGHIJKLMNOPQ5"};
	struct tzrule r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (tzrule_parse(bad[i], strlen(bad[i]), &r, NULL) != -ERR_INVALID)
			fail_msg("taken: %s", bad[i]);
	/* Extended hours (TZif version 3): before the midnight of the last Sunday of March. */
	assert_int_equal(tzrule_parse("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 31, &r, NULL), 0);
	assert_int_equal(tzrule_after(&r, at("2024-01-01T00:00:00Z")), at("2024-03-31T01:00:00Z"));
	assert_false(r.is_fixed);
	/* DST all year. */
	assert_int_equal(tzrule_parse("EST5EDT,0/0,J365/25", 19, &r, NULL), 0);
	assert_true(r.is_fixed);
	assert_true(tzrule_is_dst(&r, at("2027-01-01T05:00:00Z")));
	assert_true(tzrule_is_dst(&r, at("2027-07-01T05:00:00Z")));
	/* J counts without the leap day, N with it. */
	assert_int_equal(tzrule_parse("AAA0BBB,J60/0,300/0", 19, &r, NULL), 0);
	assert_int_equal(tzrule_after(&r, at("2024-01-15T00:00:00Z")), at("2024-03-01T00:00:00Z"));
	assert_int_equal(tzrule_parse("AAA0BBB,59/0,300/0", 18, &r, NULL), 0);
	assert_int_equal(tzrule_after(&r, at("2024-01-15T00:00:00Z")), at("2024-02-29T00:00:00Z"));
	assert_int_equal(tzrule_parse("AAA-5:30:15", 11, &r, NULL), 0);
	assert_int_equal(r.std_off, 19815);
}

/* --- files by hand --- */

static void
add_be(struct buf *b, uint64_t v, int bytes)
{
	while (bytes--)
		buf_addc(b, (char)(v >> (8 * bytes)));
}

struct tzif {
	char version;
	uint32_t isut, isstd, leap, times, types, chars;
};

static void
add_header(struct buf *b, struct tzif t)
{
	buf_adds(b, "TZif");
	buf_addc(b, t.version);
	for (int i = 0; i < 15; i++)
		buf_addc(b, 0);
	add_be(b, t.isut, 4);
	add_be(b, t.isstd, 4);
	add_be(b, t.leap, 4);
	add_be(b, t.times, 4);
	add_be(b, t.types, 4);
	add_be(b, t.chars, 4);
}

/* Two transitions (1000 to type 1, 2000 to type 0), two types (0 "AAA", 3600 "BBB" DST). */
static void
add_block(struct buf *b, int time_b)
{
	add_be(b, 1000, time_b);
	add_be(b, 2000, time_b);
	buf_addc(b, 1);
	buf_addc(b, 0);
	add_be(b, 0, 4);
	add_be(b, 0, 2);
	add_be(b, 3600, 4);
	buf_addc(b, 1);
	buf_addc(b, 4);
	buf_add(b, "AAA\0BBB", 8);
}

static const struct tzif good = {'2', 0, 0, 0, 2, 2, 8};

static void
make_v2(struct buf *b, const char *footer)
{
	buf_clear(b);
	add_header(b, (struct tzif){'2', 0, 0, 0, 0, 1, 1});
	for (int i = 0; i < 7; i++)
		buf_addc(b, 0);
	add_header(b, good);
	add_block(b, 8);
	buf_adds(b, footer);
}

#define V2_HEADER (44 + 7)
#define V2_BLOCK (V2_HEADER + 44)

static char dir[] = "/tmp/takt-zone-XXXXXX";

static const struct zone *
load(const struct buf *b, struct err *e)
{
	static int n;
	char name[20];
	int dfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct zone *z;

	snprintf(name, sizeof(name), "Z%d", n++);
	assert_int_equal(io_replace_file(dfd, name, b->p, b->n, 0600, NULL), 0);
	z = zone_get(name, e);
	assert_int_equal(unlinkat(dfd, name, 0), 0);
	close(dfd);
	return z;
}

static int
use_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	zone_set_dir(dir);
	return 0;
}

static int
leave_dir(void **state)
{
	(void)state;
	zone_set_dir(NULL);
	zone_fini();
	return rmdir(dir);
}

static void
test_files(void **state)
{
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;
	const struct zone *z;
	int32_t off;

	(void)state;
	/* Version 1: 32-bit times only, no footer. */
	add_header(&b, (struct tzif){0, 0, 0, 0, 2, 2, 8});
	add_block(&b, 4);
	z = load(&b, &e);
	assert_non_null(z);
	zone_offset_at(z, 999, &off, NULL, NULL);
	assert_int_equal(off, 0);
	zone_offset_at(z, 1000, &off, NULL, NULL);
	assert_int_equal(off, 3600);
	zone_offset_at(z, INT64_C(1) << 40, &off, NULL, NULL);
	assert_int_equal(off, 0);
	/* Version 2 on: the footer holds from the last transition on; an empty one says nothing. */
	make_v2(&b, "\nCCC-2\n");
	z = load(&b, &e);
	assert_non_null(z);
	zone_offset_at(z, 1500, &off, NULL, NULL);
	assert_int_equal(off, 3600);
	zone_offset_at(z, 2000, &off, NULL, NULL);
	assert_int_equal(off, 7200);
	make_v2(&b, "\n\n");
	z = load(&b, &e);
	assert_non_null(z);
	zone_offset_at(z, 2000, &off, NULL, NULL);
	assert_int_equal(off, 0);
}

struct damage {
	size_t offset;
	unsigned char byte;
	const char *message;
};

static void
test_damaged_files(void **state)
{
	static const struct damage damages[] = {
	    {0, 'X', "not a TZif file"},
	    {4, '1', "version byte"},
	    {32, 0xff, "cut short"},             /* first block: transitions */
	    {V2_HEADER, 'X', "not a TZif file"}, /* second magic */
	    {V2_HEADER + 20, 1, "cut short"},    /* 16 million indicators */
	    {V2_HEADER + 23, 1, "indicators"},   /* one for two types */
	    {V2_HEADER + 31, 1, "leap seconds"}, /* swallows the footer */
	    {V2_HEADER + 32, 0x80, "cut short"}, /* 2 billion transitions */
	    {V2_HEADER + 39, 0, "0 time types"},
	    {V2_HEADER + 43, 0, "abbreviation bytes"},
	    {V2_BLOCK + 7, 0xff, "is not later"},       /* first transition after the second */
	    {V2_BLOCK + 16, 2, "leads to type 2 of 2"}, /* type index */
	    {V2_BLOCK + 18, 0x7f, "has offset"},
	    {V2_BLOCK + 22, 2, "DST flag 2"},
	    {V2_BLOCK + 23, 9, "outside of the file"},
	    {V2_BLOCK + 37, 'B', "outside of the file"}, /* the last NUL of the names */
	    {V2_BLOCK + 38, 'x', "no footer"},
	};
	_cleanup_buf_ struct buf b = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
		struct err e = ERR_INIT;

		make_v2(&b, "\nCCC-2\n                ");
		b.p[damages[i].offset] = (char)damages[i].byte;
		if (damages[i].offset == V2_BLOCK + 7)
			b.p[V2_BLOCK + 6] = 0xf;
		if (load(&b, &e) || e.code != ERR_INVALID || !strstr(e.message, damages[i].message))
			fail_msg("damage %zu: %s", i, e.message);
	}
	/* Every shorter file is refused too. */
	make_v2(&b, "\nCCC-2\n");
	while (b.n-- > 0) {
		struct err e = ERR_INIT;

		if (load(&b, &e))
			fail_msg("taken: %zu bytes", b.n);
	}
	b.n = 0;
	make_v2(&b, "\nCCC-2x\n");
	assert_null(load(&b, NULL));
}

static void
test_refresh(void **state)
{
	_cleanup_buf_ struct buf b = {0};
	int dfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct zone *before, *after;
	int32_t off;

	(void)state;
	zone_fini();
	make_v2(&b, "\nCCC-2\n");
	assert_int_equal(io_replace_file(dfd, "Here", b.p, b.n, 0600, NULL), 0);
	before = zone_get("Here", NULL);
	assert_non_null(before);
	assert_int_equal(zone_refresh(), 0);
	assert_ptr_equal(zone_get("Here", NULL), before);
	make_v2(&b, "\nCCC-3\n");
	assert_int_equal(io_replace_file(dfd, "Here", b.p, b.n, 0600, NULL), 0);
	assert_ptr_equal(zone_get("Here", NULL), before);
	assert_int_equal(zone_refresh(), 1);
	after = zone_get("Here", NULL);
	assert_ptr_not_equal(after, before);
	zone_offset_at(after, 5000, &off, NULL, NULL);
	assert_int_equal(off, 10800);
	zone_offset_at(before, 5000, &off, NULL, NULL);
	assert_int_equal(off, 7200);
	/* A file that went away leaves what was read. */
	assert_int_equal(unlinkat(dfd, "Here", 0), 0);
	assert_int_equal(zone_refresh(), 0);
	assert_ptr_equal(zone_get("Here", NULL), after);
	close(dfd);
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
	    cmocka_unit_test(test_calendar),
	    cmocka_unit_test(test_stamps),
	    cmocka_unit_test(test_offsets),
	    cmocka_unit_test(test_local_times),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_rules),
	};
	const struct CMUnitTest by_hand[] = {
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_damaged_files),
	    cmocka_unit_test(test_refresh),
	};

	return cmocka_run_group_tests(tests, NULL, fini) +
	       cmocka_run_group_tests(by_hand, use_dir, leave_dir);
}
