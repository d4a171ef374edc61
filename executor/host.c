// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See host.h. Each call turns into one frame to the keeper, which checks it again: this code
 * shares a process with the plugin and is no boundary, only the place where mistakes get an answer.
 */
#include "executor/host_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/jsonx.h"
#include "config.h"
#include "frame/frame.h"

#include "base/banned.h"

#define LINE_MAX_B 8192u
#define META_MAX 4096u
#define JSON_DOC_MAX 32768u
#define ARTIFACT_MAX (16u << 20)
#define ARTIFACTS_MAX 16u
#define ARTIFACT_PART 60000u
#define EVENTS_MAX 10000u
#define EVENTS_MAX_B (16u << 20)

static const struct json_limits doc_limits = {JSON_DOC_MAX, 30, 20000};

static takt_rc
send_frame(const takt_ctx *ctx, enum frame_type type, const json_t *j, const void *blob, size_t n)
{
	return j && frame_send(ctx->setup->frame_fd, type, 0, j, blob, n, -1, NULL) == 0
		   ? TAKT_OK
		   : TAKT_E_INTERNAL;
}

/* Cut between characters, bytes that are not UTF-8 and NULs become '?'. */
json_t *
host_text(takt_str s, size_t max)
{
	size_t n = s.p ? s.n : 0;
	_cleanup_free_ char *copy = NULL;
	json_t *j;

	if (n > max) {
		n = max;
		while (n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
			n--;
	}
	copy = xmalloc(n + 1);
	for (size_t i = 0; i < n; i++)
		copy[i] = s.p[i] ? s.p[i] : '?';
	j = json_stringn(copy, n);
	if (j)
		return j;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)copy[i] >= 0x80)
			copy[i] = '?';
	return json_stringn(copy, n);
}

/* An object of at most max bytes, as written again by us; empty text counts as {}. */
static json_t *
object_from(takt_str s, size_t max)
{
	json_t *j = s.n ? json_parse(s.p, s.n, &doc_limits, NULL) : json_object();
	_cleanup_free_ char *text = json_is_object(j) ? json_text(j) : NULL;

	if (text && strlen(text) <= max)
		return j;
	json_decref(j);
	return NULL;
}

static void
add_escaped(struct buf *b, takt_str line)
{
	size_t n = line.p ? line.n : 0;

	for (size_t i = 0; i < n && i < LINE_MAX_B; i++) {
		unsigned char c = (unsigned char)line.p[i];

		if (c == '\n' && i + 1 == n)
			break;
		if (c == '\t' || (c >= 0x20 && c != 0x7f))
			buf_addc(b, (char)c);
		else
			buf_addf(b, "\\x%02x", c);
	}
}

static void
host_log(takt_ctx *ctx, int32_t level, takt_str line)
{
	static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
	_cleanup_buf_ struct buf b = {0};
	char at[32];

	if (level < TAKT_LOG_ERROR)
		level = TAKT_LOG_ERROR;
	if (level > TAKT_LOG_DEBUG)
		level = TAKT_LOG_DEBUG;
	buf_addf(
	    &b, "%s %s ", clock_rfc3339_us(clock_realtime_us(), at), names[level - TAKT_LOG_ERROR]);
	add_escaped(&b, line);
	buf_addc(&b, '\n');
	io_write_all(ctx->setup->log_fd, b.p, b.n);
}

static void
host_progress(takt_ctx *ctx, uint64_t done, uint64_t total, takt_str label)
{
	_cleanup_json_ json_t *j = json_pack("{s:I, s:I, s:o}", "done",
	    (json_int_t)(done > INT64_MAX ? INT64_MAX : done), "total",
	    (json_int_t)(total > INT64_MAX ? INT64_MAX : total), "label", host_text(label, 120));

	send_frame(ctx, FRAME_P_PROGRESS, j, NULL, 0);
}

static int32_t
host_is_cancelled(takt_ctx *ctx)
{
	struct pollfd p = {ctx->setup->cancel_fd, POLLIN, 0};
	int saved = errno, r = poll(&p, 1, 0);

	errno = saved;
	return r > 0;
}

static int32_t
host_cancel_fd(takt_ctx *ctx)
{
	return ctx->setup->cancel_fd;
}

static int64_t
host_deadline_ms(takt_ctx *ctx)
{
	int64_t left = ctx->setup->deadline_at - clock_monotonic_ms();

	if (ctx->setup->deadline_at < 0)
		return -1;
	return left > 0 ? left : 0;
}

static takt_str
host_identity_json(takt_ctx *ctx)
{
	return ctx->identity;
}

static takt_str
host_target_json(takt_ctx *ctx)
{
	return ctx->target;
}

static bool
is_slug(takt_str s, const char *allowed)
{
	if (!s.p || !s.n || s.n > 64)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!s.p[i] || !strchr(allowed, s.p[i]))
			return false;
	return true;
}

static takt_rc
send_artifact(takt_ctx *ctx, json_t *head, const char *body, size_t n)
{
	size_t parts = n ? (n + ARTIFACT_PART - 1) / ARTIFACT_PART : 1;

	json_object_set_new(head, "raw_b", json_integer((json_int_t)n));
	json_object_set_new(head, "parts", json_integer((json_int_t)parts));
	for (size_t i = 0; i < parts; i++) {
		size_t at = i * ARTIFACT_PART;
		takt_rc rc;

		json_object_set_new(head, "part", json_integer((json_int_t)i));
		rc = send_frame(ctx, FRAME_P_ARTIFACT, head, n ? body + at : NULL,
		    n - at < ARTIFACT_PART ? n - at : ARTIFACT_PART);
		if (rc != TAKT_OK)
			return rc;
	}
	return TAKT_OK;
}

