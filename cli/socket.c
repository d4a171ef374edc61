// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See socket.h. One message is sent per writeable callback, as libwebsockets wants it. */
#include "cli/socket.h"

#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"

#include "base/banned.h"

#define BEAT_US (25 * LWS_USEC_PER_SEC)
#define SILENCE_MS 70000
#define MESSAGE_MAX ((size_t)1 << 20)
#define QUEUE_MAX 16

struct socket {
	struct lws_context *context;
	struct lws *wsi;
	char host[256];
	int port;
	bool is_tls, is_open;
	char *path, *auth;
	struct buf in;
	char *queue[QUEUE_MAX];
	size_t queued;
	int64_t heard_ms;
	struct socket_hooks hooks;
};

static int
receive(struct socket *s, struct lws *wsi, const char *p, size_t n)
{
	s->heard_ms = clock_monotonic_ms();
	if (s->in.n + n > MESSAGE_MAX)
		return -1;
	buf_add(&s->in, p, n);
	if (lws_remaining_packet_payload(wsi) || !lws_is_final_fragment(wsi))
		return 0;
	s->hooks.on_text(s->hooks.arg, s->in.p, s->in.n);
	buf_clear(&s->in);
	return 0;
}

static int
send_next(struct socket *s, struct lws *wsi)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ unsigned char *frame = NULL;
	size_t n;

	if (!s->queued)
		return 0;
	text = s->queue[0];
	memmove(s->queue, s->queue + 1, --s->queued * sizeof(s->queue[0]));
	n = strlen(text);
	frame = xmalloc(LWS_PRE + n);
	memcpy(frame + LWS_PRE, text, n);
	if (lws_write(wsi, frame + LWS_PRE, n, LWS_WRITE_TEXT) < (int)n)
		return -1;
	if (s->queued)
		lws_callback_on_writable(wsi);
	return 0;
}

static int
beat(struct socket *s, struct lws *wsi)
{
	if (clock_monotonic_ms() - s->heard_ms > SILENCE_MS)
		return -1;
	s->hooks.on_beat(s->hooks.arg);
	lws_set_timer_usecs(wsi, BEAT_US);
	return 0;
}

static int
add_token(struct socket *s, struct lws *wsi, unsigned char **p, size_t n)
{
	if (!s->auth)
		return 0;
	return lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_AUTHORIZATION,
		   (const unsigned char *)s->auth, (int)strlen(s->auth), p, *p + n)
		   ? -1
		   : 0;
}

static int
callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t n)
{
	struct socket *s = lws_context_user(lws_get_context(wsi));

	(void)user;
	switch (reason) {
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
		return add_token(s, wsi, in, n);
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		s->is_open = true;
		s->heard_ms = clock_monotonic_ms();
		lws_set_timer_usecs(wsi, BEAT_US);
		s->hooks.on_open(s->hooks.arg);
		break;
	case LWS_CALLBACK_CLIENT_RECEIVE:
		return receive(s, wsi, in, n);
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		return send_next(s, wsi);
	case LWS_CALLBACK_TIMER:
		return beat(s, wsi);
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
	case LWS_CALLBACK_CLIENT_CLOSED:
		s->wsi = NULL;
		s->is_open = false;
		break;
	default:
		break;
	}
	return 0;
}

static int
parse_url(struct socket *s, const char *url, struct err *e)
{
	const char *host = strstr(url, "://"), *end, *colon = NULL;

	s->is_tls = strncmp(url, "https", 5) == 0;
	s->port = s->is_tls ? 443 : 80;
	host = host ? host + 3 : url;
	end = host + strcspn(host, "/");
	/* [::1]:7420 has colons inside the brackets. */
	for (const char *p = host; p < end; p++)
		colon = *p == ']' ? NULL : *p == ':' ? p : colon;
	if (colon)
		s->port = atoi(colon + 1);
	snprintf(s->host, sizeof(s->host), "%.*s", (int)((colon ? colon : end) - host), host);
	if (s->host[0] == '[' && s->host[strlen(s->host) - 1] == ']') {
		memmove(s->host, s->host + 1, strlen(s->host));
		s->host[strlen(s->host) - 1] = 0;
	}
	if (!s->host[0] || s->port < 1 || s->port > 65535) {
		err_set(e, ERR_INVALID, "'%.100s' names no host and port", url);
		return err_field(e, "--url");
	}
	return 0;
}

struct socket *
socket_new(const char *base_url, const char *path, const char *token,
    const struct socket_hooks *hooks, struct err *e)
{
	static const struct lws_protocols protocols[] = {{"", callback, 0, 65536, 0, NULL, 0}, {0}};
	struct lws_context_creation_info info = {.port = CONTEXT_PORT_NO_LISTEN,
	    .protocols = protocols,
	    .gid = (gid_t)-1,
	    .uid = (uid_t)-1,
	    .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT};
	struct socket *s = xcalloc(1, sizeof(*s));

	if (parse_url(s, base_url, e) < 0) {
		free(s);
		return NULL;
	}
	lws_set_log_level(0, NULL);
	s->hooks = *hooks;
	s->path = xstrdup(path);
	s->auth = token ? xasprintf("Bearer %s", token) : NULL;
	if (!s->is_tls)
		info.options = 0;
	info.user = s;
	s->context = lws_create_context(&info);
	if (!s->context) {
		err_set(e, ERR_SYSTEM, "libwebsockets does not start");
		socket_free(s);
		return NULL;
	}
	return s;
}

void
socket_free(struct socket *s)
{
	if (s->context)
		lws_context_destroy(s->context);
	for (size_t i = 0; i < s->queued; i++)
		free(s->queue[i]);
	buf_fini(&s->in);
	free(s->path);
	free(s->auth);
	free(s);
}

bool
socket_connect(struct socket *s)
{
	struct lws_client_connect_info info = {.context = s->context,
	    .address = s->host,
	    .port = s->port,
	    .path = s->path,
	    .host = s->host,
	    .origin = s->host,
	    .pwsi = &s->wsi,
	    .ssl_connection = s->is_tls ? LCCSCF_USE_SSL : 0,
	    .ietf_version_or_minus_one = -1};

	for (; s->queued; s->queued--)
		free(s->queue[s->queued - 1]);
	buf_clear(&s->in);
	return lws_client_connect_via_info(&info) != NULL && s->wsi;
}

bool
socket_is_up(const struct socket *s)
{
	return s->wsi != NULL;
}

void
socket_send(struct socket *s, const char *text)
{
	if (!s->is_open || s->queued >= QUEUE_MAX)
		return;
	s->queue[s->queued++] = xstrdup(text);
	lws_callback_on_writable(s->wsi);
}

void
socket_service(struct socket *s)
{
	lws_service(s->context, 0);
}
