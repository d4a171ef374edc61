// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See schedule_def.h. A document is read in two steps, each over a table: which member says when
 * (one of them, with the one that completes it), and the settings. lib/when makes the texts
 * canonical.
 */
#include "daemon/gateway/schedule_def.h"

#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "daemon/gateway/schedule_priv.h"
#include "when/calendar.h"
#include "when/once.h"
#include "when/shown.h"
#include "when/stamp.h"
#include "when/times.h"
#include "when/zone.h"

#include "base/banned.h"

#define NAME_MAX_B 200
#define CALENDAR_NAME_MAX 63
#define CALENDARS_MAX 16
#define LIST_MAX 64
#define YEAR_S 31622400
/* What H hashes when no task is named. */
#define NO_TASK "check"

static const char *const gaps[] = {"run_at_gap_end", "skip", NULL};
static const char *const folds[] = {"first", "second", "both", NULL};
static const char *const hits[] = {"skip", "next_business_day", "previous_business_day", NULL};
static const char *const catch_ups[] = {"latest", "none", "all", NULL};

/* clang-format off */
const struct schedule_spelling schedule_spellings[] = {
    {"expr",            NULL,            SCHEDULE_KIND_SAID, NULL, false},
    {"cron_expression", NULL,            WHEN_CRON,          NULL, false},
    {"cron",            NULL,            WHEN_CRON,          NULL, false},
    {"every",           NULL,            WHEN_EVERY,         NULL, false},
    {"times",           "day_of_week",   WHEN_TIMES,         ",",  false},
    {"window",          "day_of_week",   WHEN_WINDOW,        NULL, false},
    {"run_frequency",   "day_of_week",   WHEN_WINDOW,        NULL, false},
    {"ordinal",         "trigger_times", WHEN_ORDINAL,       NULL, false},
    {"ordinal_day",     "trigger_times", WHEN_ORDINAL,       NULL, true},
    {"rrule",           NULL,            WHEN_RRULE,         "\n", false},
    {"once",            NULL,            WHEN_ONCE,          NULL, false},
    {"at",              NULL,            WHEN_ONCE,          NULL, false},
    /* Last: it also completes an ordinal. */
    {"trigger_times",   "day_of_week",   WHEN_TIMES,         ",",  false},
    {NULL,              NULL,            0,                  NULL, false},
};

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

/* --- what a document says --- */

static const char *
place(const struct schedule_said *s)
{
	return s->is_flat ? "" : "/schedule";
}

static int
bad_at(struct err *e, const struct schedule_said *s, const char *hint)
{
	err_field(e, "%s/%s", place(s), s->name);
	return err_hint(e, "%s", hint);
}

static int
bad_twice(struct err *e, const struct schedule_said *a, const struct schedule_said *b)
{
	err_set(
	    e, ERR_INVALID, "%s/%s and %s/%s both say it", place(a), a->name, place(b), b->name);
	return bad_at(e, b, "Say it in one way and leave the other out.");
}

static const json_t *
member_of(const json_t *object, const char *name)
{
	const json_t *j = json_object_get(object, name);

	return json_is_null(j) ? NULL : j;
}

static int
find(const struct schedule_doc *d, const char *name, struct schedule_said *out, struct err *e)
{
	const struct schedule_said flat = {member_of(d->flat, name), name, true},
				   inner = {member_of(d->object, name), name, false};

	if (flat.value && inner.value && !json_equal(flat.value, inner.value))
		return bad_twice(e, &flat, &inner);
	*out = inner.value ? inner : flat;
	return 0;
}

static int
bad_type(struct err *e, const struct schedule_said *s, const char *expected)
{
	err_set(e, ERR_INVALID, "%s must be %s", s->name, expected);
	return bad_at(e, s, "See the manual's chapter on schedules.");
}

static const char *
text_of(const struct schedule_said *s, struct err *e)
{
	const char *text = json_string_value(s->value);

	if (!text)
		bad_type(e, s, "a text");
	return text;
}

/* --- settings --- */

