// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* libFuzzer: any text as a cron expression. The first byte is the policies and the zone. See README.md. */
#include "tests/fuzz/fuzz.h"

#include "when/civil.h"
#include "when/cron.h"
#include "when/zone.h"

#include "base/banned.h"

#define TIMES 12
#define START INT64_C(1772000000) /* 25 February 2026: clock changes are near */

/* Six fields: each occurrence is a local time that the sets allow. */
static void
check_time(const struct cron *c, const struct zone *z, const struct cron_occurrence *o)
{
	int64_t local, tod;
	int32_t off;

	zone_offset_at(z, o->utc, &off, NULL, NULL);
	local = o->utc + off;
	tod = local - floor_div(local, DAY_S) * DAY_S;
	if (o->is_moved)
		return;
	believe(c->hour >> (tod / 3600) & 1);
	believe(c->minute >> (tod / 60 % 60) & 1);
	believe(c->second >> (tod % 60) & 1);
	believe(cron_next_local(c, local, local + 1) == local);
}

static void
check_next(const struct cron *c, const struct zone *z, const struct cron_policy *policy)
{
	struct cron_occurrence o, again;
	int64_t at = START;

	for (int i = 0; i < TIMES && cron_next_occurrence(c, z, policy, at, &o); i++) {
		believe(o.utc > at);
		believe(!cron_next_occurrence(c, z, policy, at, &again) || again.utc == o.utc);
		believe(
		    cron_next_occurrence(c, z, policy, o.utc - 1, &again) && again.utc == o.utc);
		check_time(c, z, &o);
		at = o.utc;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const zones[] = {
	    "UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"};
	_cleanup_free_ char *text = NULL;
	_cleanup_buf_ struct buf words = {0};
	struct cron_policy policy = {0};
	struct err e = ERR_INIT;
	struct cron c;

	if (!n)
		return 0;
	policy.gap = data[0] & 1 ? CRON_GAP_SKIP : CRON_GAP_RUN_AT_END;
	policy.fold = (enum cron_fold)((data[0] >> 1 & 3) % 3);
	text = fuzz_text(data + 1, n - 1);
	if (cron_parse_keyed(text, "task", &c, &e) < 0) {
		believe(*e.message && *e.field && *e.hint);
		return 0;
	}
	cron_describe(&c, &words);
	believe(words.n > 0);
	check_next(&c, zone_get(zones[data[0] >> 3 & 3], NULL), &policy);
	return 0;
}
