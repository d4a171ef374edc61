// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Hooks of shared schedules and of the check that keeps nothing; previews and warnings, which tasks
 * have too (hooks_schedule.h). The next times of tasks that follow a shared schedule are the
 * engine's to compute.
 */
#include "daemon/gateway/hooks_schedule.h"

#include <stdio.h>
#include <string.h>

#include "base/jsonx.h"

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/request.h"
#include "daemon/gateway/schedule_def.h"
#include "daemon/gateway/schedule_known.h"
#include "daemon/gateway/schedule_report.h"
#include "when/civil.h"
#include "when/stamp.h"
#include "when/when.h"
#include "when/zone.h"

#include "base/banned.h"

extern const struct hook hook_schedule_create, hook_schedule_put, hook_schedule_check;

#define REPORT_S (INT64_C(2) * 366 * DAY_S)
#define CALENDAR_SOON_DAYS 60

/* --- previews --- */

static int
viewer_zone(const struct request *r, const struct zone **out, struct err *e)
{
	const char *name = json_get_str(r->query, "zone", NULL);

	*out = name ? zone_get(name, e) : NULL;
	if (!name || *out)
		return 0;
	e->code = ERR_INVALID;
	err_field(e, "/zone");
	return err_hint(e, "An IANA name such as Europe/Berlin, or UTC.");
}

int
preview_add(struct request *r, const struct schedule_plan *plan, json_t *out, struct err *e)
{
	unsigned count = (unsigned)json_get_int(r->query, "count", 5);
	int64_t now = db_clock_s(), last;
	const struct zone *viewer;
	json_t *times, *utc, *local;
	int rc = viewer_zone(r, &viewer, e);
	bool is_more;

	if (rc < 0)
		return rc;
	times = report_times(plan, now, count, viewer, &last);
	report_texts(times, &utc, &local);
	json_object_set_new(out, "next", utc);
	json_object_set_new(out, "local", local);
	json_object_set_new(out, "times", times);
	json_object_set_new(out, "skipped",
	    report_skipped(plan, now, last > now ? last : now + REPORT_S, &is_more));
	json_object_set_new(out, "skipped_more", json_boolean(is_more));
	return 0;
}

/* --- warnings --- */

static const char *
day_text(int64_t day, char buf[32])
{
	when_format_rfc3339(day * DAY_S, buf);
	buf[strcspn(buf, "T")] = '\0';
	return buf;
}

static void
warn(json_t *out, const char *pointer, json_t *detail, const char *hint)
{
	json_array_append_new(
	    out, json_pack("{s:s, s:o, s:s}", "pointer", pointer, "detail", detail, "hint", hint));
}

/* Beyond a calendar's last day nothing is known, and nothing is left out (or run on). */
static void
warn_calendars(const json_t *known, const json_t *doc, const json_t *whole, const char *side,
    int64_t now, const struct when_occurrence *next, json_t *out)
{
	const json_t *info = json_object_get(known, "calendar_info");
	int64_t soon = floor_div(now, DAY_S) + CALENDAR_SOON_DAYS;
	char pointer[96], text[32];
	size_t i;
	json_t *name;

	json_array_foreach(json_object_get(whole, side), i, name)
	{
		const char *s = json_string_value(name);
		const json_t *last = json_object_get(json_object_get(info, s), "last");
		int64_t day = json_integer_value(last);

		schedule_known_pointer(doc, s, pointer);
		if (!json_is_integer(last))
			warn(out, pointer, json_sprintf("calendar %s has no days", s),
			    "Put some with PUT /calendars/{name}.");
		else if (day < soon || (next && day < floor_div(next->utc, DAY_S)))
			warn(out, pointer,
			    json_sprintf("calendar %s ends on %s", s, day_text(day, text)),
			    strcmp(side, "include") == 0
				? "Nothing runs after its last day; put later days into it."
				: "Nothing is left out after its last day; put later days into "
				  "it.");
	}
}

static const char *
pointer_of_when(const json_t *doc)
{
	return json_object_get(doc, "cron_expression") ? "/cron_expression" : "/schedule";
}

