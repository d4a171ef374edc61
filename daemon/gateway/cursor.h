// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The position in the feed that clients hold: for each node the last commit seen whole, or how many
 * items of the next one. Text: `v1.` and, sorted by node, `<node>-<incarnation>-<seq>` joined by `_`;
 * `<node>-<incarnation>-<seq>-<k>` means that of commit seq only the first k items were seen.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define CURSOR_NODES 64
#define CURSOR_TEXT_MAX 4096

struct cursor_at {
	int no;
	int64_t inc, seq;
	int part; /* 0: all of seq */
};

struct cursor {
	unsigned n;
	struct cursor_at at[CURSOR_NODES]; /* sorted by no, each once */
};

/* ERR_INVALID for anything that cursor_text() would not write. */
int cursor_parse(const char *text, struct cursor *out, struct err *e);
/* Append the entries of nodes in [from, to] as text, without the `v1.`, with `_` between. */
void cursor_text(const struct cursor *c, int from, int to, struct buf *out);
/* NULL if the node is not named. */
const struct cursor_at *cursor_find(const struct cursor *c, int no);
/* Was this commit seen whole? */
bool cursor_covers(const struct cursor *c, int no, int64_t inc, int64_t seq);
/* Is everything that `other` has seen whole also seen in c? */
bool cursor_includes(const struct cursor *c, const struct cursor *other);
/* Never goes back. A node beyond CURSOR_NODES is not recorded: its events are repeated, not lost. */
void cursor_advance(struct cursor *c, int no, int64_t inc, int64_t seq);
