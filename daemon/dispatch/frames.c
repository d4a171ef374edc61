// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* What the executor says, by frame type. A frame about a unit counts only if its epoch is the run's. */
#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "config.h"
#include "daemon/dispatch/dispatch.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/link.h"
#include "daemon/engine/runs.h"
#include "daemon/record/fence.h"
#include "daemon/record/record.h"
#include "daemon/store/store.h"
#include "frame/frame.h"

#include "base/banned.h"

#define NO_ROOM_PAUSE_MS 500

void
dispatch_hello(struct engine *e)
{
	link_send(e->link, FRAME_HELLO,
	    json_pack("{s:i,s:s,s:I,s:s}", "proto", 1, "node", e->node_id.s, "epoch",
		(json_int_t)e->node_epoch, "version", PACKAGE_VERSION),
	    -1);
}

static void
on_hello(struct engine *e, const struct frame *f)
{
	e->takes_input_text = json_get_bool(f->json, "input_text", false);
	log_info(LOG_DISPATCH, "executor %s, boot %s", json_get_str(f->json, "version", "?"),
	    json_get_str(f->json, "boot_id", "?"));
}

/* Types of loaded plugins; the first plugin that offers a type has it. */
static void
types_rebuild(struct engine *e)
{
	const char *file;
	json_t *plugin, *type;
	size_t i;

	json_object_clear(e->types);
	json_object_foreach(e->plugins, file, plugin)
	{
		if (strcmp(json_get_str(plugin, "status", ""), "loaded") != 0)
			continue;
		json_array_foreach(json_object_get(plugin, "types"), i, type)
		{
			const char *id = json_get_str(type, "id", "");
			if (*id && !json_object_get(e->types, id))
				json_object_set(e->types, id, type);
		}
	}
}

/* All of them after the listing, then each as it changes. */
static void
plugins_publish(struct engine *e, const json_t *only)
{
	_cleanup_json_ json_t *rows = json_array(), *files = json_array();
	const char *file;
	json_t *plugin;

	json_object_foreach(e->plugins, file, plugin)
	{
		if (!only || plugin == only)
			json_array_append(rows, plugin);
		json_array_append_new(files, json_string(file));
	}
	_cleanup_free_ char *rows_text = json_text(rows), *files_text = json_text(files);
	store_send(e->store, SQL_ENGINE_PLUGINS_PUT,
	    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT(rows_text)}, 2, NULL, NULL);
	store_send(e->store, SQL_ENGINE_PLUGINS_KEEP,
	    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT(files_text)}, 2, NULL,
	    NULL);
	store_sync(e->store, NULL, NULL);
}

static void
on_plugin(struct engine *e, const struct frame *f)
{
	const char *file = json_get_str(f->json, "file", "");

	if (!*file)
		return;
	json_object_set(e->plugins, file, f->json);
	types_rebuild(e);
	if (e->is_listed) {
		plugins_publish(e, f->json);
		engine_want(e, JOB_CLAIM);
	}
}

static void
on_unit(struct engine *e, const struct frame *f)
{
	struct uuid run;
	int attempt, no;

	if (unit_id_parse(json_get_str(f->json, "unit", ""), &run, &attempt, &no))
		json_array_append(e->listed, f->json);
}

static void
on_ready(struct engine *e, const struct frame *f)
{
	(void)f;
	e->is_listed = true;
	plugins_publish(e, NULL);
	engine_want(e, JOB_RECOVER);
}

/* The unit that a frame is about, if it is one of ours now. */
static struct unit *
unit_of(struct engine *e, const struct frame *f)
{
	const char *id = frame_str(f, "unit", "");
	int64_t epoch = frame_int(f, "epoch", -1);
	struct unit *u = e->is_recovered ? runs_find_unit(e->runs, id) : NULL;

	if (!u) {
		log_debug(
		    LOG_DISPATCH, "%s of unit %s, which is not open", frame_type_name(f->type), id);
		return NULL;
	}
	if (epoch != u->run->epoch) {
		fence_add(e, id, epoch);
		link_send(e->link, FRAME_DROP, json_pack("{s:s}", "unit", id), -1);
		return NULL;
	}
	return u;
}

static void
on_refused(struct engine *e, const struct frame *f)
{
	struct unit *u = unit_of(e, f);
	const char *code = json_get_str(f->json, "code", "");
	int class = rc_class_parse(json_get_str(f->json, "class", "internal"));

	if (!u || u->step != UNIT_SENT)
		return;
	log_warn(LOG_DISPATCH, "unit %s refused: %s", json_get_str(f->json, "unit", ""),
	    json_get_str(f->json, "message", ""));
	if (class == RC_transient) {
		/* No room, no process: the unit waits for its attempt's deadline. */
		u->step = UNIT_PENDING;
		u->retry_at_ms = clock_monotonic_ms() + NO_ROOM_PAUSE_MS;
		return;
	}
	record_unit_ended(e, u, class < 0 ? RC_internal : (enum rc_class) class, code,
	    json_get_str(f->json, "message", "the executor refused the unit"),
	    json_get_str(f->json, "hint", ""));
}

static void
on_journal(struct engine *e, const struct frame *f)
{
	struct unit *u = unit_of(e, f);

	if (u)
		record_frame(e, u, f);
}

static void
on_lost(struct engine *e, const struct frame *f)
{
	struct unit *u = unit_of(e, f);

	if (!u)
		return;
	const json_t *type = json_object_get(e->types, u->run->task_type);
	record_unit_lost(e, u, strcmp(json_get_str(type, "recovery", "fail"), "rerun") == 0,
	    json_get_str(f->json, "message", "its process was lost"));
}

static const struct {
	enum frame_type type;
	void (*handle)(struct engine *, const struct frame *);
} handlers[] = {
    {FRAME_HELLO, on_hello},
    {FRAME_PLUGIN, on_plugin},
    {FRAME_UNIT, on_unit},
    {FRAME_READY, on_ready},
    {FRAME_REFUSED, on_refused},
    {FRAME_JOURNAL, on_journal},
    {FRAME_RESULT, on_journal},
    {FRAME_LOST, on_lost},
};

void
dispatch_frame(struct engine *e, const struct frame *f)
{
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
		if (handlers[i].type == f->type) {
			handlers[i].handle(e, f);
			return;
		}
	}
	log_warn(LOG_DISPATCH, "a frame of type %u is not known here, ignored", f->type);
}
