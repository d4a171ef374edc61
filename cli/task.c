// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Definitions: create, check, show, change, run. */
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/input.h"
#include "cli/print.h"
#include "cli/resolve.h"
#include "cli/run.h"

#include "base/banned.h"

static void
print_warnings(const json_t *o)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(o, "warnings"), i, one)
	{
		_cleanup_free_ char *line = xasprintf(
		    "%s: %s", json_get_str(one, "pointer", ""), json_get_str(one, "detail", ""));
		const char *hint = json_get_str(one, "hint", NULL);

		fputs("takt: warning: ", stderr);
		print_escaped(stderr, line, strlen(line));
		fprintf(stderr, hint ? " (%s)\n" : "\n", hint);
	}
}

/* Times of a schedule, UTC beside the task's zone. */
static void
print_times(const json_t *times, const char *zone)
{
	const json_t *one;
	size_t i;

	json_array_foreach(times, i, one)
	{
		char utc[64], local[64];

		printf("%-22s %s\n", print_utc_time(json_string_value(one), utc),
		    print_zone_time(json_string_value(one), zone, local));
	}
}

static void
print_when(const char *label, const char *at, const char *zone)
{
	char utc[64], local[64];

	if (at)
		printf("%-11s  %s   %s\n", label, print_utc_time(at, utc),
		    print_zone_time(at, zone, local));
}

static void
print_task(struct cli *c, const json_t *t)
{
	static const struct column cols[] = {{"name", "name"}, {"id", "id"}, {"type", "task_type"},
	    {"about", "description"}, {"follows", "schedule.name"}, {"kind", "schedule.kind"},
	    {"schedule", "schedule.expr"}, {"zone", "timezone"},
	    {"not on", "schedule.exclude", COL_LIST}, {"only on", "schedule.include", COL_LIST},
	    {"catch-up", "schedule.catch_up"}, {"enabled", "enabled", COL_YES},
	    {"retries", "max_retries"}, {"retry delay", "retry_delay_seconds"},
	    {"timeout", "timeout_seconds"}, {"overlap", "overlap"}, {"parameters", "parameters"},
	    {"revision", "revision"}, {0}};
	const char *zone = json_get_str(t, "timezone", "UTC");

	print_object(c, t, cols);
	if (c->is_json)
		return;
	print_when("next run", json_get_str(t, "next_run_at", NULL), zone);
	print_when("last run", json_get_str(t, "last_run_at", NULL), zone);
}

int
cmd_task_create(struct cli *c, const struct args *a)
{
	_cleanup_buf_ struct buf b = {0};
	_cleanup_reply_ struct reply r = {0};
	int code = input_bytes(a->pos[0], &b);

	if (!code)
		code = api_send(c, "POST", "/tasks", b.p, b.n, NULL, &r);
	if (code)
		return code;
	print_warnings(r.json);
	print_task(c, r.json);
	return CLI_OK;
}

int
cmd_task_check(struct cli *c, const struct args *a)
{
	_cleanup_buf_ struct buf b = {0};
	_cleanup_reply_ struct reply r = {0};
	int code = input_bytes(a->pos[0], &b);

	if (!code)
		code = api_send(c, "POST", "/tasks:check", b.p, b.n, NULL, &r);
	if (code)
		return code;
	print_warnings(r.json);
	if (c->is_json) {
		print_json(r.json);
		return CLI_OK;
	}
	puts("it would be accepted");
	print_times(json_object_get(r.json, "next"),
	    json_get_str(json_object_get(r.json, "definition"), "timezone", "UTC"));
	return CLI_OK;
}

/* In one cell: the expression, with its kind if it is not cron, or the schedule that is followed. */
static json_t *
schedule_text(const json_t *task)
{
	const json_t *s = json_object_get(task, "schedule");
	const char *name = json_get_str(s, "name", NULL), *kind = json_get_str(s, "kind", "cron"),
		   *expr = json_get_str(s, "expr", json_get_str(task, "cron_expression", ""));

	if (name)
		return json_sprintf("as %s", name);
	if (strcmp(kind, "on_demand") == 0)
		return json_string("");
	return strcmp(kind, "cron") == 0 ? json_string(expr) : json_sprintf("%s %s", kind, expr);
}

int
cmd_task_list(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {{"NAME", "name"}, {"TYPE", "task_type"},
	    {"SCHEDULE", "says"}, {"ZONE", "timezone"}, {"ENABLED", "enabled", COL_YES},
	    {"NEXT (UTC)", "next_run_at", COL_TIME}, {"NEXT (ZONE)", "next_local"},
	    {"LAST (UTC)", "last_run_at", COL_TIME}, {"ID", "id"}, {0}};
	const char *type = arg_str(a, "type");
	_cleanup_free_ char *escaped = api_escape(type ? type : "");
	_cleanup_free_ char *path = xasprintf("/tasks%s%s", type ? "?task_type=" : "", escaped);
	_cleanup_json_ json_t *items = NULL;
	json_t *one;
	size_t i;
	int code = api_list(c, path, 0, &items);

	if (code)
		return code;
	if (!c->is_json)
		json_array_foreach(items, i, one)
		{
			char local[64];

			json_object_set_new(one, "says", schedule_text(one));
			json_object_set_new(one, "next_local",
			    json_string(print_zone_time(json_get_str(one, "next_run_at", NULL),
				json_get_str(one, "timezone", NULL), local)));
		}
	print_table(c, items, cols);
	return CLI_OK;
}

