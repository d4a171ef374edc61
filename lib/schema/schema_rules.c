// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What each keyword asks for. A rule that does not concern the value's kind lets it pass, as the
 * standard has it: minLength says nothing about numbers.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "schema/schema_priv.h"

#include "base/banned.h"

/* Whole numbers count as integers in either form; those beyond 64 bits do not. */
static bool
is_whole(const json_t *v)
{
	double d = json_real_value(v);

	if (!json_is_real(v))
		return json_is_integer(v);
	return d > -9.2e18 && d < 9.2e18 && d == (double)(int64_t)d;
}

static json_int_t
whole(const json_t *v)
{
	return json_is_integer(v) ? json_integer_value(v) : (json_int_t)json_real_value(v);
}

static const char *
type_of(const json_t *v)
{
	static const char *const names[] = {
	    [JSON_OBJECT] = "object",
	    [JSON_ARRAY] = "array",
	    [JSON_STRING] = "string",
	    [JSON_INTEGER] = "integer",
	    [JSON_REAL] = "number",
	    [JSON_TRUE] = "boolean",
	    [JSON_FALSE] = "boolean",
	    [JSON_NULL] = "null",
	};

	return names[json_typeof(v)];
}

static bool
is_of_type(const json_t *v, const char *type)
{
	if (strcmp(type, "number") == 0)
		return json_is_number(v);
	if (strcmp(type, "integer") == 0)
		return is_whole(v);
	return strcmp(type, type_of(v)) == 0;
}

/* Names or values for a hint: `a`, `b`, `c`; cut when the hint would overflow. */
static void
list_values(const json_t *values, struct buf *b)
{
	char shown[SHOWN_MAX];

	for (size_t i = 0; i < json_array_size(values); i++) {
		if (b->n > 180) {
			buf_adds(b, ", ...");
			return;
		}
		buf_addf(b, "%s%s", i ? ", " : "", schema_show(json_array_get(values, i), shown));
	}
}

static int
rule_ref(struct job *j, const json_t *arg)
{
	const json_t *target = schema_resolve(j->check->root, json_string_value(arg));

	if (!target)
		return err_set(
		    j->e, ERR_BUG, "schema reference %s leads nowhere", json_string_value(arg));
	return job_same(j, target, j->e);
}

static int
rule_type(struct job *j, const json_t *arg)
{
	_cleanup_buf_ struct buf b = {0};

	if (json_is_string(arg)) {
		if (is_of_type(j->doc, json_string_value(arg)))
			return 0;
		buf_adds(&b, json_string_value(arg));
	}
	for (size_t i = 0; i < json_array_size(arg); i++) {
		const char *name = json_string_value(json_array_get(arg, i));

		if (is_of_type(j->doc, name))
			return 0;
		buf_addf(&b, "%s%s", i ? " or " : "", name);
	}
	job_fail(j, "is of type %s, not %s", type_of(j->doc), b.p);
	err_hint(j->e, "Give a value of type %s.", b.p);
	return -ERR_INVALID;
}

static int
rule_enum(struct job *j, const json_t *arg)
{
	_cleanup_buf_ struct buf b = {0};

	for (size_t i = 0; i < json_array_size(arg); i++) {
		int r = job_equal(j, j->doc, json_array_get(arg, i));

		if (r)
			return r < 0 ? r : 0;
	}
	list_values(arg, &b);
	job_fail(j, "is not one of the legal values");
	err_hint(j->e, "Use one of: %s.", b.p);
	return -ERR_INVALID;
}

static int
rule_const(struct job *j, const json_t *arg)
{
	char shown[SHOWN_MAX];
	int r = job_equal(j, j->doc, arg);

	if (r)
		return r < 0 ? r : 0;
	job_fail(j, "is not the only legal value");
	err_hint(j->e, "It can only be %s.", schema_show(arg, shown));
	return -ERR_INVALID;
}

/* -1, 0, 1 as a is less than, equal to, greater than b. Two integers compare exactly. */
static int
compare(const json_t *a, const json_t *b)
{
	double x, y;

	if (json_is_integer(a) && json_is_integer(b)) {
		json_int_t i = json_integer_value(a), k = json_integer_value(b);

		return (i > k) - (i < k);
	}
	x = json_number_value(a);
	y = json_number_value(b);
	return (x > y) - (x < y);
}

