// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Hooks of the task operations: the document is normalised here (task_def.c), the statement gets
 * {id, definition, source, next_due_at} and what that time was computed with. Schedules move on from
 * the database's clock as the gateway knows it once, at the edit; after that the engine counts from
 * due time to due time.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/jsonx.h"

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/hooks_schedule.h"
#include "daemon/gateway/request.h"
#include "daemon/gateway/schedule_def.h"
#include "daemon/gateway/schedule_known.h"
#include "daemon/gateway/schedule_report.h"
#include "daemon/gateway/task_def.h"
#include "when/stamp.h"
#include "when/when.h"

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

/* What the next time was computed with goes along: the statement compares. */
static void
set_computed_with(struct request *r, const json_t *normal)
{
	const json_t *shared = json_object_get(r->before, "shared");

	json_object_set(r->prepared, "calendar_info", json_object_get(r->before, "calendar_info"));
	if (schedule_def_follows(normal))
		json_object_set_new(r->prepared, "shared",
		    json_pack("{s:O?}", "revision", json_object_get(shared, "revision")));
}

/* When `every` begins: a task's creation. */
static int64_t
anchor_of(const struct request *r, int64_t now)
{
	return json_get_int(r->before, "anchor", now);
}

/* Of a definition that was normalised: {definition, next_due_at, anchor, …} into r->prepared. */
static int
prepare_schedule(struct request *r, const json_t *doc, json_t *definition, const char *id,
    int64_t after, struct err *e)
{
	const json_t *normal = json_object_get(definition, "schedule");
	int64_t now = db_clock_s(), anchor = anchor_of(r, now);
	_cleanup_schedule_plan_ struct schedule_plan *plan =
	    schedule_known_plan(r->before, doc, normal, id, anchor, e);
	struct when_occurrence next;
	char stamp[32];
	bool has_next;

	if (!plan)
		return -(int)e->code;
	has_next = when_next(schedule_plan_when(plan), after, &next);
	r->prepared = json_pack("{s:O, s:I, s:o, s:I, s:o}", "definition", definition,
	    "planned_from", (json_int_t)after, "next_due_at",
	    has_next ? json_string(when_format_rfc3339(next.utc, stamp)) : json_null(), "anchor",
	    (json_int_t)anchor, "warnings",
	    schedule_warnings(r->before, doc, normal, now, has_next ? &next : NULL));
	set_computed_with(r, normal);
	return 0;
}

/* source NULL keeps that of the revision before; id: what H hashes, NULL: none yet. */
static int
prepare_definition(struct request *r, const json_t *doc, const void *source, size_t source_b,
    const char *id, struct err *e)
{
	_cleanup_buf_ struct buf names = {0};
	_cleanup_json_ json_t *definition = NULL;
	int64_t now = db_clock_s();
	int rc;

	catalog_names(&names);
	definition = task_def_normalise(doc, catalog_type, names.p, now, e);
	if (!definition)
		return -(int)e->code;
	rc = prepare_schedule(r, doc, definition, id, now, e);
	if (rc == 0 && source)
		json_object_set_new(r->prepared, "source", base64(source, source_b));
	return rc;
}

/* The id that the body gives; *uuid is untouched if it gives none. */
static int
read_id(const struct request *r, struct uuid *uuid, struct err *e)
{
	const char *id = json_get_str(r->body, "id", NULL);

	if (!id || uuid_parse(id, uuid))
		return 0;
	err_set(e, ERR_INVALID, "\"%.60s\" is not a uuid", id);
	return err_field(e, "/id");
}

/* A new task gets its id here: H hashes it. */
static int
prepare_create(struct request *r, struct err *e)
{
	struct uuid id;
	int rc;

	uuid_v7(db_clock_s() * 1000, &id);
	rc = read_id(r, &id, e);
	if (rc == 0)
		rc = prepare_definition(r, r->body, r->raw.p, r->raw.n, id.s, e);
	if (rc == 0)
		json_object_set_new(r->prepared, "id", json_string(id.s));
	return rc;
}

/* The statement sees to it that a task keeps its id. */
static int
set_id(struct request *r, struct err *e)
{
	struct uuid id = {""};
	int rc = read_id(r, &id, e);

	if (rc == 0 && *id.s)
		json_object_set_new(r->prepared, "id", json_string(id.s));
	return rc;
}

static int
prepare_whole(struct request *r, struct err *e)
{
	int rc = prepare_definition(
	    r, r->body, r->raw.p, r->raw.n, json_get_str(r->path, "id", NULL), e);

	return rc < 0 ? rc : set_id(r, e);
}