static json_t *
read_zone(const struct schedule_said *s, const struct zone **zone, struct err *e)
{
	const char *name = s->value ? text_of(s, e) : "UTC";
	struct err inner = ERR_INIT;

	if (!name)
		return NULL;
	*zone = zone_get(name, &inner);
	if (*zone)
		return json_string(name);
	err_set(e, ERR_INVALID, "%s", inner.message);
	bad_at(e, s, *inner.hint ? inner.hint : "An IANA name such as Europe/Berlin, or UTC.");
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
	const char *text = s->value ? text_of(s, e) : set->choices[0];
	char shown[WHEN_SHOWN_MAX + 1], hint[128];

	if (!text)
		return NULL;
	if (choice_of(set->choices, text) >= 0)
		return json_string(text);
	list_choices(set->choices, hint, sizeof(hint));
	err_set(e, ERR_INVALID, "%s '%s' is not known", s->name, when_shown(text, shown));
	bad_at(e, s, hint);
	return NULL;
}

static json_t *
read_instant(const struct schedule_said *s, const struct zone *zone, int64_t now, struct err *e)
{
	const char *text = s->value ? text_of(s, e) : NULL;
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
	bad_at(e, s, inner.hint);
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
	bad_at(e, s, "Correct it, or leave it out for the default.");
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
		return bad_type(e, s, "the name of a calendar, or a list of them");
	for (size_t i = 0; i < n && i < CALENDAR_NAME_MAX; i++)
		low[i] = (char)(given[i] >= 'A' && given[i] <= 'Z' ? given[i] + 32 : given[i]);
	if (!n || n > CALENDAR_NAME_MAX || strspn(low, legal) != n || strchr("._-", *low)) {
		err_set(e, ERR_INVALID, "'%s' is no name of a calendar", when_shown(given, shown));
		return bad_at(e, s,
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
	bad_at(e, s, "Put the days of several into one calendar.");
	return NULL;
}

/* Under its own name or its alias. */
static int
find_setting(const struct schedule_doc *d, const struct schedule_setting *set,
    struct schedule_said *out, struct err *e)
{
	struct schedule_said alias;

	if (find(d, set->name, out, e) < 0)
		return -ERR_INVALID;
	if (!set->alias)
		return 0;
	if (find(d, set->alias, &alias, e) < 0)
		return -ERR_INVALID;
	if (out->value && alias.value)
		return bad_twice(e, out, &alias);
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

	if (find_setting(d, set, &s, e) < 0)
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
		find_setting(d, &schedule_settings[SET_EXCLUDE], &s, NULL);
		return bad_at(e, &s, "Take it out of one of them: no day would be left.");
	}
	return 0;
}

static int
read_settings(const struct schedule_doc *d, int64_t now, json_t *out, struct err *e)
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

/* --- when --- */

/* How it is said, and under which member. */
struct how {
	const struct schedule_spelling *row;
	struct schedule_said said;
};

/* A definition has its cron expression a second time, for old clients. */
static bool
is_copy(const struct schedule_doc *d, const struct how *a, const struct how *b)
{
	return strcmp(a->row->member, "expr") == 0 &&
	       strcmp(b->row->member, "cron_expression") == 0 && b->said.is_flat &&
	       strcmp(json_get_str(d->object, "kind", ""), "cron") == 0 &&
	       json_equal(a->said.value, b->said.value);
}

static int
choose(const struct schedule_doc *d, struct how *out, struct err *e)
{
	struct how one = {NULL, {NULL, "", true}};

	for (const struct schedule_spelling *r = schedule_spellings; r->member; r++) {
		struct how h = {r, {0}};

		if (find(d, r->member, &h.said, e) < 0)
			return -ERR_INVALID;
		if (!h.said.value ||
		    (one.row && one.row->with && strcmp(one.row->with, r->member) == 0))
			continue;
		if (!one.row)
			one = h;
		else if (!is_copy(d, &one, &h))
			return bad_twice(e, &one.said, &h.said);
	}
	*out = one;
	return 0;
}

/* A mask that nothing uses would be lost in silence. */
static int
check_mask_is_used(const struct schedule_doc *d, const struct how *how, struct err *e)
{
	static const char mask[] = "day_of_week";
	struct schedule_said s;

	if (find(d, mask, &s, e) < 0)
		return -ERR_INVALID;
	if (!s.value || (how->row && how->row->with && strcmp(how->row->with, mask) == 0))
		return 0;
	if (!how->row)
		err_set(
		    e, ERR_INVALID, "day_of_week stands without trigger_times or run_frequency");
	else
		err_set(e, ERR_INVALID, "day_of_week does not go with %s%s%s", place(&how->said),
		    "/", how->said.name);
	return bad_at(e, &s,
	    "It says on which weekdays trigger_times or run_frequency hold: \"trigger_times\": "
	    "\"09:00\", \"day_of_week\": \"1111100\".");
}

static int
check_kind(const struct schedule_doc *d, const struct how *how, enum when_kind *out, struct err *e)
{
	struct schedule_said s;
	const char *text;

	if (find(d, "kind", &s, e) < 0 || (s.value && !(text = text_of(&s, e))))
		return -ERR_INVALID;
	if (s.value && when_kind_parse(text, out, e) < 0)
		return err_field(e, "%s/kind", place(&s));
	if (!how->row && !d->object && !s.value)
		*out = WHEN_ON_DEMAND;
	else if (!how->row && (!s.value || *out != WHEN_ON_DEMAND)) {
		err_set(e, ERR_INVALID, "the schedule does not say when");
		s.name = "expr";
		s.is_flat = !d->object;
		return bad_at(e, &s,
		    "Give kind and expr, or cron, every, times, window, ordinal, rrule, once; "
		    "kind on_demand is for runs by hand.");
	} else if (how->row && how->row->kind == SCHEDULE_KIND_SAID && !s.value) {
		err_set(e, ERR_INVALID, "expr stands without kind");
		return bad_at(e, &how->said,
		    "Kinds are cron, every, times, window, ordinal, rrule, once and on_demand.");
	} else if (how->row && how->row->kind != SCHEDULE_KIND_SAID) {
		if (s.value && (int)*out != how->row->kind)
			return bad_twice(e, &how->said, &s);
		*out = (enum when_kind)how->row->kind;
	}
	return 0;
}

static int
join(const struct schedule_said *s, const char *sep, struct buf *out, struct err *e)
{
	size_t n = json_array_size(s->value);

	if (!sep || !json_is_array(s->value)) {
		const char *text = text_of(s, e);

		buf_adds(out, text ? text : "");
		return text ? 0 : -ERR_INVALID;
	}
	if (!n || n > LIST_MAX)
		return bad_type(e, s, "a list of 1 to 64 texts");
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(s->value, i));

		if (!text)
			return bad_type(e, s, "a list of 1 to 64 texts");
		buf_addf(out, "%s%s", i ? sep : "", text);
	}
	return 0;
}

