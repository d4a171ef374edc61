// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* libFuzzer: any text as an ordinal. See README.md. */
#include "tests/fuzz/fuzz.h"

#include "when/civil.h"
#include "when/ordinal.h"

#include "base/banned.h"

#define YEAR_S (365 * INT64_C(86400)) /* 1970 */

/* Is the day the one that the ordinal names, counted from the month's other end? */
static bool
is_day(const struct ordinal *o, int64_t day)
{
	struct civil c = civil_from_days(day);
	int left = civil_month_days(c.year, c.month) - c.day;

	return civil_weekday(day) == o->weekday &&
	       (o->nth ? (c.day - 1) / 7 + 1 == o->nth : left < 7);
}

static void
check(const struct ordinal *o)
{
	int64_t at = 0, days = 0, last = -1;

	while ((at = ordinal_next_local(o, at, YEAR_S)) < YEAR_S) {
		int64_t day = floor_div(at, DAY_S);

		believe(is_day(o, day));
		days += day != last;
		last = day;
		at++;
	}
	believe(days == 12 || (o->nth == 5 && days >= 4 && days < 7));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = fuzz_text(data, n);
	_cleanup_buf_ struct buf b = {0};
	struct ordinal o, again;
	struct err e = ERR_INIT;

	if (ordinal_parse(text, &o, &e) < 0) {
		believe(*e.message && *e.field && *e.hint);
		return 0;
	}
	ordinal_print(&o, &b);
	believe(ordinal_parse(b.p, &again, &e) == 0);
	believe(again.nth == o.nth && again.weekday == o.weekday && again.list.n == o.list.n);
	believe(memcmp(again.list.at, o.list.at, (size_t)o.list.n * sizeof(o.list.at[0])) == 0);
	check(&o);
	return 0;
}
