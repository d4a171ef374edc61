// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Runs: list, show, log, timeline, cancel, hold, release, follow. */
#include "cli/run.h"

#include <stdio.h>
#include <string.h>

#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/commands.h"
#include "cli/event.h"
#include "cli/follow.h"
#include "cli/print.h"
#include "cli/resolve.h"

#include "base/banned.h"

static void
add_filter(struct buf *path, const char *name, const char *value)
{
	_cleanup_free_ char *escaped = api_escape(value);

	buf_addf(path, "%c%s=%s", strchr(path->p, '?') ? '&' : '?', name, escaped);
}

static int
add_named(struct cli *c, struct buf *path, const struct args *a, const char *flag,
    int (*resolve)(struct cli *, const char *, char **))
{
	_cleanup_free_ char *id = NULL;
	int code;

	if (!arg_str(a, flag))
		return CLI_OK;
	code = resolve(c, arg_str(a, flag), &id);
	if (!code)
		add_filter(path, flag, id);
	return code;
}

int
cmd_run_list(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {{"CODE", "code"}, {"TASK", "task_name"},
	    {"STATE", "state"}, {"TRIGGER", "trigger"}, {"ATT", "attempt", COL_COUNT},
	    {"CREATED (UTC)", "created_at", COL_TIME}, {"TOOK", "duration_ms", COL_DURATION},
	    {"MESSAGE", "summary.message"}, {"ID", "id"}, {0}};
	_cleanup_buf_ struct buf path = {0}, states = {0};
	_cleanup_json_ json_t *items = NULL;
	const json_t *one;
	size_t i, max;
	int code = arg_limit(a, 20, &max);

	if (code)
		return code;
	buf_adds(&path, "/runs");
	json_array_foreach(arg_list(a, "status"), i, one)
	    buf_addf(&states, "%s%s", i ? "," : "", json_string_value(one));
	if (states.n)
		add_filter(&path, "status", states.p);
	if (arg_str(a, "from"))
		add_filter(&path, "from", arg_str(a, "from"));
	if (arg_str(a, "to"))
		add_filter(&path, "to", arg_str(a, "to"));
	code = add_named(c, &path, a, "task", resolve_task);
	if (!code)
		code = add_named(c, &path, a, "device", resolve_device);
	if (!code)
		code = api_list(c, path.p, max, &items);
	if (!code)
		print_table(c, items, cols);
	return code;
}

/* GET or POST /runs/RUN/tail. */
static int
call(struct cli *c, const char *run, const char *method, const char *tail, const json_t *body,
    struct reply *r)
{
	_cleanup_free_ char *escaped = api_escape(run);
	_cleanup_free_ char *path = xasprintf("/runs/%s%s", escaped, tail);

	return api_json(c, method, path, body, r);
}

static void
print_units(struct cli *c, const json_t *items)
{
	static const struct column cols[] = {{"ATT", "attempt"}, {"UNIT", "no"},
	    {"DEVICE", "device_name"}, {"STATE", "state"}, {"TOOK", "duration_ms", COL_DURATION},
	    {"CLASS", "error_class"}, {"MESSAGE", "error.message"}, {"HINT", "error.hint"},
	    {"SNAPSHOT", "snapshot_id"}, {"OUTPUT", "output_bytes", COL_BYTES}, {0}};

	if (!json_array_size(items))
		return;
	putchar('\n');
	print_table(c, items, cols);
}

static void
print_run(struct cli *c, const json_t *run)
{
	static const struct column cols[] = {{"run", "code"}, {"id", "id"}, {"task", "task_name"},
	    {"type", "task_type"}, {"state", "state"}, {"message", "summary.message"},
	    {"trigger", "trigger"}, {"by", "actor"}, {"attempt", "attempt"},
	    {"due", "due_at", COL_TIME}, {"created", "created_at", COL_TIME},
	    {"started", "started_at", COL_TIME}, {"finished", "finished_at", COL_TIME},
	    {"took", "duration_ms", COL_DURATION}, {"next attempt", "next_at", COL_TIME},
	    {"held", "hold.reason"}, {"held by", "hold.actor"}, {0}};

	print_object(c, run, cols);
}

