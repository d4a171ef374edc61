// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See jsonx.h. */
#include "base/jsonx.h"

#include <string.h>

#include "base/buf.h"
#include "base/log.h"

#include "base/banned.h"

const struct json_limits json_limits_request = {1 << 20, 32, 20000};
const struct json_limits json_limits_frame = {16 << 20, 32, 200000};

/* Count nesting and tokens without recursion, skipping strings. Syntax is jansson's business. */
static int
prescan(const char *p, size_t n, const struct json_limits *l, struct err *e)
{
	unsigned depth = 0, tokens = 0;

	for (size_t i = 0; i < n; i++) {
		switch (p[i]) {
		case '"':
			for (i++; i < n && p[i] != '"'; i++)
				if (p[i] == '\\')
					i++;
			break;
		case '[':
		case '{':
			if (++depth > l->depth)
				return err_set(e, ERR_TOO_BIG,
				    "JSON is nested deeper than %u levels", l->depth);
			tokens++;
			break;
		case ']':
		case '}':
			if (depth)
				depth--;
			break;
		case ',':
			tokens++;
			break;
		default:
			break;
		}
		if (tokens > l->tokens)
			return err_set(e, ERR_TOO_BIG, "JSON has more than %u values", l->tokens);
	}
	return 0;
}

json_t *
json_parse(const char *p, size_t n, const struct json_limits *l, struct err *e)
{
	json_error_t je;
	json_t *j;

	if (n > l->size_b) {
		err_set(e, ERR_TOO_BIG, "JSON of %zu bytes is over the limit of %zu", n, l->size_b);
		return NULL;
	}
	if (prescan(p, n, l, e) < 0)
		return NULL;
	j = json_loadb(p, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
	if (!j)
		err_set(e, ERR_INVALID, "not valid JSON: %s at line %d, column %d", je.text,
		    je.line, je.column);
	return j;
}

char *
json_text(const json_t *j)
{
	char *s = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);

	if (!s)
		log_bug(LOG_MAIN, "JSON value cannot be written");
	return s;
}

const char *
json_get_str(const json_t *obj, const char *key, const char *dflt)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_string(v) ? json_string_value(v) : dflt;
}

int64_t
json_get_int(const json_t *obj, const char *key, int64_t dflt)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_integer(v) ? json_integer_value(v) : dflt;
}

int
json_get_bool(const json_t *obj, const char *key, int dflt)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_boolean(v) ? json_is_true(v) : dflt;
}
