// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * lib/schema: errors by hand, bounds, and the draft-07 files of Debian's json-schema-test-suite, if
 * they are there. What of the suite is left out stands in the tables below with the reason; a group
 * that schema_check() refuses without being listed fails the test, and so does a listed one that it
 * takes.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/jsonx.h"

#include "schema/schema.h"

#include "base/banned.h"

#define SUITE "/usr/share/json-schema-test-suite/tests/draft7"

static json_t *
parse(const char *text)
{
	struct err e = ERR_INIT;
	json_t *j = json_parse(text, strlen(text), &json_limits_frame, &e);

	if (!j)
		fail_msg("%s: %s", text, e.message);
	return j;
}

static int
validate(const char *schema, const char *doc, struct err *e)
{
	_cleanup_json_ json_t *s = parse(schema);
	_cleanup_json_ json_t *d = parse(doc);

	memset(e, 0, sizeof(*e));
	if (schema_check(s, e) < 0)
		fail_msg("%s: %s", schema, e->message);
	return schema_validate(s, d, "/parameters", e);
}

static const char backup_schema[] =
    "{'type':'object','required':['platform'],'additionalProperties':false,'properties':{"
    "'platform':{'enum':['frr','linux'],'description':'the kind of device'},"
    "'port':{'type':'integer','minimum':1,'maximum':65535},"
    "'name':{'type':'string','minLength':2,'maxLength':4},"
    "'hosts':{'type':'array','items':{'type':'string','format':'ipv4'},'uniqueItems':true},"
    "'a/b~c':{'type':'null'},"
    "'password':{'type':'string','minLength':30,'x-takt-secret':true},"
    "'way':{'anyOf':[{'const':'ssh'},{'type':'integer'}]}}}";

struct case_of {
	const char *doc, *field, *message, *hint;
};

static void
quotes(char *s)
{
	for (; *s; s++)
		if (*s == '\'')
			*s = '"';
}

static void
test_errors(void **state)
{
	static const struct case_of cases[] = {
	    {"{}", "/parameters/platform", "the required member \"platform\" is missing",
		"Add \"platform\". It is: the kind of device"},
	    {"{'platform':'ios'}", "/parameters/platform", "\"ios\" is not one of the legal values",
		"Use one of: \"frr\", \"linux\"."},
	    {"{'platform':'frr','port':70000}", "/parameters/port", "70000 is more than 65535",
		"It must be at most 65535."},
	    {"{'platform':'frr','port':'22'}", "/parameters/port",
		"\"22\" is of type string, not integer", "Give a value of type integer."},
	    {"{'platform':'frr','prot':22}", "/parameters/prot",
		"the member \"prot\" is not known here",
		"Leave it out or correct its name; known are: platform, port, name, hosts, a/b~c, "
		"password, "
		"way."},
	    {"{'platform':'frr','name':'\u00e4'}", "/parameters/name",
		"\"\u00e4\" has 1 characters, fewer than 2", "Give at least 2 characters."},
	    {"{'platform':'frr','hosts':['10.0.0.1','10.0.0']}", "/parameters/hosts/1",
		"\"10.0.0\" is not a valid ipv4", "Give a text in the format ipv4."},
	    {"{'platform':'frr','hosts':['10.0.0.1','10.0.0.1']}", "/parameters/hosts",
		"the array has the same item at 0 and 1", "Give each item once."},
	    {"{'platform':'frr','a/b~c':1}", "/parameters/a~1b~0c",
		"1 is of type integer, not null", "Give a value of type null."},
	    {"{'platform':'frr','password':'hunter2'}", "/parameters/password",
		"the hidden value has 7 characters, fewer than 30", "Give at least 30 characters."},
	    {"{'platform':'frr','way':'telnet'}", "/parameters/way",
		"\"telnet\" fits none of the 2 alternatives",
		"For the first one: /parameters/way \"telnet\" is not the only legal value."},
	    {"[]", "/parameters", "the array is of type array, not object",
		"Give a value of type object."},
	};
	_cleanup_free_ char *schema = xstrdup(backup_schema);

	(void)state;
	quotes(schema);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *doc = xstrdup(cases[i].doc);
		struct err e;

		quotes(doc);
		assert_int_equal(validate(schema, doc, &e), -ERR_INVALID);
		assert_string_equal(e.field, cases[i].field);
		assert_string_equal(e.message, cases[i].message);
		assert_string_equal(e.hint, cases[i].hint);
	}
}

