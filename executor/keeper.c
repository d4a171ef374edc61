// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See keeper.h: the life of one unit. keeper_main() reads from top to bottom. */
#include "executor/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/io.h"
#include "base/jsonx.h"
#include "base/log.h"
#include "executor/child.h"
#include "executor/fds.h"
#include "executor/keeper_priv.h"
#include "executor/proc.h"

#include "base/banned.h"

static struct keeper K;

/* Own session, no parent to die with, deaf to everything but its sockets. */
static void
become_keeper(struct keeper *k)
{
	const int keep[] = {
	    k->job->file_fd, k->job->control_fd, k->job->input_fd, k->job->plugin_fd};
	sigset_t set;

	prctl(PR_SET_NAME, "takt-keeper");
	prctl(PR_SET_PDEATHSIG, 0);
	setsid();
	fds_close_others(keep, ARRAY_LEN(keep));
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		log_fatal(LOG_KEEPER, "cannot become subreaper: %m");
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	k->child_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (k->child_fd < 0)
		log_fatal(LOG_KEEPER, "signalfd: %m");
}

/* The claim first: from here on nobody else decides what becomes of this unit. */
static void
claim_unit(struct keeper *k)
{
	const struct unit_meta *m = &k->job->meta;
	struct err e = ERR_INIT;
	int fd = k->job->file_fd;

	/* An executor that finds the claim without our name sees by this whether we are on our way. */
	if (unit_lock(fd, true) < 0)
		log_fatal(LOG_KEEPER, "unit's file cannot be locked: %m");
	if (unit_claim(fd, &e) != 1)
		log_fatal(LOG_KEEPER, "unit was given up before it started");
	FAILPOINT("keeper.claimed");
	if (journal_open(k, &e) < 0 || control_listen(k, &e) < 0 ||
	    unit_keeper_write(fd, m->keeper_pid, m->keeper_start, &e) < 0)
		log_fatal(LOG_KEEPER, "%s", e.message);
	unit_unlock(fd);
	FAILPOINT("keeper.meta");
}

static void
start_child(struct keeper *k)
{
	int frames[2], output[2], cancel[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, frames) < 0 ||
	    pipe2(output, O_CLOEXEC) < 0 || pipe2(cancel, O_CLOEXEC) < 0)
		log_fatal(LOG_KEEPER, "no descriptors for the plugin process: %m");
	k->pid = fork();
	if (k->pid < 0)
		log_fatal(LOG_KEEPER, "fork: %m");
	if (k->pid == 0)
		child_main(k->job,
		    &(struct child_fds){.frames = frames[1],
			.output = output[1],
			.cancel = cancel[0],
			.input = k->job->input_fd},
		    k->deadline_at, k->job->meta.keeper_pid);
	k->pid_start = proc_start(k->pid);
	close(frames[1]);
	close(output[1]);
	close(cancel[0]);
	close(k->job->input_fd);
	k->frame_fd = frames[0];
	k->output_fd = output[0];
	k->cancel_fd = cancel[1];
	io_set_nonblock(k->frame_fd, true);
	io_set_nonblock(k->output_fd, true);
}

static void
note_started(struct keeper *k)
{
	_cleanup_json_ json_t *j = json_pack("{s:I, s:i, s:I, s:s, s:i}", "at_us",
	    (json_int_t)k->started_us, "pid", (int)k->pid, "start_time", (json_int_t)k->pid_start,
	    "boot_id", k->job->meta.boot_id, "keeper_pid", (int)k->job->meta.keeper_pid);

	journal_add(k, FRAME_J_STARTED, j, NULL, 0);
}

