// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * One transaction of reports: what it says (batch.c), its statements (batch_send.c). record.c decides
 * when one is built and what follows from its commit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/id.h"

#include "daemon/engine/runs.h"
#include "daemon/record/record_priv.h"

struct ack {
	char unit[UNIT_ID_MAX];
	size_t row; /* its run's */
	int64_t epoch, off;
	bool is_final, is_refused;
};

struct batch {
	struct engine *engine;
	unsigned generation;
	struct run_row *rows;
	size_t rows_n;
	struct buf units; /* of runs with several targets: the text of a JSON array */
	size_t units_n;
	struct ack *acks;
	size_t acks_n;
	size_t units_written;
	struct unit *only; /* while it is built: the one unit it may hold */
	char only_unit[UNIT_ID_MAX], only_run[UUID_LEN + 1]; /* "": it holds several */
	size_t moved_n; /* rows that passed the compare-and-set */
};

/* All dirty runs, or one unit's if the database has refused a batch lately (refusal.h). Changes the
 * runs' memory to what the database holds once the batch is committed. */
struct batch *batch_build(struct engine *);
/* Everything but the end of the transaction. The answers are noted in the rows and the counters. */
void batch_send(struct batch *);
void batch_free(struct batch *);
