// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Between the files of the cron parser: the fields as a table, a field's value, the signs. */
#pragma once

#include <stdint.h>

#include "when/cron.h"
#include "when/scan.h"

enum cron_field {
	FIELD_SECOND, /* may be absent: then the expression starts with the minute */
	FIELD_MINUTE,
	FIELD_HOUR,
	FIELD_DAY_OF_MONTH,
	FIELD_MONTH,
	FIELD_DAY_OF_WEEK,
	FIELD_COUNT
};

struct cron_field_info {
	const char *name;
	int lo, hi;
	int hash_hi; /* H picks up to here */
	const char *const
	    *names;        /* three letters each, the first means lo; NULL if there are none */
	const char *legal; /* a sentence for people */
};

extern const struct cron_field_info cron_fields[FIELD_COUNT];

/* What one field allows; the other four are the days' signs, see struct day_rule. */
struct cron_value {
	uint64_t bits;
	uint32_t from_last, nearest, last_of_week;
	uint64_t nth_of_week;
};

/* One field's text inside the whole expression. */
struct cron_span {
	const char *p, *end;
};

struct cron_parser {
	const struct scan *at; /* for errors */
	const struct cron_field_info *field;
	struct cron_span span;
	const char *hash_key; /* NULL: H is refused */
};

int cron_bad(const struct cron_parser *ps, const char *p, const char *end, const char *why);
/* A number or a name; the end of the token is handed back in *p. */
int cron_take_value(const struct cron_parser *ps, const char **p, const char *end, int *out);
/* The number after a slash at *p, if there is one there; 1 else. */
int cron_take_step(const struct cron_parser *ps, const char **p, const char *end, int *out);

/*
 * A part of a list that is one of the signs H, H(a-b), L, L-n, nW, LW, d#n, dL and ?: 1 if it was
 * and *v has it, 0 if it is none, an error if it is a wrong one.
 */
int cron_sign(const struct cron_parser *ps, const char *p, const char *end, struct cron_value *v);
