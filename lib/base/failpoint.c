// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See failpoint.h. The keeper uses it, too: fixed storage only. */
#include "base/failpoint.h"

#ifdef HAVE_FAILPOINTS
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#include "base/banned.h"

#define FILES_MAX 16
#define RENAMES_MAX 8
#define NAME_MAX_B 64

enum action { NOTHING, CRASH, STOP, SLEEP, POWERLOSS };

struct point {
	const char *name;
	enum action action;
	unsigned ms, nth, passed; /* passed: by this process */
};

struct file {
	int fd; /* a duplicate: the code may close its own */
	off_t synced;
};

struct renamed {
	int dirfd;
	char from[NAME_MAX_B], to[NAME_MAX_B];
};

static struct point points[] = {
#define FAILPOINT_ROW(point, process, between) {.name = point},
#include "base/failpoints.def"
#undef FAILPOINT_ROW
};
static struct file files[FILES_MAX];
static struct renamed renames[RENAMES_MAX];
static unsigned files_n, renames_n;
static int dir = -1;

static struct point *
find(const char *name, size_t n)
{
	for (size_t i = 0; i < ARRAY_LEN(points); i++)
		if (strlen(points[i].name) == n && !memcmp(points[i].name, name, n))
			return &points[i];
	return NULL;
}

/* "crash", "sleep=250:3": into *p; false if it is neither. */
static bool
arm(struct point *p, const char *text)
{
	static const char *const words[] = {
	    [CRASH] = "crash", [STOP] = "stop", [SLEEP] = "sleep=", [POWERLOSS] = "powerloss"};
	char *end;

	for (enum action a = CRASH; a <= POWERLOSS; a++) {
		if (strncmp(text, words[a], strlen(words[a])) != 0)
			continue;
		end = (char *)(uintptr_t)text + strlen(words[a]);
		p->ms = a == SLEEP ? (unsigned)strtoul(end, &end, 10) : 0;
		p->nth = *end == ':' ? (unsigned)strtoul(end + 1, &end, 10) : 1;
		p->action = a;
		return p->nth > 0 && (*end == '\0' || *end == ',' || *end == '\n');
	}
	return false;
}

static void
read_environment(void)
{
	const char *s = getenv("TAKT_FAILPOINTS"), *path = getenv("TAKT_FAILPOINTS_DIR");

	if (path && *path) {
		dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			log_fatal(LOG_MAIN, "TAKT_FAILPOINTS_DIR=%s: %m", path);
	}
	while (s && *s) {
		size_t n = strcspn(s, ":,");
		struct point *p = find(s, n);

		if (!p || s[n] != ':' || !arm(p, s + n + 1))
			log_fatal(LOG_MAIN, "TAKT_FAILPOINTS: '%s' is no point:action[:nth]", s);
		s += strcspn(s, ",");
		s += *s == ',';
	}
}

/* Whoever forks has passed no point before: the zygote has none. */
static void
start(void)
{
	static bool has_started;

	if (!has_started)
		read_environment();
	has_started = true;
}

static bool
armed_by_file(struct point *p)
{
	char name[NAME_MAX_B], text[64] = "";
	_cleanup_fd_ int fd = -1;

	snprintf(name, sizeof(name), "%s.arm", p->name);
	fd = dir >= 0 ? openat(dir, name, O_RDONLY | O_CLOEXEC) : -1;
	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && arm(p, text);
}

/* Which passing this is: appending a byte tells its own place, whoever else appends. */
static unsigned
count(struct point *p)
{
	char name[NAME_MAX_B];
	_cleanup_fd_ int fd = -1;

	p->passed++;
	if (dir < 0)
		return p->passed;
	snprintf(name, sizeof(name), "%s.count", p->name);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0 || write(fd, ".", 1) != 1)
		log_fatal(LOG_MAIN, "failpoint %s cannot be counted: %m", p->name);
	return (unsigned)lseek(fd, 0, SEEK_CUR);
}

