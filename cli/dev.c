// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * `takt dev`: start, watch, stop. The order of starting: PostgreSQL, migrations, token, executor,
 * taktd, ready. The order of stopping: the running units (10 s to finish, then cancelled), taktd,
 * executor, PostgreSQL. See dev_priv.h for who is ours.
 */
#include "cli/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/dev_priv.h"

#include "base/banned.h"

#define READY_MS 90000
#define PG_START_MS 60000
#define PG_GONE_MS 10000
#define INITDB_STOP_MS 5000
#define TAKTD_STOP_MS 15000
#define EXECUTOR_STOP_MS 15000
#define PG_STOP_MS 30000
#define UNITS_DRAIN_MS 10000
#define UNITS_CANCEL_MS 20000

/* One `takt dev` a state directory: the lock is ours as long as we live. */
static int
lock(struct dev *d, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/lock", d->dir);
	char text[64];

	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock_fd < 0)
		return err_sys(e, "%s", path);
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		err_set(e, ERR_CONFLICT, "another `takt dev` runs in %s", d->dir);
		err_field(e, "--state");
		return err_hint(e, "Stop it, or give another directory.");
	}
	/* Who holds it, as in pid/NAME: for scripts that must stop it. */
	snprintf(text, sizeof(text), "%d %llu\n", (int)getpid(),
	    (unsigned long long)dev_start_time(getpid()));
	if (ftruncate(d->lock_fd, 0) < 0 || io_write_all(d->lock_fd, text, strlen(text)) < 0)
		return err_sys(e, "%s", path);
	return 0;
}

/* Keepers stay: the new executor adopts them. */
static int
settle(struct dev *d, struct err *e)
{
	static const struct {
		enum dev_child_no no;
		int sig, limit_ms;
	} order[] = {{DEV_TAKTD, SIGTERM, TAKTD_STOP_MS}, {DEV_EXECUTOR, SIGTERM, EXECUTOR_STOP_MS},
	    {DEV_POSTGRES, SIGINT, PG_STOP_MS}};
	struct dev_child initdb = {.name = "initdb"};
	int64_t until;

	if (dev_child_settle(d, &initdb, SIGTERM, INITDB_STOP_MS, e) < 0)
		return -(int)e->code;
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (dev_child_settle(
			d, &d->child[order[i].no], order[i].sig, order[i].limit_ms, e) < 0)
			return -(int)e->code;
	if (d->db)
		return 0;
	until = clock_monotonic_ms() + PG_GONE_MS;
	while (dev_pg_left(d, clock_monotonic_ms() > until ? SIGQUIT : 0))
		nanosleep(&(struct timespec){0, 50000000}, NULL);
	dev_pg_unlock(d);
	return 0;
}

static bool
is_ready(const struct dev *d)
{
	struct cli c = {.url = d->url};
	_cleanup_reply_ struct reply r = {0};

	return api_send(&c, "GET", "/healthz", NULL, 0, &(struct call){.is_quiet = true}, &r) ==
		   CLI_OK &&
	       strcmp(json_get_str(r.json, "status", ""), "ok") == 0;
}

/* Start what is due; a killed PostgreSQL waits for its backends to be gone. */
static void
start_due(struct dev *d)
{
	int64_t now = clock_monotonic_ms();

	for (int i = 0; i < DEV_CHILDREN; i++) {
		struct dev_child *c = &d->child[i];
		struct err e = ERR_INIT;

		if (!c->argv || c->pid || !c->start_at_ms || now < c->start_at_ms)
			continue;
		if (i == DEV_POSTGRES) {
			if (dev_pg_left(d, now - c->ended_ms > PG_GONE_MS ? SIGQUIT : 0)) {
				c->start_at_ms = now + 100;
				continue;
			}
			dev_pg_unlock(d);
		}
		if (dev_child_start(d, c, &e) < 0) {
			cli_fail(&e);
			c->start_at_ms = now + 5000;
		}
	}
}

