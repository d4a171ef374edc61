// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The node's row: incarnation at each connect, epoch once per process, lease by the database's clock. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "config.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/link.h"
#include "daemon/engine/node.h"
#include "daemon/main/conf.h"
#include "daemon/store/store.h"
#include "sdk/device/device.h"
#include "seal/seal.h"

#include "base/banned.h"

#define LEASE_EVERY_S 5.0
#define ENTER_AGAIN_S 0.5

static struct ev_timer lease, enter_again;
static void (*entered)(struct engine *);

static int
node_id_read(struct engine *e, int dirfd, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/node-id", e->conf->state_dir);
	_cleanup_buf_ struct buf text = {0};

	if (faccessat(dirfd, "node-id", F_OK, 0) < 0) {
		char line[UUID_LEN + 2];
		uuid_v7(clock_realtime_us() / 1000, &e->node_id);
		snprintf(line, sizeof(line), "%s\n", e->node_id.s);
		return io_replace_file(dirfd, "node-id", line, strlen(line), 0600, err);
	}
	int rc = io_read_file(path, 64, &text, err);
	if (rc < 0)
		return rc;
	text.p[strcspn(text.p, "\n")] = '\0';
	if (!uuid_parse(text.p, &e->node_id))
		return err_set(
		    err, ERR_INVALID, "%s does not hold a UUID but \"%s\"", path, text.p);
	return 0;
}

int
node_identity(struct engine *e, struct err *err)
{
	int rc = io_mkdirs(e->conf->state_dir, 0700, err);

	if (rc < 0)
		return rc;
	_cleanup_fd_ int dirfd = open(e->conf->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_sys(err, "cannot open state_dir %s", e->conf->state_dir);
	if ((rc = node_id_read(e, dirfd, err)) < 0)
		return rc;
	e->seal = seal_key_make(dirfd, "engine.key", err);
	return e->seal ? 0 : -(int)err->code;
}

static void
boot_id(char out[40])
{
	_cleanup_buf_ struct buf b = {0};

	out[0] = '\0';
	if (io_read_file("/proc/sys/kernel/random/boot_id", 64, &b, NULL) == 0)
		snprintf(out, 40, "%.36s", b.p);
}

static void
on_locked(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	(void)res;
	if (err)
		log_warn(LOG_MAIN, "this node's lock is not free yet: %s", err->message);
}

static void
on_up_row(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	if (err)
		return;
	e->node_epoch = store_int(res, 0, "epoch", 0);
	log_info(LOG_MAIN, "node %s, epoch %lld, incarnation %lld", e->node_id.s,
	    (long long)e->node_epoch, (long long)store_int(res, 0, "incarnation", 0));
}

static void
on_entered(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	if (err) {
		if (!store_is_up(e->store))
			return; /* on_up comes again */
		/* The lock was not granted in time (the old backend still lives), or the row is refused. */
		log_warn(LOG_MAIN, "cannot enter the node, trying again: %s", err->message);
		ev_timer_stop(e->loop, &enter_again);
		ev_timer_set(&enter_again, ENTER_AGAIN_S, 0);
		ev_timer_start(e->loop, &enter_again);
		return;
	}
	e->is_node_up = true;
	e->lease_acked_sent_ms = e->lease_sent_ms;
	e->is_lease_asked = false;
	node_publish_platforms(e);
	entered(e);
}

void
node_enter(struct engine *e, void (*done)(struct engine *))
{
	char boot[40], epoch[24];

	entered = done;
	snprintf(epoch, sizeof(epoch), "%lld", (long long)e->node_epoch);
	boot_id(boot);
	const struct store_param up[] = {STORE_TEXT(e->node_id.s), STORE_TEXT(e->conf->node_name),
	    STORE_TEXT(boot), STORE_TEXT(PACKAGE_VERSION), STORE_TEXT(e->node_epoch ? "0" : "1")};
	const struct store_param key[] = {
	    STORE_TEXT(seal_key_id(e->seal)), STORE_BYTES(seal_key_public(e->seal), SEAL_PUBLIC_B)};

	e->lease_sent_ms = clock_boottime_ms();
	/* One transaction: without the lock there is no incarnation. */
	if (e->node_epoch)
		store_send(e->store, SQL_ENGINE_NODE_END_OLD,
		    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT(epoch)}, 2, NULL,
		    NULL);
	store_send(e->store, SQL_ENGINE_NODE_LOCK, up, 1, on_locked, e);
	store_send(e->store, SQL_ENGINE_DOWNTIME, NULL, 0, NULL, NULL);
	store_send(e->store, SQL_ENGINE_NODE_UP, up, ARRAY_LEN(up), on_up_row, e);
	store_send(e->store, SQL_ENGINE_SEAL_KEY_PUT, key, ARRAY_LEN(key), NULL, NULL);
	store_send(e->store, SQL_ENGINE_PARTITIONS_AHEAD, NULL, 0, NULL, NULL);
	STORE_POINT_ONCE(e->store, "node_enter");
	store_sync(e->store, on_entered, e);
}

