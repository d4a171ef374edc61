// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The kinds as a table, and what holds for all of them: settings, effective from and until, the
 * next occurrence. Kinds are local times (then calendars, then the zone's rules are laid over them)
 * or instants.
 */
#include "when/when.h"

#include <string.h>

#include "base/buf.h"

#include "when/civil.h"
#include "when/once.h"
#include "when/rrule.h"
#include "when/shown.h"
#include "when/stamp.h"
#include "when/when_priv.h"
#include "when/zone.h"

#include "base/banned.h"

static const char every_macro[] = "@every";

static const char *const kind_names[] = {[WHEN_CRON] = "cron",
    [WHEN_EVERY] = "every",
    [WHEN_TIMES] = "times",
    [WHEN_WINDOW] = "window",
    [WHEN_ORDINAL] = "ordinal",
    [WHEN_RRULE] = "rrule",
    [WHEN_ONCE] = "once",
    [WHEN_ON_DEMAND] = "on_demand"};

static const char *const hit_names[] = {[WHEN_HIT_SKIP] = "skip",
    [WHEN_HIT_NEXT_BUSINESS_DAY] = "next_business_day",
    [WHEN_HIT_PREVIOUS_BUSINESS_DAY] = "previous_business_day"};

static const struct when_ops ops_of[WHEN_ON_DEMAND + 1];

static int
name_index(const char *const *names, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], s) == 0)
			return (int)i;
	return -1;
}

int
when_kind_parse(const char *s, enum when_kind *out, struct err *e)
{
	char shown[WHEN_SHOWN_MAX + 1];
	int i = name_index(kind_names, ARRAY_LEN(kind_names), s);

	if (i < 0) {
		err_set(e, ERR_INVALID, "schedule kind '%s' is not known", when_shown(s, shown));
		err_field(e, "kind");
		return err_hint(
		    e, "Use cron, every, times, window, ordinal, rrule, once or on_demand.");
	}
	*out = (enum when_kind)i;
	return 0;
}

const char *
when_kind_name(enum when_kind kind)
{
	return kind_names[kind];
}

int
when_hit_parse(const char *s, enum when_hit *out, struct err *e)
{
	char shown[WHEN_SHOWN_MAX + 1];
	int i = name_index(hit_names, ARRAY_LEN(hit_names), s);

	if (i < 0) {
		err_set(e, ERR_INVALID, "calendar hit '%s' is not known", when_shown(s, shown));
		err_field(e, "hit");
		return err_hint(e, "Use skip, next_business_day or previous_business_day.");
	}
	*out = (enum when_hit)i;
	return 0;
}

/* --- cron --- */

/* The words of a text with single blanks between them. */
static void
print_words(const struct when *w, const char *text, struct buf *out)
{
	const char *p = text, *gap = "";

	(void)w;
	for (p += strspn(p, " \t"); *p; p += strspn(p, " \t")) {
		size_t n = strcspn(p, " \t");

		buf_adds(out, gap);
		buf_add(out, p, n);
		gap = " ";
		p += n;
	}
}

static int
every_of_text(struct when *w, const char *text, struct err *e)
{
	return every_parse(text, &w->every, e);
}

static int
cron_of_text(struct when *w, const char *text, struct err *e)
{
	struct scan s = {text, text, NULL};

	scan_blanks(&s);
	if (!scan_word(&s, every_macro))
		return cron_parse_keyed(text, w->set.hash_key, &w->cron, e);
	w->ops = &ops_of[WHEN_EVERY];
	return every_of_text(w, text, e);
}

static int64_t
cron_next_of(const struct when *w, int64_t from, int64_t end)
{
	return cron_next_local(&w->cron, from, end);
}

/* --- every --- */

static void
print_every(const struct when *w, const char *text, struct buf *out)
{
	(void)text;
	if (w->kind == WHEN_CRON)
		buf_addf(out, "%s ", every_macro);
	every_print(&w->every, out);
}