json_t *
schedule_warnings(const json_t *known, const json_t *doc, const json_t *normal, int64_t now_utc,
    const struct when_occurrence *next)
{
	const json_t *whole = schedule_known_normal(known, normal);
	json_t *out = json_array();

	if (!next && strcmp(json_get_str(whole, "kind", ""), "on_demand") != 0)
		warn(out, pointer_of_when(doc), json_string("nothing is ever due by this schedule"),
		    "Its times are over, or ruled out by effective_from, effective_until, its "
		    "calendars or the calendar of the world.");
	if (whole != normal && !json_get_bool(json_object_get(known, "shared"), "enabled", 1))
		warn(out, "/schedule",
		    json_sprintf("the schedule \"%s\" is disabled, so nothing is due",
			schedule_def_follows(normal)),
		    "Enable it: POST /schedules/{name}/enable.");
	warn_calendars(known, doc, whole, "include", now_utc, next, out);
	warn_calendars(known, doc, whole, "exclude", now_utc, next, out);
	return out;
}

/* --- shared schedules --- */

static struct schedule_plan *
read_shared(struct request *r, json_t **normal, json_t **warnings, struct err *e)
{
	_cleanup_json_ json_t *doc = json_copy(r->body);
	int64_t now = db_clock_s();
	struct schedule_plan *plan;
	struct when_occurrence next;

	json_object_del(doc, "name");
	json_object_del(doc, "enabled");
	*normal = schedule_def_read(doc, now, e);
	if (!*normal)
		return NULL;
	/* A task that says nothing is on demand; a schedule that says nothing is a mistake. */
	if (strcmp(json_get_str(*normal, "kind", ""), "on_demand") == 0 &&
	    !json_is_object(json_object_get(doc, "schedule"))) {
		err_set(e, ERR_INVALID, "the schedule does not say when");
		err_field(e, "/schedule");
		err_hint(e, "%s",
		    "For example {\"cron\": \"0 2 * * *\", \"timezone\": \"Europe/Berlin\"}.");
		return NULL;
	}
	if (schedule_def_follows(*normal)) {
		err_set(e, ERR_INVALID, "a shared schedule cannot follow another one");
		err_field(e, "/schedule");
		err_hint(e, "Say its times here, or let the task follow that schedule.");
		return NULL;
	}
	plan = schedule_known_plan(
	    r->before, doc, *normal, NULL, json_get_int(r->before, "anchor", now), e);
	if (plan)
		*warnings = schedule_warnings(r->before, doc, *normal, now,
		    when_next(schedule_plan_when(plan), now, &next) ? &next : NULL);
	return plan;
}

static int
prepare_shared(struct request *r, bool is_enabled_set, struct err *e)
{
	_cleanup_json_ json_t *normal = NULL, *warnings = NULL;
	_cleanup_schedule_plan_ struct schedule_plan *plan = read_shared(r, &normal, &warnings, e);

	if (!plan)
		return -(int)e->code;
	r->prepared = json_pack("{s:O, s:O, s:O?}", "schedule", normal, "warnings", warnings,
	    "name", json_object_get(r->body, "name"));
	if (is_enabled_set || json_object_get(r->body, "enabled"))
		json_object_set_new(
		    r->prepared, "enabled", json_boolean(json_get_bool(r->body, "enabled", 1)));
	return 0;
}

static int
prepare_shared_create(struct request *r, struct err *e)
{
	return prepare_shared(r, true, e);
}

static int
prepare_shared_put(struct request *r, struct err *e)
{
	return prepare_shared(r, false, e);
}

/* --- the check --- */

static int
prepare_check(struct request *r, struct err *e)
{
	_cleanup_json_ json_t *normal = NULL, *warnings = NULL, *out = NULL;
	_cleanup_schedule_plan_ struct schedule_plan *plan = read_shared(r, &normal, &warnings, e);
	int64_t now = db_clock_s();
	const char *kind;
	int more = 0, rc;

	if (!plan)
		return -(int)e->code;
	out = json_pack("{s:O, s:O}", "schedule", normal, "warnings", warnings);
	rc = preview_add(r, plan, out, e);
	if (rc < 0)
		return rc;
	json_object_set(out, "next", json_object_get(out, "times"));
	json_object_del(out, "times");
	json_object_del(out, "local");
	kind = json_get_str(normal, "kind", "");
	/* These are instants: no clock changes them. */
	json_object_set_new(out, "clock_changes",
	    strcmp(kind, "every") == 0 || strcmp(kind, "once") == 0
		? json_array()
		: report_clock_changes(plan, now, now + REPORT_S, &more));
	json_object_set_new(out, "clock_changes_more", json_integer(more));
	r->prepared = take_ptr(&out);
	return 0;
}

const struct hook hook_schedule_create = {prepare_shared_create, NULL};
const struct hook hook_schedule_put = {prepare_shared_put, NULL};
const struct hook hook_schedule_check = {prepare_check, NULL};