void
keeper_stop(struct keeper *k, enum keeper_stop why, int64_t grace_ms, const char *reason)
{
	int64_t kill_at;

	if (grace_ms < 0)
		grace_ms = 0;
	if (grace_ms > 3600000)
		grace_ms = 3600000;
	kill_at = clock_monotonic_ms() + grace_ms;
	if (k->kill_at < 0 || kill_at < k->kill_at)
		k->kill_at = kill_at;
	/* run() has returned: its result stands. */
	if (k->has_end || k->stop != STOP_NONE)
		return;
	k->stop = why;
	snprintf(k->stop_reason, sizeof(k->stop_reason), "%s", reason);
	log_info(LOG_KEEPER, "stopping: %s", reason);
	/* Closing makes cancel_fd readable over there; SIGCONT lets stopped ones hear it. */
	if (k->cancel_fd >= 0)
		close(k->cancel_fd);
	k->cancel_fd = -1;
	proc_signal_tree(getpid(), SIGTERM);
	proc_signal_tree(getpid(), SIGCONT);
}

/* Collect the dead; false when no child is left at all. */
static bool
reap(struct keeper *k)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return pid == 0;
		if (pid == k->pid) {
			k->status = status;
			k->is_reaped = true;
		}
	}
}

static void
drain_child_fd(const struct keeper *k)
{
	struct signalfd_siginfo si[8];

	while (read(k->child_fd, si, sizeof(si)) > 0)
		;
}

static void
sooner(int64_t *at, int64_t other)
{
	if (other >= 0 && (*at < 0 || other < *at))
		*at = other;
}

static int
loop_timeout(const struct keeper *k)
{
	int64_t at = -1, now = clock_monotonic_ms();

	if (k->stop == STOP_NONE && !k->has_end)
		sooner(&at, k->deadline_at);
	sooner(&at, k->kill_at);
	if (k->out.chunk_n)
		sooner(&at, k->out.chunk_since_ms + OUTPUT_FLUSH_MS);
	if (k->progress)
		sooner(&at, k->progress_at + PROGRESS_EVERY_MS);
	if (k->control_fd >= 0 && !k->has_told_all)
		sooner(&at, now + 100);
	if (at < 0)
		return -1;
	return at <= now ? 0 : at - now > 60000 ? 60000 : (int)(at - now);
}

static void
wait_and_read(struct keeper *k)
{
	enum { FRAMES, OUTPUT, CHILD, CONTROL, LISTEN, CANDIDATE, LEASE, COUNT };
	struct pollfd p[COUNT] = {[FRAMES] = {k->frame_fd, POLLIN, 0},
	    [OUTPUT] = {k->output_fd, POLLIN, 0},
	    [CHILD] = {k->child_fd, POLLIN, 0},
	    [CONTROL] = {k->control_fd, POLLIN, 0},
	    [LISTEN] = {k->listen_fd, POLLIN, 0},
	    [CANDIDATE] = {k->candidate_fd, POLLIN, 0},
	    [LEASE] = {k->lease_fd, POLLIN, 0}};

	if (poll(p, COUNT, loop_timeout(k)) <= 0)
		return;
	for (int i = 0; p[FRAMES].revents && i < 64 && intake_read(k); i++)
		;
	if (p[OUTPUT].revents && !output_read(k)) {
		close(k->output_fd);
		k->output_fd = -1;
	}
	if (p[CHILD].revents)
		drain_child_fd(k);
	if (p[CONTROL].revents)
		control_read(k);
	if (p[CANDIDATE].revents)
		control_candidate(k);
	if (p[LISTEN].revents)
		control_accept(k);
}

/* What the clock asks for. True: the time of grace is over. */
static bool
look_at_clock(struct keeper *k)
{
	int64_t now = clock_monotonic_ms();
	char reason[80];

	if (k->out.chunk_n && now >= k->out.chunk_since_ms + OUTPUT_FLUSH_MS)
		output_flush(k);
	if (k->progress && now >= k->progress_at + PROGRESS_EVERY_MS)
		intake_flush_progress(k);
	if (k->stop == STOP_NONE && !k->has_end && k->deadline_at >= 0 && now >= k->deadline_at) {
		snprintf(
		    reason, sizeof(reason), "deadline of %lld ms", (long long)k->job->timeout_ms);
		keeper_stop(k, STOP_DEADLINE, k->job->grace_ms, reason);
	}
	lease_check(k);
	return k->is_bad || (k->kill_at >= 0 && now >= k->kill_at);
}

