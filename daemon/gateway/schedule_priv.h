// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Shared by schedule_def.c (reading), schedule_doc.c, schedule_setting.c, schedule_patch.c and
 * schedule_plan.c: the two places in which a document may say something, the spellings of a time
 * as a table, and the settings as a table.
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

/* --- schedule_doc.c --- */

/* A member; NULL also if it is null. */
const json_t *schedule_member_of(const json_t *object, const char *name);
/* What is said under a name, in either place; in both it must be the same. */
int schedule_find(
    const struct schedule_doc *d, const char *name, struct schedule_said *out, struct err *e);
/* NULL and *e if it is no text. */
const char *schedule_text_of(const struct schedule_said *s, struct err *e);
/* The pointer without its last part. */
const char *schedule_place(const struct schedule_said *s);
/* Add to an error the pointer of what is said, and a remedy. */
int schedule_bad_at(struct err *e, const struct schedule_said *s, const char *hint);
int schedule_bad_twice(struct err *e, const struct schedule_said *a, const struct schedule_said *b);
int schedule_bad_type(struct err *e, const struct schedule_said *s, const char *expected);

/* --- schedule_setting.c --- */

/* Under its own name or its alias. */
int schedule_find_setting(const struct schedule_doc *d, const struct schedule_setting *set,
    struct schedule_said *out, struct err *e);
/* All settings, with their defaults, into out. */
int schedule_read_settings(const struct schedule_doc *d, int64_t now, json_t *out, struct err *e);
/* The settings as lib/when wants them, calendars left out. */
int schedule_setting_when(const json_t *normal, struct when_setting *out, struct err *e);