static int
out_of_bounds(struct job *j, const json_t *arg, const char *is, const char *must_be)
{
	char shown[SHOWN_MAX];

	schema_show(arg, shown);
	job_fail(j, "is %s %s", is, shown);
	err_hint(j->e, "It must be %s %s.", must_be, shown);
	return -ERR_INVALID;
}

static int
rule_minimum(struct job *j, const json_t *arg)
{
	return json_is_number(j->doc) && compare(j->doc, arg) < 0
		   ? out_of_bounds(j, arg, "less than", "at least")
		   : 0;
}

static int
rule_maximum(struct job *j, const json_t *arg)
{
	return json_is_number(j->doc) && compare(j->doc, arg) > 0
		   ? out_of_bounds(j, arg, "more than", "at most")
		   : 0;
}

static int
rule_exclusive_minimum(struct job *j, const json_t *arg)
{
	return json_is_number(j->doc) && compare(j->doc, arg) <= 0
		   ? out_of_bounds(j, arg, "not more than", "more than")
		   : 0;
}

static int
rule_exclusive_maximum(struct job *j, const json_t *arg)
{
	return json_is_number(j->doc) && compare(j->doc, arg) >= 0
		   ? out_of_bounds(j, arg, "not less than", "less than")
		   : 0;
}

static int
rule_multiple_of(struct job *j, const json_t *arg)
{
	json_int_t unit = json_integer_value(arg);

	if (!json_is_number(j->doc))
		return 0;
	if (is_whole(j->doc) && whole(j->doc) % unit == 0)
		return 0;
	return out_of_bounds(j, arg, "no multiple of", "a multiple of");
}

/* For lengths and counts: noun in the plural. */
static int
bad_count(struct job *j, size_t have, const json_t *arg, const char *noun, bool too_few)
{
	job_fail(j, "has %zu %s, %s than %lld", have, noun, too_few ? "fewer" : "more",
	    (long long)json_integer_value(arg));
	err_hint(j->e, "Give %s %lld %s.", too_few ? "at least" : "at most",
	    (long long)json_integer_value(arg), noun);
	return -ERR_INVALID;
}

static int
at_least(struct job *j, size_t have, const json_t *arg, const char *noun)
{
	return (json_int_t)have < json_integer_value(arg) ? bad_count(j, have, arg, noun, true) : 0;
}

static int
at_most(struct job *j, size_t have, const json_t *arg, const char *noun)
{
	return (json_int_t)have > json_integer_value(arg) ? bad_count(j, have, arg, noun, false)
							  : 0;
}

static int
rule_min_length(struct job *j, const json_t *arg)
{
	const char *s = json_string_value(j->doc);

	return s ? at_least(j, schema_characters(s), arg, "characters") : 0;
}

static int
rule_max_length(struct job *j, const json_t *arg)
{
	const char *s = json_string_value(j->doc);

	return s ? at_most(j, schema_characters(s), arg, "characters") : 0;
}

static int
rule_pattern(struct job *j, const json_t *arg)
{
	const char *pattern = json_string_value(arg);
	char cut[CUT_MAX];
	const char *s = json_string_value(j->doc);
	int r = s ? pattern_matches(pattern, s) : 1;

	if (r > 0)
		return 0;
	if (r < 0)
		job_fail(j, "is longer than %d bytes, too long to be matched with a pattern",
		    SCHEMA_TEXT_MAX);
	else
		job_fail(j, "does not match the pattern %s", schema_cut(pattern, 100, cut));
	err_hint(j->e, "It must match %s.", schema_cut(pattern, 200, cut));
	return -ERR_INVALID;
}

static int
rule_format(struct job *j, const json_t *arg)
{
	const char *name = json_string_value(arg), *s = json_string_value(j->doc);
	format_fn *fn = s ? format_find(name) : NULL;

	if (!fn || fn(s))
		return 0;
	job_fail(j, "is not a valid %.40s", name);
	err_hint(j->e, "Give a text in the format %.40s.", name);
	return -ERR_INVALID;
}

static int
rule_min_items(struct job *j, const json_t *arg)
{
	return json_is_array(j->doc) ? at_least(j, json_array_size(j->doc), arg, "items") : 0;
}

static int
rule_max_items(struct job *j, const json_t *arg)
{
	return json_is_array(j->doc) ? at_most(j, json_array_size(j->doc), arg, "items") : 0;
}

