// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See io.h. */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/failpoint.h"

#include "base/banned.h"

int
io_write_all(int fd, const void *p, size_t n)
{
	const char *c = p;

	while (n) {
		ssize_t w = write(fd, c, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -1;
		c += w;
		n -= (size_t)w;
	}
	return 0;
}

int
io_read_file(const char *path, size_t max, struct buf *out, struct err *e)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t start = out->n;

	if (fd < 0)
		return err_sys(e, "%s", path);
	for (;;) {
		ssize_t r;

		buf_reserve(out, 16384);
		r = read(fd, out->p + out->n, 16384);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(e, "%s", path);
		if (!r)
			break;
		out->n += (size_t)r;
		if (out->n - start > max)
			return err_set(e, ERR_TOO_BIG, "%s is larger than %zu bytes", path, max);
	}
	out->p[out->n] = 0;
	return 0;
}

int
io_sync(int fd)
{
	if (fsync(fd) < 0)
		return -1;
#ifdef HAVE_FAILPOINTS
	failpoint_synced(fd);
#endif
	return 0;
}

int
io_rename(int dirfd, const char *from, const char *to)
{
#ifdef HAVE_FAILPOINTS
	failpoint_renaming(dirfd, from, to);
#endif
	return renameat(dirfd, from, dirfd, to);
}

int
io_replace_file(int dirfd, const char *name, const void *p, size_t n, mode_t mode, struct err *e)
{
	_cleanup_fd_ int fd = -1;
	char tmp[300];

	snprintf(tmp, sizeof(tmp), "%s.%d.tmp", name, (int)getpid());
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return err_sys(e, "creating %s", tmp);
	FAILPOINT_FILE(fd);
	if (io_write_all(fd, p, n) < 0 || io_sync(fd) < 0 || io_rename(dirfd, tmp, name) < 0) {
		err_sys(e, "writing %s", name);
		unlinkat(dirfd, tmp, 0);
		return -ERR_SYSTEM;
	}
	if (io_sync(dirfd) < 0)
		return err_sys(e, "syncing the directory of %s", name);
	return 0;
}

int
io_mkdirs(const char *path, mode_t mode, struct err *e)
{
	char part[4096];
	size_t n = strlen(path);

	if (n >= sizeof(part))
		return err_set(e, ERR_INVALID, "path of %zu bytes is too long", n);
	for (size_t i = 1; i <= n; i++) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (mkdir(part, i == n ? mode : 0755) < 0 && errno != EEXIST)
			return err_sys(e, "mkdir %s", part);
	}
	return 0;
}

int
io_set_nonblock(int fd, bool on)
{
	int fl = fcntl(fd, F_GETFL);

	return fcntl(fd, F_SETFL, on ? fl | O_NONBLOCK : fl & ~O_NONBLOCK);
}

int
io_set_cloexec(int fd, bool on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

static int
unix_address(int dirfd, const char *name, struct sockaddr_un *sa, struct err *e)
{
	int n;

	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s", dirfd, name);
	if (n < 0 || (size_t)n >= sizeof(sa->sun_path))
		return err_set(e, ERR_INVALID, "socket name '%s' is too long", name);
	return 0;
}

int
io_unix_listen(int dirfd, const char *name, int type, struct err *e)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa;

	if (fd < 0)
		return err_sys(e, "socket");
	if (unix_address(dirfd, name, &sa, e) < 0)
		return -ERR_INVALID;
	unlinkat(dirfd, name, 0);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, "binding %s", name);
	if (fchmodat(dirfd, name, 0600, 0) < 0 || listen(fd, 64) < 0)
		return err_sys(e, "listening on %s", name);
	return take_fd(&fd);
}

int
io_unix_connect(int dirfd, const char *name, int type, struct err *e)
{
	/* Connecting would wait for one whose backlog is full because it is stopped. */
	_cleanup_fd_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa;

	if (fd < 0)
		return err_sys(e, "socket");
	if (unix_address(dirfd, name, &sa, e) < 0)
		return -ERR_INVALID;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, "connecting to %s", name);
	io_set_nonblock(fd, false);
	return take_fd(&fd);
}
