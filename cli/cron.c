// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * `takt cron next` and `takt cron check`: any kind of schedule, asked locally. The same lib/when
 * that the engine uses answers here, so what this prints is what will run. A server is only asked for
 * calendars that are named.
 */
#include "cli/cron.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"

#include "cli/calfile.h"
#include "cli/commands.h"
#include "cli/moment.h"
#include "cli/print.h"

#include "when/calendar.h"
#include "when/stamp.h"
#include "when/zone.h"

#include "base/banned.h"

static int
refuse(const char *flag, struct err *e)
{
	e->code = ERR_INVALID;
	if (flag)
		err_field(e, "%s", flag);
	return cli_fail(e);
}

static int
parse_count(const char *s, long *out)
{
	size_t digits = strspn(s, "0123456789");

	*out = digits && digits < 7 ? strtol(s, NULL, 10) : 0;
	if (s[digits] || *out < 1 || *out > MARKS_COUNT_MAX)
		return cli_refuse("--count", "Give a number from 1 to 10000.",
		    "'%.40s' is not a number of times", s);
	return CLI_OK;
}

/* The words of the policies. */
static int
read_policy(const struct args *a, struct cron_question *q)
{
	const char *kind = arg_str(a, "kind"), *gap = arg_str(a, "dst-gap"),
		   *fold = arg_str(a, "dst-fold"), *hit = arg_str(a, "on-hit");
	struct err e = ERR_INIT;

	if (kind && when_kind_parse(kind, &q->kind, &e) < 0)
		return refuse("--kind", &e);
	if (gap && cron_gap_parse(gap, &q->set.policy.gap, &e) < 0)
		return refuse("--dst-gap", &e);
	if (fold && cron_fold_parse(fold, &q->set.policy.fold, &e) < 0)
		return refuse("--dst-fold", &e);
	if (hit && when_hit_parse(hit, &q->set.hit, &e) < 0)
		return refuse("--on-hit", &e);
	return CLI_OK;
}

/* H hashes the id's canonical text, as the engine does. */
static int
read_task(const struct args *a, struct cron_question *q)
{
	const char *task = arg_str(a, "task");

	if (!task)
		return CLI_OK;
	if (!uuid_valid(task))
		return cli_refuse("--task", "Give the task's id: `takt task list` shows it.",
		    "'%.60s' is not an id", task);
	for (size_t i = 0; i < UUID_LEN; i++)
		q->task[i] = (char)tolower((unsigned char)task[i]);
	q->set.hash_key = q->task;
	return CLI_OK;
}

static int
read_time(const struct args *a, const char *name, const struct zone *zone, int64_t *out)
{
	_cleanup_free_ char *flag = xasprintf("--%s", name);
	const char *text = arg_str(a, name);

	return text ? moment_parse(flag, text, zone, out) : CLI_OK;
}

static int
read_times(const struct args *a, struct cron_question *q)
{
	const char *zone = arg_str(a, "zone"), *tz = arg_str(a, "tz"), *count = arg_str(a, "count");
	int64_t now = clock_realtime_us() / 1000000;
	int code;

	if (zone && tz)
		return cli_refuse(
		    "--tz", "Give one of --zone and --tz.", "the zone is given twice");
	q->from = now;
	q->count = 5;
	code = moment_zone(tz ? "--tz" : "--zone", tz ? tz : zone, &q->set.zone);
	if (!code)
		code = read_time(a, "from", q->set.zone, &q->from);
	if (!code)
		code = read_time(a, "effective-from", q->set.zone, &q->set.from);
	if (!code)
		code = read_time(a, "effective-until", q->set.zone, &q->set.until);
	if (!code && count)
		code = parse_count(count, &q->count);
	q->set.anchor = q->kind == WHEN_ONCE       ? now
			: q->set.from != INT64_MIN ? q->set.from
						   : q->from;
	return code;
}

static int
read_calendars(struct cli *c, const struct args *a, struct cron_question *q)
{
	int code = calfile_merge(
	    c, "--skip-calendar", arg_list(a, "skip-calendar"), q->set.zone, &q->exclude);

	if (!code)
		code = calfile_merge(
		    c, "--only-calendar", arg_list(a, "only-calendar"), q->set.zone, &q->include);
	q->set.exclude = q->exclude;
	q->set.include = q->include;
	return code;
}