/* A signal to stop, or 0 when nothing came within the time. Children are reaped and restarted. */
static int
watch(struct dev *d, int signals, int limit_ms)
{
	struct pollfd p = {.fd = signals, .events = POLLIN};
	struct signalfd_siginfo si;
	int64_t now = clock_monotonic_ms(), wait_ms = limit_ms;

	for (int i = 0; i < DEV_CHILDREN; i++)
		if (d->child[i].start_at_ms && d->child[i].start_at_ms - now < wait_ms)
			wait_ms = d->child[i].start_at_ms > now ? d->child[i].start_at_ms - now : 0;
	if (poll(&p, 1, (int)wait_ms) > 0 && read(signals, &si, sizeof(si)) == sizeof(si) &&
	    si.ssi_signo != SIGCHLD)
		return (int)si.ssi_signo;
	dev_child_reap(d, false);
	start_due(d);
	return 0;
}

static void
begin(struct dev *d, enum dev_child_no no)
{
	d->child[no].start_at_ms = clock_monotonic_ms();
	start_due(d);
}

static int
start(struct dev *d, struct err *e)
{
	struct dev_child migrate = {.name = "taktd"};
	int rc;

	if (!d->db) {
		if (dev_pg_prepare(d, e) < 0)
			return -(int)e->code;
		if (dev_child_start(d, &d->child[DEV_POSTGRES], e) < 0 ||
		    dev_pg_wait(d, PG_START_MS, e) < 0)
			return -(int)e->code;
	}
	if (dev_db_prepare(d, e) < 0 || dev_write_conf(d, e) < 0)
		return -(int)e->code;
	migrate.argv = dev_taktd_argv(d, true);
	rc = dev_child_run(d, &migrate, e);
	dev_argv_free(migrate.argv);
	if (rc < 0 || dev_db_token(d, e) < 0 || dev_write_client(d, e) < 0)
		return -(int)e->code;
	d->child[DEV_EXECUTOR].argv = dev_executor_argv(d);
	d->child[DEV_TAKTD].argv = dev_taktd_argv(d, false);
	begin(d, DEV_EXECUTOR);
	begin(d, DEV_TAKTD);
	return 0;
}

/* 0 ready, a signal number, or negative. */
static int
wait_ready(struct dev *d, int signals, struct err *e)
{
	int64_t until = clock_monotonic_ms() + READY_MS;

	while (!is_ready(d)) {
		int sig = watch(d, signals, 100);

		if (sig)
			return sig;
		if (clock_monotonic_ms() > until || d->child[DEV_TAKTD].fails >= 5 ||
		    d->child[DEV_EXECUTOR].fails >= 5) {
			dev_show_log(d, "executor");
			dev_show_log(d, "taktd");
			err_set(e, ERR_TRANSIENT, "taktd did not get ready at %s", d->url);
			return err_hint(e, "The logs are in %s.", d->log);
		}
	}
	return 0;
}

static void
say_ready(const struct dev *d)
{
	_cleanup_free_ char *usual = conf_default_state();
	bool is_usual = strcmp(usual, d->dir) == 0;
	const char *pre = is_usual ? "takt" : "takt --state ", *dir = is_usual ? "" : d->dir;

	printf("\n  Takt for development: not for production.\n\n"
	       "  URL        %s\n  state      %s\n  database   %s\n  logs       %s\n\n"
	       "  next       %s%s health\n"
	       "             %s%s plugin list\n"
	       "             %s%s task create FILE\n"
	       "             %s%s task run NAME --follow\n"
	       "  stop       Ctrl-C\n\nready %s\n",
	    d->url, d->dir, d->db ? "of --db" : d->pg_run, d->log, pre, dir, pre, dir, pre, dir,
	    pre, dir, d->url);
	fflush(stdout);
}

/* True when no unit runs any more; false at the limit or when another signal came. */
static bool
wait_units(struct dev *d, int signals, int limit_ms)
{
	int64_t until = clock_monotonic_ms() + limit_ms;

	while (dev_units(d, 0)) {
		if (clock_monotonic_ms() > until || watch(d, signals, 100))
			return false;
	}
	return true;
}