/* A document that is made here has this text as its source. */
static int
prepare_made(struct request *r, const json_t *doc, struct err *e)
{
	_cleanup_free_ char *text = json_dumps(doc, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	return prepare_definition(r, doc, text, strlen(text), json_get_str(r->path, "id", NULL), e);
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

/* With ?backfill=true the next time is the first one that it missed while it was off: what becomes of
 * these is the affair of its catch-up policy. */
static int
prepare_enable(struct request *r, struct err *e)
{
	_cleanup_json_ json_t *patch = json_pack("{s:b}", "enabled", true);
	_cleanup_json_ json_t *doc =
	    task_def_patch(json_object_get(r->before, "definition"), patch);
	_cleanup_json_ json_t *definition = NULL;
	_cleanup_buf_ struct buf names = {0};
	int64_t now = db_clock_s();
	int rc;

	catalog_names(&names);
	definition = task_def_normalise(doc, catalog_type, names.p, now, e);
	if (!definition)
		return -(int)e->code;
	rc = prepare_schedule(r, doc, definition, json_get_str(r->path, "id", NULL),
	    json_get_bool(r->query, "backfill", 0) ? json_get_int(r->before, "disabled_at", now)
						   : now,
	    e);
	if (rc == 0)
		set_base_revision(r);
	return rc;
}

/* Must work for a task whose plugin is gone: stopping it is then what its owner wants. */
static int
prepare_disable(struct request *r, _unused_ struct err *e)
{
	_cleanup_json_ json_t *definition =
	    json_deep_copy(json_object_get(r->before, "definition"));

	json_object_set_new(definition, "enabled", json_false());
	r->prepared = json_pack("{s:O, s:n, s:I}", "definition", definition, "next_due_at",
	    "anchor", (json_int_t)anchor_of(r, db_clock_s()));
	set_computed_with(r, json_object_get(definition, "schedule"));
	set_base_revision(r);
	return 0;
}

/* The plan of a document that has passed, for its times. */
static struct schedule_plan *
plan_again(struct request *r, const json_t *known, const json_t *definition, struct err *e)
{
	return schedule_known_plan(known, definition, json_object_get(definition, "schedule"),
	    json_get_str(r->path, "id", NULL), anchor_of(r, db_clock_s()), e);
}

static int
prepare_check(struct request *r, struct err *e)
{
	_cleanup_schedule_plan_ struct schedule_plan *plan = NULL;
	_cleanup_json_ json_t *times = NULL, *utc = NULL, *local = NULL;
	int64_t last;
	int rc = prepare_whole(r, e);

	if (rc == 0) {
		plan = plan_again(r, r->before, json_object_get(r->prepared, "definition"), e);
		rc = plan ? 0 : -(int)e->code;
	}
	if (rc < 0)
		return rc;
	times = report_times(
	    plan, db_clock_s(), (unsigned)json_get_int(r->query, "count", 5), NULL, &last);
	report_texts(times, &utc, &local);
	json_object_set(r->prepared, "next", utc);
	return 0;
}

/* The statement answered with the definition and what it names. */
static int
finish_preview(struct request *r, json_t *known, struct err *e)
{
	const json_t *definition = json_object_get(known, "definition"),
		     *shown = json_object_get(known, "shown");
	_cleanup_schedule_plan_ struct schedule_plan *plan = NULL;
	_cleanup_json_ json_t *out = NULL;
	int rc;

	json_decref(r->before);
	r->before = json_incref(known);
	plan = plan_again(r, known, definition, e);
	if (!plan)
		return -(int)e->code;
	out = json_pack("{s:O?, s:O?, s:O?, s:O?}", "enabled", json_object_get(shown, "enabled"),
	    "cron_expression", json_object_get(shown, "cron_expression"), "timezone",
	    json_object_get(shown, "timezone"), "schedule",
	    schedule_known_normal(known, json_object_get(definition, "schedule")));
	rc = preview_add(r, plan, out, e);
	if (rc == 0)
		answer_json(r, 200, out);
	return rc;
}

const struct hook hook_task_create = {prepare_create, NULL};
const struct hook hook_task_put = {prepare_whole, NULL};
const struct hook hook_task_patch = {prepare_patch, NULL};
const struct hook hook_task_check = {prepare_check, NULL};
const struct hook hook_task_enable = {prepare_enable, NULL};
const struct hook hook_task_disable = {prepare_disable, NULL};
const struct hook hook_task_preview = {NULL, finish_preview};
