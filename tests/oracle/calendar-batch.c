// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Calendars and recurrence rules as a filter, for test_calendars.py.
 *
 *   ics <tab> FILE <tab> FIRST <tab> LAST [<tab> ZONE]      days (civil.h): "18250=Christmas Day<tab>..."
 *   rrule <tab> LINES, | between them <tab> AFTER <tab> COUNT      local seconds: "1735689600 ..."
 *   cost <tab> LINES <tab> AFTER <tab> COUNT      instructions: to read the rule, of the costliest of so many next; 0: unknown
 *
 * One line out for one line in; "error: FIELD: ..." for what is refused.
 */
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static struct rrule *
rrule_of(char *lines, struct err *e)
{
	for (char *p = lines; *p; p++)
		if (*p == '|')
			*p = '\n';
	return rrule_new(lines, e);
}

static int
answer_rrule(char *f[FIELDS], struct err *e)
{
	_cleanup_rrule_ struct rrule *r = rrule_of(f[1], e);
	int64_t at = strtoll(f[2], NULL, 10);

	if (!r)
		return -1;
	for (long n = strtol(f[3], NULL, 10); n > 0 && rrule_next_local(r, at, &at); n--)
		printf("%" PRId64 " ", at);
	return 0;
}

/* Instructions of this process so far, without the kernel's; 0 where the machine does not count. */
static int64_t
instructions(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
	    .size = sizeof(attr),
	    .config = PERF_COUNT_HW_INSTRUCTIONS,
	    .exclude_kernel = 1};
	static int fd = -2;
	int64_t n = 0;

	if (fd == -2)
		fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	return fd >= 0 && read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static int
answer_cost(char *f[FIELDS], struct err *e)
{
	_cleanup_rrule_ struct rrule *r = NULL;
	int64_t at = strtoll(f[2], NULL, 10), begun = instructions(), reading, worst = 0;

	r = rrule_of(f[1], e);
	if (!r)
		return -1;
	reading = instructions() - begun;
	for (long n = strtol(f[3], NULL, 10); n > 0; n--) {
		bool is_last;

		begun = instructions();
		is_last = !rrule_next_local(r, at, &at);
		if (instructions() - begun > worst)
			worst = instructions() - begun;
		if (is_last)
			break;
	}
	printf("%" PRId64 " %" PRId64, reading, worst);
	return 0;
}

static const struct {
	const char *name;
	int (*answer)(char *f[FIELDS], struct err *e);
} commands[] = {{"ics", answer_ics}, {"rrule", answer_rrule}, {"cost", answer_cost}};

static int
answer(char *f[FIELDS], struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(f[0], commands[i].name) == 0)
			return commands[i].answer(f, e);
	return err_set(e, ERR_INVALID, "no such command");
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
		rc = answer(f, &e);
		if (rc < 0)
			printf("error: %s", err_text(&e, text, sizeof(text)));
		putchar('\n');
	}
	zone_fini();
	return 0;
}
