// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Between when.c, when_calendar.c and when_mark.c. */
#pragma once

#include "when/every.h"
#include "when/ordinal.h"
#include "when/times.h"
#include "when/when.h"
#include "when/window.h"

struct rrule;

struct when {
	enum when_kind kind; /* as asked for; `@every 90s` is of kind cron and runs as every */
	const struct when_ops *ops;
	struct when_setting set;
	union {
		struct cron cron;
		struct every every;
		struct times times;
		struct window window;
		struct ordinal ordinal;
		struct rrule *rrule;
		int64_t once;
	};
	struct when_occurrence single; /* of once: when it runs, after calendars */
	bool has_single;
};

/*
 * What a kind is made of. Kinds of local times have next_local: the first one in [from, end) as the
 * expression has them, no calendar asked; INT64_MAX if none. Kinds of instants have next_instant:
 * the first >= from.
 */
struct when_ops {
	int (*parse)(struct when *w, const char *text, struct err *e);
	/* Spellings that only when_text() takes; NULL: the same. */
	int (*parse_given)(struct when *w, const char *text, struct err *e);
	void (*print)(const struct when *w, const char *text, struct buf *out);
	int64_t (*next_local)(const struct when *w, int64_t from, int64_t end);
	bool (*next_instant)(const struct when *w, int64_t from, int64_t *utc);
};

/* The expression's own local times: no calendar asked. arg is the struct when. */
bool when_nominal(const void *arg, int64_t from, int64_t end, struct local_time *out);
/* The same after calendars: what runs. */
bool when_after_calendars(const void *arg, int64_t from, int64_t end, struct local_time *out);
/* The source that local_next() and its like want. */
struct local_source when_source(const struct when *w, bool with_calendars);

bool when_has_calendar(const struct when_setting *set);
/* Do the calendars rule the day out? *reason (may be NULL) is why. */
bool when_is_hit(const struct when_setting *set, int64_t day, const char **reason);
/* Where an occurrence on a day that is a hit goes; false: nowhere, it is skipped. */
bool when_moved_day(const struct when_setting *set, int64_t day, int64_t *to);
/* Nothing runs after this day, because the include calendar ends with it. */
int64_t when_last_day(const struct when_setting *set);

/* What the clock of the schedule's zone shows at an instant. */
int64_t when_local_s(const struct when *w, int64_t utc);
/* What becomes of an instant of every or once; false: skipped, *reason says why. */
bool when_instant(
    const struct when *w, int64_t utc, struct when_occurrence *out, const char **reason);
