// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The device library's pure parts: patterns, terminal, platform files, completeness, redaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/io.h"
#include "sdk/device/complete.h"
#include "sdk/device/device.h"
#include "sdk/device/normalise.h"
#include "sdk/device/pattern.h"
#include "sdk/device/platform.h"
#include "sdk/device/term.h"

#include "base/banned.h"

/* ---- patterns */

static const struct {
	const char *pattern, *text;
	int start, end; /* -1: no match */
} finds[] = {
    {"abc", "xxabcx", 2, 5},
    {"abc", "xxabx", -1, -1},
    {"^abc", "abc", 0, 3},
    {"^abc", "xabc", -1, -1},
    {"abc$", "xabc", 1, 4},
    {"abc$", "abcx", -1, -1},
    {"^$", "", 0, 0},
    {"^$", "x", -1, -1},
    {"a*", "", 0, 0},
    {"a*", "baaa", 0, 0},
    {"a+", "baaa", 1, 4},
    {"a?b", "ab", 0, 2},
    {"a?b", "cb", 1, 2},
    {"cat|cats", "two cats", 4, 8},
    {"(a|b)+c", "xxababc", 2, 7},
    {"(a*)*b", "aaab", 0, 4},
    {"(|a)b", "ab", 0, 2},
    {"x(ab|cd)*y", "xabcdaby", 0, 8},
    {"[a-c]+", "xxabcabcx", 2, 8},
    {"[^a-c]+", "abxyc", 2, 4},
    {"[]x]+", "a]x]", 1, 4},
    {"[a-]+", "x-a-", 1, 4},
    {"[\\d_]+", "ab12_3", 2, 6},
    {"\\d+", "ab123", 2, 5},
    {"\\w+", "  a_1 ", 2, 5},
    {"\\S+\\s\\S+", " ab cd ", 1, 6},
    {"\\.", "a.b", 1, 2},
    {"a\\+b", "a+b", 0, 3},
    {"(?i)PassWord", "my pASSwORD", 3, 11},
    {"(?i)[a-c]+", "xABCx", 1, 4},
    {".", "\xc3\xa4", 0, 1},
    {"[#>]$", "r1# ", -1, -1},
    {"^ *neighbor [^ ]+ password ", " neighbor 192.0.2.1 password x", 0, 29},
    {"^(ab)?(ab)?$", "abab", 0, 4},
    {"b|^a", "ab", 0, 1},
    {"$", "abc", 3, 3},
};

static void
test_pattern_find(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_LEN(finds); i++) {
		_cleanup_pattern_ struct pattern *p = NULL;
		size_t start = 99, end = 99;
		assert_int_equal(pattern_new(finds[i].pattern, &p, NULL), 0);
		bool is = pattern_find(p, finds[i].text, strlen(finds[i].text), &start, &end);
		if (is != (finds[i].start >= 0) ||
		    (is && (start != (size_t)finds[i].start || end != (size_t)finds[i].end)))
			fail_msg("'%s' in '%s': found %d at %zu..%zu", finds[i].pattern,
			    finds[i].text, is, start, end);
	}
}

static void
test_pattern_bad(void **state _unused_)
{
	static const char *const bad[] = {"", "(", ")", "a)", "(a", "[a", "[z-a]", "*a", "+", "?",
	    "a{3}", "\\", "\\q", "\\1", "(a)\\1", "(?:a)", "((((((((((((((((((a))))))))))))))))))"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct pattern *p = NULL;
		struct err e = ERR_INIT;
		if (pattern_new(bad[i], &p, &e) == 0)
			fail_msg("'%s' was taken", bad[i]);
		assert_true(e.message[0] && e.hint[0]);
		assert_null(p);
	}
	char *longer = malloc(PATTERN_MAX_B + 2);
	memset(longer, 'a', PATTERN_MAX_B + 1);
	longer[PATTERN_MAX_B + 1] = 0;
	struct pattern *p = NULL;
	assert_int_not_equal(pattern_new(longer, &p, NULL), 0);
	free(longer);
}

