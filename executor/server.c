// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The engine's connection. Whoever says HELLO last is the engine; an older one is closed. It then
 * gets the listing (HELLO, PLUGIN…, UNIT…, READY) as soon as probes and adoptions are done.
 */
#include "executor/executor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/id.h"
#include "base/io.h"
#include "base/jsonx.h"
#include "config.h"
#include "executor/proc.h"

#include "base/banned.h"

#define FRAMES_PER_TURN 64
#define CONNS_MAX 16
#define ACCEPT_AGAIN_S 1.

struct queued {
	STAILQ_ENTRY(queued) link;
	struct buf b;
};

static struct conn_list conns;
static unsigned conns_n;
static ev_io listen_io;
static ev_timer accept_timer;

static void
queue_clear(struct conn *c)
{
	struct queued *q;

	while ((q = STAILQ_FIRST(&c->queue))) {
		STAILQ_REMOVE_HEAD(&c->queue, link);
		buf_fini(&q->b);
		free(q);
	}
}

static void
conn_close(struct conn *c, const char *why)
{
	if (c == X.engine) {
		log_info(LOG_EXEC, "engine disconnected: %s", why);
		X.engine = NULL;
		X.is_listed = false;
		units_detach_all();
	}
	ev_io_stop(X.loop, &c->in);
	ev_io_stop(X.loop, &c->out);
	close(c->fd);
	queue_clear(c);
	LIST_REMOVE(c, link);
	conns_n--;
	free(c);
}

/* False: it must be tried again when the socket is writable. */
static bool
send_now(struct conn *c, const void *p, size_t n)
{
	struct err e = ERR_INIT;
	int r = frame_send_raw(c->fd, p, n, NULL, 0, &e);

	if (r == -ERR_TRANSIENT) {
		ev_io_start(X.loop, &c->out);
		return false;
	}
	/* A broken socket is also readable: it is closed there, not under our caller. */
	return true;
}

bool
server_try(const void *p, size_t n)
{
	if (!X.engine || !STAILQ_EMPTY(&X.engine->queue))
		return false;
	return send_now(X.engine, p, n);
}

void
server_send(enum frame_type type, const json_t *j)
{
	struct queued *q;
	struct err e = ERR_INIT;

	if (!X.engine)
		return;
	q = xcalloc(1, sizeof(*q));
	if (frame_encode(&q->b, type, 0, j, NULL, 0, &e) < 0) {
		log_error(LOG_EXEC, "not sent: %s", e.message);
		free(q);
		return;
	}
	if (STAILQ_EMPTY(&X.engine->queue) && send_now(X.engine, q->b.p, q->b.n)) {
		buf_fini(&q->b);
		free(q);
		return;
	}
	STAILQ_INSERT_TAIL(&X.engine->queue, q, link);
}

static void
on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
	struct conn *c = w->data;
	struct queued *q;

	(void)revents;
	while ((q = STAILQ_FIRST(&c->queue))) {
		if (!send_now(c, q->b.p, q->b.n))
			return;
		STAILQ_REMOVE_HEAD(&c->queue, link);
		buf_fini(&q->b);
		free(q);
	}
	ev_io_stop(loop, &c->out);
	stream_pump();
}

static void
send_plugins(void)
{
	for (const struct plugin *p = LIST_FIRST(&X.plugins); p; p = LIST_NEXT(p, link)) {
		_cleanup_json_ json_t *j = plugin_json(p);

		server_send(FRAME_PLUGIN, j);
	}
}

static void
send_listing(void)
{
	_cleanup_json_ json_t *hello = json_pack("{s:i, s:s, s:s, s:i, s:b, s:b}", "proto", 1,
	    "version", PACKAGE_VERSION, "boot_id", proc_boot_id(), "max_units", (int)X.max_units,
	    "seal_ready", 0, "input_text", 1);

	X.is_listed = true;
	X.has_rescanned = false;
	server_send(FRAME_HELLO, hello);
	send_plugins();
	units_list();
	server_send(FRAME_READY, NULL);
}

void
server_maybe_list(void)
{
	if (X.probes || X.adopting)
		return;
	if (!X.is_ready) {
		X.is_ready = true;
		log_info(LOG_EXEC, "ready");
	}
	if (!X.engine)
		return;
	if (!X.is_listed) {
		send_listing();
		return;
	}
	if (!X.has_rescanned)
		return;
	X.has_rescanned = false;
	send_plugins();
}

/* The engine keeps its identity in the state directory it shares with its executor. Another node's
 * engine knows none of our units and would have them all dropped. */
static bool
is_our_node(const char *node)
{
	char id[UUID_LEN + 1] = "";
	_cleanup_fd_ int fd = openat(X.state_fd, "node-id", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || read(fd, id, UUID_LEN) != UUID_LEN)
		return true;
	return strcasecmp(id, node) == 0;
}

