// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What time it is by the database, for due times that are computed here: the engine decides by that
 * clock, and this host's may be set to anything. Asked for every REFRESH_S and carried on by the
 * MONOTONIC clock, which no step touches.
 */
#include "base/clock.h"
#include "base/log.h"

#include "daemon/gateway/gateway_priv.h"

#include "base/banned.h"

#define REFRESH_S 1.0

static int64_t
    base_us; /* the database's clock when this host's MONOTONIC one stood at 0; 0: not asked yet */
static ev_timer refresh;
static bool is_asked;

static void
on_clock(_unused_ void *arg, const PGresult *res, const struct err *e)
{
	is_asked = false;
	if (!e)
		base_us = store_int(res, 0, "us", 0) - clock_monotonic_ms() * 1000;
}

static void
on_refresh(_unused_ struct ev_loop *loop, ev_timer *w, _unused_ int events)
{
	db_clock_refresh(w->data);
}

void
db_clock_refresh(struct gateway *gw)
{
	if (is_asked || !store_is_up(gw->db))
		return;
	is_asked = true;
	store_send(gw->db, SQL_API_CLOCK, NULL, 0, on_clock, NULL);
	store_sync(gw->db, NULL, NULL);
}

int64_t
db_clock_s(void)
{
	return (base_us ? base_us + clock_monotonic_ms() * 1000 : clock_realtime_us()) / 1000000;
}

void
db_clock_start(struct gateway *gw)
{
	ev_timer_init(&refresh, on_refresh, REFRESH_S, REFRESH_S);
	refresh.data = gw;
	ev_timer_start(gw->loop, &refresh);
}

void
db_clock_stop(struct gateway *gw)
{
	ev_timer_stop(gw->loop, &refresh);
}
