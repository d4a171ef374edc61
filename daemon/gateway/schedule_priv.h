// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Shared by schedule_def.c (reading), schedule_patch.c and schedule_plan.c: the two places in which
 * a document may say something, the spellings of a time as a table, and the settings as a table.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#include "when/when.h"

/* A document; object is its `schedule` if that is an object. */
struct schedule_doc {
	const json_t *flat, *object;
};

/* What a document says under a name; value NULL: nothing. */
struct schedule_said {
	const json_t *value;
	const char *name;
	bool is_flat;
};

/* A member that says when; `with` is the one that says the rest of it, on which days or at what
 * time: joined by a blank both are a text for when_text(). */
struct schedule_spelling {
	const char *member, *with;
	int kind;             /* enum when_kind; SCHEDULE_KIND_SAID: by the member `kind` */
	const char *list_sep; /* an array of texts is taken, joined by this; NULL: only a text */
	bool needs_with;
};

#define SCHEDULE_KIND_SAID (-1)

enum schedule_sort {
	SCHEDULE_ZONE,
	SCHEDULE_CHOICE,
	SCHEDULE_INSTANT,
	SCHEDULE_CALENDARS,
	SCHEDULE_NUMBER
};

struct schedule_setting {
	const char *name, *alias; /* alias: EasyTask's name; NULL: none */
	enum schedule_sort sort;
	const char *const *choices; /* in the order of their enum; the first is the default */
	int64_t min, max, dflt;     /* dflt < min: null */
};

enum schedule_setting_id {
	SET_TIMEZONE,
	SET_DST_GAP,
	SET_DST_FOLD,
	SET_FROM,
	SET_UNTIL,
	SET_INCLUDE,
	SET_EXCLUDE,
	SET_ON_HIT,
	SET_CATCH_UP,
	SET_CATCH_UP_LIMIT,
	SET_CATCH_UP_DEADLINE,
	SET_JITTER,
	SET_START_DEADLINE,
	SCHEDULE_SETTINGS
};

/* Ends with a row without member. */
extern const struct schedule_spelling schedule_spellings[];
extern const struct schedule_setting schedule_settings[SCHEDULE_SETTINGS];

/* The settings as lib/when wants them, calendars left out. */
int schedule_setting_when(const json_t *normal, struct when_setting *out, struct err *e);
