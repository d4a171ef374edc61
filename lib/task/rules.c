// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See rules.h. */
#include "task/rules.h"

#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

#include "base/banned.h"

static const struct rule rules[] = {
#define RULE(id, decision, sentence) {id, decision, sentence},
#include "task/rules.def"
#undef RULE
};

const struct rule *
rule_find(const char *id)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (strcmp(rules[i].id, id) == 0)
			return &rules[i];
	return NULL;
}
