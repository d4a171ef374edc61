// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Calendars and recurrence rules as a filter, for test_calendars.py.
 *
 *   ics <tab> FILE <tab> FIRST <tab> LAST [<tab> ZONE]      days (civil.h): "18250=Christmas Day<tab>..."
 *   rrule <tab> LINES, | between them <tab> AFTER <tab> COUNT      local seconds: "1735689600 ..."
 *
 * One line out for one line in; "error: FIELD: ..." for what is refused.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#include "when/ical.h"
#include "when/rrule.h"
#include "when/zone.h"

#include "base/banned.h"

#define FIELDS 5

static int
answer_ics(char *f[FIELDS], struct err *e)
{
	__attribute__((cleanup(calendar_days_fini))) struct calendar_days days = {0};
	_cleanup_buf_ struct buf b = {0};
	_cleanup_file_ FILE *file = fopen(f[1], "rb");
	struct ical_report report;
	const struct zone *z = NULL;
	char part[65536];
	size_t n;

	if (!file)
		return err_sys(e, "%s", f[1]);
	while ((n = fread(part, 1, sizeof(part), file)) > 0)
		buf_add(&b, part, n);
	if (f[4] && !(z = zone_get(f[4], e)))
		return -1;
	if (ical_read(b.p ? b.p : "", b.n, strtoll(f[2], NULL, 10), strtoll(f[3], NULL, 10), z,
		&days, &report, e) < 0)
		return -1;
	for (size_t i = 0; i < days.n; i++)
		printf("%s%" PRId64 "=%s", i ? "\t" : "", days.days[i], days.reasons[i]);
	return 0;
}

static int
answer_rrule(char *f[FIELDS], struct err *e)
{
	_cleanup_rrule_ struct rrule *r = NULL;
	int64_t at = strtoll(f[2], NULL, 10);

	for (char *p = f[1]; *p; p++)
		if (*p == '|')
			*p = '\n';
	r = rrule_new(f[1], e);
	if (!r)
		return -1;
	for (long n = strtol(f[3], NULL, 10); n > 0 && rrule_next_local(r, at, &at); n--)
		printf("%" PRId64 " ", at);
	return 0;
}

int
main(void)
{
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, stdin)) > 0) {
		char *f[FIELDS] = {line}, text[512];
		struct err e = ERR_INIT;
		int k = 1, rc;

		line[strcspn(line, "\n")] = 0;
		for (char *p = line; *p && k < FIELDS; p++)
			if (*p == '\t') {
				*p = 0;
				f[k++] = p + 1;
			}
		if (k < 4)
			return 2;
		rc = strcmp(f[0], "ics") == 0 ? answer_ics(f, &e) : answer_rrule(f, &e);
		if (rc < 0)
			printf("error: %s", err_text(&e, text, sizeof(text)));
		putchar('\n');
	}
	zone_fini();
	return 0;
}
