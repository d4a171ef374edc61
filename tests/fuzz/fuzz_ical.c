// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* libFuzzer: any bytes as a calendar file. See README.md. */
#include "tests/fuzz/fuzz.h"

#include "when/calendar.h"
#include "when/ical.h"
#include "when/zone.h"

#include "base/banned.h"

static void
check(const struct calendar_days *d, const struct ical_report *r, int64_t first, int64_t last)
{
	_cleanup_calendar_ struct calendar *c =
	    calendar_new("fuzz", d->n, d->days, (const char *const *)d->reasons);

	believe(r->days == (int)d->n && d->n <= ICAL_DAYS_MAX && r->notes_n <= ICAL_NOTES_MAX);
	believe(calendar_count(c) == d->n);
	for (size_t i = 0; i < d->n; i++) {
		believe(d->days[i] >= first && d->days[i] <= last);
		believe(i == 0 || d->days[i] > d->days[i - 1]);
		believe(strlen(d->reasons[i]) <= CALENDAR_REASON_MAX);
		for (const char *p = d->reasons[i]; *p; p++)
			believe((unsigned char)*p >= ' ' && *p != 127);
		believe(calendar_has(c, d->days[i], NULL));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const zones[] = {
	    NULL, "Europe/Berlin", "Pacific/Apia", "America/St_Johns"};
	struct calendar_days days = {0};
	struct ical_report report;
	struct err e = ERR_INIT;
	/* The last byte, mostly a line end, chooses the zone. */
	const char *name = n ? zones[data[n - 1] % ARRAY_LEN(zones)] : NULL;
	int rc = ical_read((const char *)data, n, ICAL_FIRST_DAY, ICAL_LAST_DAY,
	    name ? zone_get(name, NULL) : NULL, &days, &report, &e);

	if (rc < 0)
		believe(*e.message && *e.field && *e.hint && !days.days && !days.n);
	else
		check(&days, &report, ICAL_FIRST_DAY, ICAL_LAST_DAY);
	calendar_days_fini(&days);
	return 0;
}
