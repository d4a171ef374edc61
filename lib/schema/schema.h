// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * JSON Schema (the subset in README.md, common to draft-07 and 2020-12) for the parameters of task
 * types. Called when a plugin is registered (schema_check) and when a definition is saved or a run
 * created (schema_validate).
 *
 * Work and depth are bounded, whatever schema and document say: a check that would take longer ends
 * with ERR_TOO_BIG.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"

/*
 * Is this a schema that schema_validate() understands in full? Unknown keywords and formats,
 * references that lead nowhere and patterns outside of the subset are refused: what is not checked
 * must not look as if it were. ERR_INVALID, with the JSON pointer into the schema as its field.
 */
int schema_check(const json_t *schema, struct err *e);

/*
 * The first thing wrong with doc: ERR_INVALID with its JSON pointer (`at` in front: "/parameters"
 * or "") in the error's field, the value in the message, the remedy in the hint. A value whose
 * schema has "x-takt-secret" or "writeOnly" true is not shown. schema must have passed
 * schema_check().
 */
int schema_validate(const json_t *schema, const json_t *doc, const char *at, struct err *e);
