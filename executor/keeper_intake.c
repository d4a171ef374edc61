// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Frames from the plugin process. Everything here may be forged: each field is checked for type
 * and size, each kind is counted. A frame that breaks the rules ends the connection and makes the
 * unit fail as internal, whatever run() returns afterwards.
 */
#include "executor/keeper_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <takt/plugin.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "base/banned.h"

void
intake_bad(struct keeper *k, const char *fmt, ...)
{
	va_list ap;

	if (k->is_bad)
		return;
	k->is_bad = true;
	va_start(ap, fmt);
	vsnprintf(k->bad_reason, sizeof(k->bad_reason), fmt, ap);
	va_end(ap);
	log_warn(LOG_KEEPER, "plugin process: %s", k->bad_reason);
}

static bool
is_slug(const char *s, size_t max, const char *allowed)
{
	size_t n = strlen(s);

	return n > 0 && n <= max && strspn(s, allowed) == n;
}

void
intake_flush_progress(struct keeper *k)
{
	if (!k->progress)
		return;
	journal_add(k, FRAME_J_PROGRESS, k->progress, NULL, 0);
	json_decref(k->progress);
	k->progress = NULL;
	k->progress_at = clock_monotonic_ms();
}

static void
on_progress(struct keeper *k, const struct frame *f)
{
	const char *label = json_get_str(f->json, "label", "");

	if (strlen(label) > 120) {
		intake_bad(k, "progress label of %zu bytes, 120 are allowed", strlen(label));
		return;
	}
	json_decref(k->progress);
	k->progress =
	    json_pack("{s:I, s:I, s:s}", "done", (json_int_t)json_get_int(f->json, "done", 0),
		"total", (json_int_t)json_get_int(f->json, "total", 0), "label", label);
	if (clock_monotonic_ms() - k->progress_at >= PROGRESS_EVERY_MS)
		intake_flush_progress(k);
}

static void
on_event(struct keeper *k, const struct frame *f)
{
	const char *type = json_get_str(f->json, "type", "");
	int64_t severity = json_get_int(f->json, "severity", -1);
	json_t *data = json_object_get(f->json, "data");
	_cleanup_json_ json_t *j = NULL;

	if (k->events >= EVENTS_MAX || k->events_b + f->size > EVENTS_MAX_B) {
		intake_bad(k, "more than %u events or %u bytes of them", EVENTS_MAX, EVENTS_MAX_B);
		return;
	}
	if (!is_slug(type, 64, "abcdefghijklmnopqrstuvwxyz0123456789_") ||
	    severity < TAKT_LOG_ERROR || severity > TAKT_LOG_DEBUG || !json_is_object(data)) {
		intake_bad(k, "malformed event '%.64s'", type);
		return;
	}
	k->events++;
	j = json_pack(
	    "{s:s, s:I, s:O}", "type", type, "severity", (json_int_t)severity, "data", data);
	if (!j || journal_add(k, FRAME_J_EVENT, j, NULL, 0) < 0)
		log_warn(LOG_KEEPER, "event %s was not stored", type);
}

static void
on_host_key(struct keeper *k, const struct frame *f)
{
	const char *type = json_get_str(f->json, "key_type", "");
	const char *key = json_get_str(f->json, "public_key", "");
	const char *fingerprint = json_get_str(f->json, "fingerprint", "");
	_cleanup_json_ json_t *j = NULL;

	if (k->events >= EVENTS_MAX || !*type || strlen(type) > 64 || !*key || strlen(key) > 8192 ||
	    strlen(fingerprint) > 128) {
		intake_bad(k, "malformed host key");
		return;
	}
	k->events++;
	j = json_pack(
	    "{s:s, s:s, s:s}", "key_type", type, "public_key", key, "fingerprint", fingerprint);
	if (!j || journal_add(k, FRAME_J_HOST_KEY, j, NULL, 0) < 0)
		log_warn(LOG_KEEPER, "host key was not stored");
}

static void
on_result(struct keeper *k, const struct frame *f)
{
	json_t *doc = json_object_get(f->json, "result");
	_cleanup_free_ char *text = json_is_object(doc) ? json_text(doc) : NULL;

	if (!text || strlen(text) > RESULT_JSON_MAX) {
		intake_bad(k, "result document is no object of at most %u bytes", RESULT_JSON_MAX);
		return;
	}
	json_decref(k->result);
	k->result = json_incref(doc);
}

static void
on_fail(struct keeper *k, const struct frame *f)
{
	static const struct {
		const char *key;
		size_t max;
	} texts[] = {{"code", 64}, {"message", 2048}, {"hint", 2048}, {"breaker_key", 128}};
	json_t *j = json_object();

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *s = json_get_str(f->json, texts[i].key, "");

		if (strlen(s) > texts[i].max) {
			intake_bad(k, "%s of %zu bytes, %zu are allowed", texts[i].key, strlen(s),
			    texts[i].max);
			json_decref(j);
			return;
		}
		json_object_set_new(j, texts[i].key, json_string(s));
	}
	json_object_set_new(
	    j, "retry_after_ms", json_integer(json_get_int(f->json, "retry_after_ms", 0)));
	json_object_set_new(j, "rc", json_integer(json_get_int(f->json, "rc", TAKT_E_INTERNAL)));
	json_decref(k->fail);
	k->fail = j;
}

static void
on_end(struct keeper *k, const struct frame *f)
{
	int64_t rc = json_get_int(f->json, "rc", TAKT_E_INTERNAL);
	int64_t kill_at = clock_monotonic_ms() + LINGER_MS;

	if (k->has_end)
		return;
	k->has_end = true;
	k->rc = rc < INT32_MIN || rc > INT32_MAX ? TAKT_E_INTERNAL : (int32_t)rc;
	if (k->kill_at < 0 || kill_at < k->kill_at)
		k->kill_at = kill_at;
}

static void
dispatch(struct keeper *k, const struct frame *f)
{
	/* What comes after the end was not said by run(). */
	if (k->has_end)
		return;
	switch (f->type) {
	case FRAME_P_PROGRESS:
		on_progress(k, f);
		break;
	case FRAME_P_EVENT:
		on_event(k, f);
		break;
	case FRAME_P_HOST_KEY:
		on_host_key(k, f);
		break;
	case FRAME_P_ARTIFACT:
		artifact_part(k, f);
		break;
	case FRAME_P_RESULT:
		on_result(k, f);
		break;
	case FRAME_P_FAIL:
		on_fail(k, f);
		break;
	case FRAME_P_END:
		on_end(k, f);
		break;
	default:
		intake_bad(k, "frame of type %u", f->type);
	}
}

bool
intake_read(struct keeper *k)
{
	_cleanup_frame_ struct frame f = {0};
	struct err e = ERR_INIT;
	int r = frame_recv(k->frame_fd, k->packet, &f, NULL, &e);

	if (r == -ERR_TRANSIENT)
		return false;
	if (r > 0)
		dispatch(k, &f);
	else if (r < 0)
		intake_bad(k, "malformed frame: %s", e.message);
	if (r <= 0 || k->is_bad) {
		close(k->frame_fd);
		k->frame_fd = -1;
		return false;
	}
	return true;
}
