// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See schedule_def.h. A document is read in two steps, each over a table: the settings
 * (schedule_setting.c), and which member says when: one of them, with the one that completes it.
 * lib/when makes the texts canonical.
 */
#include "daemon/gateway/schedule_def.h"

#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "daemon/gateway/schedule_priv.h"
#include "when/calendar.h"
#include "when/shown.h"
#include "when/times.h"

#include "base/banned.h"

#define NAME_MAX_B 200
#define LIST_MAX 64

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
/* clang-format on */

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

		if (schedule_find(d, r->member, &h.said, e) < 0)
			return -ERR_INVALID;
		if (!h.said.value ||
		    (one.row && one.row->with && strcmp(one.row->with, r->member) == 0))
			continue;
		if (!one.row)
			one = h;
		else if (!is_copy(d, &one, &h))
			return schedule_bad_twice(e, &one.said, &h.said);
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

	if (schedule_find(d, mask, &s, e) < 0)
		return -ERR_INVALID;
	if (!s.value || (how->row && how->row->with && strcmp(how->row->with, mask) == 0))
		return 0;
	if (!how->row)
		err_set(
		    e, ERR_INVALID, "day_of_week stands without trigger_times or run_frequency");
	else
		err_set(e, ERR_INVALID, "day_of_week does not go with %s%s%s",
		    schedule_place(&how->said), "/", how->said.name);
	return schedule_bad_at(e, &s,
	    "It says on which weekdays trigger_times or run_frequency hold: \"trigger_times\": "
	    "\"09:00\", \"day_of_week\": \"1111100\".");
}

static int
check_kind(const struct schedule_doc *d, const struct how *how, enum when_kind *out, struct err *e)
{
	struct schedule_said s;
	const char *text;

	if (schedule_find(d, "kind", &s, e) < 0 || (s.value && !(text = schedule_text_of(&s, e))))
		return -ERR_INVALID;
	if (s.value && when_kind_parse(text, out, e) < 0)
		return err_field(e, "%s/kind", schedule_place(&s));
	if (!how->row && !d->object && !s.value)
		*out = WHEN_ON_DEMAND;
	else if (!how->row && (!s.value || *out != WHEN_ON_DEMAND)) {
		err_set(e, ERR_INVALID, "the schedule does not say when");
		s.name = "expr";
		s.is_flat = !d->object;
		return schedule_bad_at(e, &s,
		    "Give kind and expr, or cron, every, times, window, ordinal, rrule, once; "
		    "kind on_demand is for runs by hand.");
	} else if (how->row && how->row->kind == SCHEDULE_KIND_SAID && !s.value) {
		err_set(e, ERR_INVALID, "expr stands without kind");
		return schedule_bad_at(e, &how->said,
		    "Kinds are cron, every, times, window, ordinal, rrule, once and on_demand.");
	} else if (how->row && how->row->kind != SCHEDULE_KIND_SAID) {
		if (s.value && (int)*out != how->row->kind)
			return schedule_bad_twice(e, &how->said, &s);
		*out = (enum when_kind)how->row->kind;
	}
	return 0;
}

static int
join(const struct schedule_said *s, const char *sep, struct buf *out, struct err *e)
{
	size_t n = json_array_size(s->value);

	if (!sep || !json_is_array(s->value)) {
		const char *text = schedule_text_of(s, e);

		buf_adds(out, text ? text : "");
		return text ? 0 : -ERR_INVALID;
	}
	if (!n || n > LIST_MAX)
		return schedule_bad_type(e, s, "a list of 1 to 64 texts");
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(s->value, i));

		if (!text)
			return schedule_bad_type(e, s, "a list of 1 to 64 texts");
		buf_addf(out, "%s%s", i ? sep : "", text);
	}
	return 0;
}

/* Of a text that lib/when refused, in words of lib/when. */
static int
bad_text(struct err *e, const struct schedule_said *s, const struct err *inner)
{
	err_set(e, ERR_INVALID, "%s", inner->message);
	return schedule_bad_at(e, s, inner->hint);
}

static int
check_mask(const struct schedule_said *s, const char *mask, struct err *e)
{
	_cleanup_free_ char *text = xasprintf(" %s", mask);
	struct err inner = ERR_INIT;
	struct scan scan = {text + 1, text, &inner};
	uint32_t days;

	if (!mask[strspn(mask, " \t")])
		return schedule_bad_type(e, s, "seven digits 0 or 1, Monday first");
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
	if (schedule_find(d, with, &s, e) < 0)
		return -ERR_INVALID;
	if (!s.value && how->row->needs_with) {
		err_set(e, ERR_INVALID, "%s stands without %s", how->said.name, with);
		s.is_flat = how->said.is_flat;
		return schedule_bad_at(e, &s, "Say at what time: \"trigger_times\": \"06:00\".");
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
			schedule_find_setting(d, &schedule_settings[of[i].id], &s, NULL);
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
		    schedule_place(&s), key, schedule_place(name), *name->name ? "/" : "",
		    name->name);
		return schedule_bad_at(e, &s,
		    "A task that follows a shared schedule has that one's times and settings: "
		    "change them there, or leave the name out.");
	}
	return 0;
}

static json_t *
read_follower(const json_t *doc, const json_t *name, const json_t *object, struct err *e)
{
	const struct schedule_said s = {name, object ? "name" : "schedule", !object};
	const char *text = schedule_text_of(&s, e);

	if (!text)
		return NULL;
	if (!*text || strlen(text) > NAME_MAX_B) {
		schedule_bad_type(e, &s, "the name of a shared schedule, 1 to 200 bytes");
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
	const json_t *schedule = schedule_member_of(doc, "schedule"),
		     *name = schedule_member_of(schedule, "name");
	const struct schedule_doc d = {doc, json_is_object(schedule) ? schedule : NULL};
	_cleanup_json_ json_t *out = NULL;

	if (schedule && !d.object)
		return read_follower(doc, schedule, NULL, e);
	if (name)
		return read_follower(doc, name, schedule, e);
	/* In the order in which it is shown. */
	out = json_pack("{s:n, s:n}", "kind", "expr");
	if (check_members(d.object, e) < 0 || schedule_read_settings(&d, now_utc, out, e) < 0 ||
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
	const struct schedule_said enabled = {schedule_member_of(doc, "enabled"), "enabled", true},
				   active = {schedule_member_of(doc, "active"), "active", true},
				   *s = enabled.value ? &enabled : &active;

	if (enabled.value && active.value && !json_equal(enabled.value, active.value))
		return schedule_bad_twice(e, &enabled, &active);
	if (s->value && !json_is_boolean(s->value))
		return schedule_bad_type(e, s, "true or false");
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
