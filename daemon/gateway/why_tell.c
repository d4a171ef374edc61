// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The answer to `takt why`: which rule decided, or decides, and the facts that it looked at. A
 * sentence says the same for people; the facts in it are those of `detail`.
 */
#include <string.h>

#include "base/jsonx.h"

#include "task/rules.h"
#include "when/civil.h"

#include "daemon/gateway/why.h"

#include "base/banned.h"

struct tale {
	const struct why_case *c;
	const char *answer, *rule;
	json_t *detail;
	int64_t due;
	bool has_due, is_future;
	struct buf sentence;
};

static const char *
sentence_of(const char *id)
{
	const struct rule *rule = rule_find(id);

	return rule ? rule->sentence : id;
}

/* --- which rule --- */

static const char *
rule_of_settings(const struct why_case *c)
{
	int64_t from, until, due = c->found.due;

	why_effective(c->setting, &from, &until);
	if (!json_get_bool(c->setting, "enabled", true))
		return "task.disabled";
	if (!json_get_bool(c->setting, "shared_enabled", true))
		return "schedule.paused";
	if (due < from)
		return "effective.from";
	if (due >= until)
		return "effective.until";
	return c->found.mark.what == WHEN_FIRES ? NULL : c->found.rule;
}

static void
judge_undecided(struct tale *t)
{
	const struct why_case *c = t->c;

	if (!c->setting || t->due < json_get_int(c->facts, "created", 0))
		t->rule = "before_creation";
	else if (c->found.is_invalid)
		t->rule = "schedule.invalid";
	else if (c->found.is_on_demand)
		t->rule = "no_schedule";
	else if (!c->found.is_nominal)
		t->rule = c->found.has_after ? "not_due" : "schedule.ended";
	else {
		t->rule = rule_of_settings(c);
		t->answer = t->is_future ? "will_skip" : "skipped";
		if (!t->rule)
			t->answer = t->rule = t->is_future ? "will_fire" : "undecided";
		return;
	}
	t->answer = "not_due";
}

static void
judge(struct tale *t)
{
	const struct why_case *c = t->c;
	const char *what;

	t->has_due = c->row || c->found.is_nominal;
	t->due = c->found.is_nominal ? c->found.due : c->asked.span[c->span].lo;
	if (c->row) {
		what = json_get_str(c->row, "decision", "");
		t->rule = json_get_str(c->row, "rule", "");
		t->answer = what;
		/* the range's own first time, if the settings do not say which one is asked for */
		if (!c->found.is_nominal)
			t->due = json_get_int(c->row, "due", 0);
		return;
	}
	t->is_future = t->due + (c->found.is_nominal ? json_get_int(c->facts, "jitter", 0) : 0) >
		       json_get_int(c->facts, "now", 0);
	judge_undecided(t);
}

/* --- facts --- */

static void
say(struct tale *t, const char *name, json_t *value)
{
	if (value && !json_is_null(value))
		json_object_set(t->detail, name, value);
	json_decref(value);
}

static void
say_found(struct tale *t)
{
	const struct why_found *f = &t->c->found;

	if (f->is_invalid)
		say(t, "error", json_string(f->error.message));
	if (f->calendar[0])
		say(t, "calendar", json_string(f->calendar));
	if (f->reason[0])
		say(t, "reason", json_string(f->reason));
	if (!f->is_nominal || f->mark.what != WHEN_FIRES)
		return;
	if (f->mark.o.is_moved)
		say(t, "moved", json_true());
	if (f->mark.o.is_repeat)
		say(t, "repeat", json_true());
	if (f->mark.o.is_shifted)
		say(t, "shifted", json_true());
}

/* Why a due time of the past has no decision. */
static void
say_undecided(struct tale *t)
{
	const json_t *facts = t->c->facts, *state = t->c->state;
	int64_t next = json_get_int(facts, "next_due", INT64_MAX), changed;
	const char *cause = "unknown";

	if (next <= t->due)
		cause = json_get_bool(state, "has_engine", false) ? "waiting" : "no_engine";
	else if (why_changed_after(facts, t->due, &changed)) {
		cause = "changed";
		say(t, "changed_at", why_utc(changed));
	} else if (!json_get_bool(state, "is_kept", true))
		cause = "not_kept";
	say(t, "cause", json_string(cause));
	if (!strcmp(cause, "no_engine"))
		say(t, "last_engine", json_incref(json_object_get(state, "last_engine")));
}

static json_t *
cause(const char *name, const char *member, json_t *value)
{
	return json_pack("{s:s, s:o}", "cause", name, member, value);
}

/* What lies between a due time and the start of its run. */
static void
say_late(struct tale *t)
{
	const json_t *row = t->c->row, *behind = json_object_get(row, "behind"),
		     *downtime = json_object_get(row, "downtime");
	int64_t jitter = json_get_int(t->c->facts, "jitter", 0),
		late = json_get_int(row, "decided_late_s", 0) - jitter;
	_cleanup_json_ json_t *causes = json_array();

	if (jitter)
		json_array_append_new(causes, cause("jitter", "seconds", json_integer(jitter)));
	if (json_array_size(downtime))
		json_array_append_new(
		    causes, cause("no_engine", "downtime", json_incref((json_t *)downtime)));
	else if (late > 60)
		json_array_append_new(causes, cause("decided_late", "seconds", json_integer(late)));
	if (json_is_object(behind))
		json_array_append_new(
		    causes, cause("queued", "run", json_incref((json_t *)behind)));
	if (json_array_size(causes))
		say(t, "late", json_incref(causes));
}

