// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The schema of the schema: what schema_validate() relies on is checked here once, when a plugin is
 * registered. One function a kind of keyword; nested schemas are walked with a bound on depth and
 * count.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "schema/schema_priv.h"

#include "base/banned.h"

#define SCHEMAS_MAX 5000
#define REFS_MAX 256

struct walk {
	const json_t *root;
	struct err *e;
	unsigned depth, count;
	/* Targets of references outside of the places where schemas stand; each is checked once. */
	const json_t *seen[REFS_MAX];
	unsigned seen_count;
	char at[256]; /* JSON pointer, cut when too long */
};

typedef int kind_fn(struct walk *w, const json_t *arg);

static int check_schema(struct walk *w, const json_t *schema);

static int
bad(struct walk *w, const char *message, const char *hint)
{
	char cut[CUT_MAX];

	err_set(w->e, ERR_INVALID, "schema: %s", message);
	err_field(w->e, "%s", schema_cut(w->at, 95, cut));
	err_hint(w->e, "%s", hint);
	return -ERR_INVALID;
}

/* Go down to a member; the caller puts w->at back to the length that is returned. */
static size_t
descend(struct walk *w, const char *key)
{
	size_t n = strlen(w->at);

	snprintf(w->at + n, sizeof(w->at) - n, "/%s", key);
	return n;
}

static int
check_member(struct walk *w, const char *key, const json_t *arg, kind_fn *fn)
{
	size_t n = descend(w, key);
	int r = fn(w, arg);

	if (r == 0)
		w->at[n] = 0;
	return r;
}

static int
check_anything(struct walk *w, const json_t *arg)
{
	(void)w;
	(void)arg;
	return 0;
}

static int
check_schema_list(struct walk *w, const json_t *arg)
{
	int r = 0;
	char index[24];

	if (!json_array_size(arg))
		return bad(w, "not a list of schemas", "Give an array of at least one schema.");
	for (size_t i = 0; r == 0 && i < json_array_size(arg); i++) {
		snprintf(index, sizeof(index), "%zu", i);
		r = check_member(w, index, json_array_get(arg, i), check_schema);
	}
	return r;
}

static int
check_schema_map(struct walk *w, const json_t *arg)
{
	const char *key;
	json_t *v;
	int r;

	if (!json_is_object(arg))
		return bad(
		    w, "not an object of schemas", "Give an object whose members are schemas.");
	json_object_foreach((json_t *)arg, key, v)
	{
		if ((r = check_member(w, key, v, check_schema)) < 0)
			return r;
	}
	return 0;
}

static int
check_count(struct walk *w, const json_t *arg)
{
	return json_is_integer(arg) && json_integer_value(arg) >= 0
		   ? 0
		   : bad(w, "not a count", "Give an integer of 0 or more.");
}

static int
check_number(struct walk *w, const json_t *arg)
{
	return json_is_number(arg) ? 0 : bad(w, "not a number", "Give a number.");
}

static int
check_multiple(struct walk *w, const json_t *arg)
{
	return json_is_integer(arg) && json_integer_value(arg) > 0
		   ? 0
		   : bad(w, "not an integer of 1 or more",
			 "Only multiples of whole numbers are checked.");
}

static int
check_bool(struct walk *w, const json_t *arg)
{
	return json_is_boolean(arg) ? 0 : bad(w, "not a boolean", "Give true or false.");
}

static int
check_names(struct walk *w, const json_t *arg)
{
	bool ok = json_is_array(arg);

	for (size_t i = 0; ok && i < json_array_size(arg); i++)
		ok = json_is_string(json_array_get(arg, i));
	return ok ? 0 : bad(w, "not a list of names", "Give an array of strings.");
}

static bool
is_type_name(const json_t *v)
{
	static const char *const names[] = {
	    "object", "array", "string", "integer", "number", "boolean", "null"};

	for (size_t i = 0; json_is_string(v) && i < ARRAY_LEN(names); i++)
		if (strcmp(json_string_value(v), names[i]) == 0)
			return true;
	return false;
}

static int
check_type(struct walk *w, const json_t *arg)
{
	bool ok = is_type_name(arg) || json_array_size(arg);

	for (size_t i = 0; ok && i < json_array_size(arg); i++)
		ok = is_type_name(json_array_get(arg, i));
	return ok ? 0
		  : bad(w, "not a type",
			"Types are object, array, string, integer, number, boolean and null, one "
			"or an array.");
}

