// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The units this executor holds, and their keepers. unit_set_phase() is the only place where a
 * unit's phase changes.
 */
#include "executor/executor.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "executor/spares.h"

#include "base/banned.h"

static unsigned
bucket_of(const char *id)
{
	uint32_t h = 2166136261u;

	for (; *id; id++)
		h = (h ^ (unsigned char)*id) * 16777619u;
	return h % UNIT_BUCKETS;
}

struct unit *
unit_find(const char *id)
{
	struct unit *u;

	LIST_FOREACH(u, &X.units[bucket_of(id)], bucket)
	if (!strcmp(u->meta.unit, id))
		return u;
	return NULL;
}

static bool
holds_capacity(enum unit_phase p)
{
	return p != UNIT_FINISHED && p != UNIT_LOST;
}

static bool
is_unclear(enum unit_phase p)
{
	return p == UNIT_ADOPTING || p == UNIT_ENDING;
}

static void on_unit_timer(struct ev_loop *loop, ev_timer *w, int revents);

struct unit *
unit_new(const struct unit_meta *m, enum unit_phase phase)
{
	struct unit *u = xcalloc(1, sizeof(*u));

	u->meta = *m;
	u->phase = phase;
	u->since_ms = clock_monotonic_ms();
	u->keeper_fd = u->file_fd = -1;
	for (size_t i = 0; i < ARRAY_LEN(u->spawn_fds); i++)
		u->spawn_fds[i] = -1;
	ev_timer_init(&u->timer, on_unit_timer, 0., 0.);
	u->timer.data = u;
	LIST_INSERT_HEAD(&X.units[bucket_of(m->unit)], u, bucket);
	X.live += holds_capacity(phase);
	X.adopting += is_unclear(phase);
	return u;
}

static void
close_keeper(struct unit *u)
{
	if (u->keeper_fd < 0)
		return;
	ev_io_stop(X.loop, &u->keeper_io);
	close(u->keeper_fd);
	u->keeper_fd = -1;
}

static void
unit_free(struct unit *u)
{
	stream_stop(u);
	if (u->is_settled)
		TAILQ_REMOVE(&X.settled, u, link);
	close_keeper(u);
	ev_timer_stop(X.loop, &u->timer);
	for (size_t i = 0; i < ARRAY_LEN(u->spawn_fds); i++)
		if (u->spawn_fds[i] >= 0)
			close(u->spawn_fds[i]);
	json_decref(u->cancel);
	json_decref(u->spawn);
	LIST_REMOVE(u, bucket);
	X.live -= holds_capacity(u->phase);
	X.adopting -= is_unclear(u->phase);
	free(u);
}

void
unit_forget(struct unit *u)
{
	/* Only what ended in order has no keeper that might still come and write. */
	if (u->phase == UNIT_FINISHED)
		spare_put(X.units_fd, u->meta.unit);
	else
		unlinkat(X.units_fd, u->meta.unit, 0);
	unit_free(u);
}

void
refuse(const char *unit, int64_t epoch, const char *class, const char *code, const char *message,
    const char *hint)
{
	_cleanup_json_ json_t *j =
	    json_pack("{s:s, s:I, s:s, s:s, s:s, s:s}", "unit", unit, "epoch", (json_int_t)epoch,
		"class", class, "code", code, "message", message, "hint", hint);

	log_warn(LOG_EXEC, "unit %s refused: %s", unit, message);
	server_send(FRAME_REFUSED, j);
}

void
unit_refuse(
    struct unit *u, const char *class, const char *code, const char *message, const char *hint)
{
	refuse(u->meta.unit, u->meta.epoch, class, code, message, hint);
	unit_forget(u);
}

void
unit_tell_keeper(struct unit *u)
{
	if (u->keeper_fd < 0 || u->phase == UNIT_ADOPTING)
		return;
	if (u->is_dropped)
		frame_send(u->keeper_fd, FRAME_DROP, 0, NULL, NULL, 0, -1, NULL);
	else if (u->cancel)
		frame_send(u->keeper_fd, FRAME_CANCEL, 0, u->cancel, NULL, 0, -1, NULL);
	json_decref(u->cancel);
	u->cancel = NULL;
	lease_tell(u);
}

static void
note_journal_end(struct unit *u)
{
	_cleanup_fd_ int opened = u->file_fd < 0 ? unit_file_open(X.units_fd, u->meta.unit) : -1;
	int fd = u->file_fd < 0 ? opened : u->file_fd;

	u->journal_b = fd >= 0 ? unit_journal_b(fd) : 0;
}

