// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * libFuzzer: any document as something with a schedule, and behind an empty line any other as a
 * patch of it. What is taken has a normal form that reads as itself and can be compiled. See
 * README.md.
 */
#include "tests/fuzz/fuzz.h"

#include "base/jsonx.h"

#include "daemon/gateway/schedule_def.h"
#include "when/when.h"

#include "base/banned.h"

#define NOW INT64_C(1795392000) /* 2026-11-23 */

static void
add_calendars(json_t *calendars, const json_t *names)
{
	size_t i;
	json_t *name;

	json_array_foreach(names, i, name)
	    json_object_set_new(calendars, json_string_value(name), json_array());
}

static void
check_compiles(const json_t *normal)
{
	_cleanup_json_ json_t *calendars = json_object();
	_cleanup_schedule_plan_ struct schedule_plan *p = NULL;
	struct when_occurrence o;
	struct err e = ERR_INIT;

	add_calendars(calendars, json_object_get(normal, "include"));
	add_calendars(calendars, json_object_get(normal, "exclude"));
	p = schedule_plan_new(normal, calendars, NULL, NOW, &e);
	believe(p);
	if (when_next(schedule_plan_when(p), NOW, &o))
		believe(o.utc > NOW);
}

/* The normal form, or NULL with a reason and a place. */
static json_t *
read_checked(const json_t *doc)
{
	_cleanup_json_ json_t *definition = NULL, *again = NULL, *flat = NULL;
	struct err e = ERR_INIT;
	json_t *normal = schedule_def_read(doc, NOW, &e);

	if (!normal) {
		believe(*e.message && *e.hint && e.field[0] == '/');
		return NULL;
	}
	definition = json_pack("{s:O}", "schedule", normal);
	flat = schedule_def_flat(normal);
	json_object_update(definition, flat);
	again = schedule_def_read(definition, NOW + 1, &e);
	believe(again && json_equal(again, normal));
	if (!schedule_def_follows(normal))
		check_compiles(normal);
	return normal;
}

static void
merge(json_t *into, const json_t *patch)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)patch, key, value)
	{
		json_t *old = json_object_get(into, key);

		if (json_is_null(value))
			json_object_del(into, key);
		else if (json_is_object(value) && json_is_object(old))
			merge(old, value);
		else
			json_object_set_new(into, key, json_deep_copy(value));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *text = (const char *)data, *cut = memmem(text, n, "\n\n", 2);
	size_t n_doc = cut ? (size_t)(cut - text) : n;
	_cleanup_json_ json_t *doc = json_parse(text, n_doc, &json_limits_request, NULL),
			      *patch = cut ? json_parse(
						 cut + 2, n - n_doc - 2, &json_limits_request, NULL)
					   : NULL,
			      *normal = NULL, *definition = NULL, *flat = NULL, *after = NULL;

	if (!json_is_object(doc) || !(normal = read_checked(doc)) || !json_is_object(patch))
		return 0;
	definition = json_pack("{s:O, s:b}", "schedule", normal, "enabled", 1);
	flat = schedule_def_flat(normal);
	json_object_update(definition, flat);
	schedule_def_patch(definition, patch);
	merge(definition, patch);
	after = read_checked(definition);
	return 0;
}
