// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Layout: dimensions, has-null flag, element type, length, lower bound, then length-prefixed elements. */
#include "daemon/store/pgarray.h"

#include <endian.h>
#include <string.h>

#include "base/banned.h"

/* Type numbers of PostgreSQL's catalogue; they never change. */
#define OID_BYTEA 17
#define OID_INT8 20
#define OID_INT4 23
#define OID_TEXT 25
#define OID_UUID 2950

static void
add_u32(struct buf *b, uint32_t v)
{
	uint32_t be = htobe32(v);

	buf_add(b, &be, sizeof(be));
}

/* The length stands behind dimensions, flag and type. */
#define LENGTH_AT 12

static void
element(struct pgarray *a, uint32_t oid, const void *p, size_t n)
{
	if (a->bytes.n == 0) {
		add_u32(&a->bytes, 1);
		add_u32(&a->bytes, 0);
		add_u32(&a->bytes, oid);
		add_u32(&a->bytes, (uint32_t)a->length);
		add_u32(&a->bytes, 1);
	}
	if (a->is_open) {
		uint32_t be = htobe32((uint32_t)++a->length);
		memcpy(a->bytes.p + LENGTH_AT, &be, sizeof(be));
	}
	add_u32(&a->bytes, p ? (uint32_t)n : UINT32_MAX);
	buf_add(&a->bytes, p, n);
}

void
pgarray_begin(struct pgarray *arrays, size_t n, size_t length)
{
	for (size_t i = 0; i < n; i++)
		arrays[i] = (struct pgarray){.length = length, .is_open = length == 0};
}

static unsigned
hex_value(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

void
pgarray_uuid(struct pgarray *a, const char *uuid)
{
	uint8_t bytes[16] = {0};
	unsigned n = 0;

	for (const char *p = uuid; *p && n < 32; p++) {
		if (*p == '-')
			continue;
		bytes[n / 2] = (uint8_t)(bytes[n / 2] << 4 | hex_value(*p));
		n++;
	}
	element(a, OID_UUID, bytes, sizeof(bytes));
}

void
pgarray_int4(struct pgarray *a, int32_t value)
{
	uint32_t be = htobe32((uint32_t)value);

	element(a, OID_INT4, &be, sizeof(be));
}

void
pgarray_int8(struct pgarray *a, int64_t value)
{
	uint64_t be = htobe64((uint64_t)value);

	element(a, OID_INT8, &be, sizeof(be));
}

void
pgarray_bytea(struct pgarray *a, const void *p, size_t n)
{
	element(a, OID_BYTEA, p ? p : "", n);
}

void
pgarray_text(struct pgarray *a, const char *s)
{
	element(a, OID_TEXT, s, s ? strlen(s) : 0);
}

void
pgarray_int4_null(struct pgarray *a)
{
	element(a, OID_INT4, NULL, 0);
}

void
pgarray_int8_null(struct pgarray *a)
{
	element(a, OID_INT8, NULL, 0);
}

void
pgarray_end(struct pgarray *arrays, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_fini(&arrays[i].bytes);
}
