// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Hooks of calendars: a body's days or its iCalendar text to sorted days with reasons, taken whole
 * or refused whole; dates in paths and queries. The statement stores {days, digest, source, report,
 * title}; by the digest it knows that nothing has changed.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonx.h"

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/request.h"
#include "when/calendar.h"
#include "when/civil.h"
#include "when/ical.h"
#include "when/stamp.h"

#include "base/banned.h"

extern const struct hook hook_calendar_put, hook_calendar_dates;

static const char bad_date_hint[] = "A day is written 2026-12-25, from 1970-01-01 to 2100-12-31.";

/* "2026-12-25", a day that there is. */
static bool
read_date(const char *s, int64_t *day)
{
	char text[40], back[32];
	int64_t utc;

	if (strlen(s) != 10)
		return false;
	snprintf(text, sizeof(text), "%sT00:00:00Z", s);
	if (when_parse_rfc3339(text, &utc, NULL, NULL) < 0)
		return false;
	*day = floor_div(utc, DAY_S);
	when_format_rfc3339(utc, back);
	return strncmp(back, s, 10) == 0 && *day >= ICAL_FIRST_DAY && *day <= ICAL_LAST_DAY;
}

static int
bad_date(struct err *e, const char *text)
{
	err_set(e, ERR_INVALID, "\"%.40s\" is no day", text);
	return err_hint(e, "%s", bad_date_hint);
}

/* --- a list of days --- */

struct day_row {
	int64_t day;
	size_t place; /* in the body: of a day that is there twice the first reason counts */
	const char *reason;
};

struct day_rows {
	size_t n;
	struct day_row *rows;
};

static void
day_rows_fini(struct day_rows *d)
{
	free(d->rows);
}

static int
add_day(struct day_rows *d, int64_t day, const char *reason, struct err *e)
{
	if (d->n == ICAL_DAYS_MAX) {
		err_set(e, ERR_INVALID, "more than %d days", ICAL_DAYS_MAX);
		return err_hint(e, "Split them into several calendars.");
	}
	if (!d->rows)
		d->rows = xcalloc(ICAL_DAYS_MAX, sizeof(*d->rows));
	d->rows[d->n] = (struct day_row){day, d->n, reason};
	d->n++;
	return 0;
}

static int
bad_range(struct err *e, size_t i, const char *why)
{
	err_set(e, ERR_INVALID, "%s", why);
	err_field(e, "/days/%zu", i);
	return err_hint(e, "{\"date\": \"2026-12-25\", \"reason\": \"Christmas Day\"}, or from and "
			   "to (inclusive) for several days.");
}

static int
read_day(const json_t *item, size_t i, struct day_rows *out, struct err *e)
{
	const char *date = json_get_str(item, "date", NULL),
		   *from = json_get_str(item, "from", NULL), *to = json_get_str(item, "to", NULL);
	const char *reason = json_get_str(item, "reason", "");
	int64_t first, last;

	if (date ? from || to : !from || !to)
		return bad_range(e, i, "a day has either date, or from and to");
	if (!read_date(date ? date : from, &first)) {
		bad_date(e, date ? date : from);
		return err_field(e, "/days/%zu/%s", i, date ? "date" : "from");
	}
	last = first;
	if (to && !read_date(to, &last)) {
		bad_date(e, to);
		return err_field(e, "/days/%zu/to", i);
	}
	if (last < first)
		return bad_range(e, i, "to is before from");
	for (int64_t day = first; day <= last; day++)
		if (add_day(out, day, reason, e) < 0)
			return err_field(e, "/days/%zu", i);
	return 0;
}

static int
by_day(const void *a, const void *b)
{
	const struct day_row *x = a, *y = b;

	if (x->day != y->day)
		return x->day < y->day ? -1 : 1;
	return x->place < y->place ? -1 : x->place > y->place;
}

/* --- what is stored --- */

static json_t *
day_json(int64_t day, const char *reason)
{
	char buf[32];

	when_format_rfc3339(day * DAY_S, buf);
	buf[strcspn(buf, "T")] = '\0';
	return json_pack("[s, s]", buf, reason);
}

