// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Rows of table schedule, read and compiled (struct when), and the compiled ones that are kept: a
 * bounded number, each for the row's id and version, its zone's file and its calendars' versions.
 * Used by schedule.c and replan.c.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct calendar;
struct catch_up_policy;
struct when;

enum plan_state {
	PLAN_READY,
	PLAN_WAITS,  /* for its zone, or for calendars that are wanted now (calendars.h) */
	PLAN_INVALID /* *e says why */
};

struct plan;

/* At the beginning of a round: what is kept may go, what was handed out is gone. */
void plan_begin(void);
/* The schedule of a row that has the columns of schedule_due.sql or schedule_replan_due.sql. *out
 * lives until another one is asked for. */
enum plan_state plan_get(const PGresult *res, int row, struct plan **out, struct err *e);
const struct when *plan_when(const struct plan *);
/* The catch-up policy of a row; in doubt the default one. */
struct catch_up_policy plan_policy(const PGresult *res, int row);
/* May there be times within (from, until] that a calendar or the clock passes over? */
bool plan_has_marks(struct plan *, int64_t from, int64_t until);
const struct calendar *plan_include(const struct plan *);
const struct calendar *plan_exclude(const struct plan *);