/* Through the API, so that what became of the runs is recorded. */
static void
cancel_runs(struct dev *d)
{
	_cleanup_json_ json_t *items = NULL;
	struct cli c = {.url = d->url, .token = d->token};
	const json_t *run;
	size_t i;

	if (api_list(&c, "/runs?status=dispatched,running", 0, &items) != CLI_OK)
		return;
	json_array_foreach(items, i, run)
	{
		static const char body[] = "{\"reason\":\"takt dev is stopping\"}";
		_cleanup_free_ char *path =
		    xasprintf("/runs/%s/cancel", json_get_str(run, "id", ""));
		_cleanup_reply_ struct reply r = {0};

		api_send(&c, "POST", path, body, sizeof(body) - 1, NULL, &r);
	}
}

/* Running units get 10 s to finish (another Ctrl-C: no time), then their runs are cancelled. */
static void
drain_units(struct dev *d, int signals)
{
	int n = dev_units(d, 0);

	if (!n)
		return;
	fprintf(stderr, "takt dev: waiting up to %d s for %d running unit%s (Ctrl-C: cancel now)\n",
	    UNITS_DRAIN_MS / 1000, n, n == 1 ? "" : "s");
	if (wait_units(d, signals, UNITS_DRAIN_MS))
		return;
	fprintf(stderr, "takt dev: cancelling what still runs\n");
	cancel_runs(d);
	wait_units(d, signals, UNITS_CANCEL_MS);
}

static void
stop(struct dev *d, int signals)
{
	if (d->is_ready)
		drain_units(d, signals);
	for (int i = 0; i < DEV_CHILDREN; i++)
		d->child[i].start_at_ms = 0;
	dev_child_stop(d, &d->child[DEV_TAKTD], SIGTERM, TAKTD_STOP_MS);
	if (d->is_ready && dev_units(d, SIGKILL))
		fprintf(stderr, "takt dev: a unit did not end by itself: killed\n");
	dev_child_stop(d, &d->child[DEV_EXECUTOR], SIGTERM, EXECUTOR_STOP_MS);
	dev_child_stop(d, &d->child[DEV_POSTGRES], SIGINT, PG_STOP_MS);
	if (d->pg_run && strncmp(d->pg_run, "/tmp/takt-", 10) == 0) {
		_cleanup_free_ char *note = xasprintf("%s/run-path", d->dir);

		if (rmdir(d->pg_run) == 0)
			unlink(note);
	}
}

static int
block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void
take_args(struct dev *d, const struct args *a)
{
	const char *level = arg_str(a, "log-level");

	d->db = arg_str(a, "db");
	d->plugin_dirs = arg_list(a, "plugin-dir");
	d->platform_dirs = arg_list(a, "platform-dir");
	d->log_level = level ? level : "info";
	d->lock_fd = -1;
	d->child[DEV_POSTGRES] = (struct dev_child){.name = "postgres", .is_postgres = true};
	d->child[DEV_EXECUTOR] = (struct dev_child){.name = "executor"};
	d->child[DEV_TAKTD] = (struct dev_child){.name = "taktd", .dies_with_us = true};
}

/* From the first child to the last one's end. Returns the exit code. */
static int
serve(struct dev *d, int signals, struct err *e)
{
	struct err ignored;
	int rc = start(d, e);

	if (rc < 0 && dev_interrupted(&ignored))
		rc = SIGINT;
	if (rc == 0)
		rc = wait_ready(d, signals, e);
	if (rc == 0) {
		d->is_ready = true;
		say_ready(d);
		while ((rc = watch(d, signals, 60000)) == 0)
			;
	}
	if (rc < 0)
		cli_fail(e);
	else
		fprintf(stderr, "\ntakt dev: stopping\n");
	stop(d, signals);
	if (rc > 0)
		fprintf(stderr, "takt dev: stopped\n");
	return rc < 0 ? CLI_SERVER : CLI_OK;
}

int
cmd_dev(struct cli *c, const struct args *a)
{
	const char *listen = arg_str(a, "listen");
	struct dev d = {0};
	struct err e = ERR_INIT;
	int signals, code;

	take_args(&d, a);
	signals = block_signals();
	/* The port may still be held by what an earlier start left: settle first. */
	if (dev_paths(&d, c->state, &e) < 0 || lock(&d, &e) < 0 || settle(&d, &e) < 0 ||
	    dev_listen(&d, listen ? listen : "127.0.0.1:7420", &e) < 0)
		code = cli_fail(&e);
	else
		code = serve(&d, signals, &e);
	close(signals);
	dev_fini(&d);
	return code;
}
