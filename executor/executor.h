// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Inside the executor's main process: one thread, one libev loop, nothing blocks, no plugin code.
 * main.c (start), server.c (the engine), plugins.c (files, probes), zygotes.c (their zygotes),
 * units.c (units and their keepers), orders.c (what the engine asks), keep.c (what outlives us),
 * adopt.c (keepers of before), lease.c (the node's lease), stream.c (journals to the engine).
 */
#pragma once

#include <ev.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/log.h"
#include "executor/unitfile.h"
#include "frame/frame.h"

#define DIRS_MAX 16
#define UNIT_BUCKETS 1024

enum plugin_status { PLUGIN_PROBING, PLUGIN_LOADED, PLUGIN_REFUSED };

struct plugin {
	LIST_ENTRY(plugin) link; /* sorted by path */
	char path[PATH_MAX];
	struct stat st; /* as of the last probe: a change means a new one */
	char digest[65];
	enum plugin_status status;
	char reason[400];
	json_t *found; /* what the probe said; NULL while it runs or if it was refused */
	bool is_cold, is_seen;
	/* probe */
	pid_t probe_pid;
	int probe_fd;
	struct buf probe_out;
	bool is_late;
	ev_io probe_io;
	ev_child probe_child;
	ev_timer probe_timer;
	/* zygote */
	pid_t zygote_pid;
	int zygote_fd; /* -1: none */
	bool is_ready;
	ev_io zygote_io;
	ev_timer zygote_timer;
};

enum unit_phase {
	UNIT_PENDING,  /* its zygote is not ready yet */
	UNIT_STARTING, /* handed to the zygote */
	UNIT_RUNNING,
	UNIT_ADOPTING, /* found on disk or lost sight of: is its keeper alive? */
	UNIT_ENDING,   /* keeper gone: orphans are being ended */
	UNIT_FINISHED,
	UNIT_LOST,
};

struct unit {
	LIST_ENTRY(unit) bucket;
	TAILQ_ENTRY(unit) link; /* of the streaming list or the settled list */
	struct unit_meta meta;
	enum unit_phase phase;
	pid_t pid; /* plugin process, 0 unknown */
	/* to the keeper */
	int keeper_fd;
	ev_io keeper_io;
	ev_timer timer;
	int64_t since_ms; /* of the phase */
	char challenge[65];
	unsigned clean_scans;
	json_t *cancel; /* asked for, to be told when a keeper listens */
	bool is_dropped;
	/* pending start */
	struct plugin *plugin;
	json_t *spawn;
	int spawn_fds[3];
	/* to the engine */
	bool is_streaming, is_settled;
	int file_fd; /* while it streams */
	uint64_t journal_b, sent;
	int64_t settled_ms;
	char lost[200];
};

STAILQ_HEAD(conn_queue, queued);
LIST_HEAD(conn_list, conn);

struct conn {
	LIST_ENTRY(conn) link;
	int fd;
	bool is_engine;
	ev_io in, out;
	struct conn_queue queue;
};

LIST_HEAD(plugin_list, plugin);
LIST_HEAD(unit_list, unit);
TAILQ_HEAD(unit_tailq, unit);

struct executor {
	struct ev_loop *loop;
	const char *state_dir;
	const char *plugin_dirs[DIRS_MAX + 1], *platform_dirs[DIRS_MAX + 1];
	int plugin_dirs_n, platform_dirs_n;
	int state_fd, units_fd, lock_fd, listen_fd;
	unsigned max_units;
	enum log_level level;
	enum log_format format;
	struct plugin_list plugins;
	unsigned probes;    /* running */
	bool has_rescanned; /* since the engine was told of the plugins */
	unsigned adopting;  /* units whose phase is not known yet */
	unsigned live;      /* units that hold capacity */
	bool is_ready;
	struct unit_list units[UNIT_BUCKETS];
	struct unit_tailq streaming, settled;
	struct conn *engine;
	bool is_listed; /* the engine has got its listing */
};

extern struct executor X;

/* server.c */
int server_open(struct err *e);
void server_close(void);
/* Queue a frame for the engine; without one it is dropped. */
void server_send(enum frame_type type, const json_t *j);
/* Send now or not at all: false if the socket is full (server_writable comes later). */
bool server_try(const void *p, size_t n);
/* Something that a listing waits for has happened. */
void server_maybe_list(void);

/* plugins.c */
void plugins_rescan(void);
void plugins_close(void);
/* The loaded plugin that offers the task type; NULL: *refused is a refused file's reason or "". */
struct plugin *plugins_find(const char *type);
json_t *plugin_json(const struct plugin *p);

/* zygotes.c */
/* Hand the unit to the plugin's zygote, now or when it is ready. */
void zygote_spawn(struct plugin *p, struct unit *u);
/* End it, if there is one; its keepers go on, units that still wait for it are refused. */
void zygote_retire(struct plugin *p, const char *why);
/* Fork and exec takt-executor with these arguments; fd becomes target_fd. pid or -1. */
pid_t zygote_exec(const char *const *args, int fd, int target_fd);

/* units.c */
void units_init(void);
void units_detach_all(void);
void units_list(void);
struct unit *unit_find(const char *id);
struct unit *unit_new(const struct unit_meta *m, enum unit_phase phase);
/* Hand on what the engine asked for, if the keeper listens. */
void unit_tell_keeper(struct unit *u);
/* The zygote could not take it: REFUSED, nothing is left. */
void unit_refuse(
    struct unit *u, const char *class, const char *code, const char *message, const char *hint);
void unit_set_phase(struct unit *u, enum unit_phase phase);
void unit_watch_keeper(struct unit *u, int fd);
/* The engine has everything of a dropped unit it will get: forget it. */
void unit_forget(struct unit *u);
void refuse(const char *unit, int64_t epoch, const char *class, const char *code,
    const char *message, const char *hint);

/* orders.c */
void unit_on_start(const json_t *j, int input_fd);
void unit_on_attach(const json_t *j);
void unit_on_ack(const json_t *j);
void unit_on_cancel(const json_t *j);
void unit_on_drop(const json_t *j);

/* keep.c */
void keep_init(void);
/* Units and spare files of the executor before us. */
void units_scan(void);
/* The engine has it all: kept for a while, then forgotten. */
void unit_settle(struct unit *u);

/* adopt.c */
/* Find out whether the unit's keeper lives; ends in RUNNING, FINISHED or LOST. */
void adopt_start(struct unit *u);
void adopt_proof(struct unit *u, const struct frame *f);
void adopt_timer(struct unit *u);

/* lease.c: the node's lease */
void lease_on_frame(const json_t *j);
bool lease_holds(void);
/* BOOTTIME until which the unit may run unless it is renewed; -1: it needs no lease. */
int64_t lease_until(const struct unit *u);
/* Hand the lease as it stands to the unit's keeper, if it needs one. */
void lease_tell(const struct unit *u);

/* stream.c */
void stream_start(struct unit *u, uint64_t from);
void stream_stop(struct unit *u);
/* Send what can be sent. */
void stream_pump(void);
