// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The rules of decisions about due times, with a sentence each; the table is rules.def. */
#pragma once

struct rule {
	const char *id, *decision,
	    *sentence; /* decision: fired, skipped, missed; NULL: not a decision */
};

/* NULL if there is none of this name. */
const struct rule *rule_find(const char *id);