static void
say_row(struct tale *t)
{
	const json_t *row = t->c->row;

	json_object_update(t->detail, json_object_get(row, "detail"));
	say(t, "runs", json_incref(json_object_get(row, "in_the_way")));
	if (!strcmp(t->answer, "fired")) {
		say_late(t);
		if (!strcmp(json_get_str(json_object_get(row, "run"), "state", ""), "expired"))
			say(t, "expired", json_incref(json_object_get(row, "message")));
	} else
		say(t, "downtime", json_incref(json_object_get(row, "downtime")));
}

/* --- the sentence --- */

static void
add_time(struct buf *b, const struct zone *z, int64_t utc)
{
	_cleanup_json_ json_t *text = why_local(z, utc);

	buf_adds(b, json_string_value(text));
}

static void
tell_run(struct tale *t)
{
	const json_t *run = json_object_get(t->c->row, "run");
	const json_t *causes = json_object_get(t->detail, "late"), *j;
	int64_t late = json_get_int(t->c->row, "late_s", 0);
	const char *state = json_get_str(run, "state", "");
	size_t i;

	if (!json_is_object(run)) {
		buf_adds(&t->sentence, " Its run is no longer kept.");
		return;
	}
	buf_addf(&t->sentence, " Run %s is %s", json_get_str(run, "code", ""), state);
	if (late > 0)
		buf_addf(&t->sentence, ", %lld s after the due time%s", (long long)late,
		    json_is_null(json_object_get(t->c->row, "started_at")) ? " and not started"
									   : " it started");
	json_array_foreach((json_t *)causes, i, j)
	{
		const char *name = json_get_str(j, "cause", "");

		buf_adds(&t->sentence, i ? "; " : ": ");
		if (!strcmp(name, "jitter"))
			buf_addf(&t->sentence, "its jitter is %lld s",
			    (long long)json_get_int(j, "seconds", 0));
		else if (!strcmp(name, "queued"))
			buf_addf(&t->sentence, "it waited behind run %s",
			    json_get_str(json_object_get(j, "run"), "code", ""));
		else if (!strcmp(name, "decided_late"))
			buf_addf(&t->sentence, "the engine decided %lld s late",
			    (long long)json_get_int(j, "seconds", 0));
		else
			buf_adds(&t->sentence, "no engine ran");
	}
	buf_addc(&t->sentence, '.');
}

static void
tell_downtime(struct tale *t, const json_t *downtime)
{
	const json_t *d = json_array_get(downtime, 0);

	if (d)
		buf_addf(&t->sentence, " No engine ran from %s until %s.",
		    json_get_str(d, "from", ""), json_get_str(d, "until", ""));
}

static void
tell_facts(struct tale *t)
{
	const char *calendar = json_get_str(t->detail, "calendar", NULL),
		   *reason = json_get_str(t->detail, "reason", ""),
		   *cause = json_get_str(t->detail, "cause", NULL);
	const json_t *runs = json_object_get(t->detail, "runs"), *run;
	size_t i;

	if (calendar)
		buf_addf(&t->sentence, " Calendar %s%s%s%s.", calendar, *reason ? " (" : "", reason,
		    *reason ? ")" : "");
	if (json_get_int(t->detail, "limit", 0) > 0)
		buf_addf(&t->sentence, " The limit is %lld.",
		    (long long)json_get_int(t->detail, "limit", 0));
	json_array_foreach((json_t *)runs, i, run)
	    buf_addf(&t->sentence, " In the way: run %s (%s).", json_get_str(run, "code", ""),
		json_get_str(run, "state", ""));
	if (cause)
		buf_addf(&t->sentence, " %s",
		    !strcmp(cause, "waiting")     ? "An engine is alive and will decide it."
		    : !strcmp(cause, "no_engine") ? "No engine is alive."
		    : !strcmp(cause, "changed")
			? "The settings were changed before an engine decided it."
		    : !strcmp(cause, "not_kept") ? "Decisions of that month are no longer kept."
						 : "Nothing says why.");
	if (t->c->row && !strcmp(t->answer, "fired"))
		tell_run(t);
	else
		tell_downtime(t, json_object_get(t->detail, "downtime"));
}

