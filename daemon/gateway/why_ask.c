// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The time that somebody asks about, as seconds. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonx.h"

#include "when/civil.h"
#include "when/stamp.h"

#include "daemon/gateway/why.h"

#include "base/banned.h"

#define TEXT_MAX 40

struct why_asked
why_ask_second(int64_t utc)
{
	return (struct why_asked){.span = {{utc, utc}}, .n = 1};
}

/* As many characters of text as look like the pattern, in which 0 is a digit and T also a blank. */
static size_t
alike(const char *text, const char *pattern)
{
	size_t i = 0;

	for (; pattern[i]; i++) {
		char c = text[i], p = pattern[i];

		if (p == '0' ? !isdigit((unsigned char)c)
			     : (p == 'T' ? c != 'T' && c != 't' && c != ' ' : c != p))
			break;
	}
	return i;
}

static int
refuse(const char *text, struct err *e)
{
	err_set(e, ERR_INVALID, "\"%.60s\" is no time", text);
	return err_hint(e,
	    "RFC 3339 (2026-11-22T02:00:00Z), or on the task's clock 2026-11-22T02:00, with "
	    "seconds, or only the day.");
}

/* The stretch of a local time that is shown, skipped or shown twice. */
static void
ask_local(const struct zone *z, int64_t local, int64_t length, struct why_asked *out)
{
	struct zone_local at = zone_from_local(z, local);
	struct zone_local end = zone_from_local(z, local + length - 1);

	*out = (struct why_asked){.n = 1, .local_lo = local, .local_hi = local + length - 1};
	if (length == DAY_S) {
		out->span[0].lo = at.kind == ZONE_GAP ? at.change : at.first;
		out->span[0].hi = end.kind == ZONE_GAP    ? end.change - 1
				  : end.kind == ZONE_FOLD ? end.second
							  : end.first;
	} else if (at.kind == ZONE_GAP) {
		out->is_gap = true;
		out->span[0] = (struct why_span){at.change, at.change};
	} else {
		out->span[0] = (struct why_span){at.first, at.first + length - 1};
		if (at.kind == ZONE_FOLD)
			out->span[out->n++] = (struct why_span){at.second, at.second + length - 1};
	}
}

int
why_ask(const char *text, const struct zone *z, struct why_asked *out, struct err *e)
{
	size_t n = alike(text, "0000-00-00T00:00:00"), length = strlen(text);
	char whole[TEXT_MAX + 16];
	const char *rest;
	int64_t utc;

	if (length > TEXT_MAX || (n != 10 && n != 16 && n != 19) || (n == 10 && text[n]))
		return refuse(text, e);
	rest = text + n;
	/* the missing seconds, and for local time the offset that makes it a plain count */
	snprintf(whole, sizeof(whole), "%.*s%s%s", (int)n, text,
	    n == 10   ? "T00:00:00"
	    : n == 16 ? ":00"
		      : "",
	    *rest ? rest : "Z");
	if (when_parse_rfc3339(whole, &utc, NULL, NULL) < 0)
		return refuse(text, e);
	if (!*rest)
		ask_local(z, utc, n == 10 ? DAY_S : n == 16 ? 60 : 1, out);
	else
		*out = (struct why_asked){.span = {{utc, utc + (n == 16 ? 59 : 0)}}, .n = 1};
	return 0;
}

json_t *
why_utc(int64_t utc)
{
	char text[32];

	return json_string(when_format_rfc3339(utc, text));
}

json_t *
why_local(const struct zone *z, int64_t utc)
{
	char stamp[32], text[64];
	const char *abbrev = "";
	int32_t off;

	zone_offset_at(z, utc, &off, NULL, &abbrev);
	when_format_rfc3339(utc + off, stamp);
	stamp[strcspn(stamp, "Z")] = '\0';
	snprintf(text, sizeof(text), "%s%c%02d:%02d %s", stamp, off < 0 ? '-' : '+',
	    abs(off) / 3600, abs(off) / 60 % 60, abbrev);
	return json_string(text);
}
