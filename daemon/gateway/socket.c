// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * WebSocket connections: upgrade, frames in, frames out, token checks, drain. libwebsockets calls in
 * through gateway.c; it is written to only when it says that a connection is writable.
 */
#include "daemon/gateway/socket.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"

#include "daemon/gateway/channel.h"
#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/guard.h"

#include "base/banned.h"

#define SOCK_MAGIC 0x736f636bu
#define ROOM_B (32 * 1024)      /* queued frames up to which channels add theirs */
#define OUT_MAX_B (1024 * 1024) /* a client that sends and never reads */
#define SILENT_MS 60000
#define CHECK_MS 20000 /* with the timer of 10 s: within 30 s */
#define WRITES_MAX 64  /* frames for one connection in one turn */
#define CLOSE_S \
	10 /* for what is queued and the close frame; a client that does not read gets neither */
#define SUBPROTOCOL_TOKEN "base64url.bearer.phx."

struct frame_out {
	struct frame_out *next;
	size_t n;
	unsigned char bytes[]; /* LWS_PRE, then n */
};

void
sock_get(struct sock *s)
{
	s->refs++;
}

void
sock_put(struct sock *s)
{
	if (--s->refs)
		return;
	while (s->out) {
		struct frame_out *f = s->out;

		s->out = f->next;
		free(f);
	}
	buf_fini(&s->in);
	sodium_memzero(s->token, strlen(s->token));
	free(s->token);
	s->magic = 0;
	free(s);
}

bool
sock_has_room(const struct sock *s)
{
	return s->wsi && s->out_b < ROOM_B;
}

void
sock_close(struct sock *s, int code, const char *reason)
{
	if (!s->wsi || s->close_code)
		return;
	s->close_code = code;
	s->close_reason = reason;
	lws_set_timeout(s->wsi, PENDING_TIMEOUT_CLOSE_SEND, CLOSE_S);
	lws_callback_on_writable(s->wsi);
}

void
sock_send(struct sock *s, const char *join_ref, const char *ref, const char *topic,
    const char *event, const char *payload)
{
	_cleanup_buf_ struct buf b = {0};
	struct frame_out *f;

	if (!s->wsi || s->close_code)
		return;
	phx_write(&b, s->is_v1, join_ref, ref, topic, event, payload);
	f = xmalloc(sizeof(*f) + LWS_PRE + b.n);
	f->next = NULL;
	f->n = b.n;
	memcpy(f->bytes + LWS_PRE, b.p, b.n);
	*s->out_tail = f;
	s->out_tail = &f->next;
	s->out_b += f->n;
	if (s->out_b > OUT_MAX_B)
		sock_close(s, LWS_CLOSE_STATUS_POLICY_VIOLATION, "you do not read");
	lws_callback_on_writable(s->wsi);
}

