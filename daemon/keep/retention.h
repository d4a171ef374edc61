// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Partitions ahead and retention: once an hour, and at each reload, the months to come are made, a
 * missing one is an error in the log, and months older than retain_months are dropped, the oldest
 * first, each in one transaction. On a connection of its own, so that no run waits while the files
 * of a month go. Any engine may do it, also several at once; what was begun and not committed has
 * not happened.
 */
#pragma once

struct engine;

void retention_init(struct engine *);
void retention_fini(struct engine *);
/* Do it soon: the configuration was read again. */
void retention_now(struct engine *);
