// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * `takt forecast`: everything that is due in a range. The server answers for a page of tasks at a
 * time; here the pages become one list in order of time.
 */
#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/marks.h"
#include "cli/print.h"
#include "cli/query.h"

#include "base/banned.h"

#define PAGES_MAX 1000

struct forecast {
	json_t *items;
	int64_t total;
	char until[40]; /* what is left out by the limit is due then or later; "": nothing is */
};

static void
take_page(struct forecast *f, const json_t *page)
{
	const char *until = json_get_str(page, "complete_until", "");

	json_array_extend(f->items, json_object_get(page, "items"));
	f->total += json_get_int(page, "total", 0);
	if (!json_get_bool(page, "is_complete", 1) && (!*f->until || strcmp(until, f->until) < 0))
		snprintf(f->until, sizeof(f->until), "%s", until);
}

static int
ask(struct cli *c, const char *path, struct forecast *f)
{
	_cleanup_free_ char *cursor = NULL;

	for (int i = 0; i < PAGES_MAX; i++) {
		_cleanup_reply_ struct reply r = {0};
		_cleanup_buf_ struct buf page = {0};
		const char *next;
		int code;

		buf_adds(&page, path);
		query_add(&page, "cursor", cursor);
		code = api_get(c, page.p, &r);
		if (code)
			return code;
		take_page(f, r.json);
		next = json_get_str(r.json, "next_cursor", NULL);
		if (!next)
			return CLI_OK;
		free(cursor);
		cursor = xstrdup(next);
	}
	fputs("takt: there are more tasks than are asked about\n", stderr);
	return CLI_OK;
}

static int
by_due(const void *a, const void *b)
{
	const json_t *x = *(const json_t *const *)a, *y = *(const json_t *const *)b;
	int order = strcmp(json_get_str(x, "due_at", ""), json_get_str(y, "due_at", ""));

	return order ? order
		     : strcmp(json_get_str(x, "task_name", ""), json_get_str(y, "task_name", ""));
}

/* In order of time, at most max (0: all), and none of a time of which some are left out. */
static json_t *
in_order(const struct forecast *f, size_t max)
{
	size_t n = json_array_size(f->items);
	_cleanup_free_ json_t **all = xcalloc(n + 1, sizeof(json_t *));
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		all[i] = json_array_get(f->items, i);
	qsort(all, n, sizeof(*all), by_due);
	for (size_t i = 0; i < n && (!max || i < max); i++)
		if (!*f->until || strcmp(json_get_str(all[i], "due_at", ""), f->until) < 0)
			json_array_append(list, all[i]);
	return list;
}

/* What people should know about a row, in words. */
static void
add_note(json_t *row)
{
	static const struct {
		const char *mark, *text;
	} words[] = {{"moved", "moved by a clock change"}, {"repeat", "repeated by a clock change"},
	    {"shifted", "from another day, by a calendar"}};
	const char *skipped = json_get_str(row, "skipped", NULL),
		   *reason = json_get_str(row, "reason", "");
	int64_t count = json_get_int(row, "count", 1);
	_cleanup_buf_ struct buf b = {0};
	const json_t *one;
	size_t i;

	buf_adds(&b, "");
	if (skipped)
		buf_addf(&b, "skipped: %s", *reason ? reason : skipped);
	json_array_foreach(json_object_get(row, "marks"), i, one)
	{
		const char *mark = json_is_string(one) ? json_string_value(one) : "";

		for (size_t k = 0; k < ARRAY_LEN(words); k++)
			if (strcmp(words[k].mark, mark) == 0)
				buf_addf(&b, "%s%s", b.n ? ", " : "", words[k].text);
	}
	if (count > 1)
		buf_addf(&b, "%s%lld times until %s%s", b.n ? ", " : "", (long long)count,
		    json_get_str(row, "last_at", "?"),
		    json_get_bool(row, "is_more", 0) ? " and more" : "");
	json_object_set_new(row, "note", json_string(b.p));
	json_object_set_new(row, "shown", marks_local(json_get_str(row, "local", "")));
}

static void
print_forecast(struct cli *c, const struct forecast *f, json_t *items, size_t max)
{
	static const struct column cols[] = {{"DUE (UTC)", "due_at", COL_TIME},
	    {"DUE (ZONE)", "shown"}, {"TASK", "task_name"}, {"NOTE", "note"}, {0}};
	json_t *row;
	size_t i;

	json_array_foreach(items, i, row) add_note(row);
	print_table(c, items, cols);
	if (json_array_size(items))
		printf("%lld due\n", (long long)f->total);
	if (*f->until)
		fprintf(stderr,
		    "takt: from %s on some are left out: give a shorter range or a higher "
		    "--limit\n",
		    f->until);
	else if (max && json_array_size(items) < json_array_size(f->items))
		fputs("takt: there are more: give a shorter range or a higher --limit\n", stderr);
}

int
cmd_forecast(struct cli *c, const struct args *a)
{
	struct forecast f = {.items = json_array()};
	_cleanup_json_ json_t *all = f.items, *items = NULL;
	_cleanup_buf_ struct buf path = {0};
	size_t max;
	int code = arg_limit(a, 0, &max);

	buf_adds(&path, "/forecast");
	if (!code)
		code = query_add_time(&path, a, "from", "from");
	if (!code)
		code = query_add_time(&path, a, "to", "to");
	if (code)
		return code;
	query_add(&path, "limit", arg_str(a, "limit"));
	code = ask(c, path.p, &f);
	if (code)
		return code;
	items = in_order(&f, max);
	if (c->is_json) {
		_cleanup_json_ json_t *answer = json_pack("{s:O, s:I, s:b, s:s?}", "items", items,
		    "total", (json_int_t)f.total, "is_complete",
		    !*f.until && json_array_size(items) == json_array_size(f.items),
		    "complete_until", *f.until ? f.until : NULL);

		print_json(answer);
	} else {
		print_forecast(c, &f, items, max);
	}
	return CLI_OK;
}
