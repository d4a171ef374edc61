// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The error record: caller-owned, fixed size, never allocates. Filled once, at the lowest level
 * that understands the failure; upper levels add context with err_push().
 *
 * Fallible functions return 0 or a negative code (enum err_code, negated) and take
 * `struct err *e` last; e may be NULL. On failure their outputs are untouched.
 */
#pragma once

#include "base/cleanup.h"

enum err_code {
	ERR_NONE = 0,
	ERR_INVALID,   /* bad input: field, value and remedy are in the record (HTTP 400/422) */
	ERR_NOT_FOUND, /* HTTP 404 */
	ERR_CONFLICT,  /* HTTP 409 */
	ERR_DENIED,    /* HTTP 403 */
	ERR_TOO_BIG,   /* a size, depth or count limit (HTTP 413) */
	ERR_TRANSIENT, /* try again later */
	ERR_SYSTEM,    /* an operating system call failed; sys_errno is set */
	ERR_NOMEM,
	ERR_BUG, /* an invariant of ours is broken */
};

struct err {
	enum err_code code;
	int sys_errno;
	char field[96];    /* JSON pointer, option or field name; "" if none */
	char message[320]; /* primary: lower case, no full stop, names the value */
	char hint[320];    /* the remedy, a sentence; "" if none */
};

#define ERR_INIT  \
	{         \
		0 \
	}

/* Fill *e (when not NULL) and return -code. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) _printf_(3, 4);
/* The same with errno appended and kept; code ERR_SYSTEM. */
int err_sys(struct err *e, const char *fmt, ...) _printf_(2, 3);
/* Add to an error already set; each returns -e->code (or -ERR_BUG when e is NULL). */
int err_field(struct err *e, const char *fmt, ...) _printf_(2, 3);
int err_hint(struct err *e, const char *fmt, ...) _printf_(2, 3);
/* Put "context: " in front of the message. */
int err_push(struct err *e, const char *fmt, ...) _printf_(2, 3);
/* One line for people: "field: message (hint)". Returns buf. */
const char *err_text(const struct err *e, char *buf, size_t n);
