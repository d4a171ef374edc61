// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Shared schedules: named ones that several tasks follow. What the flags say is laid over the
 * document of --file, or over the schedule as it is.
 */
#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/input.h"
#include "cli/marks.h"
#include "cli/moment.h"
#include "cli/print.h"

#include "when/stamp.h"
#include "when/zone.h"

#include "base/banned.h"

enum said_kind { SAID_STR, SAID_INT, SAID_LIST, SAID_TIME };

/* Flags and members of the normal form. */
static const struct said {
	const char *flag, *member;
	enum said_kind kind;
} said[] = {
    {"kind", "kind", SAID_STR},
    {"zone", "timezone", SAID_STR},
    {"dst-gap", "dst_gap", SAID_STR},
    {"dst-fold", "dst_fold", SAID_STR},
    {"effective-from", "effective_from", SAID_TIME},
    {"effective-until", "effective_until", SAID_TIME},
    {"only-calendar", "include", SAID_LIST},
    {"skip-calendar", "exclude", SAID_LIST},
    {"on-hit", "on_hit", SAID_STR},
    {"catch-up", "catch_up", SAID_STR},
    {"catch-up-limit", "catch_up_limit", SAID_INT},
    {"catch-up-deadline", "catch_up_deadline_seconds", SAID_INT},
    {"jitter", "jitter_seconds", SAID_INT},
    {"start-deadline", "start_deadline_seconds", SAID_INT},
};

static int
say_int(json_t *to, const struct said *s, const char *text)
{
	size_t digits = strspn(text, "0123456789");
	char field[40];

	snprintf(field, sizeof(field), "--%s", s->flag);
	if (!digits || digits > 9 || text[digits])
		return cli_refuse(
		    field, "Give a whole number, or none.", "'%.40s' is not a number", text);
	json_object_set_new(to, s->member, json_integer(strtol(text, NULL, 10)));
	return CLI_OK;
}

/* Local times are on the schedule's own clock. */
static int
say_time(json_t *to, const struct said *s, const char *text)
{
	const struct zone *zone;
	char stamp[32], field[40];
	int64_t utc;
	int code = moment_zone("--zone", json_get_str(to, "timezone", "UTC"), &zone);

	snprintf(field, sizeof(field), "--%s", s->flag);
	if (!code)
		code = moment_parse(field, text, zone, &utc);
	if (!code)
		json_object_set_new(to, s->member, json_string(when_format_rfc3339(utc, stamp)));
	return code;
}

/* "none" takes a value away. */
static int
say(json_t *to, const struct said *s, const json_t *value)
{
	const char *text = json_string_value(value);

	if (s->kind == SAID_LIST)
		text = json_string_value(json_array_get(value, 0));
	if (s->kind != SAID_STR && strcmp(text, "none") == 0) {
		json_object_set_new(
		    to, s->member, s->kind == SAID_LIST ? json_array() : json_null());
		return CLI_OK;
	}
	switch (s->kind) {
	case SAID_INT:
		return say_int(to, s, text);
	case SAID_TIME:
		return say_time(to, s, text);
	case SAID_LIST:
		json_object_set_new(to, s->member, json_deep_copy(value));
		return CLI_OK;
	default:
		json_object_set_new(to, s->member, json_string(text));
		return CLI_OK;
	}
}

/* The flags laid over the schedule in *to. */
static int
say_all(json_t *to, const struct args *a)
{
	int code = CLI_OK;

	for (size_t i = 0; !code && i < ARRAY_LEN(said); i++) {
		const json_t *value = arg_list(a, said[i].flag);

		if (value)
			code = say(to, &said[i], value);
	}
	return code;
}

static bool
is_any_said(const struct args *a)
{
	for (size_t i = 0; i < ARRAY_LEN(said); i++)
		if (arg_list(a, said[i].flag))
			return true;
	return false;
}

/*
 * The body of a request: --file, else `base`, with the expression and the flags on top. NULL after
 * telling why, *code then says what.
 */
static json_t *
make_body(const struct args *a, const char *expr, const json_t *base, int *code)
{
	const char *file = arg_str(a, "file");
	_cleanup_json_ json_t *body = file ? input_object(file) : json_object();
	json_t *schedule;

	*code = CLI_REFUSED;
	if (!body)
		return NULL;
	if (!file || expr || is_any_said(a)) {
		schedule = json_object_get(body, "schedule");
		if (!json_is_object(schedule)) {
			schedule = base ? json_deep_copy(base) : json_object();
			json_object_set_new(body, "schedule", schedule);
		}
		if (expr)
			json_object_set_new(schedule, "expr", json_string(expr));
		if (!json_object_get(schedule, "kind"))
			json_object_set_new(schedule, "kind", json_string("cron"));
		*code = say_all(schedule, a);
		return *code ? NULL : json_incref(body);
	}
	*code = CLI_OK;
	return json_incref(body);
}

static char *
path_of(const char *name, const char *tail)
{
	_cleanup_free_ char *escaped = api_escape(name);

	return xasprintf("/schedules/%s%s", escaped, tail);
}

static void
print_schedule(struct cli *c, const json_t *s)
{
	static const struct column cols[] = {{"name", "name"}, {"kind", "schedule.kind"},
	    {"expression", "schedule.expr"}, {"zone", "schedule.timezone"},
	    {"clock skips", "schedule.dst_gap"}, {"clock repeats", "schedule.dst_fold"},
	    {"from", "schedule.effective_from", COL_TIME},
	    {"until", "schedule.effective_until", COL_TIME},
	    {"only on days of", "schedule.include", COL_LIST},
	    {"not on days of", "schedule.exclude", COL_LIST}, {"such a day", "schedule.on_hit"},
	    {"catch-up", "schedule.catch_up"}, {"at most", "schedule.catch_up_limit"},
	    {"not after (s)", "schedule.catch_up_deadline_seconds"},
	    {"jitter (s)", "schedule.jitter_seconds"},
	    {"start within (s)", "schedule.start_deadline_seconds"},
	    {"enabled", "enabled", COL_YES}, {"tasks", "task_count"},
	    {"next run", "next_run_at", COL_TIME}, {"revision", "revision"}, {0}};

	print_object(c, s, cols);
}

