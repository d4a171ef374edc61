// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Starting, watching and ending the children of `takt dev`; see dev_priv.h. */
#include "cli/dev_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/jsonx.h"
#include "executor/unitfile.h"

#include "base/banned.h"

#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 5000
#define STABLE_MS 10000
#define POLL_MS 20
#define RUN_STOP_MS 10000

uint64_t
dev_start_time(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int)pid);
	_cleanup_buf_ struct buf b = {0};
	unsigned long long start = 0;
	const char *p;
	char state;

	if (io_read_file(path, 65536, &b, NULL) < 0 || !b.n)
		return 0;
	/* The name in parentheses may hold anything: fields are counted from the last ')'. */
	p = strrchr(b.p, ')');
	if (!p || sscanf(p + 1,
		      " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
		      "%*d %*d %llu",
		      &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

static void
nap(int ms)
{
	nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

static int
note_pid(const struct dev *d, const struct dev_child *c, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf("%s/pid", d->dir);
	_cleanup_fd_ int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char text[64];

	if (dirfd < 0)
		return err_sys(e, "%s", dir);
	snprintf(text, sizeof(text), "%d %llu\n", (int)c->pid,
	    (unsigned long long)dev_start_time(c->pid));
	return io_replace_file(dirfd, c->name, text, strlen(text), 0600, e);
}

static void
drop_pid(const struct dev *d, const struct dev_child *c)
{
	_cleanup_free_ char *path = xasprintf("%s/pid/%s", d->dir, c->name);

	unlink(path);
}

_Noreturn static void
become(const struct dev *d, const struct dev_child *c, pid_t parent, int log_fd)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (dup2(null, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
		_exit(126);
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* what we were started with is not theirs */
	if (c->is_postgres && d->is_root &&
	    (setgroups(0, NULL) < 0 || setgid(d->pg_gid) < 0 || setuid(d->pg_uid) < 0))
		_exit(126);
	/* After setuid, which clears it. The parent may have died before we asked. */
	if (c->dies_with_us && (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent))
		_exit(126);
	if (c->is_postgres && chdir("/") < 0)
		_exit(126);
	execv(c->argv[0], c->argv);
	dprintf(2, "%s: %s\n", c->argv[0], strerror(errno));
	_exit(127);
}

int
dev_child_start(struct dev *d, struct dev_child *c, struct err *e)
{
	_cleanup_free_ char *log = xasprintf("%s/%s.log", d->log, c->name);
	_cleanup_fd_ int log_fd =
	    open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	pid_t self = getpid(), pid;

	if (log_fd < 0)
		return err_sys(e, "%s", log);
	if (access(c->argv[0], X_OK) < 0) {
		err_sys(e, "%s", c->argv[0]);
		return err_hint(e, "Is everything built and installed?");
	}
	pid = fork();
	if (pid < 0)
		return err_sys(e, "fork");
	if (!pid)
		become(d, c, self, log_fd);
	c->pid = pid;
	c->start_at_ms = 0;
	c->started_ms = clock_monotonic_ms();
	return note_pid(d, c, e);
}

bool
dev_interrupted(struct err *e)
{
	sigset_t set;

	if (sigpending(&set) < 0 ||
	    !(sigismember(&set, SIGINT) || sigismember(&set, SIGTERM) || sigismember(&set, SIGHUP)))
		return false;
	err_set(e, ERR_TRANSIENT, "interrupted");
	return true;
}

int
dev_child_run(struct dev *d, struct dev_child *c, struct err *e)
{
	int64_t kill_at = 0;
	int status;

	if (dev_child_start(d, c, e) < 0)
		return -(int)e->code;
	while (waitpid(c->pid, &status, WNOHANG) == 0) {
		if (!kill_at && dev_interrupted(e)) {
			kill(c->pid, SIGTERM);
			kill_at = clock_monotonic_ms() + RUN_STOP_MS;
		} else if (kill_at && clock_monotonic_ms() > kill_at) {
			kill(c->pid, SIGKILL);
		}
		nap(POLL_MS);
	}
	c->pid = 0;
	drop_pid(d, c);
	if (dev_interrupted(e))
		return -(int)e->code;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	dev_show_log(d, c->name);
	err_set(e, ERR_TRANSIENT, "%s failed", c->argv[0]);
	return err_hint(e, "Its log is %s/%s.log.", d->log, c->name);
}

static void
tell_end(const struct dev_child *c, int status, int64_t wait_ms)
{
	if (WIFSIGNALED(status))
		fprintf(stderr, "takt dev: %s (pid %d) was ended by signal %d", c->name,
		    (int)c->pid, WTERMSIG(status));
	else
		fprintf(stderr, "takt dev: %s (pid %d) ended with status %d", c->name, (int)c->pid,
		    WEXITSTATUS(status));
	fprintf(stderr, "; starting it again in %d.%d s\n", (int)(wait_ms / 1000),
	    (int)(wait_ms / 100 % 10));
}

void
dev_child_reap(struct dev *d, bool is_stopping)
{
	for (int i = 0; i < DEV_CHILDREN; i++) {
		struct dev_child *c = &d->child[i];
		int64_t now = clock_monotonic_ms(), wait_ms = BACKOFF_MIN_MS;
		int status;

		if (!c->pid || waitpid(c->pid, &status, WNOHANG) != c->pid)
			continue;
		c->fails = now - c->started_ms > STABLE_MS ? 1 : c->fails + 1;
		for (unsigned k = 1; k < c->fails && wait_ms < BACKOFF_MAX_MS; k++)
			wait_ms *= 2;
		if (wait_ms > BACKOFF_MAX_MS)
			wait_ms = BACKOFF_MAX_MS;
		if (!is_stopping)
			tell_end(c, status, wait_ms);
		c->pid = 0;
		c->ended_ms = now;
		c->start_at_ms = is_stopping ? 0 : now + wait_ms;
		drop_pid(d, c);
	}
}

void
dev_child_stop(struct dev *d, struct dev_child *c, int sig, int limit_ms)
{
	int64_t until = clock_monotonic_ms() + limit_ms;
	bool is_killed = false;

	if (!c->pid)
		return;
	kill(c->pid, sig);
	while (c->pid) {
		dev_child_reap(d, true);
		if (!c->pid)
			break;
		if (!is_killed && clock_monotonic_ms() > until) {
			fprintf(stderr, "takt dev: %s did not stop in %d s: killing it\n", c->name,
			    limit_ms / 1000);
			kill(c->pid, SIGKILL);
			is_killed = true;
		}
		nap(POLL_MS);
	}
}

int
dev_child_settle(struct dev *d, struct dev_child *c, int sig, int limit_ms, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/pid/%s", d->dir, c->name);
	int64_t until = clock_monotonic_ms() + limit_ms;
	_cleanup_buf_ struct buf b = {0};
	unsigned long long start;
	bool is_killed = false;
	int pid;

	if (io_read_file(path, 100, &b, NULL) < 0 || sscanf(b.p, "%d %llu", &pid, &start) != 2 ||
	    pid <= 1 || !start || dev_start_time(pid) != start) {
		unlink(path);
		return 0;
	}
	fprintf(stderr, "takt dev: an earlier start left %s running (pid %d): stopping it\n",
	    c->name, pid);
	kill(pid, sig);
	while (dev_start_time(pid) == start) {
		if (clock_monotonic_ms() > until) {
			if (is_killed)
				return err_set(e, ERR_CONFLICT,
				    "%s of an earlier start (pid %d) does "
				    "not end",
				    c->name, pid);
			kill(pid, SIGKILL);
			is_killed = true;
			until += limit_ms;
		}
		nap(POLL_MS);
	}
	unlink(path);
	return 0;
}

/* A unit's keeper by the unit's file, 0 if it is gone: it ends when the unit's result is durable. */
static pid_t
keeper_of(const struct dev *d, const char *unit)
{
	_cleanup_free_ char *path = xasprintf("%s/units/%s", d->node, unit);
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_json_ json_t *j = NULL;
	char text[UNIT_KEEPER_B + 1] = "";
	pid_t pid;

	if (fd < 0 || pread(fd, text, UNIT_KEEPER_B, UNIT_KEEPER_AT) <= 0)
		return 0;
	j = json_parse(text, strlen(text), &json_limits_request, NULL);
	pid = (pid_t)json_get_int(j, "keeper_pid", 0);
	if (pid <= 1 || dev_start_time(pid) != (uint64_t)json_get_int(j, "keeper_start", 0))
		return 0;
	return pid;
}

int
dev_units(const struct dev *d, int sig)
{
	_cleanup_free_ char *path = xasprintf("%s/units", d->node);
	DIR *dir = opendir(path);
	struct dirent *entry;
	int n = 0;

	while (dir && (entry = readdir(dir))) {
		pid_t pid = entry->d_name[0] == '.' ? 0 : keeper_of(d, entry->d_name);

		n += pid != 0;
		if (pid && sig)
			kill(pid, sig);
	}
	if (dir)
		closedir(dir);
	return n;
}
