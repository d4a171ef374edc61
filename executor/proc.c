// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See proc.h. */
#include "executor/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#include "base/banned.h"

/* More processes than this are looked at in the next sweep. */
#define TABLE_MAX 32768u

static ssize_t
read_proc_file(pid_t pid, const char *name, char *buf, size_t n)
{
	_cleanup_fd_ int fd = -1;
	char path[64];
	size_t used = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (used < n) {
		ssize_t r = read(fd, buf + used, n - used);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		if (!r)
			break;
		used += (size_t)r;
	}
	return (ssize_t)used;
}

int
proc_read(pid_t pid, struct proc *out)
{
	char buf[1024], *p;
	ssize_t n = read_proc_file(pid, "stat", buf, sizeof(buf) - 1);
	unsigned long long start;
	int ppid;
	char state;

	if (n <= 0)
		return -1;
	buf[n] = 0;
	/* The name, field 2, may hold parentheses too: what counts follows the last one. */
	p = strrchr(buf, ')');
	if (!p ||
	    sscanf(p + 1,
		" %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		&state, &ppid, &start) != 3)
		return -1;
	*out = (struct proc){.pid = pid, .ppid = ppid, .state = state, .start = start};
	return 0;
}

uint64_t
proc_start(pid_t pid)
{
	struct proc p;

	return proc_read(pid, &p) == 0 ? p.start : 0;
}

bool
proc_is_alive(pid_t pid, uint64_t start)
{
	struct proc p;

	return pid > 0 && proc_read(pid, &p) == 0 && p.start == start && p.state != 'Z' &&
	       p.state != 'X';
}

const char *
proc_boot_id(void)
{
	static char id[37];
	_cleanup_fd_ int fd = -1;

	if (id[0])
		return id;
	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, id, 36) != 36)
		id[0] = 0;
	return id;
}

unsigned
proc_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	const struct dirent *ent;
	unsigned n = 0;

	if (!d)
		return 0;
	while ((ent = readdir(d)))
		n += isdigit((unsigned char)ent->d_name[0]) != 0;
	closedir(d);
	return n;
}

int
proc_signal(const struct proc *p, int sig)
{
	_cleanup_fd_ int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);

	/* The pidfd holds whoever has the pid now; the start time tells if it is the one. */
	if (fd < 0 || proc_start(p->pid) != p->start)
		return -1;
	return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) == 0 ? 0 : -1;
}

/* All processes; *n of them. Caller frees. */
static struct proc *
table_read(size_t *n)
{
	struct proc *table = malloc(TABLE_MAX * sizeof(*table));
	const struct dirent *ent;
	DIR *d = opendir("/proc");

	*n = 0;
	while (d && table && *n < TABLE_MAX && (ent = readdir(d)))
		if (isdigit((unsigned char)ent->d_name[0]) &&
		    proc_read((pid_t)atoi(ent->d_name), &table[*n]) == 0)
			(*n)++;
	if (d)
		closedir(d);
	return table;
}

/* Move the processes below root to the front of the table; returns how many. */
static size_t
table_descendants(struct proc *t, size_t n, pid_t root)
{
	size_t found = 0, parent = 0;
	pid_t pid = root;

	/* Breadth first: t[0..found) are descendants; each is asked once for its children. */
	for (;;) {
		for (size_t i = found; i < n; i++) {
			if (t[i].ppid != pid)
				continue;
			struct proc swap = t[found];
			t[found++] = t[i];
			t[i] = swap;
		}
		if (parent == found)
			return found;
		pid = t[parent++].pid;
	}
}

size_t
proc_signal_tree(pid_t root, int sig)
{
	size_t n, sent = 0;
	_cleanup_free_ struct proc *t = table_read(&n);

	if (!t)
		return 0;
	n = table_descendants(t, n, root);
	for (size_t i = 0; i < n; i++)
		if (t[i].state != 'Z' && proc_signal(&t[i], sig) == 0)
			sent++;
	return sent;
}

size_t
proc_kill_children(void)
{
	char name[48], buf[8192], *p = buf, *end;
	size_t count = 0;
	ssize_t n;

	snprintf(name, sizeof(name), "task/%d/children", (int)getpid());
	n = read_proc_file(getpid(), name, buf, sizeof(buf) - 1);
	if (n <= 0)
		return 0;
	buf[n] = 0;
	/* A last number that was cut off has no space behind it; the next call sees it whole. */
	for (;;) {
		long pid = strtol(p, &end, 10);

		if (end == p || *end != ' ' || pid <= 1)
			return count;
		kill((pid_t)pid, SIGKILL);
		count++;
		p = end;
	}
}

/* True if the environment the process was started with (NUL-separated) carries the entry. */
static bool
env_carries(pid_t pid, const char *entry, char *buf, size_t size)
{
	ssize_t n = read_proc_file(pid, "environ", buf, size - 1);
	size_t len = strlen(entry);

	if (n <= 0)
		return false;
	buf[n] = 0;
	for (const char *p = buf; p < buf + n; p += strlen(p) + 1)
		if (strlen(p) == len && !memcmp(p, entry, len))
			return true;
	return false;
}

size_t
proc_kill_tagged(const char *tag)
{
	enum { ENV_MAX = 128 * 1024 };
	_cleanup_free_ char *env = malloc(ENV_MAX);
	size_t n, sent = 0;
	_cleanup_free_ struct proc *t = table_read(&n);
	char entry[64];

	snprintf(entry, sizeof(entry), "TAKT_UNIT=%s", tag);
	if (!t || !env)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (t[i].state == 'Z' || t[i].pid == getpid() ||
		    !env_carries(t[i].pid, entry, env, ENV_MAX))
			continue;
		/* Gone in between is fine; one that is left is tried again. */
		proc_signal(&t[i], SIGKILL);
		sent++;
	}
	return sent;
}
