// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The next time of a retry is a row, so any engine may do this, also after a restart. */
#include "daemon/queue/retry_due.h"

#include "daemon/engine/engine.h"
#include "daemon/store/store.h"

#include "base/banned.h"

#define RETRY_MAX 200

static void
on_moved(void *arg, const PGresult *res, const struct err *err)
{
	struct engine *e = arg;
	int64_t n = err ? 0 : store_int(res, 0, "n", 0);

	if (n > 0)
		engine_want(e, JOB_CLAIM);
	if (n == RETRY_MAX)
		engine_want(e, JOB_RETRY);
}

static void
on_committed(void *arg, const PGresult *res, const struct err *err)
{
	(void)res;
	engine_done(arg, JOB_RETRY, err);
}

bool
retry_due_start(struct engine *e)
{
	store_send(e->store, SQL_ENGINE_RETRY_DUE,
	    (struct store_param[]){STORE_TEXT(e->node_id.s), STORE_TEXT("200")}, 2, on_moved, e);
	store_send(e->store, SQL_ENGINE_FEED_NOTIFY, NULL, 0, NULL, NULL);
	store_sync(e->store, on_committed, e);
	return true;
}
