// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See times.h. */
#include "when/times.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#include "base/banned.h"

#define ALL_WEEK 0x7fu

static const char times_legal[] =
    "Write times of day as HH:MM or HH:MM:SS, 00:00 to 23:59:59, joined by commas, then a mask of "
    "seven digits 0 or 1, Monday first: 09:00,14:00 1111100.";
static const char mask_legal[] =
    "A mask has seven digits 0 or 1, Monday first: 1111100 is Monday to Friday.";

static bool
take_two(struct scan *s, int max, int *out)
{
	int v;

	if (!isdigit((unsigned char)s->p[0]) || !isdigit((unsigned char)s->p[1]))
		return false;
	v = (s->p[0] - '0') * 10 + (s->p[1] - '0');
	if (v > max)
		return false;
	s->p += 2;
	*out = v;
	return true;
}

int
time_scan(struct scan *s, const char *field, bool with_seconds, int32_t *out)
{
	const char *start = s->p, *end = start + strspn(start, "0123456789:");
	int h, m, sec = 0;

	if (end == start)
		return scan_unexpected(s, field, "a time of day", times_legal);
	if (!take_two(s, 23, &h) || !scan_char(s, ':') || !take_two(s, 59, &m) ||
	    (with_seconds && scan_char(s, ':') && !take_two(s, 59, &sec)) || s->p != end)
		return scan_bad(s, start, end, field,
		    with_seconds ? "is not a time of day HH:MM or HH:MM:SS"
				 : "is not a time of day HH:MM",
		    times_legal);
	*out = h * 3600 + m * 60 + sec;
	return 0;
}

void
time_print(int32_t second, struct buf *out)
{
	buf_addf(out, "%02d:%02d", second / 3600, second / 60 % 60);
	if (second % 60)
		buf_addf(out, ":%02d", second % 60);
}

/* Keeps the list sorted; a time that is there already is not added. */
static void
insert(struct time_list *l, int32_t at)
{
	int i = l->n;

	while (i > 0 && l->at[i - 1] > at)
		i--;
	if (i > 0 && l->at[i - 1] == at)
		return;
	memmove(&l->at[i + 1], &l->at[i], (size_t)(l->n - i) * sizeof(l->at[0]));
	l->at[i] = at;
	l->n++;
}

int
time_list_scan(struct scan *s, struct time_list *out)
{
	char close = *s->p == '(' ? ')' : *s->p == '[' ? ']' : 0;
	struct time_list l = {0};
	int32_t at;
	int e;

	s->p += close != 0;
	do {
		scan_blanks(s);
		if ((e = time_scan(s, "time", true, &at)) < 0)
			return e;
		if (l.n == TIMES_MAX)
			return scan_bad(s, s->p - 1, s->p, "time", "ends one time too many",
			    "A schedule has at most 64 times of day: a window has more.");
		insert(&l, at);
		if (close || s->p[strspn(s->p, " \t")] == ',')
			scan_blanks(s);
	} while (scan_char(s, ','));
	if (close && !scan_char(s, close))
		return scan_unexpected(s, "time", "a comma or a closing parenthesis", times_legal);
	*out = l;
	return 0;
}

void
time_list_print(const struct time_list *l, struct buf *out)
{
	for (int i = 0; i < l->n; i++) {
		if (i)
			buf_addc(out, ',');
		time_print(l->at[i], out);
	}
}

static int
next_second(const void *list, int from)
{
	const struct time_list *l = list;

	for (int i = 0; i < l->n; i++)
		if (l->at[i] >= from)
			return l->at[i];
	return -1;
}

int64_t
time_list_next_local(
    const struct time_list *l, const struct day_rule *days, int64_t from, int64_t end)
{
	return day_rule_next_local(days, next_second, l, from, end);
}

int
mask_scan(struct scan *s, uint32_t *of_week)
{
	const char *after = s->p, *start, *end;
	uint32_t mask = 0;

	scan_blanks(s);
	*of_week = ALL_WEEK;
	if (scan_at_end(s))
		return 0;
	start = s->p;
	end = start + strspn(start, "01");
	if (start == after || end - start != 7 || end[strspn(end, " \t")])
		return scan_bad(s, start, start + strlen(start), "weekdays",
		    start == after ? "is not understood here"
				   : "is not a mask of seven digits 0 or 1",
		    start == after ? times_legal : mask_legal);
	for (int i = 0; i < 7; i++)
		mask |= (uint32_t)(start[i] == '1') << (i + 1) % 7;
	if (!mask)
		return scan_bad(s, start, end, "weekdays", "names no weekday at all",
		    "Set at least one digit to 1; to keep the task from running, disable it.");
	s->p = end;
	*of_week = mask;
	return 0;
}

void
mask_print(uint32_t of_week, struct buf *out)
{
	for (int i = 0; i < 7; i++)
		buf_addc(out, of_week >> (i + 1) % 7 & 1 ? '1' : '0');
}

int
times_parse(const char *text, struct times *out, struct err *e)
{
	struct scan s = {text, text, e};
	struct times t;
	int rc;

	scan_blanks(&s);
	if ((rc = time_list_scan(&s, &t.list)) < 0 || (rc = mask_scan(&s, &t.of_week)) < 0)
		return rc;
	*out = t;
	return 0;
}

void
times_print(const struct times *t, struct buf *out)
{
	time_list_print(&t->list, out);
	buf_addc(out, ' ');
	mask_print(t->of_week, out);
}

int64_t
times_next_local(const struct times *t, int64_t from, int64_t end)
{
	const struct day_rule days = day_rule_weekdays(t->of_week);

	return time_list_next_local(&t->list, &days, from, end);
}
