// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Normalising task definitions. Every default is written out here, so that the engine knows none. */
#include "daemon/gateway/task_def.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/jsonx.h"

#include "daemon/gateway/schedule_def.h"
#include "schema/schema.h"

#include "base/banned.h"

char *
task_def_snake(const char *s)
{
	_cleanup_buf_ struct buf b = {0};

	buf_adds(&b, "");
	for (size_t i = 0; s[i]; i++) {
		if (i && isupper((unsigned char)s[i]) && s[i - 1] != '_')
			buf_addc(&b, '_');
		buf_addc(&b, (char)tolower((unsigned char)s[i]));
	}
	return buf_take(&b);
}

static const json_t *
find_type(const json_t *doc, task_type_lookup *type_of, const char *names, struct err *e)
{
	const char *given = json_get_str(doc, "task_type", "");
	const json_t *type = type_of(given);
	_cleanup_free_ char *snake = task_def_snake(given);

	if (!type)
		type = type_of(snake);
	if (!type) {
		err_set(e, ERR_INVALID, "no loaded plugin offers task type \"%.100s\"", given);
		err_field(e, "/task_type");
		err_hint(e, "Loaded: %.280s.", names);
	}
	return type;
}

/* parameters without its `type`, which only repeats task_type, checked against the type's schema. */
static json_t *
check_parameters(const json_t *doc, const json_t *type, struct err *e)
{
	const json_t *given = json_object_get(doc, "parameters");
	_cleanup_json_ json_t *parameters = given ? json_copy((json_t *)given) : json_object();
	const json_t *named = json_object_get(parameters, "type"),
		     *schema = json_object_get(type, "params_schema");
	const char *id = json_get_str(type, "id", "");

	if (named) {
		_cleanup_free_ char *snake =
		    task_def_snake(json_is_string(named) ? json_string_value(named) : "");

		if (strcmp(snake, id) != 0) {
			err_set(e, ERR_INVALID, "parameters.type must be the task type \"%s\"", id);
			err_field(e, "/parameters/type");
			err_hint(e, "Leave it out, or make it \"%s\".", id);
			return NULL;
		}
		json_object_del(parameters, "type");
	}
	if (json_is_object(schema) && schema_validate(schema, parameters, "/parameters", e) < 0)
		return NULL;
	return take_ptr(&parameters);
}

static int
bad_target(struct err *e, const char *member, const char *why, const char *hint)
{
	err_set(e, ERR_INVALID, "%s", why);
	err_field(e, "/parameters/%s", member);
	return err_hint(e, "%s", hint);
}

/* {type, id} for types that run once for each device, else null. */
static int
find_target(const json_t *parameters, const json_t *type, json_t **out, struct err *e)
{
	const char *kind = json_get_str(parameters, "target_type", NULL),
		   *id = json_get_str(parameters, "target_id", NULL);
	struct uuid uuid;

	if (strcmp(json_get_str(type, "targets", "none"), "each") != 0) {
		*out = json_null();
		return 0;
	}
	if (!kind || (strcmp(kind, "device") != 0 && strcmp(kind, "device_group") != 0))
		return bad_target(e, "target_type",
		    "target_type must be \"device\" or \"device_group\"",
		    "This task type runs once for each device: name a device or a group.");
	if (!id || !uuid_parse(id, &uuid))
		return bad_target(e, "target_id",
		    "target_id must be the id (a uuid) of a device or device group",
		    "GET /devices and GET /groups list them.");
	*out = json_pack("{s:s, s:s}", "type", kind, "id", uuid.s);
	return 0;
}

/* How many may wait (queue) or be unfinished (parallel); the others count nothing. */
static int
read_overlap(const json_t *doc, const char **overlap, json_t **limit, struct err *e)
{
	const json_t *given = json_object_get(doc, "overlap_limit");
	bool is_queue;

	*overlap = json_get_str(doc, "overlap", "queue");
	is_queue = strcmp(*overlap, "queue") == 0;
	if (json_is_integer(given) && !is_queue && strcmp(*overlap, "parallel") != 0) {
		err_set(e, ERR_INVALID, "overlap \"%s\" takes no overlap_limit", *overlap);
		err_field(e, "/overlap_limit");
		return err_hint(e, "%s",
		    "It is how many runs may wait with \"queue\", or be unfinished with "
		    "\"parallel\"; leave it out.");
	}
	*limit = json_is_integer(given) ? json_integer(json_integer_value(given))
		 : is_queue             ? json_integer(1)
					: json_null();
	return 0;
}

/* A number of the document, else the type's default, else ours. */
static int64_t
number(const json_t *doc, const char *name, const json_t *type, const char *type_name, int64_t dflt)
{
	return json_get_int(doc, name, json_get_int(type, type_name, dflt));
}

json_t *
task_def_normalise(
    const json_t *doc, task_type_lookup *type_of, const char *names, int64_t now_utc, struct err *e)
{
	const json_t *type = find_type(doc, type_of, names, e);
	_cleanup_json_ json_t *parameters = type ? check_parameters(doc, type, e) : NULL;
	_cleanup_json_ json_t *target = NULL, *schedule = NULL, *flat = NULL, *limit = NULL,
			      *out = NULL;
	const char *overlap;
	bool is_enabled;

	if (!parameters || find_target(parameters, type, &target, e) < 0)
		return NULL;
	schedule = schedule_def_read(doc, now_utc, e);
	if (!schedule || schedule_def_enabled(doc, true, &is_enabled, e) < 0 ||
	    read_overlap(doc, &overlap, &limit, e) < 0)
		return NULL;
	out = json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:s, s:O, s:O, s:O, s:O}", "name",
	    json_get_str(doc, "name", ""), "description", json_get_str(doc, "description", ""),
	    "task_type", json_get_str(type, "id", ""), "enabled", is_enabled, "max_retries",
	    number(doc, "max_retries", type, "default_max_retries", 3), "retry_delay_seconds",
	    number(doc, "retry_delay_seconds", type, "default_retry_delay_s", 60),
	    "timeout_seconds", number(doc, "timeout_seconds", type, "default_timeout_s", 600),
	    "overlap", overlap, "overlap_limit", limit, "schedule", schedule, "parameters",
	    parameters, "target", target);
	flat = schedule_def_flat(schedule);
	json_object_update(out, flat);
	return take_ptr(&out);
}

/* RFC 7396: null removes, an object goes deeper, everything else replaces. */
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

json_t *
task_def_patch(const json_t *definition, const json_t *patch)
{
	json_t *doc = json_deep_copy(definition);

	json_object_del(doc, "target"); /* made from the parameters again */
	/* Said in another way than before: queue and parallel count different things. */
	if (json_object_get(patch, "overlap"))
		json_object_del(doc, "overlap_limit");
	schedule_def_patch(doc, patch);
	merge(doc, patch);
	return doc;
}
