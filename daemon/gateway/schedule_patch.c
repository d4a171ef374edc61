// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See schedule_def.h, schedule_def_patch(). A schedule of times, a window or an ordinal is taken
 * apart into EasyTask's members first, so that a patch may name one of the two.
 */
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "daemon/gateway/schedule_def.h"
#include "daemon/gateway/schedule_priv.h"

#include "base/banned.h"

/* The members of a canonical text: what is before its last blank, and what is behind. */
static const struct {
	const char *kind, *before, *behind;
} parts[] = {
    {"times", "trigger_times", "day_of_week"},
    {"window", "run_frequency", "day_of_week"},
    {"ordinal", "ordinal_day", "trigger_times"},
};

static const json_t *
inner(const json_t *patch)
{
	const json_t *j = json_object_get(patch, "schedule");

	return json_is_object(j) ? j : NULL;
}

static bool
names(const json_t *patch, const char *member)
{
	return json_object_get(patch, member) || json_object_get(inner(patch), member);
}

/* Named, and not to be removed. */
static bool
says(const json_t *patch, const char *member)
{
	const json_t *a = json_object_get(patch, member),
		     *b = json_object_get(inner(patch), member);

	return (a && !json_is_null(a)) || (b && !json_is_null(b));
}

static bool
is_part(const struct schedule_spelling *row, const char *member)
{
	return strcmp(row->member, member) == 0 || (row->with && strcmp(row->with, member) == 0);
}

static void
drop_when(json_t *schedule)
{
	json_object_del(schedule, "kind");
	json_object_del(schedule, "expr");
}

static void
take_apart(json_t *schedule)
{
	const char *kind = json_get_str(schedule, "kind", ""),
		   *expr = json_get_str(schedule, "expr", ""), *blank = strrchr(expr, ' ');

	for (size_t i = 0; blank && i < ARRAY_LEN(parts); i++) {
		if (strcmp(kind, parts[i].kind) != 0)
			continue;
		json_object_set_new(
		    schedule, parts[i].before, json_stringn(expr, (size_t)(blank - expr)));
		json_object_set_new(schedule, parts[i].behind, json_string(blank + 1));
		drop_when(schedule);
		return;
	}
}

/* The spelling that the patch leads to; NULL: it names none. */
static const struct schedule_spelling *
spelling_after(const json_t *schedule, const json_t *patch)
{
	const struct schedule_spelling *found = NULL;

	for (const struct schedule_spelling *r = schedule_spellings; r->member; r++)
		if (says(patch, r->member) && (!found || !is_part(found, r->member)))
			found = r;
	/* New times of an ordinal leave it one. */
	for (const struct schedule_spelling *r = schedule_spellings; found && r->member; r++)
		if (r->with && strcmp(r->with, found->member) == 0 &&
		    json_object_get(schedule, r->member))
			return r;
	return found;
}

/* Of what was taken apart, what the new spelling uses stays, but for what the patch says itself. */
static void
keep_parts(json_t *schedule, const struct schedule_spelling *row, const json_t *patch)
{
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		const char *const both[] = {parts[i].before, parts[i].behind};

		for (size_t k = 0; k < ARRAY_LEN(both); k++)
			if (names(patch, both[k]) || (row && !is_part(row, both[k])))
				json_object_del(schedule, both[k]);
	}
}

/* A null for the member that says when leaves a task without times. */
static bool
removes(const json_t *schedule, const json_t *patch)
{
	const char *kind = json_get_str(schedule, "kind", "");

	for (const struct schedule_spelling *r = schedule_spellings; r->member; r++) {
		bool is_it = r->kind == SCHEDULE_KIND_SAID ||
			     strcmp(kind, when_kind_name((enum when_kind)r->kind)) == 0;

		if (is_it && names(patch, r->member) && !says(patch, r->member))
			return true;
	}
	return false;
}

static void
replace_when(json_t *schedule, const json_t *patch)
{
	static const struct schedule_spelling nothing = {.member = "kind"};
	const struct schedule_spelling *row;
	bool is_removed = removes(schedule, patch);

	if (says(patch, "expr") || says(patch, "kind")) {
		if (!says(patch, "expr"))
			drop_when(schedule);
		return;
	}
	take_apart(schedule);
	row = spelling_after(schedule, patch);
	if (row || is_removed)
		drop_when(schedule);
	if (!row && is_removed) {
		row = &nothing;
		json_object_set_new(schedule, "kind", json_string("on_demand"));
	}
	keep_parts(schedule, row, patch);
}

static bool
says_when(const json_t *patch)
{
	for (const struct schedule_spelling *r = schedule_spellings; r->member; r++)
		if (says(patch, r->member))
			return true;
	return says(patch, "kind");
}

static void
replace_settings(json_t *schedule, const json_t *patch)
{
	for (int i = 0; i < SCHEDULE_SETTINGS; i++) {
		const struct schedule_setting *s = &schedule_settings[i];

		if (names(patch, s->name) || (s->alias && names(patch, s->alias)))
			json_object_del(schedule, s->name);
	}
}

void
schedule_def_patch(json_t *definition, const json_t *patch)
{
	static const char *const copies[] = {"cron_expression", "timezone", "dst_gap", "dst_fold"};
	const json_t *given = json_object_get(patch, "schedule");
	json_t *schedule = json_object_get(definition, "schedule");

	for (size_t i = 0; i < ARRAY_LEN(copies); i++)
		json_object_del(definition, copies[i]);
	if (says(patch, "active"))
		json_object_del(definition, "enabled");
	if ((given && !json_is_object(given)) || says(inner(patch), "name") ||
	    (schedule_def_follows(schedule) && says_when(patch))) {
		json_object_del(definition, "schedule");
		return;
	}
	if (schedule_def_follows(schedule))
		return;
	replace_settings(schedule, patch);
	replace_when(schedule, patch);
}
