// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Who keeps on trying tokens that do not exist is not let through to the database for a while.
 *
 * An address may fail GUARD_FAILS times in GUARD_WINDOW_MS; then its requests get 429 until the window
 * is over, except those with a token that was good here before: behind a proxy all callers have one
 * address, and a stranger there must not lock out the others. Memory is fixed; where two addresses
 * fall into one slot the newer one has it.
 */
#pragma once

#include <libwebsockets.h>
#include <stdbool.h>

#define GUARD_FAILS 100
#define GUARD_WINDOW_MS 10000

/* May this caller ask the database about this token now? */
bool guard_allows(struct lws *, const char *token);
/* What the database said of it. wsi may be NULL: the caller is gone. */
void guard_learn(struct lws *, const char *token, bool is_good);

/* The same for an address as text and a given time; for the above and for tests. */
bool guard_allows_at(const char *address, const char *token, int64_t now_ms);
void guard_learn_at(const char *address, const char *token, bool is_good, int64_t now_ms);
