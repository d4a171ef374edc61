// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See once.h. The spelling is told by its first characters: a stamp begins with a year and a
 * dash. */
#include "when/once.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "when/civil.h"
#include "when/every.h"
#include "when/local.h"
#include "when/shown.h"
#include "when/stamp.h"

#include "base/banned.h"

static const char legal[] = "Write an instant such as 2026-12-01T02:00:00Z, a local time such as "
			    "2026-12-01 02:00, or a time "
			    "from now such as +90m (s, m, h, d, w).";

/* Is there no zone after the time of day? */
static bool
is_bare(const char *s)
{
	size_t n = strlen(s);
	const char *time = strpbrk(s, "Tt ");

	return time && n <= 19 && !strpbrk(time + 1, "Zz+-");
}

static int
parse_local(const char *s, const struct zone *zone, int64_t *utc, struct err *e)
{
	const struct local_source clock = {.zone = zone};
	struct local_hit hit;
	char full[WHEN_STAMP_MAX], shown[WHEN_SHOWN_MAX + 1];
	int64_t local;

	/* 16 characters are a stamp without seconds. */
	snprintf(full, sizeof(full), "%.19s%sZ", s, strlen(s) == 16 ? ":00" : "");
	if (when_parse_rfc3339(full, &local, NULL, NULL) < 0) {
		err_set(e, ERR_INVALID, "'%s' is not a local date and time", when_shown(s, shown));
		return err_hint(e, "%s", legal);
	}
	if (!local_to_utc(&clock, local, &hit)) {
		err_set(e, ERR_INVALID, "'%s' was never on the zone's clock", when_shown(s, shown));
		return err_hint(e, "The clock was set forward over it: name a later time.");
	}
	*utc = hit.utc;
	return 0;
}

static int
parse(const char *s, const struct zone *zone, int64_t now, int64_t *utc, struct err *e)
{
	bool is_stamp = strspn(s, "0123456789") == 4 && s[4] == '-';
	struct scan at = {s, s, e};
	int64_t after;
	int rc;

	if (is_stamp && is_bare(s))
		return parse_local(s, zone, utc, e);
	if (is_stamp || (*s != '+' && !isdigit((unsigned char)*s))) {
		rc = when_parse_rfc3339(s, utc, NULL, e);
		return rc < 0 ? err_hint(e, "%s", legal) : rc;
	}
	scan_char(&at, '+');
	if ((rc = duration_scan(&at, &after)) < 0)
		return err_hint(e, "%s", legal);
	*utc = now + after;
	return 0;
}

int
once_parse(const char *text, const struct zone *zone, int64_t now, int64_t *utc, struct err *e)
{
	char s[WHEN_STAMP_MAX] = "";
	size_t skip = strspn(text, " \t"), n = strlen(text + skip);
	int rc;

	while (n && strchr(" \t", text[skip + n - 1]))
		n--;
	if (n < sizeof(s))
		snprintf(s, sizeof(s), "%.*s", (int)n, text + skip);
	/* What is too long for a spelling is refused as a stamp. */
	rc = n < sizeof(s) ? parse(s, zone, now, utc, e)
			   : when_parse_rfc3339(text + skip, utc, NULL, e);
	if (rc < 0)
		err_field(e, "instant");
	return rc;
}
