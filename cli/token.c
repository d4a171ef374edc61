// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Tokens: made, listed, revoked. A token's text is printed once, when it is made. */
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/print.h"
#include "cli/resolve.h"

#include "base/banned.h"

int
cmd_token_create(struct cli *c, const struct args *a)
{
	_cleanup_json_ json_t *body = json_object();
	_cleanup_reply_ struct reply r = {0};
	const char *name = a->n ? a->pos[0] : arg_str(a, "name");
	int code;

	if (!name || !arg_str(a, "role"))
		return cli_refuse(name ? "--role" : "--name",
		    name ? "Give viewer, operator or admin." : "Say what the token is called.",
		    "is missing");
	json_object_set_new(body, "name", json_string(name));
	json_object_set_new(body, "role", json_string(arg_str(a, "role")));
	if (arg_str(a, "actor"))
		json_object_set_new(body, "actor", json_string(arg_str(a, "actor")));
	if (arg_str(a, "expires"))
		json_object_set_new(body, "expires_at", json_string(arg_str(a, "expires")));
	code = api_json(c, "POST", "/tokens", body, &r);
	if (code)
		return code;
	if (c->is_json) {
		print_json(r.json);
	} else {
		puts(json_get_str(r.json, "token", ""));
		fputs("takt: keep it: it is not shown again\n", stderr);
	}
	return CLI_OK;
}

int
cmd_token_list(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {{"NAME", "name"}, {"ACTOR", "actor"}, {"ROLE", "role"},
	    {"CREATED", "created_at", COL_TIME}, {"EXPIRES", "expires_at", COL_TIME},
	    {"REVOKED", "revoked_at", COL_TIME}, {"ID", "id"}, {0}};
	_cleanup_json_ json_t *items = NULL;
	int code = api_list(c, "/tokens", 0, &items);

	(void)a;
	if (!code)
		print_table(c, items, cols);
	return code;
}

/* The list has no filter by name: ids and names are looked up in all of it. */
static int
find_token(struct cli *c, const char *name, char **id)
{
	_cleanup_json_ json_t *items = NULL;
	const json_t *one;
	size_t i;
	int code = api_list(c, "/tokens", 0, &items);

	if (code)
		return code;
	json_array_foreach(items, i, one) if (strcmp(json_get_str(one, "name", ""), name) ==
					      0) *id = xstrdup(json_get_str(one, "id", ""));
	if (*id)
		return CLI_OK;
	fprintf(stderr, "takt: there is no token '%.100s' (`takt token list` shows all)\n", name);
	return CLI_MISSING;
}

int
cmd_token_delete(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	_cleanup_free_ char *id = NULL, *path = NULL;
	int code = CLI_OK;

	if (uuid_valid(a->pos[0]))
		id = xstrdup(a->pos[0]);
	else
		code = find_token(c, a->pos[0], &id);
	if (code)
		return code;
	path = xasprintf("/tokens/%s", id);
	return api_json(c, "DELETE", path, NULL, &r);
}
