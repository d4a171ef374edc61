// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See frame.h: encoding and decoding, without any descriptor. */
#include "frame/frame.h"

#include <endian.h>
#include <string.h>

#include "base/jsonx.h"

#include "base/banned.h"

/* What a frame may hold: a body of one packet. */
static const struct json_limits limits = {.size_b = FRAME_MAX, .depth = 32, .tokens = 30000};

static void
put16(unsigned char *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static void
put32(unsigned char *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static void
put64(unsigned char *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

static uint16_t
get16(const unsigned char *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static uint32_t
get32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t
get64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

const char *
frame_str(const struct frame *f, const char *name, const char *dflt)
{
	return f->json ? json_get_str(f->json, name, dflt) : jflat_str(&f->flat, name, dflt);
}

int64_t
frame_int(const struct frame *f, const char *name, int64_t dflt)
{
	return f->json ? json_get_int(f->json, name, dflt) : jflat_int(&f->flat, name, dflt);
}

void
frame_fini(struct frame *f)
{
	json_decref(f->json);
	*f = (struct frame){0};
}

const char *
frame_type_name(unsigned type)
{
	switch (type) {
#define FRAME(name, number) \
	case number:        \
		return #name;
#include "frame/frame_types.def"
#undef FRAME
	}
	return NULL;
}

int
frame_encode(struct buf *out, enum frame_type type, uint64_t off, const json_t *json,
    const void *blob, size_t blob_n, struct err *e)
{
	_cleanup_free_ char *text = json ? json_text(json) : xstrdup("{}");

	return frame_encode_text(out, type, off, text, strlen(text), blob, blob_n, e);
}

int
frame_encode_text(struct buf *out, enum frame_type type, uint64_t off, const char *text,
    size_t json_n, const void *blob, size_t blob_n, struct err *e)
{
	size_t body = 4 + json_n + blob_n;
	unsigned char head[FRAME_HEADER + 4];

	if (json_n > FRAME_MAX || blob_n > FRAME_MAX || FRAME_HEADER + body > FRAME_MAX)
		return err_set(e, ERR_TOO_BIG,
		    "%s frame has %zu bytes of JSON and %zu bytes of blob, "
		    "%u in all is the limit",
		    frame_type_name(type), json_n, blob_n, FRAME_MAX);
	put32(head, (uint32_t)body);
	put16(head + 4, (uint16_t)type);
	put16(head + 6, FRAME_VERSION);
	put64(head + 8, off);
	put32(head + 16, (uint32_t)json_n);
	buf_reserve(out, FRAME_HEADER + body);
	buf_add(out, head, sizeof(head));
	buf_add(out, text, json_n);
	if (blob_n)
		buf_add(out, blob, blob_n);
	return 0;
}

/* Frequent, small, and read by frame_str() and frame_int() only. */
static bool
is_often_flat(unsigned type)
{
	switch (type) {
	case FRAME_START:
	case FRAME_ACK:
	case FRAME_JOURNAL:
	case FRAME_RESULT:
	case FRAME_J_STARTED:
	case FRAME_J_OUTPUT:
	case FRAME_J_OUTPUT_CUT:
	case FRAME_J_PROGRESS:
	case FRAME_J_RESULT:
		return true;
	}
	return false;
}

static int
decode_json(const char *p, size_t n, struct frame *out, struct err *e)
{
	_cleanup_json_ json_t *json = json_parse(p, n, &limits, e);

	if (!json)
		return err_push(e, "frame JSON");
	if (!json_is_object(json))
		return err_set(e, ERR_INVALID, "frame JSON is not an object");
	out->json = take_ptr(&json);
	return 0;
}

/* The body of a frame: JSON length, JSON object, blob. writable: the same bytes, if they may be
 * changed; NULL: no. */
static int
decode_body(const unsigned char *p, size_t n, char *writable, struct frame *out, struct err *e)
{
	uint32_t json_n;
	int r;

	if (n < 4)
		return err_set(
		    e, ERR_INVALID, "frame body has %zu bytes, at least 4 are needed", n);
	json_n = get32(p);
	if (json_n > n - 4)
		return err_set(
		    e, ERR_INVALID, "frame says %u bytes of JSON, its body has %zu", json_n, n - 4);
	if (!writable || !is_often_flat(out->type) ||
	    !jflat_read(writable + 4, json_n, &out->flat)) {
		r = decode_json((const char *)p + 4, json_n, out, e);
		if (r < 0)
			return r;
	}
	out->blob = p + 4 + json_n;
	out->blob_n = n - 4 - json_n;
	return 0;
}

static int
decode(const void *data, size_t n, char *writable, struct frame *out, struct err *e)
{
	const unsigned char *p = data;
	struct frame f = {0};
	uint32_t body;
	int r;

	if (n < FRAME_HEADER)
		return err_set(e, ERR_TRANSIENT, "frame header needs %u bytes, there are %zu",
		    FRAME_HEADER, n);
	body = get32(p);
	f.type = get16(p + 4);
	f.version = get16(p + 6);
	f.off = get64(p + 8);
	if (f.version != FRAME_VERSION)
		return err_set(
		    e, ERR_INVALID, "frame version %u, this Takt has %u", f.version, FRAME_VERSION);
	if (body < 4 || body > FRAME_MAX - FRAME_HEADER)
		return err_set(e, ERR_INVALID, "frame body of %u bytes, 4 to %u are allowed", body,
		    FRAME_MAX - FRAME_HEADER);
	if (body > n - FRAME_HEADER)
		return err_set(e, ERR_TRANSIENT, "frame body needs %u bytes, there are %zu", body,
		    n - FRAME_HEADER);
	r = decode_body(p + FRAME_HEADER, body, writable ? writable + FRAME_HEADER : NULL, &f, e);
	if (r < 0)
		return r;
	f.size = FRAME_HEADER + body;
	*out = f;
	return 0;
}

int
frame_decode(const void *p, size_t n, struct frame *out, struct err *e)
{
	return decode(p, n, NULL, out, e);
}

int
frame_decode_flat(void *p, size_t n, struct frame *out, struct err *e)
{
	return decode(p, n, p, out, e);
}

static int
unwrap(const struct frame *outer, char *writable, struct frame *inner, struct err *e)
{
	struct frame f = {0};
	int r;

	f.type =
	    outer->type == FRAME_RESULT ? FRAME_J_RESULT : (uint16_t)frame_int(outer, "type", 0);
	f.version = FRAME_VERSION;
	f.off = outer->off;
	r = decode_body(outer->blob, outer->blob_n, writable, &f, e);
	if (r < 0)
		return r;
	f.size = FRAME_HEADER + outer->blob_n;
	*inner = f;
	return 0;
}

int
frame_unwrap(const struct frame *outer, struct frame *inner, struct err *e)
{
	return unwrap(outer, NULL, inner, e);
}

int
frame_unwrap_flat(const struct frame *outer, struct frame *inner, struct err *e)
{
	return unwrap(outer, (char *)(uintptr_t)outer->blob, inner, e);
}
