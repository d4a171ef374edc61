// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Secrets at rest: credentials and exact snapshots are sealed to the engine's public key
 * (crypto_box_seal), which anybody may know; only the engine, which holds the key file, opens them.
 * Used by the engine, the gateway (seals only) and keepers (seal only).
 *
 * The secret key lives in guarded memory that is wiped when freed. Opened secrets are the
 * caller's: end them with seal_wipe().
 */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

#define SEAL_PUBLIC_B 32
#define SEAL_HASH_B 32
#define SEAL_OVERHEAD_B 48 /* a sealed message is this much longer */
#define SEAL_ID_LEN 16

struct seal_key;

/*
 * Read the key file `name` in dirfd. Refused: a link, a file that group or others can read, an owner
 * other than us or root, a wrong size. seal_key_make() makes the file first if there is none; two at
 * once end with the same key, and an existing file is never written to.
 */
struct seal_key *seal_key_load(int dirfd, const char *name, struct err *e);
struct seal_key *seal_key_make(int dirfd, const char *name, struct err *e);
void seal_key_free(struct seal_key *);
const unsigned char *seal_key_public(const struct seal_key *);
const char *seal_key_id(const struct seal_key *);

/* First 16 hex digits of the BLAKE2b of a public key: what rows name the key by. */
void seal_id(const unsigned char public_key[SEAL_PUBLIC_B], char id[SEAL_ID_LEN + 1]);

/* Append the sealed bytes to out. Fails only for a public key that is none. */
int seal_to(const unsigned char public_key[SEAL_PUBLIC_B], const void *p, size_t n, struct buf *out,
    struct err *e);
/* Append what was sealed. ERR_INVALID: sealed to another key, or changed. */
int seal_open(const struct seal_key *, const void *p, size_t n, struct buf *out, struct err *e);

/* Keyed hash: tells equal contents from different ones to whoever holds the key, and nothing to others. */
void seal_hash(const struct seal_key *, const void *p, size_t n, unsigned char hash[SEAL_HASH_B]);

/* Overwrite with zeroes, then free. */
void seal_wipe(struct buf *);

static inline void
cleanup_seal_key(struct seal_key **k)
{
	seal_key_free(*k);
}
#define _cleanup_seal_key_ _cleanup_(cleanup_seal_key)
#define _cleanup_secret_ _cleanup_(seal_wipe)
