// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See schedule_known.h. */
#include "daemon/gateway/schedule_known.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/jsonx.h"

#include "daemon/gateway/schedule_def.h"

#include "base/banned.h"

static const char *const calendar_members[] = {"include", "exclude", "calendar"};

/* Does a member, one name or a list of them, have this one? Its place in a list, -1 if it is no list, -2 if not. */
static int
place_of(const json_t *member, const char *name)
{
	size_t i;
	json_t *one;

	if (json_is_string(member))
		return strcasecmp(json_string_value(member), name) == 0 ? -1 : -2;
	json_array_foreach(member, i, one)
	{
		if (json_is_string(one) && strcasecmp(json_string_value(one), name) == 0)
			return (int)i;
	}
	return -2;
}

static bool
find_in(const json_t *object, const char *prefix, const char *name, char buf[96])
{
	for (size_t i = 0; i < ARRAY_LEN(calendar_members); i++) {
		int at = place_of(json_object_get(object, calendar_members[i]), name);

		if (at == -1)
			snprintf(buf, 96, "%s/%s", prefix, calendar_members[i]);
		else if (at >= 0)
			snprintf(buf, 96, "%s/%s/%d", prefix, calendar_members[i], at);
		if (at != -2)
			return true;
	}
	return false;
}

const char *
schedule_known_pointer(const json_t *doc, const char *calendar, char buf[96])
{
	if (!find_in(json_object_get(doc, "schedule"), "/schedule", calendar, buf) &&
	    !find_in(doc, "", calendar, buf))
		snprintf(buf, 96, "/schedule");
	return buf;
}

const json_t *
schedule_known_normal(const json_t *known, const json_t *normal)
{
	const char *name = schedule_def_follows(normal);
	const json_t *shared = json_object_get(known, "shared");

	if (!name)
		return normal;
	return strcmp(json_get_str(shared, "name", ""), name) == 0
		   ? json_object_get(shared, "schedule")
		   : NULL;
}

static int
no_schedule(const json_t *known, const json_t *doc, const json_t *normal, struct err *e)
{
	err_set(
	    e, ERR_INVALID, "there is no schedule named \"%.100s\"", schedule_def_follows(normal));
	err_field(
	    e, json_is_object(json_object_get(doc, "schedule")) ? "/schedule/name" : "/schedule");
	return err_hint(e, "%s", json_get_str(known, "known_schedules", ""));
}

static int
check_calendars(const json_t *known, const json_t *doc, const json_t *normal, struct err *e)
{
	const json_t *info = json_object_get(known, "calendar_info"),
		     *days = json_object_get(known, "calendars");
	char pointer[96];

	for (size_t side = 0; side < 2; side++) {
		size_t i;
		json_t *name;

		json_array_foreach(json_object_get(normal, calendar_members[side]), i, name)
		{
			const char *text = json_string_value(name);

			if (json_object_get(days, text))
				continue;
			if (json_object_get(info, text))
				err_set(e, ERR_INVALID,
				    "the calendars that it names have more than 40,000 days to "
				    "come");
			else
				err_set(e, ERR_INVALID, "there is no calendar named \"%s\"", text);
			err_field(e, "%s", schedule_known_pointer(doc, text, pointer));
			return err_hint(e, "%s",
			    json_object_get(info, text)
				? "Name fewer of them, or calendars with fewer days."
				: json_get_str(known, "known_calendars", ""));
		}
	}
	return 0;
}

struct schedule_plan *
schedule_known_plan(const json_t *known, const json_t *doc, const json_t *normal,
    const char *task_id, int64_t anchor_utc, struct err *e)
{
	const json_t *whole = schedule_known_normal(known, normal);
	int64_t anchor = anchor_utc;

	if (!whole) {
		no_schedule(known, doc, normal, e);
		return NULL;
	}
	if (whole != normal)
		anchor = json_get_int(json_object_get(known, "shared"), "anchor", anchor);
	if (check_calendars(known, doc, whole, e) < 0)
		return NULL;
	return schedule_plan_new(whole, json_object_get(known, "calendars"), task_id, anchor, e);
}
