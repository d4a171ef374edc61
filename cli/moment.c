// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See moment.h. lib/when does the reading, so a time means here what it means in a schedule. */
#include "cli/moment.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#include "cli/cli.h"

#include "when/civil.h"
#include "when/once.h"
#include "when/shown.h"
#include "when/stamp.h"
#include "when/zone.h"

#include "base/banned.h"

static int
refuse(const char *field, struct err *e)
{
	e->code = ERR_INVALID;
	err_field(e, "%s", field);
	return cli_fail(e);
}

int
moment_parse(const char *field, const char *text, const struct zone *zone, int64_t *utc)
{
	struct err e = ERR_INIT;

	return once_parse(text, zone, clock_realtime_us() / 1000000, utc, &e) < 0
		   ? refuse(field, &e)
		   : CLI_OK;
}

int
moment_zone(const char *field, const char *name, const struct zone **out)
{
	struct err e = ERR_INIT;

	*out = name ? zone_get(name, &e) : zone_utc();
	return *out ? CLI_OK : refuse(field, &e);
}

int
moment_day(const char *field, const char *text, int64_t *day)
{
	char stamp[32], shown[WHEN_SHOWN_MAX + 1];
	int64_t utc;

	snprintf(stamp, sizeof(stamp), "%.10sT00:00:00Z", text);
	if (strlen(text) != 10 || when_parse_rfc3339(stamp, &utc, NULL, NULL) < 0)
		return cli_refuse(field, "Write year, month and day, such as 2026-12-24.",
		    "'%s' is not a day", when_shown(text, shown));
	*day = floor_div(utc, DAY_S);
	return CLI_OK;
}

const char *
moment_day_text(int64_t day, char out[16])
{
	char stamp[32];

	snprintf(out, 16, "%.10s", when_format_rfc3339(day * DAY_S, stamp));
	return out;
}

const char *
moment_bare_text(int64_t local_s, char out[32])
{
	when_format_rfc3339(local_s, out);
	out[strcspn(out, "Z")] = 0;
	return out;
}

const char *
moment_local_text(int64_t utc, const struct zone *zone, char out[48])
{
	const char *abbrev;
	char bare[32];
	int32_t off;
	int minutes;

	zone_offset_at(zone, utc, &off, NULL, &abbrev);
	minutes = (off < 0 ? -off : off) / 60;
	snprintf(out, 48, "%s%c%02d:%02d %s", moment_bare_text(utc + off, bare),
	    off < 0 ? '-' : '+', minutes / 60 % 100, minutes % 60, abbrev);
	return out;
}