/* True for the one that may fire. */
static bool
take(struct point *p, bool is_by_file)
{
	char name[NAME_MAX_B];
	int fd;

	if (dir < 0)
		return true;
	snprintf(name, sizeof(name), "%s.arm", p->name);
	if (is_by_file && renameat(dir, name, dir, p->name) < 0)
		return false;
	fd = is_by_file ? -1 : openat(dir, p->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (!is_by_file && fd < 0)
		return false;
	if (fd >= 0)
		close(fd);
	snprintf(name, sizeof(name), "%s.count", p->name);
	unlinkat(dir, name, 0);
	return true;
}

static void
lose_power(void)
{
	while (renames_n) {
		const struct renamed *r = &renames[--renames_n];

		renameat(r->dirfd, r->to, r->dirfd, r->from);
	}
	for (unsigned i = 0; i < files_n; i++)
		if (ftruncate(files[i].fd, files[i].synced) < 0)
			log_error(LOG_MAIN, "power loss: file cannot be cut: %m");
}

static void
fire(const struct point *p)
{
	const struct timespec ts = {p->ms / 1000, (long)(p->ms % 1000) * 1000000};

	log_warn(LOG_MAIN, "failpoint %s fires", p->name);
	if (p->action == SLEEP)
		nanosleep(&ts, NULL);
	else if (p->action == STOP)
		kill(getpid(), SIGSTOP);
	if (p->action == POWERLOSS)
		lose_power();
	if (p->action == CRASH || p->action == POWERLOSS)
		kill(getpid(), SIGKILL);
}

static void
pass(struct point *p)
{
	bool is_by_file = armed_by_file(p);

	if (p->action == NOTHING || (!is_by_file && dir >= 0 && !faccessat(dir, p->name, F_OK, 0)))
		return;
	if (count(p) == p->nth && take(p, is_by_file))
		fire(p);
	if (is_by_file)
		p->action = NOTHING; /* it is the file that arms */
}

/* False: there is no such point. */
static bool
pass_by_name(const char *name)
{
	struct point *p = find(name, strlen(name));

	if (!p)
		return false;
	start();
	pass(p);
	return true;
}

void
failpoint_hit(const char *name)
{
	if (!pass_by_name(name))
		log_bug(LOG_MAIN, "failpoint %s is not in failpoints.def", name);
}

void
failpoint_hit2(const char *first, const char *second)
{
	char name[NAME_MAX_B];

	snprintf(name, sizeof(name), "%s%s", first, second);
	pass_by_name(name);
}

static bool
is_same(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

void
failpoint_file(int fd)
{
	if (files_n == FILES_MAX) { /* the oldest is taken for durable */
		close(files[0].fd);
		memmove(files, files + 1, sizeof(files[0]) * --files_n);
	}
	files[files_n] = (struct file){.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)};
	files_n += files[files_n].fd >= 0;
}

void
failpoint_synced(int fd)
{
	unsigned kept = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	for (unsigned i = 0; i < files_n; i++)
		if (is_same(files[i].fd, fd))
			files[i].synced = st.st_size;
	for (unsigned i = 0; i < renames_n; i++)
		if (is_same(renames[i].dirfd, fd))
			close(renames[i].dirfd);
		else
			renames[kept++] = renames[i];
	renames_n = kept;
}

void
failpoint_renaming(int dirfd, const char *from, const char *to)
{
	struct renamed *r = &renames[renames_n];

	/* Over an existing file either may be there after a power loss: nothing to undo. */
	if (renames_n == RENAMES_MAX || faccessat(dirfd, to, F_OK, 0) == 0)
		return;
	r->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	snprintf(r->from, sizeof(r->from), "%s", from);
	snprintf(r->to, sizeof(r->to), "%s", to);
	renames_n += r->dirfd >= 0;
}
#endif
