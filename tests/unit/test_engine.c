// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The engine's pure parts: catch-up, unit ids, artifacts from parts, PostgreSQL's binary arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

#include "daemon/engine/node.h"
#include "daemon/engine/runs.h"
#include "daemon/engine/sighting.h"
#include "daemon/record/artifact.h"
#include "daemon/store/pgarray.h"
#include "daemon/schedule/catch_up.h"
#include "frame/frame.h"
#include "when/stamp.h"
#include "when/when.h"
#include "when/zone.h"

static int64_t
utc(const char *s)
{
	int64_t t = 0;

	assert_int_equal(when_parse_rfc3339(s, &t, NULL, NULL), 0);
	return t;
}

struct catch_up_case {
	const char *expr, *first, *now;
	const char *due, *skip_until,
	    *next; /* skip_until NULL: nothing skipped; next NULL: never */
	unsigned skipped;
};

static const struct catch_up_case catch_ups[] = {
    {"* * * * *", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", NULL,
	"2026-11-22T10:01:00Z", 0},
    {"* * * * *", "2026-11-22T10:00:00Z", "2026-11-22T10:00:59Z", "2026-11-22T10:00:00Z", NULL,
	"2026-11-22T10:01:00Z", 0},
    {"* * * * *", "2026-11-22T10:00:00Z", "2026-11-22T10:02:30Z", "2026-11-22T10:02:00Z",
	"2026-11-22T10:01:00Z", "2026-11-22T10:03:00Z", 2},
    {"0 2 * * *", "2026-11-20T02:00:00Z", "2026-11-22T10:00:00Z", "2026-11-22T02:00:00Z",
	"2026-11-21T02:00:00Z", "2026-11-23T02:00:00Z", 2},
    /* Longer than is counted: a year of minutes. */
    {"* * * * *", "2025-11-22T10:00:00Z", "2026-11-22T10:00:30Z", "2026-11-22T10:00:00Z",
	"2026-11-22T09:59:00Z", "2026-11-22T10:01:00Z", CATCH_UP_STEPS},
    /* Seconds: ten minutes, and a month of them. */
    {"* * * * * *", "2026-11-22T10:00:00Z", "2026-11-22T10:10:00Z", "2026-11-22T10:10:00Z",
	"2026-11-22T10:09:59Z", "2026-11-22T10:10:01Z", 600},
    {"* * * * * *", "2026-10-22T10:00:00Z", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z",
	"2026-11-22T09:59:59Z", "2026-11-22T10:00:01Z", CATCH_UP_STEPS},
    /* The same with rare times: the way back has to be long. */
    {"0 0 1 * *", "1010-01-01T00:00:00Z", "2026-11-22T10:00:00Z", "2026-11-01T00:00:00Z",
	"2026-10-01T00:00:00Z", "2026-12-01T00:00:00Z", CATCH_UP_STEPS},
    /* What was stored is not a time of the expression: it fires all the same, and then never. */
    {"0 0 30 2 *", "2026-11-22T10:00:00Z", "2026-11-22T10:00:30Z", "2026-11-22T10:00:00Z", NULL,
	NULL, 0},
};

static void
catch_up_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(catch_ups); i++) {
		const struct catch_up_case *c = &catch_ups[i];
		const struct when_setting set = {.zone = zone_utc(), WHEN_ALWAYS};
		const struct catch_up_policy latest = {.rule = CATCH_UP_LATEST};
		_cleanup_when_ struct when *w = when_new(WHEN_CRON, c->expr, &set, NULL);
		struct catch_up r;
		assert_non_null(w);
		catch_up(w, &latest, utc(c->first), utc(c->now), &r);
		assert_true(r.has_due);
		assert_int_equal(r.due, utc(c->due));
		assert_int_equal(r.row_count, c->skip_until != NULL);
		if (c->skip_until) {
			assert_string_equal(r.rows[0].rule, "catchup.latest");
			assert_int_equal(r.rows[0].due, utc(c->first));
			assert_int_equal(r.rows[0].until, utc(c->skip_until));
			assert_int_equal(r.rows[0].n, c->skipped);
		}
		assert_int_equal(r.has_next, c->next != NULL);
		if (c->next)
			assert_int_equal(r.next, utc(c->next));
	}
}

/* The lease is 30 s (node_lease.sql); a renewal that is not answered counts for nothing. */
static void
self_fencing(void **state)
{
	const int64_t sent = 5000000;

	(void)state;
	assert_true(node_lease_holds(sent, sent));
	assert_true(node_lease_holds(sent, sent + 19999));
	assert_false(node_lease_holds(sent, sent + 20000));
	assert_false(node_lease_holds(sent, sent + 86400000)); /* a suspend counts */
}