static bool
every_next_of(const struct when *w, int64_t from, int64_t *utc)
{
	return every_next(&w->every, w->set.anchor, from, utc);
}

/* --- times, window, ordinal --- */

static int
times_of_text(struct when *w, const char *text, struct err *e)
{
	return times_parse(text, &w->times, e);
}

static void
print_times(const struct when *w, const char *text, struct buf *out)
{
	(void)text;
	times_print(&w->times, out);
}

static int64_t
times_next_of(const struct when *w, int64_t from, int64_t end)
{
	return times_next_local(&w->times, from, end);
}

static int
window_of_text(struct when *w, const char *text, struct err *e)
{
	return window_parse(text, &w->window, e);
}

static void
print_window(const struct when *w, const char *text, struct buf *out)
{
	(void)text;
	window_print(&w->window, out);
}

static int64_t
window_next_of(const struct when *w, int64_t from, int64_t end)
{
	return window_next_local(&w->window, from, end);
}

static int
ordinal_of_text(struct when *w, const char *text, struct err *e)
{
	return ordinal_parse(text, &w->ordinal, e);
}

static void
print_ordinal(const struct when *w, const char *text, struct buf *out)
{
	(void)text;
	ordinal_print(&w->ordinal, out);
}

static int64_t
ordinal_next_of(const struct when *w, int64_t from, int64_t end)
{
	return ordinal_next_local(&w->ordinal, from, end);
}

/* --- rrule --- */

static int
rrule_of_text(struct when *w, const char *text, struct err *e)
{
	const char *tzid;

	w->rrule = rrule_new(text, e);
	if (!w->rrule)
		return -ERR_INVALID;
	tzid = rrule_tzid(w->rrule);
	if (!*tzid || strcmp(tzid, zone_name(w->set.zone)) == 0)
		return 0;
	err_set(e, ERR_INVALID, "TZID %.64s is not the schedule's zone, %s", tzid,
	    zone_name(w->set.zone));
	err_field(e, "DTSTART");
	return err_hint(e, "Leave TZID out, or make it the schedule's zone.");
}

/* The TZID, which is left out, was checked. */
static void
print_rrule(const struct when *w, const char *text, struct buf *out)
{
	(void)w;
	rrule_print(text, out);
}

static int64_t
rrule_next_of(const struct when *w, int64_t from, int64_t end)
{
	int64_t s;

	return rrule_next_local(w->rrule, from - 1, &s) && s < end ? s : INT64_MAX;
}

/* --- once, on_demand --- */

static int
once_of_text(struct when *w, const char *text, struct err *e)
{
	return when_parse_rfc3339(text, &w->once, NULL, e) < 0 ? err_field(e, "instant") : 0;
}

static int
once_of_spelling(struct when *w, const char *text, struct err *e)
{
	return once_parse(text, w->set.zone, w->set.anchor, &w->once, e);
}

static void
print_once(const struct when *w, const char *text, struct buf *out)
{
	char stamp[32];

	(void)text;
	buf_adds(out, when_format_rfc3339(w->once, stamp));
}

static bool
once_next_of(const struct when *w, int64_t from, int64_t *utc)
{
	*utc = w->once;
	return from <= w->once;
}

static int
nothing_of_text(struct when *w, const char *text, struct err *e)
{
	struct scan s = {text, text, e};

	(void)w;
	scan_blanks(&s);
	if (scan_at_end(&s))
		return 0;
	return scan_bad(&s, s.p, s.p + strlen(s.p), "expression", "is not empty",
	    "A task that runs on demand has no expression: leave it empty.");
}

static void
print_nothing(const struct when *w, const char *text, struct buf *out)
{
	(void)w;
	(void)text;
	buf_adds(out, "");
}

