// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Shared by the files of lib/schema: keyword table, one check in progress, texts and patterns. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/schema.h"

#define SCHEMA_DEPTH_MAX 128
#define SCHEMA_WORK_MAX 2000000
#define SCHEMA_PATTERN_MAX 256
/* Longer texts are not matched against patterns but refused. */
#define SCHEMA_TEXT_MAX 4096

/* A place in a document: a chain on the stack, written out only when there is an error. */
struct place {
	const struct place *up;
	const char *key; /* NULL: index counts */
	size_t index;
};

/* What is common to one call of schema_validate(). */
struct check {
	const json_t *root;
	const char *at;
	unsigned depth;
	uint32_t work;
};

/* One value against one schema. e is NULL while an alternative is only tried. */
struct job {
	struct check *check;
	const json_t *schema;
	const json_t *doc;
	const struct place *place;
	struct err *e;
	bool is_hidden; /* this value, or one it is part of, is a secret */
};

/* What a keyword's value must look like. */
enum keyword_kind {
	KIND_ANNOTATION,
	KIND_SCHEMA,
	KIND_SCHEMA_LIST,
	KIND_SCHEMA_MAP,
	KIND_COUNT,
	KIND_NUMBER,
	KIND_MULTIPLE,
	KIND_BOOL,
	KIND_NAMES,
	KIND_TYPE,
	KIND_ENUM,
	KIND_PATTERN,
	KIND_FORMAT,
	KIND_REF,
};

struct keyword {
	const char *name;
	enum keyword_kind kind;
	/* 0, -ERR_INVALID if the value does not fit, another code if the check itself ended. */
	int (*rule)(struct job *j, const json_t *arg);
};

/* In the order in which they are applied; ends with a NULL name. */
extern const struct keyword schema_keywords[];

/* schema.c */
int job_run(struct job *j);
int job_charge(struct job *j);
/* The doc of j against another schema; quiet: e is not filled. */
int job_same(struct job *j, const json_t *schema, struct err *e);
int job_member(struct job *j, const json_t *schema, const char *key, const json_t *value);
int job_item(struct job *j, const json_t *schema, size_t index, const json_t *value);
/* Fill the error, its field the place: "<value> <fmt>" or the text alone. Return -ERR_INVALID. */
int job_fail(struct job *j, const char *fmt, ...) _printf_(2, 3);
int job_fail_plain(struct job *j, const char *fmt, ...) _printf_(2, 3);
/* 1 equal, 0 not, negative: the check itself ended. Numbers compare by value, not by form. */
int job_equal(struct job *j, const json_t *a, const json_t *b);
/* The schema that a local reference ("#", "#/definitions/x") names; NULL if none. */
const json_t *schema_resolve(const json_t *root, const char *ref);

/* schema_text.c */
#define SHOWN_MAX 100
/* The value for people, cut to fit; containers only by their kind. */
const char *schema_show(const json_t *v, char buf[SHOWN_MAX]);
#define CUT_MAX 256
/* At most max (< CUT_MAX) bytes of s, cut between characters: errors end up in JSON. */
const char *schema_cut(const char *s, size_t max, char buf[CUT_MAX]);
size_t schema_characters(const char *utf8);
int pattern_check(const char *pattern, struct err *e);
/* 1 matches, 0 not, negative: -ERR_TOO_BIG. */
int pattern_matches(const char *pattern, const char *text);
typedef bool format_fn(const char *text);
format_fn *format_find(const char *name);
const char *format_names(void);
