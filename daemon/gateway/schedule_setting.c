// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See schedule_priv.h: the settings of a schedule, that is all but its times, as a table: zone, policies, span, calendars.
 */
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "daemon/gateway/schedule_priv.h"
#include "when/once.h"
#include "when/shown.h"
#include "when/stamp.h"
#include "when/zone.h"

#include "base/banned.h"

#define CALENDAR_NAME_MAX 63
#define CALENDARS_MAX 16
#define YEAR_S 31622400
/* What H hashes when no task is named. */
#define NO_TASK "check"

static const char *const gaps[] = {"run_at_gap_end", "skip", NULL};
static const char *const folds[] = {"first", "second", "both", NULL};
static const char *const hits[] = {"skip", "next_business_day", "previous_business_day", NULL};
static const char *const catch_ups[] = {"latest", "none", "all", NULL};

/* clang-format off */
const struct schedule_setting schedule_settings[SCHEDULE_SETTINGS] = {
    [SET_TIMEZONE]          = {"timezone", NULL, SCHEDULE_ZONE, NULL, 0, 0, 0},
    [SET_DST_GAP]           = {"dst_gap", NULL, SCHEDULE_CHOICE, gaps, 0, 0, 0},
    [SET_DST_FOLD]          = {"dst_fold", NULL, SCHEDULE_CHOICE, folds, 0, 0, 0},
    [SET_FROM]              = {"effective_from", NULL, SCHEDULE_INSTANT, NULL, 0, 0, 0},
    [SET_UNTIL]             = {"effective_until", NULL, SCHEDULE_INSTANT, NULL, 0, 0, 0},
    [SET_INCLUDE]           = {"include", NULL, SCHEDULE_CALENDARS, NULL, 0, 0, 0},
    [SET_EXCLUDE]           = {"exclude", "calendar", SCHEDULE_CALENDARS, NULL, 0, 0, 0},
    [SET_ON_HIT]            = {"on_hit", NULL, SCHEDULE_CHOICE, hits, 0, 0, 0},
    [SET_CATCH_UP]          = {"catch_up", NULL, SCHEDULE_CHOICE, catch_ups, 0, 0, 0},
    [SET_CATCH_UP_LIMIT]    = {"catch_up_limit", NULL, SCHEDULE_NUMBER, NULL, 1, 1000, 10},
    [SET_CATCH_UP_DEADLINE] = {"catch_up_deadline_seconds", NULL, SCHEDULE_NUMBER, NULL, 1, YEAR_S, 0},
    [SET_JITTER]            = {"jitter_seconds", NULL, SCHEDULE_NUMBER, NULL, 0, 86400, 0},
    [SET_START_DEADLINE]    = {"start_deadline_seconds", NULL, SCHEDULE_NUMBER, NULL, 1, YEAR_S, 0},
};
/* clang-format on */

static json_t *
read_zone(const struct schedule_said *s, const struct zone **zone, struct err *e)
{
	const char *name = s->value ? schedule_text_of(s, e) : "UTC";
	struct err inner = ERR_INIT;

	if (!name)
		return NULL;
	*zone = zone_get(name, &inner);
	if (*zone)
		return json_string(name);
	err_set(e, ERR_INVALID, "%s", inner.message);
	schedule_bad_at(
	    e, s, *inner.hint ? inner.hint : "An IANA name such as Europe/Berlin, or UTC.");
	return NULL;
}

static void
list_choices(const char *const *choices, char *buf, size_t n)
{
	_cleanup_buf_ struct buf b = {0};

	for (int i = 0; choices[i]; i++)
		buf_addf(&b, "%s%s", i == 0 ? "" : choices[i + 1] ? ", " : " or ", choices[i]);
	snprintf(buf, n, "Use %s.", b.p);
}

/* The index of a choice; -1 if it is none of them. */
static int
choice_of(const char *const *choices, const char *s)
{
	for (int i = 0; choices[i]; i++)
		if (strcmp(choices[i], s) == 0)
			return i;
	return -1;
}

