// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A unit's directory `units/<unit id>/` and its identity file `meta`. The executor makes the
 * directory and the first meta; the keeper claims the unit and writes meta again with itself in it.
 *
 * `claim` is created exactly once (O_EXCL): by the keeper before it starts anything, or by an
 * executor that decided that no keeper will come. Whoever made it decides what becomes of the unit.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define UNIT_ID_MAX 60
#define UNIT_TAG_LEN 32   /* hex digits */
#define UNIT_NONCE_LEN 64 /* hex digits: 32 bytes, the key of the keeper's socket */

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

/* True for `<uuid>.<attempt>.<unit no>`: what may become a directory's name. */
bool unit_id_valid(const char *s);

/* Written by rename, not fsynced: after a power cut no keeper is left to be identified. */
int unit_meta_write(int dirfd, const struct unit_meta *m, struct err *e);
int unit_meta_read(int dirfd, struct unit_meta *out, struct err *e);
/* 1: the unit is ours to decide; 0: somebody else has claimed it. */
int unit_claim(int dirfd, struct err *e);
/* Held by the keeper from before its claim until meta names it: a descriptor to close, or -1. */
int unit_hold(int dirfd);
/* False: claimed by a keeper or not, nobody is on the way to writing meta. */
bool unit_is_held(int dirfd);
/* Remove `name` below units_fd with its (flat) contents. */
void unit_dir_remove(int units_fd, const char *name);

/* The proof of knowing the nonce: crypto_auth of "who:challenge" in hex. out: 65 bytes. */
void unit_proof(const char *nonce, const char *who, const char *challenge, char out[65]);
bool unit_proof_holds(const char *nonce, const char *who, const char *challenge, const char *mac);
