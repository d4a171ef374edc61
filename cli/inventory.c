// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Devices, groups and credentials: one set of verbs over a table of nouns. */
#include "cli/commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/print.h"
#include "cli/resolve.h"

#include "base/banned.h"

struct noun {
	const char *name;
	const char *path;
	const struct column *cols;
};

static const struct column device_cols[] = {{"NAME", "name"}, {"ADDRESS", "address"},
    {"PORT", "port"}, {"PLATFORM", "platform"}, {"CREDENTIAL", "credential"},
    {"HOST KEY", "host_key"}, {"GROUPS", "groups", COL_LIST}, {"ID", "id"}, {0}};
static const struct column group_cols[] = {
    {"NAME", "name"}, {"DEVICES", "devices", COL_LIST}, {"ID", "id"}, {0}};
static const struct column credential_cols[] = {{"NAME", "name"}, {"USERNAME", "username"},
    {"HOLDS", "members", COL_LIST}, {"VERSION", "version"}, {"UPDATED", "updated_at", COL_TIME},
    {"ID", "id"}, {0}};

static const struct noun nouns[] = {
    {"device", "/devices", device_cols},
    {"group", "/groups", group_cols},
    {"credential", "/credentials", credential_cols},
};

static const struct noun *
noun_of(const struct args *a)
{
	for (size_t i = 0; i < ARRAY_LEN(nouns); i++)
		if (strcmp(nouns[i].name, a->cmd->noun) == 0)
			return &nouns[i];
	return NULL;
}

/* Flags that become members of the body, by their kind. */
static const struct {
	const char *flag, *member;
	enum { M_STR, M_INT, M_LIST, M_SECRET } kind;
} members[] = {
    {"id", "id", M_STR},
    {"name", "name", M_STR},
    {"address", "address", M_STR},
    {"port", "port", M_INT},
    {"platform", "platform", M_STR},
    {"credential", "credential", M_STR},
    {"host-key", "host_key", M_STR},
    {"group", "groups", M_LIST},
    {"device", "devices", M_LIST},
    {"username", "username", M_STR},
    {"password-file", "password", M_SECRET},
    {"key-file", "private_key", M_SECRET},
    {"passphrase-file", "passphrase", M_SECRET},
    {"enable-file", "enable", M_SECRET},
};

static int
set_int(json_t *body, const char *member, const char *flag, const char *text)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno || end == text || *end)
		return cli_refuse(flag, "Give a whole number.", "'%.40s' is not a number", text);
	json_object_set_new(body, member, json_integer(v));
	return CLI_OK;
}

static int
set_secret(json_t *body, const char *member, const char *file)
{
	char *s = input_secret(file, member);

	if (!s)
		return CLI_REFUSED;
	json_object_set_new(body, member, json_string(s));
	input_forget(s);
	if (!json_object_get(body, member))
		return cli_refuse(
		    member, "Secrets are text.", "%s is not UTF-8", file ? file : "it");
	return CLI_OK;
}

static int
set_flags(json_t *body, const struct args *a)
{
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		const json_t *v = arg_list(a, members[i].flag);
		int code = CLI_OK;

		if (!v)
			continue;
		if (members[i].kind == M_INT)
			code =
			    set_int(body, members[i].member, members[i].flag, json_string_value(v));
		else if (members[i].kind == M_SECRET)
			code = set_secret(body, members[i].member, json_string_value(v));
		else
			json_object_set(body, members[i].member, (json_t *)v);
		if (code)
			return code;
	}
	return CLI_OK;
}

/* The document of --file with the flags on top; NULL after telling why, *code then says what. */
static json_t *
make_body(const struct args *a, int *code)
{
	const char *file = arg_str(a, "file");
	json_t *body = file ? input_object(file) : json_object();

	*code = CLI_REFUSED;
	if (!body)
		return NULL;
	*code = set_flags(body, a);
	if (*code) {
		json_decref(body);
		return NULL;
	}
	return body;
}

