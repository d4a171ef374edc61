// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * HTTP/1.1 on libwebsockets, which accepts more than is safe: framing is checked here again, so that
 * no request is read in two ways. Exactly one Host; Content-Length of digits only (libwebsockets
 * joins duplicates with a comma); no Transfer-Encoding; no Expect; no body where none belongs.
 *
 * Invariant: a connection is kept only after a GET without a body. After anything else it is
 * closed, because libwebsockets 4.1.6 loses requests that follow a body in the same segment.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/request.h"

#include "base/banned.h"

#define WRITE_MAX_B (64 * 1024)
#define BODY_TIMEOUT_S 20

static const struct {
	enum lws_token_indexes token;
	const char *name;
} methods[] = {
    {WSI_TOKEN_GET_URI, "GET"},
    {WSI_TOKEN_POST_URI, "POST"},
    {WSI_TOKEN_PUT_URI, "PUT"},
    {WSI_TOKEN_PATCH_URI, "PATCH"},
    {WSI_TOKEN_DELETE_URI, "DELETE"},
    {WSI_TOKEN_HEAD_URI, "HEAD"},
    {WSI_TOKEN_OPTIONS_URI, "OPTIONS"},
    {WSI_TOKEN_CONNECT, "CONNECT"},
};

char *
http_header(struct lws *wsi, enum lws_token_indexes token, size_t max)
{
	int n = lws_hdr_total_length(wsi, token);
	char *text;

	if (n <= 0 || (size_t)n > max)
		return NULL;
	text = xmalloc((size_t)n + 1);
	if (lws_hdr_copy(wsi, text, n + 1, token) < 0)
		free(take_ptr(&text));
	return text;
}

static char *
custom_header(struct lws *wsi, const char *name, size_t max)
{
	int length = (int)strlen(name), n = lws_hdr_custom_length(wsi, name, length);
	char *text;

	if (n <= 0 || (size_t)n > max)
		return NULL;
	text = xmalloc((size_t)n + 1);
	if (lws_hdr_custom_copy(wsi, text, n + 1, name, length) < 0)
		free(take_ptr(&text));
	return text;
}

bool
http_is_text(const char *s)
{
	_cleanup_json_ json_t *j = json_string(s);

	return j && *s;
}

char *
http_bearer(struct lws *wsi)
{
	_cleanup_free_ char *text = http_header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, 7 + TOKEN_MAX);

	return text && !strncasecmp(text, "Bearer ", 7) && http_is_text(text + 7)
		   ? xstrdup(text + 7)
		   : NULL;
}

/* Fragment i of the query as "name=value", decoded; NULL at the end. One that is too long is "?". */
static const char *
query_fragment(struct lws *wsi, int i, char *buf, size_t n)
{
	buf[0] = '\0';
	if ((size_t)lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i) + 1 >= n)
		return "?";
	return lws_hdr_copy_fragment(wsi, buf, (int)n, WSI_TOKEN_HTTP_URI_ARGS, i) < 0 ? NULL : buf;
}

char *
http_query_value(struct lws *wsi, const char *name, size_t max)
{
	char buf[512];
	size_t length = strlen(name);

	for (int i = 0; query_fragment(wsi, i, buf, sizeof(buf)); i++)
		if (!strncmp(buf, name, length) && buf[length] == '=' &&
		    strlen(buf + length + 1) <= max)
			return xstrdup(buf + length + 1);
	return NULL;
}

/* All query parameters into r->query; false: answered. */
static bool
read_query(struct request *r, struct lws *wsi)
{
	char buf[2048];
	const char *fragment;

	for (int i = 0; (fragment = query_fragment(wsi, i, buf, sizeof(buf))); i++) {
		char *value = strchr(buf, '=');
		_cleanup_json_ json_t *text = NULL;

		if (!*fragment) /* as in `a=1&&b=2` */
			continue;
		if (!value || value == buf) {
			answer_refusal(r, 400, "invalid_query",
			    "query parameters are name=value, of at most 2,000 bytes");
			return false;
		}
		*value++ = '\0';
		text = json_string(value);
		if (!text || json_object_get(r->query, buf) ||
		    json_object_set(r->query, buf, text) < 0) {
			answer_refusal(r, 400, "invalid_query",
			    "a query parameter is given twice or is not UTF-8");
			return false;
		}
	}
	return true;
}

static bool
host_is_sane(struct lws *wsi)
{
	_cleanup_free_ char *host = http_header(wsi, WSI_TOKEN_HOST, 260);

	return host &&
	       !host[strspn(
		   host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]%")];
}

/* Content-Length into r->body_b; false: answered. */
static bool
read_length(struct request *r, struct lws *wsi)
{
	_cleanup_free_ char *text = http_header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, 64);
	bool has_body = strcmp(r->method, "GET") && strcmp(r->method, "DELETE");

	if (!text && lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0)
		text = xstrdup("long");
	if (!text)
		return true;
	if (text[strspn(text, "0123456789")]) {
		answer_refusal(r, 400, "framing", "Content-Length must be one number");
		return false;
	}
	if (strlen(text) > 9 || strtoul(text, NULL, 10) > BODY_MAX_B) {
		answer_refusal(r, 413, "too_big", "the body is larger than %d bytes", BODY_MAX_B);
		return false;
	}
	r->body_b = strtoul(text, NULL, 10);
	if (r->body_b && !has_body) {
		answer_refusal(r, 400, "unexpected_body", "%s takes no body", r->method);
		return false;
	}
	return true;
}

