// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* REST over libcurl; see api.h. Sizes and times are bounded; redirects are not followed. */
#include "cli/api.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/jsonx.h"

#include "cli/print.h"

#include "base/banned.h"

#define BODY_MAX ((size_t)256 << 20)
#define CONNECT_MS 10000L
#define CALL_MS 120000L
#define PAGE 200

static const struct json_limits reply_limits = {BODY_MAX, 64, 5000000};

void
reply_fini(struct reply *r)
{
	buf_fini(&r->body);
	json_decref(r->json);
	r->json = NULL;
}

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct buf *b = arg;

	if (b->n + size * n > BODY_MAX)
		return 0;
	buf_add(b, p, size * n);
	return size * n;
}

static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	struct reply *r = arg;
	size_t len = size * n, i = 5;

	if (len > 5 && strncasecmp(p, "ETag:", 5) == 0) {
		while (i < len && p[i] == ' ')
			i++;
		while (len > i && strchr("\r\n ", p[len - 1]))
			len--;
		snprintf(r->etag, sizeof(r->etag), "%.*s", (int)(len - i), p + i);
	}
	return size * n;
}

char *
api_escape(const char *s)
{
	static const char hex[] = "0123456789ABCDEF";
	_cleanup_buf_ struct buf b = {0};

	buf_adds(&b, "");
	for (; *s; s++) {
		unsigned char ch = (unsigned char)*s;

		if ((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') ||
		    (ch >= 'A' && ch <= 'Z') || strchr("-._~", ch)) {
			buf_addc(&b, (char)ch);
		} else {
			buf_addc(&b, '%');
			buf_addc(&b, hex[ch >> 4]);
			buf_addc(&b, hex[ch & 15]);
		}
	}
	return buf_take(&b);
}

static int
code_of_status(long status)
{
	if (status >= 200 && status < 300)
		return CLI_OK;
	if (status == 404)
		return CLI_MISSING;
	if (status == 401 || status == 403)
		return CLI_DENIED;
	if (status >= 400 && status < 500)
		return CLI_REFUSED;
	return CLI_SERVER;
}

static void
put_line(const char *field, const char *text, const char *hint)
{
	_cleanup_buf_ struct buf b = {0};

	if (field && *field)
		buf_addf(&b, "%s: ", field);
	buf_adds(&b, text ? text : "");
	if (hint && *hint)
		buf_addf(&b, " (%s)", hint);
	fputs("takt: ", stderr);
	print_escaped(stderr, b.p ? b.p : "", b.n);
	fputc('\n', stderr);
}

/* problem+json for people: one line an error, with field, value and remedy. */
static void
print_problem(struct cli *c, const struct reply *r)
{
	const json_t *errors = json_object_get(r->json, "errors"), *one;
	const char *detail = json_get_str(r->json, "detail", NULL);
	const char *title = json_get_str(r->json, "title", NULL), *hint;
	size_t i;

	if (!r->json) {
		fprintf(stderr, "takt: %s answered HTTP %ld\n", c->url, r->status);
		return;
	}
	json_array_foreach(errors, i, one)
	    put_line(json_get_str(one, "pointer", json_get_str(one, "field", "")),
		json_get_str(one, "detail", title ? title : "refused"),
		json_get_str(one, "hint", NULL));
	if (json_array_size(errors))
		return;
	hint = json_get_str(r->json, "hint", NULL);
	if (r->status == 401 && !hint)
		hint = "give a live token: --token-file, TAKT_TOKEN or client.json";
	put_line(NULL, detail ? detail : title ? title : "refused", hint);
}

static struct curl_slist *
make_headers(struct cli *c, bool has_body, const struct call *call)
{
	struct curl_slist *h = curl_slist_append(NULL, "Expect:");
	_cleanup_free_ char *auth = NULL, *type = NULL, *match = NULL, *idem = NULL;

	if (c->token)
		h = curl_slist_append(h, auth = xasprintf("Authorization: Bearer %s", c->token));
	if (has_body)
		h = curl_slist_append(
		    h, type = xasprintf("Content-Type: %s",
			   call && call->content_type ? call->content_type : "application/json"));
	if (call && call->if_match)
		h = curl_slist_append(h, match = xasprintf("If-Match: %s", call->if_match));
	if (call && call->idempotency_key)
		h = curl_slist_append(
		    h, idem = xasprintf("Idempotency-Key: %s", call->idempotency_key));
	return h;
}

static void
set_options(
    CURL *h, const char *method, const char *url, const void *body, size_t n, struct reply *out)
{
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, CALL_MS);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, &out->body);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, out);
	if (body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
		curl_easy_setopt(h, CURLOPT_POSTFIELDS, body ? body : "");
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
	}
}

