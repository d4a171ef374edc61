// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * From rows to struct run and struct unit. A claim answers with its runs, recovery reads them all;
 * what a row of a run does not hold is read after it: units of runs with several targets, and
 * definitions that this engine has not seen yet.
 */
#pragma once

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

struct engine;
struct run;

/* Runs of a claim that is not committed yet. Zero-initialise; load_drop() is safe at any time. */
struct load {
	struct run *runs;
	size_t n, rest_n; /* all; those whose rows do not hold everything */
};

/* Take the rows of a claim. */
void load_rows(struct engine *, const PGresult *, struct load *);
/*
 * The claim is committed: the runs are the engine's. True if more was asked for; then the caller
 * ends the transaction, and in its callback the runs are whole.
 */
bool load_accept(struct engine *, struct load *);
void load_drop(struct load *);

/*
 * Send the statements that read runs of this node; the caller ends the transaction. ids: an array
 * of run ids, or NULL for all.
 */
void load_send(struct engine *, const json_t *ids);