void
unit_set_phase(struct unit *u, enum unit_phase phase)
{
	bool was_unclear = is_unclear(u->phase);

	if (u->phase == phase)
		return;
	X.live += holds_capacity(phase) - holds_capacity(u->phase);
	X.adopting += is_unclear(phase) - is_unclear(u->phase);
	u->phase = phase;
	u->since_ms = clock_monotonic_ms();
	if (phase == UNIT_RUNNING)
		unit_tell_keeper(u);
	if (phase == UNIT_FINISHED || phase == UNIT_LOST) {
		close_keeper(u);
		ev_timer_stop(X.loop, &u->timer);
		note_journal_end(u);
		if (u->is_dropped)
			unit_forget(u);
		else
			stream_pump();
	}
	if (was_unclear && !X.adopting)
		server_maybe_list();
}

static void
on_unit_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	adopt_timer(w->data);
}

/* Handed over, and no keeper will take it: the claim is ours. */
static bool
has_no_keeper(const struct unit *u)
{
	_cleanup_fd_ int fd = unit_file_open(X.units_fd, u->meta.unit);

	return fd < 0 || (unit_lock(fd, false) == 0 && unit_claim(fd, NULL) == 1);
}

/* The zygote closed its copy without a keeper, or the keeper is gone. */
static void
keeper_gone(struct unit *u)
{
	close_keeper(u);
	if (u->phase == UNIT_STARTING && has_no_keeper(u)) {
		unit_refuse(u, "transient", "executor.fork", "its keeper could not be started",
		    "The machine may be out of processes or memory; see the executor's log.");
		return;
	}
	if (u->phase == UNIT_ADOPTING)
		return; /* its timer looks again */
	adopt_start(u);
}

static void
on_keeper(struct ev_loop *loop, ev_io *w, int revents)
{
	static unsigned char packet[FRAME_MAX];
	_cleanup_frame_ struct frame f = {0};
	struct unit *u = w->data;
	int r = frame_recv(u->keeper_fd, packet, &f, NULL, NULL);

	(void)loop;
	(void)revents;
	if (r == -ERR_TRANSIENT)
		return;
	if (r <= 0)
		keeper_gone(u);
	else if (f.type == FRAME_K_PROOF && u->phase == UNIT_ADOPTING)
		adopt_proof(u, &f);
	else if (f.type == FRAME_K_DONE && u->phase != UNIT_ADOPTING)
		unit_set_phase(u, UNIT_FINISHED);
	else if (f.type == FRAME_K_GREW && u->phase != UNIT_ADOPTING) {
		u->journal_b =
		    (uint64_t)json_get_int(f.json, "journal_b", (json_int_t)u->journal_b);
		u->pid = (pid_t)json_get_int(f.json, "pid", 0);
		unit_set_phase(u, UNIT_RUNNING);
		stream_pump();
	}
}

void
unit_watch_keeper(struct unit *u, int fd)
{
	close_keeper(u);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	u->keeper_fd = fd;
	ev_io_init(&u->keeper_io, on_keeper, fd, EV_READ);
	u->keeper_io.data = u;
	ev_io_start(X.loop, &u->keeper_io);
	if (u->phase == UNIT_STARTING)
		unit_tell_keeper(u);
}

void
units_detach_all(void)
{
	struct unit *u;

	while ((u = TAILQ_FIRST(&X.streaming)))
		stream_stop(u);
}

static void
list_unit(const struct unit *u)
{
	const char *phase = u->phase == UNIT_FINISHED ? "finished"
			    : u->phase == UNIT_LOST   ? "lost"
						      : "running";
	_cleanup_json_ json_t *j = json_pack("{s:s, s:I, s:s, s:I}", "unit", u->meta.unit, "epoch",
	    (json_int_t)u->meta.epoch, "phase", phase, "journal_b", (json_int_t)u->journal_b);

	if (u->pid > 0 && u->phase == UNIT_RUNNING)
		json_object_set_new(j, "pid", json_integer(u->pid));
	server_send(FRAME_UNIT, j);
}

void
units_list(void)
{
	for (size_t i = 0; i < UNIT_BUCKETS; i++) {
		const struct unit *u;

		LIST_FOREACH(u, &X.units[i], bucket)
		if (!u->is_settled && !u->is_dropped)
			list_unit(u);
	}
}

void
units_init(void)
{
	for (size_t i = 0; i < UNIT_BUCKETS; i++)
		LIST_INIT(&X.units[i]);
	TAILQ_INIT(&X.streaming);
}
