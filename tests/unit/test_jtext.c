// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* lib/base/jtext, jflat: what is written is what jansson reads; what is read is what jansson takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/jflat.h"
#include "base/jsonx.h"
#include "base/jtext.h"

static void
integers_in_decimal(void **state)
{
	_cleanup_buf_ struct buf b = {0};

	(void)state;
	buf_addi(&b, 0);
	buf_addc(&b, ' ');
	buf_addi(&b, -12);
	buf_addc(&b, ' ');
	buf_addi(&b, INT64_MAX);
	buf_addc(&b, ' ');
	buf_addi(&b, INT64_MIN);
	assert_string_equal(b.p, "0 -12 9223372036854775807 -9223372036854775808");
}

static void
members_and_commas(void **state)
{
	_cleanup_buf_ struct buf b = {0};
	_cleanup_json_ json_t *j = json_pack("[i,i]", 1, 2);

	(void)state;
	jtext_open(&b, NULL, '{');
	jtext_str(&b, "a", "x");
	jtext_str_if(&b, "left_out", "");
	jtext_str_if(&b, "left_out", NULL);
	jtext_int(&b, "b", -3);
	jtext_open(&b, "c", '{');
	jtext_close(&b, '}');
	jtext_open(&b, "d", '[');
	jtext_bool(&b, NULL, true);
	jtext_open(&b, NULL, '{');
	jtext_bool(&b, "e", false);
	jtext_close(&b, '}');
	jtext_close(&b, ']');
	jtext_json(&b, "f", j);
	jtext_raw(&b, "g", "null");
	jtext_close(&b, '}');
	assert_string_equal(b.p,
	    "{\"a\":\"x\",\"b\":-3,\"c\":{},\"d\":[true,{\"e\":false}],\"f\":[1,2],\"g\":null}");
}

/* Every byte, alone and in pairs, as jansson would write it; what is no UTF-8 is left out. */
static void
strings_as_jansson_writes_them(void **state)
{
	(void)state;
	for (int c = 1; c < 0x10000; c++) {
		char text[4] = {(char)(c & 0xff), (char)(c >> 8), 'z', 0};
		_cleanup_buf_ struct buf b = {0};
		_cleanup_json_ json_t *want = json_string(text);

		if (!text[0])
			continue;
		jtext_str(&b, NULL, text);
		_cleanup_json_ json_t *got = json_parse(b.p, b.n, &json_limits_frame, NULL);
		assert_true(json_is_string(got));
		if (!want)
			continue;
		_cleanup_free_ char *want_text = json_text(want), *got_text = json_text(got);
		assert_string_equal(got_text, want_text);
	}
}

