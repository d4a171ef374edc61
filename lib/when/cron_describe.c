// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* An expression in words. Works on the parsed value, so it shows what will run, not what was
 * typed. */
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
describe_bits(const struct cron_field_info *f, uint64_t bits, int hi, struct buf *out)
{
	uint64_t all = (UINT64_C(2) << hi) - (UINT64_C(1) << f->lo);
	const char *comma = "";

	if ((bits & all) == all) {
		buf_adds(out, "every");
		return;
	}
	for (int v = f->lo; v <= hi; v++) {
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
}

/* A comma unless the line has nothing but its name yet. */
static void
next_sign(struct buf *out)
{
	if (out->p[out->n - 1] != ' ')
		buf_addc(out, ',');
}

static void
describe_month_signs(const struct day_rule *r, struct buf *out)
{
	for (int n = 0; n < 31; n++) {
		if (!(r->from_last >> n & 1))
			continue;
		next_sign(out);
		buf_addf(out, n ? "L-%d" : "L", n);
	}
	for (int n = 0; n <= 31; n++) {
		if (!(r->nearest >> n & 1))
			continue;
		next_sign(out);
		if (n)
			buf_addf(out, "%d", n);
		buf_adds(out, n ? "W" : "LW");
	}
}

static void
describe_week_signs(const struct day_rule *r, struct buf *out)
{
	const struct cron_field_info *f = &cron_fields[FIELD_DAY_OF_WEEK];

	for (int n = 1; n <= DAY_NTH_MAX; n++) {
		for (int day = 0; day < 7; day++) {
			if (!(r->nth_of_week >> DAY_NTH_BIT(day, n) & 1))
				continue;
			next_sign(out);
			buf_addf(out, "%s#%d", f->names[day], n);
		}
	}
	for (int day = 0; day < 7; day++) {
		if (!(r->last_of_week >> day & 1))
			continue;
		next_sign(out);
		buf_addf(out, "%sL", f->names[day]);
	}
}

void
cron_describe(const struct cron *c, struct buf *out)
{
	const struct day_rule *d = &c->days;
	const uint64_t bits[FIELD_COUNT] = {
	    c->second, c->minute, c->hour, d->of_month, d->month, d->of_week};

	/* Most expressions have no seconds: no line for them then. */
	for (int i = c->second == 1 ? FIELD_MINUTE : FIELD_SECOND; i < FIELD_COUNT; i++) {
		const struct cron_field_info *f = &cron_fields[i];

		buf_addf(out, "%-14s", f->name);
		describe_bits(f, bits[i], i == FIELD_DAY_OF_WEEK ? 6 : f->hi, out);
		if (i == FIELD_DAY_OF_MONTH)
			describe_month_signs(d, out);
		if (i == FIELD_DAY_OF_WEEK)
			describe_week_signs(d, out);
		buf_addc(out, '\n');
	}
	buf_addf(out, "%-14s%s\n", "days",
	    d->of_month_star || d->of_week_star
		? "day of month and day of week must both match, because one of them starts with "
		  "* or ?"
		: "either day of month or day of week must match, because neither starts with * "
		  "or ?");
	buf_addf(out, "%-14s%s\n", "clock changes",
	    cron_follows_clock(c) ? "follows the wall clock, because minute or hour starts with *"
				  : "skipped and repeated times as dst_gap and dst_fold say");
}
