// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * lib/when as a filter, for the oracles: one JSON object a line in, one out.
 *
 *   {"kind", "expr", "zone", "gap", "fold", "from", "until", "anchor", "hash_key", "include":
 * [day...],
 *    "exclude": [day...], "hit", "after", "count"}
 *       -> {"next": [unix...], "flags": ["", "moved", "repeat", "shifted", "moved+shifted"...]}
 *   the same with "marks": true -> {"marks": [[utc, local_s, "fires" | "calendar" | "gap" |
 * "fold", fires_at]...]}
 *       of the nominal times in (after, until_mark], at most count
 *   the same with "given" for "expr" -> {"text": "canonical"}
 *   {"zone", "offsets": [unix...]} -> {"offsets": [[seconds, "abbreviation"]...]}
 *   anything refused -> {"error": "message", "field": "...", "hint": "..."}
 *
 * Days are civil days (1970-01-01 is 0). What is absent or null is none, or the default.
 */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "when/calendar.h"
#include "when/when.h"
#include "when/zone.h"

#include "base/banned.h"

static const char *const what_names[] = {[WHEN_FIRES] = "fires",
    [WHEN_SKIPPED_CALENDAR] = "calendar",
    [WHEN_SKIPPED_GAP] = "gap",
    [WHEN_SKIPPED_FOLD] = "fold"};

static struct calendar *
read_calendar(const json_t *q, const char *name)
{
	const json_t *days = json_object_get(q, name);
	_cleanup_free_ int64_t *list = NULL;
	size_t n = json_array_size(days);

	if (!json_is_array(days))
		return NULL;
	list = xcalloc(n + 1, sizeof(*list));
	for (size_t i = 0; i < n; i++)
		list[i] = json_integer_value(json_array_get(days, i));
	return calendar_new(name, n, list, NULL);
}

static int
read_setting(const json_t *q, enum when_kind *kind, struct when_setting *set, struct err *e)
{
	*set = (struct when_setting){.anchor = json_get_int(q, "anchor", 0),
	    .from = json_get_int(q, "from", INT64_MIN),
	    .until = json_get_int(q, "until", INT64_MAX),
	    .hash_key = json_get_str(q, "hash_key", NULL)};
	set->zone = zone_get(json_get_str(q, "zone", "UTC"), e);
	if (!set->zone)
		return -ERR_INVALID;
	if (when_kind_parse(json_get_str(q, "kind", "cron"), kind, e) < 0 ||
	    cron_gap_parse(json_get_str(q, "gap", "run_at_gap_end"), &set->policy.gap, e) < 0 ||
	    cron_fold_parse(json_get_str(q, "fold", "first"), &set->policy.fold, e) < 0)
		return -ERR_INVALID;
	return when_hit_parse(json_get_str(q, "hit", "skip"), &set->hit, e);
}

static const char *
flags(const struct when_occurrence *o, char text[32])
{
	snprintf(text, 32, "%s%s%s", o->is_moved ? "+moved" : "", o->is_repeat ? "+repeat" : "",
	    o->is_shifted ? "+shifted" : "");
	return text + (*text == '+');
}

static json_t *
answer_next(const struct when *w, int64_t after, int64_t count)
{
	json_t *next = json_array(), *marks = json_array();
	struct when_occurrence o;
	char text[32];

	for (; count > 0 && when_next(w, after, &o); count--, after = o.utc) {
		json_array_append_new(next, json_integer(o.utc));
		json_array_append_new(marks, json_string(flags(&o, text)));
	}
	return json_pack("{s:o, s:o}", "next", next, "flags", marks);
}

static json_t *
answer_marks(const struct when *w, const json_t *q, int64_t count)
{
	struct when_cursor c = {.after = json_get_int(q, "after", 0),
	    .until = json_get_int(q, "until_mark", INT64_MAX)};
	json_t *marks = json_array();
	struct when_mark m;

	for (; count > 0 && when_next_mark(w, &c, &m); count--)
		json_array_append_new(marks,
		    json_pack("[I, I, s, I]", (json_int_t)m.utc, (json_int_t)m.local_s,
			what_names[m.what], (json_int_t)(m.what == WHEN_FIRES ? m.o.utc : 0)));
	return json_pack("{s:o}", "marks", marks);
}

static json_t *
answer_offsets(const json_t *q, struct err *e)
{
	const struct zone *z = zone_get(json_get_str(q, "zone", "UTC"), e);
	json_t *out = json_array(), *at;
	size_t i;

	json_array_foreach(json_object_get(q, "offsets"), i, at)
	{
		const char *abbrev;
		int32_t off;

		if (!z)
			break;
		zone_offset_at(z, json_integer_value(at), &off, NULL, &abbrev);
		json_array_append_new(out, json_pack("[i, s]", (int)off, abbrev));
	}
	if (z)
		return json_pack("{s:o}", "offsets", out);
	json_decref(out);
	return NULL;
}

static json_t *
answer_schedule(const json_t *q, struct err *e)
{
	_cleanup_calendar_ struct calendar *include = read_calendar(q, "include");
	_cleanup_calendar_ struct calendar *exclude = read_calendar(q, "exclude");
	const char *given = json_get_str(q, "given", NULL);
	int64_t count = json_get_int(q, "count", 1);
	_cleanup_when_ struct when *w = NULL;
	_cleanup_buf_ struct buf text = {0};
	struct when_setting set;
	enum when_kind kind;

	if (read_setting(q, &kind, &set, e) < 0)
		return NULL;
	set.include = include;
	set.exclude = exclude;
	if (given)
		return when_text(kind, &set, given, &text, e) < 0
			   ? NULL
			   : json_pack("{s:s}", "text", text.p);
	w = when_new(kind, json_get_str(q, "expr", ""), &set, e);
	if (!w)
		return NULL;
	return json_get_bool(q, "marks", 0) ? answer_marks(w, q, count)
					    : answer_next(w, json_get_int(q, "after", 0), count);
}

static json_t *
answer(const char *line)
{
	_cleanup_json_ json_t *q = json_loads(line, 0, NULL);
	struct err e = ERR_INIT;
	json_t *a = NULL;

	if (!json_is_object(q))
		err_set(&e, ERR_INVALID, "the line is not a JSON object");
	else
		a = json_object_get(q, "offsets") ? answer_offsets(q, &e) : answer_schedule(q, &e);
	return a ? a
		 : json_pack(
		       "{s:s, s:s, s:s}", "error", e.message, "field", e.field, "hint", e.hint);
}

int
main(void)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 0) {
		_cleanup_json_ json_t *a = answer(line);

		json_dumpf(a, stdout, JSON_COMPACT);
		putchar('\n');
	}
	zone_fini();
	return 0;
}
