// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* lib/base: buffers, errors, ids, bounded JSON, durable files. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/io.h"
#include "base/jsonx.h"

static void
test_buf(void **state)
{
	_cleanup_buf_ struct buf b = {0};

	(void)state;
	buf_adds(&b, "ab");
	buf_addf(&b, "-%d-", 42);
	buf_addc(&b, 'z');
	assert_string_equal(b.p, "ab-42-z");
	buf_shift(&b, 3);
	assert_string_equal(b.p, "42-z");
	for (int i = 0; i < 10000; i++)
		buf_addc(&b, 'x');
	assert_int_equal(b.n, 10004);
}

static void
test_err(void **state)
{
	struct err e = ERR_INIT;
	char text[800];

	(void)state;
	assert_int_equal(err_set(&e, ERR_INVALID, "bad value '%s'", "61"), -ERR_INVALID);
	err_field(&e, "/cron_expression");
	err_hint(&e, "Minutes run from 0 to 59.");
	err_push(&e, "task.json");
	assert_string_equal(err_text(&e, text, sizeof(text)),
	    "/cron_expression: task.json: bad value '61' (Minutes run from 0 to 59.)");
}

static void
test_err_cuts_between_characters(void **state)
{
	struct err e = ERR_INIT;
	char text[400];

	(void)state;
	for (int lead = 0; lead < 4; lead++) {
		json_t *j;

		memset(text, 'x', (size_t)lead);
		for (size_t i = (size_t)lead; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 4); /* the euro sign */
		err_set(&e, ERR_INVALID, "%s", text);
		j = json_string(e.message);
		assert_non_null(j);
		json_decref(j);
		assert_true(strlen(e.message) >= sizeof(e.message) - 5);
	}
}

static void
test_uuid(void **state)
{
	struct uuid a, b;
	char code[9];

	(void)state;
	assert_true(uuid_parse("A1B2C3D4-5678-9abc-def0-123456789abc", &a));
	assert_string_equal(a.s, "a1b2c3d4-5678-9abc-def0-123456789abc");
	assert_false(uuid_valid("a1b2c3d4-5678-9abc-def0-123456789abcd"));
	assert_false(uuid_valid("a1b2c3d4"));
	uuid_v7(1700000000000, &a);
	assert_memory_equal(a.s, "018bcfe5-6800-7", 15);
	for (int i = 0; i < 10000; i++) { /* monotonic even when the clock stands or steps back */
		uuid_v7(1700000000000 - i % 3, &b);
		assert_true(strcmp(a.s, b.s) < 0);
		a = b;
	}
	id_run_code(code);
	assert_int_equal(strspn(code, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), 8);
}

static void
test_json_bounds(void **state)
{
	struct err e = ERR_INIT;
	char deep[80];
	json_t *j;

	(void)state;
	memset(deep, '[', 33);
	memset(deep + 33, ']', 33);
	assert_null(json_parse(deep, 66, &json_limits_request, &e));
	assert_int_equal(e.code, ERR_TOO_BIG);
	j = json_parse(deep + 1, 64, &json_limits_request, &e);
	assert_non_null(j);
	json_decref(j);
	assert_null(json_parse("{\"a\":1,\"a\":2}", 13, &json_limits_request, &e));
	assert_int_equal(e.code, ERR_INVALID);
	assert_null(json_parse("{\"a\":\"\\u0000\"}", 14, &json_limits_request, &e));
	assert_null(json_parse("{} x", 4, &json_limits_request, &e));
	j = json_parse("{\"s\":\"]]]{{{\",\"n\":7}", 20, &json_limits_request, &e);
	assert_int_equal(json_get_int(j, "n", 0), 7);
	assert_int_equal(json_get_int(j, "s", -1), -1);
	json_decref(j);
}

static void
test_replace_file(void **state)
{
	char dir[] = "/tmp/takt-base-XXXXXX";
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;
	char path[64];
	int dfd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	dfd = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(io_replace_file(dfd, "f", "one", 3, 0600, &e), 0);
	assert_int_equal(io_replace_file(dfd, "f", "two", 3, 0600, &e), 0);
	snprintf(path, sizeof(path), "%s/f", dir);
	assert_int_equal(io_read_file(path, 100, &b, &e), 0);
	assert_string_equal(b.p, "two");
	assert_int_equal(io_read_file(path, 2, &b, &e), -ERR_TOO_BIG);
	unlinkat(dfd, "f", 0);
	close(dfd);
	assert_int_equal(rmdir(dir), 0);
}

static void
test_stamp(void **state)
{
	char s[32];

	(void)state;
	assert_string_equal(clock_rfc3339_us(1700000000123456, s), "2023-11-14T22:13:20.123Z");
	assert_string_equal(clock_rfc3339_us(1700000000999999, s), "2023-11-14T22:13:20.999Z");
	assert_string_equal(clock_rfc3339_us(-1, s), "1969-12-31T23:59:59.999Z");
	assert_string_equal(clock_rfc3339_us(0, s), "1970-01-01T00:00:00.000Z");
}

/* The listener is stopped: what it does not accept fills its backlog, and who connects must go on. */
static void
test_connect_never_waits(void **state)
{
	char dir[] = "/tmp/takt-base-XXXXXX";
	int fds[300], n = 0;
	struct err e = ERR_INIT;

	(void)state;
	assert_non_null(mkdtemp(dir));
	int dfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int listener = io_unix_listen(dfd, "s", SOCK_SEQPACKET, &e);
	assert_true(listener >= 0);
	alarm(30);
	while (n < 300 && (fds[n] = io_unix_connect(dfd, "s", SOCK_SEQPACKET, &e)) >= 0)
		n++;
	alarm(0);
	assert_in_range(n, 1, 299);
	assert_int_equal(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
	while (n > 0)
		close(fds[--n]);
	close(listener);
	unlinkat(dfd, "s", 0);
	close(dfd);
	rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_buf),
	    cmocka_unit_test(test_err),
	    cmocka_unit_test(test_err_cuts_between_characters),
	    cmocka_unit_test(test_uuid),
	    cmocka_unit_test(test_json_bounds),
	    cmocka_unit_test(test_replace_file),
	    cmocka_unit_test(test_connect_never_waits),
	    cmocka_unit_test(test_stamp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
