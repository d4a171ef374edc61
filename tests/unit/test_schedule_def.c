// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Schedules as people write them: every spelling to its normal form, every refusal with its pointer
 * and words, patches, and normal forms compiled (daemon/gateway/schedule_{def,patch,plan}.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "daemon/gateway/schedule_def.h"
#include "when/calendar.h"
#include "when/stamp.h"
#include "when/when.h"
#include "when/zone.h"

#include "base/banned.h"

#define NOW "2026-11-23T00:00:00Z"

static int64_t
at(const char *stamp)
{
	int64_t t;

	assert_int_equal(when_parse_rfc3339(stamp, &t, NULL, NULL), 0);
	return t;
}

/* JSON with single quotes, which C lets stand. */
static json_t *
json(const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	struct err e = ERR_INIT;
	json_t *j;

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	j = json_parse(copy, strlen(copy), &json_limits_request, &e);
	if (!j)
		fail_msg("%s: %s", text, e.message);
	return j;
}

static json_t *
read_ok(const json_t *doc)
{
	struct err e = ERR_INIT;
	json_t *normal = schedule_def_read(doc, at(NOW), &e);
	_cleanup_free_ char *text = json_text(doc);

	if (!normal)
		fail_msg("%s: %s: %s", text, e.field, e.message);
	return normal;
}

static void
assert_json(const char *what, const json_t *got, const json_t *want)
{
	_cleanup_free_ char *a = json_text(got), *b = json_text(want);

	if (!json_equal(got, want))
		fail_msg("%s:\n got %s\nwant %s", what, a, b);
}

/* The normal form of these members, the others as they are if nothing is said. */
static json_t *
with_defaults(const char *text)
{
	_cleanup_json_ json_t *members = json(text);
	json_t *all = json("{'kind':null,'expr':null,'timezone':'UTC','dst_gap':'run_at_gap_end',"
			   "'dst_fold':'first','effective_from':null,'effective_until':null,"
			   "'include':[],'exclude':[],'on_hit':'skip','catch_up':'latest',"
			   "'catch_up_limit':10,'catch_up_deadline_seconds':null,"
			   "'jitter_seconds':0,'start_deadline_seconds':null}");

	json_object_update(all, members);
	return all;
}

struct good {
	const char *doc, *normal;
};

/* A definition has the flat members, too: it is read like any document. */
static void
assert_stays(const char *what, const json_t *normal)
{
	_cleanup_json_ json_t *inner = json_pack("{s:s, s:O}", "name", "x", "schedule", normal),
			      *again = read_ok(inner), *flat = schedule_def_flat(normal),
			      *whole = NULL;

	assert_json(what, again, normal);
	json_object_update(inner, flat);
	whole = read_ok(inner);
	assert_json(what, whole, normal);
}

static void
spellings(_unused_ void **state)
{
	static const struct good rows[] = {
	    {"{}", "{'kind':'on_demand','expr':''}"},
	    {"{'cron_expression':null,'schedule':null}", "{'kind':'on_demand','expr':''}"},
	    {"{'schedule':{'kind':'on_demand'}}", "{'kind':'on_demand','expr':''}"},
	    /* NetStacks */
	    {"{'cron_expression':' 0 2  * * * ','timezone':'America/New_York'}",
		"{'kind':'cron','expr':'0 2 * * *','timezone':'America/New_York'}"},
	    {"{'cron_expression':'30 2 * * *','dst_gap':'skip','dst_fold':'both'}",
		"{'kind':'cron','expr':'30 2 * * *','dst_gap':'skip','dst_fold':'both'}"},
	    {"{'cron_expression':'0 0 31 2 *'}", "{'kind':'cron','expr':'0 0 31 2 *'}"},
	    {"{'cron_expression':'@every 90s'}", "{'kind':'every','expr':'90s'}"},
	    {"{'cron_expression':'H 2 * * *'}", "{'kind':'cron','expr':'H 2 * * *'}"},
	    {"{'cron_expression':'@daily'}", "{'kind':'cron','expr':'@daily'}"},
	    /* the object */
	    {"{'schedule':{'cron':'0 2 * * 1-5'}}", "{'kind':'cron','expr':'0 2 * * 1-5'}"},
	    {"{'timezone':'Europe/Berlin','schedule':{'cron':'0 2 * * 1-5'}}",
		"{'kind':'cron','expr':'0 2 * * 1-5','timezone':'Europe/Berlin'}"},
	    {"{'schedule':{'kind':'every','expr':'120s'}}", "{'kind':'every','expr':'2m'}"},
	    {"{'schedule':{'every':'every 5m'}}", "{'kind':'every','expr':'5m'}"},
	    {"{'schedule':{'kind':'every','every':'2w'}}", "{'kind':'every','expr':'14d'}"},
	    {"{'schedule':{'times':['14:00','09:00']}}",
		"{'kind':'times','expr':'09:00,14:00 1111111'}"},
	    {"{'schedule':{'times':'9:00,14:00'}}", NULL},
	    {"{'schedule':{'window':'09:00-17:00-60','day_of_week':'1111100'}}",
		"{'kind':'window','expr':'09:00-17:00-60 1111100'}"},
	    {"{'schedule':{'ordinal':'last friday 18:00'}}",
		"{'kind':'ordinal','expr':'last friday 18:00'}"},
	    {"{'schedule':{'ordinal':'Last Friday','trigger_times':['18:00','06:00']}}",
		"{'kind':'ordinal','expr':'last friday 06:00,18:00'}"},
	    {"{'schedule':{'rrule':['DTSTART:20261201T090000','RRULE:FREQ=DAILY']}}",
		"{'kind':'rrule','expr':'DTSTART:20261201T090000\\nRRULE:FREQ=DAILY'}"},
	    {"{'schedule':{'once':'2026-12-01T02:00:00+01:00'}}",
		"{'kind':'once','expr':'2026-12-01T01:00:00Z'}"},
	    {"{'schedule':{'cron':'0 2 * * *','effective_from':'2026-12-01 00:00',"
	     "'effective_until':'2027-01-01T00:00:00Z','timezone':'Europe/Berlin'}}",
		"{'kind':'cron','expr':'0 2 * * *','timezone':'Europe/Berlin',"
		"'effective_from':'2026-11-30T23:00:00Z','effective_until':'2027-01-01T00:00:00Z'"
		"}"},
	    {"{'schedule':{'cron':'0 2 * * *','exclude':['us-federal','us-federal'],"
	     "'include':'Days','on_hit':'next_business_day','catch_up':'all','catch_up_limit':3,"
	     "'catch_up_deadline_seconds':3600,'jitter_seconds':30,'start_deadline_seconds':60}}",
		"{'kind':'cron','expr':'0 2 * * *','exclude':['us-federal'],'include':['days'],"
		"'on_hit':'next_business_day','catch_up':'all','catch_up_limit':3,"
		"'catch_up_deadline_seconds':3600,'jitter_seconds':30,'start_deadline_seconds':"
		"60}"},
	    /* EasyTask */
	    {"{'timezone':'US/Eastern','active':true,'calendar':'US_HOLIDAYS',"
	     "'day_of_week':'1111111','trigger_times':'08:30'}",
		"{'kind':'times','expr':'08:30 1111111','timezone':'US/Eastern',"
		"'exclude':['us_holidays']}"},
	    {"{'trigger_times':'(14:00, 09:00, 14:00)','day_of_week':'0111110'}",
		"{'kind':'times','expr':'09:00,14:00 0111110'}"},
	    {"{'trigger_times':'09:00'}", "{'kind':'times','expr':'09:00 1111111'}"},
	    {"{'trigger_times':['09:00'],'day_of_week':' 1111010 '}",
		"{'kind':'times','expr':'09:00 1111010'}"},
	    {"{'run_frequency':'09:00-17:00-60','day_of_week':'1111100'}",
		"{'kind':'window','expr':'09:00-17:00-60 1111100'}"},
	    {"{'run_frequency':'00:00-23:59-5'}",
		"{'kind':'window','expr':'00:00-23:59-5 1111111'}"},
	    {"{'run_frequency':'02:00-02:00-1440'}",
		"{'kind':'window','expr':'02:00-02:00-1440 1111111'}"},
	    {"{'ordinal_day':'first monday of every month','trigger_times':'06:00'}",
		"{'kind':'ordinal','expr':'first monday 06:00'}"},
	    {"{'ordinal_day':'last friday of every month','trigger_times':'(18:00, 06:00)',"
	     "'day_of_week':null}",
		"{'kind':'ordinal','expr':'last friday 06:00,18:00'}"},
	    /* NetDefense */
	    {"{'at':'90m'}", "{'kind':'once','expr':'2026-11-23T01:30:00Z'}"},
	    {"{'at':'+2s'}", "{'kind':'once','expr':'2026-11-23T00:00:02Z'}"},
	    {"{'at':'2h'}", "{'kind':'once','expr':'2026-11-23T02:00:00Z'}"},
	    {"{'at':'7d'}", "{'kind':'once','expr':'2026-11-30T00:00:00Z'}"},
	    {"{'at':'2w'}", "{'kind':'once','expr':'2026-12-07T00:00:00Z'}"},
	    {"{'at':'2026-12-01 02:00','timezone':'Europe/Berlin'}",
		"{'kind':'once','expr':'2026-12-01T01:00:00Z','timezone':'Europe/Berlin'}"},
	    {"{'at':'2027-03-14T02:30:00','timezone':'America/New_York'}",
		"{'kind':'once','expr':'2027-03-14T07:00:00Z','timezone':'America/New_York'}"},
	    {"{'at':'2026-12-01T02:00:00Z'}", "{'kind':'once','expr':'2026-12-01T02:00:00Z'}"},
	    /* a shared schedule's body */
	    {"{'name':'nightly','cron':'0 2 * * *','timezone':'UTC'}",
		"{'kind':'cron','expr':'0 2 * * *'}"},
	    {"{'name':'nightly','kind':'times','expr':'02:00 1111100','jitter_seconds':5}",
		"{'kind':'times','expr':'02:00 1111100','jitter_seconds':5}"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_json_ json_t *doc = json(rows[i].doc), *got = NULL, *want = NULL;

		if (!rows[i].normal) {
			assert_null(schedule_def_read(doc, at(NOW), NULL));
			continue;
		}
		got = read_ok(doc);
		want = with_defaults(rows[i].normal);
		assert_json(rows[i].doc, got, want);
		assert_stays(rows[i].doc, got);
	}
}

static void
assert_words(const char *doc, const char *words, const struct err *e)
{
	_cleanup_free_ char *copy = strdup(words);
	char *rest = copy, *word;

	while ((word = strsep(&rest, "|")))
		if (!strstr(e->message, word) && !strstr(e->hint, word))
			fail_msg("%s: \"%s\" is not in: %s (%s)", doc, word, e->message, e->hint);
}

/* As many times of day as a schedule may have, in the longest spelling there is; and one more. */
static void
many_times(_unused_ void **state)
{
	_cleanup_json_ json_t *doc = json_pack("{s:[]}", "trigger_times"), *normal = NULL;
	json_t *list = json_object_get(doc, "trigger_times");
	struct err e = ERR_INIT;

	for (int i = 0; i < 64; i++) {
		_cleanup_free_ char *time = xasprintf(" %02d:%02d:07", i / 3, i % 3 * 20);

		json_array_append_new(list, json_string(time));
	}
	normal = read_ok(doc);
	assert_stays("64 times", normal);
	json_array_append_new(list, json_string("23:00"));
	assert_null(schedule_def_read(doc, 0, &e));
	assert_string_equal(e.field, "/trigger_times");
	assert_words("65 times", "64", &e);
}

static void
followers(_unused_ void **state)
{
	static const char *const docs[] = {"{'name':'t','schedule':'nightly'}",
	    "{'schedule':{'name':'nightly'},'timezone':null}",
	    "{'schedule':{'name':'nightly','cron':null}}"};
	_cleanup_json_ json_t *want = json("{'name':'nightly'}");

	for (size_t i = 0; i < ARRAY_LEN(docs); i++) {
		_cleanup_json_ json_t *doc = json(docs[i]), *got = read_ok(doc);

		assert_json(docs[i], got, want);
		assert_string_equal(schedule_def_follows(got), "nightly");
		assert_stays(docs[i], got);
	}
}

struct bad {
	const char *doc, *pointer, *words; /* words: in the message or the hint, joined by | */
};

static void
refusals(_unused_ void **state)
{
	static const struct bad rows[] = {
	    /* said twice */
	    {"{'cron_expression':'0 2 * * *','schedule':{'cron':'0 2 * * *'}}", "/schedule/cron",
		"/cron_expression|/schedule/cron|one way"},
	    {"{'cron_expression':'0 2 * * *','schedule':'nightly'}", "/cron_expression",
		"/cron_expression|/schedule"},
	    {"{'timezone':'UTC','schedule':{'name':'nightly'}}", "/timezone",
		"/timezone|/schedule/name"},
	    {"{'schedule':{'name':'nightly','jitter_seconds':3}}", "/schedule/jitter_seconds",
		"/schedule/name|shared"},
	    {"{'cron_expression':'0 2 * * *','trigger_times':'09:00'}", "/trigger_times",
		"/cron_expression|/trigger_times"},
	    {"{'cron_expression':'0 2 * * *','at':'2h'}", "/at", "/cron_expression|/at"},
	    {"{'timezone':'UTC','schedule':{'cron':'0 2 * * *','timezone':'Europe/Berlin'}}",
		"/schedule/timezone", "/timezone|/schedule/timezone"},
	    {"{'schedule':{'kind':'cron','every':'5m'}}", "/schedule/kind",
		"/schedule/every|/schedule/kind"},
	    {"{'schedule':{'kind':'cron','expr':'0 2 * * *','cron':'0 2 * * *'}}", "/schedule/cron",
		"/schedule/expr|/schedule/cron"},
	    {"{'cron_expression':'0 3 * * *','schedule':{'kind':'cron','expr':'0 2 * * *'}}",
		"/cron_expression", "/schedule/expr|/cron_expression"},
	    {"{'calendar':'a','schedule':{'cron':'0 2 * * *','exclude':['a']}}", "/calendar",
		"/schedule/exclude|/calendar"},
	    {"{'every':'5m','schedule':{'every':'6m'}}", "/schedule/every",
		"/every|/schedule/every"},
	    {"{'kind':'every','schedule':{'kind':'cron','expr':'0 2 * * *'}}", "/schedule/kind",
		"/kind"},
	    {"{'day_of_week':'1111100','schedule':{'times':'09:00','day_of_week':'1111111'}}",
		"/schedule/day_of_week", "/day_of_week"},
	    {"{'calendar':'a','schedule':{'cron':'0 2 * * *','calendar':'b'}}",
		"/schedule/calendar", "/calendar"},
	    /* EasyTask's rules */
	    {"{'trigger_times':'09:00','run_frequency':'09:00-17:00-60'}", "/trigger_times",
		"/run_frequency|/trigger_times"},
	    {"{'day_of_week':'1111100'}", "/day_of_week", "trigger_times|run_frequency"},
	    {"{'ordinal_day':'first monday of every month'}", "/trigger_times",
		"ordinal_day|trigger_times"},
	    {"{'ordinal_day':'first monday of every month','trigger_times':'06:00',"
	     "'day_of_week':'1111100'}",
		"/day_of_week", "ordinal_day"},
	    {"{'ordinal_day':'first monday of every month','run_frequency':'09:00-10:00-5'}",
		"/ordinal_day", "/run_frequency|/ordinal_day"},
	    {"{'cron_expression':'0 2 * * *','day_of_week':'1111100'}", "/day_of_week",
		"/cron_expression"},
	    {"{'trigger_times':'24:00'}", "/trigger_times", "'24:00' at position 1|23:59"},
	    {"{'trigger_times':'(09:00, 14:60)'}", "/trigger_times", "'14:60' at position 9"},
	    {"{'trigger_times':'(09:00, 14:00'}", "/trigger_times", "closing parenthesis"},
	    {"{'trigger_times':''}", "/trigger_times", "a time of day is missing"},
	    {"{'trigger_times':[]}", "/trigger_times", "list of 1 to 64"},
	    {"{'trigger_times':[900]}", "/trigger_times", "list of 1 to 64 texts"},
	    {"{'trigger_times':'09:00','day_of_week':'111110'}", "/day_of_week",
		"'111110' at position 1|seven digits|Monday first"},
	    {"{'trigger_times':'09:00','day_of_week':'MON-FRI'}", "/day_of_week",
		"'MON-FRI' at position 1|seven digits"},
	    {"{'trigger_times':'09:00','day_of_week':''}", "/day_of_week", "seven digits"},
	    {"{'trigger_times':'09:00','day_of_week':'0000000'}", "/day_of_week",
		"'0000000'|disable"},
	    {"{'run_frequency':'17:00-09:00-60'}", "/run_frequency", "'17:00-09:00'|two schedules"},
	    {"{'run_frequency':'09:00-17:00-0'}", "/run_frequency", "'0' at position 13|1440"},
	    {"{'run_frequency':'09:00-17:00-1441'}", "/run_frequency", "'1441'|1440"},
	    {"{'run_frequency':'09:00-17:00'}", "/run_frequency", "a dash"},
	    {"{'ordinal_day':'sixth monday of every month','trigger_times':'06:00'}",
		"/ordinal_day", "'sixth' at position 1|first to fifth"},
	    {"{'ordinal_day':'first day of every month','trigger_times':'06:00'}", "/ordinal_day",
		"'day' at position 7|weekday"},
	    {"{'ordinal_day':'first monday of the month','trigger_times':'06:00'}", "/ordinal_day",
		"'the'"},
	    {"{'ordinal_day':'first monday','trigger_times':'6:00'}", "/trigger_times",
		"'6:00' at position 1"},
	    {"{'trigger_times':'09:00','calendar':''}", "/calendar", "no name of a calendar"},
	    {"{'trigger_times':'09:00','timezone':'US/Easten'}", "/timezone", "US/Easten"},
	    {"{'trigger_times':'09:00','timezone':5}", "/timezone", "text"},
	    /* cron */
	    {"{'cron_expression':'0 25 * * *'}", "/cron_expression",
		"'25' at position 3 (hour)|0 to 23"},
	    {"{'schedule':{'cron':'0 2 * * MON-XYZ'}}", "/schedule/cron",
		"'XYZ' at position 13 (day of week)"},
	    {"{'cron_expression':'@every 0s'}", "/cron_expression", "'0s'|one second"},
	    {"{'cron_expression':''}", "/cron_expression", "fields"},
	    /* the object */
	    {"{'schedule':{}}", "/schedule/expr", "when|cron"},
	    {"{'schedule':{'catch_up':'none'}}", "/schedule/expr", "when"},
	    {"{'schedule':{'kind':'cron'}}", "/schedule/expr", "when"},
	    {"{'schedule':{'expr':'0 2 * * *'}}", "/schedule/expr", "kind"},
	    {"{'schedule':{'kind':'hourly'}}", "/schedule/kind", "'hourly'|on_demand"},
	    {"{'schedule':{'kind':'on_demand','expr':'5'}}", "/schedule/expr", "'5'|empty"},
	    {"{'schedule':{'cron':'0 2 * * *','tz':'UTC'}}", "/schedule/tz", "tz|timezone"},
	    {"{'schedule':{'cron':7}}", "/schedule/cron", "text"},
	    {"{'schedule':7}", "/schedule", "text"},
	    {"{'schedule':''}", "/schedule", "name"},
	    {"{'schedule':{'name':'a','tz':1}}", "/schedule/tz", "tz"},
	    {"{'schedule':{'cron':'0 2 * * *','catch_up':'last'}}", "/schedule/catch_up",
		"'last'|latest, none or all"},
	    {"{'schedule':{'cron':'0 2 * * *','on_hit':'move'}}", "/schedule/on_hit",
		"'move'|previous_business_day"},
	    {"{'cron_expression':'0 2 * * *','dst_gap':'never'}", "/dst_gap", "'never'|skip"},
	    {"{'schedule':{'cron':'0 2 * * *','catch_up_limit':0}}", "/schedule/catch_up_limit",
		"1 to 1000"},
	    {"{'schedule':{'cron':'0 2 * * *','jitter_seconds':1.5}}", "/schedule/jitter_seconds",
		"0 to 86400"},
	    {"{'schedule':{'cron':'0 2 * * *','include':['a','b'],'exclude':['B']}}",
		"/schedule/exclude", "calendar b"},
	    {"{'schedule':{'cron':'0 2 * * *','exclude':['a b']}}", "/schedule/exclude", "'a b'"},
	    {"{'schedule':{'cron':'0 2 * * *','exclude':[7]}}", "/schedule/exclude", "name"},
	    {"{'schedule':{'cron':'0 2 * * *','exclude':['a','b','c','d','e','f','g','h','i','j',"
	     "'k','l','m','n','o','p','q']}}",
		"/schedule/exclude", "more than 16"},
	    {"{'cron_expression':'0 2 * * *','dst_gap':1}", "/dst_gap", "text"},
	    {"{'schedule':{'cron':'0 2 * * *','effective_until':1}}", "/schedule/effective_until",
		"text"},
	    {"{'schedule':{'every':'5m','exclude':['a'],'on_hit':'next_business_day'}}",
		"/schedule/on_hit", "every"},
	    {"{'schedule':{'cron':'0 2 * * *','effective_from':'2027-01-01T00:00:00Z',"
	     "'effective_until':'2026-01-01T00:00:00Z'}}",
		"/schedule/effective_until", "not after"},
	    {"{'schedule':{'cron':'0 2 * * *','effective_from':'soon'}}",
		"/schedule/effective_from", "'soon'"},
	    {"{'schedule':{'rrule':'RRULE:FREQ=DAILY'}}", "/schedule/rrule", "DTSTART"},
	    {"{'timezone':'Europe/Berlin','schedule':{'rrule':"
	     "'DTSTART;TZID=Europe/Paris:20261201T090000\\nRRULE:FREQ=DAILY'}}",
		"/schedule/rrule", "Europe/Paris|Europe/Berlin"},
	    /* NetDefense */
	    {"{'at':'-5m'}", "/at", "'-5m'|+90m"},
	    {"{'at':'90'}", "/at", "'90' at position 1|s, m, h, d, w"},
	    {"{'at':'2026-13-01 02:00'}", "/at", "'2026-13-01 02:00'"},
	    {"{'at':'tomorrow'}", "/at", "'tomorrow'|2026-12-01 02:00"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_json_ json_t *doc = json(rows[i].doc), *got = NULL;
		struct err e = ERR_INIT;

		got = schedule_def_read(doc, at(NOW), &e);
		if (got)
			fail_msg("%s was taken", rows[i].doc);
		if (strcmp(e.field, rows[i].pointer) != 0)
			fail_msg(
			    "%s: %s, not %s: %s", rows[i].doc, e.field, rows[i].pointer, e.message);
		assert_words(rows[i].doc, rows[i].words, &e);
	}
}

/* As task_def.c does it, without going deeper than the schedule. */
static void
merge(json_t *into, const json_t *patch)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)patch, key, value)
	{
		json_t *old = json_object_get(into, key);

		if (json_is_null(value))
			json_object_del(into, key);
		else if (json_is_object(value) && json_is_object(old))
			merge(old, value);
		else
			json_object_set(into, key, value);
	}
}

