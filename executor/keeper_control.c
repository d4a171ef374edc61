// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The keeper's side of its executor. The executor that started the unit holds a socket pair; a
 * later one connects (meet.h) and both prove that they know the unit's nonce, which stands in a
 * file only our uid can read. The newest proven connection wins. Losing it changes nothing.
 *
 *   executor: K_ATTACH {challenge}     keeper: K_PROOF {mac, challenge, pid, start_time, boot_id}
 *   executor: K_PROOF {mac}            keeper: K_GREW {journal_b}, …, K_DONE
 *   executor: CANCEL, DROP, K_LEASE {until_ms}
 */
#include "executor/keeper_priv.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/id.h"
#include "base/jsonx.h"
#include "base/log.h"
#include "executor/meet.h"

#include "base/banned.h"

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int
control_listen(struct keeper *k, struct err *e)
{
	k->listen_fd = meet_listen(k->job->meta.nonce, e);
	return k->listen_fd < 0 ? k->listen_fd : 0;
}

void
control_accept(struct keeper *k)
{
	int fd = accept4(k->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err e = ERR_INIT;

	if (fd < 0)
		return;
	if (frame_peer_allowed(fd, &e) < 0) {
		log_warn(LOG_KEEPER, "connection refused: %s", e.message);
		close(fd);
		return;
	}
	close_fd(&k->candidate_fd);
	k->candidate_fd = fd;
	k->candidate_challenge[0] = 0;
}

static int
answer_challenge(struct keeper *k, const struct frame *f)
{
	const struct unit_meta *m = &k->job->meta;
	const char *challenge = json_get_str(f->json, "challenge", "");
	_cleanup_json_ json_t *j = NULL;
	char mac[65];

	if (strlen(challenge) < 32 || strlen(challenge) > 64)
		return -1;
	meet_proof(m->nonce, "keeper", challenge, mac);
	id_random_hex(k->candidate_challenge, 32);
	j = json_pack("{s:s, s:s, s:i, s:I, s:s}", "mac", mac, "challenge", k->candidate_challenge,
	    "pid", (int)m->keeper_pid, "start_time", (json_int_t)m->keeper_start, "boot_id",
	    m->boot_id);
	return frame_send(k->candidate_fd, FRAME_K_PROOF, 0, j, NULL, 0, -1, NULL);
}

static int
take_candidate(struct keeper *k, const struct frame *f)
{
	if (!k->candidate_challenge[0] ||
	    !meet_proof_holds(k->job->meta.nonce, "executor", k->candidate_challenge,
		json_get_str(f->json, "mac", "")))
		return -1;
	close_fd(&k->control_fd);
	k->control_fd = take_fd(&k->candidate_fd);
	k->has_told_all = false;
	log_info(LOG_KEEPER, "taken over by an executor");
	return 0;
}

void
control_candidate(struct keeper *k)
{
	_cleanup_frame_ struct frame f = {0};
	struct err e = ERR_INIT;
	int r = frame_recv(k->candidate_fd, k->packet, &f, NULL, &e);

	if (r == -ERR_TRANSIENT)
		return;
	if (r > 0 && f.type == FRAME_K_ATTACH)
		r = answer_challenge(k, &f);
	else if (r > 0 && f.type == FRAME_K_PROOF)
		r = take_candidate(k, &f);
	else
		r = -1;
	if (r < 0) {
		log_warn(LOG_KEEPER, "connection without proof closed");
		close_fd(&k->candidate_fd);
	}
}

void
control_read(struct keeper *k)
{
	_cleanup_frame_ struct frame f = {0};
	struct err e = ERR_INIT;
	int r = frame_recv(k->control_fd, k->packet, &f, NULL, &e);

	if (r == -ERR_TRANSIENT)
		return;
	if (r <= 0) {
		if (r < 0)
			log_warn(LOG_KEEPER, "executor: %s", e.message);
		close_fd(&k->control_fd);
		return;
	}
	if (f.type == FRAME_CANCEL)
		keeper_stop(k, STOP_CANCEL, json_get_int(f.json, "grace_ms", k->job->grace_ms),
		    json_get_str(f.json, "reason", ""));
	else if (f.type == FRAME_DROP)
		keeper_stop(k, STOP_DROP, 0, "dropped by the engine");
	else if (f.type == FRAME_K_LEASE)
		lease_renew(k, json_get_int(f.json, "until_ms", 0));
	else
		log_warn(LOG_KEEPER, "frame of type %u ignored", f.type);
}

void
control_tell_growth(struct keeper *k)
{
	_cleanup_json_ json_t *j = NULL;

	if (k->control_fd < 0)
		return;
	j = json_pack("{s:I, s:i}", "journal_b", (json_int_t)k->journal_b, "pid", (int)k->pid);
	k->has_told_all = frame_send(k->control_fd, FRAME_K_GREW, 0, j, NULL, 0, -1, NULL) == 0;
}

void
control_tell_done(struct keeper *k)
{
	/* A hint only: the executor also sees that we are gone, and finds the result. */
	if (k->control_fd >= 0)
		frame_send(k->control_fd, FRAME_K_DONE, 0, NULL, NULL, 0, -1, NULL);
}
