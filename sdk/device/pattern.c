// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Compiler and matcher of patterns. The program is a list of instructions with relative jumps, so
 * that a fragment can be moved when an operator is put in front of it. The matcher keeps its
 * threads in order of their starting point; so the first to reach an instruction is the leftmost.
 */
#include "sdk/device/pattern.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#include "base/banned.h"

#define MAX_DEPTH 16

enum op { OP_SET, OP_SPLIT, OP_JUMP, OP_BOL, OP_EOL, OP_MATCH };

struct set {
	uint32_t bit[8];
};

struct inst {
	enum op op;
	int x, y; /* OP_SPLIT: both ways; OP_JUMP: x; relative */
	struct set set;
};

struct pattern {
	char *text;
	struct inst *prog;
	int len, cap;
	struct set first; /* bytes a match can begin with */
	bool has_first;   /* false: it can match nothing at all, first is no help */
	bool is_anchored; /* begins with ^ whatever way is taken */
};

struct parser {
	struct pattern *p;
	const char *at;
	bool fold;
	int depth;
	struct err *e;
};

static void
set_add(struct set *s, unsigned char c)
{
	s->bit[c >> 5] |= 1u << (c & 31);
}

static bool
set_has(const struct set *s, unsigned char c)
{
	return s->bit[c >> 5] >> (c & 31) & 1;
}

static void
set_add_fold(struct set *s, unsigned char c, bool fold)
{
	set_add(s, c);
	if (fold) {
		set_add(s, (unsigned char)tolower(c));
		set_add(s, (unsigned char)toupper(c));
	}
}

static void
set_invert(struct set *s)
{
	for (int i = 0; i < 8; i++)
		s->bit[i] = ~s->bit[i];
}

static struct inst *
emit(struct pattern *p, int at, enum op op)
{
	if (p->len == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 32;
		p->prog = realloc(p->prog, (size_t)p->cap * sizeof(*p->prog));
		if (!p->prog)
			abort();
	}
	memmove(p->prog + at + 1, p->prog + at, (size_t)(p->len - at) * sizeof(*p->prog));
	p->len++;
	p->prog[at] = (struct inst){.op = op};
	return &p->prog[at];
}

static int
bad(struct parser *ps, const char *what, const char *hint)
{
	err_set(ps->e, ERR_INVALID, "pattern '%s': %s at character %zu", ps->p->text, what,
	    (size_t)(ps->at - ps->p->text) + 1);
	return err_hint(ps->e, "%s", hint);
}

/* The classes after a backslash; false if c is none. */
static bool
class_set(unsigned char c, struct set *s)
{
	int (*is)(int) = c == 'd'               ? isdigit
			 : c == 's' || c == 'S' ? isspace
			 : c == 'w'             ? isalnum
						: NULL;
	if (!is)
		return false;
	struct set own = {{0}};
	for (int i = 0; i < 128; i++)
		if (is(i) || (c == 'w' && i == '_'))
			set_add(&own, (unsigned char)i);
	if (c == 'S')
		set_invert(&own);
	for (int i = 0; i < 8; i++)
		s->bit[i] |= own.bit[i];
	return true;
}

/* One member after a backslash, into s. */
static int
parse_escape(struct parser *ps, struct set *s)
{
	unsigned char c = (unsigned char)*ps->at;
	if (c == 't')
		set_add(s, '\t');
	else if (c == 'e')
		set_add(s, 27);
	else if (ispunct(c) || c == ' ')
		set_add(s, c);
	else if (!class_set(c, s))
		return bad(ps, c ? "unknown escape" : "lone backslash",
		    "Known are \\d \\w \\s \\S \\t \\e and a backslash before punctuation.");
	ps->at++;
	return 0;
}

static int
parse_bracket(struct parser *ps, struct set *s)
{
	bool is_not = *ps->at == '^';
	ps->at += is_not;
	const char *begin = ps->at;
	while (*ps->at && (*ps->at != ']' || ps->at == begin)) {
		unsigned char lo = (unsigned char)*ps->at++;
		if (lo == '\\') {
			int rc = parse_escape(ps, s);
			if (rc)
				return rc;
			continue;
		}
		unsigned char hi = lo;
		if (ps->at[0] == '-' && ps->at[1] && ps->at[1] != ']') {
			hi = (unsigned char)ps->at[1];
			ps->at += 2;
		}
		if (hi < lo)
			return bad(ps, "range is backwards", "Write the smaller end first: [a-z].");
		for (int c = lo; c <= hi; c++)
			set_add_fold(s, (unsigned char)c, ps->fold);
	}
	if (*ps->at != ']')
		return bad(
		    ps, "[ is not closed", "Close it with ], or write \\[ for the character.");
	ps->at++;
	if (is_not)
		set_invert(s);
	return 0;
}