/* Asks each second for ms milliseconds; true if the node was called dead by then. */
static bool
watch(struct sighting *s, int64_t *now, int64_t ms, int64_t beat)
{
	bool is_dead = false;

	for (int64_t end = *now + ms; *now < end; *now += 1000)
		is_dead = sighting_is_dead(s, beat, *now, *now + 5);
	return is_dead;
}

static void
a_beat_that_stands_still_is_death(void **state)
{
	struct sighting s = {0};
	int64_t now = 1000;

	(void)state;
	assert_false(watch(&s, &now, 36000, 7));
	assert_true(sighting_is_dead(&s, 7, now, now + 5));
	/* The first renewal brings it back, and all begins anew. */
	assert_false(sighting_is_dead(&s, 8, now + 1000, now + 1005));
	now += 2000;
	assert_false(watch(&s, &now, 34000, 8));
	assert_true(watch(&s, &now, 3000, 8));
	/* Whatever the number is: it was put back, or stood at 0 from the start. */
	assert_false(sighting_is_dead(&s, 7, now, now + 5));
	s = (struct sighting){0};
	now = 0;
	assert_false(watch(&s, &now, 36000, 0));
	assert_true(watch(&s, &now, 1000, 0));
}

static void
a_slow_answer_shortens_what_was_seen(void **state)
{
	struct sighting s = {0};

	(void)state;
	/* Asked at 0, answered at 8000: the row may have been read at any time between. */
	assert_false(sighting_is_dead(&s, 1, 0, 8000));
	for (int64_t at = 9000; at < 8000 + SIGHTING_DEAD_MS; at += 1000)
		assert_false(sighting_is_dead(&s, 1, at, at + 900));
	assert_true(sighting_is_dead(&s, 1, 8000 + SIGHTING_DEAD_MS, 50000));
}

