// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The private PostgreSQL cluster of `takt dev`: see dev_priv.h. */
#include "cli/dev_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"

#include "base/banned.h"

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static char **
make_argv(const char *const *words, size_t n)
{
	char **argv = xcalloc(n + 1, sizeof(*argv));

	for (size_t i = 0; i < n; i++)
		argv[i] = xstrdup(words[i]);
	return argv;
}

/* A cluster half made by a start that was killed is in pg.new, never in pg. */
static int
init_cluster(struct dev *d, struct err *e)
{
	_cleanup_free_ char *fresh = xasprintf("%s/pg.new", d->dir);
	const char *const words[] = {PG_BINDIR "/initdb", "-D", fresh, "-U", "postgres", "-A",
	    "peer", "-E", "UTF8", "--locale=C.UTF-8"};
	struct dev_child c = {.name = "initdb", .is_postgres = true, .dies_with_us = true};
	int rc;

	nftw(fresh, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	if (mkdir(fresh, 0700) < 0 || (d->is_root && chown(fresh, d->pg_uid, d->pg_gid) < 0))
		return err_sys(e, "%s", fresh);
	fprintf(stderr, "takt dev: making a PostgreSQL cluster in %s\n", d->pg_data);
	c.argv = make_argv(words, ARRAY_LEN(words));
	rc = dev_child_run(d, &c, e);
	dev_argv_free(c.argv);
	if (rc < 0)
		return rc;
	if (rename(fresh, d->pg_data) < 0)
		return err_sys(e, "%s", d->pg_data);
	return 0;
}

static int
write_file(const struct dev *d, const char *name, const struct buf *b, struct err *e)
{
	_cleanup_fd_ int dirfd = open(d->pg_data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dirfd < 0)
		return err_sys(e, "%s", d->pg_data);
	if (io_replace_file(dirfd, name, b->p, b->n, 0600, e) < 0)
		return -(int)e->code;
	/* The directory is the PostgreSQL user's: it could have put a link there. */
	if (d->is_root && fchownat(dirfd, name, d->pg_uid, d->pg_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "%s/%s", d->pg_data, name);
	return 0;
}

/* Who may be whom: root (or the one user) any role; the gateway's user only the gateway's two. */
static int
write_auth(const struct dev *d, struct err *e)
{
	static const char *const roles[] = {
	    "postgres", "takt_owner", "takt_engine", "takt_gateway", "takt_feed", "takt_auditor"};
	_cleanup_buf_ struct buf hba = {0}, ident = {0};
	struct passwd *me = getpwuid(geteuid());

	if (!me)
		return err_set(e, ERR_NOT_FOUND, "user id %d has no name", (int)geteuid());
	buf_adds(&hba, "# Written by `takt dev` at each start.\nlocal all all peer map=takt\n");
	buf_adds(&ident, "# Written by `takt dev` at each start.\n");
	for (size_t i = 0; i < ARRAY_LEN(roles); i++)
		buf_addf(&ident, "takt \"%s\" %s\n", me->pw_name, roles[i]);
	if (d->is_root)
		buf_adds(&ident, "takt postgres postgres\ntakt nobody takt_gateway\n"
				 "takt nobody takt_feed\n");
	if (write_file(d, "pg_hba.conf", &hba, e) < 0)
		return -(int)e->code;
	return write_file(d, "pg_ident.conf", &ident, e);
}

int
dev_pg_prepare(struct dev *d, struct err *e)
{
	_cleanup_free_ char *version = xasprintf("%s/PG_VERSION", d->pg_data);
	_cleanup_free_ char *sockets = xasprintf("unix_socket_directories=%s", d->pg_run);
	const char *const words[] = {PG_BINDIR "/postgres", "-D", d->pg_data, "-c",
	    "listen_addresses=", "-c", sockets, "-c", "port=5432", "-c", "jit=off", "-c",
	    "timezone=UTC", "-c", "log_timezone=UTC", "-c", "max_connections=50", "-c",
	    "log_line_prefix=%m [%p] %q%u ", "-c", "cluster_name=takt dev"};

	if (access(PG_BINDIR "/initdb", X_OK) < 0) {
		err_sys(e, PG_BINDIR "/initdb");
		return err_hint(e, "Install postgresql-15, or give an existing server with --db.");
	}
	if (access(version, F_OK) < 0 && init_cluster(d, e) < 0)
		return -(int)e->code;
	d->child[DEV_POSTGRES].argv = make_argv(words, ARRAY_LEN(words));
	d->conninfo = xasprintf("host='%s' port=5432 dbname=takt", d->pg_run);
	return write_auth(d, e);
}

/* Every process of a cluster works in its data directory. */
int
dev_pg_left(const struct dev *d, int sig)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	struct stat data, cwd;
	int n = 0;

	if (!proc || stat(d->pg_data, &data) < 0) {
		if (proc)
			closedir(proc);
		return 0;
	}
	while ((entry = readdir(proc))) {
		char path[300];
		int pid = atoi(entry->d_name);

		snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
		if (pid <= 1 || stat(path, &cwd) < 0 || cwd.st_dev != data.st_dev ||
		    cwd.st_ino != data.st_ino || !dev_start_time(pid))
			continue;
		/* A shell that somebody left there is not the cluster. */
		snprintf(path, sizeof(path), "/proc/%d", pid);
		if (stat(path, &cwd) < 0 || cwd.st_uid != d->pg_uid)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		{
			_cleanup_buf_ struct buf comm = {0};

			if (io_read_file(path, 100, &comm, NULL) < 0 ||
			    strcmp(comm.p, "postgres\n") != 0)
				continue;
		}
		n++;
		if (sig)
			kill(pid, sig);
	}
	closedir(proc);
	return n;
}

void
dev_pg_unlock(const struct dev *d)
{
	_cleanup_free_ char *path = xasprintf("%s/postmaster.pid", d->pg_data);

	unlink(path);
}

int
dev_pg_wait(struct dev *d, int limit_ms, struct err *e)
{
	_cleanup_free_ char *conninfo =
	    xasprintf("%s user=postgres connect_timeout=5", d->conninfo);
	int64_t until = clock_monotonic_ms() + limit_ms;

	/* PQping takes an answer "no such database" as an answer. */
	while (PQping(conninfo) != PQPING_OK) {
		dev_child_reap(d, false);
		if (dev_interrupted(e))
			return -(int)e->code;
		if (!d->child[DEV_POSTGRES].pid || clock_monotonic_ms() > until) {
			dev_show_log(d, "postgres");
			return err_set(e, ERR_TRANSIENT, "PostgreSQL did not start");
		}
		nanosleep(&(struct timespec){0, 50000000}, NULL);
	}
	return 0;
}