struct change {
	const char *before, *patch, *after; /* after: as with_defaults(), or NULL and */
	const char *pointer;
};

static void
patches(_unused_ void **state)
{
	static const struct change rows[] = {
	    {"{'cron_expression':'0 2 * * *','timezone':'Europe/Berlin'}",
		"{'cron_expression':'0 3 * * *'}",
		"{'kind':'cron','expr':'0 3 * * *','timezone':'Europe/Berlin'}", NULL},
	    {"{'cron_expression':'0 2 * * *','timezone':'Europe/Berlin'}",
		"{'timezone':'US/Eastern','max_retries':1}",
		"{'kind':'cron','expr':'0 2 * * *','timezone':'US/Eastern'}", NULL},
	    {"{'cron_expression':'0 2 * * *','timezone':'Europe/Berlin'}", "{'max_retries':1}",
		"{'kind':'cron','expr':'0 2 * * *','timezone':'Europe/Berlin'}", NULL},
	    {"{'cron_expression':'0 2 * * *','timezone':'Europe/Berlin'}",
		"{'schedule':{'every':'5m'}}",
		"{'kind':'every','expr':'5m','timezone':'Europe/Berlin'}", NULL},
	    {"{'cron_expression':'0 2 * * *'}", "{'schedule':{'expr':'0 4 * * *'}}",
		"{'kind':'cron','expr':'0 4 * * *'}", NULL},
	    {"{'cron_expression':'0 2 * * *'}",
		"{'schedule':{'kind':'times','expr':'04:00 1111100'}}",
		"{'kind':'times','expr':'04:00 1111100'}", NULL},
	    {"{'cron_expression':'0 2 * * *'}", "{'schedule':{'kind':'on_demand'}}",
		"{'kind':'on_demand','expr':''}", NULL},
	    {"{'cron_expression':'0 2 * * *','timezone':'Europe/Berlin'}",
		"{'cron_expression':null}",
		"{'kind':'on_demand','expr':'','timezone':'Europe/Berlin'}", NULL},
	    {"{'cron_expression':'0 2 * * *','timezone':'Europe/Berlin'}", "{'schedule':null}",
		"{'kind':'on_demand','expr':''}", NULL},
	    {"{'schedule':{'every':'5m'}}", "{'cron_expression':null}",
		"{'kind':'every','expr':'5m'}", NULL},
	    {"{'schedule':{'every':'5m','jitter_seconds':3}}",
		"{'schedule':{'catch_up':'none','jitter_seconds':null}}",
		"{'kind':'every','expr':'5m','catch_up':'none'}", NULL},
	    {"{'trigger_times':'09:00','day_of_week':'1111100'}", "{'trigger_times':'10:00'}",
		"{'kind':'times','expr':'10:00 1111100'}", NULL},
	    {"{'trigger_times':'09:00','day_of_week':'1111100'}", "{'day_of_week':'0000011'}",
		"{'kind':'times','expr':'09:00 0000011'}", NULL},
	    {"{'trigger_times':'09:00','day_of_week':'1111100'}", "{'day_of_week':null}",
		"{'kind':'times','expr':'09:00 1111111'}", NULL},
	    {"{'trigger_times':'09:00','day_of_week':'1111100'}", "{'trigger_times':null}",
		"{'kind':'on_demand','expr':''}", NULL},
	    {"{'trigger_times':'09:00','day_of_week':'1111100'}",
		"{'run_frequency':'09:00-10:00-5','trigger_times':null}",
		"{'kind':'window','expr':'09:00-10:00-5 1111100'}", NULL},
	    {"{'run_frequency':'09:00-10:00-5','day_of_week':'1111100'}",
		"{'schedule':{'times':['08:00']}}", "{'kind':'times','expr':'08:00 1111100'}",
		NULL},
	    {"{'ordinal_day':'first monday','trigger_times':'06:00'}", "{'trigger_times':'07:00'}",
		"{'kind':'ordinal','expr':'first monday 07:00'}", NULL},
	    {"{'ordinal_day':'first monday','trigger_times':'06:00'}",
		"{'ordinal_day':'last friday of every month'}",
		"{'kind':'ordinal','expr':'last friday 06:00'}", NULL},
	    {"{'trigger_times':'09:00','day_of_week':'1111100'}",
		"{'ordinal_day':'last friday of every month'}",
		"{'kind':'ordinal','expr':'last friday 09:00'}", NULL},
	    {"{'ordinal_day':'first monday','trigger_times':'06:00'}",
		"{'run_frequency':'09:00-10:00-5'}",
		"{'kind':'window','expr':'09:00-10:00-5 1111111'}", NULL},
	    {"{'trigger_times':'09:00','calendar':'a'}", "{'calendar':'b'}",
		"{'kind':'times','expr':'09:00 1111111','exclude':['b']}", NULL},
	    {"{'trigger_times':'09:00','calendar':'a'}", "{'calendar':null}",
		"{'kind':'times','expr':'09:00 1111111'}", NULL},
	    {"{'trigger_times':'09:00','calendar':'a'}", "{'schedule':{'exclude':[]}}",
		"{'kind':'times','expr':'09:00 1111111'}", NULL},
	    {"{'schedule':'nightly'}", "{'cron_expression':'0 2 * * *'}",
		"{'kind':'cron','expr':'0 2 * * *'}", NULL},
	    {"{'schedule':'nightly'}", "{'schedule':{'every':'5m'}}",
		"{'kind':'every','expr':'5m'}", NULL},
	    {"{'at':'2h'}", "{'at':'3h'}", "{'kind':'once','expr':'2026-11-23T03:00:00Z'}", NULL},
	    /* what is still wrong, or said twice in the patch itself */
	    {"{'schedule':'nightly'}", "{'schedule':{'kind':'on_demand'}}",
		"{'kind':'on_demand','expr':''}", NULL},
	    {"{'schedule':'nightly'}", "{'timezone':'US/Eastern'}", NULL, "/timezone"},
	    {"{'schedule':'nightly'}", "{'schedule':{'jitter_seconds':5}}", NULL,
		"/schedule/jitter_seconds"},
	    {"{'cron_expression':'0 2 * * *'}", "{'day_of_week':'1111100'}", NULL, "/day_of_week"},
	    {"{'cron_expression':'0 2 * * *'}", "{'trigger_times':'1:00','at':'2h'}", NULL,
		"/trigger_times"},
	    {"{'cron_expression':'0 2 * * *'}", "{'cron_expression':'0 3 * * *','at':'2h'}", NULL,
		"/at"},
	    {"{'cron_expression':'0 2 * * *'}", "{'schedule':{'kind':'times'}}", NULL,
		"/schedule/expr"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_json_ json_t *before = json(rows[i].before), *patch = json(rows[i].patch),
				      *normal = read_ok(before), *flat = schedule_def_flat(normal),
				      *doc = json_pack("{s:s, s:b, s:O}", "name", "t", "enabled", 1,
					  "schedule", normal),
				      *got = NULL, *want = NULL;
		struct err e = ERR_INIT;

		json_object_update(doc, flat);
		schedule_def_patch(doc, patch);
		merge(doc, patch);
		got = schedule_def_read(doc, at(NOW), &e);
		if (!rows[i].after) {
			assert_null(got);
			assert_string_equal(e.field, rows[i].pointer);
			continue;
		}
		if (!got)
			fail_msg(
			    "%s + %s: %s: %s", rows[i].before, rows[i].patch, e.field, e.message);
		want = with_defaults(rows[i].after);
		assert_json(rows[i].patch, got, want);
	}
}

/* EasyTask's word for enabled; and a name put in place of times. */
static void
patches_of_the_whole(_unused_ void **state)
{
	_cleanup_json_ json_t *definition =
	    json("{'schedule':{'kind':'cron','expr':'0 2 * * *'},'cron_expression':"
		 "'0 2 * * *','timezone':'UTC','enabled':true}");
	_cleanup_json_ json_t *off = json("{'active':false}"),
			      *name = json("{'schedule':'nightly'}"), *follows = NULL;
	bool is_enabled = true;

	schedule_def_patch(definition, off);
	merge(definition, off);
	assert_int_equal(schedule_def_enabled(definition, true, &is_enabled, NULL), 0);
	assert_false(is_enabled);
	schedule_def_patch(definition, name);
	merge(definition, name);
	follows = read_ok(definition);
	assert_string_equal(schedule_def_follows(follows), "nightly");
}

static void
enabled(_unused_ void **state)
{
	static const struct {
		const char *doc;
		int is_enabled; /* -1: refused */
	} rows[] = {{"{}", 1}, {"{'enabled':false}", 0}, {"{'active':false}", 0},
	    {"{'active':true,'enabled':true}", 1}, {"{'active':true,'enabled':false}", -1},
	    {"{'active':1}", -1}, {"{'enabled':null,'active':false}", 0}};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_json_ json_t *doc = json(rows[i].doc);
		struct err e = ERR_INIT;
		bool is_enabled = false;
		int rc = schedule_def_enabled(doc, true, &is_enabled, &e);

		assert_int_equal(rc < 0 ? -1 : is_enabled, rows[i].is_enabled);
		if (rc < 0)
			assert_string_equal(e.field, "/active");
	}
}

