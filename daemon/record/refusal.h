// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What the database will never take must not stop the node. A batch that is refused for its
 * content makes the batches after it hold one unit each, for a while; a unit that is refused by
 * itself again and again is ended as `takt.record_refused` (record_unit_refused), and if even that
 * is refused, its run is left alone until the next recovery. Counts live in memory only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct engine;
struct err;

/* Refused for what it says, not for the state of server or connection: the same again is in vain. */
bool refusal_is_for_good(const struct err *);
/* The batch, or (unit or run not NULL) what was alone in it, was refused for good. */
void refusal_note(struct engine *, const char *unit, const char *run, const struct err *);
/* It was taken: what was counted against it is forgotten. */
void refusal_forget(struct engine *, const char *unit);
/* Batches hold one unit now. */
bool refusal_is_narrow(struct engine *);
bool refusal_is_unit_out(const struct engine *, const char *unit);
bool refusal_is_run_out(const struct engine *, const char *run);
/* Why, for people: never text of the database's, which may hold what it refused. */
void refusal_text(const struct engine *, char *out, size_t n);
