// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The pure parts of the gateway: cursors, the order of facts, Phoenix frames, definitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "daemon/gateway/cursor.h"
#include "daemon/gateway/fact.h"
#include "daemon/gateway/guard.h"
#include "daemon/gateway/phx.h"
#include "daemon/gateway/schedule_def.h"
#include "daemon/gateway/schedule_report.h"
#include "daemon/gateway/task_def.h"

#include "base/banned.h"

static void
cursor_comes_back(_unused_ void **state)
{
	static const char *const good[] = {"v1.", "v1.1-4-981", "v1.1-4-981-2",
	    "v1.1-1-1_2-9-7-1_300-2-5", "v1.1-999999999999999999-0"};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_buf_ struct buf b = {0};
		struct cursor c;

		assert_int_equal(cursor_parse(good[i], &c, NULL), 0);
		buf_adds(&b, "v1.");
		cursor_text(&c, 0, 1000, &b);
		assert_string_equal(b.p, good[i]);
	}
}

static void
cursor_refuses(_unused_ void **state)
{
	static const char *const bad[] = {"", "v1", "v2.1-1-1", "v1.1", "v1.1-1", "v1.1-1-",
	    "v1.1-1-1-", "v1.1-1-1-0", "v1.1-1-1_", "v1._1-1-1", "v1.1-1-1_1-1-2", "v1.2-1-1_1-1-1",
	    "v1.-1-1-1", "v1.1-1-1 ", "v1.1-+1-1", "v1.1-1-1-1-1", "v1.99999999999-1-1",
	    "v1.1-9999999999999999999-1", "1-1-1"};
	_cleanup_buf_ struct buf many = {0};
	struct cursor c = {.n = 7};
	struct err last = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(cursor_parse(bad[i], &c, &e), -ERR_INVALID);
		assert_string_equal(e.field, "/since");
	}
	buf_adds(&many, "v1.");
	for (int i = 1; i <= CURSOR_NODES + 1; i++)
		buf_addf(&many, "%s%d-1-1", i > 1 ? "_" : "", i);
	assert_int_equal(cursor_parse(many.p, &c, &last), -ERR_INVALID);
	assert_int_equal(c.n, 7);
}

static void
cursor_covers_and_advances(_unused_ void **state)
{
	struct cursor c = {0}, d = {0};

	assert_false(cursor_covers(&c, 1, 1, 1));
	cursor_advance(&c, 5, 2, 10);
	cursor_advance(&c, 3, 1, 1);
	assert_true(c.at[0].no == 3 && c.at[1].no == 5);
	assert_true(cursor_covers(&c, 5, 2, 10) && cursor_covers(&c, 5, 1, 999) &&
		    cursor_covers(&c, 5, 2, 9));
	assert_false(cursor_covers(&c, 5, 2, 11) || cursor_covers(&c, 5, 3, 1) ||
		     cursor_covers(&c, 4, 1, 1));
	cursor_advance(&c, 5, 2, 4); /* never back */
	assert_true(cursor_find(&c, 5)->seq == 10);
	assert_int_equal(cursor_parse("v1.5-2-10-3", &d, NULL), 0);
	assert_false(cursor_covers(&d, 5, 2, 10));
	assert_true(cursor_covers(&d, 5, 2, 9));
	cursor_advance(&d, 5, 2, 10);
	assert_true(cursor_covers(&d, 5, 2, 10) && cursor_includes(&c, &d));
	assert_false(cursor_includes(&d, &c));
}

static struct fact *
fact_of(const char *run, int no, int64_t seq, int64_t first, unsigned n)
{
	_cleanup_json_ json_t *items = json_array();

	while (n--)
		json_array_append_new(items, json_pack("{s:s}", "type", "progress"));
	return fact_new(run, "t", no, 1, seq, first, items);
}

/* A run went from node 1 to 2 and back; run b is on both as well, the other way round. */
static void
facts_keep_streams_and_numbers(_unused_ void **state)
{
	struct fact *facts[] = {fact_of("a", 1, 1, 1, 2), fact_of("b", 1, 2, 4, 1),
	    fact_of("a", 1, 3, 6, 1), fact_of("b", 2, 1, 1, 3), fact_of("a", 2, 2, 3, 3),
	    fact_of("b", 2, 3, 5, 1)};
	const size_t n = ARRAY_LEN(facts);
	int64_t at_a = 0, at_b = 0, at_1 = 0, at_2 = 0;

	facts_order(facts, n);
	for (size_t i = 0; i < n; i++) {
		int64_t *run = facts[i]->run[0] == 'a' ? &at_a : &at_b,
			*node = facts[i]->no == 1 ? &at_1 : &at_2;

		assert_true(facts[i]->first == *run + 1);
		*run += facts[i]->n;
		assert_true(facts[i]->seq == *node + 1);
		*node += 1;
		fact_put(facts[i]);
	}
}