/* Until the plugin process has ended or must be ended. */
static void
watch(struct keeper *k)
{
	uint64_t told = 0; /* journal_b at the last GREW */

	for (;;) {
		reap(k);
		if (k->is_reaped || look_at_clock(k))
			return;
		if (k->journal_b != told || !k->has_told_all) {
			told = k->journal_b;
			control_tell_growth(k);
		}
		wait_and_read(k);
	}
}

/*
 * Everything below us, until no child is left: whatever forks, leaves its session, ignores signals
 * or stops itself is a descendant of this subreaper and of nobody else's. A chain of processes that
 * fork and exit is faster than a scan of /proc, but each link becomes our child: short rounds
 * catch it.
 */
static void
sweep(struct keeper *k)
{
	int64_t give_up = clock_monotonic_ms() + SWEEP_LIMIT_MS;
	struct pollfd p = {k->child_fd, POLLIN, 0};

	while (reap(k)) {
		if (clock_monotonic_ms() > give_up) {
			log_error(LOG_KEEPER, "processes survive SIGKILL, left to the kernel");
			return;
		}
		proc_signal_tree(getpid(), SIGKILL);
		for (int i = 0; i < SWEEP_ROUNDS && reap(k); i++)
			proc_kill_children();
		if (poll(&p, 1, 5) > 0)
			drain_child_fd(k);
	}
}

/* What the dead have left in pipe and socket. */
static void
drain(struct keeper *k)
{
	while (k->frame_fd >= 0 && intake_read(k))
		;
	/* All writers are dead, so this is at most a pipe's capacity and ends. */
	for (int i = 0; k->output_fd >= 0 && i < 64; i++) {
		struct pollfd p = {k->output_fd, POLLIN, 0};

		if (poll(&p, 1, 0) <= 0 || !output_read(k))
			break;
	}
	intake_flush_progress(k);
	output_finish(k);
}

/* The result is durable before anybody is told of it. */
static void
finish(struct keeper *k)
{
	_cleanup_json_ json_t *j = result_json(k);
	struct err e = ERR_INIT;

	if (journal_finish(k, j, &e) < 0)
		log_fatal(LOG_KEEPER, "result is lost: %s", e.message);
	FAILPOINT("keeper.tell");
	log_debug(LOG_KEEPER, "finished: %s", json_get_str(j, "class", ""));
	control_tell_growth(k);
	control_tell_done(k);
	FAILPOINT("keeper.told");
}

_Noreturn void
keeper_main(const struct keeper_job *job)
{
	struct keeper *k = &K;
	struct keeper_job mine = *job;

	/* Field by field: a whole struct would touch every page of the buffers. */
	k->job = &mine;
	k->frame_fd = k->output_fd = k->cancel_fd = -1;
	k->listen_fd = k->candidate_fd = k->lease_fd = -1;
	k->control_fd = job->control_fd;
	k->kill_at = -1;
	k->progress_at = INT32_MIN;
	log_init("keeper", job->log_level, job->log_format);
	log_context("unit", mine.meta.unit);
	become_keeper(k);
	io_set_nonblock(k->control_fd, true);
	mine.meta.keeper_pid = getpid();
	mine.meta.keeper_start = proc_start(getpid());
	k->zstd = ZSTD_createCCtx();
	if (!k->zstd)
		log_fatal(LOG_KEEPER, "no memory");
	claim_unit(k);
	output_init(k);
	k->started_us = clock_realtime_us();
	k->started_ms = clock_monotonic_ms();
	k->deadline_at = mine.timeout_ms > 0 ? k->started_ms + mine.timeout_ms : -1;
	lease_init(k);
	lease_check(k);
	if (k->stop == STOP_NONE) {
		start_child(k);
		FAILPOINT("keeper.forked");
		note_started(k);
		FAILPOINT("keeper.started");
		watch(k);
	}
	sweep(k);
	drain(k);
	finish(k);
	_exit(0);
}
