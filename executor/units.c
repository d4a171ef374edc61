// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The units this executor holds: started for the engine, found on disk, settled. unit_set_phase()
 * is the only place where a unit's phase changes. A unit's epoch fences: a frame with another one
 * changes nothing.
 */
#include "executor/executor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/jsonx.h"
#include "executor/proc.h"

#include "base/banned.h"

#define SETTLED_KEEP_MS (15 * 60 * 1000)
#define SETTLED_LOOK_S 20.
#define ASIDE_KEEP_S 60
#define OUTPUT_LIMIT_DEFAULT (8 << 20)
#define OUTPUT_LIMIT_MIN 4096
#define OUTPUT_LIMIT_MAX (1 << 30)
#define TIMEOUT_MAX_MS (604800ll * 1000)
#define GRACE_DEFAULT_MS 5000

static ev_timer settled_timer;

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

static struct unit *
unit_new(const struct unit_meta *m, enum unit_phase phase)
{
	struct unit *u = xcalloc(1, sizeof(*u));

	u->meta = *m;
	u->phase = phase;
	u->since_ms = clock_monotonic_ms();
	u->keeper_fd = u->journal_fd = -1;
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
	unit_dir_remove(X.units_fd, u->meta.unit);
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

static uint64_t
journal_size(const struct unit *u)
{
	char path[UNIT_ID_MAX + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/journal", u->meta.unit);
	return fstatat(X.units_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

/* Tell the keeper what the engine asked for while nobody listened. */
static void
tell_keeper(struct unit *u)
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
		tell_keeper(u);
	if (phase == UNIT_FINISHED || phase == UNIT_LOST) {
		close_keeper(u);
		ev_timer_stop(X.loop, &u->timer);
		u->journal_b = journal_size(u);
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

/* The zygote closed its copy without a keeper, or the keeper is gone. */
static void
keeper_gone(struct unit *u)
{
	_cleanup_fd_ int dirfd = -1;

	close_keeper(u);
	if (u->phase == UNIT_STARTING) {
		dirfd = openat(X.units_fd, u->meta.unit, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dirfd < 0 || unit_claim(dirfd, NULL) == 1) {
			unit_refuse(u, "transient", "executor.fork",
			    "its keeper could not be started",
			    "The machine may be out of processes or memory; see the executor's "
			    "log.");
			return;
		}
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
		tell_keeper(u);
}

/* START: directory and first meta, then the zygote. */

static int64_t
clamp(int64_t v, int64_t min, int64_t max)
{
	return v < min ? min : v > max ? max : v;
}

static json_t *
spawn_json(const json_t *j)
{
	return json_pack("{s:I, s:I, s:I, s:s}", "timeout_ms",
	    (json_int_t)clamp(json_get_int(j, "timeout_ms", 0), 0, TIMEOUT_MAX_MS), "grace_ms",
	    (json_int_t)clamp(json_get_int(j, "grace_ms", GRACE_DEFAULT_MS), 0, 3600000),
	    "output_limit_b",
	    (json_int_t)clamp(json_get_int(j, "output_limit_b", OUTPUT_LIMIT_DEFAULT),
		OUTPUT_LIMIT_MIN, OUTPUT_LIMIT_MAX),
	    "seal_pk", json_get_str(j, "seal_pk", ""));
}

static int
make_dir(const struct unit_meta *m, struct err *e)
{
	_cleanup_fd_ int fd = -1;

	if (mkdirat(X.units_fd, m->unit, 0700) < 0)
		return err_sys(e, "directory of unit %s", m->unit);
	fd = openat(X.units_fd, m->unit, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(e, "directory of unit %s", m->unit);
	if (unit_meta_write(fd, m, e) < 0)
		return -e->code;
	return take_fd(&fd);
}

static void
start_unit(struct plugin *p, const struct unit_meta *m, const json_t *j, int *input_fd)
{
	struct err e = ERR_INIT;
	int dirfd = make_dir(m, &e);
	struct unit *u;

	if (dirfd < 0) {
		refuse(m->unit, m->epoch, "transient", "executor.disk", e.message, "");
		unit_dir_remove(X.units_fd, m->unit);
		return;
	}
	FAILPOINT("executor.dir_made");
	u = unit_new(m, UNIT_PENDING);
	u->spawn = spawn_json(j);
	u->spawn_fds[0] = dirfd;
	u->spawn_fds[2] = take_fd(input_fd);
	stream_start(u, 0);
	zygote_spawn(p, u);
}

/* What is wrong with a START before anything was made; NULL: nothing. */
static const char *
start_problem(const struct plugin *p, int input_fd, const char **class, const char **code)
{
	/* A file that is just being looked at again may be the one that offers it. */
	*class = "transient";
	*code = "executor.scanning";
	if (!p && X.probes)
		return "plugin files are being looked at";
	*class = "unsupported";
	*code = "plugin.unknown_type";
	if (!p)
		return "no loaded plugin offers this task type";
	*class = "internal";
	*code = "executor.no_input";
	if (input_fd < 0)
		return "START came without its input";
	*class = "transient";
	*code = "executor.full";
	if (X.live >= X.max_units)
		return "this node holds as many units as --max-units allows";
	return NULL;
}

/*
 * A unit runs once. One that was settled and is to be started anew ran for a database that has forgotten
 * it (a failover that lost commits): what it left is told again. Of another epoch's nothing is known here.
 */
static void
start_again(struct unit *u, int64_t epoch)
{
	if (u->meta.epoch != epoch)
		refuse(u->meta.unit, epoch, "transient", "executor.held",
		    "this executor still holds the unit with another epoch", "");
	else if (u->is_settled) {
		log_warn(LOG_EXEC, "unit %s has run and was settled, told again", u->meta.unit);
		stream_start(u, 0);
		stream_pump();
	}
}

void
unit_on_start(const json_t *j, int input_fd)
{
	_cleanup_fd_ int input = input_fd;
	const char *id = json_get_str(j, "unit", ""), *type = json_get_str(j, "type", "");
	const char *class, *code, *problem;
	struct unit_meta m = {.epoch = json_get_int(j, "epoch", 0)};
	struct plugin *p = plugins_find(type);
	struct unit *known;

	if (!unit_id_valid(id) || m.epoch < 1 || strlen(type) >= sizeof(m.type)) {
		refuse(id, m.epoch, "internal", "executor.bad_start",
		    "unit is not <uuid>.<attempt>.<no>, or epoch is below 1", "");
		return;
	}
	known = unit_find(id);
	if (known) {
		start_again(known, m.epoch);
		return;
	}
	m.is_killed_without_lease = !strcmp(json_get_str(j, "on_lease_loss", ""), "kill");
	problem = start_problem(p, input, &class, &code);
	if (!problem && m.is_killed_without_lease && !lease_holds()) {
		class = "transient";
		code = "takt.no_lease";
		problem = "this node holds no lease, and the task type must not run without one";
	}
	if (problem) {
		refuse(
		    id, m.epoch, class, code, problem, "`takt plugin list` shows what is loaded.");
		return;
	}
	snprintf(m.unit, sizeof(m.unit), "%s", id);
	snprintf(m.type, sizeof(m.type), "%s", type);
	snprintf(m.boot_id, sizeof(m.boot_id), "%s", proc_boot_id());
	id_random_hex(m.tag, UNIT_TAG_LEN / 2);
	id_random_hex(m.nonce, UNIT_NONCE_LEN / 2);
	start_unit(p, &m, j, &input);
}

/* The unit a frame is about, if its epoch is the unit's (0 on disk: meta was lost, any goes). */
static struct unit *
unit_of(const json_t *j, const char *what)
{
	struct unit *u = unit_find(json_get_str(j, "unit", ""));
	int64_t epoch = json_get_int(j, "epoch", 0);

	if (u && u->meta.epoch && u->meta.epoch != epoch) {
		log_warn(LOG_EXEC, "%s of unit %s has epoch %lld, the unit %lld: ignored", what,
		    u->meta.unit, (long long)epoch, (long long)u->meta.epoch);
		return NULL;
	}
	return u;
}

void
unit_on_attach(const json_t *j)
{
	struct unit *u = unit_of(j, "ATTACH");
	const char *id = json_get_str(j, "unit", "");
	int64_t from = json_get_int(j, "from", 0);

	if (!u) {
		if (!unit_find(id)) {
			_cleanup_json_ json_t *lost = json_pack("{s:s, s:I, s:s}", "unit", id,
			    "epoch", (json_int_t)json_get_int(j, "epoch", 0), "message",
			    "this executor does not hold the unit");

			server_send(FRAME_LOST, lost);
		}
		return;
	}
	stream_start(u, from < 0 ? 0 : (uint64_t)from);
	stream_pump();
}

static void
settle(struct unit *u)
{
	char path[UNIT_ID_MAX + 16];
	int fd;

	stream_stop(u);
	snprintf(path, sizeof(path), "%s/settled", u->meta.unit);
	fd = openat(X.units_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		close(fd);
	FAILPOINT("executor.settled");
	if (u->is_settled)
		return;
	u->is_settled = true;
	u->settled_ms = clock_monotonic_ms();
	TAILQ_INSERT_TAIL(&X.settled, u, link);
}

void
unit_on_ack(const json_t *j)
{
	struct unit *u = unit_of(j, "ACK");

	if (!u || !json_get_bool(j, "final", 0))
		return;
	if (u->phase != UNIT_FINISHED && u->phase != UNIT_LOST)
		log_warn(LOG_EXEC, "unit %s: final ACK before its result, ignored", u->meta.unit);
	else if (json_get_bool(j, "now", 0))
		unit_forget(u);
	else
		settle(u);
}

void
unit_on_cancel(const json_t *j)
{
	struct unit *u = unit_of(j, "CANCEL");

	if (!u || u->phase == UNIT_FINISHED || u->phase == UNIT_LOST)
		return;
	if (u->phase == UNIT_PENDING) {
		unit_refuse(
		    u, "cancelled", "unit.cancelled", "cancelled before it was started", "");
		return;
	}
	json_decref(u->cancel);
	u->cancel = json_deep_copy(j);
	tell_keeper(u);
}

void
unit_on_drop(const json_t *j)
{
	struct unit *u = unit_find(json_get_str(j, "unit", ""));

	if (!u)
		return;
	log_info(LOG_EXEC, "unit %s dropped by the engine", u->meta.unit);
	stream_stop(u);
	u->is_dropped = true;
	if (u->phase == UNIT_PENDING || u->phase == UNIT_FINISHED || u->phase == UNIT_LOST)
		unit_forget(u);
	else
		tell_keeper(u);
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

static void
on_settled_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct unit *u;

	(void)loop;
	(void)w;
	(void)revents;
	while (
	    (u = TAILQ_FIRST(&X.settled)) && clock_monotonic_ms() - u->settled_ms > SETTLED_KEEP_MS)
		unit_forget(u);
	stream_pump();
}

void
units_init(void)
{
	for (size_t i = 0; i < UNIT_BUCKETS; i++)
		LIST_INIT(&X.units[i]);
	TAILQ_INIT(&X.streaming);
	TAILQ_INIT(&X.settled);
	ev_timer_init(&settled_timer, on_settled_timer, SETTLED_LOOK_S, SETTLED_LOOK_S);
	ev_timer_start(X.loop, &settled_timer);
}

static void
scan_one(const char *name)
{
	_cleanup_fd_ int dirfd =
	    openat(X.units_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct unit_meta m = {0};
	struct unit *u;

	if (dirfd < 0)
		return;
	if (unit_meta_read(dirfd, &m, NULL) < 0 || strcmp(m.unit, name) != 0) {
		m = (struct unit_meta){0};
		snprintf(m.unit, sizeof(m.unit), "%s", name);
	}
	u = unit_new(&m, UNIT_ADOPTING);
	if (faccessat(dirfd, "settled", F_OK, 0) == 0) {
		/* Kept for another full period: the clock that counts does not survive us. */
		unit_set_phase(u, UNIT_FINISHED);
		settle(u);
	} else
		adopt_start(u);
}

/* Put aside by an earlier executor whose zygotes have long seen its end. */
static void
remove_aside(const char *name)
{
	const char *end = strstr(name, UNIT_ASIDE);
	struct stat st;

	if (end && !end[sizeof(UNIT_ASIDE) - 1] &&
	    fstatat(X.units_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    clock_realtime_us() / 1000000 - st.st_mtime > ASIDE_KEEP_S)
		unit_dir_remove(X.units_fd, name);
}

void
units_scan(void)
{
	int fd = openat(X.units_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *ent;

	/* One more than there are, so that nothing is listed before all were looked at. */
	X.adopting++;
	while (d && (ent = readdir(d)))
		if (unit_id_valid(ent->d_name))
			scan_one(ent->d_name);
		else
			remove_aside(ent->d_name);
	if (d)
		closedir(d);
	X.adopting--;
}