int
cmd_inventory_create(struct cli *c, const struct args *a)
{
	const struct noun *n = noun_of(a);
	_cleanup_reply_ struct reply r = {0};
	_cleanup_json_ json_t *body = NULL;
	int code;

	body = make_body(a, &code);
	if (!body)
		return code;
	if (a->n)
		json_object_set_new(body, "name", json_string(a->pos[0]));
	if (strcmp(n->name, "credential") == 0 && !json_object_get(body, "password") &&
	    !json_object_get(body, "private_key") && (code = set_secret(body, "password", NULL)))
		return code;
	code = api_json(c, "POST", n->path, body, &r);
	if (!code)
		print_object(c, r.json, n->cols);
	return code;
}

int
cmd_inventory_list(struct cli *c, const struct args *a)
{
	const struct noun *n = noun_of(a);
	_cleanup_json_ json_t *items = NULL;
	size_t max;
	int code = arg_limit(a, 0, &max);

	if (!code)
		code = api_list(c, n->path, max, &items);
	if (!code)
		print_table(c, items, n->cols);
	return code;
}

/* path/ID of the thing that the first argument names. */
static int
find(struct cli *c, const struct args *a, const struct noun *n, char **path)
{
	_cleanup_free_ char *id = NULL;
	int code = resolve_named(c, n->path, n->name, a->pos[0], &id);

	if (!code)
		*path = xasprintf("%s/%s", n->path, id);
	return code;
}

int
cmd_inventory_show(struct cli *c, const struct args *a)
{
	const struct noun *n = noun_of(a);
	_cleanup_reply_ struct reply r = {0};
	_cleanup_free_ char *path = NULL;
	int code = find(c, a, n, &path);

	if (!code)
		code = api_get(c, path, &r);
	if (!code)
		print_object(c, r.json, n->cols);
	return code;
}

int
cmd_inventory_update(struct cli *c, const struct args *a)
{
	const struct noun *n = noun_of(a);
	_cleanup_reply_ struct reply r = {0};
	_cleanup_free_ char *path = NULL;
	_cleanup_json_ json_t *body = NULL;
	int code;

	body = make_body(a, &code);
	if (!body)
		return code;
	if (!json_object_size(body))
		return cli_refuse("", "See `takt device update --help` for the flags.",
		    "nothing is to be changed");
	code = find(c, a, n, &path);
	if (!code)
		code = api_json(c, "PATCH", path, body, &r);
	if (!code)
		print_object(c, r.json, n->cols);
	return code;
}

int
cmd_inventory_delete(struct cli *c, const struct args *a)
{
	const struct noun *n = noun_of(a);
	_cleanup_reply_ struct reply r = {0};
	_cleanup_free_ char *path = NULL;
	int code = find(c, a, n, &path);

	return code ? code : api_json(c, "DELETE", path, NULL, &r);
}

int
cmd_device_host_keys(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {{"TYPE", "key_type"}, {"FINGERPRINT", "fingerprint"},
	    {"LEARNED", "learned_at", COL_TIME}, {"BY", "learned_by"}, {0}};
	_cleanup_reply_ struct reply r = {0};
	_cleanup_free_ char *id = NULL, *path = NULL;
	int code = resolve_device(c, a->pos[0], &id);

	if (code)
		return code;
	path = xasprintf("/devices/%s/host-keys", id);
	if (arg_bool(a, "forget"))
		return api_json(c, "DELETE", path, NULL, &r);
	code = api_get(c, path, &r);
	if (!code)
		print_table(c, json_object_get(r.json, "items"), cols);
	return code;
}

static int
change_members(struct cli *c, const struct args *a, const char *method)
{
	_cleanup_free_ char *group = NULL;
	int code = resolve_named(c, "/groups", "group", a->pos[0], &group);

	for (int i = 1; i < a->n && !code; i++) {
		_cleanup_reply_ struct reply r = {0};
		_cleanup_free_ char *device = NULL, *path = NULL;

		code = resolve_device(c, a->pos[i], &device);
		if (code)
			break;
		path = xasprintf("/groups/%s/members/%s", group, device);
		code = api_json(c, method, path, NULL, &r);
	}
	return code;
}

int
cmd_group_add(struct cli *c, const struct args *a)
{
	return change_members(c, a, "PUT");
}

int
cmd_group_remove(struct cli *c, const struct args *a)
{
	return change_members(c, a, "DELETE");
}
