// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* node, health, plugin, platform, api: the installation, and what is not a resource. */
#include "cli/commands.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/platform.h"
#include "cli/print.h"

#include "base/banned.h"

#define WAIT_STEP_NS 500000000

static const struct column node_cols[] = {{"NAME", "name"}, {"STATE", "state"},
    {"RUNNING", "running"}, {"VERSION", "version"}, {"STARTED", "started_at", COL_TIME},
    {"LEASE", "lease_until", COL_TIME}, {"ID", "id"}, {0}};

int
cmd_health(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {
	    {"status", "status"}, {"database", "database", COL_YES}, {"version", "version"}, {0}};
	_cleanup_reply_ struct reply r = {0};
	int code = api_get(c, "/healthz", &r);

	(void)a;
	if (code)
		return code;
	print_object(c, r.json, cols);
	return json_get_bool(r.json, "database", 0) ? CLI_OK : CLI_SERVER;
}

static int
list(struct cli *c, const char *path, const struct column *cols)
{
	_cleanup_reply_ struct reply r = {0};
	int code = api_get(c, path, &r);

	if (!code)
		print_table(
		    c, json_is_array(r.json) ? r.json : json_object_get(r.json, "items"), cols);
	return code;
}

int
cmd_node_list(struct cli *c, const struct args *a)
{
	(void)a;
	return list(c, "/nodes", node_cols);
}

static int
node_set(struct cli *c, const struct args *a, const char *verb, struct reply *r)
{
	_cleanup_free_ char *name = api_escape(a->pos[0]),
			    *path = xasprintf("/nodes/%s/%s", name, verb);

	return api_json(c, "POST", path, NULL, r);
}

/* Until the node has no run. A node that dies meanwhile loses its runs to another, so this ends too. */
static int
node_wait(struct cli *c, struct reply *r)
{
	_cleanup_free_ char *id = xstrdup(json_get_str(r->json, "id", ""));
	int64_t left = json_get_int(r->json, "running", 0), told = -1;

	while (left > 0) {
		_cleanup_reply_ struct reply nodes = {0};
		json_t *one;
		size_t i;

		if (left != told)
			fprintf(stderr, "takt: waiting for %lld runs\n", (long long)left);
		told = left;
		nanosleep(&(struct timespec){0, WAIT_STEP_NS}, NULL);
		int code = api_get(c, "/nodes", &nodes);
		if (code)
			return code;
		json_array_foreach(json_object_get(nodes.json, "items"), i, one)
		{
			if (strcmp(json_get_str(one, "id", ""), id) != 0)
				continue;
			left = json_get_int(one, "running", 0);
			json_decref(r->json);
			r->json = json_incref(one);
		}
	}
	return CLI_OK;
}

int
cmd_node_drain(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	int code = node_set(c, a, "drain", &r);

	if (!code && arg_bool(a, "wait"))
		code = node_wait(c, &r);
	if (!code)
		print_object(c, r.json, node_cols);
	return code;
}

int
cmd_node_resume(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	int code = node_set(c, a, "resume", &r);

	if (!code)
		print_object(c, r.json, node_cols);
	return code;
}

int
cmd_plugin_list(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {{"NAME", "name"}, {"STATUS", "status"},
	    {"VERSION", "version"}, {"ABI", "abi"}, {"TYPES", "types", COL_LIST}, {"FILE", "file"},
	    {"REASON", "reason"}, {0}};

	(void)a;
	return list(c, "/plugins", cols);
}

int
cmd_platform_list(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {
	    {"NAME", "name"}, {"TITLE", "title"}, {"EVIDENCE", "evidence"}, {0}};

	(void)a;
	return list(c, "/platforms", cols);
}

int
cmd_platform_check(struct cli *c, const struct args *a)
{
	(void)c;
	return cli_platform_check(a->pos[0]) ? CLI_REFUSED : CLI_OK;
}

/* The answer's body as it came. */
int
cmd_api(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	_cleanup_buf_ struct buf b = {0};
	const char *data = arg_str(a, "data");
	struct call call = {
	    .if_match = arg_str(a, "if-match"), .idempotency_key = arg_str(a, "idempotency-key")};
	_cleanup_free_ char *method = xstrdup(a->pos[0]);
	int code;

	for (char *p = method; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	if (a->pos[1][0] != '/')
		return cli_refuse("PATH", "Give something like /tasks.",
		    "'%.100s' does not begin with /", a->pos[1]);
	if (data && (code = input_bytes(data, &b)))
		return code;
	code = api_send(c, method, a->pos[1], data ? b.p : NULL, b.n, &call, &r);
	if (r.json && c->is_tty)
		print_json(r.json);
	else if (r.body.n)
		print_device_text(c, r.body.p, r.body.n);
	return code;
}
