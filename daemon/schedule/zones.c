// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
#include "daemon/schedule/zones.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "when/zone.h"

#include "base/banned.h"

#define UNREADABLE_MS 60000

static json_t *unreadable; /* object: name -> true */
static int64_t forgotten_at_ms;

static json_t *
names(void)
{
	if (!unreadable)
		unreadable = json_object();
	return unreadable;
}

const struct zone *
zones_get(const char *name)
{
	struct err e = ERR_INIT;
	const struct zone *zone = zone_get(name, &e);

	if (!zone && !json_object_get(names(), name)) {
		log_error(LOG_SCHEDULE, "schedules in zone %s wait: %s", name, e.message);
		json_object_set_new(names(), name, json_true());
	}
	return zone;
}

bool
zones_refresh(void)
{
	return zone_refresh() > 0;
}

char *
zones_unreadable(void)
{
	_cleanup_json_ json_t *list = json_array();
	const char *name;
	json_t *value;

	if (clock_monotonic_ms() > forgotten_at_ms) {
		json_object_clear(names());
		forgotten_at_ms = clock_monotonic_ms() + UNREADABLE_MS;
	}
	json_object_foreach(names(), name, value) json_array_append_new(list, json_string(name));
	return json_text(list);
}