static void
a_gap_is_nobodys_death(void **state)
{
	static const struct {
		int64_t asked, answered; /* after 34 s of good answers, the last asked at 34000 */
		bool is_dead;
	} cases[] = {
	    {44000, 44000, true},                      /* 10 s: still one observation */
	    {44001, 44001, false},                     /* more */
	    {35000, 44001, false},                     /* asked in time, answered late */
	    {34000 + 3600000, 34000 + 3600000, false}, /* a suspend, an outage of the database */
	    {33999, 33999, false},                     /* a clock that goes back is no clock */
	    {36000, 35999, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sighting s = {0};
		for (int64_t at = 0; at <= 34000; at += 1000)
			assert_false(sighting_is_dead(&s, 3, at, at));
		assert_int_equal(
		    sighting_is_dead(&s, 3, cases[i].asked, cases[i].answered), cases[i].is_dead);
		if (cases[i].is_dead)
			continue;
		/* It takes the whole time again, not what was missing. */
		int64_t now = cases[i].answered + 1000;
		assert_false(watch(&s, &now, SIGHTING_DEAD_MS - 2000, 3));
		assert_true(watch(&s, &now, 4000, 3));
	}
}

/* What a reconnect does: the same, unchanged row counts from now on. */
static void
a_reset_forgets(void **state)
{
	struct sighting s = {0};
	int64_t now = 0;

	(void)state;
	assert_true(watch(&s, &now, 60000, 2));
	s = (struct sighting){0};
	assert_false(watch(&s, &now, SIGHTING_DEAD_MS, 2));
	assert_true(watch(&s, &now, 2000, 2));
}

/* Who is fenced has been so for long when others may call it dead: whatever the renewal took to be
 * committed and to be seen. The database's clock is in none of these numbers. */
static void
fenced_before_dead(void **state)
{
	(void)state;
	assert_true(NODE_FENCE_MS + 10000 < SIGHTING_DEAD_MS);
	for (int64_t commit = 0; commit < 20000; commit += 500) { /* after it was sent, at 0 */
		struct sighting s = {0};
		int64_t now = commit;
		while (!sighting_is_dead(&s, 9, now, now + 100))
			now += 1000;
		assert_false(node_lease_holds(0, now));
		assert_true(now - NODE_FENCE_MS > 10000);
	}
}

static void
unit_ids(void **state)
{
	static const char *const bad[] = {"", "01a203e1-c454-741c-8d99-189a2dc3f835",
	    "01a203e1-c454-741c-8d99-189a2dc3f835.1", "01a203e1-c454-741c-8d99-189a2dc3f835.0.0",
	    "01a203e1-c454-741c-8d99-189a2dc3f835.1.-1",
	    "01a203e1-c454-741c-8d99-189a2dc3f835.1.0 ", "01a203e1-c454-741c-8d99-189a2dc3f83z.1.0",
	    "01a203e1-c454-741c-8d99-189a2dc3f835.1.99999999999999999999"};
	struct uuid run;
	int attempt, no;

	(void)state;
	assert_true(
	    unit_id_parse("01A203E1-c454-741c-8d99-189a2dc3f835.12.345", &run, &attempt, &no));
	assert_string_equal(run.s, "01a203e1-c454-741c-8d99-189a2dc3f835");
	assert_int_equal(attempt, 12);
	assert_int_equal(no, 345);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(unit_id_parse(bad[i], &run, &attempt, &no));
}

static int
add_part(struct artifacts **set, int no, int part, int parts, const char *text)
{
	struct frame f = {.type = FRAME_J_ARTIFACT, .blob = text, .blob_n = strlen(text)};
	struct err e = ERR_INIT;

	f.json = json_pack("{s:s,s:i,s:i,s:i,s:i,s:b}", "kind", no ? "other" : "config", "no", no,
	    "part", part, "parts", parts, "raw_b", 6, "is_secret", 0);
	int rc = artifacts_add(set, &f, &e);
	json_decref(f.json);
	return rc;
}

static void
artifact_parts(void **state)
{
	struct artifacts *set = NULL;

	(void)state;
	assert_int_equal(add_part(&set, 0, 0, 2, "abc"), 0);
	assert_null(artifacts_find(set, "config"));
	assert_int_equal(add_part(&set, 0, 0, 2, "abc"), 0); /* again, after a reconnect */
	assert_true(add_part(&set, 1, 1, 2, "x") < 0);       /* out of order */
	assert_int_equal(add_part(&set, 0, 1, 2, "def"), 0);
	const struct artifact *a = artifacts_find(set, "config");
	assert_non_null(a);
	assert_int_equal(a->body.n, 6);
	assert_memory_equal(a->body.p, "abcdef", 6);
	assert_null(artifacts_find(set, "other"));
	for (int i = 2; i < ARTIFACTS_MAX; i++)
		assert_int_equal(add_part(&set, i, 0, 1, "y"), 0);
	assert_true(add_part(&set, ARTIFACTS_MAX, 0, 1, "y") < 0);
	artifacts_free(set);
}

static void
binary_arrays(void **state)
{
	static const unsigned char want_int4[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 2,
	    0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xfe};
	static const unsigned char uuid[] = {0x01, 0xa2, 0x03, 0xe1, 0xc4, 0x54, 0x74, 0x1c, 0x8d,
	    0x99, 0x18, 0x9a, 0x2d, 0xc3, 0xf8, 0x35};
	struct pgarray a[3];

	(void)state;
	pgarray_begin(a, 3, 2);
	pgarray_int4(&a[0], 7);
	pgarray_int4(&a[0], -2);
	pgarray_uuid(&a[1], "01a203e1-c454-741c-8d99-189a2dc3f835");
	pgarray_bytea(&a[2], "\0x", 2);
	assert_int_equal(a[0].bytes.n, sizeof(want_int4));
	assert_memory_equal(a[0].bytes.p, want_int4, sizeof(want_int4));
	assert_memory_equal(a[1].bytes.p + 24, uuid, sizeof(uuid));
	assert_int_equal(a[2].bytes.n, 20 + 4 + 2);
	assert_memory_equal(a[2].bytes.p + 20, "\0\0\0\2\0x", 6);
	pgarray_end(a, 3);
	pgarray_begin(a, 2, 0);
	pgarray_int4(&a[0], 7);
	pgarray_int4(&a[0], -2);
	assert_int_equal(a[0].bytes.n, sizeof(want_int4));
	assert_memory_equal(a[0].bytes.p, want_int4, sizeof(want_int4));
	assert_null(a[1].bytes.p);
	pgarray_end(a, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(catch_up_table),
	    cmocka_unit_test(self_fencing),
	    cmocka_unit_test(a_beat_that_stands_still_is_death),
	    cmocka_unit_test(a_slow_answer_shortens_what_was_seen),
	    cmocka_unit_test(a_gap_is_nobodys_death),
	    cmocka_unit_test(a_reset_forgets),
	    cmocka_unit_test(fenced_before_dead),
	    cmocka_unit_test(unit_ids),
	    cmocka_unit_test(artifact_parts),
	    cmocka_unit_test(binary_arrays),
	};
	int failed = cmocka_run_group_tests_name("engine", tests, NULL, NULL);

	zone_fini();
	return failed;
}