static void
on_hello(struct conn *c, const json_t *j)
{
	int64_t proto = json_get_int(j, "proto", 0);

	if (proto != 1) {
		log_warn(
		    LOG_EXEC, "engine speaks protocol %lld, this executor 1", (long long)proto);
		conn_close(c, "protocol");
		return;
	}
	if (!is_our_node(json_get_str(j, "node", ""))) {
		log_error(LOG_EXEC,
		    "the engine of node %s is not ours (node-id in the state directory): its "
		    "executor_socket names the wrong executor",
		    json_get_str(j, "node", ""));
		conn_close(c, "another node's engine");
		return;
	}
	if (X.engine && X.engine != c)
		conn_close(X.engine, "a newer engine said HELLO");
	X.engine = c;
	X.is_listed = false;
	units_detach_all();
	log_info(LOG_EXEC, "engine of node %s connected", json_get_str(j, "node", "?"));
	server_maybe_list();
}

/* An input without a secret comes as the frame's blob. -1: there is none. */
static int
input_of(const struct frame *f)
{
	if (f->blob_n == 0)
		return -1;
	_cleanup_fd_ int fd = memfd_create("takt-start", MFD_CLOEXEC);
	if (fd < 0 || io_write_all(fd, f->blob, f->blob_n) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
		log_error(LOG_EXEC, "cannot write a unit's input: %s", strerror(errno));
		return -1;
	}
	return take_fd(&fd);
}

/* False: the connection is gone. */
static bool
dispatch(struct conn *c, const struct frame *f, int *passed)
{
	if (f->type == FRAME_HELLO) {
		on_hello(c, f->json);
		return X.engine == c;
	}
	if (c != X.engine) {
		conn_close(c, "frame before HELLO");
		return false;
	}
	switch (f->type) {
	case FRAME_START:
		unit_on_start(f->json, *passed < 0 ? input_of(f) : take_fd(passed));
		break;
	case FRAME_ATTACH:
		unit_on_attach(f->json);
		break;
	case FRAME_ACK:
		unit_on_ack(f->json);
		break;
	case FRAME_CANCEL:
		unit_on_cancel(f->json);
		break;
	case FRAME_DROP:
		unit_on_drop(f->json);
		break;
	case FRAME_LEASE:
		lease_on_frame(f->json);
		break;
	default:
		log_warn(LOG_EXEC, "frame of type %u ignored", f->type);
	}
	return true;
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
	static unsigned char packet[FRAME_MAX];
	struct conn *c = w->data;

	(void)loop;
	(void)revents;
	for (int i = 0; i < FRAMES_PER_TURN; i++) {
		_cleanup_frame_ struct frame f = {0};
		_cleanup_fd_ int passed = -1;
		struct err e = ERR_INIT;
		int r = frame_recv(c->fd, packet, &f, &passed, &e);

		if (r == -ERR_TRANSIENT)
			return;
		if (r <= 0) {
			conn_close(c, r ? e.message : "closed");
			return;
		}
		if (!dispatch(c, &f, &passed))
			return;
	}
}

static void
on_accept_again(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)w;
	(void)revents;
	ev_io_start(loop, &listen_io);
}

static void
on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err e = ERR_INIT;
	struct conn *c;

	(void)revents;
	if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
		/* Who waits there would wake us all the time. */
		log_warn(LOG_EXEC, "a connection waits: no descriptor is free");
		ev_io_stop(loop, &listen_io);
		ev_timer_start(loop, &accept_timer);
	}
	if (fd < 0)
		return;
	if (frame_peer_allowed(fd, &e) < 0 || conns_n == CONNS_MAX) {
		log_warn(LOG_EXEC, "connection refused: %s", e.code ? e.message : "too many");
		close(fd);
		return;
	}
	c = xcalloc(1, sizeof(*c));
	c->fd = fd;
	STAILQ_INIT(&c->queue);
	ev_io_init(&c->in, on_readable, fd, EV_READ);
	ev_io_init(&c->out, on_writable, fd, EV_WRITE);
	c->in.data = c->out.data = c;
	ev_io_start(loop, &c->in);
	LIST_INSERT_HEAD(&conns, c, link);
	conns_n++;
}

int
server_open(struct err *e)
{
	X.listen_fd = io_unix_listen(X.state_fd, "executor.sock", SOCK_SEQPACKET, e);
	if (X.listen_fd < 0)
		return X.listen_fd;
	io_set_nonblock(X.listen_fd, true);
	ev_timer_init(&accept_timer, on_accept_again, ACCEPT_AGAIN_S, 0.);
	ev_io_init(&listen_io, on_accept, X.listen_fd, EV_READ);
	ev_io_start(X.loop, &listen_io);
	return 0;
}

void
server_close(void)
{
	struct conn *c;

	ev_io_stop(X.loop, &listen_io);
	ev_timer_stop(X.loop, &accept_timer);
	close(X.listen_fd);
	unlinkat(X.state_fd, "executor.sock", 0);
	while ((c = LIST_FIRST(&conns)))
		conn_close(c, "executor stops");
}