/* Texts are cut between characters, so that an error can always be written as JSON. */
static void
test_cut_texts(void **state)
{
	static const char schema[] =
	    "{\"additionalProperties\":false,\"properties\":{\"x\":{\"enum\":[1]}}}";
	struct err e;

	(void)state;
	for (int shift = 0; shift < 4; shift++) {
		_cleanup_buf_ struct buf doc = {0};
		_cleanup_json_ json_t *field = NULL, *message = NULL;

		buf_addf(&doc, "{\"%.*s", shift, "abc");
		for (int i = 0; i < 60; i++)
			buf_adds(&doc, "\u20ac");
		buf_adds(&doc, "\":1}");
		assert_int_equal(validate(schema, doc.p, &e), -ERR_INVALID);
		field = json_string(e.field);
		message = json_string(e.message);
		assert_non_null(field);
		assert_non_null(message);
	}
}

static void
test_refused_schemas(void **state)
{
	static const struct case_of cases[] = {
	    {"{'properties':{'a':{'minimun':1}}}", "/properties/a/minimun", "unknown keyword",
		"x-takt-"},
	    {"{'type':'text'}", "/type", "not a type", "Types are"},
	    {"{'items':[{}]}", "/items", "not a schema", "one schema holds for all items"},
	    {"{'$ref':'#/definitions/x'}", "/$ref", "leads to no schema", "#/definitions/NAME"},
	    {"{'$ref':'http://example.com/s'}", "/$ref", "leads to no schema", "local"},
	    {"{'definitions':{'x':{}},'$ref':'#/definitions/x','type':'null'}", "/type",
		"beside $ref", "allOf"},
	    {"{'$ref':'#/x-takt-y','x-takt-y':{'type':7}}", "/$ref/type", "not a type",
		"Types are"},
	    {"{'pattern':'\\\\d+'}", "/pattern", "backslash only quotes punctuation",
		"[0-9] for \\d"},
	    {"{'pattern':'(?:a)'}", "/pattern", "special groups", "plain groups"},
	    {"{'pattern':'a*?'}", "/pattern", "nothing to repeat", "greedy"},
	    {"{'pattern':'((a{200}){200}){200}'}", "/pattern", "not a repeat count", "POSIX"},
	    {"{'pattern':'(a'}", "/pattern", "pattern '(a'", "POSIX"},
	    {"{'format':'postcode'}", "/format", "unknown format", "Formats are uuid"},
	    {"{'minLength':-1}", "/minLength", "not a count", "0 or more"},
	    {"{'multipleOf':0.5}", "/multipleOf", "not an integer of 1 or more", "whole numbers"},
	    {"{'enum':[]}", "/enum", "not a list of values", "at least one"},
	    {"{'required':['a',1]}", "/required", "not a list of names", "strings"},
	    {"{'anyOf':[]}", "/anyOf", "not a list of schemas", "at least one"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *text = xstrdup(cases[i].doc);
		struct err e = ERR_INIT;

		quotes(text);
		{
			_cleanup_json_ json_t *schema = parse(text);

			if (schema_check(schema, &e) != -ERR_INVALID)
				fail_msg("taken: %s", text);
		}
		assert_string_equal(e.field, cases[i].field);
		if (!strstr(e.message, cases[i].message) || !strstr(e.hint, cases[i].hint))
			fail_msg("%s: %s (%s)", text, e.message, e.hint);
	}
}

static void
test_bounds(void **state)
{
	_cleanup_buf_ struct buf doc = {0}, schema = {0};
	struct err e;

	(void)state;
	/* A schema that refers to itself without going down. */
	assert_int_equal(validate("{\"$ref\":\"#\"}", "1", &e), -ERR_TOO_BIG);
	assert_int_equal(validate("{\"not\":{\"$ref\":\"#\"}}", "1", &e), -ERR_TOO_BIG);
	assert_true(e.message[0]);
	/* Every level doubles the work: 2 to the 40. */
	assert_int_equal(
	    validate("{\"anyOf\":[{\"$ref\":\"#/$defs/a0\"},{\"$ref\":\"#/$defs/a0\"}],\"$defs\":{"
		     "\"a0\":{\"anyOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}}}",
		"1", &e),
	    -ERR_TOO_BIG);
	/* Comparing each with each. */
	buf_adds(&doc, "[0");
	for (int i = 1; i < 15000; i++)
		buf_addf(&doc, ",%d", i);
	buf_adds(&doc, "]");
	assert_int_equal(validate("{\"uniqueItems\":true}", doc.p, &e), -ERR_TOO_BIG);
	/* A schema nested beyond the limit. */
	for (int i = 0; i < 100; i++)
		buf_adds(&schema, "{\"not\":");
	buf_adds(&schema, "true");
	for (int i = 0; i < 100; i++)
		buf_adds(&schema, "}");
	{
		struct json_limits deep = {1 << 20, 200, 2000};
		_cleanup_json_ json_t *s = json_parse(schema.p, schema.n, &deep, &e);

		assert_int_equal(schema_check(s, &e), -ERR_INVALID);
		assert_non_null(strstr(e.message, "nested too deeply"));
	}
	/* A text too long for a pattern is refused, not matched. */
	buf_clear(&doc);
	buf_addf(&doc, "\"%05000d\"", 1);
	assert_int_equal(validate("{\"pattern\":\"^0\"}", doc.p, &e), -ERR_INVALID);
	assert_non_null(strstr(e.message, "too long"));
}

static void
test_numbers(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(validate("{\"enum\":[1]}", "1.0", &e), 0);
	assert_int_equal(validate("{\"type\":\"integer\"}", "2.0", &e), 0);
	assert_int_equal(validate("{\"type\":\"integer\"}", "1e300", &e), -ERR_INVALID);
	assert_int_equal(validate("{\"multipleOf\":3}", "9.0", &e), 0);
	assert_int_equal(validate("{\"multipleOf\":3}", "9.5", &e), -ERR_INVALID);
	assert_int_equal(
	    validate("{\"maximum\":9007199254740992}", "9007199254740993", &e), -ERR_INVALID);
	assert_string_equal(e.message, "9007199254740993 is more than 9007199254740992");
}

/* Whole files of the suite that are about keywords outside of the subset. */
static const char *const files[] = {
    "additionalProperties",
    "allOf",
    "anyOf",
    "boolean_schema",
    "const",
    "default",
    "definitions",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "if-then-else",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "properties",
    "ref",
    "required",
    "type",
    "uniqueItems",
    "optional/zeroTerminatedFloats",
    "optional/format/date-time",
    "optional/format/hostname",
    "optional/format/ipv4",
    "optional/format/ipv6",
};

static const struct {
	const char *file, *reason;
} files_left_out[] = {
    {"additionalItems", "tuples are not in the subset"},
    {"contains", "not in the subset"},
    {"dependencies", "not in the subset"},
    {"patternProperties", "not in the subset"},
    {"propertyNames", "not in the subset"},
    {"refRemote", "references are local"},
    {"optional/bignum", "numbers are 64-bit integers and doubles"},
    {"optional/content", "not in the subset"},
    {"optional/ecmascript-regex", "patterns are POSIX extended"},
    {"optional/format/*", "uuid, date-time, ipv4, ipv6 and hostname are the formats of the subset"},
};

/* Groups whose schema must be refused, by a piece of schema_check()'s message. */
static const struct {
	const char *file, *group, *reason;
} refused[] = {
    {"additionalProperties", "additionalProperties being false does not allow other properties",
	"unknown keyword"},
    {"additionalProperties", "non-ASCII pattern with additionalProperties", "unknown keyword"},
    {"properties", "properties, patternProperties, additionalProperties interaction",
	"unknown keyword"},
    /* A reference to the standard's own address. */
    {"definitions", "valid definition", "no schema of this document"},
    {"definitions", "invalid definition", "no schema of this document"},
    {"ref", "remote ref, containing refs itself", "no schema of this document"},
    /* References to an $id. */
    {"ref", "Recursive references between schemas", "no schema of this document"},
    /* Tuples. */
    {"items", "an array of schemas for items", "not a schema"},
    {"items", "items with boolean schemas", "not a schema"},
    {"ref", "relative pointer ref to array", "not a schema"},
    /* Only whole multiples. */
    {"multipleOf", "by number", "not an integer of 1 or more"},
    {"multipleOf", "by small number", "not an integer of 1 or more"},
    /* Schemas stored under names that are no keywords. */
    {"ref", "escaped pointer ref", "unknown keyword"},
    {"ref", "ref overrides any sibling keywords", "beside $ref"},
};

static const char *
refusal(const char *file, const char *group)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (strcmp(refused[i].file, file) == 0 && strcmp(refused[i].group, group) == 0)
			return refused[i].reason;
	return NULL;
}

