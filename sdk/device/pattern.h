// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Regular expressions whose time is bounded: text comes from devices, so a backtracking matcher
 * would hand them our CPU. A Thompson machine: time is at most length of text x size of pattern,
 * memory is fixed when the pattern is compiled. Used for everything a platform file matches.
 *
 * Syntax: literals, . [a-z] [^…] \d \w \s \S ( | ) * + ? ^ $, \ before a special character, and
 * (?i) at the start for either case. No counts, no back references: they are refused by name.
 * Bytes are matched, not characters. The leftmost, then longest match wins.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

#define PATTERN_MAX_B 512 /* length of a pattern's text */

struct pattern;

int pattern_new(const char *text, struct pattern **out, struct err *e);
void pattern_free(struct pattern *p);
const char *pattern_text(const struct pattern *p);
/* False if there is no match; else *start and *end (each may be NULL). s holds one line. */
bool pattern_find(const struct pattern *p, const char *s, size_t n, size_t *start, size_t *end);

struct pattern_list {
	struct pattern **v;
	size_t n;
};

/* The first pattern of the list that is found, or NULL. */
const struct pattern *pattern_list_find(
    const struct pattern_list *l, const char *s, size_t n, size_t *start, size_t *end);

static inline void
cleanup_pattern(struct pattern **p)
{
	pattern_free(*p);
}
#define _cleanup_pattern_ _cleanup_(cleanup_pattern)
