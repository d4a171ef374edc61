// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Time zones, read from the system's TZif files (RFC 9636) by ourselves: libc's zone functions know
 * one zone a process. A struct zone never changes and lives until zone_fini(), so it may be kept
 * and shared; the cache that hands them out belongs to one thread. Used by cron.c, the engine and
 * the previews.
 *
 * Before the table's first change the file's type 0 holds; after the last one the POSIX footer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define ZONE_NAME_MAX 64
#define ZONE_VERSION_MAX 31
#define ZONE_DIR_DEFAULT "/usr/share/zoneinfo"

struct zone;

/* A stretch of time in which the offset stays the same: [start, end), INT64_MIN and INT64_MAX if
 * unbounded. */
struct zone_span {
	int64_t start, end;
	int32_t off;        /* seconds east of Greenwich */
	int32_t off_before; /* of the span before; equal to off if there is none */
};

enum zone_kind { ZONE_NORMAL, ZONE_GAP, ZONE_FOLD };

/* What a local time means. Normal: first == second. Fold: the two instants, in order. */
struct zone_local {
	enum zone_kind kind;
	int64_t first;  /* gap: the instant that the offset before the gap gives (it is past the
			   gap's end) */
	int64_t second; /* gap: the instant that the offset after the gap gives (it is before the
			   gap) */
	int64_t change; /* gap, fold: the instant of the clock change */
};

/* Where the files are; drops nothing that is cached. dir is borrowed for good; NULL: the
 * default. */
void zone_set_dir(const char *dir);

/*
 * The zone called name ("Europe/Berlin", also links such as "US/Eastern"), from the cache or its
 * file. ERR_INVALID for a malformed name or file, ERR_NOT_FOUND for an unknown name. Never freed by
 * the caller.
 */
const struct zone *zone_get(const char *name, struct err *e);
/* Always there, needs no file. */
const struct zone *zone_utc(void);
/* As it was asked for. */
const char *zone_name(const struct zone *z);

/* Of the bytes of its file: another one means other rules, or the same told otherwise. */
uint64_t zone_fingerprint(const struct zone *z);
/* Which tzdata the folder holds, such as "2025b", as far as a file there says so; else "". */
const char *zone_data_version(char out[ZONE_VERSION_MAX + 1]);

/*
 * Forget cached zones whose file has another inode or change time by now, so that the next
 * zone_get() reads it. Zones handed out before stay valid. Returns how many were forgotten.
 */
int zone_refresh(void);
/* Free everything, also what was forgotten: only at the end of the process or of a test. */
void zone_fini(void);

/* is_dst and abbrev may be NULL; abbrev lives as long as the zone. */
void zone_offset_at(
    const struct zone *z, int64_t utc, int32_t *off, bool *is_dst, const char **abbrev);
struct zone_span zone_span_at(const struct zone *z, int64_t utc);
/* The next instant after utc at which the offset changes; false if it never does again. */
bool zone_next_change(const struct zone *z, int64_t utc, int64_t *at);
/* From here on the file has no table, only its yearly rule or nothing: INT64_MIN if that is always
 * so. */
int64_t zone_table_end(const struct zone *z);
/* local_s: local date and time written as if they were UTC. */
struct zone_local zone_from_local(const struct zone *z, int64_t local_s);