static char *
find_any_token(struct lws *wsi)
{
	char *token = http_bearer(wsi);
	_cleanup_free_ char *offered = http_header(wsi, WSI_TOKEN_PROTOCOL, 300);
	const char *p = offered ? strstr(offered, SUBPROTOCOL_TOKEN) : NULL;
	char text[TOKEN_MAX + 1];
	size_t n = 0;

	if (!token)
		token = http_query_value(wsi, "token", TOKEN_MAX);
	if (token || !p)
		return token;
	p += strlen(SUBPROTOCOL_TOKEN);
	if (sodium_base642bin((unsigned char *)text, TOKEN_MAX, p, strcspn(p, ", "), NULL, &n, NULL,
		sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0)
		return NULL;
	text[n] = '\0';
	return n ? xstrdup(text) : NULL;
}

/* The token, wherever a client of this protocol can put it; NULL if there is none. */
static char *
find_token(struct lws *wsi)
{
	_cleanup_free_ char *token = find_any_token(wsi);

	return http_is_text(token) ? take_ptr(&token) : NULL;
}

/* 0: no version we speak; 1: object frames; 2: arrays. */
static int
find_version(struct lws *wsi)
{
	_cleanup_free_ char *vsn = http_query_value(wsi, "vsn", 20);

	if (!vsn || !strncmp(vsn, "1.", 2))
		return 1;
	return !strncmp(vsn, "2.", 2) ? 2 : 0;
}

int
socket_filter(struct gateway *gw, struct lws *wsi)
{
	_cleanup_free_ char *path = http_header(wsi, WSI_TOKEN_GET_URI, 200),
			    *token = find_token(wsi);
	unsigned status = 0;

	if (!path || strcmp(path, "/socket/websocket") != 0)
		status = 404;
	else if (!token)
		status = 401;
	else if (!find_version(wsi))
		status = 403;
	else if (!guard_allows(wsi, token))
		status = 429;
	else if (gw->is_stopping)
		status = 503;
	if (!status)
		return 0;
	lws_return_http_status(wsi, status, NULL);
	return -1;
}

static void
check_token_2(void *arg, _unused_ const PGresult *res, const struct err *e)
{
	struct sock *s = arg;

	s->is_checking = false;
	if (!e || !strcmp(e->field, "TK401"))
		guard_learn(s->wsi, s->token, !e);
	if (e && !strncmp(e->field, "TK4", 3))
		sock_close(s, LWS_CLOSE_STATUS_POLICY_VIOLATION, "the token is not valid");
	sock_put(s);
}

static void
check_token(struct sock *s)
{
	s->checked_ms = clock_monotonic_ms();
	s->is_checking = true;
	sock_get(s);
	store_send(s->gw->db, SQL_API_SESSION,
	    (struct store_param[]){STORE_TEXT(s->token), STORE_TEXT("1")}, 2, NULL, NULL);
	store_sync(s->gw->db, check_token_2, s);
}

void
socket_check_tokens(struct gateway *gw)
{
	int64_t now = clock_monotonic_ms();

	for (struct sock *s = gw->socks; s; s = s->next) {
		if (now - s->heard_ms > SILENT_MS)
			sock_close(s, LWS_CLOSE_STATUS_NORMAL + 1, "no heartbeat for 60 s");
		else if (now - s->checked_ms > CHECK_MS && !s->is_checking && store_is_up(gw->db))
			check_token(s);
	}
}

void
socket_drain(struct gateway *gw)
{
	/* 1012, service restart: clients come back by themselves */
	for (struct sock *s = gw->socks; s; s = s->next)
		sock_close(s, 1012, "restarting");
}

static int
on_open(struct gateway *gw, struct lws *wsi, struct session *session)
{
	char *token = find_token(wsi);
	struct sock *s;

	if (!token)
		return -1;
	s = session->sock = xcalloc(1, sizeof(*s));
	s->magic = SOCK_MAGIC;
	s->refs = 1;
	s->gw = gw;
	s->wsi = wsi;
	s->token = token;
	s->is_v1 = find_version(wsi) == 1;
	s->out_tail = &s->out;
	s->heard_ms = clock_monotonic_ms();
	s->next = gw->socks;
	gw->socks = s;
	check_token(s);
	return 0;
}

static void
on_closed(struct gateway *gw, struct session *session)
{
	struct sock *s = take_ptr(&session->sock), **p = &gw->socks;

	if (!s)
		return;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	s->wsi = NULL;
	channel_drop_all(s);
	sock_put(s);
}

static void
on_frame(struct sock *s)
{
	struct phx m;
	struct err e = ERR_INIT;

	if (phx_parse(s->in.p, s->in.n, s->is_v1, &m, &e) < 0)
		sock_close(s, LWS_CLOSE_STATUS_INVALID_PAYLOAD, "malformed frame");
	else if (strcmp(m.topic, "phoenix") != 0)
		channel_message(s, &m);
	else {
		_cleanup_free_ char *ref = phx_quote(m.ref), *join_ref = phx_quote(m.join_ref);
		bool is_heartbeat = !strcmp(m.event, "heartbeat");

		sock_send(s, join_ref, ref, "\"phoenix\"", "\"phx_reply\"",
		    is_heartbeat
			? "{\"status\":\"ok\",\"response\":{}}"
			: "{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}");
	}
	phx_fini(&m);
}

/* Pieces of a frame are put together; binary ones (uploads, in this protocol) are read and dropped. */
static int
on_receive(struct lws *wsi, struct sock *s, const char *in, size_t n)
{
	s->heard_ms = clock_monotonic_ms();
	if (s->close_code)
		return 0;
	if (s->in.n + n > PHX_FRAME_MAX_B) {
		sock_close(s, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, "frame too large");
		return 0;
	}
	buf_add(&s->in, in, n);
	if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi))
		return 0;
	if (!lws_frame_is_binary(wsi))
		on_frame(s);
	buf_clear(&s->in);
	return 0;
}

static int
write_frame(struct sock *s)
{
	struct frame_out *f = s->out;
	int rc = lws_write(s->wsi, f->bytes + LWS_PRE, f->n, LWS_WRITE_TEXT);

	s->out = f->next;
	if (!s->out)
		s->out_tail = &s->out;
	s->out_b -= f->n;
	free(f);
	return rc < 0 ? -1 : 0;
}

static int
on_writable(struct sock *s)
{
	for (int i = 0; i < WRITES_MAX; i++) {
		if (!s->out)
			channel_pump(s);
		if (!s->out || (i && lws_send_pipe_choked(s->wsi)))
			break;
		if (write_frame(s) < 0)
			return -1;
	}
	channel_pump(s);
	if (s->out)
		return lws_callback_on_writable(s->wsi) < 0 ? -1 : 0;
	if (s->close_code) {
		lws_close_reason(s->wsi, (enum lws_close_status)s->close_code,
		    (unsigned char *)(uintptr_t)s->close_reason, strlen(s->close_reason));
		return -1;
	}
	return 0;
}

int
socket_event(struct gateway *gw, struct lws *wsi, enum lws_callback_reasons why,
    struct session *session, const char *in, size_t n)
{
	if (why == LWS_CALLBACK_ESTABLISHED)
		return on_open(gw, wsi, session);
	if (!session || !session->sock)
		return 0;
	switch (why) {
	case LWS_CALLBACK_RECEIVE:
		return on_receive(wsi, session->sock, in, n);
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return on_writable(session->sock);
	case LWS_CALLBACK_CLOSED:
		on_closed(gw, session);
		return 0;
	default:
		return 0;
	}
}