static void
assert_next(const char *doc_text, const char *calendars_text, const char *after, const char *want)
{
	_cleanup_json_ json_t *doc = json(doc_text), *calendars = json(calendars_text),
			      *normal = read_ok(doc);
	struct err e = ERR_INIT;
	_cleanup_schedule_plan_ struct schedule_plan *p =
	    schedule_plan_new(normal, calendars, NULL, at(NOW), &e);
	struct when_occurrence o = {0};
	char stamp[32];

	if (!p)
		fail_msg("%s: %s", doc_text, e.message);
	assert_true(when_next(schedule_plan_when(p), at(after), &o));
	assert_string_equal(when_format_rfc3339(o.utc, stamp), want);
}

static void
plans(_unused_ void **state)
{
	assert_next("{'cron_expression':'0 2 * * *','timezone':'America/New_York'}", "{}",
	    "2026-01-15T12:00:00Z", "2026-01-16T07:00:00Z");
	assert_next("{'cron_expression':'0 2 * * *','timezone':'America/New_York'}", "{}",
	    "2026-07-15T12:00:00Z", "2026-07-16T06:00:00Z");
	assert_next("{'schedule':{'every':'90s'}}", "{}", NOW, "2026-11-23T00:01:30Z");
	assert_next("{'schedule':{'every':'90s','effective_from':'2026-12-01T00:00:07Z'}}", "{}",
	    NOW, "2026-12-01T00:00:07Z");
	/* 26 November 2026 is day 20783. */
	assert_next("{'trigger_times':'08:30','day_of_week':'0001000','calendar':'US_HOLIDAYS'}",
	    "{'us_holidays':[[20783,'Thanksgiving']],'other':[]}", NOW, "2026-12-03T08:30:00Z");
	assert_next("{'schedule':{'times':'08:30','include':'days'}}", "{'days':[[20783,null]]}",
	    NOW, "2026-11-26T08:30:00Z");
}