int
cron_question_init(struct cli *c, const struct args *a, struct cron_question *q)
{
	struct err e = ERR_INIT;
	int code;

	*q = (struct cron_question){.set = {WHEN_ALWAYS}};
	code = read_policy(a, q);
	if (!code)
		code = read_task(a, q);
	if (!code)
		code = read_times(a, q);
	if (!code)
		code = read_calendars(c, a, q);
	if (code)
		return code;
	if (when_text(q->kind, &q->set, a->pos[0], &q->text, &e) < 0 ||
	    !(q->w = when_new(q->kind, q->text.p ? q->text.p : "", &q->set, &e))) {
		if (!q->set.hash_key && strstr(e.message, "whose id it hashes"))
			err_hint(&e, "Name the task with --task ID.");
		return refuse(NULL, &e);
	}
	return CLI_OK;
}

void
cron_question_fini(struct cron_question *q)
{
	when_free(q->w);
	calendar_free(q->include);
	calendar_free(q->exclude);
	buf_fini(&q->text);
}

/* --- output --- */

static struct marks_of
marks_of(const struct cron_question *q)
{
	return (struct marks_of){q->w, q->set.zone, q->include, q->exclude};
}

/* What was asked, in front of the answer. */
static json_t *
asked_json(const struct cron_question *q)
{
	return json_pack("{s:s, s:s, s:s}", "kind", when_kind_name(q->kind), "expr",
	    q->text.p ? q->text.p : "", "timezone", zone_name(q->set.zone));
}

/* One stamp a line and nothing else: for scripts, and as it always was. */
static bool
is_plain(const struct args *a)
{
	return !arg_str(a, "zone") && !arg_list(a, "skip-calendar") &&
	       !arg_list(a, "only-calendar");
}

static int
print_next(struct cli *c, const struct args *a, struct cron_question *q)
{
	const struct marks_of m = marks_of(q);
	_cleanup_json_ json_t *found = marks_next(&m, q->from, q->count);
	const json_t *one;
	size_t i;

	if (c->is_json) {
		_cleanup_json_ json_t *answer = asked_json(q);

		json_object_update(answer, found);
		print_json(answer);
	} else if (is_plain(a)) {
		json_array_foreach(json_object_get(found, "next"), i, one)
		    puts(json_get_str(one, "utc", ""));
	} else {
		marks_print(
		    c, json_object_get(found, "next"), json_object_get(found, "skipped"), "never");
		if (json_is_true(json_object_get(found, "skipped_more")))
			fputs("takt: more was skipped than is listed\n", stderr);
	}
	return CLI_OK;
}

int
cmd_cron_next(struct cli *c, const struct args *a)
{
	struct cron_question q;
	int code = cron_question_init(c, a, &q);

	if (!code)
		code = print_next(c, a, &q);
	cron_question_fini(&q);
	return code;
}

/* Do clock changes mean anything to it? Not where elapsed time is counted. */
static bool
is_local(const struct cron_question *q)
{
	return q->kind != WHEN_EVERY && q->kind != WHEN_ONCE && q->kind != WHEN_ON_DEMAND &&
	       !(q->kind == WHEN_CRON && strncmp(q->text.p, "@every", 6) == 0);
}

static void
describe(const struct cron_question *q, bool is_never, struct buf *out)
{
	struct cron cron;

	buf_adds(out, "");
	if (q->kind == WHEN_CRON && cron_parse_keyed(q->text.p, q->set.hash_key, &cron, NULL) == 0)
		cron_describe(&cron, out);
	else
		buf_addf(out, "kind          %s\ntext          %s\n", when_kind_name(q->kind),
		    q->text.p ? q->text.p : "");
	if (is_never && q->kind == WHEN_ON_DEMAND)
		buf_adds(out, "never         it runs when it is asked to\n");
	else if (is_never)
		buf_adds(out, "never         no date matches: it will never run\n");
}

int
cmd_cron_check(struct cli *c, const struct args *a)
{
	_cleanup_json_ json_t *changes = NULL, *answer = NULL;
	_cleanup_buf_ struct buf text = {0};
	struct when_occurrence first;
	struct cron_question q;
	int code = cron_question_init(c, a, &q);

	if (!code) {
		const struct marks_of m = marks_of(&q);

		describe(&q, !when_next(q.w, q.from, &first), &text);
		changes = is_local(&q)
			      ? marks_clock_changes(&m, q.from)
			      : json_pack("{s:[], s:i}", "clock_changes", "clock_changes_more", 0);
		answer = asked_json(&q);
	}
	if (!code && c->is_json) {
		json_object_set_new(answer, "description", json_string(text.p));
		json_object_update(answer, changes);
		print_json(answer);
	} else if (!code) {
		fputs(text.p, stdout);
		marks_print_changes(c, changes);
	}
	cron_question_fini(&q);
	return code;
}
