// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* daemon/main/conf: defaults, every option, and mistakes that are told with file:line, field, value and remedy. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/io.h"
#include "daemon/main/conf.h"

static struct conf *
load_bytes(const char *text, size_t n, struct err *e)
{
	char file[] = "/tmp/takt-conf-XXXXXX";
	int fd = mkstemp(file);
	struct conf *c;

	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, text, n), 0);
	close(fd);
	c = conf_load(file, e);
	unlink(file);
	return c;
}

static struct conf *
load(const char *text, struct err *e)
{
	return load_bytes(text, strlen(text), e);
}

static void
test_defaults(void **state)
{
	struct err e = ERR_INIT;
	_cleanup_conf_ struct conf *c = load("# nothing\n", &e);

	(void)state;
	assert_non_null(c);
	assert_true(c->has_engine && c->has_gateway && c->auto_migrate);
	assert_string_equal(c->state_dir, "/var/lib/takt");
	assert_string_equal(c->executor_socket, "/var/lib/takt/executor.sock");
	assert_string_equal(c->db, "dbname=takt");
	assert_string_equal(c->listen_address, "127.0.0.1");
	assert_int_equal(c->listen_port, 7420);
	assert_int_equal(c->max_units, 64);
	assert_int_equal(c->log_level, LOG_INFO);
	assert_int_equal(c->log_format, LOG_TEXT);
	assert_string_equal(c->gateway_user, "");
	assert_true(c->node_name[0]);
	assert_non_null(strstr(c->platform_dirs[0], "/platforms.d"));
	assert_null(c->platform_dirs[1]);
	assert_non_null(strstr(c->calendar_dirs[0], "/calendars.d"));
}

static void
test_every_option(void **state)
{
	struct err e = ERR_INIT;
	_cleanup_conf_ struct conf *c =
	    load("roles = {gateway}\n"
		 "state_dir = \"/srv/takt\"\nnode_name = \"n1.example\"\n"
		 "db = \"host=/run/pg dbname=x port=5433\"\n"
		 "executor_socket = \"/run/e.sock\"\nplatform_dirs = {\"/a\", \"/b\"}\n"
		 "calendar_dirs = {\"/c\"}\n"
		 "listen = \"[::1]:8080\"\ngateway_user = nobody\n"
		 "log_level = debug\nlog_format = json\nmax_units = 10000\nauto_migrate = false\n",
		&e);

	(void)state;
	assert_non_null(c);
	assert_true(!c->has_engine && c->has_gateway && !c->auto_migrate);
	assert_string_equal(c->node_name, "n1.example");
	assert_string_equal(c->db, "host=/run/pg dbname=x port=5433");
	assert_string_equal(c->executor_socket, "/run/e.sock");
	assert_string_equal(c->platform_dirs[1], "/b");
	assert_null(c->platform_dirs[2]);
	assert_string_equal(c->calendar_dirs[0], "/c");
	assert_null(c->calendar_dirs[1]);
	assert_string_equal(c->listen_address, "::1");
	assert_int_equal(c->listen_port, 8080);
	assert_string_equal(c->gateway_user, "nobody");
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_int_equal(c->log_format, LOG_JSON);
	assert_int_equal(c->max_units, 10000);
}

/* text; field; what the message holds besides file and ":line:"; the line */
static const struct mistake {
	const char *text, *field, *words;
	int line;
} mistakes[] = {
    {"max_units = 0\n", "max_units", "'0'", 1},
    {"max_units = 10001\n", "max_units", "'10001'", 1},
    {"max_units = -1\n", "max_units", "'-1'", 1},
    {"max_units = 12x\n", "max_units", "'12x'", 1},
    {"max_units = 99999999999999999999\n", "max_units", "'99999999999999999999'", 1},
    {"\n\nlog_level = loud\n", "log_level", "'loud'", 3},
    {"log_format = xml", "log_format", "'xml'", 1},
    {"auto_migrate = perhaps\n", "auto_migrate", "'perhaps'", 1},
    {"roles = {engine, boss}\n", "roles", "'engine, boss'", 1},
    {"roles = {engine, engine}\n", "roles", "'engine, engine'", 1},
    {"roles = {}\n", "roles", "''", 2},
    {"state_dir = \"var/lib\"\n", "state_dir", "'var/lib'", 1},
    {"platform_dirs = {\"/a\", \"b\"}\n", "platform_dirs", "'/a, b'", 1},
    {"calendar_dirs = {\"c\"}\n", "calendar_dirs", "'c'", 1},
    {"executor_socket = \"e.sock\"\n", "executor_socket", "'e.sock'", 1},
    {"node_name = \"a b\"\n", "node_name", "'a b'", 1},
    {"listen = \"127.0.0.1\"\n", "listen", "'127.0.0.1'", 1},
    {"listen = \"127.0.0.1:0\"\n", "listen", "'127.0.0.1:0'", 1},
    {"listen = \"127.0.0.1:65536\"\n", "listen", "'127.0.0.1:65536'", 1},
    {"listen = \"localhost:7420\"\n", "listen", "'localhost:7420'", 1},
    {"listen = \"::1:7420\"\n", "listen", "'::1:7420'", 1},
    {"listen = \"[::1:7420\"\n", "listen", "'[::1:7420'", 1},
    {"listen = \"[:7420\"\n", "listen", "'[:7420'", 1},
    {"db = \"host=/run user=root\"\n", "db", "(not shown)", 1},
    {"db = \"password=hunter2\"\n", "db", "(not shown)", 1},
    {"db = \"nonsense\"\n", "db", "(not shown)", 1},
    {"log_level = info\nmax_units = 5\nlog_level = warn\n", "log_level", "twice", 3},
    {"max_unit = 5\n", "max_unit", "no such option", 1},
    {"log_level\n", "", "end of file", 2},
    {"log_level info\n", "log_level", "missing equal sign", 1},
    {"roles = {engine\n", "", "", 2},
    {"}\n", "", "", 1},
};