/* What makes a backtracking matcher run for ever: here each step is bounded by the pattern's size. */
static void
test_pattern_is_linear(void **state _unused_)
{
	static const char *const evil[] = {
	    "(a*)*b", "(a|a)*b", "(a|aa)+$", "a*a*a*a*a*a*a*b", ".*.*.*=.*"};
	size_t n = 20000;
	char *text = malloc(n);
	memset(text, 'a', n);
	text[n - 1] = '!';
	for (size_t i = 0; i < ARRAY_LEN(evil); i++) {
		_cleanup_pattern_ struct pattern *p = NULL;
		assert_int_equal(pattern_new(evil[i], &p, NULL), 0);
		assert_false(pattern_find(p, text, n, NULL, NULL));
	}
	free(text);
}

/* ---- terminal */

static const struct {
	const char *in, *out;
} screens[] = {
    {"plain\r\ntext", "plain\ntext"},
    {"a\r\r\nb", "a\nb"},
    {"a\n\rb", "a\nb"},
    {"abc\rX", "Xbc"},
    {"--More--\r        \rline\r\n", "line\n"},
    {"--More--\b\b\b\b\b\b\b\b        \b\b\b\b\b\b\b\bline\r\n", "line\n"},
    {"old\r\033[Knew", "new"},
    {"old text\033[2K", ""},
    {"\033[1;31mred\033[0m", "red"},
    {"\033]0;title\007x", "x"},
    {"\033]0;title\033\\x", "x"},
    {"\033[?2004hr1# ", "r1# "},
    {"\033(Bx\033=y", "xy"},
    {"abc\bX", "abX"},
    {"\b\bx", "x"},
    {"a\tb\001\177c", "a\tbc"},
    {"banner ^C\003", "banner ^C\003"},
    {"abc\033[2DX", "aXc"},
    {"abc\033[1GX", "Xbc"},
    {"\033[99999999999999999999mx", "x"},
};

static void
test_term(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_LEN(screens); i++) {
		for (size_t piece = 1; piece < 4; piece++) {
			struct term t = {0};
			size_t n = strlen(screens[i].in);
			for (size_t at = 0; at < n; at += piece)
				term_feed(&t, screens[i].in + at, n - at < piece ? n - at : piece);
			size_t want = strlen(screens[i].out);
			if (t.text.n != want ||
			    memcmp(t.text.p ? t.text.p : "", screens[i].out, want) != 0)
				fail_msg("screen %zu in pieces of %zu: '%.*s'", i, piece,
				    (int)t.text.n, t.text.p);
			term_fini(&t);
		}
	}
}

/* ---- platform files */

static char folder[] = "/tmp/takt-test-device-XXXXXX";

static int
read_text(const char *name, const char *text, struct platform **out, struct err *e)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
	int rc = platform_read(path, out, e);
	unlink(path);
	return rc;
}

#define GOOD_HEAD "title = 'T'\nevidence {\n kind = 'manual'\n text = 'none'\n}\n"
#define GOOD                                                                                \
	GOOD_HEAD "session {\n prompt = { 'r1#' }\n}\nbackup {\n command = { 'show' }\n}\n" \
		  "complete {\n last_line = { '^end$' }\n}\n"

static void
test_platform_good(void **state _unused_)
{
	_cleanup_platform_ struct platform *p = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(read_text("good.conf", GOOD, &p, &e), 0);
	assert_string_equal(p->name, "good");
	assert_string_equal(p->title, "T");
	assert_string_equal(p->backup.command.v[0], "show");
	assert_int_equal(p->session.command_timeout_ms, 60000);
	assert_true(p->complete.twice && p->session.echo);
	assert_int_equal(strlen(p->digest), 64);
}

