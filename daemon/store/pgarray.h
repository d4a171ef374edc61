// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Arrays in PostgreSQL's binary format: nothing is written out as text and parsed again. Several
 * arrays of one length are built side by side, a row at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct pgarray {
	struct buf bytes;
	size_t length; /* elements, the same for all */
	bool is_open;  /* the length is what was added so far */
};

/* n arrays of `length` elements each (at least one); every element must then be added. 0: as many as are added, and
 * one to which none was is sent as null. */
void pgarray_begin(struct pgarray *arrays, size_t n, size_t length);
void pgarray_uuid(struct pgarray *, const char *uuid);
void pgarray_int4(struct pgarray *, int32_t value);
void pgarray_int8(struct pgarray *, int64_t value);
void pgarray_bytea(struct pgarray *, const void *p, size_t n);
/* text[]; NULL is null. */
void pgarray_text(struct pgarray *, const char *s);
/* A null of an array of int4, of int8. */
void pgarray_int4_null(struct pgarray *);
void pgarray_int8_null(struct pgarray *);
void pgarray_end(struct pgarray *arrays, size_t n);
