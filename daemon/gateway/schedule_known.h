// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What the database said about the names in a document (takt.schedule_world, the answer of
 * readTask, readSchedule and previewTask), and a schedule made whole with it. Used by the hooks of
 * tasks and schedules. Pure.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

struct schedule_plan;

/*
 * A normal form compiled: its own, or that of the shared schedule it follows. known is the
 * database's answer, doc the document as it was submitted: an error's field points into it.
 * task_id is what H hashes, NULL: none. anchor_utc is where `every` begins if nothing else says so.
 * Refuses what names a calendar or schedule that is not there.
 */
struct schedule_plan *schedule_known_plan(const json_t *known, const json_t *doc,
    const json_t *normal, const char *task_id, int64_t anchor_utc, struct err *e);

/* The normal form that counts: the shared one's for a follower. Borrowed; NULL if unknown. */
const json_t *schedule_known_normal(const json_t *known, const json_t *normal);

/* JSON pointer into doc of where it names a calendar; "/schedule" if it does not itself. */
const char *schedule_known_pointer(const json_t *doc, const char *calendar, char buf[96]);