static const struct {
	const char *text;
	const char *where; /* file:line or field that the message must name */
	const char *value;
} wrong[] = {
    {GOOD "speed = 3\n", "bad.conf:15", "speed"},
    {GOOD "session {\n colour = 'x'\n}\n", "bad.conf:16", "colour"},
    {GOOD_HEAD "session {\n prompt = { 'r1(' }\n}\n", "bad.conf:7: session.prompt", "r1("},
    {GOOD_HEAD "session {\n prompt = { 'a', 'b{2}' }\n}\n", "session.prompt", "b{2}"},
    {GOOD_HEAD "session {\n width = 7\n}\n", "bad.conf:7: session.width", "'7'"},
    {GOOD_HEAD "session {\n settle_ms = soon\n}\n", "bad.conf:7", "soon"},
    {GOOD_HEAD "session {\n echo = maybe\n}\n", "bad.conf:7", "echo"},
    {GOOD_HEAD "session {\n setup = { \"a\\nb\" }\n}\n", "session.setup", "a"},
    {GOOD_HEAD "session {\n prompt = { 'x' }\n}\n", "backup.command", "absent"},
    {GOOD_HEAD, "session.prompt", "absent"},
    {"title = ''\n", "bad.conf:1: title", "0"},
    {"title = 'T'\nevidence {\n kind = 'hearsay'\n text = 'x'\n}\nsession {\n prompt = {'#'}\n}\n"
     "backup {\n command = {'c'}\n}\ncomplete {\n last_line = {'e'}\n}\n",
	"evidence.kind", "hearsay"},
    {GOOD "ssh {\n kex = { 'a;b' }\n}\n", "ssh.kex", "a;b"},
    {GOOD "block 'x' {\n begin = { 'a' }\n}\n", "block.end", "absent"},
    {GOOD "normalise {\n redact_begin = { 'a' }\n}\n", "redact_end", "redact_begin"},
    {GOOD "title = 'unfinished\n", "bad.conf", ""},
    {GOOD "session {\n", "bad.conf", ""},
    {"\001\002{{{{", "bad.conf:1", ""},
};

static void
test_platform_bad(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct platform *p = NULL;
		struct err e = ERR_INIT;
		if (read_text("bad.conf", wrong[i].text, &p, &e) == 0)
			fail_msg("file %zu was taken", i);
		assert_null(p);
		if (!strstr(e.message, wrong[i].where) || !strstr(e.message, wrong[i].value) ||
		    !*e.hint)
			fail_msg("file %zu: '%s' (%s), want %s and %s", i, e.message, e.hint,
			    wrong[i].where, wrong[i].value);
	}
}

static void
test_platform_names(void **state _unused_)
{
	struct platform *p = NULL;
	struct err e = ERR_INIT;
	assert_int_not_equal(read_text("Bad Name.conf", GOOD, &p, &e), 0);
	assert_non_null(strstr(e.message, "Bad Name.conf"));
	assert_int_not_equal(platform_read("/nonexistent/x.conf", &p, &e), 0);
	_cleanup_buf_ struct buf big = {0};
	while (big.n <= PLATFORM_FILE_MAX_B)
		buf_adds(&big, "# comment\n");
	assert_int_not_equal(read_text("big.conf", big.p, &p, &e), 0);
}

/* All or nothing: a bad file leaves what was loaded. */
static void
test_platforms_load(void **state _unused_)
{
	const char *good[] = {SRCDIR "/conf/platforms.d", "/nonexistent", NULL};
	const char *mixed[] = {SRCDIR "/conf/platforms.d", folder, NULL};
	char path[128], names[100];
	struct err e = ERR_INIT;
	assert_int_equal(device_platforms_load(good, &e), 0);
	assert_string_equal(platform_names(names, sizeof(names)), "frr, linux");
	snprintf(path, sizeof(path), "%s/broken.conf", folder);
	FILE *f = fopen(path, "w");
	fputs("nonsense", f);
	fclose(f);
	assert_int_not_equal(device_platforms_load(mixed, &e), 0);
	assert_non_null(strstr(e.message, "broken.conf:1"));
	unlink(path);
	assert_non_null(platform_find("frr"));
	json_t *all = device_platforms_json();
	assert_int_equal(json_array_size(all), 2);
	assert_string_equal(
	    json_string_value(json_object_get(json_array_get(all, 0), "name")), "frr");
	json_decref(all);
}

