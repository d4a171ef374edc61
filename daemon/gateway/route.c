// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Finding a route and checking what came with it. Called by request.c for each request. */
#include "daemon/gateway/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "schema/schema.h"

#include "base/banned.h"

struct schemas {
	json_t *path, *query, *body;
};
static struct schemas *schemas; /* one for each row of routes[] */

static json_t *
load(const struct route *r, const char *text, const char *what)
{
	struct err e = ERR_INIT;
	json_t *j = json_parse(text, strlen(text), &json_limits_request, &e);

	if (!j || schema_check(j, &e) < 0)
		log_bug(LOG_GATEWAY, "openapi.yaml, %s of %s: %s%s%s (%s)", what, r->name, e.field,
		    *e.field ? ": " : "", e.message, e.hint);
	return j;
}

void
route_init(void)
{
	schemas = xcalloc(routes_n, sizeof(*schemas));
	for (unsigned i = 0; i < routes_n; i++) {
		const struct route *r = &routes[i];

		schemas[i].path = load(r, r->path_schema, "path");
		schemas[i].query = load(r, r->query_schema, "query");
		if (r->body_schema)
			schemas[i].body = load(r, r->body_schema, "body");
	}
}

void
route_fini(void)
{
	for (unsigned i = 0; schemas && i < routes_n; i++) {
		json_decref(schemas[i].path);
		json_decref(schemas[i].query);
		json_decref(schemas[i].body);
	}
	free(take_ptr(&schemas));
}

/* Does path fit the template, segment by segment? Values of {placeholders} go into params. */
static bool
path_fits(const char *template, const char *path, json_t *params)
{
	for (;;) {
		size_t tn = strcspn(template + 1, "/") + 1, pn = strcspn(path + 1, "/") + 1;

		if (template[1] == '{') {
			char name[32];

			if (pn < 2)
				return false;
			snprintf(name, sizeof(name), "%.*s", (int)tn - 3, template + 2);
			json_object_set_new(params, name, json_stringn(path + 1, pn - 1));
		} else if (tn != pn || memcmp(template, path, tn) != 0)
			return false;
		template += tn;
		path += pn;
		if (!*template || !*path)
			return !*template && !*path;
	}
}

const struct route *
route_find(const char *method, const char *path, json_t **params, char allow[64])
{
	size_t n = 0;

	allow[0] = '\0';
	for (unsigned i = 0; i < routes_n && path[0] == '/'; i++) {
		_cleanup_json_ json_t *found = json_object();

		if (!path_fits(routes[i].path, path, found))
			continue;
		if (!strcmp(routes[i].method, method)) {
			*params = take_ptr(&found);
			return &routes[i];
		}
		n += (size_t)snprintf(allow + n, 64 - n, "%s%s", n ? ", " : "", routes[i].method);
	}
	return NULL;
}

static const struct param *
param_find(const struct route *r, const char *name, bool is_path)
{
	for (const struct param *p = r->params; p && p->name; p++)
		if (p->is_path == is_path && !strcmp(p->name, name))
			return p;
	return NULL;
}

/* The value a text stands for, or NULL if it is none of its kind. */
static json_t *
param_value(const struct param *p, const char *text)
{
	if (p->kind == PARAM_BOOL)
		return !strcmp(text, "true")    ? json_true()
		       : !strcmp(text, "false") ? json_false()
						: NULL;
	if (p->kind == PARAM_INT) {
		size_t digits = strspn(text, "0123456789");

		return digits && digits < 19 && !text[digits]
			   ? json_integer(strtoll(text, NULL, 10))
			   : NULL;
	}
	return json_string(text);
}

static int
unknown_param(const struct route *r, const char *name, struct err *e)
{
	char allowed[256] = "none";
	size_t n = 0;

	for (const struct param *p = r->params; p && p->name && n < sizeof(allowed); p++)
		if (!p->is_path)
			n += (size_t)snprintf(
			    allowed + n, sizeof(allowed) - n, "%s%s", n ? ", " : "", p->name);
	err_set(e, ERR_INVALID, "there is no query parameter \"%.60s\" here", name);
	err_field(e, "/%.60s", name);
	return err_hint(e, "Allowed: %s.", allowed);
}

static int
params_convert(const struct route *r, json_t *obj, bool is_path, struct err *e)
{
	const char *name;
	json_t *text;
	void *tmp;

	json_object_foreach_safe(obj, tmp, name, text)
	{
		const struct param *p = param_find(r, name, is_path);
		json_t *value;

		if (!p)
			return unknown_param(r, name, e);
		value = param_value(p, json_string_value(text));
		if (!value) {
			err_set(e, ERR_INVALID, "%s is \"%.40s\", not %s", name,
			    json_string_value(text),
			    p->kind == PARAM_INT ? "a whole number" : "true or false");
			return err_field(e, "/%s", name);
		}
		json_object_set_new(obj, name, value);
	}
	for (const struct param *p = r->params; p && p->name; p++)
		if (p->is_path == is_path && p->dflt && !json_object_get(obj, p->name))
			json_object_set_new(
			    obj, p->name, json_loads(p->dflt, JSON_DECODE_ANY, NULL));
	return 0;
}

int
route_check_path(const struct route *r, json_t *path, struct err *e)
{
	int rc = params_convert(r, path, true, e);

	return rc < 0 ? rc : schema_validate(schemas[r - routes].path, path, "", e);
}

int
route_check_query(const struct route *r, json_t *query, struct err *e)
{
	int rc = params_convert(r, query, false, e);

	return rc < 0 ? rc : schema_validate(schemas[r - routes].query, query, "", e);
}

int
route_check_body(const struct route *r, const json_t *body, struct err *e)
{
	return schema_validate(schemas[r - routes].body, body, "", e);
}

int
route_check_task(const json_t *doc, struct err *e)
{
	for (unsigned i = 0; i < routes_n; i++)
		if (!strcmp(routes[i].name, "createTask"))
			return route_check_body(&routes[i], doc, e);
	return err_set(e, ERR_BUG, "the contract has no createTask");
}
