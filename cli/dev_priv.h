// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * `takt dev`: the parent of a private PostgreSQL cluster, of taktd and of takt-executor. Each child
 * has a session of its own, so that the terminal's Ctrl-C reaches only us, and a file
 * DIR/pid/NAME with its pid and start time, by which the next `takt dev` finds what a killed one
 * left. Nothing is ever signalled but our children and what such a file names.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#include "cli/cli.h"

enum dev_child_no { DEV_POSTGRES, DEV_EXECUTOR, DEV_TAKTD, DEV_CHILDREN };

struct dev_child {
	const char *name;
	char **argv;       /* NULL-terminated; NULL: not ours to run (--db) */
	bool is_postgres;  /* run as the PostgreSQL user */
	bool dies_with_us; /* PDEATHSIG */
	pid_t pid;         /* 0: not running */
	int64_t started_ms;
	int64_t ended_ms;
	int64_t start_at_ms; /* when to start it again; 0: nothing planned */
	unsigned fails;      /* in a row */
};

struct dev {
	char *dir, *pg_data, *pg_run, *node, *log, *conf, *bin; /* paths */
	const char *db;                                         /* --db; NULL: private cluster */
	char *conninfo;                                         /* without user */
	char host[64];
	int port;
	char *url;
	char *token;
	const char *log_level;
	const json_t *plugin_dirs, *platform_dirs; /* arrays of strings or NULL */
	bool is_root;
	bool is_ready; /* everything was started: at the end units are drained */
	uid_t pg_uid;
	gid_t pg_gid;
	int lock_fd;
	struct dev_child child[DEV_CHILDREN];
};

/* dev_files.c: paths and files */
int dev_paths(struct dev *d, const char *state, struct err *e);
int dev_listen(struct dev *d, const char *text, struct err *e);
int dev_write_conf(struct dev *d, struct err *e);
int dev_write_client(struct dev *d, struct err *e);
/* The token of an earlier start, NULL if there is none. Caller frees. */
char *dev_old_token(const struct dev *d);
/* The path of one of our programs; caller frees. */
char *dev_program(const struct dev *d, const char *name, const char *installed_dir);
/* NULL-terminated argv of the executor; caller's for good. */
char **dev_executor_argv(const struct dev *d);
char **dev_taktd_argv(const struct dev *d, bool is_migrate);
void dev_argv_free(char **argv);
/* Everything that *d owns. */
void dev_fini(struct dev *d);
/* Print the last lines of a child's log on stderr. */
void dev_show_log(const struct dev *d, const char *name);

/* dev_child.c: processes */
int dev_child_start(struct dev *d, struct dev_child *c, struct err *e);
/* Run to its end; ERR_TRANSIENT with the log's name when it fails. Ended early when interrupted. */
int dev_child_run(struct dev *d, struct dev_child *c, struct err *e);
/* A signal to stop waits to be read, and *e says so. For what runs before the loop that reads it. */
bool dev_interrupted(struct err *e);
/* Reap what ended; plans the restart of what should be running. */
void dev_child_reap(struct dev *d, bool is_stopping);
/* Signal, wait up to limit_ms, then SIGKILL. */
void dev_child_stop(struct dev *d, struct dev_child *c, int sig, int limit_ms);
/* End, by its pid file, what an earlier dev left running. */
int dev_child_settle(struct dev *d, struct dev_child *c, int sig, int limit_ms, struct err *e);
/* Start time of a process in clock ticks since boot, 0 if it is gone or a zombie. */
uint64_t dev_start_time(pid_t pid);
/* How many units are still running; with sig: their keepers are signalled. */
int dev_units(const struct dev *d, int sig);

/* dev_pg.c: the cluster */
int dev_pg_prepare(struct dev *d, struct err *e);
/* 0 when no process works in the data directory any more, else how many. sig != 0: signalled. */
int dev_pg_left(const struct dev *d, int sig);
/* Remove the postmaster.pid of a killed postmaster. Call only when dev_pg_left() is 0. */
void dev_pg_unlock(const struct dev *d);
int dev_pg_wait(struct dev *d, int limit_ms, struct err *e);

/* dev_db.c: roles, database, schema; then organisation and token */
int dev_db_prepare(struct dev *d, struct err *e);
int dev_db_token(struct dev *d, struct err *e);
/* conninfo without user and password, dbname set; caller frees. */
char *dev_db_conninfo(const char *db, const char *dbname, const char *user, struct err *e);