/* Of a text that lib/when refused, in words of lib/when. */
static int
bad_text(struct err *e, const struct schedule_said *s, const struct err *inner)
{
	err_set(e, ERR_INVALID, "%s", inner->message);
	return bad_at(e, s, inner->hint);
}

static int
check_mask(const struct schedule_said *s, const char *mask, struct err *e)
{
	_cleanup_free_ char *text = xasprintf(" %s", mask);
	struct err inner = ERR_INIT;
	struct scan scan = {text + 1, text, &inner};
	uint32_t days;

	if (!mask[strspn(mask, " \t")])
		return bad_type(e, s, "seven digits 0 or 1, Monday first");
	return mask_scan(&scan, &days) < 0 ? bad_text(e, s, &inner) : 0;
}

static int
check_times(const struct schedule_said *s, const char *times, struct err *e)
{
	struct err inner = ERR_INIT;
	struct scan scan = {times, times, &inner};
	struct time_list list;

	scan_blanks(&scan);
	if (time_list_scan(&scan, &list) < 0)
		return bad_text(e, s, &inner);
	return 0;
}

/* What completes a spelling, checked by itself so that an error shows its own characters. */
static int
add_with(const struct schedule_doc *d, const struct how *how, struct buf *text, struct err *e)
{
	const char *with = how->row->with;
	_cleanup_buf_ struct buf b = {0};
	struct schedule_said s;
	int rc;

	if (!with)
		return 0;
	if (find(d, with, &s, e) < 0)
		return -ERR_INVALID;
	if (!s.value && how->row->needs_with) {
		err_set(e, ERR_INVALID, "%s stands without %s", how->said.name, with);
		s.is_flat = how->said.is_flat;
		return bad_at(e, &s, "Say at what time: \"trigger_times\": \"06:00\".");
	}
	if (!s.value)
		return 0;
	if (join(&s, ",", &b, e) < 0)
		return -ERR_INVALID;
	rc = how->row->kind == WHEN_ORDINAL ? check_times(&s, b.p, e) : check_mask(&s, b.p, e);
	buf_addf(text, " %s", b.p);
	return rc;
}