static int
rule_unique_items(struct job *j, const json_t *arg)
{
	size_t n = json_is_true(arg) ? json_array_size(j->doc) : 0;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < i; k++) {
			int r = job_equal(j, json_array_get(j->doc, i), json_array_get(j->doc, k));

			if (r < 0)
				return r;
			if (r == 0)
				continue;
			job_fail(j, "has the same item at %zu and %zu", k, i);
			err_hint(j->e, "Give each item once.");
			return -ERR_INVALID;
		}
	}
	return 0;
}

static int
rule_items(struct job *j, const json_t *arg)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(j->doc); i++)
		r = job_item(j, arg, i, json_array_get(j->doc, i));
	return r;
}

static int
rule_min_properties(struct job *j, const json_t *arg)
{
	return json_is_object(j->doc) ? at_least(j, json_object_size(j->doc), arg, "members") : 0;
}

static int
rule_max_properties(struct job *j, const json_t *arg)
{
	return json_is_object(j->doc) ? at_most(j, json_object_size(j->doc), arg, "members") : 0;
}

/* The field of the error is the missing member itself. */
static int
rule_required(struct job *j, const json_t *arg)
{
	char cut[CUT_MAX], text[CUT_MAX];

	for (size_t i = 0; json_is_object(j->doc) && i < json_array_size(arg); i++) {
		const char *name = json_string_value(json_array_get(arg, i));
		struct place place = {j->place, name, 0};
		struct job missing = *j;
		const char *meaning;

		if (json_object_get(j->doc, name))
			continue;
		missing.place = &place;
		job_fail_plain(
		    &missing, "the required member \"%s\" is missing", schema_cut(name, 80, cut));
		meaning =
		    json_get_str(json_object_get(json_object_get(j->schema, "properties"), name),
			"description", "");
		err_hint(j->e, "Add \"%s\".%s%s", cut, *meaning ? " It is: " : "",
		    schema_cut(meaning, 150, text));
		return -ERR_INVALID;
	}
	return 0;
}

static int
rule_properties(struct job *j, const json_t *arg)
{
	const char *name;
	json_t *schema;
	int r;

	json_object_foreach((json_t *)arg, name, schema)
	{
		const json_t *v = json_object_get(j->doc, name);

		if (v && (r = job_member(j, schema, name, v)) < 0)
			return r;
	}
	return 0;
}

/* Its value is not shown: a secret under a mistyped name is one still. */
static int
unknown_member(struct job *j, const char *name)
{
	char cut[CUT_MAX];
	struct place place = {j->place, name, 0};
	struct job member = *j;
	_cleanup_buf_ struct buf b = {0};
	const char *known;
	json_t *schema;

	member.place = &place;
	json_object_foreach(json_object_get(j->schema, "properties"), known, schema)
	{
		if (b.n < 180)
			buf_addf(&b, "%s%s", b.n ? ", " : "", schema_cut(known, 60, cut));
	}
	job_fail_plain(&member, "the member \"%s\" is not known here", schema_cut(name, 80, cut));
	err_hint(j->e, "Leave it out or correct its name; known are: %s.", b.n ? b.p : "none");
	return -ERR_INVALID;
}

static int
rule_additional_properties(struct job *j, const json_t *arg)
{
	const json_t *known = json_object_get(j->schema, "properties");
	const char *name;
	json_t *v;
	int r;

	if (!json_is_object(j->doc))
		return 0;
	json_object_foreach((json_t *)j->doc, name, v)
	{
		if (json_object_get(known, name))
			continue;
		r = json_is_false(arg) ? unknown_member(j, name) : job_member(j, arg, name, v);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
rule_all_of(struct job *j, const json_t *arg)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(arg); i++)
		r = job_same(j, json_array_get(arg, i), j->e);
	return r;
}

/* A quiet check ended without an answer; say so aloud. */
static int
undecided(struct job *j, int r)
{
	err_set(j->e, (enum err_code)(-r), "the value cannot be checked within the limits");
	err_hint(j->e, "Send a smaller or simpler value.");
	return r;
}

/* How many alternatives fit, up to `enough`; negative: the check itself ended. */
static int
count_fitting(struct job *j, const json_t *list, int enough)
{
	int fit = 0;

	for (size_t i = 0; fit < enough && i < json_array_size(list); i++) {
		int r = job_same(j, json_array_get(list, i), NULL);

		if (r < 0 && r != -ERR_INVALID)
			return undecided(j, r);
		fit += r == 0;
	}
	return fit;
}