/* GET or POST /tasks/ID/tail of the task that is named; r is filled. */
static int
call(struct cli *c, const char *name, const char *method, const char *tail, struct reply *r)
{
	_cleanup_free_ char *id = NULL, *path = NULL;
	int code = resolve_task(c, name, &id);

	if (code)
		return code;
	path = xasprintf("/tasks/%s%s", id, tail);
	return api_json(c, method, path, NULL, r);
}

int
cmd_task_show(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	bool is_source = arg_bool(a, "source");
	int code = call(c, a->pos[0], "GET", is_source ? "/source" : "", &r);

	if (code)
		return code;
	if (is_source)
		print_device_text(c, r.body.p ? r.body.p : "", r.body.n);
	else
		print_task(c, r.json);
	return CLI_OK;
}

int
cmd_task_update(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply before = {0}, r = {0};
	_cleanup_free_ char *id = NULL, *path = NULL;
	_cleanup_buf_ struct buf b = {0};
	int code = input_bytes(a->pos[1], &b);

	if (!code)
		code = resolve_task(c, a->pos[0], &id);
	if (code)
		return code;
	path = xasprintf("/tasks/%s", id);
	code = api_get(c, path, &before);
	if (!code)
		code = api_send(c, "PUT", path, b.p, b.n,
		    &(struct call){.if_match = before.etag[0] ? before.etag : "*"}, &r);
	if (code)
		return code;
	print_warnings(r.json);
	print_task(c, r.json);
	return CLI_OK;
}

static int
change(struct cli *c, const struct args *a, const char *tail)
{
	_cleanup_reply_ struct reply r = {0};
	int code = call(c, a->pos[0], "POST", tail, &r);

	if (!code)
		print_task(c, r.json);
	return code;
}

int
cmd_task_enable(struct cli *c, const struct args *a)
{
	return change(c, a, arg_bool(a, "backfill") ? "/enable?backfill=true" : "/enable");
}

int
cmd_task_disable(struct cli *c, const struct args *a)
{
	return change(c, a, "/disable");
}

int
cmd_task_delete(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};

	return call(c, a->pos[0], "DELETE", "", &r);
}

static bool
is_on_demand(const json_t *preview)
{
	return strcmp(json_get_str(json_object_get(preview, "schedule"), "kind", ""),
		   "on_demand") == 0;
}

int
cmd_task_next(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	const char *count = arg_str(a, "count");
	_cleanup_free_ char *escaped = api_escape(count ? count : "5");
	_cleanup_free_ char *tail = xasprintf("/preview?count=%s", escaped);
	int code = call(c, a->pos[0], "GET", tail, &r);

	if (code)
		return code;
	if (c->is_json) {
		print_json(r.json);
		return CLI_OK;
	}
	if (!json_array_size(json_object_get(r.json, "next")))
		fputs(is_on_demand(r.json) ? "on demand only\n" : "never\n", stderr);
	else if (!json_get_bool(r.json, "enabled", 1))
		fputs("takt: the task is disabled: these times will pass unused\n", stderr);
	print_times(json_object_get(r.json, "next"), json_get_str(r.json, "timezone", "UTC"));
	return CLI_OK;
}

int
cmd_task_run(struct cli *c, const struct args *a)
{
	_cleanup_free_ char *id = NULL, *path = NULL;
	_cleanup_reply_ struct reply r = {0};
	const char *run;
	int code = resolve_task(c, a->pos[0], &id);

	if (code)
		return code;
	path = xasprintf("/tasks/%s/run", id);
	code = api_send(c, "POST", path, NULL, 0,
	    &(struct call){.idempotency_key = arg_str(a, "idempotency-key")}, &r);
	if (code)
		return code;
	run = json_get_str(r.json, "id", json_get_str(r.json, "run_id", NULL));
	if (!run) {
		fputs("takt: the answer names no run\n", stderr);
		return CLI_SERVER;
	}
	if (arg_bool(a, "follow") || arg_bool(a, "wait"))
		return run_to_end(c, run, !arg_bool(a, "follow"));
	if (c->is_json)
		print_json(r.json);
	else
		printf("run %s %s\n", json_get_str(r.json, "code", run),
		    json_get_str(r.json, "state", "is kept; the engine has not answered yet"));
	return CLI_OK;
}
