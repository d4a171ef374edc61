// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See calfile.h. */
#include "cli/calfile.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/moment.h"
#include "cli/places.h"

#include "when/calendar.h"
#include "when/shown.h"

#include "base/banned.h"

#define NAME_LEN_MAX 63
#define SUFFIX ".ics"

static bool
has_suffix(const char *s)
{
	size_t n = strlen(s), m = strlen(SUFFIX);

	return n > m && strcasecmp(s + n - m, SUFFIX) == 0;
}

/* In either case: the server folds it. */
static bool
is_name(const char *s)
{
	size_t n = strlen(s);

	if (!n || n > NAME_LEN_MAX || strchr("._-", *s))
		return false;
	while (*s && (isalnum((unsigned char)*s) || strchr("._-", *s)))
		s++;
	return !*s;
}

bool
calfile_is_file(const char *given)
{
	return strchr(given, '/') || has_suffix(given) || !is_name(given);
}

static int
read_bytes(const char *file, struct buf *out)
{
	struct err e = ERR_INIT;

	buf_adds(out, "");
	if (io_read_file(strcmp(file, "-") == 0 ? "/dev/stdin" : file, ICAL_TEXT_MAX, out, &e) == 0)
		return CLI_OK;
	e.code = ERR_INVALID;
	err_hint(&e, "Give an iCalendar file of at most 1 MiB.");
	return cli_fail(&e);
}

static int
parse_bytes(const char *file, const struct buf *text, const struct zone *zone,
    struct calendar_days *out, struct ical_report *report)
{
	struct err e = ERR_INIT;

	if (ical_read(text->p, text->n, ICAL_FIRST_DAY, ICAL_LAST_DAY, zone, out, report, &e) == 0)
		return CLI_OK;
	err_push(&e, "%.200s", strcmp(file, "-") == 0 ? "standard input" : file);
	if (!*e.hint)
		err_hint(&e, "The file is refused whole: correct it, or export it again.");
	return cli_fail(&e);
}

int
calfile_read(const char *file, const struct zone *zone, struct calendar_days *out,
    struct ical_report *report)
{
	_cleanup_buf_ struct buf b = {0};
	int code = read_bytes(file, &b);

	return code ? code : parse_bytes(file, &b, zone, out, report);
}

int
calfile_text(const char *file, struct buf *out)
{
	_cleanup_(calendar_days_fini) struct calendar_days days = {0};
	struct ical_report report;
	int code = read_bytes(file, out);

	return code ? code : parse_bytes(file, out, NULL, &days, &report);
}

static void
fold(char *s)
{
	for (; *s; s++)
		*s = (char)tolower((unsigned char)*s);
}

char *
calfile_path(const char *name)
{
	_cleanup_free_ char *folded = xstrdup(name), *escaped = NULL;

	fold(folded);
	escaped = api_escape(folded);
	return xasprintf("/calendars/%s", escaped);
}

char *
calfile_shipped(const char *name)
{
	_cleanup_free_ char *dir = places_data_dir("calendars.d"), *folded = xstrdup(name);
	char *path;

	fold(folded);
	path = is_name(name) ? xasprintf("%s/%s" SUFFIX, dir, folded) : NULL;
	if (path && access(path, R_OK) == 0)
		return path;
	free(path);
	return NULL;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of the shipped calendars, in order, joined by commas. */
static void
list_shipped(struct buf *out)
{
	_cleanup_free_ char *path = places_data_dir("calendars.d");
	char *names[64];
	size_t n = 0;
	DIR *dir = opendir(path);
	const struct dirent *entry;

	while (dir && n < ARRAY_LEN(names) && (entry = readdir(dir)))
		if (has_suffix(entry->d_name))
			names[n++] = xasprintf(
			    "%.*s", (int)(strlen(entry->d_name) - strlen(SUFFIX)), entry->d_name);
	if (dir)
		closedir(dir);
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n; i++) {
		buf_addf(out, "%s%s", i ? ", " : "", names[i]);
		free(names[i]);
	}
}

