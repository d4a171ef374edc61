// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See jtext.h. */
#include "base/jtext.h"

#include <string.h>

#include "base/jsonx.h"

#include "base/banned.h"

static void
begin(struct buf *b, const char *key)
{
	if (b->n > 0 && b->p[b->n - 1] != '{' && b->p[b->n - 1] != '[')
		buf_addc(b, ',');
	if (!key)
		return;
	buf_addc(b, '"');
	buf_adds(b, key);
	buf_add(b, "\":", 2);
}

void
jtext_open(struct buf *b, const char *key, char bracket)
{
	begin(b, key);
	buf_addc(b, bracket);
}

void
jtext_close(struct buf *b, char bracket)
{
	buf_addc(b, bracket);
}

static bool
is_tail(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return false;
	return true;
}

/* Bytes of the UTF-8 character at p (not ASCII; the text ends with a NUL); 0: none. */
static size_t
utf8_length(const unsigned char *p)
{
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return is_tail(p + 1, 1) ? 2 : 0;
	if (p[0] >= 0xe0 && p[0] <= 0xef) {
		bool is_long = p[0] == 0xe0 && p[1] < 0xa0;
		bool is_surrogate = p[0] == 0xed && p[1] > 0x9f;
		return is_tail(p + 1, 2) && !is_long && !is_surrogate ? 3 : 0;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		bool is_long = p[0] == 0xf0 && p[1] < 0x90;
		bool is_beyond = p[0] == 0xf4 && p[1] > 0x8f;
		return is_tail(p + 1, 3) && !is_long && !is_beyond ? 4 : 0;
	}
	return 0;
}

static bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* What is not plain: the character at p; returns its bytes. */
static size_t
add_special(struct buf *b, const unsigned char *p)
{
	static const char short_of[0x20] = {
	    ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
	size_t n;

	if (*p >= 0x80) {
		n = utf8_length(p);
		buf_add(b, p, n);
		return n ? n : 1;
	}
	if (*p >= 0x20 || short_of[*p]) {
		buf_addc(b, '\\');
		buf_addc(b, *p >= 0x20 ? (char)*p : short_of[*p]);
	} else {
		buf_addf(b, "\\u%04x", *p);
	}
	return 1;
}

void
jtext_str(struct buf *b, const char *key, const char *value)
{
	const unsigned char *p = (const unsigned char *)value;

	begin(b, key);
	buf_addc(b, '"');
	while (*p) {
		size_t n = 0;
		while (is_plain(p[n]))
			n++;
		buf_add(b, p, n);
		p += n;
		if (*p)
			p += add_special(b, p);
	}
	buf_addc(b, '"');
}

void
jtext_str_if(struct buf *b, const char *key, const char *value)
{
	if (value && *value)
		jtext_str(b, key, value);
}

void
jtext_int(struct buf *b, const char *key, int64_t value)
{
	begin(b, key);
	buf_addi(b, value);
}

void
jtext_bool(struct buf *b, const char *key, bool value)
{
	jtext_raw(b, key, value ? "true" : "false");
}

void
jtext_raw(struct buf *b, const char *key, const char *text)
{
	begin(b, key);
	buf_adds(b, text);
}

void
jtext_json(struct buf *b, const char *key, const json_t *value)
{
	_cleanup_free_ char *text = json_text(value);

	jtext_raw(b, key, text);
}