/* The head is sane, its headers are kept; false: answered. */
static bool
read_head(struct request *r, struct lws *wsi)
{
	if (!host_is_sane(wsi)) {
		answer_refusal(r, 400, "framing", "exactly one Host header is needed");
		return false;
	}
	if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0) {
		answer_refusal(
		    r, 411, "framing", "Transfer-Encoding is not taken; send Content-Length");
		return false;
	}
	if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_EXPECT) > 0) {
		answer_refusal(r, 417, "framing", "Expect is not taken; send the body at once");
		return false;
	}
	r->token = http_bearer(wsi);
	r->content_type = http_header(wsi, WSI_TOKEN_HTTP_CONTENT_TYPE, 200);
	r->if_match = http_header(wsi, WSI_TOKEN_HTTP_IF_MATCH, 100);
	r->idempotency_key = custom_header(wsi, "idempotency-key:", 200);
	/* What cannot be kept must not count as absent: the request would go on without its condition. */
	if (r->idempotency_key ? !http_is_text(r->idempotency_key)
			       : lws_hdr_custom_length(wsi, "idempotency-key:", 16) > 200) {
		answer_refusal(r, 400, "idempotency_key",
		    "an Idempotency-Key has 1 to 200 characters of UTF-8");
		return false;
	}
	if (r->if_match ? !http_is_text(r->if_match)
			: lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_IF_MATCH) > 0) {
		answer_refusal(
		    r, 400, "if_match", "If-Match is an ETag of this API or *, nothing else");
		return false;
	}
	return read_length(r, wsi) && read_query(r, wsi);
}

static const char *
method_of(struct lws *wsi)
{
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (lws_hdr_total_length(wsi, methods[i].token) > 0)
			return methods[i].name;
	return NULL;
}

static int
on_head(struct gateway *gw, struct lws *wsi, struct session *s, const char *uri, size_t n)
{
	const char *method = method_of(wsi);
	_cleanup_free_ char *url = xasprintf("%.*s", (int)n, uri);
	struct request *r;

	if (!method || s->req)
		return -1;
	r = s->req = request_new(gw, wsi, method, url);
	r->is_closing = true; /* what is refused by its head says so, and ends the connection */
	if (!read_head(r, wsi))
		return 0;
	r->is_closing = strcmp(method, "GET") != 0;
	if (r->body_b) {
		lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, BODY_TIMEOUT_S);
		return 0;
	}
	/* from here on the time is ours: the database answers or is found to be silent */
	lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
	request_start(r);
	return 0;
}

static int
on_body(struct session *s, const char *in, size_t n)
{
	struct request *r = s->req;

	if (!r)
		return -1;
	if (r->is_answered || r->is_started)
		return 0; /* refused by its head */
	if (r->raw.n + n > r->body_b)
		return -1;
	buf_add(&r->raw, in, n);
	return 0;
}

static int
on_body_end(struct lws *wsi, struct session *s)
{
	struct request *r = s->req;

	if (!r || r->is_answered || r->is_started)
		return 0;
	if (r->raw.n != r->body_b)
		return -1;
	lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
	request_start(r);
	return 0;
}

/* Write the answer, a piece at a time; after the last one the connection waits for the next head or ends. */
static int
on_writable(struct lws *wsi, struct session *s)
{
	struct request *r = s->req;
	size_t left;
	bool is_closing;

	if (!r || !r->is_answered || r->is_unproven)
		return 0;
	left = r->out.n - LWS_PRE - r->out_off;
	if (left > WRITE_MAX_B)
		left = WRITE_MAX_B;
	/* what lies before the piece was sent already: libwebsockets may use it */
	if (lws_write(wsi, (unsigned char *)r->out.p + LWS_PRE + r->out_off, left, LWS_WRITE_HTTP) <
	    0)
		return -1;
	r->out_off += left;
	if (r->out_off < r->out.n - LWS_PRE) {
		lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, BODY_TIMEOUT_S);
		return lws_callback_on_writable(wsi) < 0 ? -1 : 0;
	}
	log_debug(LOG_GATEWAY, "%s %s %d, request %s", r->method, r->url, r->status, r->id);
	is_closing = r->is_closing || r->gw->is_stopping;
	s->req = NULL;
	request_gone(r);
	if (is_closing)
		return -1;
	return lws_http_transaction_completed(wsi) ? -1 : 0;
}

int
http_event(struct gateway *gw, struct lws *wsi, enum lws_callback_reasons why, struct session *s,
    const char *in, size_t n)
{
	switch (why) {
	case LWS_CALLBACK_HTTP:
		return on_head(gw, wsi, s, in, n);
	case LWS_CALLBACK_HTTP_BODY:
		return on_body(s, in, n);
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return on_body_end(wsi, s);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return on_writable(wsi, s);
	case LWS_CALLBACK_CLOSED_HTTP:
		if (s && s->req)
			request_gone(take_ptr(&s->req));
		return 0;
	default:
		return 0;
	}
}