/* Of an error that is about a setting, not the text. */
static int
bad_schedule(
    const struct schedule_doc *d, const struct how *how, const struct err *inner, struct err *e)
{
	static const struct {
		const char *field;
		enum schedule_setting_id id;
	} of[] = {{"hit", SET_ON_HIT}, {"effective_until", SET_UNTIL}};
	struct schedule_said s = how->said;

	for (size_t i = 0; i < ARRAY_LEN(of); i++)
		if (strcmp(inner->field, of[i].field) == 0)
			find_setting(d, &schedule_settings[of[i].id], &s, NULL);
	return bad_text(e, &s, inner);
}

static int
canonical(const struct schedule_doc *d, const struct how *how, enum when_kind kind,
    const char *given, int64_t now, json_t *out, struct err *e)
{
	static const char every[] = "@every ";
	_cleanup_calendar_ struct calendar *none = calendar_new("", 0, NULL, NULL);
	_cleanup_buf_ struct buf text = {0};
	struct err inner = ERR_INIT;
	struct when_setting set;
	const char *expr;

	if (schedule_setting_when(out, &set, e) < 0)
		return -ERR_INVALID;
	set.anchor = now;
	/* Which days they have does not matter here, but that there are some does. */
	if (json_array_size(json_object_get(out, "exclude")) ||
	    json_array_size(json_object_get(out, "include")))
		set.exclude = none;
	if (when_text(kind, &set, given, &text, &inner) < 0)
		return bad_schedule(d, how, &inner, e);
	expr = text.p;
	if (kind == WHEN_CRON && strncmp(expr, every, strlen(every)) == 0) {
		kind = WHEN_EVERY;
		expr += strlen(every);
	}
	json_object_set_new(out, "kind", json_string(when_kind_name(kind)));
	json_object_set_new(out, "expr", json_string(expr));
	return 0;
}

static int
read_when(const struct schedule_doc *d, int64_t now, json_t *out, struct err *e)
{
	_cleanup_buf_ struct buf text = {0};
	enum when_kind kind;
	struct how how;

	buf_adds(&text, "");
	if (choose(d, &how, e) < 0 || check_mask_is_used(d, &how, e) < 0 ||
	    check_kind(d, &how, &kind, e) < 0)
		return -ERR_INVALID;
	if (how.row &&
	    (join(&how.said, how.row->list_sep, &text, e) < 0 || add_with(d, &how, &text, e) < 0))
		return -ERR_INVALID;
	if (!how.row)
		how.said = (struct schedule_said){NULL, "kind", !d->object};
	return canonical(d, &how, kind, text.p, now, out, e);
}

/* --- the document --- */

/* Is it one of the members that a schedule is said with? */
static bool
is_member(const char *name)
{
	if (strcmp(name, "kind") == 0 || strcmp(name, "day_of_week") == 0)
		return true;
	for (const struct schedule_spelling *r = schedule_spellings; r->member; r++)
		if (strcmp(name, r->member) == 0)
			return true;
	for (int i = 0; i < SCHEDULE_SETTINGS; i++)
		if (strcmp(name, schedule_settings[i].name) == 0 ||
		    (schedule_settings[i].alias && strcmp(name, schedule_settings[i].alias) == 0))
			return true;
	return false;
}

