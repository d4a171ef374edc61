// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* A growable byte buffer. Running out of memory aborts: a daemon that cannot allocate is restarted. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct buf {
	char *p;  /* always NUL-terminated once anything was added */
	size_t n; /* bytes used, the NUL not counted */
	size_t cap;
};

void buf_fini(struct buf *b);
void buf_clear(struct buf *b);
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
/* In decimal. */
void buf_addi(struct buf *b, int64_t v);
void buf_addf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
/* Drop the first n bytes. */
void buf_shift(struct buf *b, size_t n);
/* The bytes as a malloc'ed NUL-terminated string, now the caller's; b is empty after. */
char *buf_take(struct buf *b);

#define _cleanup_buf_ _cleanup_(buf_fini)

/* malloc and friends that abort instead of returning NULL. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) _printf_(1, 2);
