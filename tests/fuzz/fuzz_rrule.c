// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* libFuzzer: any text as the lines of a schedule of kind rrule. See README.md. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#include "when/civil.h"
#include "when/rrule.h"

#include "base/banned.h"

#define TIMES 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
believe(bool is_so)
{
	if (!is_so)
		abort();
}

static void
check(const char *text)
{
	struct err e = ERR_INIT;
	_cleanup_rrule_ struct rrule *r = rrule_new(text, &e);
	int64_t times[TIMES], at = INT64_MIN, again;
	int n = 0;

	if (!r) {
		believe(*e.message);
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
	char *text = xmalloc(n + 1);

	if (n)
		memcpy(text, data, n);
	text[n] = 0;
	check(text);
	free(text);
	return 0;
}