/* What the clock or a calendar did to it, or to the time that was asked about. */
static void
tell_clock(struct tale *t)
{
	const struct when_occurrence *o = &t->c->found.mark.o;
	struct civil meant = civil_from_days(o->day);
	int64_t jitter = json_get_int(t->c->facts, "jitter", 0);
	bool fires = t->c->found.is_nominal && t->c->found.mark.what == WHEN_FIRES;

	if (fires && o->is_moved)
		buf_adds(&t->sentence, " The clock skips its own time that day, so it runs where "
				       "the clock goes on.");
	else if (t->c->asked.is_gap)
		buf_adds(&t->sentence, " The clock skips the time that is asked about.");
	if (fires && o->is_repeat)
		buf_adds(&t->sentence, " The clock shows that time twice; this is the second.");
	else if (t->c->asked.n > 1)
		buf_adds(&t->sentence, " The clock shows the time that is asked about twice.");
	if (fires && o->is_shifted)
		buf_addf(&t->sentence, " It was meant for %04lld-%02d-%02d.", (long long)meant.year,
		    meant.month, meant.day);
	if (!strcmp(t->answer, "will_fire") && jitter)
		buf_addf(&t->sentence, " Its jitter adds %lld s.", (long long)jitter);
}

static void
tell_neighbours(struct tale *t)
{
	const struct why_found *f = &t->c->found;

	if (strcmp(t->answer, "not_due") != 0)
		return;
	if (f->has_before) {
		buf_adds(&t->sentence, " The due time before is ");
		add_time(&t->sentence, t->c->zone, f->before);
		buf_addc(&t->sentence, '.');
	}
	if (f->has_after) {
		buf_adds(&t->sentence, " The next one is ");
		add_time(&t->sentence, t->c->zone, f->after);
		buf_addc(&t->sentence, '.');
	}
}

static void
tell_sentence(struct tale *t)
{
	static const struct {
		const char *answer, *text;
	} heads[] = {{"fired", "fired"}, {"skipped", "was skipped"}, {"missed", "was missed"},
	    {"will_fire", "will fire"}, {"will_skip", "will be skipped"},
	    {"not_due", "is no due time"}, {"undecided", "is not decided"}};
	const char *head = t->answer;

	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		if (!strcmp(heads[i].answer, t->answer))
			head = heads[i].text;
	add_time(&t->sentence, t->c->zone, t->due);
	buf_addf(&t->sentence, " %s", head);
	/* that it was due needs no saying */
	if (strcmp(t->rule, "due") != 0 && strcmp(t->rule, t->answer) != 0)
		buf_addf(&t->sentence, ": %s", sentence_of(t->rule));
	buf_addc(&t->sentence, '.');
	tell_clock(t);
	tell_facts(t);
	tell_neighbours(t);
}

/* --- all of it --- */

static json_t *
schedule_of(const struct why_case *c)
{
	const json_t *s = c->setting;
	_cleanup_json_ json_t *normal = NULL;

	if (!s)
		return json_null();
	normal = json_copy(json_object_get(s, "schedule"));
	json_object_set(normal, "task_revision", json_object_get(s, "revision"));
	json_object_set(normal, "since", json_object_get(s, "at"));
	json_object_set(normal, "enabled", json_object_get(s, "enabled"));
	json_object_set(normal, "name", json_object_get(s, "name"));
	json_object_set(normal, "shared_revision", json_object_get(s, "shared_revision"));
	json_object_set(normal, "shared_enabled", json_object_get(s, "shared_enabled"));
	return take_ptr(&normal);
}

static json_t *
maybe(bool is_there, int64_t utc)
{
	return is_there ? why_utc(utc) : json_null();
}

static json_t *
member(const json_t *object, const char *name)
{
	json_t *j = json_object_get(object, name);

	return j ? json_incref(j) : json_null();
}

json_t *
why_tell(const struct why_case *c)
{
	struct tale t = {.c = c, .detail = json_object()};
	const struct why_found *f = &c->found;
	int64_t next = json_get_int(c->facts, "next_due", INT64_MAX);
	bool is_range = c->row && json_is_integer(json_object_get(c->row, "until"));
	json_t *out;

	judge(&t);
	say_found(&t);
	if (c->row)
		say_row(&t);
	else if (!strcmp(t.rule, "undecided"))
		say_undecided(&t);
	if (c->asked.n > 1)
		say(&t, "twice", json_true());
	if (c->asked.is_gap)
		say(&t, "gap", json_true());
	tell_sentence(&t);
	out = json_pack("{s:s, s:o?, s:s, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
			"s:O, s:o, s:o, s:o, s:o}",
	    "task_id", json_get_str(c->facts, "id", ""), "asked",
	    c->text ? json_string(c->text) : NULL, "timezone", zone_name(c->zone), "at",
	    why_utc(c->asked.span[c->span].lo), "answer", t.answer, "rule", t.rule, "sentence",
	    t.sentence.p, "due_at", maybe(t.has_due, t.due), "due_local",
	    t.has_due ? why_local(c->zone, t.due) : json_null(), "until_at",
	    maybe(is_range, json_get_int(c->row, "until", 0)), "n",
	    c->row ? member(c->row, "n") : json_null(), "decided_at", member(c->row, "decided_at"),
	    "run", member(c->row, "run"), "late_s", member(c->row, "late_s"), "detail", t.detail,
	    "schedule", schedule_of(c), "before", maybe(f->has_before, f->before), "after",
	    maybe(f->has_after, f->after), "next_due_at", maybe(next != INT64_MAX, next));
	json_decref(t.detail);
	buf_fini(&t.sentence);
	return out;
}