static const struct when_ops ops_of[WHEN_ON_DEMAND + 1] = {
    [WHEN_CRON] = {cron_of_text, NULL, print_words, cron_next_of, NULL},
    [WHEN_EVERY] = {every_of_text, NULL, print_every, NULL, every_next_of},
    [WHEN_TIMES] = {times_of_text, NULL, print_times, times_next_of, NULL},
    [WHEN_WINDOW] = {window_of_text, NULL, print_window, window_next_of, NULL},
    [WHEN_ORDINAL] = {ordinal_of_text, NULL, print_ordinal, ordinal_next_of, NULL},
    [WHEN_RRULE] = {rrule_of_text, NULL, print_rrule, rrule_next_of, NULL},
    [WHEN_ONCE] = {once_of_text, once_of_spelling, print_once, NULL, once_next_of},
    [WHEN_ON_DEMAND] = {nothing_of_text, NULL, print_nothing, NULL, NULL},
};

/* --- all kinds --- */

size_t
when_text_max(enum when_kind kind)
{
	return kind == WHEN_RRULE                           ? WHEN_RRULE_TEXT_MAX
	       : kind == WHEN_TIMES || kind == WHEN_ORDINAL ? WHEN_TIMES_TEXT_MAX
							    : WHEN_TEXT_MAX;
}

static int
check_size(enum when_kind kind, const char *text, struct err *e)
{
	size_t max = when_text_max(kind);

	if (strnlen(text, max + 1) <= max)
		return 0;
	err_set(
	    e, ERR_TOO_BIG, "%s expression is longer than %zu characters", kind_names[kind], max);
	err_field(e, "expression");
	return err_hint(e, "Split it into several schedules.");
}

static int
check_setting(const struct when *w, struct err *e)
{
	if (w->set.from >= w->set.until) {
		err_set(e, ERR_INVALID, "effective until is not after effective from");
		err_field(e, "effective_until");
		return err_hint(e, "It is the first instant at which the schedule is over.");
	}
	if (w->ops == &ops_of[WHEN_EVERY] && when_has_calendar(&w->set) &&
	    w->set.hit != WHEN_HIT_SKIP) {
		err_set(
		    e, ERR_INVALID, "hit '%s' does not go with kind every", hit_names[w->set.hit]);
		err_field(e, "hit");
		return err_hint(e, "Elapsed time has no business day to move to: use skip.");
	}
	return 0;
}

/* given: any spelling is taken, not only the text that is stored. */
static struct when *
compile(enum when_kind kind, const char *text, bool is_given, const struct when_setting *set,
    struct err *e)
{
	_cleanup_when_ struct when *w = xcalloc(1, sizeof(*w));
	const char *reason;
	int rc;

	*w = (struct when){.kind = kind, .ops = &ops_of[kind], .set = *set};
	if (!w->set.zone)
		w->set.zone = zone_utc();
	if (check_size(kind, text, e) < 0)
		return NULL;
	rc = is_given && w->ops->parse_given ? w->ops->parse_given(w, text, e)
					     : w->ops->parse(w, text, e);
	if (rc < 0 || check_setting(w, e) < 0)
		return NULL;
	w->set.hash_key = NULL;
	if (kind == WHEN_ONCE)
		w->has_single = when_instant(w, w->once, &w->single, &reason);
	return take_ptr(&w);
}

struct when *
when_new(enum when_kind kind, const char *expr, const struct when_setting *set, struct err *e)
{
	return compile(kind, expr, false, set, e);
}

void
when_free(struct when *w)
{
	if (w && w->kind == WHEN_RRULE)
		rrule_free(w->rrule);
	free(w);
}

int
when_text(enum when_kind kind, const struct when_setting *set, const char *given,
    struct buf *canonical, struct err *e)
{
	_cleanup_when_ struct when *w = compile(kind, given, true, set, e);
	_cleanup_buf_ struct buf text = {0};

	if (!w)
		return -ERR_INVALID;
	w->ops->print(w, given, &text);
	if (check_size(kind, text.p, e) < 0)
		return -ERR_TOO_BIG;
	buf_add(canonical, text.p, text.n);
	return 0;
}