static int
check_enum(struct walk *w, const json_t *arg)
{
	return json_array_size(arg)
		   ? 0
		   : bad(w, "not a list of values", "Give an array of at least one value.");
}

static int
check_pattern(struct walk *w, const json_t *arg)
{
	char cut[CUT_MAX];
	int r;

	if (!json_is_string(arg))
		return bad(w, "not a pattern", "Give a string.");
	if ((r = pattern_check(json_string_value(arg), w->e)) < 0) {
		err_push(w->e, "schema");
		err_field(w->e, "%s", schema_cut(w->at, 95, cut));
	}
	return r;
}

static int
check_format(struct walk *w, const json_t *arg)
{
	char hint[120];

	if (json_is_string(arg) && format_find(json_string_value(arg)))
		return 0;
	snprintf(hint, sizeof(hint), "Formats are %s.", format_names());
	return bad(w, "unknown format", hint);
}

static int
check_ref(struct walk *w, const json_t *arg)
{
	const json_t *target =
	    json_is_string(arg) ? schema_resolve(w->root, json_string_value(arg)) : NULL;

	if (!target)
		return bad(w, "reference leads to no schema of this document",
		    "References are local: #/definitions/NAME or #/$defs/NAME, and the name must "
		    "be there.");
	for (unsigned i = 0; i < w->seen_count; i++)
		if (w->seen[i] == target)
			return 0;
	if (w->seen_count == REFS_MAX)
		return bad(
		    w, "more than 256 different references", "Put schemas where they are used.");
	w->seen[w->seen_count++] = target;
	return check_schema(w, target);
}

static kind_fn *const kind_fns[] = {
    [KIND_ANNOTATION] = check_anything,
    [KIND_SCHEMA] = check_schema,
    [KIND_SCHEMA_LIST] = check_schema_list,
    [KIND_SCHEMA_MAP] = check_schema_map,
    [KIND_COUNT] = check_count,
    [KIND_NUMBER] = check_number,
    [KIND_MULTIPLE] = check_multiple,
    [KIND_BOOL] = check_bool,
    [KIND_NAMES] = check_names,
    [KIND_TYPE] = check_type,
    [KIND_ENUM] = check_enum,
    [KIND_PATTERN] = check_pattern,
    [KIND_FORMAT] = check_format,
    [KIND_REF] = check_ref,
};

static const struct keyword *
keyword_find(const char *name)
{
	for (const struct keyword *k = schema_keywords; k->name; k++)
		if (strcmp(k->name, name) == 0)
			return k;
	return NULL;
}

static int
check_keyword(struct walk *w, const json_t *schema, const char *name, const json_t *arg)
{
	const struct keyword *k = keyword_find(name);
	bool has_ref = json_object_get(schema, "$ref") != NULL;
	size_t n;
	int r;

	if (strncmp(name, "x-takt-", 7) == 0)
		return 0;
	n = descend(w, name);
	if (!k)
		return bad(w, "unknown keyword",
		    "Correct its name, or start it with x-takt- if it is for the dashboard.");
	if (has_ref && k->rule && k->kind != KIND_REF)
		return bad(w, "a keyword beside $ref, which draft-07 ignores",
		    "Put reference and keyword into the two schemas of an allOf.");
	if ((r = kind_fns[k->kind](w, arg)) == 0)
		w->at[n] = 0;
	return r;
}

static int
check_schema(struct walk *w, const json_t *schema)
{
	const char *name;
	json_t *arg;
	int r = 0;

	if (json_is_boolean(schema))
		return 0;
	if (!json_is_object(schema))
		return bad(w, "not a schema",
		    "A schema is an object or a boolean; one schema holds for all items.");
	if (++w->count > SCHEMAS_MAX || w->depth >= SCHEMA_DEPTH_MAX / 2)
		return bad(w, "too large or nested too deeply",
		    "At most 64 levels and 5,000 schemas in one document.");
	w->depth++;
	json_object_foreach((json_t *)schema, name, arg)
	{
		if ((r = check_keyword(w, schema, name, arg)) < 0)
			break;
	}
	w->depth--;
	return r;
}

int
schema_check(const json_t *schema, struct err *e)
{
	struct walk w = {.root = schema, .e = e};

	return check_schema(&w, schema);
}
