// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What became of a unit whose keeper we do not (or no longer) hold a socket to: after a restart
 * of the executor, or when a socket closed. In this order: there is a result: finished. The
 * machine was started again: lost. Nobody ever claimed it: nobody will; forgotten. Its keeper
 * lives: connect and let both prove themselves. Its keeper is dead: end the orphans that carry its
 * tag, then lost.
 */
#include "executor/executor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/io.h"
#include "base/jsonx.h"
#include "executor/proc.h"

#include "base/banned.h"

#define RETRY_S 0.05
/* A keeper that claimed its unit writes its meta, and one that is alive answers, within this. */
#define PATIENCE_MS 10000

static int
open_unit_dir(const struct unit *u)
{
	return openat(X.units_fd, u->meta.unit, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static void
retry_later(struct unit *u)
{
	ev_timer_stop(X.loop, &u->timer);
	ev_timer_set(&u->timer, RETRY_S, 0.);
	ev_timer_start(X.loop, &u->timer);
}

static void
lose(struct unit *u, const char *message)
{
	snprintf(u->lost, sizeof(u->lost), "%s", message);
	log_warn(LOG_EXEC, "unit %s lost: %s", u->meta.unit, message);
	unit_set_phase(u, UNIT_LOST);
}

/* A keeper is gone: nothing of its unit may outlive it. */
static void
end_orphans(struct unit *u)
{
	if (u->phase != UNIT_ENDING) {
		u->clean_scans = 0;
		unit_set_phase(u, UNIT_ENDING);
	}
	if (proc_kill_tagged(u->meta.tag) == 0)
		u->clean_scans++;
	else
		u->clean_scans = 0;
	/* Twice in a row: a fork may have hidden between two directories of one scan. */
	if (u->clean_scans >= 2 || clock_monotonic_ms() - u->since_ms > PATIENCE_MS)
		lose(u, "its keeper is gone without a result");
	else
		retry_later(u);
}

static void
connect_keeper(struct unit *u, int dirfd)
{
	_cleanup_json_ json_t *j = NULL;
	int fd = io_unix_connect(dirfd, "s", SOCK_SEQPACKET, NULL);

	if (fd < 0) {
		retry_later(u);
		return;
	}
	io_set_nonblock(fd, true);
	id_random_hex(u->challenge, 32);
	j = json_pack("{s:s}", "challenge", u->challenge);
	if (frame_send(fd, FRAME_K_ATTACH, 0, j, NULL, 0, -1, NULL) < 0) {
		close(fd);
		retry_later(u);
		return;
	}
	unit_watch_keeper(u, fd);
	retry_later(u);
}

void
adopt_proof(struct unit *u, const struct frame *f)
{
	_cleanup_json_ json_t *j = NULL;
	char mac[65];

	if (!unit_proof_holds(
		u->meta.nonce, "keeper", u->challenge, json_get_str(f->json, "mac", "")) ||
	    json_get_int(f->json, "pid", 0) != u->meta.keeper_pid ||
	    (uint64_t)json_get_int(f->json, "start_time", 0) != u->meta.keeper_start) {
		log_warn(LOG_EXEC, "unit %s: what answers on its socket is not its keeper",
		    u->meta.unit);
		return;
	}
	unit_proof(u->meta.nonce, "executor", json_get_str(f->json, "challenge", ""), mac);
	j = json_pack("{s:s}", "mac", mac);
	if (frame_send(u->keeper_fd, FRAME_K_PROOF, 0, j, NULL, 0, -1, NULL) == 0) {
		log_info(LOG_EXEC, "unit %s adopted", u->meta.unit);
		ev_timer_stop(X.loop, &u->timer);
		unit_set_phase(u, UNIT_RUNNING);
	}
}

/* The claim is ours, so no keeper can ever take it: as if START had not come. The engine, which has
 * heard of no start, does not see it in the listing and sends START again. The directory is put
 * aside with the claim in it: a keeper that is late finds it there (units_scan removes it). */
static void
never_started(struct unit *u)
{
	char aside[UNIT_ID_MAX + sizeof(UNIT_ASIDE)];

	snprintf(aside, sizeof(aside), "%s" UNIT_ASIDE, u->meta.unit);
	if (renameat(X.units_fd, u->meta.unit, X.units_fd, aside) < 0) {
		lose(u, "the executor ended before the unit was started");
		return;
	}
	log_info(LOG_EXEC, "unit %s was never started, forgotten", u->meta.unit);
	unit_forget(u);
	if (!X.adopting)
		server_maybe_list();
}

/* Claimed, but no keeper in its meta yet: it is starting and holds the directory, or it died. */
static void
wait_for_keeper(struct unit *u, int dirfd)
{
	int r = unit_claim(dirfd, NULL);

	if (r == 1)
		never_started(u);
	else if (r == 0 && !unit_is_held(dirfd) && unit_meta_read(dirfd, &u->meta, NULL) == 0 &&
		 !u->meta.keeper_pid) /* read after the lock was seen free: it will not come */
		lose(u, "its keeper ended while it started");
	else if (r == 0)
		retry_later(u);
	else
		lose(u, "its directory cannot be written");
}

static void
look(struct unit *u)
{
	_cleanup_fd_ int dirfd = open_unit_dir(u);

	if (dirfd < 0) {
		lose(u, "its directory is gone");
		return;
	}
	if (faccessat(dirfd, "result", F_OK, 0) == 0) {
		unit_set_phase(u, UNIT_FINISHED);
		return;
	}
	if (unit_meta_read(dirfd, &u->meta, NULL) < 0 ||
	    (*proc_boot_id() && strcmp(u->meta.boot_id, proc_boot_id()) != 0)) {
		lose(u, "the machine was started again while it ran");
		return;
	}
	if (!u->meta.keeper_pid)
		wait_for_keeper(u, dirfd);
	else if (!proc_is_alive(u->meta.keeper_pid, u->meta.keeper_start)) {
		/* It may have finished between our two looks. */
		if (faccessat(dirfd, "result", F_OK, 0) == 0)
			unit_set_phase(u, UNIT_FINISHED);
		else
			end_orphans(u);
	} else if (u->keeper_fd < 0)
		connect_keeper(u, dirfd);
	else
		retry_later(u);
}

void
adopt_start(struct unit *u)
{
	unit_set_phase(u, UNIT_ADOPTING);
	look(u);
}

void
adopt_timer(struct unit *u)
{
	if (u->phase == UNIT_ENDING) {
		end_orphans(u);
		return;
	}
	if (u->phase != UNIT_ADOPTING)
		return;
	/* Alive and deaf: without its socket it cannot be cancelled, so it is ended. */
	if (u->meta.keeper_pid && clock_monotonic_ms() - u->since_ms > PATIENCE_MS) {
		const struct proc keeper = {
		    .pid = u->meta.keeper_pid, .start = u->meta.keeper_start};

		log_error(
		    LOG_EXEC, "unit %s: keeper %d does not answer", u->meta.unit, (int)keeper.pid);
		proc_signal(&keeper, SIGKILL);
	}
	look(u);
}
