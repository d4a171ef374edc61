// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See print.h. */
#include "cli/print.h"

#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "when/civil.h"
#include "when/stamp.h"
#include "when/zone.h"

#include "base/banned.h"

/* Length of the UTF-8 sequence at p that may be printed as it is, 0 if it must be escaped. */
static size_t
plain_len(const unsigned char *p, size_t n)
{
	size_t len = p[0] < 0x80                   ? 1
		     : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
		     : (p[0] & 0xf0) == 0xe0       ? 3
		     : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
						   : 0;

	if (len == 1)
		return (p[0] >= 0x20 && p[0] != 0x7f) || p[0] == '\n' || p[0] == '\t';
	if (!len || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* C1 controls; bidirectional overrides (U+202A..202E, U+2066..2069) reorder what is read. */
	if (len == 2 && p[0] == 0xc2 && p[1] < 0xa0)
		return 0;
	if (len == 3 && p[0] == 0xe2 &&
	    ((p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae) ||
		(p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)))
		return 0;
	return len;
}

void
print_escaped(FILE *to, const char *p, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t len = plain_len((const unsigned char *)p + i, n - i);

		/* Devices end lines with CR LF. */
		if (p[i] == '\r' && i + 1 < n && p[i + 1] == '\n') {
			i++;
		} else if (len) {
			fwrite(p + i, 1, len, to);
			i += len;
		} else {
			fprintf(to, "\\x%02x", (unsigned char)p[i++]);
		}
	}
}

/* JSON escapes what is below U+0020 itself; DEL, C1 controls and overrides have two or three bytes at most. */
void
print_json_text(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	for (size_t n = strlen(text); n;) {
		size_t len = plain_len(p, n), bytes = len           ? len
						      : p[0] < 0x80 ? 1
						      : p[0] < 0xe0 ? 2
								    : 3;

		if (len)
			fwrite(p, 1, len, stdout);
		else if (bytes == 1)
			printf("\\u%04x", p[0]);
		else
			printf("\\u%04x",
			    bytes == 2 ? (p[0] & 0x1f) << 6 | (p[1] & 0x3f)
				       : (p[0] & 0x0f) << 12 | (p[1] & 0x3f) << 6 | (p[2] & 0x3f));
		p += bytes;
		n -= bytes;
	}
	putchar('\n');
}

void
print_json(const json_t *j)
{
	char *text = json_dumps(j, JSON_INDENT(2) | JSON_ENCODE_ANY);

	print_json_text(text ? text : "null");
	free(text);
}

void
print_device_text(struct cli *c, const char *p, size_t n)
{
	if (c->is_tty)
		print_escaped(stdout, p, n);
	else
		fwrite(p, 1, n, stdout);
}

void
print_line(struct cli *c, const char *text)
{
	for (const char *p = text, *nl; *p; p = *nl ? nl + 1 : nl) {
		nl = strchrnul(p, '\n');
		print_device_text(c, p, (size_t)(nl - p));
		if (*nl)
			fputs("\\n", stdout);
	}
}

static const char *
format_time(int64_t at, const struct zone *z, const char *suffix, char out[64])
{
	const char *abbrev = suffix;
	int32_t off = 0;
	int64_t local, days;
	struct civil d;
	int s;

	if (z)
		zone_offset_at(z, at, &off, NULL, &abbrev);
	local = at + off;
	days = floor_div(local, DAY_S);
	d = civil_from_days(days);
	s = (int)(local - days * DAY_S);
	snprintf(out, 64, "%04d-%02d-%02d %02d:%02d:%02d%s%s", (int)d.year, d.month, d.day,
	    s / 3600, s / 60 % 60, s % 60, z ? " " : "", abbrev);
	return out;
}

const char *
print_utc_time(const char *rfc3339, char out[64])
{
	int64_t at;

	if (!rfc3339 || when_parse_rfc3339(rfc3339, &at, NULL, NULL) < 0)
		return "";
	return format_time(at, NULL, "Z", out);
}

const char *
print_zone_time(const char *rfc3339, const char *zone, char out[64])
{
	const struct zone *z = zone ? zone_get(zone, NULL) : NULL;
	int64_t at;

	if (!z || !rfc3339 || when_parse_rfc3339(rfc3339, &at, NULL, NULL) < 0)
		return "";
	return format_time(at, z, "", out);
}

const char *
print_duration(int64_t ms, char out[32])
{
	if (ms < 1000)
		snprintf(out, 32, "%d ms", (int)ms);
	else if (ms < 60000)
		snprintf(out, 32, "%d.%d s", (int)(ms / 1000), (int)(ms / 100 % 10));
	else
		snprintf(out, 32, "%lld min %d s", (long long)(ms / 60000), (int)(ms / 1000 % 60));
	return out;
}