static json_t *
read_choice(const struct schedule_setting *set, const struct schedule_said *s, struct err *e)
{
	const char *text = s->value ? schedule_text_of(s, e) : set->choices[0];
	char shown[WHEN_SHOWN_MAX + 1], hint[128];

	if (!text)
		return NULL;
	if (choice_of(set->choices, text) >= 0)
		return json_string(text);
	list_choices(set->choices, hint, sizeof(hint));
	err_set(e, ERR_INVALID, "%s '%s' is not known", s->name, when_shown(text, shown));
	schedule_bad_at(e, s, hint);
	return NULL;
}

static json_t *
read_instant(const struct schedule_said *s, const struct zone *zone, int64_t now, struct err *e)
{
	const char *text = s->value ? schedule_text_of(s, e) : NULL;
	struct err inner = ERR_INIT;
	char stamp[32];
	int64_t utc;

	if (!s->value)
		return json_null();
	if (!text)
		return NULL;
	if (once_parse(text, zone, now, &utc, &inner) == 0)
		return json_string(when_format_rfc3339(utc, stamp));
	err_set(e, ERR_INVALID, "%s", inner.message);
	schedule_bad_at(e, s, inner.hint);
	return NULL;
}

static json_t *
read_number(const struct schedule_setting *set, const struct schedule_said *s, struct err *e)
{
	int64_t n = s->value ? json_integer_value(s->value) : set->dflt;

	if (!s->value && n < set->min)
		return json_null();
	if ((!s->value || json_is_integer(s->value)) && n >= set->min && n <= set->max)
		return json_integer(n);
	err_set(e, ERR_INVALID, "%s must be a whole number from %lld to %lld", s->name,
	    (long long)set->min, (long long)set->max);
	schedule_bad_at(e, s, "Correct it, or leave it out for the default.");
	return NULL;
}

static bool
array_has(const json_t *array, const char *text)
{
	size_t i;
	json_t *j;

	json_array_foreach((json_t *)array, i, j)
	{
		if (strcmp(json_string_value(j), text) == 0)
			return true;
	}
	return false;
}

/* Names are stored in lower case: EasyTask writes US_HOLIDAYS. */
static int
add_calendar(json_t *out, const struct schedule_said *s, const json_t *name, struct err *e)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
	const char *given = json_string_value(name);
	char low[CALENDAR_NAME_MAX + 1] = "", shown[WHEN_SHOWN_MAX + 1];
	size_t n = given ? strlen(given) : 0;

	if (!given)
		return schedule_bad_type(e, s, "the name of a calendar, or a list of them");
	for (size_t i = 0; i < n && i < CALENDAR_NAME_MAX; i++)
		low[i] = (char)(given[i] >= 'A' && given[i] <= 'Z' ? given[i] + 32 : given[i]);
	if (!n || n > CALENDAR_NAME_MAX || strspn(low, legal) != n || strchr("._-", *low)) {
		err_set(e, ERR_INVALID, "'%s' is no name of a calendar", when_shown(given, shown));
		return schedule_bad_at(e, s,
		    "A name has 1 to 63 letters, digits, dots, underscores and dashes, and begins "
		    "with a letter or digit.");
	}
	if (!array_has(out, low))
		json_array_append_new(out, json_string(low));
	return 0;
}

static json_t *
read_calendars(const struct schedule_said *s, struct err *e)
{
	_cleanup_json_ json_t *out = json_array();
	size_t n = json_is_array(s->value) ? json_array_size(s->value) : s->value ? 1 : 0;

	for (size_t i = 0; i < n; i++) {
		const json_t *name =
		    json_is_array(s->value) ? json_array_get(s->value, i) : s->value;

		if (add_calendar(out, s, name, e) < 0)
			return NULL;
	}
	if (json_array_size(out) <= CALENDARS_MAX)
		return take_ptr(&out);
	err_set(e, ERR_INVALID, "%s names more than %d calendars", s->name, CALENDARS_MAX);
	schedule_bad_at(e, s, "Put the days of several into one calendar.");
	return NULL;
}

