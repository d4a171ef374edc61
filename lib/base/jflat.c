// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See jflat.h. Every step moves `p` forward and stays below `end`. */
#include "base/jflat.h"

#include <string.h>

#include "base/cleanup.h"

#include "base/banned.h"

#define DIGITS_MAX 18 /* always fits an int64_t */

struct scan {
	char *p, *end;
};

static bool
take(struct scan *s, char c)
{
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

/* After the opening quote; its end is at the closing one. */
static bool
take_text(struct scan *s, char **end)
{
	while (s->p < s->end && *s->p >= 0x20 && *s->p < 0x7f && *s->p != '"' && *s->p != '\\')
		s->p++;
	*end = s->p;
	return take(s, '"');
}

static bool
take_int(struct scan *s, int64_t *out)
{
	bool is_negative = take(s, '-');
	const char *first = s->p;
	int64_t v = 0;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9' && s->p - first < DIGITS_MAX)
		v = v * 10 + (*s->p++ - '0');
	if (s->p == first || (*first == '0' && s->p - first > 1))
		return false;
	*out = is_negative ? -v : v;
	return true;
}

static bool
take_word(struct scan *s, struct jflat_member *m)
{
	static const struct {
		const char *word;
		enum jflat_kind kind;
	} words[] = {{"{}", JFLAT_OBJECT}, {"[]", JFLAT_OTHER}, {"true", JFLAT_OTHER},
	    {"false", JFLAT_OTHER}, {"null", JFLAT_OTHER}};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		size_t n = strlen(words[i].word);
		if ((size_t)(s->end - s->p) < n || memcmp(s->p, words[i].word, n) != 0)
			continue;
		m->kind = words[i].kind;
		s->p += n;
		return true;
	}
	return false;
}

static bool
take_value(struct scan *s, struct jflat_member *m, char **text_end)
{
	if (take(s, '"')) {
		m->kind = JFLAT_STR;
		m->text = s->p;
		return take_text(s, text_end);
	}
	if (s->p < s->end && (*s->p == '-' || (*s->p >= '0' && *s->p <= '9'))) {
		m->kind = JFLAT_INT;
		return take_int(s, &m->value);
	}
	return take_word(s, m);
}

/* ends: the quotes to be made NULs, of names and texts. */
static bool
take_members(struct scan *s, struct jflat *out, char *ends[JFLAT_MAX][2])
{
	if (take(s, '}'))
		return true;
	do {
		if (out->n == JFLAT_MAX)
			return false;
		struct jflat_member *m = &out->members[out->n];
		*m = (struct jflat_member){0};
		char **end = ends[out->n];
		end[1] = NULL;
		m->name = s->p + 1;
		if (!take(s, '"') || !take_text(s, &end[0]) || !take(s, ':') ||
		    !take_value(s, m, &end[1]))
			return false;
		out->n++;
	} while (take(s, ','));
	return take(s, '}');
}

static bool
has_twice(const struct jflat *f)
{
	for (unsigned i = 1; i < f->n; i++)
		for (unsigned k = 0; k < i; k++)
			if (f->members[i].name[0] == f->members[k].name[0] &&
			    strcmp(f->members[i].name, f->members[k].name) == 0)
				return true;
	return false;
}

static void
ends_set(const struct jflat *f, char *ends[JFLAT_MAX][2], char c)
{
	for (unsigned i = 0; i < f->n; i++) {
		*ends[i][0] = c;
		if (ends[i][1])
			*ends[i][1] = c;
	}
}

bool
jflat_read(char *p, size_t n, struct jflat *out)
{
	struct scan s = {p, p + n};
	char *ends[JFLAT_MAX][2];

	out->n = 0;
	if (!take(&s, '{') || !take_members(&s, out, ends) || s.p != s.end) {
		out->n = 0;
		return false;
	}
	ends_set(out, ends, '\0');
	if (!has_twice(out))
		return true;
	ends_set(out, ends, '"');
	out->n = 0;
	return false;
}

static const struct jflat_member *
find(const struct jflat *f, const char *name, enum jflat_kind kind)
{
	for (unsigned i = 0; i < f->n; i++)
		if (f->members[i].kind == kind && strcmp(f->members[i].name, name) == 0)
			return &f->members[i];
	return NULL;
}

const char *
jflat_str(const struct jflat *f, const char *name, const char *dflt)
{
	const struct jflat_member *m = find(f, name, JFLAT_STR);

	return m ? m->text : dflt;
}

int64_t
jflat_int(const struct jflat *f, const char *name, int64_t dflt)
{
	const struct jflat_member *m = find(f, name, JFLAT_INT);

	return m ? m->value : dflt;
}

bool
jflat_is_object(const struct jflat *f, const char *name)
{
	return find(f, name, JFLAT_OBJECT);
}