static void
facts_that_contradict_are_all_kept(_unused_ void **state)
{
	struct fact *facts[] = {fact_of("a", 1, 1, 5, 1), fact_of("b", 1, 2, 1, 1),
	    fact_of("b", 2, 1, 5, 1), fact_of("a", 2, 2, 1, 1)};

	facts_order(facts, ARRAY_LEN(facts));
	for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
		for (size_t k = 0; k < i; k++)
			assert_ptr_not_equal(facts[i], facts[k]);
	}
	for (size_t i = 0; i < ARRAY_LEN(facts); i++)
		fact_put(facts[i]);
}

static void
fact_cursor_of_a_part(_unused_ void **state)
{
	struct fact *f = fact_of("a", 5, 7, 1, 3);
	struct cursor others = {0};
	_cleanup_buf_ struct buf b = {0};

	cursor_advance(&others, 3, 1, 4);
	cursor_advance(&others, 5, 1, 6);
	cursor_advance(&others, 9, 2, 2);
	fact_set_place(f, &others);
	fact_cursor(f, 2, NULL, NULL, &b);
	assert_string_equal(b.p, "v1.3-1-4_5-1-7-2_9-2-2");
	buf_clear(&b);
	fact_cursor(f, 3, "", "", &b);
	assert_string_equal(b.p, "v1.5-1-7");
	fact_put(f);
}

static void
frames(_unused_ void **state)
{
	static const char two[] = "[\"1\",null,\"task:x\",\"phx_join\",{\"since\":null}]";
	static const char one[] =
	    "{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},\"ref\":\"9\"}";
	_cleanup_buf_ struct buf b = {0};
	_cleanup_free_ char *quoted = phx_quote("a\"b");
	struct phx m;

	assert_int_equal(phx_parse(two, strlen(two), false, &m, NULL), 0);
	assert_string_equal(m.join_ref, "1");
	assert_null(m.ref);
	assert_string_equal(m.topic, "task:x");
	phx_fini(&m);
	assert_int_equal(phx_parse(one, strlen(one), true, &m, NULL), 0);
	assert_string_equal(m.ref, "9");
	phx_fini(&m);
	assert_true(phx_parse(one, strlen(one), false, &m, NULL) < 0);
	phx_fini(&m);
	assert_true(phx_parse(two, strlen(two), true, &m, NULL) < 0);
	phx_fini(&m);
	phx_write(&b, false, "\"1\"", NULL, quoted, "\"e\"", "{}");
	assert_string_equal(b.p, "[\"1\",null,\"a\\\"b\",\"e\",{}]");
	buf_clear(&b);
	phx_write(&b, true, "\"1\"", "\"2\"", "\"t\"", "\"e\"", "{}");
	assert_string_equal(b.p, "{\"topic\":\"t\",\"event\":\"e\",\"ref\":\"2\",\"payload\":{}}");
}

static json_t *hello;

static const json_t *
type_of(const char *id)
{
	return strcmp(id, "health_check") ? NULL : hello;
}

static void
definitions(_unused_ void **state)
{
	_cleanup_json_ json_t *doc = json_pack("{s:s,s:s,s:s,s:{s:s}}", "name", "n", "task_type",
	    "HealthCheck", "cron_expression", "0 2 * * *", "parameters", "type", "HealthCheck");
	_cleanup_json_ json_t *patch = json_pack(
	    "{s:n,s:i,s:{s:i}}", "cron_expression", "max_retries", 9, "parameters", "count", 1);
	_cleanup_json_ json_t *made = NULL, *merged = NULL, *none = NULL;
	_cleanup_free_ char *snake = task_def_snake("AgentTask");
	struct err e = ERR_INIT;

	hello = json_pack(
	    "{s:s,s:s,s:i}", "id", "health_check", "targets", "none", "default_max_retries", 7);
	assert_string_equal(snake, "agent_task");
	made = task_def_normalise(doc, type_of, "x", 0, &e);
	assert_non_null(made);
	assert_string_equal(json_get_str(made, "task_type", ""), "health_check");
	assert_int_equal(json_get_int(made, "max_retries", 0), 7);
	assert_int_equal(json_object_size(json_object_get(made, "parameters")), 0);
	assert_string_equal(json_get_str(made, "cron_expression", ""), "0 2 * * *");
	assert_string_equal(
	    json_get_str(json_object_get(made, "schedule"), "expr", ""), "0 2 * * *");
	assert_int_equal(json_get_int(made, "overlap_limit", 0), 1);
	merged = task_def_patch(made, patch);
	assert_null(json_object_get(merged, "cron_expression"));
	assert_int_equal(json_get_int(merged, "max_retries", 0), 9);
	assert_int_equal(json_get_int(json_object_get(merged, "parameters"), "count", 0), 1);
	json_object_set_new(doc, "task_type", json_string("mop"));
	none = task_def_normalise(doc, type_of, "health_check", 0, &e);
	assert_null(none);
	assert_string_equal(e.field, "/task_type");
	json_decref(hello);
}