/* Under its own name or its alias. */
int
schedule_find_setting(const struct schedule_doc *d, const struct schedule_setting *set,
    struct schedule_said *out, struct err *e)
{
	struct schedule_said alias;

	if (schedule_find(d, set->name, out, e) < 0)
		return -ERR_INVALID;
	if (!set->alias)
		return 0;
	if (schedule_find(d, set->alias, &alias, e) < 0)
		return -ERR_INVALID;
	if (out->value && alias.value)
		return schedule_bad_twice(e, out, &alias);
	if (alias.value)
		*out = alias;
	return 0;
}

static json_t *
read_setting(enum schedule_setting_id id, const struct schedule_doc *d, const struct zone **zone,
    int64_t now, struct err *e)
{
	const struct schedule_setting *set = &schedule_settings[id];
	struct schedule_said s;

	if (schedule_find_setting(d, set, &s, e) < 0)
		return NULL;
	switch (set->sort) {
	case SCHEDULE_ZONE:
		return read_zone(&s, zone, e);
	case SCHEDULE_CHOICE:
		return read_choice(set, &s, e);
	case SCHEDULE_INSTANT:
		return read_instant(&s, *zone, now, e);
	case SCHEDULE_CALENDARS:
		return read_calendars(&s, e);
	case SCHEDULE_NUMBER:
		return read_number(set, &s, e);
	}
	return NULL;
}

/* A calendar in both would rule out all of its days and all others. */
static int
check_calendars(const struct schedule_doc *d, const json_t *normal, struct err *e)
{
	const json_t *include = json_object_get(normal, "include");
	struct schedule_said s;
	size_t i;
	json_t *name;

	json_array_foreach(json_object_get(normal, "exclude"), i, name)
	{
		if (!array_has(include, json_string_value(name)))
			continue;
		err_set(e, ERR_INVALID, "calendar %s is in include and in exclude",
		    json_string_value(name));
		schedule_find_setting(d, &schedule_settings[SET_EXCLUDE], &s, NULL);
		return schedule_bad_at(e, &s, "Take it out of one of them: no day would be left.");
	}
	return 0;
}

int
schedule_read_settings(const struct schedule_doc *d, int64_t now, json_t *out, struct err *e)
{
	const struct zone *zone = NULL;

	for (int i = 0; i < SCHEDULE_SETTINGS; i++) {
		json_t *value = read_setting((enum schedule_setting_id)i, d, &zone, now, e);

		if (!value)
			return -ERR_INVALID;
		json_object_set_new(out, schedule_settings[i].name, value);
	}
	return check_calendars(d, out, e);
}

static int
choice_in(const json_t *normal, enum schedule_setting_id id)
{
	const struct schedule_setting *set = &schedule_settings[id];
	int i = choice_of(set->choices, json_get_str(normal, set->name, ""));

	return i < 0 ? 0 : i;
}

static int64_t
instant_in(const json_t *normal, enum schedule_setting_id id, int64_t dflt)
{
	const char *text = json_get_str(normal, schedule_settings[id].name, NULL);
	int64_t utc;

	return text && when_parse_rfc3339(text, &utc, NULL, NULL) == 0 ? utc : dflt;
}

int
schedule_setting_when(const json_t *normal, struct when_setting *out, struct err *e)
{
	const struct zone *zone = zone_get(json_get_str(normal, "timezone", "UTC"), e);

	if (!zone)
		return err_field(e, "/timezone");
	*out = (struct when_setting){.zone = zone,
	    .policy = {(enum cron_gap)choice_in(normal, SET_DST_GAP),
		(enum cron_fold)choice_in(normal, SET_DST_FOLD)},
	    .from = instant_in(normal, SET_FROM, INT64_MIN),
	    .until = instant_in(normal, SET_UNTIL, INT64_MAX),
	    .hash_key = NO_TASK,
	    .hit = (enum when_hit)choice_in(normal, SET_ON_HIT)};
	return 0;
}
