// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The value of RRULE, part by part, with errors that name the part and what would be legal; then
 * what RFC 5545 forbids in combination, and what DTSTART says where the rule is silent.
 */
#include "when/ical_text.h"
#include "when/recur.h"

#include <ctype.h>
#include <string.h>

#include "when/civil.h"
#include "when/zone.h"

#include "base/banned.h"

#define COUNT_STEPS_MAX 100000

struct parse {
	struct recur r;
	const char *text;
	int64_t count;
	bool is_date;
	const struct zone *zone;
	bool has_until, has_second, has_minute, has_hour;
	struct err *e;
};

static const char *const freqs[] = {
    "SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"};
static const char *const weekdays[] = {"SU", "MO", "TU", "WE", "TH", "FR", "SA"};

static int
refuse(struct parse *p, const char *part, struct span value, const char *legal)
{
	char shown[ICAL_PARAM_MAX + 1];

	err_set(p->e, ERR_INVALID, "'%s' at position %d of the rule (%s) is not taken",
	    span_shown(value, shown), (int)(value.p - p->text) + 1, part);
	err_field(p->e, "%s", part);
	return err_hint(p->e, "Write %s.", legal);
}

static int
forbid(struct parse *p, const char *part, const char *why, const char *remedy)
{
	err_set(p->e, ERR_INVALID, "%s %s", part, why);
	err_field(p->e, "%s", part);
	return err_hint(p->e, "%s", remedy);
}

static int
word_of(struct span s, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (span_is(s, words[i]))
			return (int)i;
	return -1;
}

/* --- the parts --- */

static int
parse_freq(struct parse *p, struct span v)
{
	int i = word_of(v, freqs, ARRAY_LEN(freqs));

	if (i < 0)
		return refuse(p, "FREQ", v,
		    "one of SECONDLY, MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY");
	p->r.freq = (enum recur_freq)i;
	return 0;
}

static int
parse_interval(struct parse *p, struct span v)
{
	return span_int(v, 1, RECUR_INTERVAL_MAX, &p->r.interval)
		   ? 0
		   : refuse(p, "INTERVAL", v, "a number from 1 to 100000");
}

static int
parse_count(struct parse *p, struct span v)
{
	return span_int(v, 1, RECUR_COUNT_MAX, &p->count)
		   ? 0
		   : refuse(p, "COUNT", v, "a number from 1 to 10000");
}

/* A date means all of that day; a date and time for a rule of dates means that day. */
static int
parse_until(struct parse *p, struct span v)
{
	struct ical_stamp s;
	int32_t off = 0;

	if (!ical_stamp_parse(v, &s))
		return refuse(p, "UNTIL", v, "a date such as 20301231 or 20301231T235959");
	if (s.kind == ICAL_UTC && !p->is_date) {
		if (!p->zone)
			return refuse(p, "UNTIL", v,
			    "local time: write it without the Z, in the zone of the schedule");
		zone_offset_at(p->zone, s.s, &off, NULL, NULL);
	}
	p->r.until = s.s + off;
	if (s.kind == ICAL_DATE)
		p->r.until += DAY_S - 1;
	p->has_until = true;
	return 0;
}

static int
parse_week_start(struct parse *p, struct span v)
{
	p->r.week_start = word_of(v, weekdays, ARRAY_LEN(weekdays));
	return p->r.week_start >= 0 ? 0 : refuse(p, "WKST", v, "one of MO TU WE TH FR SA SU");
}

/* Lists of numbers: where they go. */
struct bits {
	uint64_t *up, *back; /* back: negative ones; NULL: there are none */
	int64_t min, max;
	const char *legal;
};

static int
parse_bits(struct parse *p, const char *part, struct span v, const struct bits *b)
{
	struct span item;
	int64_t i;

	while (span_cut(&v, ',', &item)) {
		if (!span_int(item, b->back ? -b->max : b->min, b->max, &i) || (b->back && !i))
			return refuse(p, part, item, b->legal);
		if (i < 0)
			b->back[-i / 64] |= UINT64_C(1) << (-i % 64);
		else
			b->up[i / 64] |= UINT64_C(1) << (i % 64);
	}
	return 0;
}

static int
parse_second(struct parse *p, struct span v)
{
	struct bits b = {&p->r.second, NULL, 0, 59, "a second from 0 to 59"};

	p->has_second = true;
	return parse_bits(p, "BYSECOND", v, &b);
}

static int
parse_minute(struct parse *p, struct span v)
{
	struct bits b = {&p->r.minute, NULL, 0, 59, "a minute from 0 to 59"};

	p->has_minute = true;
	return parse_bits(p, "BYMINUTE", v, &b);
}