static void
set_prepared(struct request *r, json_t *days, const char *source, json_t *report)
{
	_cleanup_free_ char *text = json_text(days);
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(hash) + 1];

	crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	r->prepared = json_pack("{s:O, s:s, s:s, s:o, s:O?}", "days", days, "digest", hex, "source",
	    source, "report", report, "title", json_object_get(r->body, "title"));
	if (!json_object_get(r->body, "title"))
		json_object_del(r->prepared, "title");
}

static int
prepare_days(struct request *r, const json_t *given, struct err *e)
{
	_cleanup_(day_rows_fini) struct day_rows rows = {0};
	_cleanup_json_ json_t *days = json_array();
	size_t i;
	json_t *item;

	json_array_foreach(given, i, item)
	{
		if (read_day(item, i, &rows, e) < 0)
			return -ERR_INVALID;
	}
	if (rows.n)
		qsort(rows.rows, rows.n, sizeof(*rows.rows), by_day);
	for (i = 0; i < rows.n; i++)
		if (!i || rows.rows[i].day != rows.rows[i - 1].day)
			json_array_append_new(
			    days, day_json(rows.rows[i].day, rows.rows[i].reason));
	set_prepared(r, days, "days", json_pack("{s:i}", "days", (int)json_array_size(days)));
	return 0;
}

static json_t *
report_json(const struct ical_report *report)
{
	json_t *notes = json_array();

	for (int i = 0; i < report->notes_n; i++)
		json_array_append_new(notes, json_pack("{s:i, s:s}", "line", report->notes[i].line,
						 "text", report->notes[i].text));
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:o}", "name", report->name,
	    "components", report->components, "events", report->events, "occurrences",
	    report->occurrences, "days", report->days, "outside", report->outside, "ignored",
	    report->ignored, "notes", notes);
}

/* Without a title of its own the calendar gets the file's. */
static int
prepare_ical(struct request *r, const char *text, struct err *e)
{
	_cleanup_(calendar_days_fini) struct calendar_days found = {0};
	_cleanup_json_ json_t *days = json_array();
	struct ical_report report;
	struct err inner = ERR_INIT;

	if (ical_read(text, strlen(text), ICAL_FIRST_DAY, ICAL_LAST_DAY, NULL, &found, &report,
		&inner) < 0) {
		err_set(
		    e, ERR_INVALID, "%s%s%s", inner.field, *inner.field ? ": " : "", inner.message);
		err_field(e, "/ical");
		return err_hint(e, "%s",
		    *inner.hint ? inner.hint
				: "Nothing was changed. `takt calendar check FILE` shows what is "
				  "in a file.");
	}
	for (size_t i = 0; i < found.n; i++)
		json_array_append_new(days, day_json(found.days[i], found.reasons[i]));
	set_prepared(r, days, "ical", report_json(&report));
	if (*report.name && !json_object_get(r->body, "title"))
		json_object_set_new(r->prepared, "title", json_string(report.name));
	return 0;
}

static int
prepare_put(struct request *r, struct err *e)
{
	const json_t *days = json_object_get(r->body, "days");
	const char *ical = json_get_str(r->body, "ical", NULL);

	if (!days == !ical) {
		err_set(e, ERR_INVALID,
		    days ? "days and ical exclude each other" : "days or ical is needed");
		err_field(e, days ? "/ical" : "/days");
		return err_hint(e, "days is a list of {date, reason}, ical the text of an "
				   "iCalendar file.");
	}
	return ical ? prepare_ical(r, ical, e) : prepare_days(r, days, e);
}

static int
check_date(const json_t *from, const char *name, struct err *e)
{
	const char *text = json_get_str(from, name, NULL);
	int64_t day;

	if (!text || read_date(text, &day))
		return 0;
	bad_date(e, text);
	return err_field(e, "/%s", name);
}

/* The contract's pattern lets 31 February pass. */
static int
prepare_dates(struct request *r, struct err *e)
{
	int rc = check_date(r->path, "date", e);

	if (rc == 0)
		rc = check_date(r->query, "from", e);
	return rc < 0 ? rc : check_date(r->query, "to", e);
}

const struct hook hook_calendar_put = {prepare_put, NULL};
const struct hook hook_calendar_dates = {prepare_dates, NULL};
