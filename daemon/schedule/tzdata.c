// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Rounds: read the table and compare; then mark the schedules of changed zones, a slice a round, so
 * that nothing waits long; at last note the new fingerprints. Who dies in between begins anew.
 */
#include "daemon/schedule/tzdata.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/schedule/zones.h"
#include "daemon/store/store.h"
#include "when/zone.h"

#include "base/banned.h"

#define FILES_EVERY_MS 5000
#define TABLE_EVERY_MS 20000
#define SLICE 5000
#define SLICE_TEXT "5000"

static const char first_id[] = "00000000-0000-0000-0000-000000000000";

static int64_t files_at_ms, table_at_ms;
static bool is_compare_wanted;
static json_t *seen;    /* object: zone -> the fingerprint that this process acted upon */
static json_t *changed; /* array as zone_changed.sql wants it: what is being done */
static json_t *zones;   /* of these the names whose schedules have times by other rules */
static char last_id[37];

bool
tzdata_look(void)
{
	int64_t now = clock_monotonic_ms();

	if (now >= files_at_ms) {
		files_at_ms = now + FILES_EVERY_MS;
		is_compare_wanted |= zones_refresh();
	}
	if (now >= table_at_ms) {
		table_at_ms = now + TABLE_EVERY_MS;
		is_compare_wanted = true;
	}
	return is_compare_wanted || changed;
}

static void
compare(const char *name, const char *was)
{
	/* One that cannot be read may be nobody's any more: who needs it says so. */
	const struct zone *zone = zone_get(name, NULL);
	char now[17];

	if (!zone)
		return;
	snprintf(now, sizeof(now), "%016" PRIx64, zone_fingerprint(zone));
	/* Of another engine with other files: it will have its reasons. */
	if (strcmp(json_get_str(seen, name, ""), now) == 0)
		return;
	json_object_set_new(seen, name, json_string(now));
	if (was && strcmp(was, now) == 0)
		return;
	json_array_append_new(
	    changed, json_pack("{s:s,s:s?,s:s}", "name", name, "was", was, "now", now));
	if (was)
		json_array_append_new(zones, json_string(name));
}

static void
on_list(void *arg, const PGresult *res, const struct err *err)
{
	char version[ZONE_VERSION_MAX + 1];
	json_t *name;
	size_t i;

	(void)arg;
	if (err)
		return;
	is_compare_wanted = false;
	if (!seen)
		seen = json_object();
	changed = json_array();
	zones = json_array();
	memcpy(last_id, first_id, sizeof(first_id));
	for (int k = 0; k < PQntuples(res); k++)
		compare(store_str(res, k, "name"), store_str(res, k, "fingerprint"));
	json_array_foreach(zones, i, name) log_info(LOG_SCHEDULE,
	    "zone %s has other rules (tzdata %s): next times are computed anew",
	    json_string_value(name), zone_data_version(version));
}

static void
forget(void)
{
	json_decref(changed);
	json_decref(zones);
	changed = zones = NULL;
}

static void
on_slice(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	if (err)
		return;
	if (store_int(res, 0, "n", 0) == SLICE)
		memcpy(last_id, store_str(res, 0, "last"), sizeof(first_id));
	else
		json_array_clear(zones);
}

static void
on_settled(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	(void)res;
	if (!err)
		forget();
}

static void
on_round(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;

	(void)res;
	if (changed && json_array_size(changed) == 0)
		forget();
	engine_want(e, JOB_REPLAN);
	engine_done(e, JOB_REPLAN, err);
}

static void
send_changed(struct engine *e)
{
	bool is_marking = json_array_size(zones) > 0;
	_cleanup_free_ char *list = json_text(is_marking ? zones : changed);

	if (is_marking)
		store_send(e->store, SQL_ENGINE_ZONE_REPLAN,
		    (struct store_param[]){
			STORE_TEXT(list), STORE_TEXT(last_id), STORE_TEXT(SLICE_TEXT)},
		    3, on_slice, NULL);
	else
		store_send(e->store, SQL_ENGINE_ZONE_CHANGED,
		    (struct store_param[]){STORE_TEXT(list)}, 1, on_settled, NULL);
}

bool
tzdata_start(struct engine *e)
{
	if (changed)
		send_changed(e);
	else if (is_compare_wanted)
		store_send(e->store, SQL_ENGINE_ZONE_LIST, NULL, 0, on_list, NULL);
	else
		return false;
	store_sync(e->store, on_round, e);
	return true;
}
