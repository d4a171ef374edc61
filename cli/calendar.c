// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Calendars: iCalendar files checked locally, and the calendars of the server. */
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/calfile.h"
#include "cli/input.h"
#include "cli/moment.h"
#include "cli/print.h"

#include "when/calendar.h"
#include "when/civil.h"

#include "base/banned.h"

#define YEAR_DAYS 365

static json_t *
days_json(const struct calendar_days *days, int64_t from, int64_t to)
{
	json_t *list = json_array();
	char text[16];

	for (size_t i = 0; i < days->n; i++)
		if (days->days[i] >= from && days->days[i] <= to)
			json_array_append_new(list,
			    json_pack("{s:s, s:s}", "date", moment_day_text(days->days[i], text),
				"reason", days->reasons[i]));
	return list;
}

static json_t *
report_json(const struct ical_report *r, const struct calendar_days *days)
{
	json_t *notes = json_array();
	char first[16] = "", last[16] = "";

	if (days->n) {
		moment_day_text(days->days[0], first);
		moment_day_text(days->days[days->n - 1], last);
	}
	for (int i = 0; i < r->notes_n && i < ICAL_NOTES_MAX; i++)
		json_array_append_new(notes,
		    json_pack("{s:i, s:s}", "line", r->notes[i].line, "text", r->notes[i].text));
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:s, s:s, s:i, s:i, s:o}", "name", r->name,
	    "components", r->components, "events", r->events, "occurrences", r->occurrences, "days",
	    r->days, "first_day", first, "last_day", last, "outside", r->outside, "ignored",
	    r->ignored, "notes", notes);
}

static void
print_notes(const json_t *report)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(report, "notes"), i, one)
	{
		const char *text = json_get_str(one, "text", "");

		printf("line %lld: ", (long long)json_get_int(one, "line", 0));
		print_escaped(stdout, text, strlen(text));
		putchar('\n');
	}
}

int
cmd_calendar_check(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {{"title", "name"}, {"events", "events"},
	    {"occurrences", "occurrences"}, {"days", "days"}, {"first day", "first_day"},
	    {"last day", "last_day"}, {"no day from 1970 to 2100", "outside"},
	    {"ignored", "ignored"}, {0}};
	_cleanup_(calendar_days_fini) struct calendar_days days = {0};
	_cleanup_json_ json_t *report = NULL;
	const struct zone *zone = NULL;
	const char *name = arg_str(a, "zone");
	struct ical_report r;
	int code = name ? moment_zone("--zone", name, &zone) : CLI_OK;

	if (!code)
		code = calfile_read(a->pos[0], zone, &days, &r);
	if (code)
		return code;
	report = report_json(&r, &days);
	print_object(c, report, cols);
	if (!c->is_json)
		print_notes(report);
	return CLI_OK;
}

/* --- one day --- */

/* Of a file, or of a shipped calendar when there is no server. */
static int
ask_file(struct cli *c, const struct args *a, int64_t day, json_t **answer)
{
	_cleanup_(calendar_days_fini) struct calendar_days days = {0};
	_cleanup_calendar_ struct calendar *cal = NULL;
	const char *name = arg_str(a, "zone"), *reason = "";
	const struct zone *zone = NULL;
	int code = name ? moment_zone("--zone", name, &zone) : CLI_OK;
	bool is_in;

	if (!code)
		code = calfile_load(c, "NAME", a->pos[0], zone, &days);
	if (code)
		return code;
	cal = calendar_new("given", days.n, days.days, (const char *const *)days.reasons);
	is_in = calendar_has(cal, day, &reason);
	*answer = json_pack("{s:s, s:b, s:s?}", "date", a->pos[1], "is_in", (int)is_in, "reason",
	    is_in ? reason : NULL);
	return CLI_OK;
}

static int
ask_server(struct cli *c, const struct args *a, json_t **answer)
{
	_cleanup_free_ char *calendar = calfile_path(a->pos[0]),
			    *path = xasprintf("%s/days/%s", calendar, a->pos[1]);
	_cleanup_reply_ struct reply r = {0};
	int code = api_get(c, path, &r);

	if (!code)
		*answer = json_incref(r.json);
	return code;
}

int
cmd_calendar_is_holiday(struct cli *c, const struct args *a)
{
	_cleanup_json_ json_t *answer = NULL;
	bool is_in;
	int64_t day;
	int code = moment_day("DATE", a->pos[1], &day);

	if (!code && c->url && !calfile_is_file(a->pos[0]))
		code = ask_server(c, a, &answer);
	else if (!code)
		code = ask_file(c, a, day, &answer);
	if (code)
		return code;
	is_in = json_get_bool(answer, "is_in", 0);
	if (c->is_json) {
		print_json(answer);
	} else if (is_in) {
		const char *reason = json_get_str(answer, "reason", "");

		reason = *reason ? reason : "in the calendar, without a reason";
		print_escaped(stdout, reason, strlen(reason));
		putchar('\n');
	}
	return is_in ? CLI_OK : CLI_NO;
}

