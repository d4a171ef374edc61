// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The kept ones are a table that an id's digits point into; who comes to a taken place takes it. One
 * is kept from its second time on: those that come once in a while would only make room for each
 * other and leave the heap in pieces.
 */
#include "daemon/schedule/plan.h"

#include <string.h>

#include "base/buf.h"

#include "daemon/schedule/calendars.h"
#include "daemon/schedule/catch_up.h"
#include "daemon/schedule/zones.h"
#include "daemon/store/store.h"
#include "when/when.h"
#include "when/zone.h"

#include "base/banned.h"

#define PLANS 4096u /* a power of two */
#define ID_MAX 36
/* What a change of the clock does to a time shows within so much of the change. */
#define CLOCK_REACH_S 86400

struct plan {
	char id[ID_MAX + 1];
	int64_t version;
	const struct zone *zone;
	char *lists[2]; /* the calendars' names, see calendars.h; NULL: none */
	const struct calendar *include, *exclude;
	struct when *when;
	bool is_elapsed;            /* instants: the clock passes over none */
	int64_t calm_from, calm_to; /* the clock does not change */
};

static struct place {
	unsigned long last; /* who came last: digits of its id */
	struct plan *plan;
} places[PLANS];
static struct plan *once; /* one that is not kept, until the next is asked for */

static const char *const calendar_columns[] = {"include", "exclude"};

static void
plan_free(struct plan *p)
{
	if (!p)
		return;
	when_free(p->when);
	free(p->lists[0]);
	free(p->lists[1]);
	free(p);
}

void
plan_begin(void)
{
	if (!calendars_are_many())
		return;
	for (unsigned i = 0; i < PLANS; i++) {
		plan_free(places[i].plan);
		places[i] = (struct place){0};
	}
	plan_free(take_ptr(&once));
	calendars_drop();
}

/* The last digits of an id, which is all that is random in some. */
static unsigned long
digits_of(const char *id)
{
	size_t n = strlen(id);

	return strtoul(id + (n > 12 ? n - 12 : 0), NULL, 16);
}

static bool
is_same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool
is_of_row(const struct plan *p, const PGresult *res, int row, const struct zone *zone)
{
	return p->version == store_int(res, row, "version", 0) && p->zone == zone &&
	       strcmp(p->id, store_str(res, row, "id")) == 0 &&
	       is_same(p->lists[0], store_str(res, row, calendar_columns[0])) &&
	       is_same(p->lists[1], store_str(res, row, calendar_columns[1]));
}

static int
read_setting(
    const PGresult *res, int row, enum when_kind *kind, struct when_setting *set, struct err *e)
{
	int r = when_kind_parse(store_str(res, row, "kind"), kind, e);

	if (r < 0 ||
	    (r = cron_gap_parse(store_str(res, row, "dst_gap"), &set->policy.gap, e)) < 0 ||
	    (r = cron_fold_parse(store_str(res, row, "dst_fold"), &set->policy.fold, e)) < 0 ||
	    (r = when_hit_parse(store_str(res, row, "on_hit"), &set->hit, e)) < 0)
		return r;
	set->hash_key = store_str(res, row, "id");
	set->from = store_int(res, row, "from_s", INT64_MIN);
	set->until = store_int(res, row, "until_s", INT64_MAX);
	set->anchor = store_int(res, row, "anchor_s", 0);
	return 0;
}

static bool
get_calendars(const PGresult *res, int row, struct plan *p)
{
	const struct calendar **to[] = {&p->include, &p->exclude};
	bool is_there = true;

	for (int i = 0; i < 2; i++) {
		const char *list = store_str(res, row, calendar_columns[i]);

		if (!list)
			continue;
		p->lists[i] = xstrdup(list);
		*to[i] = calendars_get(list);
		is_there &= *to[i] != NULL;
	}
	return is_there;
}

static enum plan_state
compile(const PGresult *res, int row, struct plan *p, struct err *e)
{
	struct when_setting set = {.zone = p->zone};
	enum when_kind kind;

	if (!get_calendars(res, row, p))
		return PLAN_WAITS;
	set.include = p->include;
	set.exclude = p->exclude;
	if (read_setting(res, row, &kind, &set, e) < 0 ||
	    !(p->when = when_new(kind, store_str(res, row, "expr"), &set, e)))
		return PLAN_INVALID;
	p->is_elapsed = kind == WHEN_EVERY || kind == WHEN_ONCE;
	p->version = store_int(res, row, "version", 0);
	memcpy(p->id, store_str(res, row, "id"), ID_MAX);
	return PLAN_READY;
}

/* Keep it at its place, or until the next one. */
static void
keep(struct place *place, unsigned long digits, struct plan *p)
{
	struct plan **to = place->last == digits ? &place->plan : &once;

	place->last = digits;
	plan_free(*to);
	*to = p;
}

enum plan_state
plan_get(const PGresult *res, int row, struct plan **out, struct err *e)
{
	const struct zone *zone = zones_get(store_str(res, row, "zone"));
	unsigned long digits = digits_of(store_str(res, row, "id"));
	struct place *place = &places[digits % PLANS];
	enum plan_state state;
	struct plan *p;

	if (!zone)
		return PLAN_WAITS;
	*out = place->plan;
	if (*out && is_of_row(*out, res, row, zone))
		return PLAN_READY;
	plan_free(take_ptr(&once));
	p = xcalloc(1, sizeof(*p));
	p->zone = zone;
	state = compile(res, row, p, e);
	if (state != PLAN_READY) {
		plan_free(p);
		return state;
	}
	keep(place, digits, p);
	*out = p;
	return PLAN_READY;
}

const struct when *
plan_when(const struct plan *p)
{
	return p->when;
}

const struct calendar *
plan_include(const struct plan *p)
{
	return p->include;
}

const struct calendar *
plan_exclude(const struct plan *p)
{
	return p->exclude;
}

bool
plan_has_marks(struct plan *p, int64_t from, int64_t until)
{
	struct zone_span span;

	if (p->include || p->exclude)
		return true;
	if (p->is_elapsed)
		return false;
	if (from >= p->calm_from && until < p->calm_to)
		return false;
	span = zone_span_at(p->zone, until);
	p->calm_from = span.start == INT64_MIN ? INT64_MIN : span.start + CLOCK_REACH_S;
	p->calm_to = span.end == INT64_MAX ? INT64_MAX : span.end - CLOCK_REACH_S;
	return from < p->calm_from || until >= p->calm_to;
}

static enum catch_up_rule
rule_of(const char *name)
{
	static const char *const names[] = {
	    [CATCH_UP_LATEST] = "latest", [CATCH_UP_NONE] = "none", [CATCH_UP_ALL] = "all"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], name) == 0)
			return (enum catch_up_rule)i;
	return CATCH_UP_LATEST;
}

struct catch_up_policy
plan_policy(const PGresult *res, int row)
{
	int64_t limit = store_int(res, row, "catch_up_limit", 1);

	return (struct catch_up_policy){
	    .rule = rule_of(store_str(res, row, "catch_up")),
	    .limit = limit < 1                    ? 1
		     : limit > CATCH_UP_LIMIT_MAX ? CATCH_UP_LIMIT_MAX
						  : (unsigned)limit,
	    .deadline_s = store_int(res, row, "catch_up_deadline_s", 0),
	};
}
