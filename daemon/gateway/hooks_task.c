// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Hooks of the task operations: the document is normalised here (task_def.c), the statement gets
 * {id, definition, source, next_due_at}. Schedules move on from the gateway's clock once, at the
 * edit; after that the engine counts from due time to due time by the database's clock.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/jsonx.h"

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/request.h"
#include "daemon/gateway/task_def.h"

#include "base/banned.h"

extern const struct hook hook_task_create, hook_task_put, hook_task_patch, hook_task_check,
    hook_task_enable, hook_task_disable, hook_task_preview;

#define BASE64_VARIANT sodium_base64_VARIANT_ORIGINAL

static json_t *
base64(const void *p, size_t n)
{
	size_t size = sodium_base64_encoded_len(n, BASE64_VARIANT);
	_cleanup_free_ char *text = xmalloc(size);

	sodium_bin2base64(text, size, p, n, BASE64_VARIANT);
	return json_string(text);
}

/* prepared = {definition, next_due_at, source?}; source NULL keeps that of the revision before. */
static int
prepare_definition(
    struct request *r, const json_t *doc, const void *source, size_t source_b, struct err *e)
{
	_cleanup_buf_ struct buf names = {0};
	_cleanup_json_ json_t *definition = NULL, *times = NULL;

	catalog_names(&names);
	definition = task_def_normalise(doc, catalog_type, names.p, e);
	if (!definition || task_def_times(definition, db_clock_s(), 1, &times, NULL, e) < 0)
		return -ERR_INVALID;
	r->prepared = json_pack("{s:O, s:o?}", "definition", definition, "next_due_at",
	    json_array_size(times) ? json_incref(json_array_get(times, 0)) : json_null());
	if (source)
		json_object_set_new(r->prepared, "source", base64(source, source_b));
	return 0;
}

static int
set_id(struct request *r, struct err *e)
{
	const char *id = json_get_str(r->body, "id", NULL);
	struct uuid uuid;

	if (!id)
		return 0;
	if (!uuid_parse(id, &uuid)) {
		err_set(e, ERR_INVALID, "\"%.60s\" is not a uuid", id);
		return err_field(e, "/id");
	}
	json_object_set_new(r->prepared, "id", json_string(uuid.s));
	return 0;
}

static int
prepare_whole(struct request *r, struct err *e)
{
	int rc = prepare_definition(r, r->body, r->raw.p, r->raw.n, e);

	return rc < 0 ? rc : set_id(r, e);
}

/* A document that is made here has this text as its source. */
static int
prepare_made(struct request *r, const json_t *doc, struct err *e)
{
	_cleanup_free_ char *text = json_dumps(doc, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	return prepare_definition(r, doc, text, strlen(text), e);
}

static void
set_base_revision(struct request *r)
{
	json_object_set(r->prepared, "base_revision", json_object_get(r->before, "revision"));
}

static int
prepare_patch(struct request *r, struct err *e)
{
	_cleanup_json_ json_t *doc =
	    task_def_patch(json_object_get(r->before, "definition"), r->body);
	int rc = route_check_task(doc, e);

	if (rc == 0)
		rc = prepare_made(r, doc, e);
	if (rc < 0)
		return rc;
	set_base_revision(r);
	return set_id(r, e);
}

static int
prepare_enabled(struct request *r, bool is_enabled, struct err *e)
{
	_cleanup_json_ json_t *patch = json_pack("{s:b}", "enabled", is_enabled);
	_cleanup_json_ json_t *doc =
	    task_def_patch(json_object_get(r->before, "definition"), patch);
	int rc = prepare_definition(r, doc, NULL, 0, e);

	if (rc == 0)
		set_base_revision(r);
	return rc;
}

static int
prepare_enable(struct request *r, struct err *e)
{
	return prepare_enabled(r, true, e);
}

/* Must work for a task whose plugin is gone: stopping it is then what its owner wants. */
static int
prepare_disable(struct request *r, _unused_ struct err *e)
{
	_cleanup_json_ json_t *definition =
	    json_deep_copy(json_object_get(r->before, "definition"));

	json_object_set_new(definition, "enabled", json_false());
	r->prepared = json_pack("{s:O, s:n}", "definition", definition, "next_due_at");
	set_base_revision(r);
	return 0;
}

static int
prepare_check(struct request *r, struct err *e)
{
	json_t *times = NULL;
	int rc = prepare_whole(r, e);

	if (rc < 0)
		return rc;
	rc = task_def_times(json_object_get(r->prepared, "definition"), db_clock_s(),
	    (unsigned)json_get_int(r->query, "count", 5), &times, NULL, e);
	if (rc == 0)
		json_object_set_new(r->prepared, "next", times);
	return rc;
}

/* The statement answered with the definition. */
static int
finish_preview(struct request *r, json_t *definition, struct err *e)
{
	_cleanup_json_ json_t *times = NULL, *local = NULL, *out = NULL;
	int rc = task_def_times(definition, db_clock_s(),
	    (unsigned)json_get_int(r->query, "count", 5), &times, &local, e);

	if (rc < 0)
		return rc;
	out = json_pack("{s:O, s:O, s:O, s:O, s:O}", "enabled",
	    json_object_get(definition, "enabled"), "cron_expression",
	    json_object_get(definition, "cron_expression"), "timezone",
	    json_object_get(definition, "timezone"), "next", times, "local", local);
	answer_json(r, 200, out);
	return 0;
}

const struct hook hook_task_create = {prepare_whole, NULL};
const struct hook hook_task_put = {prepare_whole, NULL};
const struct hook hook_task_patch = {prepare_patch, NULL};
const struct hook hook_task_check = {prepare_check, NULL};
const struct hook hook_task_enable = {prepare_enable, NULL};
const struct hook hook_task_disable = {prepare_disable, NULL};
const struct hook hook_task_preview = {NULL, finish_preview};