/* ---- completeness and redaction, with the platform file that is shipped */

#define FRR "!\nfrr version 8.4\nhostname r1\nlog syslog\n!\n"
static const struct {
	const char *text;
	const char *why; /* NULL: complete */
} configs[] = {
    {FRR "router bgp 1\nexit\n!\nend\n", NULL},
    {FRR "!\nend\n\n  \n", NULL},
    {FRR "! unfinished line\nend", NULL},
    {FRR "interface e0\n description the end\nexit\n!\nend\n", NULL},
    {FRR "banner motd ^C\nend\n^C\n!\nend\n", NULL},
    {FRR "banner motd ^C one line ^C\n!\nend\n", NULL},
    {FRR "banner login #\nfrr\n!\nend\n#\n!\nend\n", NULL},
    {FRR "banner motd line end\n!\nend\n", NULL},
    {"", "lines"},
    {FRR, "last line"},
    {FRR "router bgp 1\n", "inside the block 'router'"},
    {FRR "router bgp 1\n address-family\n !\nend\n", "inside the block 'router'"},
    {FRR "router bgp 1\n!\nline vty\n!\nend\n", NULL}, /* FRR 7 */
    {FRR "banner motd ^C\n!\nend\n", "inside the banner"},
    {FRR "banner motd @\nexit\n!\nend\n", "inside the banner that begins in line 6"},
    {FRR "!\nend\nmore\n", "last line"},
    {FRR "hostname\nend\n", "before the last"},
    {FRR "% Connection lost\n!\nend\n", "line 6 says"},
    {"banner motd ^C\n" FRR "^C\nrouter rip\nexit\n!\nend\n", "first line"},
    {"!\nbanner motd ^C\nfrr version 1\nhostname x\n^C\n!\nend\n", "no line is like"},
};

static void
test_complete(void **state _unused_)
{
	const struct platform *p = platform_find("frr");
	for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
		char why[300] = "";
		bool is =
		    complete_check(p, configs[i].text, strlen(configs[i].text), why, sizeof(why));
		if (is != !configs[i].why || (configs[i].why && !strstr(why, configs[i].why)))
			fail_msg(
			    "configuration %zu: %s, '%s'", i, is ? "complete" : "incomplete", why);
	}
}

static const struct {
	const char *platform, *in, *out;
} bodies[] = {
    {"frr", " neighbor 10.0.0.1 password Secret9\n", " neighbor 10.0.0.1 password <removed>\n"},
    {"frr", " neighbor PEERS password \"two words\" x\n", " neighbor PEERS password <removed> x\n"},
    {"frr", "password 8 abc\nenable password abc\nenable password 8 abc\n",
	"password 8 <removed>\nenable password <removed>\nenable password 8 <removed>\n"},
    {"frr", " ip ospf message-digest-key 1 md5 Secret9\n",
	" ip ospf message-digest-key 1 md5 <removed>\n"},
    {"frr", " ip ospf authentication-key Secret9\n", " ip ospf authentication-key <removed>\n"},
    {"frr", " area 1 virtual-link 1.1.1.1 message-digest-key 3 md5 Secret9\n",
	" area 1 virtual-link 1.1.1.1 message-digest-key 3 md5 <removed>\n"},
    {"frr", " key-string Secret9\n", " key-string <removed>\n"},
    {"frr", "no password\nhostname password\n", "no password\nhostname password\n"},
    {"frr", "trailing   \n\n\tx\t\n", "trailing\n\n\tx\n"},
    {"frr", "no newline", "no newline\n"},
    {"linux", "db_password=Secret9 user=x\nAPI-KEY: Secret9\n",
	"db_password=<removed> user=x\nAPI-KEY: <removed>\n"},
    {"linux", "wpa-psk Secret9\n", "wpa-psk <removed>\n"},
    {"linux",
	"a\n-----BEGIN RSA PRIVATE KEY-----\nSecret9\nSecret9\n-----END RSA PRIVATE KEY-----\nb\n",
	"a\n-----BEGIN RSA PRIVATE KEY-----\n<removed>\n-----END RSA PRIVATE KEY-----\nb\n"},
    {"linux", "-----BEGIN OPENSSH PRIVATE KEY-----\nSecret9\n",
	"-----BEGIN OPENSSH PRIVATE KEY-----\n<removed>\n"},
    {"linux", "PasswordAuthentication yes\n", "PasswordAuthentication yes\n"},
};

