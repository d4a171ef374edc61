// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/banned.h"

/* A text that was cut must not end inside a UTF-8 character: jansson would refuse it. */
static void
cut_between_characters(char *s, size_t cap)
{
	size_t n = strlen(s), start = n;

	if (n + 1 < cap)
		return;
	while (start && n - start < 3 && (s[start - 1] & 0xc0) == 0x80)
		start--;
	if (start && (s[start - 1] & 0xc0) == 0xc0)
		s[start - 1] = 0;
}

int
err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -(int)code;
	memset(e, 0, sizeof(*e));
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	cut_between_characters(e->message, sizeof(e->message));
	return -(int)code;
}

int
err_sys(struct err *e, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;
	size_t n;

	if (!e)
		return -ERR_SYSTEM;
	memset(e, 0, sizeof(*e));
	e->code = ERR_SYSTEM;
	e->sys_errno = saved;
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	cut_between_characters(e->message, sizeof(e->message));
	n = strlen(e->message);
	snprintf(e->message + n, sizeof(e->message) - n, ": %s", strerror(saved));
	cut_between_characters(e->message, sizeof(e->message));
	return -ERR_SYSTEM;
}

#define FILL(member)                                                  \
	do {                                                          \
		va_list ap;                                           \
		if (!e)                                               \
			return -ERR_BUG;                              \
		va_start(ap, fmt);                                    \
		vsnprintf(e->member, sizeof(e->member), fmt, ap);     \
		va_end(ap);                                           \
		cut_between_characters(e->member, sizeof(e->member)); \
		return -(int)e->code;                                 \
	} while (0)

int
err_field(struct err *e, const char *fmt, ...)
{
	FILL(field);
}

int
err_hint(struct err *e, const char *fmt, ...)
{
	FILL(hint);
}

int
err_push(struct err *e, const char *fmt, ...)
{
	char old[sizeof(e->message)];
	va_list ap;
	size_t n;

	if (!e)
		return -ERR_BUG;
	memcpy(old, e->message, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	cut_between_characters(e->message, sizeof(e->message));
	n = strlen(e->message);
	snprintf(e->message + n, sizeof(e->message) - n, ": %s", old);
	cut_between_characters(e->message, sizeof(e->message));
	return -(int)e->code;
}

const char *
err_text(const struct err *e, char *buf, size_t n)
{
	snprintf(buf, n, "%s%s%s%s%s%s", e->field, e->field[0] ? ": " : "", e->message,
	    e->hint[0] ? " (" : "", e->hint, e->hint[0] ? ")" : "");
	return buf;
}
