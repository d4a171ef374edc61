// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See seal.h. */
#include "seal/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/io.h"
#include "base/log.h"

#include "base/banned.h"

_Static_assert(SEAL_PUBLIC_B == crypto_box_PUBLICKEYBYTES, "size of a public key");
_Static_assert(SEAL_OVERHEAD_B == crypto_box_SEALBYTES, "overhead of a seal");
_Static_assert(SEAL_HASH_B == crypto_generichash_BYTES, "size of a hash");

static const char hash_context[] = "takt keyed hash 1";

struct seal_key {
	unsigned char secret[crypto_box_SECRETKEYBYTES];
	unsigned char hash_key[crypto_generichash_KEYBYTES];
	unsigned char public[crypto_box_PUBLICKEYBYTES];
	char id[SEAL_ID_LEN + 1];
};

static void
init(void)
{
	if (sodium_init() < 0)
		log_fatal(LOG_MAIN, "libsodium cannot be initialised: no source of randomness");
}

void
seal_id(const unsigned char public_key[SEAL_PUBLIC_B], char id[SEAL_ID_LEN + 1])
{
	unsigned char hash[crypto_generichash_BYTES];

	init();
	crypto_generichash(hash, sizeof(hash), public_key, SEAL_PUBLIC_B, NULL, 0);
	sodium_bin2hex(id, SEAL_ID_LEN + 1, hash, SEAL_ID_LEN / 2);
}

static int
check_file(int fd, const char *name, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "%s", name);
	if (!S_ISREG(st.st_mode) || st.st_size != crypto_box_SECRETKEYBYTES) {
		err_set(e, ERR_INVALID, "%s is not a key file of %d bytes", name,
		    crypto_box_SECRETKEYBYTES);
		return err_hint(
		    e, "Restore it from a backup; what is sealed to a lost key cannot be opened.");
	}
	if (st.st_mode & 077) {
		err_set(e, ERR_DENIED, "%s has mode %04o: group or others may use it", name,
		    st.st_mode & 07777);
		return err_hint(
		    e, "chmod 600 it, and consider the key known to whoever could read it.");
	}
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		err_set(
		    e, ERR_DENIED, "%s belongs to user %u, not to %u", name, st.st_uid, geteuid());
		return err_hint(e, "chown it to the user that the engine runs as.");
	}
	return 0;
}

static int
derive(struct seal_key *k)
{
	if (crypto_scalarmult_base(k->public, k->secret) < 0)
		return -1;
	crypto_generichash(k->hash_key, sizeof(k->hash_key), (const unsigned char *)hash_context,
	    sizeof(hash_context) - 1, k->secret, sizeof(k->secret));
	seal_id(k->public, k->id);
	return 0;
}

struct seal_key *
seal_key_load(int dirfd, const char *name, struct err *e)
{
	_cleanup_fd_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct seal_key *k;

	init();
	if (fd < 0) {
		err_sys(e, "key file %s", name);
		return NULL;
	}
	if (check_file(fd, name, e) < 0)
		return NULL;
	k = sodium_malloc(sizeof(*k));
	if (!k) {
		err_set(e, ERR_NOMEM, "no guarded memory for the key");
		return NULL;
	}
	if (read(fd, k->secret, sizeof(k->secret)) != (ssize_t)sizeof(k->secret) || derive(k) < 0) {
		err_set(e, ERR_INVALID, "key file %s cannot be read or is no key", name);
		sodium_free(k);
		return NULL;
	}
	sodium_mprotect_readonly(k);
	return k;
}

/* The name appears by link(2), which never replaces: of two makers one wins and both load its key. */
static int
make_file(int dirfd, const char *name, struct err *e)
{
	unsigned char public[crypto_box_PUBLICKEYBYTES], secret[crypto_box_SECRETKEYBYTES];
	_cleanup_fd_ int fd = -1;
	char tmp[300];
	int rc = 0;

	snprintf(tmp, sizeof(tmp), "%s.%d.tmp", name, (int)getpid());
	unlinkat(dirfd, tmp, 0); /* of a process with our pid that died here */
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, "creating %s", tmp);
	crypto_box_keypair(public, secret);
	if (io_write_all(fd, secret, sizeof(secret)) < 0 || fsync(fd) < 0)
		rc = err_sys(e, "writing %s", tmp);
	else if (linkat(dirfd, tmp, dirfd, name, 0) < 0 && errno != EEXIST)
		rc = err_sys(e, "linking %s", name);
	sodium_memzero(secret, sizeof(secret));
	unlinkat(dirfd, tmp, 0);
	if (rc == 0 && fsync(dirfd) < 0)
		rc = err_sys(e, "syncing the directory of %s", name);
	return rc;
}

struct seal_key *
seal_key_make(int dirfd, const char *name, struct err *e)
{
	init();
	if (faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && make_file(dirfd, name, e) < 0)
		return NULL;
	return seal_key_load(dirfd, name, e);
}

void
seal_key_free(struct seal_key *k)
{
	sodium_free(k); /* wipes */
}

const unsigned char *
seal_key_public(const struct seal_key *k)
{
	return k->public;
}

const char *
seal_key_id(const struct seal_key *k)
{
	return k->id;
}

int
seal_to(const unsigned char public_key[SEAL_PUBLIC_B], const void *p, size_t n, struct buf *out,
    struct err *e)
{
	init();
	buf_reserve(out, n + SEAL_OVERHEAD_B + 1);
	if (crypto_box_seal((unsigned char *)out->p + out->n, p, n, public_key) < 0)
		return err_set(e, ERR_INVALID, "the public key to seal to is not a usable one");
	out->n += n + SEAL_OVERHEAD_B;
	out->p[out->n] = 0;
	return 0;
}

int
seal_open(const struct seal_key *k, const void *p, size_t n, struct buf *out, struct err *e)
{
	if (n < SEAL_OVERHEAD_B)
		return err_set(e, ERR_INVALID, "sealed bytes are cut short: %zu", n);
	/* Reserved whole before the secret is written, so that no copy stays behind in freed memory. */
	buf_reserve(out, n - SEAL_OVERHEAD_B + 1);
	if (crypto_box_seal_open((unsigned char *)out->p + out->n, p, n, k->public, k->secret) <
	    0) {
		err_set(e, ERR_INVALID, "cannot open what should be sealed to key %s", k->id);
		return err_hint(
		    e, "It was sealed to another key or changed; enter the secret again.");
	}
	out->n += n - SEAL_OVERHEAD_B;
	out->p[out->n] = 0;
	return 0;
}

void
seal_hash(const struct seal_key *k, const void *p, size_t n, unsigned char hash[SEAL_HASH_B])
{
	crypto_generichash(hash, SEAL_HASH_B, p, n, k->hash_key, sizeof(k->hash_key));
}

void
seal_wipe(struct buf *b)
{
	if (b->p)
		sodium_memzero(b->p, b->cap);
	buf_fini(b);
}
