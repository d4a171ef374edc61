// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A unit's artifacts while their parts arrive. They are not stored before the unit's result, so
 * after a restart the journal is read again from its start and the parts come once more.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define ARTIFACTS_MAX 16
#define ARTIFACT_BODY_MAX (20u << 20)

struct frame;
struct artifacts;

struct artifact {
	int64_t no, raw_b, parts, got;
	char *kind;
	json_t *meta;
	bool is_secret;
	struct buf body; /* as stored in the journal: zstd, sealed if secret */
};

/* Take one J_ARTIFACT frame; *set is made at the first. A part that came before is ignored. */
int artifacts_add(struct artifacts **set, const struct frame *part, struct err *e);
/* The complete artifact of that kind, or NULL. set may be NULL. */
const struct artifact *artifacts_find(const struct artifacts *set, const char *kind);
void artifacts_free(struct artifacts *set);
