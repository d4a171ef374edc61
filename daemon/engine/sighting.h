// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Is another node dead? Told by a number in its row that moves at each renewal of its lease (beat),
 * and by our own BOOTTIME between answers of the database. No wall clock has a part in it, neither
 * the database's nor a node's, so none that is set kills anybody. Pure: no input but the arguments.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The self-fence (NODE_FENCE_MS, 20 s after the renewal was sent) is over well before this. */
#define SIGHTING_DEAD_MS 35000
/* A longer silence of the database (or of ours) was nobody's fault: what was seen before is void. */
#define SIGHTING_GAP_MS 10000

struct sighting {
	bool is_seen;
	int64_t beat;
	int64_t first_ms; /* the answer in which this beat came first */
	int64_t asked_ms; /* the last question that was answered */
};

/* An answer: beat, to a question sent at asked_ms and answered at answered_ms, both BOOTTIME. True if
 * the node is dead: the beat stood still for SIGHTING_DEAD_MS while the database could be reached. */
bool sighting_is_dead(struct sighting *, int64_t beat, int64_t asked_ms, int64_t answered_ms);
