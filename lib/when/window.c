// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See window.h. */
#include "when/window.h"

#include <string.h>

#include "base/buf.h"

#include "when/times.h"

#include "base/banned.h"

#define MINUTES_MAX 1440

static const char legal[] =
    "Write start-end-minutes and a mask of weekdays, Monday first: 09:00-17:00-60 1111100 is every "
    "hour from nine to five, Monday to Friday; minutes are 1 to 1440.";

static int
scan_dash(struct scan *s, const char *field)
{
	if (scan_char(s, '-'))
		return 0;
	return scan_unexpected(s, field, "a dash", legal);
}

static int
scan_minutes(struct scan *s, int32_t *step)
{
	const char *start = s->p, *end = start + strcspn(start, " \t");
	int minutes;

	if (start == end)
		return scan_unexpected(s, "minutes", "a number of minutes", legal);
	minutes = scan_number(s, 4);
	if (minutes < 1 || minutes > MINUTES_MAX || s->p != end)
		return scan_bad(s, start, end, "minutes", "is not 1 to 1440 minutes", legal);
	*step = minutes * 60;
	return 0;
}

int
window_parse(const char *text, struct window *out, struct err *e)
{
	struct scan s = {text, text, e};
	struct window w;
	const char *start;
	int rc;

	scan_blanks(&s);
	start = s.p;
	if ((rc = time_scan(&s, "start", false, &w.start)) < 0 ||
	    (rc = scan_dash(&s, "start")) < 0 || (rc = time_scan(&s, "end", false, &w.end)) < 0)
		return rc;
	if (w.end < w.start)
		return scan_bad(&s, start, s.p, "end", "is a window that ends before it starts",
		    "A window lies within one day: write two schedules for one over midnight.");
	if ((rc = scan_dash(&s, "end")) < 0 || (rc = scan_minutes(&s, &w.step)) < 0 ||
	    (rc = mask_scan(&s, &w.of_week)) < 0)
		return rc;
	*out = w;
	return 0;
}

void
window_print(const struct window *w, struct buf *out)
{
	time_print(w->start, out);
	buf_addc(out, '-');
	time_print(w->end, out);
	buf_addf(out, "-%d ", w->step / 60);
	mask_print(w->of_week, out);
}

static int
next_second(const void *window, int from)
{
	const struct window *w = window;
	int steps = from > w->start ? (from - w->start + w->step - 1) / w->step : 0;
	int at = w->start + steps * w->step;

	return at <= w->end ? at : -1;
}

int64_t
window_next_local(const struct window *w, int64_t from, int64_t end)
{
	const struct day_rule days = day_rule_weekdays(w->of_week);

	return day_rule_next_local(&days, next_second, w, from, end);
}
