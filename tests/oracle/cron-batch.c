// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The cron engine as a filter, for test_cron_oracle.py: thousands of questions in one process.
 *
 *   EXPR <tab> ZONE <tab> GAP <tab> FOLD <tab> FROM_UNIX <tab> COUNT    next times, unix,
 * space-separated
 *   @zone <tab> ZONE <tab> UNIX...                                     offset, dst flag and name at
 * each
 *
 * One line out for one line in; "error: ..." for a refused one. A time with * was moved to a gap's
 * end, one with + repeats a local time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#include "when/cron.h"
#include "when/zone.h"

#include "base/banned.h"

#define FIELDS 6

static int
answer_cron(char *f[FIELDS], struct err *e)
{
	struct cron_policy policy = {0};
	struct cron_occurrence o;
	const struct zone *z;
	struct cron c;
	int64_t at = strtoll(f[4], NULL, 10);

	if (cron_parse(f[0], &c, e) < 0 || !(z = zone_get(f[1], e)) ||
	    cron_gap_parse(f[2], &policy.gap, e) < 0 || cron_fold_parse(f[3], &policy.fold, e) < 0)
		return -1;
	for (long n = strtol(f[5], NULL, 10); n > 0 && cron_next_occurrence(&c, z, &policy, at, &o);
	     n--) {
		printf("%" PRId64 "%s ", o.utc, o.is_moved ? "*" : o.is_repeat ? "+" : "");
		at = o.utc;
	}
	return 0;
}

static int
answer_zone(char *f[FIELDS], struct err *e)
{
	const struct zone *z = zone_get(f[1], e);
	char *p = f[2], *end;

	if (!z)
		return -1;
	for (int64_t t = strtoll(p, &end, 10); end != p; t = strtoll(p = end, &end, 10)) {
		const char *abbrev;
		int32_t off;
		bool dst;

		zone_offset_at(z, t, &off, &dst, &abbrev);
		printf("%d/%d/%s ", off, dst, abbrev);
	}
	return 0;
}

int
main(void)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 0) {
		char *f[FIELDS] = {0}, *rest = line;
		struct err e = ERR_INIT;
		char text[800];
		int n = 0;

		line[strcspn(line, "\n")] = 0;
		while (n < FIELDS && rest)
			f[n++] = strsep(&rest, "\t");
		if (n == 3 && strcmp(f[0], "@zone") == 0 ? answer_zone(f, &e) < 0
							 : n != FIELDS || answer_cron(f, &e) < 0)
			printf("error: %s",
			    n == 3 || n == FIELDS ? err_text(&e, text, sizeof(text)) : "fields");
		putchar('\n');
	}
	zone_fini();
	return 0;
}