/* Warnings about what was saved or checked. */
static void
print_warnings(const json_t *o)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(o, "warnings"), i, one)
	{
		const char *text = json_get_str(one, "detail", json_string_value(one));

		fputs("takt: warning: ", stderr);
		if (text)
			print_escaped(stderr, text, strlen(text));
		fputc('\n', stderr);
	}
}

int
cmd_schedule_list(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {{"NAME", "name"}, {"KIND", "schedule.kind"},
	    {"EXPRESSION", "schedule.expr"}, {"ZONE", "schedule.timezone"},
	    {"ENABLED", "enabled", COL_YES}, {"TASKS", "task_count"},
	    {"NEXT (UTC)", "next_run_at", COL_TIME}, {0}};
	_cleanup_json_ json_t *items = NULL;
	size_t max;
	int code = arg_limit(a, 0, &max);

	if (!code)
		code = api_list(c, "/schedules", max, &items);
	if (!code)
		print_table(c, items, cols);
	return code;
}

int
cmd_schedule_show(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {{"TASK", "name"}, {"ENABLED", "enabled", COL_YES},
	    {"NEXT (UTC)", "next_run_at", COL_TIME}, {"ID", "id"}, {0}};
	_cleanup_free_ char *path = path_of(a->pos[0], "");
	_cleanup_reply_ struct reply r = {0};
	int code = api_get(c, path, &r);

	if (code)
		return code;
	print_schedule(c, r.json);
	if (!c->is_json && json_array_size(json_object_get(r.json, "tasks"))) {
		putchar('\n');
		print_table(c, json_object_get(r.json, "tasks"), cols);
	}
	return CLI_OK;
}

int
cmd_schedule_create(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	int code;
	_cleanup_json_ json_t *body = make_body(a, a->n > 1 ? a->pos[1] : NULL, NULL, &code);

	if (!body)
		return code;
	json_object_set_new(body, "name", json_string(a->pos[0]));
	code = api_json(c, "POST", "/schedules", body, &r);
	if (code)
		return code;
	print_warnings(r.json);
	print_schedule(c, r.json);
	return CLI_OK;
}

int
cmd_schedule_change(struct cli *c, const struct args *a)
{
	_cleanup_free_ char *path = path_of(a->pos[0], ""), *text = NULL;
	_cleanup_reply_ struct reply before = {0}, r = {0};
	_cleanup_json_ json_t *body = NULL;
	const char *expr = a->n > 1 ? a->pos[1] : NULL;
	int code;

	if (!expr && !arg_str(a, "file") && !is_any_said(a))
		return cli_refuse("", "See `takt schedule change --help` for the flags.",
		    "nothing is to be changed");
	code = api_get(c, path, &before);
	if (code)
		return code;
	body = make_body(a, expr, json_object_get(before.json, "schedule"), &code);
	if (!body)
		return code;
	text = json_text(body);
	code = api_send(c, "PUT", path, text, strlen(text),
	    &(struct call){.if_match = before.etag[0] ? before.etag : "*"}, &r);
	if (code)
		return code;
	print_warnings(r.json);
	print_schedule(c, r.json);
	return CLI_OK;
}

int
cmd_schedule_delete(struct cli *c, const struct args *a)
{
	_cleanup_free_ char *path = path_of(a->pos[0], "");
	_cleanup_reply_ struct reply r = {0};

	return api_json(c, "DELETE", path, NULL, &r);
}

static int
switch_it(struct cli *c, const struct args *a, const char *tail)
{
	_cleanup_free_ char *path = path_of(a->pos[0], tail);
	_cleanup_reply_ struct reply r = {0};
	int code = api_json(c, "POST", path, NULL, &r);

	if (!code)
		print_schedule(c, r.json);
	return code;
}

int
cmd_schedule_enable(struct cli *c, const struct args *a)
{
	return switch_it(c, a, arg_bool(a, "backfill") ? "/enable?backfill=true" : "/enable");
}

int
cmd_schedule_disable(struct cli *c, const struct args *a)
{
	return switch_it(c, a, "/disable");
}

int
cmd_schedule_check(struct cli *c, const struct args *a)
{
	const char *count = arg_str(a, "count"), *viewer = arg_str(a, "viewer-zone");
	_cleanup_free_ char *n = api_escape(count ? count : "5"),
			    *zone = api_escape(viewer ? viewer : "");
	_cleanup_free_ char *path =
	    xasprintf("/schedules/check?count=%s%s%s", n, viewer ? "&zone=" : "", zone);
	_cleanup_reply_ struct reply r = {0};
	int code;
	_cleanup_json_ json_t *body = make_body(a, a->n ? a->pos[0] : NULL, NULL, &code);

	if (body)
		code = api_json(c, "POST", path, body, &r);
	if (code)
		return code;
	print_warnings(r.json);
	if (c->is_json) {
		print_json(r.json);
		return CLI_OK;
	}
	print_schedule(c, r.json);
	putchar('\n');
	marks_print(
	    c, json_object_get(r.json, "next"), json_object_get(r.json, "skipped"), "never");
	marks_print_changes(c, r.json);
	return CLI_OK;
}