/* One connection for all calls of this process. */
static CURL *
handle(void)
{
	static CURL *h;

	if (!h) {
		curl_global_init(CURL_GLOBAL_DEFAULT);
		h = curl_easy_init();
	}
	curl_easy_reset(h);
	return h;
}

int
api_send(struct cli *c, const char *method, const char *path, const void *body, size_t n,
    const struct call *call, struct reply *out)
{
	bool is_whole = strncmp(path, "/api/", 5) == 0 || strncmp(path, "/healthz", 8) == 0;
	_cleanup_free_ char *url = xasprintf("%s%s%s", c->url, is_whole ? "" : "/api/v1", path);
	struct curl_slist *headers = make_headers(c, body != NULL, call);
	CURL *h = handle();
	CURLcode rc;

	set_options(h, method, url, body, n, out);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
	rc = curl_easy_perform(h);
	curl_slist_free_all(headers);
	if (rc != CURLE_OK) {
		if (!call || !call->is_quiet)
			fprintf(stderr,
			    "takt: %s: %s (is the daemon running there? `takt dev` "
			    "starts one)\n",
			    c->url, curl_easy_strerror(rc));
		return CLI_SERVER;
	}
	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &out->status);
	if (out->body.n && (out->body.p[0] == '{' || out->body.p[0] == '['))
		out->json = json_parse(out->body.p, out->body.n, &reply_limits, NULL);
	if (code_of_status(out->status) != CLI_OK && (!call || !call->is_quiet))
		print_problem(c, out);
	return code_of_status(out->status);
}

int
api_get(struct cli *c, const char *path, struct reply *out)
{
	return api_send(c, "GET", path, NULL, 0, NULL, out);
}

int
api_json(struct cli *c, const char *method, const char *path, const json_t *body, struct reply *out)
{
	_cleanup_free_ char *text = body ? json_text(body) : NULL;

	return api_send(c, method, path, text, text ? strlen(text) : 0, NULL, out);
}

int
api_list(struct cli *c, const char *path, size_t max, json_t **out)
{
	_cleanup_json_ json_t *all = json_array();
	_cleanup_free_ char *cursor = NULL;

	for (;;) {
		size_t left = max ? max - json_array_size(all) : PAGE;
		_cleanup_reply_ struct reply r = {0};
		_cleanup_free_ char *page = xasprintf("%s%climit=%zu%s%s", path,
		    strchr(path, '?') ? '&' : '?', left < PAGE ? left : (size_t)PAGE,
		    cursor ? "&cursor=" : "", cursor ? cursor : "");
		const char *next;
		int code = api_get(c, page, &r);

		if (code)
			return code;
		json_array_extend(
		    all, json_is_array(r.json) ? r.json : json_object_get(r.json, "items"));
		next = json_get_str(r.json, "next_cursor", NULL);
		free(cursor);
		cursor = next && *next ? api_escape(next) : NULL;
		if (!cursor || (max && json_array_size(all) >= max))
			break;
	}
	*out = take_ptr(&all);
	return CLI_OK;
}
