// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * JSON text of our own making, written straight into a buffer: for what is made thousands of times
 * a second and never looked at as a tree. A comma is put where one is needed, so calls just follow
 * each other:
 *
 *	jtext_open(&b, NULL, '{');
 *	jtext_str(&b, "unit", id);
 *	jtext_int(&b, "epoch", 3);
 *	jtext_close(&b, '}');
 *
 * Keys are constants of ours and are not escaped; NULL: an element of an array.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* bracket: '{' or '['. */
void jtext_open(struct buf *, const char *key, char bracket);
void jtext_close(struct buf *, char bracket);
/* Escaped; bytes that are no UTF-8 (a character cut in two) are left out. */
void jtext_str(struct buf *, const char *key, const char *value);
/* The same, nothing at all for NULL and "". */
void jtext_str_if(struct buf *, const char *key, const char *value);
void jtext_int(struct buf *, const char *key, int64_t value);
void jtext_bool(struct buf *, const char *key, bool value);
/* A value that is JSON text already. */
void jtext_raw(struct buf *, const char *key, const char *text);
void jtext_json(struct buf *, const char *key, const json_t *value);