static void
test_mistakes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		const struct mistake *m = &mistakes[i];
		struct err e = ERR_INIT;
		_cleanup_conf_ struct conf *c = load(m->text, &e);
		char line[20];

		if (c)
			fail_msg("accepted: %s", m->text);
		snprintf(line, sizeof(line), ":%d: ", m->line);
		if (e.code != ERR_INVALID || (m->field[0] && strcmp(e.field, m->field)) ||
		    !strstr(e.message, m->words) || strncmp(e.message, "/tmp/takt-conf-", 15) ||
		    !strstr(e.message, line) || !e.hint[0])
			fail_msg("%s\n-> field '%s' message '%s' hint '%s'", m->text, e.field,
			    e.message, e.hint);
		assert_null(strstr(e.message, "hunter2"));
	}
}

static void
test_files(void **state)
{
	struct err e = ERR_INIT;
	static char big[70000];

	(void)state;
	assert_null(conf_load("/nonexistent/taktd.conf", &e));
	assert_int_equal(e.code, ERR_SYSTEM);
	memset(big, '#', sizeof(big));
	assert_null(load_bytes(big, sizeof(big), &e));
	assert_int_equal(e.code, ERR_TOO_BIG);
	assert_null(load_bytes("log_level = info\n\0max_units = 0\n", 32, &e));
	assert_int_equal(e.code, ERR_INVALID);
}

static void
test_host_checks(void **state)
{
	struct err e = ERR_INIT;
	struct conf *c = load("state_dir = \"/nonexistent/x\"\n", &e);

	(void)state;
	assert_true(conf_check_host(c, &e) < 0);
	assert_string_equal(e.field, "state_dir");
	conf_free(c);
	c = load("state_dir = \"/tmp\"\nplatform_dirs = {\"/dev/null\"}\n", &e);
	assert_true(conf_check_host(c, &e) < 0);
	assert_string_equal(e.field, "platform_dirs");
	conf_free(c);
	c = load("state_dir = \"/tmp\"\nplatform_dirs = {\"/tmp\"}\ngateway_user = "
		 "\"no-such-user-here\"\n",
	    &e);
	assert_true(conf_check_host(c, &e) < 0);
	assert_string_equal(e.field, "gateway_user");
	conf_free(c);
	c = load("state_dir = \"/tmp\"\nplatform_dirs = {\"/tmp\"}\n", &e);
	assert_int_equal(conf_check_host(c, &e), 0);
	conf_free(c);
}

static void
test_what_may_change(void **state)
{
	static const char *const fixed[] = {"roles = {engine}", "state_dir = \"/x\"",
	    "node_name = zz", "db = \"dbname=z\"", "executor_socket = \"/z\"",
	    "listen = \"127.0.0.1:1\"", "gateway_user = z"};
	struct err e = ERR_INIT;
	_cleanup_conf_ struct conf *base = load("", &e);
	_cleanup_conf_ struct conf *soft = load(
	    "log_level = debug\nlog_format = json\nmax_units = 3\nplatform_dirs = {\"/z\"}\n", &e);

	(void)state;
	assert_null(conf_fixed_difference(base, soft));
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		_cleanup_conf_ struct conf *c = load(fixed[i], &e);
		const char *name = conf_fixed_difference(base, c);

		assert_non_null(name);
		assert_int_equal(strncmp(name, fixed[i], strlen(name)), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_every_option),
	    cmocka_unit_test(test_mistakes),
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_host_checks),
	    cmocka_unit_test(test_what_may_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
