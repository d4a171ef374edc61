// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What the engine asks for: START, ATTACH, ACK, CANCEL, DROP. A unit's epoch fences: a frame with
 * another one changes nothing.
 */
#include "executor/executor.h"

#include <string.h>

#include "base/failpoint.h"
#include "base/id.h"
#include "base/jsonx.h"
#include "executor/proc.h"

#include "base/banned.h"

#define OUTPUT_LIMIT_DEFAULT (8 << 20)
#define OUTPUT_LIMIT_MIN 4096
#define OUTPUT_LIMIT_MAX (1 << 30)
#define TIMEOUT_MAX_MS (604800ll * 1000)
#define GRACE_DEFAULT_MS 5000

/* START: the unit's file, then the zygote. */

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

static void
start_unit(struct plugin *p, const struct unit_meta *m, const json_t *j, int *input_fd)
{
	struct err e = ERR_INIT;
	int fd = unit_file_make(X.units_fd, m, &e);
	struct unit *u;

	if (fd < 0) {
		refuse(m->unit, m->epoch, "transient", "executor.disk", e.message, "");
		return;
	}
	FAILPOINT("executor.file_made");
	u = unit_new(m, UNIT_PENDING);
	u->spawn = spawn_json(j);
	u->spawn_fds[0] = fd;
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
		unit_settle(u);
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
	unit_tell_keeper(u);
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
		unit_tell_keeper(u);
}