static int
check_members(const json_t *object, struct err *e)
{
	char shown[WHEN_SHOWN_MAX + 1];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		if (is_member(key) || strcmp(key, "name") == 0)
			continue;
		err_set(e, ERR_INVALID, "a schedule has no member \"%s\"", when_shown(key, shown));
		err_field(e, "/schedule/%.60s", shown);
		return err_hint(e, "%s",
		    "It has kind and expr, or cron, every, times, window, ordinal, rrule, once, "
		    "and timezone, dst_*, effective_*, include, exclude, on_hit, catch_up*, "
		    "jitter_seconds, start_deadline_seconds.");
	}
	return 0;
}

/* Nothing else may be said beside the name. */
static int
check_alone(const json_t *object, const struct schedule_said *name, bool is_flat, struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		const struct schedule_said s = {value, key, is_flat};

		if (json_is_null(value) || !is_member(key))
			continue;
		err_set(e, ERR_INVALID, "%s/%s and the name of a schedule, in %s%s%s, both say it",
		    place(&s), key, place(name), *name->name ? "/" : "", name->name);
		return bad_at(e, &s,
		    "A task that follows a shared schedule has that one's times and settings: "
		    "change them there, or leave the name out.");
	}
	return 0;
}

static json_t *
read_follower(const json_t *doc, const json_t *name, const json_t *object, struct err *e)
{
	const struct schedule_said s = {name, object ? "name" : "schedule", !object};
	const char *text = text_of(&s, e);

	if (!text)
		return NULL;
	if (!*text || strlen(text) > NAME_MAX_B) {
		bad_type(e, &s, "the name of a shared schedule, 1 to 200 bytes");
		return NULL;
	}
	if (check_members(object, e) < 0 || check_alone(object, &s, false, e) < 0 ||
	    check_alone(doc, &s, true, e) < 0)
		return NULL;
	return json_pack("{s:s}", "name", text);
}

json_t *
schedule_def_read(const json_t *doc, int64_t now_utc, struct err *e)
{
	const json_t *schedule = member_of(doc, "schedule"), *name = member_of(schedule, "name");
	const struct schedule_doc d = {doc, json_is_object(schedule) ? schedule : NULL};
	_cleanup_json_ json_t *out = NULL;

	if (schedule && !d.object)
		return read_follower(doc, schedule, NULL, e);
	if (name)
		return read_follower(doc, name, schedule, e);
	/* In the order in which it is shown. */
	out = json_pack("{s:n, s:n}", "kind", "expr");
	if (check_members(d.object, e) < 0 || read_settings(&d, now_utc, out, e) < 0 ||
	    read_when(&d, now_utc, out, e) < 0)
		return NULL;
	return take_ptr(&out);
}

const char *
schedule_def_follows(const json_t *normal)
{
	return json_get_str(normal, "name", NULL);
}

int
schedule_def_enabled(const json_t *doc, bool dflt, bool *out, struct err *e)
{
	const struct schedule_said enabled = {member_of(doc, "enabled"), "enabled", true},
				   active = {member_of(doc, "active"), "active", true},
				   *s = enabled.value ? &enabled : &active;

	if (enabled.value && active.value && !json_equal(enabled.value, active.value))
		return bad_twice(e, &enabled, &active);
	if (s->value && !json_is_boolean(s->value))
		return bad_type(e, s, "true or false");
	*out = s->value ? json_is_true(s->value) : dflt;
	return 0;
}

json_t *
schedule_def_flat(const json_t *normal)
{
	bool is_cron = strcmp(json_get_str(normal, "kind", ""), "cron") == 0;

	return json_pack("{s:O, s:O?, s:O?, s:O?}", "cron_expression",
	    is_cron ? json_object_get(normal, "expr") : json_null(), "timezone",
	    json_object_get(normal, "timezone"), "dst_gap", json_object_get(normal, "dst_gap"),
	    "dst_fold", json_object_get(normal, "dst_fold"));
}