static int
fits_none(struct job *j, const json_t *list)
{
	struct err first = ERR_INIT;
	char cut[CUT_MAX];

	if (!j->e)
		return -ERR_INVALID;
	job_same(j, json_array_get(list, 0), &first);
	job_fail(j, "fits none of the %zu alternatives", json_array_size(list));
	err_hint(
	    j->e, "For the first one: %s %s.", first.field, schema_cut(first.message, 160, cut));
	return -ERR_INVALID;
}

static int
rule_any_of(struct job *j, const json_t *arg)
{
	int fit = count_fitting(j, arg, 1);

	return fit < 0 ? fit : fit ? 0 : fits_none(j, arg);
}

static int
rule_one_of(struct job *j, const json_t *arg)
{
	int fit = count_fitting(j, arg, 2);

	if (fit < 0 || fit == 1)
		return fit < 0 ? fit : 0;
	if (fit == 0)
		return fits_none(j, arg);
	job_fail(j, "fits more than one of the %zu alternatives", json_array_size(arg));
	err_hint(j->e, "Make it fit exactly one.");
	return -ERR_INVALID;
}

static int
rule_not(struct job *j, const json_t *arg)
{
	int r = job_same(j, arg, NULL);

	if (r == -ERR_INVALID)
		return 0;
	if (r < 0)
		return undecided(j, r);
	job_fail(j, "is what the schema rules out");
	err_hint(j->e, "Give another value.");
	return -ERR_INVALID;
}

static int
rule_if(struct job *j, const json_t *arg)
{
	int r = job_same(j, arg, NULL);
	const json_t *branch = json_object_get(j->schema, r == 0 ? "then" : "else");

	if (r < 0 && r != -ERR_INVALID)
		return undecided(j, r);
	return branch ? job_same(j, branch, j->e) : 0;
}

const struct keyword schema_keywords[] = {
    {"$ref", KIND_REF, rule_ref},
    {"type", KIND_TYPE, rule_type},
    {"const", KIND_ANNOTATION, rule_const},
    {"enum", KIND_ENUM, rule_enum},
    {"required", KIND_NAMES, rule_required},
    {"additionalProperties", KIND_SCHEMA, rule_additional_properties},
    {"properties", KIND_SCHEMA_MAP, rule_properties},
    {"minProperties", KIND_COUNT, rule_min_properties},
    {"maxProperties", KIND_COUNT, rule_max_properties},
    {"minItems", KIND_COUNT, rule_min_items},
    {"maxItems", KIND_COUNT, rule_max_items},
    {"items", KIND_SCHEMA, rule_items},
    {"uniqueItems", KIND_BOOL, rule_unique_items},
    {"minLength", KIND_COUNT, rule_min_length},
    {"maxLength", KIND_COUNT, rule_max_length},
    {"format", KIND_FORMAT, rule_format},
    {"pattern", KIND_PATTERN, rule_pattern},
    {"minimum", KIND_NUMBER, rule_minimum},
    {"maximum", KIND_NUMBER, rule_maximum},
    {"exclusiveMinimum", KIND_NUMBER, rule_exclusive_minimum},
    {"exclusiveMaximum", KIND_NUMBER, rule_exclusive_maximum},
    {"multipleOf", KIND_MULTIPLE, rule_multiple_of},
    {"allOf", KIND_SCHEMA_LIST, rule_all_of},
    {"anyOf", KIND_SCHEMA_LIST, rule_any_of},
    {"oneOf", KIND_SCHEMA_LIST, rule_one_of},
    {"not", KIND_SCHEMA, rule_not},
    {"if", KIND_SCHEMA, rule_if},
    {"then", KIND_SCHEMA, NULL},
    {"else", KIND_SCHEMA, NULL},
    {"definitions", KIND_SCHEMA_MAP, NULL},
    {"$defs", KIND_SCHEMA_MAP, NULL},
    {"$schema", KIND_ANNOTATION, NULL},
    {"$id", KIND_ANNOTATION, NULL},
    {"$comment", KIND_ANNOTATION, NULL},
    {"title", KIND_ANNOTATION, NULL},
    {"description", KIND_ANNOTATION, NULL},
    {"default", KIND_ANNOTATION, NULL},
    {"examples", KIND_ANNOTATION, NULL},
    {"readOnly", KIND_BOOL, NULL},
    {"writeOnly", KIND_BOOL, NULL},
    {NULL},
};
