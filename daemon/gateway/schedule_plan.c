// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See schedule_def.h: a normal form compiled, with the calendars that it needs. */
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "daemon/gateway/schedule_def.h"
#include "daemon/gateway/schedule_priv.h"
#include "when/calendar.h"

#include "base/banned.h"

/* The calendars of one side: each by itself, to name the one that has a day, and all days as one. */
struct side {
	size_t n;
	struct calendar **each, *all;
};

struct schedule_plan {
	struct when *when;
	const struct zone *zone;
	struct side include, exclude;
};

/* Days and reasons of some calendars, one after the other. */
struct day_list {
	size_t n;
	int64_t *days;
	const char **reasons; /* of the JSON */
};

static void
day_list_fini(struct day_list *l)
{
	free(l->days);
	free(l->reasons);
}

#define _cleanup_day_list_ _cleanup_(day_list_fini)

static struct day_list
day_list_of(const json_t *rows)
{
	size_t n = json_array_size(rows);
	struct day_list l = {
	    n, xcalloc(n + 1, sizeof(*l.days)), xcalloc(n + 1, sizeof(*l.reasons))};

	for (size_t i = 0; i < n; i++) {
		const json_t *row = json_array_get(rows, i);
		const char *reason = json_string_value(json_array_get(row, 1));

		l.days[i] = json_integer_value(json_array_get(row, 0));
		l.reasons[i] = reason ? reason : "";
	}
	return l;
}

static struct calendar *
calendar_of(const char *name, const json_t *rows)
{
	_cleanup_day_list_ struct day_list l = day_list_of(rows);

	return calendar_new(name, l.n, l.days, l.reasons);
}

static void
side_fini(struct side *s)
{
	for (size_t i = 0; i < s->n; i++)
		calendar_free(s->each[i]);
	free(s->each);
	calendar_free(s->all);
}

static int
side_load(struct side *s, const json_t *normal, const char *member, const json_t *calendars,
    struct err *e)
{
	const json_t *names = json_object_get(normal, member);
	_cleanup_json_ json_t *all = json_array();
	size_t n = json_array_size(names);

	if (!n)
		return 0;
	s->each = xcalloc(n, sizeof(struct calendar *));
	for (; s->n < n; s->n++) {
		const char *name = json_string_value(json_array_get(names, s->n));
		json_t *rows = json_object_get(calendars, name ? name : "");

		if (!rows) {
			err_set(e, ERR_NOT_FOUND, "there is no calendar \"%s\"", name ? name : "");
			return err_field(e, "/%s", member);
		}
		s->each[s->n] = calendar_of(name, rows);
		json_array_extend(all, rows);
	}
	s->all = calendar_of(member, all);
	return 0;
}

struct schedule_plan *
schedule_plan_new(const json_t *normal, const json_t *calendars, const char *task_id,
    int64_t anchor_utc, struct err *e)
{
	_cleanup_schedule_plan_ struct schedule_plan *p = xcalloc(1, sizeof(*p));
	struct when_setting set;
	enum when_kind kind;

	if (when_kind_parse(json_get_str(normal, "kind", ""), &kind, e) < 0 ||
	    schedule_setting_when(normal, &set, e) < 0 ||
	    side_load(&p->include, normal, "include", calendars, e) < 0 ||
	    side_load(&p->exclude, normal, "exclude", calendars, e) < 0)
		return NULL;
	set.anchor = set.from == INT64_MIN ? anchor_utc : set.from;
	set.include = p->include.all;
	set.exclude = p->exclude.all;
	if (task_id)
		set.hash_key = task_id;
	p->zone = set.zone;
	p->when = when_new(kind, json_get_str(normal, "expr", ""), &set, e);
	return p->when ? take_ptr(&p) : NULL;
}

void
schedule_plan_free(struct schedule_plan *p)
{
	if (!p)
		return;
	when_free(p->when);
	side_fini(&p->include);
	side_fini(&p->exclude);
	free(p);
}

const struct when *
schedule_plan_when(const struct schedule_plan *p)
{
	return p->when;
}

const struct zone *
schedule_plan_zone(const struct schedule_plan *p)
{
	return p->zone;
}

const char *
schedule_plan_hit(const struct schedule_plan *p, int64_t day, const char **reason)
{
	const char *why = "", **to = reason ? reason : &why;

	for (size_t i = 0; i < p->exclude.n; i++)
		if (calendar_has(p->exclude.each[i], day, to))
			return calendar_name(p->exclude.each[i]);
	*to = "";
	if (p->include.n && !calendar_has(p->include.all, day, NULL))
		return calendar_name(p->include.each[0]);
	return NULL;
}
