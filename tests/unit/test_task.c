// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The run state table (walked whole), its SQL copy, and the verdict on an attempt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/io.h"

#include "task/retry.h"
#include "task/rules.h"
#include "task/states.h"

static void
every_state_has_a_way_out_or_none(void **state)
{
	(void)state;
	for (int from = 0; from < TASK_STATE_COUNT; from++) {
		unsigned ways = 0;
		for (int to = 0; to < TASK_STATE_COUNT; to++)
			ways += task_move_is_legal(from, to);
		if (task_state_is_terminal(from))
			assert_int_equal(ways, 0);
		else
			assert_true(ways > 0);
	}
}

static void
every_state_can_end(void **state)
{
	bool ends[TASK_STATE_COUNT], changed = true;

	(void)state;
	for (int s = 0; s < TASK_STATE_COUNT; s++)
		ends[s] = task_state_is_terminal(s);
	while (changed) {
		changed = false;
		for (int from = 0; from < TASK_STATE_COUNT; from++)
			for (int to = 0; to < TASK_STATE_COUNT && !ends[from]; to++)
				if (ends[to] && task_move_is_legal(from, to))
					ends[from] = changed = true;
	}
	for (int s = 0; s < TASK_STATE_COUNT; s++)
		assert_true(ends[s]);
}

static void
names_go_both_ways(void **state)
{
	(void)state;
	for (int s = 0; s < TASK_STATE_COUNT; s++)
		assert_int_equal(task_state_parse(task_state_name(s)), s);
	assert_int_equal(task_state_parse("started"), -1);
	assert_string_equal(task_state_name(TASK_retry_wait), "retry_wait");
}

/* The migration is generated; whoever changes states.def must add a migration, not edit history. */
static void
the_database_has_the_same_table(void **state)
{
	_cleanup_buf_ struct buf sql = {0};
	unsigned moves = 0, lines = 0;

	(void)state;
	assert_int_equal(
	    io_read_file(TAKT_SRCDIR "/sql/migrations/0002_states.sql", 1 << 20, &sql, NULL), 0);
	for (int from = 0; from < TASK_STATE_COUNT; from++) {
		for (int to = 0; to < TASK_STATE_COUNT; to++) {
			char line[160];
			snprintf(line, sizeof(line),
			    "insert into takt.run_move values ('%s', '%s');\n",
			    task_state_name(from), task_state_name(to));
			bool found = strstr(sql.p, line) != NULL;
			assert_int_equal(found, task_move_is_legal(from, to));
			moves += found;
		}
	}
	for (const char *p = sql.p; (p = strstr(p, "into takt.run_move")); p++)
		lines++;
	assert_int_equal(lines, moves);
}

struct verdict_case {
	const char *name;
	struct retry_tally tally;
	struct retry_policy policy;
	unsigned attempt;
	bool is_cancelling;
	enum task_state want;
};

static const struct verdict_case verdicts[] = {
    {"all passed", {.passed = 4}, {3, 60}, 1, false, TASK_completed},
    {"the rest passed in the second attempt", {.passed = 1, .passed_before = 3}, {3, 60}, 2, false,
	TASK_completed},
    {"one failed, may pass", {.passed = 3, .failed = 1, .retryable = 1}, {3, 60}, 1, false,
	TASK_retry_wait},
    {"three retries are four attempts", {.failed = 1, .retryable = 1}, {3, 60}, 3, false,
	TASK_retry_wait},
    {"the fourth is the last", {.failed = 1, .retryable = 1}, {3, 60}, 4, false, TASK_failed},
    {"no retries", {.failed = 1, .retryable = 1}, {0, 60}, 1, false, TASK_failed},
    {"permanent", {.passed = 3, .failed = 1}, {3, 60}, 1, false, TASK_failed},
    {"one permanent before, the rest passed", {.passed = 1, .passed_before = 2, .failed_before = 1},
	{3, 60}, 2, false, TASK_failed},
    {"permanent and transient: the transient one is repeated", {.failed = 2, .retryable = 1},
	{3, 60}, 1, false, TASK_retry_wait},
    {"only timeouts at the end", {.failed = 2, .retryable = 2, .timed_out = 2}, {0, 60}, 1, false,
	TASK_timed_out},
    {"a timeout and another failure", {.failed = 2, .retryable = 2, .timed_out = 1}, {0, 60}, 1,
	false, TASK_failed},
    {"cancelled", {.passed = 1, .failed = 1, .retryable = 1}, {3, 60}, 1, true, TASK_cancelled},
    {"it finished first", {.passed = 2}, {3, 60}, 1, true, TASK_completed},
    {"nothing to do at all is a failure", {0}, {3, 60}, 1, false, TASK_failed},
};

static void
verdict_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
		const struct verdict_case *c = &verdicts[i];
		enum task_state got =
		    retry_verdict(&c->tally, &c->policy, c->attempt, c->is_cancelling);
		if (got != c->want)
			fail_msg("%s: got %s, want %s", c->name, task_state_name(got),
			    task_state_name(c->want));
	}
}

/* What decides is in the table: nobody is told of a rule that has no sentence. */
static void
rules_of_decisions(void **state)
{
	static const char *const sources[] = {"sql/engine/schedule_fire.sql",
	    "daemon/schedule/catch_up.c", "daemon/schedule/marks.c", "daemon/schedule/schedule.c"};
	static const char *const groups[] = {
	    "catchup", "overlap", "calendar", "dst", "task", "schedule"};
	unsigned found = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", TAKT_SRCDIR, sources[i]);
		_cleanup_buf_ struct buf text = {0};
		assert_int_equal(io_read_file(path, 1 << 20, &text, NULL), 0);
		for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
			_cleanup_free_ char *begin = xasprintf("%s.", groups[g]);
			for (const char *p = text.p; (p = strstr(p, begin)); p++) {
				char id[64];
				size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz_.");
				if (p == text.p || !strchr("'\"", p[-1]) || !strchr("'\"", p[n]))
					continue;
				snprintf(id, sizeof(id), "%.*s", (int)n, p);
				if (!rule_find(id))
					fail_msg(
					    "%s decides by %s, which lib/task/rules.def has not",
					    sources[i], id);
				found++;
			}
		}
	}
	assert_true(found >= 12);
}

static void
rules_have_a_sentence(void **state)
{
	static const struct {
		const char *id, *decision;
	} some[] = {{"due", "fired"}, {"catchup.latest", "missed"}, {"overlap.skip", "skipped"},
	    {"not_due", NULL}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(some); i++) {
		const struct rule *r = rule_find(some[i].id);
		assert_non_null(r);
		assert_string_equal(
		    r->decision ? r->decision : "-", some[i].decision ? some[i].decision : "-");
		assert_true(strlen(r->sentence) > 5 && r->sentence[0] >= 'a' &&
			    r->sentence[strlen(r->sentence) - 1] != '.');
	}
	assert_null(rule_find("because"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_state_has_a_way_out_or_none),
	    cmocka_unit_test(every_state_can_end),
	    cmocka_unit_test(names_go_both_ways),
	    cmocka_unit_test(the_database_has_the_same_table),
	    cmocka_unit_test(verdict_table),
	    cmocka_unit_test(rules_of_decisions),
	    cmocka_unit_test(rules_have_a_sentence),
	};
	return cmocka_run_group_tests_name("task", tests, NULL, NULL);
}
