// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The fields as a table: the parser and the description read it. */
#pragma once

#include <stdint.h>

#include "when/cron.h"

enum cron_field {
	FIELD_SECOND, /* may be absent: then the expression starts with the minute */
	FIELD_MINUTE,
	FIELD_HOUR,
	FIELD_DAY_OF_MONTH,
	FIELD_MONTH,
	FIELD_DAY_OF_WEEK,
	FIELD_COUNT
};

struct cron_field_info {
	const char *name;
	int lo, hi;
	const char *const
	    *names;        /* three letters each, the first means lo; NULL if there are none */
	const char *legal; /* a sentence for people */
};

extern const struct cron_field_info cron_fields[FIELD_COUNT];