int
cmd_run_show(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0}, units = {0};
	int code = call(c, a->pos[0], "GET", "", NULL, &r);

	if (code)
		return code;
	print_run(c, r.json);
	if (c->is_json)
		return CLI_OK;
	code = call(c, a->pos[0], "GET", "/units", NULL, &units);
	if (!code)
		print_units(c, json_object_get(units.json, "items"));
	return code;
}

int
cmd_run_log(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	_cleanup_buf_ struct buf tail = {0};
	int code;

	buf_adds(&tail, "/log");
	if (arg_str(a, "attempt"))
		add_filter(&tail, "attempt", arg_str(a, "attempt"));
	if (arg_str(a, "unit"))
		add_filter(&tail, "unit", arg_str(a, "unit"));
	if (arg_str(a, "offset"))
		add_filter(&tail, "offset", arg_str(a, "offset"));
	code = call(c, a->pos[0], "GET", tail.p, NULL, &r);
	if (!code && r.body.n)
		print_device_text(c, r.body.p, r.body.n);
	return code;
}

int
cmd_run_cancel(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	_cleanup_json_ json_t *body = json_object();
	int code;

	if (arg_str(a, "reason"))
		json_object_set_new(body, "reason", json_string(arg_str(a, "reason")));
	code = call(c, a->pos[0], "POST", "/cancel", body, &r);
	if (code)
		return code;
	if (c->is_json)
		print_json(r.json);
	else
		printf(
		    "run %s %s\n", a->pos[0], json_get_str(r.json, "state", "is being cancelled"));
	return CLI_OK;
}

int
cmd_run_hold(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	_cleanup_json_ json_t *body = json_object();
	int code;

	if (!arg_str(a, "reason"))
		return cli_refuse(
		    "--reason", "Say why the run is kept: --reason TEXT.", "a hold needs a reason");
	json_object_set_new(body, "reason", json_string(arg_str(a, "reason")));
	code = call(c, a->pos[0], "POST", "/hold", body, &r);
	if (code)
		return code;
	if (c->is_json)
		print_json(r.json);
	else
		printf("run %s is held\n", a->pos[0]);
	return CLI_OK;
}

int
cmd_run_release(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	int code = call(c, a->pos[0], "DELETE", "/hold", NULL, &r);

	if (!code && !c->is_json)
		printf("run %s is held no longer\n", a->pos[0]);
	return code;
}

int
cmd_run_timeline(struct cli *c, const struct args *a)
{
	_cleanup_json_ json_t *all = json_array();
	long long since = 0;

	for (;;) {
		_cleanup_reply_ struct reply r = {0};
		_cleanup_free_ char *tail = xasprintf("/timeline?since=%lld", since);
		int code = call(c, a->pos[0], "GET", tail, NULL, &r);
		const json_t *one;
		size_t i;

		if (code)
			return code;
		json_array_extend(all, json_object_get(r.json, "items"));
		if (!c->is_json)
			json_array_foreach(json_object_get(r.json, "items"), i, one)
			    event_print(c, json_get_str(one, "type", "?"), one);
		if (json_get_int(r.json, "next_since", 0) <= since)
			break;
		since = json_get_int(r.json, "next_since", 0);
	}
	if (c->is_json)
		print_json(all);
	return CLI_OK;
}

int
run_to_end(struct cli *c, const char *run_id, bool is_quiet)
{
	_cleanup_reply_ struct reply r = {0};
	const char *state, *message;
	char took[32];
	int code = follow_run(c, run_id, is_quiet);

	if (!code)
		code = call(c, run_id, "GET", "", NULL, &r);
	if (code)
		return code;
	state = json_get_str(r.json, "state", "?");
	message = json_get_str(json_object_get(r.json, "summary"), "message", "");
	if (c->is_json) {
		print_json(r.json);
	} else {
		printf("%srun %s %s%s in %s%s", color_of_state(c, state),
		    json_get_str(r.json, "code", run_id), state, color_off(c),
		    print_duration(json_get_int(r.json, "duration_ms", 0), took),
		    *message ? ": " : "");
		print_escaped(stdout, message, strlen(message));
		putchar('\n');
	}
	return strcmp(state, "completed") == 0 ? CLI_OK : CLI_NO;
}

int
cmd_run_follow(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	int code = call(c, a->pos[0], "GET", "", NULL, &r);

	return code ? code : run_to_end(c, json_get_str(r.json, "id", a->pos[0]), false);
}
