// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The executor's socket on the loop. At most READ_BURST frames are handled before others get a turn. */
#include "daemon/engine/link.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ev.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/jsonx.h"
#include "base/jtext.h"
#include "base/log.h"

#include "daemon/engine/engine.h"

#include "base/banned.h"

#define READ_BURST 64
#define BACKOFF_MIN_S 0.1
#define BACKOFF_MAX_S 3.0

struct waiting {
	struct waiting *next;
	struct buf bytes;
	int fd;
};

struct link {
	struct engine *engine;
	struct link_hooks hooks;
	char *path;
	int fd;
	bool is_wanted, is_paused;
	double backoff_s;
	struct ev_io in, out;
	struct ev_timer again;
	struct waiting *first, **last;
	struct buf json, frame; /* of the frame that is being made */
	uint8_t buf[FRAME_MAX];
};

static void
waiting_drop(struct link *l)
{
	struct waiting *w = l->first;

	l->first = w->next;
	if (!l->first)
		l->last = &l->first;
	if (w->fd >= 0)
		close(w->fd);
	buf_fini(&w->bytes);
	free(w);
}

static void
link_close(struct link *l)
{
	if (l->fd < 0)
		return;
	ev_io_stop(l->engine->loop, &l->in);
	ev_io_stop(l->engine->loop, &l->out);
	close(l->fd);
	l->fd = -1;
	l->is_paused = false;
	while (l->first)
		waiting_drop(l);
}

static void
link_lost(struct link *l, const char *why)
{
	log_warn(LOG_DISPATCH, "the executor's connection ended: %s", why);
	link_close(l);
	l->hooks.on_down(l->engine);
	if (l->is_wanted) {
		ev_timer_set(&l->again, l->backoff_s, 0);
		ev_timer_start(l->engine->loop, &l->again);
	}
}

static void
on_readable(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct link *l = w->data;

	(void)loop;
	(void)revents;
	for (int i = 0; i < READ_BURST && l->fd >= 0 && !l->is_paused; i++) {
		_cleanup_frame_ struct frame f = {0};
		struct err e = ERR_INIT;
		int rc = frame_recv_flat(l->fd, l->buf, &f, NULL, &e);
		if (rc == -ERR_TRANSIENT)
			return;
		if (rc <= 0) {
			link_lost(l, rc == 0 ? "it has gone" : e.message);
			return;
		}
		l->backoff_s = BACKOFF_MIN_S;
		l->hooks.on_frame(l->engine, &f);
	}
}

static void
on_writable(struct ev_loop *loop, struct ev_io *w, int revents)
{
	struct link *l = w->data;

	(void)revents;
	while (l->first) {
		struct waiting *x = l->first;
		struct err e = ERR_INIT;
		int rc = frame_send_raw(l->fd, x->bytes.p, x->bytes.n, &x->fd, x->fd >= 0, &e);
		if (rc == -ERR_TRANSIENT)
			return;
		if (rc < 0) {
			link_lost(l, e.message);
			return;
		}
		waiting_drop(l);
	}
	ev_io_stop(loop, w);
}

static int
link_connect(struct link *l, struct err *e)
{
	char dir[PATH_MAX], name[PATH_MAX];
	_cleanup_fd_ int dirfd = -1;

	snprintf(dir, sizeof(dir), "%s", l->path);
	snprintf(name, sizeof(name), "%s", l->path);
	dirfd = open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_sys(e, "cannot open the directory of %s", l->path);
	_cleanup_fd_ int fd = io_unix_connect(dirfd, basename(name), SOCK_SEQPACKET, e);
	if (fd < 0)
		return fd;
	int rc = frame_peer_allowed(fd, e);
	if (rc < 0)
		return rc;
	io_set_nonblock(fd, true);
	return take_fd(&fd);
}

