// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The walk: one value against one schema, keyword by keyword from the table; places, references,
 * equality, and the budget that ends every walk.
 */
#include "schema/schema.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "schema/schema_priv.h"

#include "base/banned.h"

int
job_charge(struct job *j)
{
	if (j->check->work++ < SCHEMA_WORK_MAX)
		return 0;
	err_set(j->e, ERR_TOO_BIG, "checking the value takes more than %d steps", SCHEMA_WORK_MAX);
	err_hint(j->e, "Send fewer or simpler values.");
	return -ERR_TOO_BIG;
}

/* A key as a token of a JSON pointer. */
static void
add_token(struct buf *b, const char *key)
{
	buf_addc(b, '/');
	for (; *key; key++) {
		if (*key == '~' || *key == '/')
			buf_adds(b, *key == '~' ? "~0" : "~1");
		else
			buf_addc(b, *key);
	}
}

static void
add_place(struct buf *b, const struct place *p)
{
	if (!p)
		return;
	add_place(b, p->up);
	if (p->key)
		add_token(b, p->key);
	else
		buf_addf(b, "/%zu", p->index);
}

static bool
is_secret(const json_t *schema)
{
	return json_get_bool(schema, "x-takt-secret", 0) || json_get_bool(schema, "writeOnly", 0);
}

static void
fail(struct job *j, const char *value, const char *fmt, va_list ap)
{
	_cleanup_buf_ struct buf b = {0};
	char reason[220], cut[CUT_MAX];

	vsnprintf(reason, sizeof(reason), fmt, ap);
	buf_adds(&b, j->check->at);
	add_place(&b, j->place);
	err_set(j->e, ERR_INVALID, "%s%s%s", value, *value ? " " : "", reason);
	err_field(j->e, "%s", schema_cut(b.n ? b.p : "", 95, cut));
}

int
job_fail(struct job *j, const char *fmt, ...)
{
	char shown[SHOWN_MAX];
	va_list ap;

	if (!j->e)
		return -ERR_INVALID;
	va_start(ap, fmt);
	fail(j, j->is_hidden ? "the hidden value" : schema_show(j->doc, shown), fmt, ap);
	va_end(ap);
	return -ERR_INVALID;
}

int
job_fail_plain(struct job *j, const char *fmt, ...)
{
	va_list ap;

	if (!j->e)
		return -ERR_INVALID;
	va_start(ap, fmt);
	fail(j, "", fmt, ap);
	va_end(ap);
	return -ERR_INVALID;
}

int
job_run(struct job *j)
{
	const json_t *ref;
	int r = job_charge(j);

	if (r < 0)
		return r;
	if (j->check->depth >= SCHEMA_DEPTH_MAX) {
		err_set(j->e, ERR_TOO_BIG, "value or schema is nested deeper than %d levels",
		    SCHEMA_DEPTH_MAX);
		err_hint(j->e,
		    "Nest less; a schema that refers to itself must go down one level each time.");
		return -ERR_TOO_BIG;
	}
	j->is_hidden = j->is_hidden || is_secret(j->schema);
	if (json_is_boolean(j->schema)) {
		if (json_is_true(j->schema))
			return 0;
		job_fail(j, "is not allowed here");
		err_hint(j->e, "Leave it out.");
		return -ERR_INVALID;
	}
	/* As in draft-07, nothing stands beside a reference (schema_check() refuses what would). */
	ref = json_object_get(j->schema, "$ref");
	j->check->depth++;
	for (const struct keyword *k = schema_keywords; k->name && r == 0; k++) {
		const json_t *arg = json_object_get(j->schema, k->name);

		if (arg && k->rule && (!ref || k->kind == KIND_REF))
			r = k->rule(j, arg);
	}
	j->check->depth--;
	return r;
}

int
job_same(struct job *j, const json_t *schema, struct err *e)
{
	struct job sub = {j->check, schema, j->doc, j->place, e, j->is_hidden};

	return job_run(&sub);
}

int
job_member(struct job *j, const json_t *schema, const char *key, const json_t *value)
{
	struct place place = {j->place, key, 0};
	struct job sub = {j->check, schema, value, &place, j->e, j->is_hidden};

	return job_run(&sub);
}

int
job_item(struct job *j, const json_t *schema, size_t index, const json_t *value)
{
	struct place place = {j->place, NULL, index};
	struct job sub = {j->check, schema, value, &place, j->e, j->is_hidden};

	return job_run(&sub);
}

static int
arrays_equal(struct job *j, const json_t *a, const json_t *b)
{
	int r = json_array_size(a) == json_array_size(b);

	for (size_t i = 0; r == 1 && i < json_array_size(a); i++)
		r = job_equal(j, json_array_get(a, i), json_array_get(b, i));
	return r;
}

static int
objects_equal(struct job *j, const json_t *a, const json_t *b)
{
	int r = json_object_size(a) == json_object_size(b);
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)a, key, v)
	{
		const json_t *other = json_object_get(b, key);

		if (r == 1)
			r = other ? job_equal(j, v, other) : 0;
	}
	return r;
}

int
job_equal(struct job *j, const json_t *a, const json_t *b)
{
	int r = job_charge(j);

	if (r < 0)
		return r;
	if (json_is_integer(a) && json_is_integer(b))
		return json_integer_value(a) == json_integer_value(b);
	if (json_is_number(a) && json_is_number(b))
		return json_number_value(a) == json_number_value(b);
	if (json_typeof(a) != json_typeof(b))
		return 0;
	if (json_is_array(a))
		return arrays_equal(j, a, b);
	if (json_is_object(a))
		return objects_equal(j, a, b);
	return json_equal(a, b);
}

/* One token of a URI fragment's JSON pointer, unquoted; false if it is malformed or too long. */
static bool
take_token(const char **p, char *out, size_t n)
{
	size_t i = 0;
	const char *s = *p;

	while (*s && *s != '/') {
		char c = *s++;

		if (c == '%') {
			char hex[3] = {s[0], s[0] ? s[1] : 0, 0};

			if (!isxdigit((unsigned char)hex[0]) || !isxdigit((unsigned char)hex[1]))
				return false;
			c = (char)strtol(hex, NULL, 16);
			s += 2;
		}
		if (i + 1 >= n)
			return false;
		out[i++] = c;
	}
	out[i] = 0;
	*p = s;
	/* ~1 and ~0 after the percent signs, as RFC 6901 has it. */
	for (i = 0, s = out; *s; s++, i++) {
		bool quoted = *s == '~' && (s[1] == '0' || s[1] == '1');

		out[i] = quoted ? (s[1] == '0' ? '~' : '/') : *s;
		s += quoted;
	}
	out[i] = 0;
	return true;
}

const json_t *
schema_resolve(const json_t *root, const char *ref)
{
	char token[128];

	if (*ref++ != '#')
		return NULL;
	while (root && *ref) {
		if (*ref++ != '/' || !take_token(&ref, token, sizeof(token)))
			return NULL;
		if (json_is_array(root))
			root = isdigit((unsigned char)token[0])
				   ? json_array_get(root, strtoul(token, NULL, 10))
				   : NULL;
		else
			root = json_object_get(root, token);
	}
	return json_is_object(root) || json_is_boolean(root) ? root : NULL;
}

int
schema_validate(const json_t *schema, const json_t *doc, const char *at, struct err *e)
{
	struct check check = {.root = schema, .at = at};
	struct job j = {&check, schema, doc, NULL, e, false};

	return job_run(&j);
}