/* --- the server's calendars --- */

static const struct column calendar_cols[] = {{"name", "name"}, {"title", "title"},
    {"source", "source"}, {"days", "day_count"}, {"first day", "first_day"},
    {"last day", "last_day"}, {"version", "version"}, {"updated", "updated_at", COL_TIME},
    {"used by", "used_by", COL_LIST}, {0}};

int
cmd_calendar_list(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {{"NAME", "name"}, {"TITLE", "title"},
	    {"SOURCE", "source"}, {"DAYS", "day_count"}, {"FIRST", "first_day"},
	    {"LAST", "last_day"}, {"VERSION", "version"}, {"UPDATED", "updated_at", COL_TIME}, {0}};
	_cleanup_json_ json_t *items = NULL;
	size_t max;
	int code = arg_limit(a, 0, &max);

	if (!code)
		code = api_list(c, "/calendars", max, &items);
	if (!code)
		print_table(c, items, cols);
	return code;
}

/* The answer of a PUT: the calendar, and what the import said. */
static int
put(struct cli *c, const char *name, const json_t *body)
{
	_cleanup_free_ char *path = calfile_path(name);
	_cleanup_reply_ struct reply r = {0};
	int code = api_json(c, "PUT", path, body, &r);

	if (code)
		return code;
	print_object(c, r.json, calendar_cols);
	if (!c->is_json) {
		print_notes(json_object_get(r.json, "report"));
		if (!json_get_bool(r.json, "changed", 1))
			fputs("takt: its days are the same as before\n", stderr);
	}
	return CLI_OK;
}

/* Read here first: a file that is refused is not sent, and the reason names the file. */
int
cmd_calendar_import(struct cli *c, const struct args *a)
{
	_cleanup_json_ json_t *body = NULL;
	_cleanup_buf_ struct buf text = {0};
	const char *title = arg_str(a, "title");
	int code = calfile_text(a->pos[1], &text);

	if (code)
		return code;
	body = json_pack("{s:s%}", "ical", text.p, text.n);
	if (!body)
		return cli_refuse("FILE", "Save it as UTF-8.", "%.200s is not UTF-8", a->pos[1]);
	if (title)
		json_object_set_new(body, "title", json_string(title));
	return put(c, a->pos[0], body);
}

int
cmd_calendar_put(struct cli *c, const struct args *a)
{
	_cleanup_json_ json_t *body = input_object(a->pos[1]);

	return body ? put(c, a->pos[0], body) : CLI_REFUSED;
}

int
cmd_calendar_delete(struct cli *c, const struct args *a)
{
	_cleanup_free_ char *path = calfile_path(a->pos[0]);
	_cleanup_reply_ struct reply r = {0};

	return api_json(c, "DELETE", path, NULL, &r);
}

/* --- the days --- */

static int
read_range(const struct args *a, int64_t *from, int64_t *to)
{
	const char *first = arg_str(a, "from"), *last = arg_str(a, "to");
	int code = CLI_OK;

	*from = floor_div(clock_realtime_us() / 1000000, DAY_S);
	if (first)
		code = moment_day("--from", first, from);
	*to = *from + YEAR_DAYS;
	if (!code && last)
		code = moment_day("--to", last, to);
	if (!code && *to < *from)
		return cli_refuse("--to", "Give a day that is not before --from.",
		    "'%.20s' is before the first day", last);
	return code;
}

static int
show_file(struct cli *c, const struct args *a, int64_t from, int64_t to, json_t **days)
{
	_cleanup_(calendar_days_fini) struct calendar_days got = {0};
	const char *name = arg_str(a, "zone");
	const struct zone *zone = NULL;
	int code = name ? moment_zone("--zone", name, &zone) : CLI_OK;

	if (!code)
		code = calfile_load(c, "NAME", a->pos[0], zone, &got);
	if (!code)
		*days = days_json(&got, from, to);
	return code;
}

int
cmd_calendar_show(struct cli *c, const struct args *a)
{
	static const struct column cols[] = {{"DATE", "date"}, {"REASON", "reason"}, {0}};
	_cleanup_reply_ struct reply r = {0};
	_cleanup_json_ json_t *days = NULL;
	int64_t from, to;
	int code = read_range(a, &from, &to);

	if (!code && (!c->url || calfile_is_file(a->pos[0]))) {
		code = show_file(c, a, from, to, &days);
	} else if (!code) {
		char first[16], last[16];
		_cleanup_free_ char *calendar = calfile_path(a->pos[0]);
		_cleanup_free_ char *path = xasprintf("%s?from=%s&to=%s", calendar,
		    moment_day_text(from, first), moment_day_text(to, last));

		code = api_get(c, path, &r);
		days = json_incref(json_object_get(r.json, "days"));
	}
	if (code)
		return code;
	if (c->is_json) {
		print_json(r.json ? r.json : days);
		return CLI_OK;
	}
	if (r.json)
		print_object(c, r.json, calendar_cols);
	print_table(c, days, cols);
	return CLI_OK;
}