void
node_publish_platforms(struct engine *e)
{
	struct err err = ERR_INIT;

	if (device_platforms_load((const char *const *)e->conf->platform_dirs, &err) < 0) {
		log_error(LOG_MAIN, "platforms stay as they are: %s", err.message);
		return;
	}
	_cleanup_json_ json_t *platforms = device_platforms_json();
	_cleanup_free_ char *text = json_text(platforms);
	store_send(e->store, SQL_ENGINE_PLATFORMS_PUT, (struct store_param[]){STORE_TEXT(text)}, 1,
	    NULL, NULL);
	store_sync(e->store, NULL, NULL);
}

void
node_tell_lease(struct engine *e)
{
	int64_t until = e->lease_acked_sent_ms + NODE_FENCE_MS, left = until - clock_boottime_ms();

	if (left > 0)
		link_send(e->link, FRAME_LEASE,
		    json_pack(
			"{s:I,s:I}", "left_ms", (json_int_t)left, "until_ms", (json_int_t)until),
		    -1);
}

static void
on_renewed(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;
	bool was_held = engine_may_claim(e);

	e->is_lease_asked = false;
	if (err)
		return;
	if (PQntuples(res) == 0)
		log_fatal(LOG_MAIN, "another engine has taken node %s", e->node_id.s);
	e->lease_acked_sent_ms = e->lease_sent_ms;
	if (e->is_listed)
		node_tell_lease(e);
	/* Others may have taken our runs over: nothing that memory says is started before it was read again. */
	if (!was_held && !e->is_stopping && engine_may_claim(e))
		engine_resync(e, "the lease had run out and is held again");
}

static void
on_lease(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine *e = w->data;
	char epoch[24];

	(void)loop;
	(void)revents;
	if (!e->is_node_up)
		return;
	if (!engine_may_claim(e) && !e->is_stopping)
		log_warn(LOG_MAIN, "the lease was not renewed for %d s: nothing new is begun",
		    NODE_FENCE_MS / 1000);
	if (e->is_lease_asked)
		return;
	snprintf(epoch, sizeof(epoch), "%lld", (long long)e->node_epoch);
	e->lease_sent_ms = clock_boottime_ms();
	e->is_lease_asked = true;
	store_send(e->store, SQL_ENGINE_NODE_LEASE,
	    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT(epoch)}, 2, on_renewed, e);
	STORE_POINT_ONCE(e->store, "lease");
	store_sync(e->store, NULL, NULL);
}

bool
engine_may_claim(const struct engine *e)
{
	return e->is_node_up && !e->is_stopping &&
	       node_lease_holds(e->lease_acked_sent_ms, clock_boottime_ms());
}

static void
on_enter_again(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct engine *e = w->data;

	(void)loop;
	(void)revents;
	if (store_is_up(e->store) && !e->is_node_up)
		node_enter(e, entered);
}

void
node_timers_start(struct engine *e)
{
	ev_init(&enter_again, on_enter_again);
	enter_again.data = e;
	ev_timer_init(&lease, on_lease, LEASE_EVERY_S, LEASE_EVERY_S);
	lease.data = e;
	ev_timer_start(e->loop, &lease);
}

void
node_timers_stop(struct engine *e)
{
	ev_timer_stop(e->loop, &lease);
	ev_timer_stop(e->loop, &enter_again);
}

void
node_leave(struct engine *e, store_cb *done)
{
	char epoch[24];

	snprintf(epoch, sizeof(epoch), "%lld", (long long)e->node_epoch);
	store_send(e->store, SQL_ENGINE_NODE_LEAVE,
	    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT(epoch)}, 2, NULL, NULL);
	store_sync(e->store, done, e);
}
