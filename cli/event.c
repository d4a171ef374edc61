// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See event.h. Members are shown in a fixed order; what is not known is left out. */
#include "cli/event.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "cli/print.h"

#include "base/banned.h"

/* How a member reads: before its value, after it. */
static const struct {
	const char *member, *before, *after;
} parts[] = {
    {"trigger", "by ", ""},
    {"actor", "", ""},
    {"attempt", "attempt ", ""},
    {"units", "", " unit(s)"},
    {"unit", "unit ", ""},
    {"device", "", ""},
    {"done", "", ""},
    {"total", "of ", ""},
    {"label", "", ""},
    {"name", "", ""},
    {"class", "", ""},
    {"code", "", ""},
    {"message", "", ""},
    {"reason", "because: ", ""},
    {"hint", "-> ", ""},
    {"delay_s", "again in ", " s"},
    {"next_at", "at ", ""},
    {"snapshot_id", "snapshot ", ""},
    {"fingerprint", "", ""},
    {"data", "", ""},
};

static const char *
color_of_severity(const struct cli *c, const char *severity)
{
	if (!c->has_color)
		return "";
	if (strcmp(severity, "error") == 0 || strcmp(severity, "critical") == 0)
		return "\033[31m";
	return strcmp(severity, "warning") == 0 ? "\033[33m" : "";
}

static void
add_value(struct buf *b, const json_t *v)
{
	_cleanup_free_ char *text = NULL;

	if (json_is_string(v)) {
		buf_adds(b, json_string_value(v));
		return;
	}
	text = json_text(v);
	buf_adds(b, text);
}

void
event_print(struct cli *c, const char *type, const json_t *o)
{
	const char *state = json_get_str(o, "state", NULL), *at = json_get_str(o, "at", NULL);
	const char *severity = json_get_str(o, "severity", "info");
	_cleanup_buf_ struct buf b = {0}, head = {0};
	char utc[64];

	buf_addf(&head, "%-16s", type);
	buf_adds(&b, "");
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		const json_t *v = json_object_get(o, parts[i].member);

		if (!v || json_is_null(v) || (json_is_string(v) && !*json_string_value(v)))
			continue;
		/* Of a unit that passed, the class says no more than the state. */
		if (json_is_string(v) && strcmp(json_string_value(v), "passed") == 0)
			continue;
		buf_addf(&b, " %s", parts[i].before);
		add_value(&b, v);
		buf_adds(&b, parts[i].after);
	}
	at = print_utc_time(at, utc);
	if (state)
		buf_addf(&head, " [%s]", state);
	printf("%s%-8.8s  ", color_of_severity(c, severity), strlen(at) > 11 ? at + 11 : "");
	print_line(c, head.p);
	print_line(c, b.p);
	printf("%s\n", color_off(c));
}