int
calfile_unknown(const char *field, const char *name)
{
	_cleanup_buf_ struct buf names = {0};
	struct err e = ERR_INIT;

	list_shipped(&names);
	err_set(
	    &e, ERR_NOT_FOUND, "no calendar '%.70s' comes with Takt, and no server is known", name);
	err_field(&e, "%s", field);
	if (access(name, F_OK) == 0)
		err_hint(&e, "There is a file of that name: write ./%.70s.", name);
	else
		err_hint(&e,
		    "There are %.150s; a file's name has a slash or ends with " SUFFIX
		    ", a server is named by --url.",
		    names.n ? names.p : "none");
	return cli_fail(&e);
}

static void
add_day(struct calendar_days *to, int64_t day, char *take_reason)
{
	/* One more each time, but twice the room at each power of two. */
	if ((to->n & (to->n - 1)) == 0) {
		size_t room = to->n ? to->n * 2 : 1;
		int64_t *days = xcalloc(room, sizeof(*days));
		char **reasons = xcalloc(room, sizeof(*reasons));

		if (to->n) {
			memcpy(days, to->days, to->n * sizeof(*days));
			memcpy(reasons, to->reasons, to->n * sizeof(*reasons));
		}
		free(to->days);
		free(to->reasons);
		to->days = days;
		to->reasons = reasons;
	}
	to->days[to->n] = day;
	to->reasons[to->n++] = take_reason;
}

static int
load_from_server(struct cli *c, const char *name, struct calendar_days *out)
{
	_cleanup_(calendar_days_fini) struct calendar_days got = {0};
	_cleanup_free_ char *calendar = calfile_path(name),
			    *path = xasprintf("%s?from=1970-01-01&to=2100-12-31", calendar);
	_cleanup_reply_ struct reply r = {0};
	const json_t *one;
	size_t i;
	int code = api_get(c, path, &r);

	json_array_foreach(json_object_get(r.json, "days"), i, one)
	{
		int64_t day;

		if (code || i >= ICAL_DAYS_MAX)
			break;
		code = moment_day("day", json_get_str(one, "date", ""), &day) ? CLI_SERVER : CLI_OK;
		if (!code)
			add_day(&got, day, xstrdup(json_get_str(one, "reason", "")));
	}
	if (code)
		return code;
	*out = got;
	got = (struct calendar_days){0};
	return CLI_OK;
}

int
calfile_load(struct cli *c, const char *field, const char *given, const struct zone *zone,
    struct calendar_days *out)
{
	struct ical_report report;
	_cleanup_free_ char *shipped = NULL;

	if (calfile_is_file(given))
		return calfile_read(given, zone, out, &report);
	if (c->url)
		return load_from_server(c, given, out);
	shipped = calfile_shipped(given);
	return shipped ? calfile_read(shipped, zone, out, &report) : calfile_unknown(field, given);
}

/* "Christmas Day (us-federal)": of several calendars it matters which one it was. */
static char *
named_reason(const char *reason, const char *given)
{
	const char *slash = strrchr(given, '/');
	char name[WHEN_SHOWN_MAX + 1];

	when_shown(slash ? slash + 1 : given, name);
	return *reason ? xasprintf("%s (%s)", reason, name) : xasprintf("calendar %s", name);
}

int
calfile_merge(struct cli *c, const char *field, const json_t *given, const struct zone *zone,
    struct calendar **out)
{
	_cleanup_(calendar_days_fini) struct calendar_days all = {0};
	const json_t *one;
	size_t i;

	*out = NULL;
	json_array_foreach(given, i, one)
	{
		_cleanup_(calendar_days_fini) struct calendar_days days = {0};
		const char *name = json_string_value(one);
		int code = calfile_load(c, field, name, zone, &days);

		if (code)
			return code;
		for (size_t k = 0; k < days.n; k++)
			add_day(&all, days.days[k], named_reason(days.reasons[k], name));
	}
	if (given)
		*out = calendar_new("given", all.n, all.days, (const char *const *)all.reasons);
	return CLI_OK;
}
