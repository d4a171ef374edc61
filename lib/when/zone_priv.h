// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Between tzif.c, which fills a zone from a file's bytes, and zone.c, which answers questions about
 * it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/err.h"

#include "when/tzrule.h"
#include "when/zone.h"

#define ZONE_FILE_MAX (1 << 20)
#define ZONE_TYPES_MAX 256
/* RFC 9636 section 3.2: more than -25 and less than 26 hours. */
#define ZONE_OFF_MIN (-25 * 3600 + 1)
#define ZONE_OFF_MAX (26 * 3600 - 1)

struct zone_type {
	int32_t off;
	bool is_dst;
	uint8_t abbrev; /* index into abbrevs */
};

struct zone {
	struct zone *next;
	char name[ZONE_NAME_MAX + 1];
	ino_t inode;
	struct timespec mtime;
	uint64_t fingerprint; /* of the file's bytes */

	size_t count; /* of when and type, strictly ascending */
	int64_t *when;
	uint8_t *type;
	size_t type_count; /* at least 1 */
	struct zone_type types[ZONE_TYPES_MAX];
	char abbrevs[ZONE_TYPES_MAX + 1];
	bool has_rule;
	struct tzrule rule;
};

/* Fill *z (zeroed by the caller, who frees when and type also after a failure) from a file's
 * bytes. */
int tzif_parse(const unsigned char *p, size_t n, struct zone *z, struct err *e);
