// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * When something is due: from what people submit, in any of the spellings of the four systems that
 * they come from, to the one form that is stored (the normal form; ARCHITECTURE.md, "The
 * definition"), and from that to a compiled schedule. Called by task_def.c, the hooks of schedules
 * and whatever computes times for an answer.
 *
 * Pure: no database, no clock. Reading a normal form gives that normal form.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct calendar;
struct schedule_plan;
struct when;
struct zone;

/*
 * The normal form of a document that has passed the contract's schema: of a task, or the body of a
 * shared schedule. What it says is looked for in the document itself and in its `schedule`, which
 * is an object or the name of a shared schedule; said twice it must be the same. null is as good as
 * nothing. now_utc is what `at: "+90m"` counts from.
 *
 * Caller owns. {"name": …} if it follows a shared schedule; whether there is one, and the
 * calendars, is not looked up here. NULL and *e (field: JSON pointer into doc) if something is
 * wrong.
 */
json_t *schedule_def_read(const json_t *doc, int64_t now_utc, struct err *e);

/* The shared schedule that a normal form follows; NULL: none. */
const char *schedule_def_follows(const json_t *normal);

/* `enabled` of a document, or EasyTask's `active`; dflt if it says neither. */
int schedule_def_enabled(const json_t *doc, bool dflt, bool *out, struct err *e);

/*
 * cron_expression, timezone, dst_gap and dst_fold as they stand beside the schedule in a task's
 * definition, for clients that know no other kind. All null if it follows a shared one. Caller
 * owns.
 */
json_t *schedule_def_flat(const json_t *normal);

/*
 * Before a merge patch (RFC 7396) is applied: takes from definition (a copy of a normalised one,
 * with the members of schedule_def_flat()) what the patch says in any spelling, so that the merged
 * document says each thing in one way. What the patch does not name stays: the zone if it has times
 * only, the times if it has a weekday mask only.
 */
void schedule_def_patch(json_t *definition, const json_t *patch);

/*
 * A normal form (not one that follows another), compiled. calendars: {"name": [[day, "reason"],
 * …]}, days of civil.h; those it names must be there. task_id is what H hashes; NULL: a fixed text,
 * for answers that are not about one task. anchor_utc is where `every` begins without effective
 * from. Owns everything that it needs.
 */
struct schedule_plan *schedule_plan_new(const json_t *normal, const json_t *calendars,
    const char *task_id, int64_t anchor_utc, struct err *e);
void schedule_plan_free(struct schedule_plan *p);
const struct when *schedule_plan_when(const struct schedule_plan *p);
const struct zone *schedule_plan_zone(const struct schedule_plan *p);
/* Which of its calendars rules out a day: its name, and *reason (may be NULL) if it gave one, else
 * "". An include calendar that has not the day is named by the first of them. NULL: none does. */
const char *schedule_plan_hit(const struct schedule_plan *p, int64_t day, const char **reason);

static inline void
cleanup_schedule_plan(struct schedule_plan **p)
{
	schedule_plan_free(*p);
}

#define _cleanup_schedule_plan_ __attribute__((cleanup(cleanup_schedule_plan)))
