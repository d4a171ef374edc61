// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* libFuzzer: any text as the lines of a schedule of kind rrule. See README.md. */
#include "tests/fuzz/fuzz.h"

#include "when/civil.h"
#include "when/rrule.h"

#include "base/banned.h"

#define TIMES 20

static void
check(const char *text)
{
	struct err e = ERR_INIT;
	_cleanup_rrule_ struct rrule *r = rrule_new(text, &e);
	int64_t times[TIMES], at = INT64_MIN, again;
	int n = 0;

	if (!r) {
		believe(*e.message && *e.field && *e.hint);
		return;
	}
	while (n < TIMES && rrule_next_local(r, at, &times[n])) {
		believe(times[n] > at && times[n] >= CIVIL_MIN_S && times[n] <= CIVIL_MAX_S);
		at = times[n++];
	}
	/* From the end backwards, and from a second before: the same times. */
	for (int i = n - 1; i >= 0; i--) {
		believe(rrule_next_local(r, times[i] - 1, &again) && again == times[i]);
		believe(
		    i + 1 == n || (rrule_next_local(r, times[i], &again) && again == times[i + 1]));
	}
	believe(!rrule_next_local(r, INT64_MAX, &again));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = fuzz_text(data, n);

	check(text);
	return 0;
}