static struct schedule_plan *
plan_of(const char *expr, const char *fold)
{
	_cleanup_json_ json_t *doc = json_pack("{s:s, s:s, s:s}", "cron_expression", expr,
	    "timezone", "Europe/Berlin", "dst_fold", fold);
	_cleanup_json_ json_t *normal = schedule_def_read(doc, 0, NULL), *none = json_object();

	return schedule_plan_new(normal, none, NULL, 0, NULL);
}

/* What a report says of the changes of 2027 in Berlin, in short. */
static void
changes(const char *expr, const char *fold, const char *expected)
{
	_cleanup_schedule_plan_ struct schedule_plan *p = plan_of(expr, fold);
	_cleanup_json_ json_t *found = NULL;
	_cleanup_buf_ struct buf b = {0};
	size_t i;
	json_t *one;
	int more;

	found = report_clock_changes(p, 1798761600, 1830297600, &more); /* the year 2027 */
	buf_adds(&b, "");
	json_array_foreach(found, i, one)
	{
		json_t *runs = json_object_get(one, "runs_at");

		buf_addf(&b, "%s %s %s;", json_get_str(one, "due", ""),
		    json_get_str(one, "what", ""),
		    json_array_size(runs) ? json_string_value(json_array_get(runs, 0)) : "-");
	}
	assert_string_equal(b.p, expected);
	assert_int_equal(more, 0);
}

static void
clock_changes_are_told(_unused_ void **state)
{
	changes("30 2 * * *", "first",
	    "2027-03-28T02:30:00 moved 2027-03-28T01:00:00Z;"
	    "2027-10-31T02:30:00 first_of_two 2027-10-31T00:30:00Z;");
	changes("30 2 * * *", "second",
	    "2027-03-28T02:30:00 moved 2027-03-28T01:00:00Z;"
	    "2027-10-31T02:30:00 second_of_two 2027-10-31T01:30:00Z;");
	changes("30 2 * * *", "both",
	    "2027-03-28T02:30:00 moved 2027-03-28T01:00:00Z;"
	    "2027-10-31T02:30:00 both 2027-10-31T00:30:00Z;");
	changes("*/30 2 * * *", "first",
	    "2027-03-28T02:00:00 skipped_gap -;2027-03-28T02:30:00 skipped_gap -;"
	    "2027-10-31T02:00:00 both 2027-10-31T00:00:00Z;"
	    "2027-10-31T02:30:00 both 2027-10-31T00:30:00Z;");
	changes("0 3 * * *", "first", "");
}

static void
guard_stops_who_tries_tokens(_unused_ void **state)
{
	guard_learn_at("10.0.0.1", "known", true, 1000);
	for (int i = 0; i < GUARD_FAILS; i++) {
		assert_true(guard_allows_at("10.0.0.1", "guess", 1000 + i));
		guard_learn_at("10.0.0.1", "guess", false, 1000 + i);
	}
	assert_false(guard_allows_at("10.0.0.1", "guess", 2000));
	assert_true(guard_allows_at("10.0.0.1", "known", 2000));
	assert_true(guard_allows_at("10.0.0.2", "guess", 2000));
	guard_learn_at("10.0.0.1", "known", false, 2000); /* revoked meanwhile */
	assert_false(guard_allows_at("10.0.0.1", "known", 2000));
	assert_true(guard_allows_at("10.0.0.1", "guess", 1001 + GUARD_WINDOW_MS));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cursor_comes_back),
	    cmocka_unit_test(cursor_refuses),
	    cmocka_unit_test(cursor_covers_and_advances),
	    cmocka_unit_test(facts_keep_streams_and_numbers),
	    cmocka_unit_test(facts_that_contradict_are_all_kept),
	    cmocka_unit_test(fact_cursor_of_a_part),
	    cmocka_unit_test(frames),
	    cmocka_unit_test(definitions),
	    cmocka_unit_test(clock_changes_are_told),
	    cmocka_unit_test(guard_stops_who_tries_tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