static int
parse_hour(struct parse *p, struct span v)
{
	uint64_t set = 0;
	struct bits b = {&set, NULL, 0, 23, "an hour from 0 to 23"};
	int rc = parse_bits(p, "BYHOUR", v, &b);

	p->has_hour = true;
	p->r.hour = (uint32_t)set;
	return rc;
}

static int
parse_month(struct parse *p, struct span v)
{
	uint64_t set = 0;
	struct bits b = {&set, NULL, 1, 12, "a month from 1 to 12"};
	int rc = parse_bits(p, "BYMONTH", v, &b);

	p->r.month = (uint32_t)set;
	return rc;
}

static int
parse_month_day(struct parse *p, struct span v)
{
	uint64_t up = 0, back = 0;
	struct bits b = {&up, &back, 1, 31, "a day of the month: 1 to 31, or -31 to -1"};
	int rc = parse_bits(p, "BYMONTHDAY", v, &b);

	p->r.month_day = (uint32_t)up;
	p->r.month_day_back = (uint32_t)back;
	return rc;
}

static int
parse_year_day(struct parse *p, struct span v)
{
	struct bits b = {p->r.year_day, p->r.year_day_back, 1, 366,
	    "a day of the year: 1 to 366, or -366 to -1"};

	return parse_bits(p, "BYYEARDAY", v, &b);
}

static int
parse_week(struct parse *p, struct span v)
{
	struct bits b = {&p->r.week, &p->r.week_back, 1, 53, "a week: 1 to 53, or -53 to -1"};

	return parse_bits(p, "BYWEEKNO", v, &b);
}

static int
parse_weekday(struct parse *p, struct span v)
{
	const char *legal = "a weekday such as MO, 2TU or -1FR (up to 53 from either end)";
	struct span item;
	int64_t n = 0;

	while (span_cut(&v, ',', &item)) {
		size_t digits = item.n >= 2 ? item.n - 2 : 0;
		int day = item.n < 2 ? -1 : word_of((struct span){item.p + digits, 2}, weekdays, 7);

		if (day < 0 ||
		    (digits && (!span_int((struct span){item.p, digits}, -53, 53, &n) || !n)))
			return refuse(p, "BYDAY", item, legal);
		if (!digits) {
			p->r.weekday |= (uint8_t)(1 << day);
			continue;
		}
		uint64_t *bits = n > 0 ? p->r.nth : p->r.nth_back;
		int bit = RECUR_NTH_BIT((int)(n > 0 ? n : -n), day);

		bits[bit / 64] |= UINT64_C(1) << (bit % 64);
		p->r.has_nth = true;
	}
	return 0;
}

static int
parse_set_pos(struct parse *p, struct span v)
{
	struct span item;
	int64_t n;

	while (span_cut(&v, ',', &item)) {
		if (!span_int(item, -366, 366, &n) || !n)
			return refuse(p, "BYSETPOS", item, "a position: 1 to 366, or -366 to -1");
		if (p->r.set_pos_n == RECUR_SETPOS_MAX)
			return forbid(p, "BYSETPOS", "has more than 64 positions",
			    "Name the days with BYDAY, BYMONTHDAY or BYYEARDAY instead.");
		p->r.set_pos[p->r.set_pos_n++] = (int16_t)n;
	}
	return 0;
}

static const struct part {
	const char *name;
	int (*parse)(struct parse *, struct span);
} parts[] = {
    {"FREQ", parse_freq},
    {"INTERVAL", parse_interval},
    {"COUNT", parse_count},
    {"UNTIL", parse_until},
    {"WKST", parse_week_start},
    {"BYSECOND", parse_second},
    {"BYMINUTE", parse_minute},
    {"BYHOUR", parse_hour},
    {"BYDAY", parse_weekday},
    {"BYMONTHDAY", parse_month_day},
    {"BYYEARDAY", parse_year_day},
    {"BYWEEKNO", parse_week},
    {"BYMONTH", parse_month},
    {"BYSETPOS", parse_set_pos},
};

static int
parse_parts(struct parse *p, struct span text)
{
	struct span item, name;
	unsigned seen = 0;

	while (span_cut(&text, ';', &item)) {
		struct span value = item;
		size_t i = 0;
		int rc;

		span_cut(&value, '=', &name);
		while (i < ARRAY_LEN(parts) && !span_is(name, parts[i].name))
			i++;
		if (i == ARRAY_LEN(parts) || !value.p)
			return refuse(p, "RRULE", item,
			    "NAME=VALUE with a name of FREQ, INTERVAL, COUNT, UNTIL, WKST, "
			    "BYMONTH, "
			    "BYWEEKNO, BYYEARDAY, BYMONTHDAY, BYDAY, BYHOUR, BYMINUTE, BYSECOND, "
			    "BYSETPOS");
		if (seen >> i & 1)
			return forbid(p, parts[i].name, "is there twice",
			    "Join the values with commas, or leave one out.");
		seen |= 1U << i;
		rc = parts[i].parse(p, value);
		if (rc < 0)
			return rc;
	}
	return seen & 1 ? 0
			: forbid(p, "FREQ", "is missing: a rule begins with it",
			      "Write such as FREQ=WEEKLY;BYDAY=MO.");
}

