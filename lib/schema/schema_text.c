// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Texts: how a value is shown, patterns, formats. Patterns are POSIX extended expressions;
 * pattern_check() lets only those through that mean the same in ECMA 262, which JSON Schema names.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/id.h"

#include "when/stamp.h"

#include "schema/schema_priv.h"

#include "base/banned.h"

#define REPEAT_MAX 255
#define REPEAT_PRODUCT_MAX 10000

size_t
schema_characters(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

const char *
schema_cut(const char *s, size_t max, char buf[CUT_MAX])
{
	size_t n = strnlen(s, max + 1);

	for (n = n > max ? max : n; n && (s[n] & 0xc0) == 0x80;)
		n--;
	memcpy(buf, s, n);
	buf[n] = 0;
	return buf;
}

const char *
schema_show(const json_t *v, char buf[SHOWN_MAX])
{
	_cleanup_free_ char *text = NULL;
	size_t n;

	if (json_is_object(v) || json_is_array(v))
		return json_is_object(v) ? "the object" : "the array";
	text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!text)
		return "the value";
	n = strlen(text);
	if (n > 60) {
		for (n = 56; n && (text[n] & 0xc0) == 0x80;)
			n--;
		snprintf(buf, SHOWN_MAX, "%.*s...", (int)n, text);
	} else {
		snprintf(buf, SHOWN_MAX, "%s", text);
	}
	return buf;
}

static int
bad_pattern(struct err *e, const char *pattern, const char *p, const char *why)
{
	err_set(e, ERR_INVALID, "pattern '%.80s' at character %d: %s", pattern,
	    (int)(p - pattern) + 1, why);
	err_hint(e, "Patterns are POSIX extended expressions without backslash classes: [0-9] for "
		    "\\d, [A-Za-z0-9_] for "
		    "\\w, plain groups and greedy repeats.");
	return -ERR_INVALID;
}

/* "{n}", "{n,}" or "{n,m}" at p: how many characters, 0 if malformed; *max: its largest count. */
static size_t
repeat_length(const char *p, unsigned *max)
{
	unsigned lo, hi;
	int n = 0;

	if (sscanf(p, "{%3u}%n", &lo, &n) == 1 && n > 0)
		hi = lo;
	else if (n = 0, sscanf(p, "{%3u,}%n", &lo, &n) == 1 && n > 0)
		hi = lo;
	else if (n = 0, sscanf(p, "{%3u,%3u}%n", &lo, &hi, &n) != 2 || n <= 0)
		return 0;
	if (!isdigit((unsigned char)p[1]) || hi < lo || hi > REPEAT_MAX)
		return 0;
	*max = hi;
	return (size_t)n;
}

/* The character after the bracket expression at p, or NULL if it is outside of the subset. */
static const char *
skip_brackets(const char *p)
{
	p++;
	if (*p == '^')
		p++;
	if (*p == ']')
		return NULL; /* empty or any in ECMA, a literal in POSIX */
	for (; *p && *p != ']'; p++)
		if (*p == '\\' || (*p == '[' && strchr(".:=", p[1]) && p[1]))
			return NULL;
	return *p ? p + 1 : NULL;
}

/* Everything in which the two dialects differ, or that could blow up. */
static int
check_subset(const char *pattern, struct err *e)
{
	unsigned product = 1, max = 1;
	bool after_repeat = false;

	for (const char *p = pattern; *p;) {
		bool is_repeat = strchr("*+?{", *p) != NULL;

		if (is_repeat && (after_repeat || p == pattern || strchr("(|", p[-1])))
			return bad_pattern(e, pattern, p,
			    p[-1] == '(' ? "special groups are not taken" : "nothing to repeat");
		after_repeat = is_repeat;
		if (*p == '{') {
			size_t n = repeat_length(p, &max);

			product *= max ? max : 1;
			if (!n || product > REPEAT_PRODUCT_MAX)
				return bad_pattern(e, pattern, p,
				    "not a repeat count of at most 255, all together 10,000");
			p += n;
		} else if (*p == '[') {
			const char *next = skip_brackets(p);

			if (!next)
				return bad_pattern(e, pattern, p, "not a plain bracket expression");
			p = next;
		} else if (*p == '\\') {
			if (!p[1] || !ispunct((unsigned char)p[1]) || strchr("<>`'", p[1]))
				return bad_pattern(
				    e, pattern, p, "backslash only quotes punctuation");
			p += 2;
		} else if (*p == '}' || *p == ']') {
			return bad_pattern(e, pattern, p, "closes nothing");
		} else {
			p++;
		}
	}
	return 0;
}

int
pattern_check(const char *pattern, struct err *e)
{
	regex_t re;
	char why[80];
	int r;

	if (strlen(pattern) > SCHEMA_PATTERN_MAX) {
		err_set(e, ERR_INVALID, "pattern of %zu bytes", strlen(pattern));
		err_hint(e, "Patterns have at most %d bytes.", SCHEMA_PATTERN_MAX);
		return -ERR_INVALID;
	}
	if ((r = check_subset(pattern, e)) < 0)
		return r;
	r = regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB);
	if (r) {
		regerror(r, &re, why, sizeof(why));
		return bad_pattern(e, pattern, pattern, why);
	}
	regfree(&re);
	return 0;
}

int
pattern_matches(const char *pattern, const char *text)
{
	regex_t re;
	int r;

	if (strlen(text) > SCHEMA_TEXT_MAX || regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB))
		return -ERR_TOO_BIG;
	r = regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	return r == 0 ? 1 : r == REG_NOMATCH ? 0 : -ERR_TOO_BIG;
}

static bool
is_date_time(const char *s)
{
	int64_t t;

	return !strchr(s, ' ') && when_parse_rfc3339(s, &t, NULL, NULL) == 0;
}

static bool
is_ipv4(const char *s)
{
	struct in_addr a;

	return inet_pton(AF_INET, s, &a) == 1;
}

static bool
is_ipv6(const char *s)
{
	struct in6_addr a;

	return inet_pton(AF_INET6, s, &a) == 1;
}

/* RFC 1123: labels of 1 to 63 letters, digits and inner hyphens, 253 in all. */
static bool
is_hostname(const char *s)
{
	size_t n = strlen(s), label = 0;

	if (!n || n > 253)
		return false;
	for (size_t i = 0; i <= n; i++) {
		bool ends = s[i] == '.' || !s[i];

		if (ends ? !label || s[i - 1] == '-'
			 : !isalnum((unsigned char)s[i]) && (s[i] != '-' || !label))
			return false;
		label = ends ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return true;
}

static const struct {
	const char *name;
	format_fn *fn;
} formats[] = {
    {"uuid", uuid_valid},
    {"date-time", is_date_time},
    {"ipv4", is_ipv4},
    {"ipv6", is_ipv6},
    {"hostname", is_hostname},
};

format_fn *
format_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (strcmp(formats[i].name, name) == 0)
			return formats[i].fn;
	return NULL;
}

const char *
format_names(void)
{
	return "uuid, date-time, ipv4, ipv6 and hostname";
}