bool
when_nominal(const void *arg, int64_t from, int64_t end, struct local_time *out)
{
	const struct when *w = arg;
	int64_t s = w->ops->next_local(w, from, end);

	*out = (struct local_time){.s = s, .day = floor_div(s, DAY_S)};
	return s != INT64_MAX;
}

struct local_source
when_source(const struct when *w, bool with_calendars)
{
	return (struct local_source){.next = with_calendars && when_has_calendar(&w->set)
						 ? when_after_calendars
						 : when_nominal,
	    .arg = w,
	    .zone = w->set.zone,
	    .policy = w->set.policy,
	    .follows_clock = w->ops == &ops_of[WHEN_CRON] && cron_follows_clock(&w->cron)};
}

int64_t
when_local_s(const struct when *w, int64_t utc)
{
	int32_t off;

	zone_offset_at(w->set.zone, utc, &off, NULL, NULL);
	return utc + off;
}

bool
when_instant(const struct when *w, int64_t utc, struct when_occurrence *out, const char **reason)
{
	const struct local_source clock = when_source(w, false);
	int64_t local = when_local_s(w, utc), day = floor_div(local, DAY_S), to;
	struct local_hit hit;

	*out = (struct when_occurrence){
	    .utc = utc, .is_repeat = local_is_repeat(w->set.zone, utc), .day = day};
	if (!when_is_hit(&w->set, day, reason))
		return true;
	if (!when_moved_day(&w->set, day, &to) ||
	    !local_to_utc(&clock, local + (to - day) * DAY_S, &hit))
		return false;
	*out = (struct when_occurrence){hit.utc, hit.is_moved, hit.is_repeat, true, day};
	return true;
}

/* The first instant of a day that is not ruled out, of those in this span after `day`; the span's
 * end if there is none. */
static int64_t
leave_hits(const struct when *w, const struct zone_span *span, int64_t day)
{
	int64_t start;

	do
		start = ++day * DAY_S - span->off;
	while (
	    start < span->end && day <= when_last_day(&w->set) && when_is_hit(&w->set, day, NULL));
	return start < span->end ? start : span->end;
}

static bool
next_of_every(const struct when *w, int64_t from, struct when_occurrence *out)
{
	const char *reason;
	int64_t utc;

	while (every_next(&w->every, w->set.anchor, from, &utc)) {
		struct zone_span span;

		if (when_instant(w, utc, out, &reason))
			return true;
		if (out->day > when_last_day(&w->set))
			return false;
		span = zone_span_at(w->set.zone, utc);
		from = leave_hits(w, &span, out->day);
	}
	return false;
}

static bool
next_of_once(const struct when *w, int64_t from, struct when_occurrence *out)
{
	*out = w->single;
	return w->has_single && from <= w->single.utc;
}

bool
when_next(const struct when *w, int64_t after, struct when_occurrence *out)
{
	struct when_occurrence o;
	struct local_source s;
	struct local_hit hit;
	bool is_found;

	if (w->kind == WHEN_ON_DEMAND || after >= CIVIL_MAX_S)
		return false;
	if (after < w->set.from)
		after = w->set.from - 1;
	if (after < CIVIL_MIN_S)
		after = CIVIL_MIN_S;
	if (!w->ops->next_local) {
		is_found = w->kind == WHEN_ONCE ? next_of_once(w, after + 1, &o)
						: next_of_every(w, after + 1, &o);
	} else {
		s = when_source(w, true);
		is_found = local_next(&s, after, w->set.until, &hit);
		if (is_found)
			o = (struct when_occurrence){hit.utc, hit.is_moved, hit.is_repeat,
			    hit.local.is_shifted, hit.local.day};
	}
	if (!is_found || o.utc >= w->set.until)
		return false;
	*out = o;
	return true;
}
