// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* lib/seal: the key file, sealing and opening, the keyed hash. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/io.h"
#include "seal/seal.h"

static char dir[] = "/tmp/takt-seal-XXXXXX";
static int dfd = -1;

static int
setup(void **state)
{
	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	if (!mkdtemp(dir))
		return -1;
	dfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dfd < 0 ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlinkat(dfd, "key", 0);
	unlinkat(dfd, "other", 0);
	close(dfd);
	return rmdir(dir); /* fails if a temporary file was left */
}

static void
test_round_trip(void **state)
{
	static const char secret[] = "hunter2\0with a NUL";
	_cleanup_seal_key_ struct seal_key *k = NULL, *other = NULL;
	_cleanup_secret_ struct buf sealed = {0}, opened = {0};
	struct err e = ERR_INIT;

	(void)state;
	k = seal_key_make(dfd, "key", &e);
	assert_non_null(k);
	other = seal_key_make(dfd, "other", &e);
	assert_non_null(other);
	assert_string_not_equal(seal_key_id(k), seal_key_id(other));
	assert_int_equal(seal_to(seal_key_public(k), secret, sizeof(secret), &sealed, &e), 0);
	assert_int_equal(sealed.n, sizeof(secret) + SEAL_OVERHEAD_B);
	assert_null(memmem(sealed.p, sealed.n, "hunter2", 7));
	assert_int_equal(seal_open(k, sealed.p, sealed.n, &opened, &e), 0);
	assert_int_equal(opened.n, sizeof(secret));
	assert_memory_equal(opened.p, secret, sizeof(secret));

	assert_int_equal(seal_open(other, sealed.p, sealed.n, &opened, &e), -ERR_INVALID);
	assert_int_equal(seal_open(k, sealed.p, sealed.n - 1, &opened, &e), -ERR_INVALID);
	assert_int_equal(seal_open(k, sealed.p, SEAL_OVERHEAD_B - 1, &opened, &e), -ERR_INVALID);
	for (size_t i = 0; i < sealed.n; i++) { /* a change of any byte is seen */
		sealed.p[i] ^= 1;
		assert_int_equal(seal_open(k, sealed.p, sealed.n, &opened, &e), -ERR_INVALID);
		sealed.p[i] ^= 1;
	}
	assert_int_equal(opened.n, sizeof(secret));
}

static void
test_empty_message_and_appending(void **state)
{
	_cleanup_seal_key_ struct seal_key *k = NULL;
	_cleanup_buf_ struct buf sealed = {0}, opened = {0};
	struct err e = ERR_INIT;

	(void)state;
	k = seal_key_make(dfd, "key", &e);
	buf_adds(&opened, "before:");
	assert_int_equal(seal_to(seal_key_public(k), "", 0, &sealed, &e), 0);
	assert_int_equal(seal_open(k, sealed.p, sealed.n, &opened, &e), 0);
	assert_string_equal(opened.p, "before:");
}

static void
test_key_is_kept(void **state)
{
	_cleanup_seal_key_ struct seal_key *a = NULL, *b = NULL;
	struct err e = ERR_INIT;
	struct stat st;

	(void)state;
	assert_null(seal_key_load(dfd, "key", &e)); /* load never makes */
	assert_int_equal(e.code, ERR_SYSTEM);
	a = seal_key_make(dfd, "key", &e);
	b = seal_key_make(dfd, "key", &e);
	assert_memory_equal(seal_key_public(a), seal_key_public(b), SEAL_PUBLIC_B);
	assert_string_equal(seal_key_id(a), seal_key_id(b));
	assert_int_equal(fstatat(dfd, "key", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_nlink, 1);
}

static void
assert_refused(enum err_code code, const char *words)
{
	struct err e = ERR_INIT;

	assert_null(seal_key_make(dfd, "key", &e));
	assert_int_equal(e.code, code);
	assert_non_null(strstr(e.message, words));
}

static void
test_bad_files_are_refused(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	seal_key_free(seal_key_make(dfd, "key", &e));
	assert_int_equal(fchmodat(dfd, "key", 0640, 0), 0);
	assert_refused(ERR_DENIED, "0640");
	assert_int_equal(fchmodat(dfd, "key", 0604, 0), 0);
	assert_refused(ERR_DENIED, "0604");

	assert_int_equal(renameat(dfd, "key", dfd, "other"), 0);
	assert_int_equal(fchmodat(dfd, "other", 0600, 0), 0);
	assert_int_equal(symlinkat("other", dfd, "key"), 0);
	assert_refused(ERR_SYSTEM, "key");
	assert_int_equal(unlinkat(dfd, "key", 0), 0);

	assert_int_equal(io_replace_file(dfd, "key", "short", 5, 0600, &e), 0);
	assert_refused(ERR_INVALID, "32 bytes");
	assert_int_equal(io_replace_file(dfd, "key", "", 0, 0600, &e), 0);
	assert_refused(ERR_INVALID, "32 bytes");
}

/* Several processes that start at once on an empty directory end with one key. */
static void
test_makers_agree(void **state)
{
	char ids[8][SEAL_ID_LEN + 1] = {0};
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	for (int i = 0; i < 8; i++) {
		if (fork() == 0) {
			struct seal_key *k = seal_key_make(dfd, "key", NULL);

			_exit(
			    k && write(fds[1], seal_key_id(k), SEAL_ID_LEN) == SEAL_ID_LEN ? 0 : 1);
		}
	}
	for (int i = 0; i < 8; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
		assert_int_equal(read(fds[0], ids[i], SEAL_ID_LEN), SEAL_ID_LEN);
		assert_string_equal(ids[i], ids[0]);
	}
	close(fds[0]);
	close(fds[1]);
}

static void
test_hash_and_id(void **state)
{
	_cleanup_seal_key_ struct seal_key *a = NULL, *b = NULL;
	unsigned char h1[SEAL_HASH_B], h2[SEAL_HASH_B], zero[SEAL_PUBLIC_B] = {0};
	char id[SEAL_ID_LEN + 1];
	struct err e = ERR_INIT;

	(void)state;
	a = seal_key_make(dfd, "key", &e);
	b = seal_key_make(dfd, "other", &e);
	seal_hash(a, "text", 4, h1);
	seal_hash(a, "text", 4, h2);
	assert_memory_equal(h1, h2, sizeof(h1));
	seal_hash(a, "texT", 4, h2);
	assert_memory_not_equal(h1, h2, sizeof(h1));
	seal_hash(b, "text", 4, h2);
	assert_memory_not_equal(h1, h2, sizeof(h1));
	seal_id(zero, id); /* BLAKE2b-256 of 32 zero bytes, by Python's hashlib */
	assert_string_equal(id, "89eb0d6a8a691dae");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_empty_message_and_appending, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_key_is_kept, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bad_files_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_makers_agree, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_hash_and_id, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
