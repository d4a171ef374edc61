// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See rrule.h: the lines of a schedule of kind rrule. */
#include "when/rrule.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"

#include "when/civil.h"
#include "when/dates.h"
#include "when/ical_text.h"
#include "when/zone.h"

#include "base/banned.h"

struct rrule {
	struct dates dates;
	char tzid[ZONE_NAME_MAX + 1];
};

/* The lines of interest as they are found; the rule is parsed when DTSTART is known. */
struct lines {
	struct rrule *r;
	bool has_start, is_date;
	int64_t start;
	struct span rule;
	int line;
	struct err *e;
};

static int
refuse(struct lines *l, const char *part, struct span value, const char *legal)
{
	char shown[ICAL_PARAM_MAX + 1];

	err_set(l->e, ERR_INVALID, "'%s' in line %d (%s) is not taken", span_shown(value, shown),
	    l->line, *part ? part : "its name");
	err_field(l->e, "%s", *part ? part : "expression");
	return err_hint(l->e, "Write %s.", legal);
}

/* About no part of its own. */
static int
refuse_whole(struct err *e)
{
	err_field(e, "expression");
	return err_hint(e, "Write lines such as DTSTART:20260105T090000 and "
			   "RRULE:FREQ=WEEKLY;BYDAY=MO, at most 4096 characters.");
}

static int
missing(struct lines *l, const char *part, const char *example)
{
	err_set(l->e, ERR_INVALID, "there is no %s", part);
	err_field(l->e, "%s", part);
	return err_hint(l->e, "Add a line such as %s.", example);
}

static int
take_tzid(struct lines *l, const struct ical_line *line, const char *part)
{
	struct span id;

	if (!ical_param(line, "TZID", &id))
		return 0;
	if (!id.n || id.n > ZONE_NAME_MAX)
		return refuse(l, part, id, "a TZID of 1 to 64 characters");
	if (*l->r->tzid && !span_is(id, l->r->tzid))
		return refuse(l, part, id, "the TZID of the other lines");
	memcpy(l->r->tzid, id.p, id.n);
	l->r->tzid[id.n] = 0;
	return 0;
}

static int
take_stamp(struct lines *l, const char *part, struct span v, struct ical_stamp *s)
{
	if (!ical_stamp_parse(v, s))
		return refuse(l, part, v, "a local time such as 20260105T090000");
	if (s->kind == ICAL_UTC)
		return refuse(
		    l, part, v, "local time: write it without the Z, in the zone of the schedule");
	return 0;
}

static int
take_start(struct lines *l, const struct ical_line *line)
{
	struct ical_stamp s;
	int rc;

	if (l->has_start)
		return refuse(l, "DTSTART", line->value, "it once: another line has it already");
	rc = take_tzid(l, line, "DTSTART");
	if (rc == 0)
		rc = take_stamp(l, "DTSTART", line->value, &s);
	if (rc < 0)
		return rc;
	l->has_start = true;
	l->is_date = s.kind == ICAL_DATE;
	l->start = s.s;
	return 0;
}

static int
take_rule(struct lines *l, const struct ical_line *line)
{
	if (l->rule.p)
		return refuse(l, "RRULE", line->value, "it once: another line has it already");
	l->rule = line->value;
	return 0;
}

static int
take_list(struct lines *l, const struct ical_line *line, const char *part, bool is_less)
{
	struct dates *d = &l->r->dates;
	struct span rest = line->value, item;
	struct ical_stamp s;
	int rc = take_tzid(l, line, part);

	while (rc == 0 && span_cut(&rest, ',', &item)) {
		rc = take_stamp(l, part, item, &s);
		if (rc == 0 && is_less && s.kind == ICAL_DATE)
			moments_add(&d->less_day, floor_div(s.s, DAY_S));
		else if (rc == 0)
			moments_add(is_less ? &d->less : &d->more, s.s);
	}
	return rc;
}

static int
take_line(struct lines *l, const struct ical_line *line)
{
	if (span_is(line->name, "DTSTART"))
		return take_start(l, line);
	if (span_is(line->name, "RRULE"))
		return take_rule(l, line);
	if (span_is(line->name, "RDATE"))
		return take_list(l, line, "RDATE", false);
	if (span_is(line->name, "EXDATE"))
		return take_list(l, line, "EXDATE", true);
	return refuse(l, "", line->name, "one of DTSTART, RRULE, RDATE, EXDATE");
}

static int
read_lines(struct lines *l, const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	struct ical_reader reader = {.p = copy, .n = strlen(copy)};
	struct ical_line line;
	int rc;

	while ((rc = ical_line_next(&reader, &line, l->e)) > 0) {
		l->line = line.number;
		rc = take_line(l, &line);
		if (rc < 0)
			return rc;
	}
	if (rc < 0)
		return refuse_whole(l->e);
	if (!l->has_start)
		return missing(l, "DTSTART", "DTSTART:20260105T090000");
	if (!l->rule.p)
		return missing(l, "RRULE", "RRULE:FREQ=WEEKLY;BYDAY=MO");
	rc = recur_parse(l->rule.p, l->rule.n, l->start, l->is_date, NULL, &l->r->dates.rule, l->e);
	l->r->dates.has_rule = rc == 0;
	return rc;
}

struct rrule *
rrule_new(const char *text, struct err *e)
{
	_cleanup_rrule_ struct rrule *r = NULL;
	struct lines l = {.e = e};

	if (strlen(text) > RRULE_TEXT_MAX) {
		err_set(e, ERR_TOO_BIG, "rrule has %zu characters, %d are taken", strlen(text),
		    RRULE_TEXT_MAX);
		refuse_whole(e);
		return NULL;
	}
	r = l.r = xcalloc(1, sizeof(*r));
	if (read_lines(&l, text) < 0)
		return NULL;
	dates_ready(&r->dates);
	return take_ptr(&r);
}

void
rrule_free(struct rrule *r)
{
	if (!r)
		return;
	dates_fini(&r->dates);
	free(r);
}

const char *
rrule_tzid(const struct rrule *r)
{
	return r->tzid;
}

void
rrule_print(const char *text, struct buf *out)
{
	_cleanup_free_ char *copy = xstrdup(text);
	struct ical_reader reader = {.p = copy, .n = strlen(copy)};
	struct ical_line line;

	for (const char *gap = ""; ical_line_next(&reader, &line, NULL) > 0; gap = "\n") {
		buf_adds(out, gap);
		for (size_t i = 0; i < line.name.n; i++)
			buf_addc(out, (char)toupper((unsigned char)line.name.p[i]));
		buf_addc(out, ':');
		buf_add(out, line.value.p, line.value.n);
	}
}

bool
rrule_next_local(struct rrule *r, int64_t after_local_s, int64_t *local_s)
{
	r->dates.spent_max = r->dates.walk.spent + RECUR_STEPS_MAX;
	return dates_next(&r->dates, after_local_s, local_s);
}

int64_t
rrule_spent(const struct rrule *r)
{
	return r->dates.walk.spent;
}
