// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The engine's memory of calendars, by id and version. A schedule names those of one side (include
 * or exclude) as "ID:VERSION:NAME,…" in the order of their names; several become one calendar.
 * Every reason begins with "NAME: ".
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

struct calendar;
struct err;
struct store;

/* NULL: what the list names is not all here, calendars_load() will ask for it. Lives until
 * calendars_drop(). */
const struct calendar *calendars_get(const char *list);
/* Is there anything to ask for? */
bool calendars_are_wanted(void);
/* Send the question, in the current transaction; its answer is taken in before the sync's. */
void calendars_load(struct store *s);
/* More than it is worth is kept: whoever holds one lets go of it, then calendars_drop(). */
bool calendars_are_many(void);
void calendars_drop(void);
