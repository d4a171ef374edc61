// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The run's states and the moves between them; the table is states.def, the database checks the
 * same one. Used by the engine, which never asks for a move that this table does not have.
 */
#pragma once

#include <stdbool.h>

enum task_state {
#define STATE(name, terminal) TASK_##name,
#include "task/states.def"
	TASK_STATE_COUNT
};

const char *task_state_name(enum task_state s);
/* -1 if s is not the name of a state. */
int task_state_parse(const char *s);
/* True for the states that a run never leaves. */
bool task_state_is_terminal(enum task_state s);
bool task_move_is_legal(enum task_state from, enum task_state to);
