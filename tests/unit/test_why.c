// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* daemon/gateway/why_find.c: what settings say about a stretch of time, by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/jsonx.h"

#include "daemon/gateway/why.h"
#include "when/stamp.h"

#include "base/banned.h"

static int64_t
at(const char *stamp)
{
	int64_t utc;

	assert_int_equal(when_parse_rfc3339(stamp, &utc, NULL, NULL), 0);
	return utc;
}

/* A task that was made on New Year's Eve of 2020. */
static struct why_found
look(const char *kind, const char *expr, const char *asked)
{
	_cleanup_json_ json_t *facts = json_pack("{s:s, s:I, s:I, s:{}}", "id", "t", "created",
	    (json_int_t)at("2020-12-31T00:00:00Z"), "anchor",
	    (json_int_t)at("2020-12-31T00:00:00Z"), "calendars");
	_cleanup_json_ json_t *setting = json_pack(
	    "{s:{s:s, s:s, s:s}}", "schedule", "kind", kind, "expr", expr, "timezone", "UTC");
	const struct why_asked a = why_ask_second(at(asked));
	struct why_found found;

	why_look(facts, setting, &a, 0, &found);
	assert_false(found.is_invalid);
	return found;
}

/* Millions of due times, months before: walking through them would keep the gateway for seconds. */
static void
test_the_time_before(void **state)
{
	static const struct {
		const char *kind, *expr, *asked, *before;
	} cases[] = {
	    {"cron", "* * * * 1 *", "2026-12-31T23:59:59Z", "2026-01-31T23:59:59Z"},
	    {"cron", "* * * * 1 *", "2026-01-01T00:00:00Z", "2025-01-31T23:59:59Z"},
	    {"cron", "* * * * 1 *", "2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z"},
	    {"cron", "0 2 * * *", "2026-11-23T02:00:00Z", "2026-11-22T02:00:00Z"},
	    {"cron", "0 2 29 2 *", "2026-11-23T02:00:00Z", "2024-02-29T02:00:00Z"},
	    {"every", "7s", "2020-12-31T00:00:07Z", "2020-12-31T00:00:00Z"},
	    {"every", "7s", "2020-12-31T00:00:00Z", NULL},
	    {"cron", "0 2 29 2 *", "2024-02-29T02:00:00Z", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct why_found f = look(cases[i].kind, cases[i].expr, cases[i].asked);

		assert_int_equal(f.has_before, cases[i].before != NULL);
		if (f.has_before)
			assert_int_equal(f.before, at(cases[i].before));
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_time_before)};

	return cmocka_run_group_tests_name("why", tests, NULL, NULL);
}
