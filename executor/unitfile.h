// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A unit's file `units/<unit id>`: who it is, who decides about it, what it did, how it ended. One
 * file, because each inode that is made or deleted costs more than all that is written to it, and
 * because one sync then makes everything durable.
 *
 *      0  identity   JSON, by the executor before anybody else has the file
 *   2048  keeper     JSON, by the keeper, once
 *   3072  marks      one byte each, enum unit_mark
 *   3080  result_at  u64, little-endian: where in the file the result frame stands; 0: none yet
 *   4096  frames     the journal, then the result
 *
 * The keeper holds the lock from before its claim until the file names it. Whoever sets
 * UNIT_CLAIMED, under that lock, decides what becomes of the unit: the keeper before it starts
 * anything, or an executor that decided that no keeper will come.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define UNIT_ID_MAX 60
#define UNIT_TAG_LEN 32   /* hex digits */
#define UNIT_NONCE_LEN 64 /* hex digits: 32 bytes, see meet.h */
#define UNIT_HEAD_B 4096
/* {"keeper_pid", "keeper_start"}, NULs behind it; `takt dev` reads it too. */
#define UNIT_KEEPER_AT 2048
#define UNIT_KEEPER_B 1024

struct unit_meta {
	char unit[UNIT_ID_MAX + 1];
	char type[65];
	char tag[UNIT_TAG_LEN + 1];
	char nonce[UNIT_NONCE_LEN + 1];
	char boot_id[37];
	int64_t epoch;
	bool is_killed_without_lease; /* START said on_lease_loss: kill */
	pid_t keeper_pid;             /* 0: none yet */
	uint64_t keeper_start;
};

enum unit_mark {
	UNIT_CLAIMED,
	UNIT_DURABLE, /* the result is synced; not synced itself: after a power loss the frame tells */
	UNIT_SETTLED, /* the engine has it all */
};

/* True for `<uuid>.<attempt>.<unit no>`: what may become a file's name. */
bool unit_id_valid(const char *s);

/* Make the file, of a spare one if there is any; a descriptor to read and write. */
int unit_file_make(int units_fd, const struct unit_meta *m, struct err *e);
/* A descriptor to read and write, or -1. */
int unit_file_open(int units_fd, const char *unit);

int unit_meta_read(int fd, struct unit_meta *out, struct err *e);
int unit_keeper_write(int fd, pid_t pid, uint64_t start, struct err *e);

/* The process's lock on the head. 0, or -1 with EAGAIN: somebody else has it. Ends at the latest when
 * the process ends or closes any descriptor of the file. */
int unit_lock(int fd, bool is_to_wait);
void unit_unlock(int fd);
/* Call with the lock. 1: the unit is ours to decide; 0: somebody else has claimed it. */
int unit_claim(int fd, struct err *e);

int unit_mark(int fd, enum unit_mark mark);
bool unit_is_marked(int fd, enum unit_mark mark);

/* Before the result frame is written: where it will be. */
int unit_result_place(int fd, uint64_t at);
/* Where the journal ends: its bytes without the result. */
uint64_t unit_journal_b(int fd);
/* True if there is a result frame and nothing of it is missing: what counts after a power loss. */
bool unit_result_is_whole(int fd);
