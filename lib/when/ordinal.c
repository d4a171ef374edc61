// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See ordinal.h. A month without a fifth one is passed over. */
#include "when/ordinal.h"

#include <string.h>

#include "base/buf.h"

#include "base/banned.h"

static const char *const ordinals[] = {"last", "first", "second", "third", "fourth", "fifth", NULL};
static const char *const weekdays[] = {
    "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", NULL};
static const char *const of_every_month[] = {"of", "every", "month", NULL};

static const char legal[] =
    "Write first, second, third, fourth, fifth or last, a weekday and times of day: first monday "
    "06:00, or last friday of every month 06:00,14:00.";

static int
scan_name(struct scan *s, const char *field, const char *what, const char *const *names, int *out)
{
	scan_blanks(s);
	*out = scan_word_of(s, names);
	return *out < 0 ? scan_unexpected(s, field, what, legal) : 0;
}

/* EasyTask's words; they say nothing but must be complete. */
static int
scan_of_every_month(struct scan *s)
{
	scan_blanks(s);
	if (!scan_word(s, of_every_month[0]))
		return 0;
	for (int i = 1; of_every_month[i]; i++) {
		scan_blanks(s);
		if (!scan_word(s, of_every_month[i]))
			return scan_unexpected(s, "month", "\"of every month\"", legal);
	}
	scan_blanks(s);
	return 0;
}

int
ordinal_parse(const char *text, struct ordinal *out, struct err *e)
{
	struct scan s = {text, text, e};
	struct ordinal o;
	int rc;

	if ((rc = scan_name(&s, "ordinal", "first to fifth or last", ordinals, &o.nth)) < 0 ||
	    (rc = scan_name(&s, "weekday", "a weekday", weekdays, &o.weekday)) < 0 ||
	    (rc = scan_of_every_month(&s)) < 0 || (rc = time_list_scan(&s, &o.list)) < 0)
		return rc;
	scan_blanks(&s);
	if (!scan_at_end(&s))
		return scan_bad(
		    &s, s.p, s.p + strlen(s.p), "time", "is not understood here", legal);
	*out = o;
	return 0;
}

void
ordinal_print(const struct ordinal *o, struct buf *out)
{
	buf_addf(out, "%s %s ", ordinals[o->nth], weekdays[o->weekday]);
	time_list_print(&o->list, out);
}

int64_t
ordinal_next_local(const struct ordinal *o, int64_t from, int64_t end)
{
	struct day_rule days = day_rule_weekdays(0);

	if (o->nth)
		days.nth_of_week = UINT64_C(1) << DAY_NTH_BIT(o->weekday, o->nth);
	else
		days.last_of_week = UINT32_C(1) << o->weekday;
	return time_list_next_local(&o->list, &days, from, end);
}
