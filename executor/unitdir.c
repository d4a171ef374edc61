// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See unitdir.h. */
#include "executor/unitdir.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/io.h"
#include "base/jsonx.h"

#include "base/banned.h"

static const struct json_limits meta_limits = {.size_b = 4096, .depth = 4, .tokens = 64};

bool
unit_id_valid(const char *s)
{
	char uuid[UUID_LEN + 1];
	size_t n = strlen(s), dots = 0, digits = 0;

	if (n < UUID_LEN + 4 || n > UNIT_ID_MAX)
		return false;
	memcpy(uuid, s, UUID_LEN);
	uuid[UUID_LEN] = 0;
	if (!uuid_valid(uuid) || s[UUID_LEN] != '.')
		return false;
	for (const char *p = s + UUID_LEN; *p; p++) {
		if (*p == '.') {
			if (dots && !digits)
				return false;
			dots++;
			digits = 0;
		} else if (isdigit((unsigned char)*p))
			digits++;
		else
			return false;
	}
	return dots == 2 && digits > 0;
}

int
unit_meta_write(int dirfd, const struct unit_meta *m, struct err *e)
{
	_cleanup_json_ json_t *j = json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:i, s:I, s:b}",
	    "unit", m->unit, "epoch", (json_int_t)m->epoch, "type", m->type, "tag", m->tag, "nonce",
	    m->nonce, "boot_id", m->boot_id, "keeper_pid", (int)m->keeper_pid, "keeper_start",
	    (json_int_t)m->keeper_start, "is_killed_without_lease", m->is_killed_without_lease);
	_cleanup_free_ char *text = j ? json_text(j) : NULL;
	_cleanup_fd_ int fd = -1;

	if (!text)
		return err_set(e, ERR_INVALID, "meta of unit %s is not UTF-8", m->unit);
	fd = openat(dirfd, "meta.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || io_write_all(fd, text, strlen(text)) < 0 ||
	    renameat(dirfd, "meta.tmp", dirfd, "meta") < 0)
		return err_sys(e, "writing meta of unit %s", m->unit);
	return 0;
}

static void
copy_text(char *out, size_t n, const json_t *j, const char *key)
{
	snprintf(out, n, "%s", json_get_str(j, key, ""));
}

int
unit_meta_read(int dirfd, struct unit_meta *out, struct err *e)
{
	_cleanup_fd_ int fd = openat(dirfd, "meta", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_json_ json_t *j = NULL;
	struct unit_meta m = {0};
	char text[4096];
	ssize_t n;

	if (fd < 0)
		return err_sys(e, "meta");
	n = read(fd, text, sizeof(text));
	j = n > 0 ? json_parse(text, (size_t)n, &meta_limits, e) : NULL;
	if (!json_is_object(j))
		return err_set(e, ERR_INVALID, "meta is not a JSON object");
	copy_text(m.unit, sizeof(m.unit), j, "unit");
	copy_text(m.type, sizeof(m.type), j, "type");
	copy_text(m.tag, sizeof(m.tag), j, "tag");
	copy_text(m.nonce, sizeof(m.nonce), j, "nonce");
	copy_text(m.boot_id, sizeof(m.boot_id), j, "boot_id");
	m.epoch = json_get_int(j, "epoch", 0);
	m.is_killed_without_lease = json_get_bool(j, "is_killed_without_lease", 0);
	m.keeper_pid = (pid_t)json_get_int(j, "keeper_pid", 0);
	m.keeper_start = (uint64_t)json_get_int(j, "keeper_start", 0);
	if (strlen(m.tag) != UNIT_TAG_LEN || strlen(m.nonce) != UNIT_NONCE_LEN)
		return err_set(e, ERR_INVALID, "meta has no tag or nonce");
	*out = m;
	return 0;
}

int
unit_claim(int dirfd, struct err *e)
{
	_cleanup_fd_ int fd =
	    openat(dirfd, "claim", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0)
		return 1;
	return errno == EEXIST ? 0 : err_sys(e, "claim");
}

static int
lock_dir(int dirfd, int operation)
{
	/* A description of its own: the lock is not shared with whoever gave us dirfd. */
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && flock(fd, operation) < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

int
unit_hold(int dirfd)
{
	return lock_dir(dirfd, LOCK_EX);
}

bool
unit_is_held(int dirfd)
{
	_cleanup_fd_ int fd = lock_dir(dirfd, LOCK_EX | LOCK_NB);

	return fd < 0 && errno == EWOULDBLOCK;
}

void
unit_dir_remove(int units_fd, const char *name)
{
	int fd = openat(units_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *ent;

	while (d && (ent = readdir(d)))
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
			unlinkat(fd, ent->d_name, 0);
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
	unlinkat(units_fd, name, AT_REMOVEDIR);
}

static bool
proof_bytes(const char *nonce, const char *who, const char *challenge, unsigned char *mac)
{
	unsigned char key[crypto_auth_KEYBYTES];
	char text[256];
	size_t n = 0;

	if (sodium_hex2bin(key, sizeof(key), nonce, strlen(nonce), NULL, &n, NULL) != 0 ||
	    n != sizeof(key))
		return false;
	snprintf(text, sizeof(text), "%s:%s", who, challenge);
	crypto_auth(mac, (const unsigned char *)text, strlen(text), key);
	sodium_memzero(key, sizeof(key));
	return true;
}

void
unit_proof(const char *nonce, const char *who, const char *challenge, char out[65])
{
	unsigned char mac[crypto_auth_BYTES];

	out[0] = 0;
	if (proof_bytes(nonce, who, challenge, mac))
		sodium_bin2hex(out, 65, mac, sizeof(mac));
}

bool
unit_proof_holds(const char *nonce, const char *who, const char *challenge, const char *mac)
{
	char want[65];

	unit_proof(nonce, who, challenge, want);
	return want[0] && strlen(mac) == 64 && sodium_memcmp(want, mac, 64) == 0;
}
