// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The start deadline is a row, and claims leave alone what is behind it: whichever engine comes first ends it. */
#include "daemon/queue/expire.h"

#include "daemon/engine/engine.h"
#include "daemon/store/store.h"

#include "base/banned.h"

#define EXPIRE_MAX 200

static void
on_ended(void *arg, const PGresult *res, const struct err *err)
{
	if (!err && store_int(res, 0, "n", 0) == EXPIRE_MAX)
		engine_want(arg, JOB_EXPIRE);
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	(void)res;
	engine_done(arg, JOB_EXPIRE, err);
}

bool
expire_start(struct engine *e)
{
	store_send(e->store, SQL_ENGINE_EXPIRE,
	    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT("200")}, 2, on_ended, e);
	store_send(e->store, SQL_ENGINE_FEED_NOTIFY, NULL, 0, NULL, NULL);
	store_sync(e->store, on_committed, e);
	return true;
}
