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
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/jsonx.h"
#include "executor/meet.h"
#include "executor/proc.h"

#include "base/banned.h"

#define RETRY_S 0.05
/* A keeper that claimed its unit writes its meta, and one that is alive answers, within this. */
#define PATIENCE_MS 10000

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
connect_keeper(struct unit *u)
{
	_cleanup_json_ json_t *j = NULL;
	int fd = meet_connect(u->meta.nonce);

	if (fd < 0) {
		retry_later(u);
		return;
	}
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

	if (!meet_proof_holds(
		u->meta.nonce, "keeper", u->challenge, json_get_str(f->json, "mac", "")) ||
	    json_get_int(f->json, "pid", 0) != u->meta.keeper_pid ||
	    (uint64_t)json_get_int(f->json, "start_time", 0) != u->meta.keeper_start) {
		log_warn(LOG_EXEC, "unit %s: what answers on its socket is not its keeper",
		    u->meta.unit);
		return;
	}
	meet_proof(u->meta.nonce, "executor", json_get_str(f->json, "challenge", ""), mac);
	j = json_pack("{s:s}", "mac", mac);
	if (frame_send(u->keeper_fd, FRAME_K_PROOF, 0, j, NULL, 0, -1, NULL) == 0) {
		log_info(LOG_EXEC, "unit %s adopted", u->meta.unit);
		ev_timer_stop(X.loop, &u->timer);
		unit_set_phase(u, UNIT_RUNNING);
	}
}

/* The claim is ours, so no keeper can ever take it: as if START had not come. The engine, which has
 * heard of no start, does not see it in the listing and sends START again. A keeper that is late has
 * the file still open and finds the claim in it. */
static void
never_started(struct unit *u)
{
	log_info(LOG_EXEC, "unit %s was never started, forgotten", u->meta.unit);
	unit_forget(u);
	if (!X.adopting)
		server_maybe_list();
}

/* No keeper is named in its file yet: it is starting and holds the lock, or it died, or never was. */
static void
wait_for_keeper(struct unit *u, int fd)
{
	int r;

	if (unit_lock(fd, false) < 0 && errno == EAGAIN) {
		retry_later(u);
		return;
	}
	r = unit_claim(fd, NULL);
	if (r == 1)
		never_started(u);
	else if (r < 0)
		lose(u, "its file cannot be written");
	else if (unit_meta_read(fd, &u->meta, NULL) == 0 && !u->meta.keeper_pid)
		lose(u,
		    "its keeper ended while it started"); /* named under the lock, which was free */
	else
		retry_later(u);
}

static void
look(struct unit *u)
{
	_cleanup_fd_ int fd = unit_file_open(X.units_fd, u->meta.unit);

	if (fd < 0) {
		lose(u, "its file is gone");
		return;
	}
	if (unit_is_marked(fd, UNIT_DURABLE)) {
		unit_set_phase(u, UNIT_FINISHED);
		return;
	}
	if (unit_meta_read(fd, &u->meta, NULL) < 0 ||
	    (*proc_boot_id() && strcmp(u->meta.boot_id, proc_boot_id()) != 0)) {
		/* The mark may have been lost with the power; what is whole now is durable. */
		if (unit_result_is_whole(fd))
			unit_set_phase(u, UNIT_FINISHED);
		else
			lose(u, "the machine was started again while it ran");
		return;
	}
	if (!u->meta.keeper_pid)
		wait_for_keeper(u, fd);
	else if (!proc_is_alive(u->meta.keeper_pid, u->meta.keeper_start)) {
		/* It may have finished between our two looks. */
		if (unit_is_marked(fd, UNIT_DURABLE))
			unit_set_phase(u, UNIT_FINISHED);
		else
			end_orphans(u);
	} else if (u->keeper_fd < 0)
		connect_keeper(u);
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
