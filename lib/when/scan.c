// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See scan.h. */
#include "when/scan.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/banned.h"

#define SHOWN_CHARS 36

const char *
scan_shown(const char *p, const char *end, char buf[64])
{
	size_t n = 0;

	for (int i = 0; p < end && i < SHOWN_CHARS && n < 56; p++, i++)
		n += (size_t)snprintf(buf + n, 64 - n,
		    isprint((unsigned char)*p) ? "%c" : "\\x%02x", (unsigned char)*p);
	if (p < end)
		n += (size_t)snprintf(buf + n, 64 - n, "...");
	buf[n] = 0;
	return buf;
}

int
scan_bad(const struct scan *s, const char *p, const char *end, const char *field, const char *why,
    const char *legal)
{
	char buf[64];

	err_set(s->e, ERR_INVALID, "'%s' at position %d (%s) %s", scan_shown(p, end, buf),
	    (int)(p - s->text) + 1, field, why);
	err_field(s->e, "%s", field);
	err_hint(s->e, "%s", legal);
	return -ERR_INVALID;
}

int
scan_unexpected(const struct scan *s, const char *field, const char *expected, const char *legal)
{
	const char *end = s->p + strcspn(s->p, " \t,");
	char why[128];

	if (!*s->p) {
		err_set(s->e, ERR_INVALID, "%s is missing at position %d (%s)", expected,
		    (int)(s->p - s->text) + 1, field);
		err_field(s->e, "%s", field);
		err_hint(s->e, "%s", legal);
		return -ERR_INVALID;
	}
	snprintf(why, sizeof(why), "is not %s", expected);
	return scan_bad(s, s->p, end > s->p ? end : s->p + 1, field, why, legal);
}

void
scan_blanks(struct scan *s)
{
	s->p += strspn(s->p, " \t");
}

bool
scan_char(struct scan *s, char c)
{
	if (*s->p != c)
		return false;
	s->p++;
	return true;
}

bool
scan_at_end(const struct scan *s)
{
	return !*s->p;
}

bool
scan_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);

	if (strncasecmp(s->p, word, n) != 0 || isalnum((unsigned char)s->p[n]))
		return false;
	s->p += n;
	return true;
}

int
scan_word_of(struct scan *s, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (scan_word(s, words[i]))
			return i;
	return -1;
}

int
scan_number(struct scan *s, int max_digits)
{
	int n = 0, v = 0;

	while (n <= max_digits && isdigit((unsigned char)s->p[n]))
		n++;
	if (!n || n > max_digits)
		return -1;
	for (int i = 0; i < n; i++)
		v = v * 10 + (s->p[i] - '0');
	s->p += n;
	return v;
}