static takt_rc
host_artifact(
    takt_ctx *ctx, takt_str kind, takt_str meta_json, const void *body, size_t n, int32_t is_secret)
{
	_cleanup_json_ json_t *meta = object_from(meta_json, META_MAX), *head = NULL;
	takt_rc rc = TAKT_E_PARAMS;

	if (!meta || n > ARTIFACT_MAX || (n && !body) ||
	    !is_slug(kind, "abcdefghijklmnopqrstuvwxyz0123456789_.-"))
		return rc;
	head = json_pack("{s:o, s:O, s:b}", "kind", host_text(kind, 64), "meta", meta, "is_secret",
	    is_secret != 0);
	pthread_mutex_lock(&ctx->lock);
	if (ctx->artifacts < ARTIFACTS_MAX) {
		ctx->artifacts++;
		rc = send_artifact(ctx, head, body, n);
	}
	pthread_mutex_unlock(&ctx->lock);
	return rc;
}

static takt_rc
host_emit(takt_ctx *ctx, takt_str type, int32_t severity, takt_str data_json)
{
	_cleanup_json_ json_t *data = object_from(data_json, JSON_DOC_MAX), *j = NULL;
	bool has_room;

	if (!data || severity < TAKT_LOG_ERROR || severity > TAKT_LOG_DEBUG ||
	    !is_slug(type, "abcdefghijklmnopqrstuvwxyz0123456789_"))
		return TAKT_E_PARAMS;
	pthread_mutex_lock(&ctx->lock);
	has_room = ctx->events < EVENTS_MAX && ctx->events_b + data_json.n <= EVENTS_MAX_B;
	ctx->events += has_room;
	ctx->events_b += has_room ? data_json.n : 0;
	pthread_mutex_unlock(&ctx->lock);
	if (!has_room)
		return TAKT_E_PARAMS;
	j = json_pack(
	    "{s:o, s:i, s:O}", "type", host_text(type, 64), "severity", severity, "data", data);
	return send_frame(ctx, FRAME_P_EVENT, j, NULL, 0);
}

static takt_rc
host_result(takt_ctx *ctx, takt_str result_json)
{
	json_t *doc = object_from(result_json, JSON_DOC_MAX);
	_cleanup_json_ json_t *j = doc ? json_pack("{s:o}", "result", doc) : NULL;

	return doc ? send_frame(ctx, FRAME_P_RESULT, j, NULL, 0) : TAKT_E_PARAMS;
}

static takt_rc
host_fail(takt_ctx *ctx, const takt_err *err)
{
	_cleanup_json_ json_t *j = json_object();

	if (!err || err->struct_size < sizeof(*err))
		return TAKT_E_INTERNAL;
	json_object_set_new(j, "rc", json_integer(err->rc));
	json_object_set_new(j, "code", host_text(err->code, 64));
	json_object_set_new(j, "message", host_text(err->message, 2048));
	json_object_set_new(j, "hint", host_text(err->hint, 2048));
	json_object_set_new(j, "breaker_key", host_text(err->breaker_key, 128));
	json_object_set_new(j, "retry_after_ms", json_integer(err->retry_after_ms));
	send_frame(ctx, FRAME_P_FAIL, j, NULL, 0);
	return err->rc;
}

static const void *
host_get_extension(takt_ctx *ctx, const char *id)
{
	return id && !strcmp(id, "takt.ssh/1") ? host_device_extension(ctx) : NULL;
}

const takt_host host_vtable = {
    .struct_size = sizeof(takt_host),
    .abi_major = TAKT_ABI_MAJOR,
    .abi_minor = TAKT_ABI_MINOR,
    .version = {PACKAGE_VERSION, sizeof(PACKAGE_VERSION) - 1},
    .log = host_log,
    .progress = host_progress,
    .is_cancelled = host_is_cancelled,
    .cancel_fd = host_cancel_fd,
    .deadline_ms = host_deadline_ms,
    .identity_json = host_identity_json,
    .target_json = host_target_json,
    .artifact = host_artifact,
    .emit = host_emit,
    .result = host_result,
    .secret = host_secret,
    .fail = host_fail,
    .get_extension = host_get_extension,
};

static takt_rc
fail_input(takt_ctx *ctx, const struct err *e)
{
	const takt_err why = {.struct_size = sizeof(why),
	    .rc = TAKT_E_INTERNAL,
	    .code = {"host.input", 10},
	    .message = {e->message, strlen(e->message)}};

	return host_fail(ctx, &why);
}

void
host_run(const struct host_setup *setup)
{
	takt_ctx ctx = {.setup = setup, .lock = PTHREAD_MUTEX_INITIALIZER};
	_cleanup_json_ json_t *j = NULL;
	struct err e = ERR_INIT;
	takt_rc rc;

	if (host_input_read(&ctx, &e) < 0)
		rc = fail_input(&ctx, &e);
	else
		rc = setup->type->run(&host_vtable, &ctx, ctx.params);
	/* Its buffered output belongs to the unit; exit handlers of the plugin are not run. */
	fflush(NULL);
	host_input_wipe(&ctx);
	j = json_pack("{s:i}", "rc", rc);
	send_frame(&ctx, FRAME_P_END, j, NULL, 0);
}