static int parse_alt(struct parser *ps);

static int
parse_group(struct parser *ps)
{
	if (*ps->at == '?')
		return bad(ps, "unknown group", "Only (?i) at the start of the pattern is known.");
	if (++ps->depth > MAX_DEPTH)
		return bad(ps, "groups are nested too deep", "At most 16 levels.");
	int rc = parse_alt(ps);
	if (rc)
		return rc;
	ps->depth--;
	if (*ps->at != ')')
		return bad(
		    ps, "( is not closed", "Close it with ), or write \\( for the character.");
	ps->at++;
	return 0;
}

static int
parse_atom(struct parser *ps)
{
	struct pattern *p = ps->p;
	unsigned char c = (unsigned char)*ps->at++;
	if (c == '(')
		return parse_group(ps);
	if (c == '^' || c == '$') {
		emit(p, p->len, c == '^' ? OP_BOL : OP_EOL);
		return 0;
	}
	if (strchr("*+?", c))
		return bad(
		    ps, "nothing to repeat", "Write a backslash before the character to match it.");
	if (c == '{')
		return bad(ps, "counts are not supported",
		    "Repeat the text, or write \\{ for the character.");
	struct set s = {{0}};
	int rc = 0;
	if (c == '.')
		set_invert(&s);
	else if (c == '[')
		rc = parse_bracket(ps, &s);
	else if (c == '\\')
		rc = parse_escape(ps, &s);
	else
		set_add_fold(&s, c, ps->fold);
	if (rc)
		return rc;
	emit(p, p->len, OP_SET)->set = s;
	return 0;
}

static void
repeat(struct pattern *p, int from, char how)
{
	int n = p->len - from;
	if (how == '+') {
		struct inst *i = emit(p, p->len, OP_SPLIT);
		i->x = -n;
		i->y = 1;
		return;
	}
	struct inst *i = emit(p, from, OP_SPLIT);
	i->x = 1;
	i->y = how == '*' ? n + 2 : n + 1;
	if (how == '*')
		emit(p, p->len, OP_JUMP)->x = -n - 1;
}

static int
parse_seq(struct parser *ps)
{
	while (*ps->at && *ps->at != '|' && *ps->at != ')') {
		int from = ps->p->len;
		int rc = parse_atom(ps);
		if (rc)
			return rc;
		while (*ps->at && strchr("*+?", *ps->at))
			repeat(ps->p, from, *ps->at++);
	}
	return 0;
}

static int
parse_alt(struct parser *ps)
{
	int from = ps->p->len;
	int rc = parse_seq(ps);
	if (rc || *ps->at != '|')
		return rc;
	ps->at++;
	struct inst *i = emit(ps->p, from, OP_SPLIT);
	i->x = 1;
	i->y = ps->p->len - from + 1;
	int jump = ps->p->len;
	emit(ps->p, jump, OP_JUMP);
	rc = parse_alt(ps);
	ps->p->prog[jump].x = ps->p->len - jump;
	return rc;
}

struct threads {
	int *pc;
	size_t *start;
	int n;
	uint32_t *seen; /* per instruction: the step in which it was added last */
};

static void
thread_add(const struct pattern *p, struct threads *t, int pc, size_t start, uint32_t step,
    bool at_begin, bool at_end)
{
	if (t->seen[pc] == step)
		return;
	t->seen[pc] = step;
	const struct inst *i = &p->prog[pc];
	if (i->op == OP_SPLIT || i->op == OP_JUMP)
		thread_add(p, t, pc + i->x, start, step, at_begin, at_end);
	if (i->op == OP_SPLIT)
		thread_add(p, t, pc + i->y, start, step, at_begin, at_end);
	if ((i->op == OP_BOL && at_begin) || (i->op == OP_EOL && at_end))
		thread_add(p, t, pc + 1, start, step, at_begin, at_end);
	if (i->op == OP_SET || i->op == OP_MATCH) {
		t->pc[t->n] = pc;
		t->start[t->n++] = start;
	}
}

static void
threads_init(struct threads *t, int len)
{
	t->pc = xcalloc((size_t)len, sizeof(int));
	t->start = xcalloc((size_t)len, sizeof(size_t));
	t->seen = xcalloc((size_t)len, sizeof(uint32_t));
	t->n = 0;
}

