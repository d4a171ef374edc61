// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Reads of the run state table. No state of its own. */
#include "task/states.h"

#include <string.h>

#include "base/cleanup.h"

#include "base/banned.h"

static const struct {
	const char *name;
	bool terminal;
} states[] = {
#define STATE(name, terminal) [TASK_##name] = {#name, terminal},
#include "task/states.def"
};

static const struct {
	enum task_state from, to;
} moves[] = {
#define MOVE(from, to) {TASK_##from, TASK_##to},
#include "task/states.def"
};

const char *
task_state_name(enum task_state s)
{
	return states[s].name;
}

int
task_state_parse(const char *s)
{
	for (int i = 0; i < TASK_STATE_COUNT; i++)
		if (strcmp(states[i].name, s) == 0)
			return i;
	return -1;
}

bool
task_state_is_terminal(enum task_state s)
{
	return states[s].terminal;
}

bool
task_move_is_legal(enum task_state from, enum task_state to)
{
	for (size_t i = 0; i < ARRAY_LEN(moves); i++)
		if (moves[i].from == from && moves[i].to == to)
			return true;
	return false;
}
