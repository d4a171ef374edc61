// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A passed unit that gave back `config` and `config.normalised`: both bodies become one snapshot,
 * stored before the unit's result, which waits for the snapshot's id. After a crash in between, the
 * result comes again and finds the snapshot there. The exact body is opened here only to check
 * it and to compute its keyed hash; it is stored as it came, sealed.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/engine/runs.h"
#include "daemon/record/artifact.h"
#include "daemon/record/record.h"
#include "daemon/record/record_priv.h"
#include "daemon/record/refusal.h"
#include "daemon/store/store.h"
#include "seal/seal.h"

#include "base/banned.h"

#define RAW_MAX (16u << 20)
#define YEAR_10000_US (253402300800ll * 1000000)

struct waiting {
	struct engine *engine;
	unsigned generation;
	char unit[UNIT_ID_MAX];
	char *id;
};

static int
unpack(const struct buf *packed, int64_t raw_b, struct buf *out, struct err *e)
{
	if (raw_b < 0 || raw_b > RAW_MAX)
		return err_set(
		    e, ERR_TOO_BIG, "a body of %lld bytes is not taken", (long long)raw_b);
	buf_reserve(out, (size_t)raw_b + 1);
	size_t n = ZSTD_decompress(out->p, (size_t)raw_b, packed->p, packed->n);
	if (ZSTD_isError(n) || n != (size_t)raw_b)
		return err_set(
		    e, ERR_INVALID, "a body does not unpack to %lld bytes", (long long)raw_b);
	out->n = n;
	return 0;
}

static int
check(struct engine *e, const struct artifact *exact, const struct artifact *plain,
    unsigned char hash[SEAL_HASH_B], struct err *err)
{
	_cleanup_secret_ struct buf packed = {0};
	_cleanup_secret_ struct buf raw = {0};
	_cleanup_buf_ struct buf text = {0};

	if (!exact->is_secret)
		return err_set(err, ERR_INVALID, "the exact configuration came unsealed");
	if (seal_open(e->seal, exact->body.p, exact->body.n, &packed, err) < 0 ||
	    unpack(&packed, exact->raw_b, &raw, err) < 0)
		return err_push(err, "config");
	if (unpack(&plain->body, plain->raw_b, &text, err) < 0)
		return err_push(err, "config.normalised");
	seal_hash(e->seal, raw.p, raw.n, hash);
	return 0;
}

/* snap-YYYYMMDD-HHMMSS-<device up to its first dot>, UTC */
static void
wanted_id(const struct unit *u, int64_t at_us, char *out, size_t n)
{
	time_t at = (time_t)(at_us / 1000000);
	struct tm tm;
	char stamp[32];

	gmtime_r(&at, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
	snprintf(out, n, "snap-%s-%.*s", stamp, (int)strcspn(u->device_name, "."), u->device_name);
}

static void
on_put(void *arg, const PGresult *res, const struct err *err)
{
	struct waiting *w = arg;

	if (!err && PQntuples(res) == 1)
		w->id = xstrdup(store_str(res, 0, "id"));
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	struct waiting *w = arg;
	struct engine *e = w->engine;

	(void)res;
	if (w->generation == e->generation) {
		struct unit *u = runs_find_unit(e->runs, w->unit);
		if (err && refusal_is_for_good(err))
			refusal_note(e, w->unit, NULL, err);
		if (err) {
			/* Ended by recovery, if it was refused too often. */
			engine_resync(e, "a snapshot could not be stored");
		} else if (u && u->is_held) {
			/* No row: the epoch is stale. The batch will find that out for the whole run. */
			u->outcome.snapshot_id = take_ptr(&w->id);
			unit_finish(e, u);
		}
	}
	free(w->id);
	free(w);
}

static void
send_put(struct engine *e, struct unit *u, const struct artifact *exact,
    const struct artifact *plain, const unsigned char hash[SEAL_HASH_B], int64_t at_us)
{
	char no[16], attempt[16], epoch[24], at[24], size[24], id[160];
	struct waiting *w = xcalloc(1, sizeof(*w));
	const char *label =
	    json_get_str(json_object_get(u->run->policy, "parameters"), "destination", "");

	snprintf(no, sizeof(no), "%d", u->no);
	snprintf(attempt, sizeof(attempt), "%d", u->run->attempt);
	snprintf(epoch, sizeof(epoch), "%lld", (long long)u->run->epoch);
	snprintf(at, sizeof(at), "%lld", (long long)at_us);
	snprintf(size, sizeof(size), "%lld", (long long)exact->raw_b);
	wanted_id(u, at_us, id, sizeof(id));
	w->engine = e;
	w->generation = e->generation;
	memcpy(w->unit, u->id, sizeof(w->unit));
	const struct store_param p[] = {STORE_TEXT(u->run->id), STORE_TEXT(attempt), STORE_TEXT(no),
	    STORE_TEXT(epoch), STORE_TEXT(id), STORE_TEXT(at), STORE_TEXT(label), STORE_TEXT(size),
	    STORE_TEXT(seal_key_id(e->seal)), STORE_BYTES(hash, SEAL_HASH_B),
	    STORE_BYTES(exact->body.p, exact->body.n), STORE_BYTES(plain->body.p, plain->body.n)};
	store_send(e->store, SQL_ENGINE_SNAPSHOT_PUT, p, ARRAY_LEN(p), on_put, w);
	store_sync(e->store, on_committed, w);
}

static void
refuse(struct unit *u, const char *message)
{
	struct outcome *o = &u->outcome;

	o->class = RC_internal;
	o->is_retryable = rc_is_retryable(RC_internal);
	free(o->code);
	free(o->message);
	o->code = xstrdup("takt.artifact");
	o->message = xstrdup(message);
}

/* A plugin's word, if it is a time that can be written at all: else when the unit ended. */
static int64_t
captured_at(const json_t *meta, int64_t ended_us)
{
	int64_t said = json_get_int(meta, "captured_at_us", 0);

	if (said > 0 && said < YEAR_10000_US)
		return said;
	return ended_us > 0 ? ended_us : clock_realtime_us();
}

bool
snapshot_put(struct engine *e, struct unit *u, int64_t at_us)
{
	const struct artifact *exact = artifacts_find(u->artifacts, "config");
	const struct artifact *plain = artifacts_find(u->artifacts, "config.normalised");
	unsigned char hash[SEAL_HASH_B];
	struct err err = ERR_INIT;

	if (!exact && !plain)
		return false;
	if (!exact || !plain || !u->device_id) {
		refuse(u, "a configuration needs both bodies and a device");
		return false;
	}
	if (check(e, exact, plain, hash, &err) < 0) {
		refuse(u, err.message);
		return false;
	}
	send_put(e, u, exact, plain, hash, captured_at(exact->meta, at_us));
	return true;
}
