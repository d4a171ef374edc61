// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Drops and redacts by the platform's section `normalise`; see normalise.h. */
#include "sdk/device/normalise.h"

#include <stdbool.h>
#include <string.h>

#include "base/banned.h"

/* Length of the word at p, in quotes or up to a blank; not its line's closing ; or , */
static size_t
word_length(const char *p, size_t n)
{
	if (n && (p[0] == '"' || p[0] == '\'')) {
		const char *q = memchr(p + 1, p[0], n - 1);
		return q ? (size_t)(q - p) + 1 : n;
	}
	size_t i = 0;
	while (i < n && p[i] != ' ' && p[i] != '\t')
		i++;
	return i;
}

/* Replace after every place where the pattern is found: the word that follows, or all the rest. */
static void
redact(const struct pattern *pat, bool is_word, struct buf *line)
{
	size_t at = 0, end;
	while (at < line->n && pattern_find(pat, line->p + at, line->n - at, NULL, &end) && end) {
		size_t from = at + end;
		size_t n = is_word ? word_length(line->p + from, line->n - from) : line->n - from;
		if (n == 0) {
			at = from;
			continue;
		}
		_cleanup_buf_ struct buf rest = {0};
		buf_add(&rest, line->p + from + n, line->n - from - n);
		line->n = from;
		buf_adds(line, NORMALISE_REMOVED);
		at = line->n;
		buf_add(line, rest.p ? rest.p : "", rest.n);
	}
}

struct state {
	const struct platform *p;
	const struct pattern *end; /* of the secret block that is open */
};

static bool
block_begins(struct state *st, const char *s, size_t n)
{
	const struct pattern_list *l = &st->p->normalise.redact_begin;
	for (size_t i = 0; i < l->n; i++)
		if (pattern_find(l->v[i], s, n, NULL, NULL)) {
			st->end = st->p->normalise.redact_end.v[i];
			return true;
		}
	return false;
}

static void
line_step(struct state *st, const char *s, size_t n, struct buf *out)
{
	const struct platform *p = st->p;
	if (st->end) {
		if (!pattern_find(st->end, s, n, NULL, NULL))
			return;
		st->end = NULL;
	} else if (pattern_list_find(&p->normalise.drop, s, n, NULL, NULL)) {
		return;
	}
	_cleanup_buf_ struct buf line = {0};
	buf_add(&line, s, n);
	for (size_t i = 0; i < p->normalise.redact_word.n; i++)
		redact(p->normalise.redact_word.v[i], true, &line);
	for (size_t i = 0; i < p->normalise.redact_rest.n; i++)
		redact(p->normalise.redact_rest.v[i], false, &line);
	buf_add(out, line.p, line.n);
	buf_addc(out, '\n');
	if (block_begins(st, s, n))
		buf_adds(out, NORMALISE_REMOVED "\n");
}

void
normalise(const struct platform *p, const char *text, size_t n, struct buf *out)
{
	struct state st = {.p = p};
	for (size_t at = 0; at < n;) {
		const char *nl = memchr(text + at, '\n', n - at);
		size_t end = nl ? (size_t)(nl - text) : n, last = end;
		while (last > at && (text[last - 1] == ' ' || text[last - 1] == '\t'))
			last--;
		line_step(&st, text + at, last - at, out);
		at = end + 1;
	}
}
