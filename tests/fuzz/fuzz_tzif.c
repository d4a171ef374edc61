// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* libFuzzer: any bytes as a zone file, then the questions that the rest of lib/when asks of a zone. See README.md. */
#include "tests/fuzz/fuzz.h"

#include "when/civil.h"
#include "when/cron.h"
#include "when/zone_priv.h"

#include "base/banned.h"

#define TIMES 10

/* An instant lies in its span, at whose ends the offset changes, and its local time leads back to it. */
static void
check_instant(const struct zone *z, int64_t t)
{
	struct zone_span s = zone_span_at(z, t);
	struct zone_local l;
	const char *abbrev;
	int64_t change;
	int32_t off;
	bool is_dst;

	zone_offset_at(z, t, &off, &is_dst, &abbrev);
	believe(off >= ZONE_OFF_MIN && off <= ZONE_OFF_MAX && strlen(abbrev) <= ZONE_TYPES_MAX);
	believe(s.off == off && s.start <= t && t < s.end);
	believe(zone_next_change(z, t, &change) ? change == s.end : s.end == INT64_MAX);
	if (s.start > INT64_MIN)
		believe(s.off_before != s.off && zone_span_at(z, s.start - 1).end == s.start);
	l = zone_from_local(z, t + off);
	believe(l.kind != ZONE_GAP && l.first <= t && t <= l.second);
	believe((l.kind == ZONE_NORMAL) == (l.first == l.second));
}

static void
check_cron(const struct zone *z)
{
	static const struct cron_policy policy = {CRON_GAP_RUN_AT_END, CRON_FOLD_BOTH};
	int64_t at = CIVIL_MIN_S, next;
	struct cron c;

	believe(cron_parse("30 2 * * *", &c, NULL) == 0);
	for (int i = 0; i < TIMES && cron_next(&c, z, &policy, at, &next); i++) {
		believe(next > at);
		at = next + (i % 2 ? 0 : 40 * 365 * INT64_C(86400));
	}
}

static void
check(const struct zone *z)
{
	for (int year = 1; year < 10000; year += 371)
		check_instant(z, civil_days(year, 1 + year % 12, 1) * DAY_S);
	for (int year = 1900; year < 2100; year += 13)
		check_instant(z, civil_days(year, 1 + year % 12, 1) * DAY_S);
	for (size_t i = 0; i < z->count && i < TIMES; i++)
		for (int64_t d = -1; d <= 1; d++)
			if (z->when[i] > CIVIL_MIN_S && z->when[i] < CIVIL_MAX_S)
				check_instant(z, z->when[i] + d);
	check_cron(z);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct zone *z = xcalloc(1, sizeof(*z));
	struct err e = ERR_INIT;

	if (tzif_parse(data, n, z, &e) < 0)
		believe(*e.message);
	else
		check(z);
	free(z->when);
	free(z->type);
	free(z);
	return 0;
}