/* --- the whole --- */

static bool
has_year_day(const struct recur *r)
{
	for (size_t i = 0; i < ARRAY_LEN(r->year_day); i++)
		if (r->year_day[i] || r->year_day_back[i])
			return true;
	return false;
}

static int
check(struct parse *p)
{
	const struct recur *r = &p->r;
	bool has_week = r->week || r->week_back;
	bool has_month_day = r->month_day || r->month_day_back;
	bool has_time = p->has_hour || p->has_minute || p->has_second;

	if (p->count && p->has_until)
		return forbid(
		    p, "COUNT", "and UNTIL exclude each other", "Leave one of the two out.");
	if (p->is_date && (has_time || r->freq < RECUR_DAILY))
		return forbid(p, has_time ? "BYHOUR, BYMINUTE or BYSECOND" : "FREQ",
		    "needs a DTSTART with a time of day",
		    "Write DTSTART such as 20260105T090000, or a FREQ of days and longer.");
	if (has_week && r->freq != RECUR_YEARLY)
		return forbid(p, "BYWEEKNO", "goes with FREQ=YEARLY only",
		    "Write FREQ=YEARLY, or leave BYWEEKNO out.");
	if (has_year_day(r) && r->freq >= RECUR_DAILY && r->freq != RECUR_YEARLY)
		return forbid(p, "BYYEARDAY", "does not go with FREQ=DAILY, WEEKLY or MONTHLY",
		    "Write FREQ=YEARLY, or BYMONTHDAY.");
	if (has_month_day && r->freq == RECUR_WEEKLY)
		return forbid(p, "BYMONTHDAY", "does not go with FREQ=WEEKLY",
		    "Write FREQ=DAILY or MONTHLY.");
	if (r->has_nth && (r->freq < RECUR_MONTHLY || has_week))
		return forbid(p, "BYDAY",
		    "has a number (2MO): that goes with FREQ=MONTHLY, or YEARLY without BYWEEKNO",
		    "Write the weekday without a number, or another FREQ.");
	if (r->set_pos_n && !has_time && !r->month && !has_week && !has_year_day(r) &&
	    !has_month_day && !r->weekday && !r->has_nth)
		return forbid(p, "BYSETPOS", "needs another part that begins with BY",
		    "Write such as BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1: the last working day.");
	return 0;
}

/* What the rule leaves open is as in DTSTART. */
static void
complete_time(struct parse *p)
{
	struct recur *r = &p->r;
	int64_t tod = r->start - floor_div(r->start, DAY_S) * DAY_S;

	if (!p->has_second)
		r->second =
		    r->freq > RECUR_SECONDLY ? UINT64_C(1) << (tod % 60) : (UINT64_C(1) << 60) - 1;
	if (!p->has_minute)
		r->minute = r->freq > RECUR_MINUTELY ? UINT64_C(1) << (tod / 60 % 60)
						     : (UINT64_C(1) << 60) - 1;
	if (!p->has_hour)
		r->hour = r->freq > RECUR_HOURLY ? UINT32_C(1) << (tod / 3600) : (1U << 24) - 1;
}

static void
complete_day(struct parse *p)
{
	struct recur *r = &p->r;
	int64_t day = floor_div(r->start, DAY_S);
	struct civil c = civil_from_days(day);
	bool has_day =
	    r->month_day || r->month_day_back || r->weekday || r->has_nth || has_year_day(r);
	bool has_week = r->week || r->week_back;

	if (has_day || r->freq < RECUR_WEEKLY)
		return;
	if (r->freq == RECUR_WEEKLY || has_week) {
		r->weekday = (uint8_t)(1 << civil_weekday(day));
		return;
	}
	r->month_day = UINT32_C(1) << c.day;
	if (r->freq == RECUR_YEARLY && !r->month)
		r->month = UINT32_C(1) << c.month;
}

static int64_t
gcd(int64_t a, int64_t b)
{
	while (b) {
		int64_t t = a % b;

		a = b;
		b = t;
	}
	return a;
}

/* Below DAILY the interval reaches only some times of the day, ever: is one of the rule's among
 * them? */
