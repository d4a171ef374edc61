// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Artifacts: gathered whole from the plugin process, compressed, sealed to the engine's key if
 * secret, and written to the journal in parts. A secret body never reaches the disk in clear.
 */
#include "executor/keeper_priv.h"

#include <sodium.h>
#include <string.h>
#include <sys/mman.h>

#include "base/jsonx.h"
#include "base/log.h"

#include "base/banned.h"

static void *
pages_get(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, n, MADV_DONTDUMP);
	return p;
}

static void
pages_put(void *p, size_t n)
{
	if (p)
		munmap(p, n);
}

static void
artifact_close(struct keeper_artifact *a)
{
	pages_put(a->body, ARTIFACT_MAX);
	json_decref(a->head);
	a->body = NULL;
	a->head = NULL;
}

static bool
artifact_open(struct keeper *k, const struct frame *f)
{
	struct keeper_artifact *a = &k->art;
	const char *kind = json_get_str(f->json, "kind", "");
	json_t *meta = json_object_get(f->json, "meta");
	int64_t raw = json_get_int(f->json, "raw_b", -1), parts = json_get_int(f->json, "parts", 0);

	if (a->count >= ARTIFACTS_MAX) {
		intake_bad(k, "more than %u artifacts", ARTIFACTS_MAX);
		return false;
	}
	if (!*kind || strlen(kind) > 64 ||
	    kind[strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789_.-")] ||
	    !json_is_object(meta) || raw < 0 || raw > ARTIFACT_MAX || parts < 1 ||
	    parts > ARTIFACT_MAX / 1024) {
		intake_bad(k, "malformed artifact '%.64s' of %lld bytes", kind, (long long)raw);
		return false;
	}
	a->body = pages_get(ARTIFACT_MAX);
	a->head = json_pack("{s:s, s:O, s:b}", "kind", kind, "meta", meta, "is_secret",
	    json_get_bool(f->json, "is_secret", 0));
	a->n = 0;
	a->want = (size_t)raw;
	a->parts = (unsigned)parts;
	a->parts_seen = 0;
	if (!a->body || !a->head) {
		intake_bad(k, "no memory for an artifact of %lld bytes", (long long)raw);
		artifact_close(a);
		return false;
	}
	return true;
}

static void
artifact_write(struct keeper *k, const unsigned char *p, size_t n)
{
	struct keeper_artifact *a = &k->art;
	size_t parts = n ? (n + ARTIFACT_PART - 1) / ARTIFACT_PART : 1;

	for (size_t i = 0; i < parts; i++) {
		size_t at = i * ARTIFACT_PART,
		       len = n - at < ARTIFACT_PART ? n - at : ARTIFACT_PART;
		_cleanup_json_ json_t *j = json_copy(a->head);

		json_object_set_new(j, "no", json_integer(a->count));
		json_object_set_new(j, "part", json_integer((json_int_t)i));
		json_object_set_new(j, "parts", json_integer((json_int_t)parts));
		json_object_set_new(j, "raw_b", json_integer((json_int_t)a->n));
		if (journal_add(k, FRAME_J_ARTIFACT, j, p + at, len) < 0) {
			intake_bad(k, "artifact '%s' could not be stored",
			    json_get_str(a->head, "kind", ""));
			return;
		}
	}
}

/* Whole: compress, seal, write, count. */
static void
artifact_finish(struct keeper *k)
{
	struct keeper_artifact *a = &k->art;
	bool is_secret = json_get_bool(a->head, "is_secret", 0);
	size_t bound = ZSTD_compressBound(a->n), sealed_b = bound + crypto_box_SEALBYTES, n;
	unsigned char *packed = pages_get(bound), *sealed = is_secret ? pages_get(sealed_b) : NULL;

	if (!packed || (is_secret && !sealed))
		intake_bad(k, "no memory for an artifact of %zu bytes", a->n);
	else if (is_secret && !k->job->has_seal_pk)
		intake_bad(k, "a secret artifact, but the engine gave no key to seal it to");
	else {
		n = ZSTD_compressCCtx(k->zstd, packed, bound, a->body, a->n, 3);
		if (ZSTD_isError(n))
			intake_bad(k, "artifact cannot be compressed: %s", ZSTD_getErrorName(n));
		else if (!is_secret)
			artifact_write(k, packed, n);
		else if (crypto_box_seal(sealed, packed, n, k->job->seal_pk) != 0)
			intake_bad(k, "artifact cannot be sealed");
		else
			artifact_write(k, sealed, n + crypto_box_SEALBYTES);
	}
	pages_put(packed, bound);
	pages_put(sealed, sealed_b);
	artifact_close(a);
	a->count++;
}

void
artifact_part(struct keeper *k, const struct frame *f)
{
	struct keeper_artifact *a = &k->art;

	if (!a->body && !artifact_open(k, f))
		return;
	if (json_get_int(f->json, "part", -1) != a->parts_seen || f->blob_n > a->want - a->n) {
		intake_bad(k, "artifact part %lld does not fit",
		    (long long)json_get_int(f->json, "part", -1));
		artifact_close(a);
		return;
	}
	if (f->blob_n)
		memcpy(a->body + a->n, f->blob, f->blob_n);
	a->n += f->blob_n;
	a->parts_seen++;
	if (a->parts_seen < a->parts)
		return;
	if (a->n == a->want) {
		artifact_finish(k);
		return;
	}
	intake_bad(k, "artifact of %zu bytes was announced with %zu", a->n, a->want);
	artifact_close(a);
}
