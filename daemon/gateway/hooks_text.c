// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Hooks of answers that are not JSON: logs, snapshots, submitted sources, and what the gateway says
 * about itself. Statements give compressed bodies in base64; sizes are bounded before anything is
 * decompressed.
 */
#include "config.h"

#include <sodium.h>
#include <string.h>
#include <zstd.h>

#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/request.h"

#include "base/banned.h"

extern const struct hook hook_healthz, hook_readyz, hook_openapi, hook_asyncapi, hook_task_source,
    hook_run_log, hook_snapshot_content;

#define SNAPSHOT_MAX_B (64u * 1024 * 1024)
#define CHUNK_MAX_B (1024u * 1024)

static int
health(struct request *r, bool must_be_ready)
{
	bool has_database = store_is_up(r->gw->db);
	_cleanup_json_ json_t *j = json_pack("{s:s, s:b, s:s}", "status",
	    r->gw->is_stopping ? "stopping"
	    : has_database     ? "ok"
			       : "degraded",
	    "database", has_database, "version", PACKAGE_VERSION);

	if (must_be_ready && (!has_database || r->gw->is_stopping))
		answer_refusal(r, 503, "unavailable",
		    r->gw->is_stopping ? "the gateway is stopping"
				       : "the database cannot be reached");
	else
		answer_json(r, 200, j);
	return 0;
}

static int
healthz(struct request *r, _unused_ struct err *e)
{
	return health(r, false);
}

static int
readyz(struct request *r, _unused_ struct err *e)
{
	return health(r, true);
}

static int
openapi(struct request *r, _unused_ struct err *e)
{
	answer(r, 200, "application/yaml", openapi_yaml, strlen(openapi_yaml));
	return 0;
}

static int
asyncapi(struct request *r, _unused_ struct err *e)
{
	answer(r, 200, "application/yaml", asyncapi_yaml, strlen(asyncapi_yaml));
	return 0;
}

/* Append what a base64 text stands for; PostgreSQL's has line breaks. */
static int
add_base64(struct buf *out, const char *text, struct err *e)
{
	size_t n = 0, size = strlen(text) / 4 * 3 + 3;

	buf_reserve(out, size + 1);
	if (sodium_base642bin((unsigned char *)out->p + out->n, size, text, strlen(text), "\n", &n,
		NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
		return err_set(e, ERR_BUG, "the database gave something else than base64");
	out->n += n;
	out->p[out->n] = '\0';
	return 0;
}

/* Append the text that a compressed base64 text holds, at most max bytes. */
static int
add_zstd(struct buf *out, const char *text, size_t max, struct err *e)
{
	_cleanup_buf_ struct buf packed = {0};
	unsigned long long size;
	size_t n;
	int rc = add_base64(&packed, text, e);

	if (rc < 0)
		return rc;
	size = ZSTD_getFrameContentSize(packed.p, packed.n);
	if (size == ZSTD_CONTENTSIZE_ERROR || (size != ZSTD_CONTENTSIZE_UNKNOWN && size > max))
		return err_set(e, ERR_BUG, "a stored body is damaged or too large");
	if (size == ZSTD_CONTENTSIZE_UNKNOWN)
		size = max;
	buf_reserve(out, (size_t)size + 1);
	n = ZSTD_decompress(out->p + out->n, (size_t)size, packed.p, packed.n);
	if (ZSTD_isError(n))
		return err_set(
		    e, ERR_BUG, "a stored body cannot be decompressed: %s", ZSTD_getErrorName(n));
	out->n += n;
	out->p[out->n] = '\0';
	return 0;
}

static int
task_source(struct request *r, json_t *j, struct err *e)
{
	_cleanup_buf_ struct buf out = {0};
	int rc = add_base64(&out, json_get_str(j, "source", ""), e);

	if (rc == 0)
		answer(r, 200, "application/json", out.p, out.n);
	return rc;
}

static int
snapshot_content(struct request *r, json_t *j, struct err *e)
{
	_cleanup_buf_ struct buf out = {0};
	int rc = add_zstd(&out, json_get_str(j, "zstd", ""), SNAPSHOT_MAX_B, e);

	if (rc == 0)
		answer(r, 200, "text/plain; charset=utf-8", out.p, out.n);
	return rc;
}

static void
start_line(struct buf *out)
{
	if (out->n && out->p[out->n - 1] != '\n')
		buf_addc(out, '\n');
}

/* One chunk, after a header line if it is another unit's, and a note if bytes are missing before it. */
static int
add_chunk(struct buf *out, const json_t *chunk, const json_t *before, int64_t offset, struct err *e)
{
	int64_t off = json_get_int(chunk, "off", 0), attempt = json_get_int(chunk, "attempt", 0);
	int64_t unit = json_get_int(chunk, "unit", 0),
		expected = json_get_int(before, "off", 0) + json_get_int(before, "raw_b", 0);
	bool is_same = before && json_get_int(before, "attempt", 0) == attempt &&
		       json_get_int(before, "unit", 0) == unit;
	const char *device = json_get_str(chunk, "device", "");
	_cleanup_buf_ struct buf text = {0};
	int rc = add_zstd(&text, json_get_str(chunk, "zstd", ""), CHUNK_MAX_B, e);
	size_t skip = offset > off ? (size_t)(offset - off) : 0;

	if (rc < 0)
		return rc;
	if (!is_same) {
		start_line(out);
		buf_addf(out, "=== attempt %lld, unit %lld%s%s\n", (long long)attempt,
		    (long long)unit, *device ? ", device " : "", device);
	} else if (off > expected) {
		start_line(out);
		buf_addf(out, "=== %lld bytes were not kept\n", (long long)(off - expected));
	}
	if (skip < text.n)
		buf_add(out, text.p + skip, text.n - skip);
	return 0;
}

static int
run_log(struct request *r, json_t *j, struct err *e)
{
	_cleanup_buf_ struct buf out = {0};
	const json_t *before = NULL, *more = json_object_get(j, "more");
	json_t *chunk;
	size_t i;

	buf_adds(&out, "");
	json_array_foreach(json_object_get(j, "chunks"), i, chunk)
	{
		int rc = add_chunk(&out, chunk, before, json_get_int(r->query, "offset", 0), e);

		if (rc < 0)
			return rc;
		before = chunk;
	}
	if (json_is_object(more)) {
		start_line(&out);
		buf_addf(&out, "=== there is more: ask with attempt=%lld&unit=%lld&offset=%lld\n",
		    (long long)json_get_int(more, "attempt", 0),
		    (long long)json_get_int(more, "unit", 0),
		    (long long)json_get_int(more, "off", 0));
	}
	answer(r, 200, "text/plain; charset=utf-8", out.p, out.n);
	return 0;
}

const struct hook hook_healthz = {healthz, NULL};
const struct hook hook_readyz = {readyz, NULL};
const struct hook hook_openapi = {openapi, NULL};
const struct hook hook_asyncapi = {asyncapi, NULL};
const struct hook hook_task_source = {NULL, task_source};
const struct hook hook_run_log = {NULL, run_log};
const struct hook hook_snapshot_content = {NULL, snapshot_content};