static bool
is_reachable(const struct recur *r)
{
	int64_t unit = r->freq == RECUR_HOURLY ? 3600 : r->freq == RECUR_MINUTELY ? 60 : 1;
	int64_t step = gcd(unit * r->interval, DAY_S);
	int64_t first = floor_div(r->start, unit) * unit;

	if (r->freq >= RECUR_DAILY)
		return true;
	first -= floor_div(first, step) * step;
	for (int64_t t = first; t < DAY_S; t += step)
		if ((r->hour >> (t / 3600) & 1) &&
		    (unit == 3600 || (r->minute >> (t / 60 % 60) & 1)) &&
		    (unit > 1 || (r->second >> (t % 60) & 1)))
			return true;
	return false;
}

static int64_t
count_bits(const uint64_t *bits, size_t n)
{
	int64_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += __builtin_popcountll(bits[i]);
	return count;
}

static int64_t
lesser(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
most_numbered(const struct recur *r)
{
	return count_bits(r->nth, ARRAY_LEN(r->nth)) +
	       count_bits(r->nth_back, ARRAY_LEN(r->nth_back));
}

/* No month of the rule has more days than these. */
static int64_t
most_in_month(const struct recur *r)
{
	int64_t most = 31;

	if (r->month_day || r->month_day_back)
		most = __builtin_popcount(r->month_day) + __builtin_popcount(r->month_day_back);
	if (r->weekday || r->has_nth)
		most = lesser(most, 5 * __builtin_popcount(r->weekday) + most_numbered(r));
	return most;
}

/* Nor a period of the rule. */
static int64_t
most_days(const struct recur *r)
{
	int64_t most;

	if (r->freq == RECUR_DAILY)
		return 1;
	if (r->freq == RECUR_WEEKLY)
		return r->weekday ? __builtin_popcount(r->weekday) : 7;
	if (r->freq == RECUR_MONTHLY)
		return most_in_month(r);
	if (r->has_nth && !r->month)
		most = 53 * __builtin_popcount(r->weekday) + most_numbered(r);
	else
		most = most_in_month(r) * (r->month ? __builtin_popcount(r->month) : 12);
	if (r->week || r->week_back)
		most = lesser(
		    most, 7 * (__builtin_popcountll(r->week) + __builtin_popcountll(r->week_back)));
	return has_year_day(r)
		   ? lesser(most, count_bits(r->year_day, ARRAY_LEN(r->year_day)) +
				      count_bits(r->year_day_back, ARRAY_LEN(r->year_day_back)))
		   : most;
}

/* Positions that no set of this rule can have are dropped: else each period would be searched for
 * them. False: there were only such. */
static bool
keep_positions(struct recur *r)
{
	int64_t most = 1;
	int n = 0;

	if (r->freq > RECUR_SECONDLY)
		most *= __builtin_popcountll(r->second);
	if (r->freq > RECUR_MINUTELY)
		most *= __builtin_popcountll(r->minute);
	if (r->freq > RECUR_HOURLY)
		most *= __builtin_popcount(r->hour) * most_days(r);
	for (int i = 0; i < r->set_pos_n; i++)
		if (r->set_pos[i] <= most && -r->set_pos[i] <= most)
			r->set_pos[n++] = r->set_pos[i];
	if (r->set_pos_n && !n)
		return false;
	r->set_pos_n = n;
	return true;
}

/* COUNT becomes UNTIL: counted here once, not at every question. Rules below DAILY that seldom hit
 * a time that they name could take long: those are refused. */
static int
count_off(struct parse *p)
{
	struct recur *r = &p->r;
	struct recur_walk walk = {0};
	int64_t end = r->start + (int64_t)CIVIL_CYCLE_DAYS * DAY_S;
	int64_t at = r->start - 1;

	r->until = end;
	for (int64_t n = p->count; n; n--) {
		if (r->freq < RECUR_DAILY && walk.spent > COUNT_STEPS_MAX)
			return forbid(p, "COUNT",
			    "takes too long to count off for this rule: write UNTIL instead",
			    "Write UNTIL, or a longer INTERVAL or FREQ.");
		if (!recur_next(r, &walk, at, &at)) {
			at = end;
			break;
		}
	}
	r->until = at;
	r->spent = walk.spent;
	return 0;
}

int
recur_parse(const char *text, size_t n, int64_t start, bool is_date, const struct zone *until_zone,
    struct recur *out, struct err *e)
{
	struct parse p = {.text = text,
	    .is_date = is_date,
	    .zone = until_zone,
	    .e = e,
	    .r = {.interval = 1, .start = start, .until = INT64_MAX, .week_start = 1}};
	int rc = parse_parts(&p, (struct span){text, n});

	if (rc < 0)
		return rc;
	rc = check(&p);
	if (rc < 0)
		return rc;
	complete_time(&p);
	complete_day(&p);
	p.r.is_never = !is_reachable(&p.r) || !keep_positions(&p.r);
	rc = p.count ? count_off(&p) : 0;
	if (rc < 0)
		return rc;
	*out = p.r;
	return 0;
}
