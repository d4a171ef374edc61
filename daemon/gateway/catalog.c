// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The task types that loaded plugins offer, as the engine has written them into takt.plugin. Kept in
 * memory, read again at each connect and notification; hooks_task.c checks definitions with it.
 */
#include <string.h>

#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/gateway/gateway_priv.h"

#include "base/banned.h"

static json_t *types; /* array of descriptors */

static void
on_types(_unused_ void *arg, const PGresult *res, const struct err *e)
{
	const char *text;
	json_t *fresh;

	if (e) {
		log_warn(LOG_GATEWAY, "cannot read what the plugins offer: %s", e->message);
		return;
	}
	text = store_str(res, 0, "types");
	fresh = json_parse(text, strlen(text), &json_limits_frame, NULL);
	if (!json_is_array(fresh)) {
		json_decref(fresh);
		return;
	}
	json_decref(types);
	types = fresh;
	log_debug(LOG_GATEWAY, "%zu task types", json_array_size(types));
}

void
catalog_refresh(struct gateway *gw)
{
	store_send(gw->db, SQL_API_LOAD_CATALOG, NULL, 0, on_types, NULL);
	store_sync(gw->db, NULL, NULL);
}

const json_t *
catalog_type(const char *id)
{
	size_t i;
	json_t *type;

	json_array_foreach(
	    types, i, type) if (!strcmp(json_get_str(type, "id", ""), id)) return type;
	return NULL;
}

void
catalog_names(struct buf *out)
{
	size_t i;
	json_t *type;

	json_array_foreach(types, i, type)
	{
		buf_adds(out, i ? ", " : "");
		buf_adds(out, json_get_str(type, "id", "?"));
	}
	if (!out->n)
		buf_adds(out, "none");
}

void
catalog_fini(void)
{
	json_decref(types);
	types = NULL;
}
