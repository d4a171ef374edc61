// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* libFuzzer: any text as a schedule. The first byte is the kind ('0' is cron), the second the
 * policies and the zone. See README.md. */
#include "tests/fuzz/fuzz.h"

#include "when/when.h"
#include "when/zone.h"

#include "base/banned.h"

#define TIMES 10
#define START INT64_C(1772000000) /* 25 February 2026: clock changes are near */

static void
check_next(const struct when *w)
{
	struct when_occurrence o, again;
	int64_t at = START;

	for (int i = 0; i < TIMES && when_next(w, at, &o); i++) {
		believe(o.utc > at);
		believe(when_next(w, o.utc - 1, &again) && again.utc == o.utc);
		at = o.utc;
	}
}

static void
check_marks(const struct when *w)
{
	struct when_cursor c = {.after = START, .until = START + 100 * INT64_C(86400)};
	struct when_mark m;
	int64_t last = START;

	for (int i = 0; i < TIMES && when_next_mark(w, &c, &m); i++) {
		believe(m.utc >= last);
		believe((m.what == WHEN_FIRES) == (m.reason == NULL));
		last = m.utc;
	}
}

static void
check(enum when_kind kind, const struct when_setting *set, const char *text)
{
	_cleanup_buf_ struct buf canonical = {0}, again = {0};
	_cleanup_when_ struct when *w = NULL;
	struct err e = ERR_INIT;

	if (when_text(kind, set, text, &canonical, &e) < 0) {
		believe(*e.message && *e.field && *e.hint);
		return;
	}
	w = when_new(kind, canonical.p, set, &e);
	believe(w != NULL);
	believe(when_text(kind, set, canonical.p, &again, &e) == 0);
	believe(strcmp(canonical.p, again.p) == 0);
	check_next(w);
	check_marks(w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const zones[] = {
	    "UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"};
	struct when_setting set = {WHEN_ALWAYS, .anchor = START, .hash_key = "task"};
	_cleanup_free_ char *text = NULL;

	if (n < 2)
		return 0;
	set.policy.gap = data[1] & 1 ? CRON_GAP_SKIP : CRON_GAP_RUN_AT_END;
	set.policy.fold = (enum cron_fold)((data[1] >> 1 & 3) % 3);
	set.zone = zone_get(zones[data[1] >> 3 & 3], NULL);
	text = fuzz_text(data + 2, n - 2);
	check((enum when_kind)(data[0] % (WHEN_ON_DEMAND + 1)), &set, text);
	return 0;
}
