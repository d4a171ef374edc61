// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Reads runs with an open attempt on this node, and their units, into memory. */
#pragma once

#include <jansson.h>

struct engine;

/*
 * Send the two statements; the caller ends the transaction, and in its callback the runs are in
 * e->runs. ids: an array of run ids, or NULL for all of this node.
 */
void load_send(struct engine *, const json_t *ids);
