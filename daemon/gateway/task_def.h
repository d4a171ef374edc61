// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Task definitions: from what people submit to the one form that the database keeps and the engine
 * reads (ARCHITECTURE.md, "The definition"). Pure: the same input and the same task types give the
 * same output. Called by hooks_task.c.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

/*
 * The normalised definition of a submitted document that has passed the contract's schema. type_of
 * gives a task type's descriptor, names a list of those there are, now_utc is what `at` counts from. The
 * calendars and the shared schedule that it names are not looked up (schedule_known.h). NULL and *e
 * (field: JSON pointer) if something is wrong.
 */
typedef const json_t *task_type_lookup(const char *id);
json_t *task_def_normalise(const json_t *doc, task_type_lookup *type_of, const char *names,
    int64_t now_utc, struct err *e);

/* The definition with a merge patch (RFC 7396) applied, as a document to submit. Caller owns. */
json_t *task_def_patch(const json_t *definition, const json_t *patch);

/* Snake case of a CamelCase name; malloc'ed. */
char *task_def_snake(const char *s);
