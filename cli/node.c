// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* health, plugin, platform, cron, api: what is not a resource of its own. */
#include "cli/commands.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/command.h"
#include "cli/cron.h"
#include "cli/input.h"
#include "cli/platform.h"
#include "cli/print.h"

#include "base/banned.h"

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

int
cmd_cron(struct cli *c, const struct args *a)
{
	(void)c;
	return cli_cron(a->raw_argc, a->raw_argv);
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