static void
on_again(struct ev_loop *loop, struct ev_timer *w, int revents)
{
	struct link *l = w->data;
	struct err e = ERR_INIT;

	(void)revents;
	l->fd = link_connect(l, &e);
	if (l->fd < 0) {
		l->fd = -1;
		/* Said once per outage, not at every try. */
		if (l->backoff_s == BACKOFF_MIN_S)
			log_warn(LOG_DISPATCH, "no executor yet: %s", e.message);
		l->backoff_s = l->backoff_s * 2 > BACKOFF_MAX_S ? BACKOFF_MAX_S : l->backoff_s * 2;
		ev_timer_set(w, l->backoff_s, 0);
		ev_timer_start(loop, w);
		return;
	}
	ev_io_set(&l->in, l->fd, EV_READ);
	ev_io_set(&l->out, l->fd, EV_WRITE);
	ev_io_start(loop, &l->in);
	l->hooks.on_up(l->engine);
}

struct link *
link_new(struct engine *e, const char *path, const struct link_hooks *hooks)
{
	struct link *l = xcalloc(1, sizeof(*l));

	l->engine = e;
	l->hooks = *hooks;
	l->path = xstrdup(path);
	l->fd = -1;
	l->backoff_s = BACKOFF_MIN_S;
	l->last = &l->first;
	ev_init(&l->in, on_readable);
	ev_init(&l->out, on_writable);
	ev_init(&l->again, on_again);
	l->in.data = l->out.data = l->again.data = l;
	return l;
}

void
link_free(struct link *l)
{
	if (!l)
		return;
	link_stop(l);
	buf_fini(&l->json);
	buf_fini(&l->frame);
	free(l->path);
	free(l);
}

void
link_start(struct link *l, double delay_s)
{
	l->is_wanted = true;
	if (l->fd >= 0 || ev_is_active(&l->again))
		return;
	l->backoff_s = BACKOFF_MIN_S;
	ev_timer_set(&l->again, delay_s, 0);
	ev_timer_start(l->engine->loop, &l->again);
}

void
link_stop(struct link *l)
{
	l->is_wanted = false;
	ev_timer_stop(l->engine->loop, &l->again);
	link_close(l);
}

bool
link_send(struct link *l, enum frame_type type, json_t *take_json, int pass_fd)
{
	_cleanup_json_ json_t *json = take_json;

	jtext_json(link_json(l), NULL, json);
	return link_send_text(l, type, NULL, 0, pass_fd);
}

struct buf *
link_json(struct link *l)
{
	buf_clear(&l->json);
	return &l->json;
}

bool
link_send_text(struct link *l, enum frame_type type, const void *blob, size_t blob_n, int pass_fd)
{
	struct err e = ERR_INIT;

	if (l->fd < 0)
		return false;
	buf_clear(&l->frame);
	if (frame_encode_text(&l->frame, type, 0, l->json.p, l->json.n, blob, blob_n, &e) < 0)
		log_bug(LOG_DISPATCH, "a %s frame cannot be encoded: %s", frame_type_name(type),
		    e.message);
	if (!l->first) {
		int rc = frame_send_raw(l->fd, l->frame.p, l->frame.n, &pass_fd, pass_fd >= 0, &e);
		if (rc == 0)
			return true;
		/* Another error shows up at the next read, where the loss is handled. */
		if (rc != -ERR_TRANSIENT)
			return false;
	}
	struct waiting *w = xcalloc(1, sizeof(*w));
	w->fd = pass_fd >= 0 ? fcntl(pass_fd, F_DUPFD_CLOEXEC, 0) : -1;
	buf_add(&w->bytes, l->frame.p, l->frame.n);
	*l->last = w;
	l->last = &w->next;
	ev_io_start(l->engine->loop, &l->out);
	return true;
}

void
link_pause(struct link *l, bool is_paused)
{
	if (l->fd < 0 || l->is_paused == is_paused)
		return;
	l->is_paused = is_paused;
	if (is_paused)
		ev_io_stop(l->engine->loop, &l->in);
	else
		ev_io_start(l->engine->loop, &l->in);
}