/* As a row whose zone is gone by now. */
static void
plans_without_a_zone(_unused_ void **state)
{
	_cleanup_json_ json_t *doc = json("{'cron':'0 2 * * *'}"), *normal = read_ok(doc);
	struct err e = ERR_INIT;

	json_object_set_new(normal, "timezone", json_string("Mars/Olympus"));
	assert_null(schedule_plan_new(normal, NULL, NULL, 0, &e));
	assert_string_equal(e.field, "/timezone");
}

static void
plans_name_their_calendars(_unused_ void **state)
{
	_cleanup_json_ json_t *doc = json("{'schedule':{'times':'08:30','exclude':['a','b']}}"),
			      *only = json("{'schedule':{'times':'08:30','include':['a','b']}}"),
			      *calendars = json("{'a':[[1,'one']],'b':[[1,'uno'],[2,'due']]}"),
			      *less = json("{'a':[]}"), *normal = read_ok(doc),
			      *normal_only = read_ok(only);
	struct err e = ERR_INIT;
	_cleanup_schedule_plan_ struct schedule_plan *p =
	    schedule_plan_new(normal, calendars, "x", 0, &e);
	_cleanup_schedule_plan_ struct schedule_plan *q =
	    schedule_plan_new(normal_only, calendars, "x", 0, &e);
	const char *reason = NULL;

	assert_string_equal(schedule_plan_hit(p, 1, &reason), "a");
	assert_string_equal(reason, "one");
	assert_string_equal(schedule_plan_hit(p, 2, NULL), "b");
	assert_null(schedule_plan_hit(p, 3, &reason));
	assert_null(schedule_plan_hit(q, 2, &reason));
	assert_string_equal(schedule_plan_hit(q, 3, &reason), "a");
	assert_string_equal(reason, "");
	assert_string_equal(zone_name(schedule_plan_zone(p)), "UTC");
	assert_null(schedule_plan_new(normal, less, "x", 0, &e));
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_string_equal(e.field, "/exclude");
	assert_non_null(strstr(e.message, "\"b\""));
}

static int
fini(_unused_ void **state)
{
	zone_fini();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(spellings),
	    cmocka_unit_test(many_times), cmocka_unit_test(followers), cmocka_unit_test(refusals),
	    cmocka_unit_test(patches), cmocka_unit_test(patches_of_the_whole),
	    cmocka_unit_test(enabled), cmocka_unit_test(plans),
	    cmocka_unit_test(plans_without_a_zone), cmocka_unit_test(plans_name_their_calendars)};

	return cmocka_run_group_tests(tests, NULL, fini);
}