static void
test_normalise(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		_cleanup_buf_ struct buf out = {0};
		normalise(
		    platform_find(bodies[i].platform), bodies[i].in, strlen(bodies[i].in), &out);
		assert_string_equal(out.p, bodies[i].out);
	}
}

/* ---- strangers' bytes: each run is the same, so a failure can be repeated */

static uint32_t
next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static void
test_platform_mutated(void **state _unused_)
{
	_cleanup_buf_ struct buf good = {0};
	uint32_t seed = 20261122;
	int taken = 0;
	assert_int_equal(io_read_file(SRCDIR "/conf/platforms.d/frr.conf", 65536, &good, NULL), 0);
	for (int i = 0; i < 1500; i++) {
		_cleanup_buf_ struct buf b = {0};
		_cleanup_platform_ struct platform *p = NULL;
		struct err e = ERR_INIT;
		buf_add(&b, good.p, good.n);
		for (uint32_t k = 1 + next_random(&seed) % 4; k > 0; k--)
			b.p[next_random(&seed) % b.n] = (char)(1 + next_random(&seed) % 255);
		if (i % 5 == 0)
			b.p[next_random(&seed) % b.n] = 0; /* cut off */
		if (read_text("mutated.conf", b.p, &p, &e) == 0)
			taken++;
		else
			assert_true(p == NULL && strstr(e.message, "mutated.conf:") && *e.hint);
	}
	assert_true(taken > 100 && taken < 1500); /* both ways were gone */
}

static void
test_pattern_and_term_random(void **state _unused_)
{
	static const char signs[] = "ab()|*+?^$[]-\\.dws{}";
	uint32_t seed = 7;
	int compiled = 0;
	for (int i = 0; i < 20000; i++) {
		char text[33] = "", line[64];
		size_t start = 0, end = 0;
		_cleanup_pattern_ struct pattern *p = NULL;
		for (uint32_t k = next_random(&seed) % 32; k > 0; k--)
			text[k - 1] = signs[next_random(&seed) % (sizeof(signs) - 1)];
		for (size_t k = 0; k < sizeof(line); k++)
			line[k] = signs[next_random(&seed) % 12];
		if (pattern_new(text, &p, NULL) == 0) {
			compiled++;
			if (pattern_find(p, line, sizeof(line), &start, &end))
				assert_true(start <= end && end <= sizeof(line));
		}
	}
	assert_true(compiled > 1000);
	struct term t = {0};
	for (int i = 0; i < 300000; i++) {
		static const char bytes[] = "\033[]KGD0129;mx \r\n\b\007\\\003";
		char c = bytes[next_random(&seed) % (sizeof(bytes) - 1)];
		term_feed(&t, &c, 1);
		assert_true(t.line <= t.text.n);
	}
	term_fini(&t);
}

static int
setup(void **state _unused_)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int
teardown(void **state _unused_)
{
	const char *none[] = {NULL};
	device_platforms_load(none, NULL);
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pattern_find),
	    cmocka_unit_test(test_pattern_bad),
	    cmocka_unit_test(test_pattern_is_linear),
	    cmocka_unit_test(test_term),
	    cmocka_unit_test(test_platform_good),
	    cmocka_unit_test(test_platform_bad),
	    cmocka_unit_test(test_platform_names),
	    cmocka_unit_test(test_platforms_load),
	    cmocka_unit_test(test_complete),
	    cmocka_unit_test(test_normalise),
	    cmocka_unit_test(test_platform_mutated),
	    cmocka_unit_test(test_pattern_and_term_random),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