static void
utf8_is_kept_and_broken_utf8_left_out(void **state)
{
	static const char *const cases[][2] = {
	    {"r\xc3\xb6hre", "r\xc3\xb6hre"},
	    {"\xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x82\xac \xf0\x9f\x98\x80"},
	    {"cut \xe2\x82", "cut "},
	    {"cut \xf0\x9f\x98", "cut "},
	    {"long \xc0\xaf", "long "},
	    {"long \xe0\x80\xaf", "long "},
	    {"half \xed\xa0\x80", "half "},
	    {"far \xf4\x90\x80\x80", "far "},
	    {"\x80 tail", " tail"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_buf_ struct buf b = {0};

		jtext_str(&b, NULL, cases[i][0]);
		_cleanup_json_ json_t *got = json_parse(b.p, b.n, &json_limits_frame, NULL);
		assert_string_equal(json_string_value(got), cases[i][1]);
	}
}

static bool
reads(const char *text, struct jflat *out, char **copy)
{
	*copy = xstrdup(text);
	return jflat_read(*copy, strlen(text), out);
}

static void
flat_objects_are_read(void **state)
{
	struct jflat f;
	char *copy;

	(void)state;
	assert_true(
	    reads("{\"s\":\"text\",\"e\":\"\",\"i\":-42,\"z\":0,\"o\":{},\"a\":[],\"t\":true,"
		  "\"n\":null,\"big\":999999999999999999}",
		&f, &copy));
	assert_int_equal(f.n, 9);
	assert_string_equal(jflat_str(&f, "s", NULL), "text");
	assert_string_equal(jflat_str(&f, "e", NULL), "");
	assert_int_equal(jflat_int(&f, "i", 0), -42);
	assert_int_equal(jflat_int(&f, "z", 7), 0);
	assert_int_equal(jflat_int(&f, "big", 0), 999999999999999999);
	assert_true(jflat_is_object(&f, "o"));
	assert_false(jflat_is_object(&f, "a"));
	assert_string_equal(jflat_str(&f, "i", "no string"), "no string");
	assert_int_equal(jflat_int(&f, "s", 5), 5);
	assert_int_equal(jflat_int(&f, "absent", 6), 6);
	free(copy);
	assert_true(reads("{}", &f, &copy));
	assert_int_equal(f.n, 0);
	free(copy);
}

/* Not read, and not touched either. */
static void
all_else_is_left_to_the_parser(void **state)
{
	static const char *const cases[] = {"", "{", "[]", "{}x", "{\"a\":1", "{\"a\":1,}",
	    "{\"a\" :1}", "{ \"a\":1}", "{\"a\":1.5}", "{\"a\":1e3}", "{\"a\":01}", "{\"a\":-}",
	    "{\"a\":}", "{\"a\":1234567890123456789}", "{\"a\":\"\\n\"}", "{\"a\":\"\xc3\xb6\"}",
	    "{\"a\":{\"b\":1}}", "{\"a\":[1]}", "{\"a\":\"x}", "{\"a\":\"x\"\"b\":1}", "{a:1}",
	    "{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":tru", "{\"a\":nul}", "{\"a\":\"\t\"}", "{\"a\"}",
	    "{\"0\":0,\"1\":0,\"2\":0,\"3\":0,\"4\":0,\"5\":0,\"6\":0,\"7\":0,\"8\":0,\"9\":0,"
	    "\"a\":0,\"b\":0,\"c\":0,\"d\":0,\"e\":0,\"f\":0,\"g\":0}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct jflat f;
		char *copy;

		assert_false(reads(cases[i], &f, &copy));
		assert_int_equal(f.n, 0);
		assert_string_equal(copy, cases[i]);
		free(copy);
	}
}

/* Pieces and random changes of a good text: whatever is taken, jansson takes too and reads the same. */
static void
nothing_is_taken_that_jansson_refuses(void **state)
{
	static const char good[] =
	    "{\"unit\":\"a.1.0\",\"epoch\":3,\"next\":-7,\"result\":{},\"x\":[],"
	    "\"y\":true,\"z\":null}";
	unsigned seed = 1, taken = 0;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		char text[sizeof(good)], copy[sizeof(good)];
		struct jflat f;

		memcpy(text, good, sizeof(good));
		for (int k = 0; k < 1 + i % 3; k++)
			text[rand_r(&seed) % (sizeof(good) - 1)] =
			    good[rand_r(&seed) % (sizeof(good) - 1)];
		memcpy(copy, text, sizeof(good));
		if (!jflat_read(copy, sizeof(good) - 1, &f)) {
			assert_memory_equal(copy, text, sizeof(good));
			continue;
		}
		_cleanup_json_ json_t *j =
		    json_parse(text, sizeof(good) - 1, &json_limits_frame, NULL);
		assert_true(json_is_object(j));
		assert_int_equal(json_object_size(j), f.n);
		for (unsigned m = 0; m < f.n; m++) {
			const char *name = f.members[m].name;
			assert_int_equal(jflat_int(&f, name, 5), json_get_int(j, name, 5));
			assert_string_equal(jflat_str(&f, name, "?"), json_get_str(j, name, "?"));
		}
		taken++;
	}
	assert_true(taken > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(integers_in_decimal),
	    cmocka_unit_test(members_and_commas),
	    cmocka_unit_test(strings_as_jansson_writes_them),
	    cmocka_unit_test(utf8_is_kept_and_broken_utf8_left_out),
	    cmocka_unit_test(flat_objects_are_read),
	    cmocka_unit_test(all_else_is_left_to_the_parser),
	    cmocka_unit_test(nothing_is_taken_that_jansson_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
