// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The body of a snapshot that people see and diffs are made of: without lines that change by
 * themselves, without trailing blanks, each secret replaced by NORMALISE_REMOVED. Not by a hash:
 * a hash of a short password can be guessed. Pure.
 */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "sdk/device/platform.h"

#define NORMALISE_REMOVED "<removed>"

/* Appends to out. */
void normalise(const struct platform *p, const char *text, size_t n, struct buf *out);
