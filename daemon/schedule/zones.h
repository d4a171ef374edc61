// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Zones whose files cannot be read, maybe because tzdata is just being replaced: their schedules
 * stay as they are for a minute and do not stand in front of the others.
 */
#pragma once

#include <stdbool.h>

struct zone;

/* Let go of zones whose files are others by now; true if there are any. */
bool zones_refresh(void);

/* NULL: it cannot be read; the log says so once a minute. */
const struct zone *zones_get(const char *name);
/* ["name", …] of those, for a statement to leave out; malloc'ed. */
char *zones_unreadable(void);
