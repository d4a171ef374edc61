// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* One question to the database: what is due, or how long may the engine sleep? At most 1 s. */
#pragma once

struct engine;

void poll_init(struct engine *);
void poll_fini(struct engine *);
/* Ask now: something may have become due (a notification, a commit of ours). */
void poll_now(struct engine *);
