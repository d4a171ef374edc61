// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Answers: head and body in one buffer that http.c writes when the connection is writable. Every
 * refusal is application/problem+json. Called by request.c, http.c and the hooks, once a request.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/jsonx.h"

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/request.h"

#include "base/banned.h"

static const struct {
	int status;
	const char *title;
} titles[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {409, "Conflict"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
};

const char *
status_title(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(titles); i++)
		if (titles[i].status == status)
			return titles[i].title;
	return "Status";
}

static void
add_header(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, "%s: %s\r\n", name, value);
}

void
answer(struct request *r, int status, const char *type, const void *body, size_t n)
{
	static const unsigned char room[LWS_PRE];
	struct buf *b = &r->out;

	if (r->is_answered || !r->wsi)
		return;
	r->is_answered = true;
	r->status = status;
	buf_add(b, room, sizeof(room));
	buf_addf(b, "HTTP/1.1 %d %s\r\n", status, status_title(status));
	add_header(b, "X-Request-Id", r->id);
	add_header(b, "Cache-Control", "no-store");
	add_header(b, "X-Content-Type-Options", "nosniff");
	if (r->etag && status < 300)
		buf_addf(b, "ETag: \"%s\"\r\n", r->etag);
	if (status == 401)
		add_header(b, "WWW-Authenticate", "Bearer");
	if (status == 503 || status == 429)
		add_header(b, "Retry-After", "1");
	if (r->is_closing)
		add_header(b, "Connection", "close");
	if (status != 204) {
		add_header(b, "Content-Type", type);
		buf_addf(b, "Content-Length: %zu\r\n", n);
	}
	buf_adds(b, "\r\n");
	if (status != 204)
		buf_add(b, body, n);
	if (!r->is_unproven)
		lws_callback_on_writable(r->wsi);
}

void
answer_take_back(struct request *r)
{
	buf_clear(&r->out);
	r->is_answered = r->has_failed = false;
}

void
answer_json(struct request *r, int status, const json_t *body)
{
	_cleanup_free_ char *text = json_text(body);

	answer(r, status, "application/json", text, strlen(text));
}

void
answer_problem(struct request *r, int status, const char *code, const struct err *e)
{
	_cleanup_json_ json_t *p = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s}", "type",
	    "about:blank", "title", status_title(status), "status", status, "code", code, "detail",
	    e->message, "request_id", r->id);
	_cleanup_free_ char *text = NULL;

	if (!p) /* a message that was cut inside of a character */
		p = json_pack("{s:s, s:i, s:s, s:s}", "type", "about:blank", "status", status,
		    "code", code, "request_id", r->id);
	if (*e->field || *e->hint) {
		json_t *item = json_pack("{s:s, s:s}", "pointer", e->field, "detail", e->message);

		if (item && *e->hint)
			json_object_set_new(item, "hint", json_string(e->hint));
		if (item)
			json_object_set_new(p, "errors", json_pack("[o]", item));
	}
	r->has_failed = true;
	text = json_text(p);
	answer(r, status, "application/problem+json", text, strlen(text));
}

void
answer_refusal(struct request *r, int status, const char *code, const char *fmt, ...)
{
	struct err e = ERR_INIT;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.message, sizeof(e.message), fmt, ap);
	va_end(ap);
	answer_problem(r, status, code, &e);
}
