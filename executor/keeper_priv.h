// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Inside the keeper. One struct, static, buffers included: it must go on when memory does not.
 * Files: keeper.c (life, loop, deadline), keeper_journal.c (the unit's file), keeper_result.c,
 * keeper_output.c (output cap), keeper_intake.c (frames of the plugin process), keeper_artifact.c,
 * keeper_control.c (executor's socket), keeper_lease.c.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>
#include <zstd.h>

#include "executor/keeper.h"
#include "frame/frame.h"

#define OUTPUT_CHUNK (48u * 1024)
#define OUTPUT_FLUSH_MS 250
#define PROGRESS_EVERY_MS 500
#define EVENTS_MAX 10000u
/* The host stops at 16 MiB; what it says is a little longer as a frame. */
#define EVENTS_MAX_B (24u << 20)
#define ARTIFACTS_MAX 16u
#define ARTIFACT_MAX (16u << 20)
#define ARTIFACT_PART 60000u
#define RESULT_JSON_MAX 32768u
/* After run() has returned, its process gets this long to end by itself. */
#define LINGER_MS 2000
/* A process that SIGKILL does not end within this (disk wait) is left to the kernel. */
#define SWEEP_LIMIT_MS 30000
/* Looks at direct children only, between two looks at the whole tree. */
#define SWEEP_ROUNDS 100

/* Without a lease everything must be dead 5 s later: 4 s of grace, the rest for the sweep. */
#define LEASE_GRACE_MS 4000

enum keeper_stop { STOP_NONE, STOP_DEADLINE, STOP_CANCEL, STOP_DROP, STOP_LEASE };

struct keeper_output {
	unsigned char chunk[OUTPUT_CHUNK]; /* not yet in the journal */
	size_t chunk_n;
	uint64_t chunk_off; /* stream offset of chunk[0] */
	int64_t chunk_since_ms;
	uint64_t total; /* bytes the unit wrote */
	uint64_t head_limit, tail_limit;
	unsigned char *ring; /* last tail_limit bytes once the head is full; NULL before */
	uint64_t ring_n;     /* bytes ever put into the ring */
	uint64_t
	    gap_b; /* just before chunk_off: could not be written, not yet said in the journal */
	uint64_t cut_b;
};

struct keeper_artifact {
	unsigned char *body; /* ARTIFACT_MAX bytes reserved, touched as filled; NULL: none open */
	size_t n, want;
	unsigned parts_seen, parts;
	json_t *head; /* kind, meta, is_secret */
	unsigned count;
};

struct keeper {
	const struct keeper_job *job;
	/* the plugin process */
	pid_t pid;
	uint64_t pid_start;
	int status;
	bool is_reaped;
	int frame_fd, output_fd, cancel_fd, child_fd; /* child_fd: signalfd of SIGCHLD */
	int lease_fd; /* timerfd of BOOTTIME; -1: it needs no lease */
	/* the executor */
	int control_fd, listen_fd, candidate_fd;
	char candidate_challenge[65];
	bool has_told_all;
	/* the unit's file */
	uint64_t journal_b;
	uint64_t room_b;     /* reserved up to here, from the start of the file */
	uint64_t file_max_b; /* RLIMIT_FSIZE */
	bool is_journal_broken;
	/* times: monotonic milliseconds, -1 none */
	int64_t deadline_at, kill_at, started_us, started_ms;
	int64_t lease_until_ms; /* BOOTTIME */
	enum keeper_stop stop;
	char stop_reason[256];
	/* what the plugin process said */
	bool has_end, is_bad;
	int32_t rc;
	json_t *fail, *result;
	char bad_reason[200];
	json_t *progress;
	int64_t progress_at;
	unsigned events;
	size_t events_b;
	struct keeper_output out;
	struct keeper_artifact art;
	ZSTD_CCtx *zstd;
	unsigned char packed[ZSTD_COMPRESSBOUND(OUTPUT_CHUNK)];
	unsigned char packet[FRAME_MAX];
};

/* keeper_journal.c */
int journal_open(struct keeper *k, struct err *e);
/* Append one frame; json is borrowed. A full disk loses this frame, never the frames before it. */
int journal_add(
    struct keeper *k, enum frame_type type, const json_t *json, const void *blob, size_t n);
/* Make journal and result durable, then mark the result as such. */
int journal_finish(struct keeper *k, const json_t *result, struct err *e);

/* keeper_result.c */
json_t *result_json(const struct keeper *k);

/* keeper_output.c */
void output_init(struct keeper *k);
/* Read what is there (bounded per call); false at end of file. */
bool output_read(struct keeper *k);
void output_flush(struct keeper *k);
/* After the last byte: the cut and the tail. */
void output_finish(struct keeper *k);

/* keeper_intake.c: frames of the plugin process */
/* Handle one frame; false: nothing more there (or the peer has gone). */
bool intake_read(struct keeper *k);
void intake_flush_progress(struct keeper *k);
/* The plugin process broke the rules: its unit fails as internal. First reason wins. */
void intake_bad(struct keeper *k, const char *fmt, ...) _printf_(2, 3);

/* keeper_artifact.c */
void artifact_part(struct keeper *k, const struct frame *f);

/* keeper_control.c */
int control_listen(struct keeper *k, struct err *e);
void control_accept(struct keeper *k);
void control_candidate(struct keeper *k);
void control_read(struct keeper *k);
void control_tell_growth(struct keeper *k);
void control_tell_done(struct keeper *k);

/* keeper_lease.c: the node's lease, if the unit needs one */
void lease_init(struct keeper *k);
void lease_renew(struct keeper *k, int64_t until_ms);
/* Start the kill ladder if the lease is over. */
void lease_check(struct keeper *k);

/* keeper.c: start the kill ladder, or shorten its grace. */
void keeper_stop(struct keeper *k, enum keeper_stop why, int64_t grace_ms, const char *reason);