struct tally {
	int passed, refused;
};

static void
run_group(const char *file, const json_t *group, struct tally *t)
{
	const char *name = json_get_str(group, "description", "?");
	const json_t *schema = json_object_get(group, "schema"),
		     *tests = json_object_get(group, "tests");
	const char *expected = refusal(file, name);
	struct err e = ERR_INIT;

	if (schema_check(schema, &e) < 0) {
		if (!expected || !strstr(e.message, expected))
			fail_msg(
			    "%s: %s: refused: %s: %s (%s)", file, name, e.field, e.message, e.hint);
		t->refused++;
		return;
	}
	if (expected)
		fail_msg("%s: %s: should be refused", file, name);
	for (size_t i = 0; i < json_array_size(tests); i++) {
		const json_t *test = json_array_get(tests, i);
		int r = schema_validate(schema, json_object_get(test, "data"), "", &e);

		if (r != (json_get_bool(test, "valid", 0) ? 0 : -ERR_INVALID))
			fail_msg("%s: %s: %s: got %d, %s", file, name,
			    json_get_str(test, "description", "?"), r, r < 0 ? e.message : "valid");
		t->passed++;
	}
}

static void
test_suite(void **state)
{
	struct tally t = {0};

	(void)state;
	if (access(SUITE, R_OK) < 0) {
		print_message("json-schema-test-suite is not installed\n");
		skip();
	}
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s.json", SUITE, files[i]);
		_cleanup_buf_ struct buf text = {0};

		assert_int_equal(io_read_file(path, 1 << 20, &text, NULL), 0);
		{
			_cleanup_json_ json_t *groups = parse(text.p);

			for (size_t k = 0; k < json_array_size(groups); k++)
				run_group(files[i], json_array_get(groups, k), &t);
		}
	}
	print_message("json-schema-test-suite draft-07: %d tests of %zu files passed, %d groups "
		      "refused as listed\n",
	    t.passed, ARRAY_LEN(files), t.refused);
	for (size_t i = 0; i < ARRAY_LEN(files_left_out); i++)
		print_message(
		    "left out: %s: %s\n", files_left_out[i].file, files_left_out[i].reason);
	assert_int_equal(t.refused, ARRAY_LEN(refused));
	assert_true(t.passed > 250);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_errors),
	    cmocka_unit_test(test_cut_texts),
	    cmocka_unit_test(test_refused_schemas),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_suite),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
