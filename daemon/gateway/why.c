// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Hook of whyTask. Before the statement: which seconds are asked about, and what is due in them;
 * after it: which decision is about that. A decision has the last word, whatever the settings say:
 * calendars may have changed since.
 */
#include "daemon/gateway/why.h"

#include <string.h>

#include "base/jsonx.h"

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/request.h"

#include "base/banned.h"

extern const struct hook hook_task_why;

/* What the settings say about a span; those that changed within it hold one after the other. */
static void
look(struct why_case *c, unsigned span)
{
	struct why_asked a = c->asked;
	struct why_span *s = &a.span[span];
	int64_t at;

	c->span = span;
	for (;;) {
		c->found = (struct why_found){0};
		c->setting = why_setting(c->facts, s->lo);
		if (c->setting)
			why_look(c->facts, c->setting, &a, span, &c->found);
		if (!why_changed_after(c->facts, s->lo, &at) || at >= s->hi ||
		    (c->found.is_nominal && c->found.mark.utc <= at))
			return;
		s->lo = at + 1;
	}
}

/* Of a task that is off: the time that would have been the latest, else the next. */
static int64_t
choose_disabled(struct why_case *c, int64_t now)
{
	c->asked = why_ask_second(now);
	look(c, 0);
	if (c->found.has_before && c->found.before >= json_get_int(c->setting, "since", now))
		return c->found.before;
	return c->found.has_after ? c->found.after : now;
}

/* Without a time: the due time that is decided last or is to be decided now, else the next. */
static int64_t
choose(struct why_case *c)
{
	/* what was set in this second holds from the next one on */
	int64_t now = json_get_int(c->facts, "now", 0) + 1,
		next = json_get_int(c->facts, "next_due", INT64_MAX),
		latest = json_get_int(c->facts, "latest", INT64_MIN);

	if (!json_get_bool(c->facts, "enabled", false))
		return choose_disabled(c, now);
	if (next < now)
		return next;
	return latest != INT64_MIN ? latest : next != INT64_MAX ? next : now;
}

static int
begin(struct request *r, struct why_case *c, struct err *e)
{
	int rc = 0;

	*c = (struct why_case){.facts = r->before, .text = json_get_str(r->query, "at", NULL)};
	if (!r->before)
		return err_set(e, ERR_BUG, "the settings of a task are too much to read");
	c->zone = zone_get(json_get_str(r->before, "zone", "UTC"), NULL);
	if (!c->zone)
		c->zone = zone_utc();
	if (c->text)
		rc = why_ask(c->text, c->zone, &c->asked, e);
	else
		c->asked = why_ask_second(choose(c));
	return rc < 0 ? err_field(e, "at") : 0;
}

static void
add_probe(json_t *probes, int64_t lo, int64_t hi)
{
	json_array_append_new(probes, json_pack("[I, I]", (json_int_t)lo, (json_int_t)hi));
}

static int
prepare(struct request *r, struct err *e)
{
	_cleanup_json_ json_t *probes = json_array();
	struct why_case c;
	int rc = begin(r, &c, e);

	if (rc == -ERR_INVALID) {
		answer_problem(r, 400, "invalid_query", e);
		return 0;
	}
	for (unsigned i = 0; rc == 0 && i < c.asked.n; i++) {
		look(&c, i);
		add_probe(probes, c.asked.span[i].lo, c.asked.span[i].hi);
		if (c.found.is_nominal)
			add_probe(probes, c.found.due, c.found.due);
	}
	if (rc == 0)
		r->prepared = json_pack("{s:O}", "probes", probes);
	return rc;
}

/* Does a decision speak of a time that does not fire by itself? */
static bool
is_of_mark(const json_t *row)
{
	const char *rule = json_get_str(row, "rule", "");

	return !strncmp(rule, "calendar.", 9) || !strncmp(rule, "dst.", 4);
}

static bool
is_within(int64_t t, struct why_span s)
{
	return t >= s.lo && t <= s.hi;
}

/* How surely a decision is about what was found; 0: it is not. */
static unsigned
fit(const struct why_case *c, const json_t *row)
{
	const struct why_found *f = &c->found;
	struct why_span s = c->asked.span[c->span];
	int64_t due = json_get_int(row, "due", 0), until = json_get_int(row, "until", due);
	bool is_alike = f->is_nominal && is_of_mark(row) == (f->mark.what != WHEN_FIRES);

	if (is_alike && due == f->due)
		return 4;
	if (c->asked.is_gap && !is_alike)
		return 0;
	if (is_within(due, s))
		return 3;
	if (is_alike && due < f->due && f->due <= until)
		return 2;
	return is_within(until, s);
}

static void
find_row(struct why_case *c)
{
	const json_t *row;
	unsigned best = 0;
	size_t i;

	c->row = NULL;
	json_array_foreach(json_object_get(c->state, "rows"), i, row)
	{
		unsigned n = fit(c, row);

		if (n > best) {
			best = n;
			c->row = row;
		}
	}
}

/* A range is of the settings that held when it was decided: with a back-fill, later ones. */
static void
find_range(struct why_case *c)
{
	const struct why_case before = *c;
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(c->state, "rows"), i, row)
	{
		c->setting = why_setting(c->facts, json_get_int(row, "decided", 0));
		if (json_is_null(json_object_get(row, "until")) || !c->setting)
			continue;
		why_look(c->facts, c->setting, &c->asked, c->span, &c->found);
		if (fit(c, row)) {
			c->row = row;
			return;
		}
	}
	*c = before;
}

/* Of a time that the clock shows twice: which of the two is the better answer. */
static unsigned
worth(const struct why_case *c)
{
	if (c->row)
		return !strcmp(json_get_str(c->row, "decision", ""), "fired") ? 6
		       : is_of_mark(c->row)                                   ? 3
									      : 5;
	return !c->found.is_nominal ? 0 : c->found.mark.what == WHEN_FIRES ? 4 : 2;
}

static int
finish(struct request *r, json_t *state, struct err *e)
{
	_cleanup_json_ json_t *out = NULL;
	struct why_case c, best = {0};
	int rc = begin(r, &c, e);

	if (rc < 0)
		return rc;
	c.state = state;
	for (unsigned i = 0; i < c.asked.n; i++) {
		look(&c, i);
		find_row(&c);
		if (!c.row && !c.found.is_nominal)
			find_range(&c);
		if (!i || worth(&c) > worth(&best))
			best = c;
	}
	out = why_tell(&best);
	answer_json(r, 200, out);
	return 0;
}

const struct hook hook_task_why = {prepare, finish};
