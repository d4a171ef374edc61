// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* An expression in words. Works on the parsed value, so it shows what will run, not what was typed.
 */
#include <stdio.h>

#include "base/buf.h"

#include "when/cron_fields.h"

#include "base/banned.h"

static void
describe_value(const struct cron_field_info *f, int v, struct buf *out)
{
	if (f->names)
		buf_adds(out, f->names[v - f->lo]);
	else
		buf_addf(out, "%d", v);
}

/* Runs of neighbours as ranges; hi is the largest value that a parsed field can hold. */
static void
describe_field(const struct cron_field_info *f, uint64_t bits, int hi, struct buf *out)
{
	uint64_t all = (UINT64_C(2) << hi) - (UINT64_C(1) << f->lo);
	const char *comma = "";

	buf_addf(out, "%-14s", f->name);
	if (bits == all)
		buf_adds(out, "every");
	for (int v = f->lo; v <= hi && bits != all; v++) {
		int last = v;

		if (!(bits >> v & 1))
			continue;
		while (last < hi && bits >> (last + 1) & 1)
			last++;
		buf_adds(out, comma);
		describe_value(f, v, out);
		if (last > v) {
			buf_addc(out, last > v + 1 ? '-' : ',');
			describe_value(f, last, out);
		}
		comma = ",";
		v = last;
	}
	buf_addc(out, '\n');
}

void
cron_describe(const struct cron *c, struct buf *out)
{
	const uint64_t bits[FIELD_COUNT] = {
	    c->second, c->minute, c->hour, c->day_of_month, c->month, c->day_of_week};

	/* Most expressions have no seconds: no line for them then. */
	for (int i = c->second == 1 ? FIELD_MINUTE : FIELD_SECOND; i < FIELD_COUNT; i++)
		describe_field(
		    &cron_fields[i], bits[i], i == FIELD_DAY_OF_WEEK ? 6 : cron_fields[i].hi, out);
	buf_addf(out, "%-14s%s\n", "days",
	    c->day_of_month_star || c->day_of_week_star
		? "day of month and day of week must both match, because one of them starts with *"
		: "either day of month or day of week must match, because neither starts with *");
	buf_addf(out, "%-14s%s\n", "clock changes",
	    cron_follows_clock(c) ? "follows the wall clock, because minute or hour starts with *"
				  : "skipped and repeated times as dst_gap and dst_fold say");
}
