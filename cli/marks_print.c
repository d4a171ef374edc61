// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Times and marks as tables; see marks.h. */
#include "cli/marks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "cli/print.h"

#include "base/banned.h"

#define DAY_LEN 10

json_t *
marks_local(const char *local)
{
	if (strlen(local) <= DAY_LEN)
		return json_string(local);
	return json_sprintf("%.*s %s", DAY_LEN, local, local + DAY_LEN + 1);
}

static bool
has_mark(const json_t *row, const char *mark)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(row, "marks"), i,
	    one) if (json_is_string(one) && strcmp(json_string_value(one), mark) == 0) return true;
	return false;
}

static void
tell_run(const json_t *row, struct buf *out)
{
	const char *gap = json_get_str(row, "gap", NULL), *reason = json_get_str(row, "reason", ""),
		   *day = json_get_str(row, "meant_for", NULL);

	if (has_mark(row, "moved") && gap)
		buf_addf(out, "moved: the clock goes from %s at once", gap);
	else if (has_mark(row, "moved"))
		buf_adds(out, "moved: the clock skips the time it was meant for");
	if (has_mark(row, "repeat"))
		buf_addf(out, "%srepeated: the clock shows this time again", out->n ? "; " : "");
	if (has_mark(row, "shifted") && day)
		buf_addf(out, "%sshifted: meant for %s, %s", out->n ? "; " : "", day, reason);
	else if (has_mark(row, "shifted"))
		buf_addf(out, "%sshifted: meant for a day that a calendar rules out",
		    out->n ? "; " : "");
}

static void
tell_skipped(const json_t *row, struct buf *out)
{
	const char *to = json_get_str(row, "shifted_to", NULL),
		   *reason = json_get_str(row, "reason", ""),
		   *calendar = json_get_str(row, "calendar", "");

	if (to)
		buf_addf(out, "goes to %.*s: ", DAY_LEN, to);
	else
		buf_adds(out, "skipped: ");
	buf_adds(out, reason);
	if (*calendar)
		buf_addf(out, *reason ? " (%s)" : "%s", calendar);
}

static int
by_time(const void *a, const void *b)
{
	const json_t *x = *(const json_t *const *)a, *y = *(const json_t *const *)b;
	int order = strcmp(json_get_str(x, "utc", ""), json_get_str(y, "utc", ""));

	return order ? order : strcmp(json_get_str(x, "local", ""), json_get_str(y, "local", ""));
}

static json_t *
table_row(const json_t *one)
{
	bool runs = !json_object_get(one, "what");
	_cleanup_buf_ struct buf text = {0};
	json_t *row = json_object();

	buf_adds(&text, "");
	if (runs) {
		json_object_set(row, "utc", json_object_get(one, "utc"));
		tell_run(one, &text);
	} else {
		tell_skipped(one, &text);
	}
	json_object_set_new(row, "local", marks_local(json_get_str(one, "local", "")));
	json_object_set_new(row, "viewer", marks_local(json_get_str(one, "viewer", "")));
	json_object_set_new(row, "text", json_string(text.p));
	return row;
}

void
marks_print(struct cli *c, const json_t *times, const json_t *skipped, const char *nothing)
{
	static const struct column cols[] = {
	    {"NEXT (UTC)", "utc", COL_TIME}, {"NEXT (ZONE)", "local"}, {"MARK", "text"}, {0}};
	static const struct column with_viewer[] = {{"NEXT (UTC)", "utc", COL_TIME},
	    {"NEXT (ZONE)", "local"}, {"NEXT (YOURS)", "viewer"}, {"MARK", "text"}, {0}};
	_cleanup_json_ json_t *rows = json_array();
	size_t n = json_array_size(times), m = json_array_size(skipped);
	_cleanup_free_ const json_t **all = xcalloc(n + m + 1, sizeof(const json_t *));
	bool has_viewer = json_object_get(json_array_get(times, 0), "viewer");

	for (size_t i = 0; i < n + m; i++)
		all[i] = i < n ? json_array_get(times, i) : json_array_get(skipped, i - n);
	qsort(all, n + m, sizeof(*all), by_time);
	for (size_t i = 0; i < n + m; i++)
		json_array_append_new(rows, table_row(all[i]));
	if (n + m)
		print_table(c, rows, has_viewer ? with_viewer : cols);
	if (!n)
		fprintf(stderr, "%s\n", nothing);
}

void
marks_print_changes(struct cli *c, const json_t *answer)
{
	static const struct column cols[] = {
	    {"DUE (ZONE)", "shown"}, {"WHAT", "what"}, {"RESULT", "text"}, {0}};
	json_t *list = json_object_get(answer, "clock_changes"), *one;
	int64_t more = json_get_int(answer, "clock_changes_more", 0);
	size_t i;

	if (!json_array_size(list))
		return;
	puts("\nClock changes of the next two years:");
	json_array_foreach(list, i, one)
	    json_object_set_new(one, "shown", marks_local(json_get_str(one, "due", "")));
	print_table(c, list, cols);
	if (more)
		printf("and %lld more\n", (long long)more);
}