static void
threads_fini(struct threads *t)
{
	free(t->pc);
	free(t->start);
	free(t->seen);
}
#define _cleanup_threads_ _cleanup_(threads_fini)

/* What a match can begin with, so that most positions of most lines cost one bit test. */
static void
find_first(struct pattern *p)
{
	_cleanup_threads_ struct threads t;
	threads_init(&t, p->len);
	thread_add(p, &t, 0, 0, 1, false, true);
	p->is_anchored = t.n == 0;
	t.n = 0;
	thread_add(p, &t, 0, 0, 2, true, true);
	p->has_first = true;
	for (int i = 0; i < t.n; i++) {
		const struct inst *in = &p->prog[t.pc[i]];
		if (in->op == OP_MATCH)
			p->has_first = false;
		for (int b = 0; b < 8; b++)
			p->first.bit[b] |= in->set.bit[b];
	}
}

int
pattern_new(const char *text, struct pattern **out, struct err *e)
{
	size_t n = strlen(text);
	if (n == 0 || n > PATTERN_MAX_B) {
		err_set(e, ERR_INVALID, "a pattern has %zu bytes", n);
		return err_hint(e, "A pattern has 1 to %d bytes.", PATTERN_MAX_B);
	}
	_cleanup_pattern_ struct pattern *p = xcalloc(1, sizeof(*p));
	p->text = xstrdup(text);
	struct parser ps = {.p = p, .at = p->text, .e = e};
	if (strncmp(ps.at, "(?i)", 4) == 0) {
		ps.fold = true;
		ps.at += 4;
	}
	int rc = parse_alt(&ps);
	if (rc)
		return rc;
	if (*ps.at)
		return bad(&ps, ") without (", "Write \\) for the character.");
	emit(p, p->len, OP_MATCH);
	find_first(p);
	*out = take_ptr(&p);
	return 0;
}

void
pattern_free(struct pattern *p)
{
	if (!p)
		return;
	free(p->text);
	free(p->prog);
	free(p);
}

const char *
pattern_text(const struct pattern *p)
{
	return p->text;
}

struct found {
	bool is;
	size_t start, end;
};

/* Move every thread over byte c (at position i); threads that begin after a match are dropped. */
static void
step_over(const struct pattern *p, const struct threads *now, struct threads *next, struct found *f,
    size_t i, size_t n, const char *s, uint32_t step)
{
	next->n = 0;
	for (int k = 0; k < now->n; k++) {
		const struct inst *in = &p->prog[now->pc[k]];
		size_t start = now->start[k];
		if (f->is && start > f->start)
			continue;
		if (in->op == OP_MATCH)
			*f = (struct found){.is = true, .start = start, .end = i};
		else if (i < n && set_has(&in->set, (unsigned char)s[i]))
			thread_add(p, next, now->pc[k] + 1, start, step, false, i + 1 == n);
	}
}

static bool
run_machine(const struct pattern *p, const char *s, size_t n, size_t i, struct found *f)
{
	_cleanup_threads_ struct threads a;
	_cleanup_threads_ struct threads b;
	threads_init(&a, p->len);
	threads_init(&b, p->len);
	struct threads *now = &a, *next = &b;
	uint32_t step = 1; /* wraps only after 4 GiB of text; outputs end at 16 MiB */
	for (;; i++, step++) {
		bool may_begin = !f->is && (i == 0 || !p->is_anchored);
		if (may_begin &&
		    (!p->has_first || (i < n && set_has(&p->first, (unsigned char)s[i]))))
			thread_add(p, now, 0, i, step, i == 0, i == n);
		if (now->n == 0 && (f->is || p->is_anchored))
			break;
		step_over(p, now, next, f, i, n, s, step + 1);
		struct threads *t = now;
		now = next;
		next = t;
		if (i >= n)
			break;
	}
	return f->is;
}

bool
pattern_find(const struct pattern *p, const char *s, size_t n, size_t *start, size_t *end)
{
	size_t i = 0;
	if (p->has_first) {
		size_t last = p->is_anchored ? (n ? 1 : 0) : n;
		while (i < last && !set_has(&p->first, (unsigned char)s[i]))
			i++;
		if (i == last)
			return false;
	}
	struct found f = {0};
	if (!run_machine(p, s, n, i, &f))
		return false;
	if (start)
		*start = f.start;
	if (end)
		*end = f.end;
	return true;
}

const struct pattern *
pattern_list_find(const struct pattern_list *l, const char *s, size_t n, size_t *start, size_t *end)
{
	for (size_t i = 0; i < l->n; i++)
		if (pattern_find(l->v[i], s, n, start, end))
			return l->v[i];
	return NULL;
}
