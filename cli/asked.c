// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Questions about a task's times that the server answers: preview, why, occurrences. */
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/marks.h"
#include "cli/moment.h"
#include "cli/print.h"
#include "cli/query.h"
#include "cli/resolve.h"

#include "when/stamp.h"
#include "when/zone.h"

#include "base/banned.h"

/* "/tasks/ID" and tail. */
static int
task_path(struct cli *c, const char *name, const char *tail, struct buf *path)
{
	_cleanup_free_ char *id = NULL;
	int code = resolve_task(c, name, &id);

	if (!code)
		buf_addf(path, "/tasks/%s%s", id, tail);
	return code;
}

int
cmd_task_preview(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	_cleanup_buf_ struct buf path = {0};
	const char *count = arg_str(a, "count");
	int code = task_path(c, a->pos[0], "/preview", &path);

	if (code)
		return code;
	query_add(&path, "count", count ? count : "5");
	query_add(&path, "zone", arg_str(a, "zone"));
	code = api_get(c, path.p, &r);
	if (code)
		return code;
	if (c->is_json) {
		print_json(r.json);
		return CLI_OK;
	}
	if (!json_get_bool(r.json, "enabled", 1))
		fputs("takt: the task is disabled: these times will pass unused\n", stderr);
	marks_print(
	    c, json_object_get(r.json, "times"), json_object_get(r.json, "skipped"), "never");
	if (json_is_true(json_object_get(r.json, "skipped_more")))
		fputs("takt: more is skipped than is listed\n", stderr);
	return CLI_OK;
}

/* --- why --- */

/*
 * The time of `takt why`. What has no offset is on the task's clock, which the server knows, unless
 * --zone names another; what is relative is from now on.
 */
static int
add_at(struct buf *path, const char *text, const char *zone_name)
{
	const struct zone *zone;
	char stamp[32];
	int64_t utc;
	int code;

	if (*text != '+' && !zone_name) {
		query_add(path, "at", text);
		return CLI_OK;
	}
	code = moment_zone("--zone", zone_name, &zone);
	if (!code)
		code = moment_parse("TIME", text, zone, &utc);
	if (!code)
		query_add(path, "at", when_format_rfc3339(utc, stamp));
	return code;
}

static void
print_line_of(const char *label, const char *text)
{
	if (!text || !*text)
		return;
	if (*label)
		printf("%-9s ", label);
	print_escaped(stdout, text, strlen(text));
	putchar('\n');
}

static void
print_instant(const char *label, const char *at, const char *zone)
{
	char utc[64], local[64];

	if (at)
		printf("%-9s %s   %s\n", label, print_utc_time(at, utc),
		    print_zone_time(at, zone, local));
}

/* Runs that were in the way, by code and state. */
static void
print_runs(const char *label, const json_t *runs)
{
	_cleanup_buf_ struct buf b = {0};
	const json_t *one;
	size_t i;

	buf_adds(&b, "");
	json_array_foreach(runs, i, one) buf_addf(&b, "%s%s %s", i ? ", " : "",
	    json_get_str(one, "code", "?"), json_get_str(one, "state", ""));
	print_line_of(label, b.p);
}

/* The settings that held. */
static void
print_settings(const json_t *s, const char *zone)
{
	_cleanup_buf_ struct buf b = {0};
	const char *name = json_get_str(s, "name", NULL);

	if (!json_is_object(s))
		return;
	buf_addf(&b, "%s %s, %s", json_get_str(s, "kind", ""), json_get_str(s, "expr", ""), zone);
	if (name)
		buf_addf(&b, ", as %s says", name);
	print_line_of("schedule", b.p);
}

static void
print_why(const json_t *w)
{
	const char *zone = json_get_str(w, "timezone", "UTC");
	const json_t *run = json_object_get(w, "run"), *detail = json_object_get(w, "detail");
	int64_t n = json_get_int(w, "n", 1);

	print_line_of("", json_get_str(w, "sentence", ""));
	print_line_of("answer", json_get_str(w, "answer", ""));
	print_line_of("rule", json_get_str(w, "rule", ""));
	print_instant("due", json_get_str(w, "due_at", NULL), zone);
	print_instant("until", json_get_str(w, "until_at", NULL), zone);
	if (n > 1)
		printf("%-9s %lld due times\n", "count", (long long)n);
	print_line_of("calendar", json_get_str(detail, "calendar", NULL));
	print_line_of("reason", json_get_str(detail, "reason", NULL));
	print_runs("behind", json_object_get(detail, "runs"));
	if (json_is_object(run))
		printf("%-9s %s %s\n", "run", json_get_str(run, "code", ""),
		    json_get_str(run, "state", ""));
	print_instant("decided", json_get_str(w, "decided_at", NULL), zone);
	print_settings(json_object_get(w, "schedule"), zone);
	print_instant("before", json_get_str(w, "before", NULL), zone);
	print_instant("after", json_get_str(w, "after", NULL), zone);
}

int
cmd_why(struct cli *c, const struct args *a)
{
	_cleanup_reply_ struct reply r = {0};
	_cleanup_buf_ struct buf path = {0};
	int code = task_path(c, a->pos[0], "/why", &path);

	if (!code && a->n > 1)
		code = add_at(&path, a->pos[1], arg_str(a, "zone"));
	if (!code)
		code = api_get(c, path.p, &r);
	if (code)
		return code;
	if (c->is_json)
		print_json(r.json);
	else
		print_why(r.json);
	return CLI_OK;
}

/* --- lists --- */

int
cmd_task_occurrences(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {{"DUE (UTC)", "due_at", COL_TIME},
	    {"UNTIL (UTC)", "until_at", COL_TIME}, {"N", "n"}, {"DECISION", "decision"},
	    {"RULE", "rule"}, {"RUN", "run.code"}, {"STATE", "run.state"}, {"DETAIL", "detail"},
	    {0}};
	_cleanup_json_ json_t *items = NULL;
	_cleanup_buf_ struct buf path = {0};
	size_t max;
	int code = arg_limit(a, 20, &max);

	if (!code)
		code = task_path(c, a->pos[0], "/occurrences", &path);
	if (!code)
		code = query_add_time(&path, a, "from", "since");
	if (!code)
		code = query_add_time(&path, a, "to", "until");
	if (code)
		return code;
	query_add(&path, "decision", arg_str(a, "decision"));
	code = api_list(c, path.p, max, &items);
	if (!code)
		print_table(c, items, cols);
	return code;
}