static const json_t *
member(const json_t *o, const char *path)
{
	const char *dot = strchr(path, '.');
	char first[64];

	if (!dot)
		return json_object_get(o, path);
	snprintf(first, sizeof(first), "%.*s", (int)(dot - path), path);
	return member(json_object_get(o, first), dot + 1);
}

static char *
list_text(const json_t *v)
{
	_cleanup_buf_ struct buf b = {0};
	const json_t *one;
	size_t i;

	buf_adds(&b, "");
	json_array_foreach(v, i, one)
	{
		const char *s = json_is_object(one)
				    ? json_get_str(one, "name", json_get_str(one, "id", "?"))
				    : json_string_value(one);

		buf_addf(&b, "%s%s", b.n ? ", " : "", s ? s : "?");
	}
	return buf_take(&b);
}

static char *
plain_text(const json_t *v)
{
	if (json_is_string(v))
		return xstrdup(json_string_value(v));
	if (!v || json_is_null(v))
		return xstrdup("");
	return json_text(v);
}

/* The value for people; caller frees. */
static char *
cell_text(const json_t *o, const struct column *col)
{
	const json_t *v = member(o, col->path);
	char tmp[64];

	switch (col->kind) {
	case COL_TIME:
		return xstrdup(print_utc_time(json_string_value(v), tmp));
	case COL_DURATION:
		return xstrdup(
		    json_is_number(v) ? print_duration((int64_t)json_number_value(v), tmp) : "");
	case COL_YES:
		return xstrdup(json_is_boolean(v) ? (json_is_true(v) ? "yes" : "no") : "");
	case COL_LIST:
		return list_text(v);
	case COL_COUNT:
		return json_is_array(v) ? xasprintf("%zu", json_array_size(v)) : plain_text(v);
	case COL_BYTES:
		return json_is_integer(v) ? xasprintf("%lld B", (long long)json_integer_value(v))
					  : xstrdup("");
	default:
		return plain_text(v);
	}
}

/* libsmartcols escapes control characters itself, but lets pass what reorders the text. */
static void
blot_overrides(char *text)
{
	for (char *p = text; *p; p++)
		if (!strncmp(p, "\xe2\x80", 2) || !strncmp(p, "\xe2\x81", 2))
			if (!plain_len((unsigned char *)p, strlen(p)) && p[2])
				memcpy(p, "\xef\xbf\xbd", 3);
}

void
print_table(struct cli *c, const json_t *items, const struct column *cols)
{
	struct libscols_table *t;
	const json_t *o;
	size_t i;

	if (c->is_json) {
		print_json(items);
		return;
	}
	if (!json_array_size(items)) {
		fputs("none\n", stderr);
		return;
	}
	scols_init_debug(0);
	t = scols_new_table();
	scols_table_enable_ascii(t, 1);
	for (const struct column *k = cols; k->head; k++)
		scols_table_new_column(t, k->head, 0,
		    k->kind == COL_DURATION || k->kind == COL_COUNT || k->kind == COL_BYTES
			? SCOLS_FL_RIGHT
			: 0);
	json_array_foreach(items, i, o)
	{
		struct libscols_line *line = scols_table_new_line(t, NULL);
		const char *state = json_get_str(o, "state", NULL), *sgr = color_of_state(c, state);

		if (*sgr)
			scols_line_set_color(line, sgr);
		for (size_t k = 0; cols[k].head; k++) {
			_cleanup_free_ char *text = cell_text(o, &cols[k]);

			blot_overrides(text);
			scols_line_set_data(line, k, text);
		}
	}
	if (c->has_color)
		scols_table_enable_colors(t, 1);
	scols_print_table(t);
	scols_unref_table(t);
}

void
print_object(struct cli *c, const json_t *o, const struct column *cols)
{
	int width = 0;

	if (c->is_json) {
		print_json(o);
		return;
	}
	for (const struct column *k = cols; k->head; k++)
		if ((int)strlen(k->head) > width)
			width = (int)strlen(k->head);
	for (const struct column *k = cols; k->head; k++) {
		_cleanup_free_ char *text = cell_text(o, k);

		if (!*text)
			continue;
		printf("%-*s  ", width, k->head);
		print_escaped(stdout, text, strlen(text));
		putchar('\n');
	}
}

const char *
color_of_state(const struct cli *c, const char *state)
{
	if (!c->has_color || !state)
		return "";
	if (strcmp(state, "completed") == 0 || strcmp(state, "passed") == 0)
		return "\033[32m";
	if (strcmp(state, "failed") == 0 || strcmp(state, "timed_out") == 0)
		return "\033[31m";
	if (strcmp(state, "running") == 0)
		return "\033[36m";
	return "";
}

const char *
color_off(const struct cli *c)
{
	return c->has_color ? "\033[0m" : "";
}
