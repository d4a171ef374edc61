// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The schedule that the flags of a local command describe, compiled: of cron.c. */
#pragma once

#include "base/buf.h"
#include "base/id.h"

#include "cli/cli.h"
#include "cli/marks.h"

#include "when/when.h"

struct cron_question {
	enum when_kind kind;
	struct when_setting set;
	struct calendar *include, *exclude;
	char task[UUID_LEN + 1];
	struct buf text; /* canonical */
	struct when *w;
	int64_t from;
	long count;
};

/* CLI_OK, or an exit code after telling why. To be ended by cron_question_fini() in any case. */
int cron_question_init(struct cli *c, const struct args *a, struct cron_question *q);
void cron_question_fini(struct cron_question *q);
