// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A reader for small JSON objects as our own programs write them: no white space, names and strings
 * of plain ASCII without escapes, integers, true, false, null, {} and []. Nothing is allocated.
 * What is beyond that is not an error, it is json_parse()'s business: the reader takes no text that
 * json_parse() would refuse.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JFLAT_MAX 16

enum jflat_kind { JFLAT_STR, JFLAT_INT, JFLAT_OBJECT, JFLAT_OTHER };

struct jflat_member {
	const char *name, *text; /* NUL-terminated; text of a string only */
	enum jflat_kind kind;
	int64_t value; /* of an integer */
};

struct jflat {
	struct jflat_member members[JFLAT_MAX];
	unsigned n;
};

/*
 * True: the n bytes at p were taken; their closing quotes have become NULs, and the members point
 * into them. False: p is untouched, *out is empty.
 */
bool jflat_read(char *p, size_t n, struct jflat *out);
/* Wrong kinds count as absent. */
const char *jflat_str(const struct jflat *, const char *name, const char *dflt);
int64_t jflat_int(const struct jflat *, const char *name, int64_t dflt);
/* It is there and is {}. */
bool jflat_is_object(const struct jflat *, const char *name);
